"""Light curves from simulated seasons against their truth, beside the goals: accuracy, CPU, memory.

    python benchmarks/lightcurves.py [--seeds 1 2] [--gradient 0.06] [--flips 0.3] [--faults] [--curves]
                                     [--keep FOLDER] [--starred PYTHON] [--json FILE]

A season has 48 frames of 512 x 512 in 12 nights, 0.2"/px, seeing 0.8 to 1.6"; the target four images on a
galaxy. The bound is Fisher information with the true PSF and places (`visql_lib.simulate.season_bound`). CPU:
of Snakemake's jobs, with the starts of their processes and without (jobs times the CPU of the imports of
a stage). STARRED runs in the environment of PYTHON (package starred-astro), on the stamps of a few frames:
PSF of 1000 steps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.io import fits
from lightcurves_truth import SeasonProducts, alignment, night_curves, star_curves, target_curves

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SOURCES = ["A", "B", "C", "D"]
GOALS: dict[str, tuple[float, ...]] = {
    "ratio": (1.25, 1.25, 1.25, 1.4),
    "night": (4.5, 4.5, 8.0, 13.0),
    "zero": (0.0, 15.0, 20.0, 40.0),
}
_FAULTS = ("cloud", "seeing", "trail", "wrong_field", "twilight", "blank", "cut_short")
_IMPORTS = (
    "import numpy, scipy.optimize, scipy.sparse, astropy.io.fits, pyarrow.parquet, visql_lib.cli.lc_nights"
)
_WATCHED = """import os, sys
pid = os.spawnv(os.P_NOWAIT, REAL, [REAL, *sys.argv[1:]])
_, status, usage = os.wait4(pid, 0)
with open(LOG, "a") as log:
    log.write(f"{sys.argv[1]}\\t{usage.ru_utime + usage.ru_stime}\\t{usage.ru_maxrss / 1024}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""
_STARRED = """
import resource, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
from astropy.io import fits
from starred.procedures.psf_routines import build_psf
cubes = [np.array(hdu.data, dtype=float) for hdu in fits.open(sys.argv[1])[1:]]
for data, sigma in zip(cubes[::2], cubes[1::2]):
    build_psf(data.copy(), sigma.copy(), 2, n_iter_adabelief=1000)
usage = resource.getrusage(resource.RUSAGE_SELF)
print("RESULT", usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


def environment() -> dict[str, str]:
    """Return the environment of the commands: one thread each."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def cpu_of_children() -> float:
    """Return CPU seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def simulate(folder: Path, seed: int, options: argparse.Namespace) -> None:
    """Simulate a season."""
    plan: dict[str, Any] = {
        "seed": seed,
        "instrument": options.camera,
        "air": {"gradient": options.gradient, "flips": options.flips},
    }
    if options.faults:
        plan["faults"] = [{"frame": 3 + 6 * k, "kind": kind} for k, kind in enumerate(_FAULTS)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan), encoding="utf-8")
    command = [BIN / "visql", "simulate-season", path, "-o", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())


def run(folder: Path, cores: int, curves_only: bool) -> dict[str, Any]:
    """Run the workflow; return wall and CPU seconds, and CPU, jobs and memory [MB] by stage."""
    target = next((folder / "targets").glob("*.yaml"))
    settings = {
        "pipeline": "lightcurves",
        "targets": [str(target)],
        "results": str(folder / "results"),
        "index": {"growing_age": "0 s"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    name = next((folder / "raw").iterdir()).name
    nights = folder / "results" / "targets" / target.stem / name / f"nights_{name}.parquet"
    command = [BIN / "snakemake", "-s", ROOT / "Snakefile", nights if curves_only else "lightcurve"]
    said = {"cwd": folder, "capture_output": True, "text": True, "check": False}
    log = folder / "jobs.tsv"
    log.unlink(missing_ok=True)
    before, start = cpu_of_children(), time.perf_counter()
    words = [*command, f"-c{cores}", "--keep-going", "--configfile", path]
    done = subprocess.run(words, env=watched(folder, log), **said)
    if done.returncode:
        print(done.stderr[-6000:], file=sys.stderr)
    wall, cpu = time.perf_counter() - start, cpu_of_children() - before
    return {"exit_code": done.returncode, "wall_s": wall, "cpu_s": cpu} | jobs(log)


def compile_once(folder: Path, camera: str) -> None:
    """Measure one frame, so that code that is compiled where it runs is, and does not count."""
    raw = min((folder / "raw").glob("*/*.fits"))
    command = [BIN / "visql", "lc-frame", raw, "-o", folder / "first", "--camera", camera]
    subprocess.run(command, check=False, capture_output=True, env=environment())


def watched(folder: Path, log: Path) -> dict[str, str]:
    """Return an environment in which every command writes what it cost; Snakemake only samples that."""
    wrapper = folder / "watched" / "visql"
    wrapper.parent.mkdir(exist_ok=True)
    real = BIN / "visql"
    wrapper.write_text(f"#!{sys.executable} -SE\nREAL, LOG = {str(real)!r}, {str(log)!r}\n{_WATCHED}")
    wrapper.chmod(0o755)
    found = environment()
    return found | {"PATH": f"{wrapper.parent}{os.pathsep}{found['PATH']}"}


def jobs(log: Path) -> dict[str, Any]:
    """Sum what the commands cost, by stage."""
    cpu: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    peak: dict[str, float] = defaultdict(float)
    for line in log.read_text().splitlines() if log.is_file() else ():
        stage, seconds, memory = line.split("\t")
        cpu[stage] += float(seconds)
        peak[stage] = max(peak[stage], float(memory))
        count[stage] += 1
    return {"stage_cpu_s": dict(cpu), "stage_jobs": dict(count), "stage_peak_MB": dict(peak)}


def start_of_a_stage() -> float:
    """Return the CPU of starting Python with what every stage imports [s], the second time."""
    for _ in range(2):
        before = cpu_of_children()
        subprocess.run([sys.executable, "-c", _IMPORTS], check=False, capture_output=True, env=environment())
        cpu = cpu_of_children() - before
    return cpu


def products_of(folder: Path) -> SeasonProducts:
    """Return where the products of the season's only set are."""
    target = next((folder / "results" / "targets").iterdir())
    chosen = next(path for path in target.iterdir() if (path / f"transforms_{path.name}.parquet").is_file())
    return SeasonProducts(folder, chosen, chosen.name, target / "reference.parquet")


def accuracy(folder: Path) -> dict[str, Any]:
    """Return all figures of accuracy of a season."""
    products = products_of(folder)
    truth = products.truth("frames")
    good = [str(f) for f, fault in zip(truth["FRAME"], truth["FAULT"], strict=True) if not str(fault)]
    sources = [s for s in SOURCES if s in set(map(str, products.truth("sources")["SOURCE"]))]
    found: dict[str, Any] = {"sources": sources, "alignment": alignment(products)}
    parts = {
        "stars": lambda: star_curves(products, good),
        "target": lambda: target_curves(products, sources, good),
        "nights": lambda: night_curves(products, sources),
    }
    for name, measure in parts.items():
        try:
            found[name] = measure()
        except (OSError, KeyError) as error:  # a stage that did not run
            found[name] = {"missing": str(error)}
    return found


def starred(python: str, folder: Path, n: int = 3) -> dict[str, float]:
    """Run STARRED's PSF on the stars' stamps of a few frames; return CPU per frame [s] and memory [MB]."""
    from visql_lib.pipelines.lightcurves.stamps import Stamps
    from visql_lib.tables import read_table

    products = products_of(folder)
    chosen = read_table(products.folder / f"stars_{products.set}.parquet")
    names = {str(s) for s, psf in zip(chosen["STAR"], chosen["PSF"], strict=True) if psf}
    arrays: dict[str, Any] = {}
    for path in sorted((products.folder / "frames").rglob("*_stamps.fits"))[:n]:
        stamps = Stamps.read(path)
        rows = [k for k, name in enumerate(stamps.names) if name in names]
        arrays[f"{path.parent.name}_data"] = np.nan_to_num(stamps.data[rows])
        bad = (stamps.bad[rows] != 0) | ~np.isfinite(stamps.data[rows])
        arrays[f"{path.parent.name}_sigma"] = np.where(bad, 1e8, stamps.sigma[rows])
    path = folder / "starred.fits"
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(values, name=name) for name, values in arrays.items())]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    done = subprocess.run(
        [python, "-c", _STARRED, path], check=True, capture_output=True, text=True, env=environment()
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).split()
    return {"cpu_s_per_frame": float(line[1]) / (len(arrays) // 2), "peak_MB": float(line[2])}


def lines_of(found: dict[str, Any], start: float) -> list[str]:
    """Return the table of a season."""
    align, sources = found["alignment"], found["sources"]
    lines = ["| | goal | measured |", "|---|---|---|"]
    residual = ", ".join(f"{v:.3f}" for v in align["residual_px"])
    text = f"{align['aligned']} of {align['good']}, {len(align['false'])}, {residual} px (median, worst)"
    text += f"; shift common to a frame's stars {', '.join(f'{v:.2f}' for v in align['shift_px'])} px"
    lines.append(f"| good frames aligned, false matches, residual | all, 0, 0.03 px | {text} |")
    if align["lost"] or align["faults_aligned"]:
        lines.append(f"| lost; faults aligned | | {align['lost']}; {align['faults_aligned']} |")
    stars, target, nights = found["stars"], found["target"], found["nights"]
    if "missing" not in stars:
        left = ", ".join(f"{name} {ratio:.1f}" for name, ratio in stars["left_out"].items())
        lines.append(f"| stars dropped, or with companion: rms / bound | | {left or 'none'} |")
        lines.append(
            f"| star curves, rms / bound, median of {stars['n']}; worst beyond its bound | "
            "0.85-1.2; 5 mmag | "
            f"{stars['median']:.2f}; {stars['worst_beyond_mmag']:.1f} mmag |"
        )
    if "missing" not in target:
        lines += target_lines(target, sources)
    if "missing" not in nights:
        rows = [f"{nights[s]['rms_mmag']:.1f} (bound {nights[s]['bound_mmag']:.1f})" for s in sources]
        lines.append(f"| by night [mmag] | {said(GOALS['night'])} | {', '.join(rows)} |")
    parts = ("stars", "target", "nights")
    lines += [f"| {n} | | missing: {found[n]['missing']} |" for n in parts if "missing" in found[n]]
    return lines + cost_lines(found, start)


def said(values: Any) -> str:
    """Return numbers with commas between."""
    return ", ".join(f"{v:g}" for v in values)


def target_lines(target: dict[str, Any], sources: list[str]) -> list[str]:
    """Return the lines of the point sources."""
    rows = [target[s] for s in sources]
    ratio = ", ".join(f"{r['ratio']:.2f}" for r in rows)
    errors = ", ".join(f"{r['rms_mmag']:.1f}/{r['bound_mmag']:.1f}" for r in rows)
    zero = ", ".join(f"{r['zero_mmag']:+.0f} ({r['common_mmag']:.0f})" for r in rows[1:])
    pull = ", ".join(f"{r['pull']:.2f}" for r in rows)
    slope = ", ".join(f"{r['slope_mmag_per_arcsec']:+.1f}" for r in rows)
    amplitude = ", ".join(f"{r['amplitude']:.3f}" for r in rows)
    return [
        f"| target in {target['frames']} frames, rms / bound | {said(GOALS['ratio'])} | {ratio} ({errors}) |",
        f"| pull width | 0.85-1.2 | {pull} |",
        f"| zero points against A [mmag] (ERR_COMMON) | {said(GOALS['zero'][1:])}, 3 ERR_COMMON | {zero} |",
        f"| slope with seeing [mmag/arcsec] | A, B: 10 | {slope} |",
        f"| amplitude | A, B: 0.98-1.02 | {amplitude} |",
    ]


def cost_lines(found: dict[str, Any], start: float) -> list[str]:
    """Return the lines of CPU and memory."""
    if "cost" not in found:
        return []
    cost, n = found["cost"], found["frames"]
    jobs_of, cpu_of = cost["stage_jobs"], cost["stage_cpu_s"]
    total, count = sum(cpu_of.values()), sum(jobs_of.values())
    each = ", ".join(f"{s} {max(v - jobs_of[s] * start, 0) / n:.2f}" for s, v in sorted(cpu_of.items()))
    lines = [
        f"| CPU per frame [s] of {count} jobs, their starts ({start:.1f} s) taken off; with them; "
        "with Snakemake | 1.2 | "
        f"{max(total - count * start, 0) / n:.2f}; {total / n:.2f}; {cost['cpu_s'] / n:.2f} |",
        f"| by stage, starts taken off | | {each} |",
        f"| memory of the largest job [MB] | 500 | {max(cost['stage_peak_MB'].values(), default=0):.0f} |",
        f"| wall [s] | | {cost['wall_s']:.0f} |",
    ]
    if "starred" in found:
        other = found["starred"]
        lines.append(
            f"| STARRED, PSF alone: CPU per frame [s], memory [MB] | 15 times ours | "
            f"{other['cpu_s_per_frame']:.1f}, {other['peak_MB']:.0f} |"
        )
    return lines


def main() -> None:
    """Simulate, run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--gradient", type=float, default=0.0)
    parser.add_argument("--flips", type=float, default=0.0)
    parser.add_argument("--faults", action="store_true", help="seven frames that go wrong")
    parser.add_argument("--camera", default="generic")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--curves", action="store_true", help="no stack, pictures and files of the curves")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep seasons here; old ones are used")
    parser.add_argument("--starred", default="", metavar="PYTHON", help="with starred-astro")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    start, results = start_of_a_stage(), {}
    with tempfile.TemporaryDirectory(prefix="visql_season_") as name:
        for seed in options.seeds:
            folder = (options.keep or Path(name)).resolve() / f"season_{seed}"
            if not (folder / "raw").is_dir():
                simulate(folder, seed, options)
            compile_once(folder, options.camera)
            cost = run(folder, options.cores, options.curves)
            found = accuracy(folder) | {"cost": cost, "frames": len(list(folder.glob("raw/*/*.fits")))}
            if options.starred:
                found["starred"] = starred(options.starred, folder)
            results[seed] = found
            print(f"\nSeason {seed}, gradient {options.gradient}, flips {options.flips}:\n")
            print("\n".join(lines_of(found, start)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
