"""What a month of 2000 exposures costs before any of them is measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from common import ROOT, VISQL, Command, Figures, measured, medians, simulate


def bench_month(folder: Path, runs: int, n: int = 2000) -> dict[str, Figures]:
    """Measure a dry-run of a month of `n` exposures whose headers are known, and listing them again."""
    month = folder / "month"
    (month / "raw").mkdir(parents=True)
    (month / "results" / "exposures").mkdir(parents=True)
    template, _ = simulate(folder, "3-3")
    for i in range(n):
        day, minute = 1 + i % 30, i // 30
        name = f"C_202407{day:02d}_{minute // 60:02d}{minute % 60:02d}00_W_{i:08X}.VIS.bin_01_01.fits"
        os.link(template, month / "raw" / name)
    config = month / "month.yaml"
    config.write_text("months: '202407'\nindex: {growing_age: 0}\n")
    index: Command = [*VISQL, "index", "--config", config]
    table = {f"index, {n} new frames": measured(index, month)}
    table[f"index, {n} known frames"] = medians([measured(index, month) for _ in range(runs)])
    dry: Command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run"]
    dry += ["--quiet", "rules", "--config", "months=202407", "raw=raw", "results=results"]
    table[f"dry-run, {n} exposures"] = medians([measured(dry, month) for _ in range(runs)])
    return table
