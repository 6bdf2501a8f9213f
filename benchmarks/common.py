"""What all parts share: running and measuring commands, simulated frames, the machine."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VISQL = [sys.executable, "-c", "from visql_lib.cli import main; main()"]
ENGINES = ("fast", "sep")
DATE = "2024-07-13T03:28:40"
_PACKAGES = ("numpy", "numba", "astropy", "sep", "pyarrow", "matplotlib", "snakemake", "galsim")

Figures = dict[str, float]
Command = list[str | Path]


def measured(command: Command, cwd: Path) -> Figures:
    """Run a command; return CPU and wall seconds and peak memory [MB] of it and its children.

    The peak of a small process is not below that of the caller, which must
    therefore stay small.
    """
    start = time.monotonic()
    with (cwd / "said.txt").open("w") as said:
        process = subprocess.Popen(list(map(str, command)), cwd=cwd, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {command}\n{(cwd / 'said.txt').read_text()[-2000:]}")
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall, "peak_MB": usage.ru_maxrss / 1024}


def medians(samples: list[Figures]) -> Figures:
    """Return the median of every figure."""
    return {key: round(statistics.median(s[key] for s in samples), 3) for key in samples[0]}


def simulate(folder: Path, ccds: str = "", *more: str | Path) -> tuple[Path, Figures]:
    """Make a long exposure in a new folder; return its raw frame and what that cost."""
    folder.mkdir(parents=True, exist_ok=True)
    where: Command = ["--ccds", ccds] if ccds else []
    command: Command = ["simulate", "-o", "raw", "--type", "long", "--date", DATE, "--seed", "1"]
    cost = measured([*VISQL, *command, *where, *more], folder)
    return next((folder / "raw").glob("*.fits")), cost


def engine_settings(folder: Path, engine: str, instrument: str = "") -> Path:
    """Write settings that select an engine, and an instrument where it is not the default one."""
    path = folder / f"{engine}.yaml"
    path.write_text(
        f"catalog: {{engine: {engine}}}\n" + (f"instrument: {instrument}\n" if instrument else "")
    )
    return path


def toy_frame(folder: Path, engine: str) -> Command:
    """Make a tiny frame (one CCD of the tests' toy camera); return the arguments that catalogue it."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = ROOT / "tests" / "toy_camera.yaml"
    raw, _ = simulate(folder, "1-1", "--instrument", camera)
    return ["catalog", raw, "-o", "toy.parquet", "--config", engine_settings(folder, engine, str(camera))]


def start_of_a_process(folder: Path, engine: str, runs: int) -> Figures:
    """Measure `visql catalog` on a tiny frame, compiled code being cached: what does not grow."""
    command = [*VISQL, *toy_frame(folder, engine)]
    measured(command, folder)  # compiles where that was not done
    return medians([measured(command, folder) for _ in range(runs)])


def machine() -> dict[str, str]:
    """Say what was measured on and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    found = {"processor": names[0] if names else platform.processor(), "cores": str(os.cpu_count())}
    found |= {"system": platform.system(), "python": platform.python_version()}
    found |= {name: version(name) for name in ("visql", *_PACKAGES)}
    commit = _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    return found | ({"commit": commit} if commit else {})


def _said(command: list[str]) -> str:
    """Return what a program prints, nothing where there is none."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
