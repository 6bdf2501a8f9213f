"""What one long exposure costs, step by step, with SExtractor beside it."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import sextractor
from common import (
    ENGINES,
    VISQL,
    Command,
    Figures,
    engine_settings,
    measured,
    medians,
    simulate,
    start_of_a_process,
)
from report import CHAIN

_THREADED = "catalog, 2 threads"
_BARE = "catalog without previews"


def exposure_steps(raw: Path, config: Path) -> dict[str, Command]:
    """Return the commands of one exposure, in order."""
    catalog: Command = ["catalog", raw, "--config", config]
    pictures: Command = ["E.cat.parquet", "E_s.parquet", "E_m.parquet", "E_t.parquet", "-o", "E"]
    return {
        _BARE: [*catalog, "-o", "B.cat.parquet", "--quadrants", "B_q.parquet"],
        "catalog": [*catalog, "-o", "E.cat.parquet", "--quadrants", "E_q.parquet", "--previews", "E"],
        _THREADED: [
            *(*catalog, "--threads", "2"),
            *("-o", "T.cat.parquet", "--quadrants", "T_q.parquet", "--previews", "T"),
        ],
        "preview alone": ["preview", raw, "-o", "P"],
        "stars": ["stars", "E.cat.parquet", "-o", "E_s.parquet"],
        "moments": ["moments", raw, "E_s.parquet", "-o", "E_m.parquet", "--stamps", "E_t.parquet"],
        "pictures": ["pictures", *pictures],
    }


def bench_exposure(folder: Path, runs: int, ccds: str, raw: Path | None, with_sep: bool) -> dict[str, Any]:
    """Measure every step on one long exposure, SExtractor in turn with our catalogue.

    Parameters
    ----------
    folder : Path
        Where to work.
    runs : int
        How often; medians are returned.
    ccds : str
        CCDs to simulate; empty: all.
    raw : Path or None
        A frame to take instead of simulating one.
    with_sep : bool
        Measure the catalogue step with engine ``sep`` too, once.
    """
    table: dict[str, Figures] = {}
    if raw is None:
        raw, table["simulate"] = simulate(folder, ccds)
    start = {e: start_of_a_process(folder / f"toy_{e}", e, runs) for e in ENGINES}  # compiles, too
    samples = _run_all(folder, raw, runs)
    ratio = {"fast": _ratio(samples[_BARE], samples["SExtractor"])}
    ratio["fast, previews"] = _ratio(samples["catalog"], samples["SExtractor"])
    table |= {name: medians(found) for name, found in samples.items() if found}
    if with_sep:
        table["catalog without previews, sep"] = _with_sep(folder, raw)
        ratio["sep"] = _ratio([table["catalog without previews, sep"]], samples["SExtractor"])
    return {
        "quadrants": _rows(folder / "E_q.parquet"),
        "steps": table,
        "start": start,
        "ratio": ratio,
        "chain": _chain(samples),
        "catalogue": _on_disk(folder / "E.cat.parquet"),
    }


def _run_all(folder: Path, raw: Path, runs: int) -> dict[str, list[Figures]]:
    """Run every step, and SExtractor on the whole raw file where it is installed."""
    from visql_lib.config import CatalogSettings

    steps = exposure_steps(raw, engine_settings(folder, "fast"))
    other = None if sextractor.program() is None else sextractor.command(raw, CatalogSettings(), folder)
    samples: dict[str, list[Figures]] = {name: [] for name in (*steps, "SExtractor")}
    for _ in range(runs):
        for name, step in steps.items():
            samples[name].append(measured([*VISQL, *step], folder))
            if name == "catalog" and other is not None:
                samples["SExtractor"].append(measured(other, folder))
    return samples


def _with_sep(folder: Path, raw: Path) -> Figures:
    return measured([*VISQL, *exposure_steps(raw, engine_settings(folder, "sep"))[_BARE]], folder)


def _ratio(ours: list[Figures], theirs: list[Figures]) -> float | None:
    """Return the median of the CPU ratios of runs that stood beside each other, None without theirs."""
    found = [a["cpu_s"] / b["cpu_s"] for a, b in zip(ours, theirs, strict=False)]
    return round(statistics.median(found), 4) if found else None


def _chain(samples: dict[str, list[Figures]]) -> Figures:
    """Add up the steps of an exposure: CPU with one thread, wall time with two in the catalogue step."""
    single = [samples[name] for name in CHAIN]
    double = [samples[_THREADED if name == "catalog" else name] for name in CHAIN]
    cpu = [sum(step["cpu_s"] for step in run) for run in zip(*single, strict=True)]
    wall = [sum(step["wall_s"] for step in run) for run in zip(*double, strict=True)]
    peak = max(medians(found)["peak_MB"] for found in (*single, *double))
    return {
        "cpu_s": round(statistics.median(cpu), 2),
        "wall_s": round(statistics.median(wall), 2),
        "peak_MB": round(peak),
    }


def _rows(path: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)


def _on_disk(path: Path) -> Figures:
    n, size = _rows(path), path.stat().st_size
    return {
        "MB": round(size / 1e6, 2),
        "detections": n,
        "bytes_per_detection": round(size / n, 2) if n else float("nan"),
    }
