"""What VISQL costs: one full exposure step by step, SExtractor beside it, a month of 2000 exposures.

    python benchmarks/run.py [--runs 3] [--ccds 3-3,3-4] [--out benchmarks/results]

Every step runs in a process of its own; CPU, wall and peak memory are what the
operating system says of it; medians of the runs are written with machine and
versions to ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VISQL = [sys.executable, "-c", "from visql_lib.cli import main; main()"]
PACKAGES = ("numpy", "astropy", "sep", "pyarrow", "matplotlib", "snakemake", "galsim")


def measured(command: list[str | Path], cwd: Path) -> dict[str, float]:
    """Run a command; return CPU and wall seconds and peak memory [MB] of it and its children."""
    start = time.monotonic()
    with (cwd / "said.txt").open("w") as said:
        process = subprocess.Popen(list(map(str, command)), cwd=cwd, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {command}\n{(cwd / 'said.txt').read_text()[-2000:]}")
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall, "peak_MB": usage.ru_maxrss / 1024}


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every figure."""
    return {key: round(statistics.median(s[key] for s in samples), 2) for key in samples[0]}


def exposure_steps(raw: Path) -> dict[str, list[str | Path]]:
    """Return the commands of one exposure, in order."""
    return {
        "catalog": ["catalog", raw, "-o", "E.cat.parquet", "--quadrants", "E_q.parquet", "--previews", "E"],
        "preview alone": ["preview", raw, "-o", "P"],
        "stars": ["stars", "E.cat.parquet", "-o", "E_s.parquet"],
        "moments": ["moments", raw, "E_s.parquet", "-o", "E_m.parquet", "--stamps", "E_t.parquet"],
        "pictures": ["pictures", "E.cat.parquet", "E_s.parquet", "E_m.parquet", "E_t.parquet", "-o", "E"],
    }


def sextractor_command() -> list[str | Path] | None:
    """Return SExtractor with our settings on all extensions of a frame, None where it is not installed."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    if program is None:
        return None
    sys.path.insert(0, str(ROOT / "tests"))
    from test_sextractor import OPTIONS

    return [
        program,
        "raw.fits",
        "-c",
        "default.sex",
        *(str(w) for k, v in OPTIONS.items() for w in (f"-{k}", v)),
    ]


def prepare_sextractor(folder: Path, raw: Path) -> None:
    """Write the small files SExtractor wants."""
    from test_sextractor import PARAMETERS

    (folder / "raw.fits").symlink_to(raw)
    (folder / "out.param").write_text("\n".join(PARAMETERS))
    (folder / "pyramid.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "default.sex").write_text("")


def bench_exposure(folder: Path, runs: int, ccds: str) -> dict[str, dict[str, float]]:
    """Measure every step on one long exposure, SExtractor in turn with our catalogue."""
    where = ["--ccds", ccds] if ccds else []
    simulate = [
        "simulate",
        "-o",
        "raw",
        "--type",
        "long",
        "--date",
        "2024-07-13T03:28:40",
        "--seed",
        "1",
        *where,
    ]
    table = {"simulate": measured([*VISQL, *simulate], folder)}
    raw = next((folder / "raw").glob("*.fits"))
    steps = exposure_steps(raw)
    other = sextractor_command()
    if other is not None:
        prepare_sextractor(folder, raw)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in (*steps, "SExtractor")}
    for _ in range(runs):
        for name, step in steps.items():
            samples[name].append(measured([*VISQL, *step], folder))
            if name == "catalog" and other is not None:
                samples["SExtractor"].append(measured(other, folder))
    table |= {name: medians(found) for name, found in samples.items() if found}
    table["catalogue on disk"] = {"MB": round((folder / "E.cat.parquet").stat().st_size / 1e6, 1)}
    return table


def bench_month(folder: Path, runs: int, n: int = 2000) -> dict[str, dict[str, float]]:
    """Measure a dry-run of a month of `n` exposures whose headers are known, and listing them again."""
    month = folder / "month"
    (month / "raw").mkdir(parents=True)
    (month / "results" / "exposures").mkdir(parents=True)
    template = next((folder / "raw").glob("*.fits"))
    for i in range(n):
        day, minute = 1 + i % 30, i // 30
        name = f"C_202407{day:02d}_{minute // 60:02d}{minute % 60:02d}00_W_{i:08X}.VIS.bin_01_01.fits"
        os.link(template, month / "raw" / name)
    config = month / "month.yaml"
    config.write_text("months: '202407'\nindex: {growing_age: 0}\n")
    index = ["index", "--config", config]
    table = {f"index, {n} new frames": measured([*VISQL, *index], month)}
    table[f"index, {n} known frames"] = medians([measured([*VISQL, *index], month) for _ in range(runs)])
    dry = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "Snakefile",
        "--dry-run",
        "--quiet",
        "rules",
    ]
    dry += ["--config", "months=202407", "raw=raw", "results=results"]
    table[f"dry-run, {n} exposures"] = medians([measured(dry, month) for _ in range(runs)])
    return table


def machine() -> dict[str, str]:
    """Say what was measured on and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    found = {"processor": names[0] if names else platform.processor(), "cores": str(os.cpu_count())}
    found |= {"python": platform.python_version(), "visql": version("visql")}
    return found | {name: version(name) for name in PACKAGES}


def markdown(result: dict) -> str:
    """Return the result as a page."""
    facts = ", ".join(f"{k} {v}" for k, v in result["machine"].items())
    lines = [f"# Benchmark of {result['date']}", "", f"{facts}; medians of {result['runs']} runs.", ""]
    lines += ["| what | CPU s | wall s | peak MB |", "|---|---|---|---|"]
    for name, row in result["steps"].items():
        if "cpu_s" in row:
            lines.append(f"| {name} | {row['cpu_s']:.1f} | {row['wall_s']:.1f} | {row['peak_MB']:.0f} |")
        else:
            lines.append(f"| {name} | {row['MB']} MB | | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ccds", default="", help="CCDs of the exposure; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        steps = bench_exposure(Path(name), options.runs, options.ccds)
        steps |= bench_month(Path(name), options.runs)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {"date": date, "runs": options.runs, "machine": machine(), "steps": steps}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{date}.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / f"{date}.md").write_text(markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
