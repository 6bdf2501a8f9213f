"""What a whole night costs: from raw frames to stacks with the workflow, and by hand with ccdproc.

    python benchmarks/night.py [--ccdproc PYTHON] [--side 2048] [--lights 132] [--night FOLDER] [--json FILE]

The night has 20 biases, 24 darks of two times, 8 flats in each of three filters, and lights of one target in
three filters, one chip with overscan. VISQL: `snakemake night`, wall time with the starts of jobs; masters
with errors and masks, odd frames out, reduced lights with errors, registered and stacked. ccdproc (2.5, in
the environment of PYTHON): overscan, trimming, median biases, darks of each time, flats, lights less bias,
and nearest dark, over the flat, with deviations, in one process; nothing is registered.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_CCDPROC = """
import resource, sys, time, warnings
from pathlib import Path
import astropy.units as u, ccdproc, numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
warnings.simplefilter("ignore")
raw, out = map(Path, sys.argv[1:])
out.mkdir()
start = time.perf_counter()
heads = {p: fits.getheader(p) for p in sorted(raw.glob("*.fit*"))}
def kind(word): return [p for p, h in heads.items() if word in str(h.get("IMAGETYP", "")).lower()]
def filter_of(p): return str(heads[p].get("FILTERS", heads[p].get("FILTER")))
def read(p):
    ccd = CCDData.read(p, unit="adu")
    h = ccd.header
    gain, noise = h.get("GAIN", 1.5) * u.electron / u.adu, h.get("RDNOISE", 8) * u.electron
    ccd = ccdproc.create_deviation(ccd, gain=gain, readnoise=noise)
    ccd = ccdproc.subtract_overscan(ccd, fits_section=h["BIASSEC"], median=True)
    return ccdproc.trim_image(ccd, fits_section=h["TRIMSEC"])
def combined(ccds, **more): return ccdproc.combine(ccds, method="median", mem_limit=5e8, **more)
bias = combined([read(p) for p in kind("bias") + kind("zero")])
less = lambda p: ccdproc.subtract_bias(read(p), bias)
times = {}
for p in kind("dark"): times.setdefault(float(heads[p]["EXPTIME"]), []).append(p)
darks = {t: combined([less(p) for p in ps]) for t, ps in times.items()}
def calibrated(p):
    t = float(heads[p]["EXPTIME"])
    dark = darks[min(darks, key=lambda other: abs(other - t))]
    return ccdproc.subtract_dark(less(p), dark, dark_exposure=t * u.s, data_exposure=t * u.s)
filters = {}
for p in kind("flat"): filters.setdefault(filter_of(p), []).append(p)
flats = {}
for f, ps in filters.items():
    flats[f] = combined([calibrated(p) for p in ps], scale=lambda a: 1 / np.median(a))
for p in kind("object") + kind("light"):
    ccdproc.flat_correct(calibrated(p), flats[filter_of(p)]).write(out / p.name)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def simulate(folder: Path, side: int, lights: int) -> None:
    """Simulate the night."""
    options = {
        "camera.columns": side,
        "camera.rows": side,
        "frames.biases": 20,
        "frames.dark_times": "[60, 120]",
        "frames.darks": 12,
        "frames.flats": 8,
        "frames.lights": lights // 3,
        "sky.targets": "[M67]",
        "sky.stars": 1000,
    }
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    command = [BIN / "visql", "simulate-night", "-o", folder, "--dialect", "observatory", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def with_visql(folder: Path, cores: int) -> dict[str, float]:
    """Run the workflow; return wall time [s], CPU [s] and the largest job [MB]."""
    command = [BIN / "snakemake", "-s", ROOT / "Snakefile", "night", f"-c{cores}", "--config"]
    command += [
        "pipeline=reduction",
        f"raw={folder}/raw",
        f"results={folder}/results",
        "index={growing_age: 0}",
    ]
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    rows = [path.read_text().splitlines() for path in (folder / "results/benchmarks").rglob("*.tsv")]
    peaks = [dict(zip(head.split("\t"), line.split("\t"), strict=True))["max_rss"] for head, line in rows]
    return {"wall_s": wall, "cpu_s": cpu, "peak_MB": max(float(p) for p in peaks if p.strip("-"))}


def with_ccdproc(folder: Path, python: str) -> dict[str, float]:
    """Run the script of the same steps; return wall time [s] and peak memory [MB]."""
    words = [python, "-c", _CCDPROC, str(folder / "raw"), str(folder / "ccdproc")]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return {"wall_s": float(said[-2]), "peak_MB": float(said[-1])}  # astropy may say something before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ccdproc", default="", metavar="PYTHON", help="of an environment with ccdproc 2.5")
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--lights", type=int, default=132)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 2)
    parser.add_argument(
        "--night",
        type=Path,
        metavar="FOLDER",
        help="keep the simulated night here; one that is there is used",
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="visql_night_") as name:
        folder = options.night or Path(name) / "night"
        if not (folder / "raw").is_dir():
            simulate(folder, options.side, options.lights)
        found: dict[str, Any] = {"frames": len(list((folder / "raw").iterdir()))}
        found["visql"] = with_visql(folder, options.cores)
        if options.ccdproc:
            found["ccdproc"] = with_ccdproc(folder, options.ccdproc)
    for who in ("visql", "ccdproc"):
        figures = ", ".join(f"{key} {value:.0f}" for key, value in found.get(who, {}).items())
        print(f"{found['frames']} frames of {options.side}²: {who}: {figures or 'not measured'}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
