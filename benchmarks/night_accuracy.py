"""How accurate the reduction of a night is: simulated nights, the real commands, and their truth.

    python benchmarks/night_accuracy.py [--nights 1:observatory,2:mosaic,3:maxim] [--masters 4:nina,...]
        [--folder FOLDER] [--settings 'masters={flat_method: mean}'] [--cores 2] [--json FILE]

Each night, SEED:DIALECT, is simulated, reduced by the workflow and compared with its truth
(`night_compare.py`, which uses nothing the pipeline measures with); of those of ``--masters`` only the
masters are made. What stands in the folder is not made again. A figure is that of a night, filter, light or
stack; the table has their number, median, smallest and largest, and whether the median meets the goal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from night_compare import Figures, compare
from night_truth import Truth

from visql_lib.simulate.night_plan import NightOptions

ROOT = Path(__file__).resolve().parents[1]
_NIGHTS = "1:observatory,2:mosaic,3:maxim"
_MASTERS = "4:observatory,5:mosaic,6:nina,7:observatory,8:mosaic,9:acp,10:observatory"


class Goal(NamedTuple):
    """What a figure should be: the first pattern that its name matches counts."""

    pattern: str
    least: float
    most: float


_GOALS = (
    Goal(r"flat: (mean|median) pull", -0.1, 0.1),
    Goal(r"flat: sigma", 0.9, 1.1),
    Goal(r"hot pixels.*sigma", 0.0, 1.1),
    Goal(r"hot pixels.*(mean|median) pull", -0.1, 0.1),
    Goal(r"(bias|dark|light|stack).*(mean|median) pull", -0.05, 0.05),
    Goal(r"(bias|dark|light|stack).*sigma($| by MAD)", 0.95, 1.05),
    Goal(r"flat: noise / photon limit", 0.0, 1.1),
    Goal(r"corner to centre|trails left", -0.3, 0.3),
    Goal(r"flux of stars, median", -0.5, 0.5),
    Goal(r"flux of stars, scatter", 0.9, 1.1),
    Goal(r"registration: rms", 0.0, 0.05),
    Goal(r"left out|off by|missed|good ones masked|above 5 sigma, by cosmic rays", 0.0, 0.0),
)


def main() -> None:
    """Simulate, reduce, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nights", default=_NIGHTS, metavar="SEED:DIALECT,...")
    parser.add_argument("--masters", default=_MASTERS, metavar="SEED:DIALECT,...")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--settings", action="append", default=[], metavar="SECTION={...}")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = [(one, "night") for one in options.nights.split(",") if one]
    wanted += [(one, "masters") for one in options.masters.split(",") if one]
    with tempfile.TemporaryDirectory() as temporary:
        found: list[Figures] = []
        for one, target in wanted:
            seed, _, dialect = one.partition(":")
            plan = NightOptions.model_validate({"seed": int(seed), "dialect": dialect or "maxim"})
            folder = (options.folder or Path(temporary)) / f"{seed}_{plan.dialect}"
            night = made(folder, plan, target, options.settings, options.cores)
            found += compare(Truth(plan, folder / "raw", night))
            print(f"{one}: compared", file=sys.stderr)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def made(folder: Path, plan: NightOptions, target: str, settings: list[str], cores: int) -> Path:
    """Simulate and reduce a night, if that has not been done; return the folder of its products."""
    folder.mkdir(parents=True, exist_ok=True)
    night = folder / "results" / "nights" / f"{plan.night:%Y%m%d}"
    if not (folder / "raw").is_dir():
        _run(
            folder, "visql", "simulate-night", "-o", ".", "--dialect", plan.dialect, "--seed", str(plan.seed)
        )
    config = ("--config", "pipeline=reduction", "raw=raw", "results=results", "index={growing_age: 0}")
    _run(folder, "snakemake", "-s", str(ROOT / "Snakefile"), f"-c{cores}", target, *config, *settings)
    return night


def _run(folder: Path, name: str, *words: str) -> None:
    """Run a command of this environment; stop with what it said if it fails."""
    tools = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(tools / name), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"failed: {name} {' '.join(words)}\n{(done.stdout + done.stderr)[-3000:]}")


def table(found: list[Figures]) -> str:
    """Write all figures, and which goals are met."""
    lines = [
        "| figure | number | median | smallest | largest | goal | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(name for figures in found for name in figures):
        values = np.array([figures[name] for figures in found if name in figures])
        goal = next((g for g in _GOALS if re.search(g.pattern, name)), None)
        middle = float(values.mean() if goal and goal.least == goal.most else np.median(values))
        met = "" if goal is None else "yes" if goal.least <= middle <= goal.most else "no"
        limits = "" if goal is None else f"{goal.least:g} to {goal.most:g}"
        numbers = " | ".join(f"{value:.4g}" for value in (middle, values.min(), values.max()))
        lines.append(f"| {name} | {len(values)} | {numbers} | {limits} | {met} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
