"""What the interactive plots of a month cost: seconds to build, bytes of the page.

    python benchmarks/site_plots.py [--exposures 2000] [--keep FOLDER]

Builds the plots of a synthetic month with every quantity of every exposure and
a month of one-minute GOES data. The goal is a month's page below 2 MB, of which
the table of exposures needs a part.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.pipelines.vis.pages.timelines import bokeh_files, month_plots
from visql_lib.pipelines.vis.quantities import CATEGORIES, QUANTITIES
from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.limits import load_thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason

START = np.datetime64("2024-07-01T00:00:00", "us")
DAYS = 31
GOAL = 2_000_000  # bytes
_MEANS = {
    "psf.R2": 1.94,
    "psf.SCORE": 8.0,
    "psf.N_STARS": 2500.0,
    "detector.BIAS": 2646.0,
    "sun.GOES_FLUX": 2e-8,
    "radiation.PROTON_RATE": 1e-3,
}


def exposure(i: int, count: int, random: np.random.Generator) -> ExposureSummary:
    """Return a SCIENCE exposure that has every value, one in twenty of them out of range."""
    when = START + np.timedelta64(int(i * DAYS * 86400 / count), "s")
    stamp = str(when)[:19].replace("-", "").replace("T", "_").replace(":", "")
    cls, exptime = (("long", 560.52), ("short", 89.52))[i % 3 == 2]
    values = {q.name: _MEANS.get(q.name, 1.0) * float(random.lognormal(0, 0.05)) for q in QUANTITIES.shown}
    bad = i % 20 == 0
    statuses = dict.fromkeys(CATEGORIES, "warn" if bad else "ok")
    findings = (StatusReason("quality", "warn", "SCORE 31 above 27"),) if bad else ()
    name = f"C_{stamp}_W_{random.integers(1 << 32):08X}.VIS.bin_01_01"
    angles = {"ra": 1.0, "dec": 2.0, "pa": 3.0, "saa": 90.0, "alpha": 0.0}
    return ExposureSummary(
        name,
        "202407",
        str(when),
        "SCIENCE",
        cls,
        exptime,
        "1",
        **angles,
        sheet_status="ok",
        sheet_reason="",
        statuses=statuses,
        findings=findings,
        results=tuple(QCResult(name, value, "ok") for name, value in values.items()),
    )


def month(count: int) -> GroupSummary:
    """Return a month of that many exposures."""
    random = np.random.default_rng(7)
    return GroupSummary("202407", tuple(exposure(i, count, random) for i in range(count)))


def sun() -> dict[str, NDArray]:
    """Return a month of GOES data at a cadence of one minute."""
    n = DAYS * 1440
    flux = 1e-8 * np.random.default_rng(8).lognormal(0, 0.2, n)
    return {"TIME": START + np.arange(n) * np.timedelta64(60, "s"), "XRSA": flux, "GOOD": np.ones(n, bool)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exposures", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder for the page")
    options = parser.parse_args()
    thresholds, exposures, goes = load_thresholds("euclid_vis", QUANTITIES), month(options.exposures), sun()
    month_plots(month(1), thresholds)  # what is only done once
    start = time.perf_counter()
    script, body = month_plots(exposures, thresholds, goes)
    seconds = time.perf_counter() - start
    size = len(script.encode()) + len(body.encode())
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        static = Path(__file__).parents[1] / "visql_lib" / "site" / "static"
        files = bokeh_files() | {name: (static / name).read_bytes() for name in ("plots.js", "plots.css")}
        for name, content in files.items():
            (options.keep / name).write_bytes(content)
        head = '<meta charset="utf-8"><link rel="stylesheet" href="plots.css">'
        head += '<script src="bokeh.min.js"></script><script src="plots.js" defer></script>'
        (options.keep / "202407.html").write_text(f"<!doctype html>{head}{body}{script}")
    figures = {
        "exposures": options.exposures,
        "build_s": round(seconds, 2),
        "bytes": size,
        "below_goal": size < GOAL,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
