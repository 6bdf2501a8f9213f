"""What the combination of frames costs, beside ccdproc.

    python benchmarks/reduction.py [--runs 3] [--ccdproc PYTHON] [--small] [--json FILE]

Frames are 16-bit whole numbers. Each task runs in a process of its own; CPU seconds are those of
the call, without imports, peak memory is that of the process; medians of the runs. Both read from files
and write a file; VISQL adds ERR, MASK, N and its record. ccdproc, in the environment of PYTHON (with
bottleneck, which makes it quick), runs with its default `mem_limit` and with 5e8; the quicker one counts.
It clips before it scales, so that its recipe of the flat is not the same result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TASKS = ("median", "flat", "sigma")
SETS = {
    "20 x 2048²": (20, 2048, TASKS),
    "50 x 1024²": (50, 1024, ("median",)),
    "200 x 1024²": (200, 1024, ("median",)),
}
SMALL = {"5 x 128²": (5, 128, TASKS)}

_COST = """
print(json.dumps({"cpu_s": time.process_time() - start,
                  "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
_START = "import json, resource, sys, time\nfrom pathlib import Path\nfolder, task, limit = sys.argv[1:]\n"
_FILES = "paths = sorted(Path(folder).glob('*.fits'))\nout = Path(folder) / 'out.fit'\n"
_VISQL = f"""{_START}
from visql_lib.ccd.combine import Recipe
from visql_lib.images.stacking import Wishes, combine_files
from visql_lib.images.writing import write_image
{_FILES}
recipes = {{"median": (Recipe("median"), Wishes()),
           "flat": (Recipe("median", clip=(0, 1)), Wishes(normalise="mean", unit=True)),
           "sigma": (Recipe("mean", sigma=(3, 3)), Wishes())}}
start = time.process_time()
write_image(out, combine_files(paths, *recipes[task]), {{"combine": 1}})
{_COST}"""
_CCDPROC = f"""{_START}
import warnings
import ccdproc, numpy as np
from astropy.utils.exceptions import AstropyWarning
warnings.simplefilter("ignore")
{_FILES}
def over_mean(data):
    return 1 / np.mean(data)
words = {{"median": {{"method": "median"}},
         "flat": {{"method": "median", "scale": over_mean, "clip_extrema": True, "nlow": 0, "nhigh": 1}},
         "sigma": {{"method": "average", "sigma_clip": True, "sigma_clip_low_thresh": 3,
                   "sigma_clip_high_thresh": 3, "sigma_clip_func": np.ma.median}}}}[task]
more = {{}} if limit == "default" else {{"mem_limit": float(limit)}}
start = time.process_time()
found = ccdproc.combine([str(p) for p in paths], unit="adu", dtype=np.float32, **words, **more)
if task == "flat":
    found = found.divide(float(np.mean(found.data)))
found.write(out, overwrite=True)
{_COST}"""

Figures = dict[str, float]


def make_frames(folder: Path, n: int, side: int) -> None:
    """Write frames of noise, of falling level."""
    import numpy as np
    from astropy.io import fits

    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(n):
        pixels = rng.normal(20000 - 200 * i, 140, (side, side)).round().astype(np.uint16)
        cards = fits.Header({"DATE-OBS": f"2021-02-27T{i // 60:02d}:{i % 60:02d}:00", "EXPTIME": 10.0})
        fits.PrimaryHDU(pixels, cards).writeto(folder / f"f.{i:04d}.fits")


def cost(python: str | Path, script: str, folder: Path, task: str, limit: str, runs: int) -> Figures:
    """Run a task; return the medians of its CPU seconds and peak memory."""
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [python, "-c", script, folder, task, limit], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"failed: {task}\n{done.stderr[-2000:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: round(statistics.median(f[key] for f in found), 2) for key in found[0]}


def bench(folder: Path, sets: dict[str, Any], runs: int, ccdproc: str) -> list[dict[str, Any]]:
    """Measure all tasks of all sets."""
    rows = []
    for name, (n, side, tasks) in sets.items():
        frames = folder / f"{n}_{side}"
        make_frames(frames, n, side)
        for task in tasks:
            cost(sys.executable, _VISQL, frames, task, "", 1)  # compiles where that was not done
            row = {
                "frames": name,
                "task": task,
                "visql": cost(sys.executable, _VISQL, frames, task, "", runs),
            }
            if ccdproc:
                limits = [cost(ccdproc, _CCDPROC, frames, task, limit, runs) for limit in ("default", "5e8")]
                row["ccdproc"] = min(limits, key=lambda f: f["cpu_s"])
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    ours, theirs = row["visql"], row.get("ccdproc")
    text = f"| {row['frames']}, {row['task']} | {ours['cpu_s']:.2f} / {ours['peak_MB']:.0f} |"
    if theirs is None:
        return text + " not measured | |"
    return f"{text} {theirs['cpu_s']:.2f} / {theirs['peak_MB']:.0f} | {theirs['cpu_s'] / ours['cpu_s']:.1f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ccdproc", default="", metavar="PYTHON", help="of an environment with ccdproc 2.5")
    parser.add_argument("--small", action="store_true", help="a few small frames, to see that all runs")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    print("| frames, task | VISQL: CPU s / MB | ccdproc: CPU s / MB | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="visql_bench_") as name:
        rows = bench(Path(name), SMALL if options.small else SETS, options.runs, options.ccdproc)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
