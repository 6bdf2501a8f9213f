"""What a movie costs: seconds per new frame, per frame of a kept day, memory.

    python benchmarks/movies.py [--frames 60] [--kind xcosmix] [--cadence 60] [--keep FOLDER]

Draws that many synthetic exposures by `visql movie` in a process of its own, runs
it again with all days kept, and scales both to 1800 exposures of a month. The
goal is 15 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Figures, measured
from numpy.typing import NDArray

from visql_lib.instruments import load_instrument
from visql_lib.pipelines.vis.schemas.radiation import GOES_SERIES, RADIATION_MAPS
from visql_lib.pipelines.vis.settings import RadiationSettings
from visql_lib.radiation.maps import map_grids
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.tables import write_table
from visql_lib.tables.provenance import actual_checksum

VIS = load_instrument("euclid_vis")
MONTH, GOAL = 1800, 900.0  # frames, s
STEP = np.timedelta64(24, "m")  # 1800 exposures in 30 days
START = np.datetime64("2024-07-01T00:00:00", "us")
_COMMAND = [sys.executable, "-c", "from visql_lib.cli.movie import command; command()"]
_MEANS = {"xray": 40.0, "cosmic": 60.0, "proton": 0.05, "rf": 100.0}  # counts per bin, about as real


def maps(random: np.random.Generator) -> tuple[dict[str, NDArray], dict]:
    """Return a table of maps that is as full as a real one, and its metadata."""
    parts, meta = [], {}
    settings = RadiationSettings()
    grids = map_grids(settings.bins, settings.extent)
    for name, mean in _MEANS.items():
        grid = grids[name]
        iy, ix = np.mgrid[: grid.ny, : grid.nx]
        at = random.integers(grid.nx, size=2)
        brightness = 1 + 5 * np.exp(-((ix - at[0]) ** 2 + (iy - at[1]) ** 2) / 60)
        counts = random.poisson(mean * brightness)
        y, x = np.nonzero(counts)
        parts.append((np.full(len(x), name), x, y, counts[y, x]))
        meta[name] = grid.meta
    columns = (np.concatenate(values) for values in zip(*parts, strict=True))
    return dict(zip(RADIATION_MAPS.names, columns, strict=True)), {"grids": meta}


def make_month(folder: Path, frames: int, cadence: int) -> Path:
    """Write sheet, maps and GOES series of a month; return the sheet."""
    random, sheet = np.random.default_rng(1), folder / "exposures" / "202407.tsv"
    rows = []
    for i in range(frames):
        start = START + i * STEP
        name = f"C_{str(start)[:19].replace('-', '').replace(':', '').replace('T', '_')}_W_{i:08X}"
        known = {"exposure": name, "date_obs": str(start)[:23], "frame_type": "SCIENCE", "status": "ok"}
        numbers = {"exptime": 560.5, "ra": 10.0, "dec": 20.0, "pa": 30.0, "saa": 91.7, "alpha": -4.5}
        empty = dict.fromkeys(SheetRow.__dataclass_fields__, "")
        rows.append(SheetRow(**(empty | known | numbers | {"size": 1, "mtime": 1})))
        table, meta = maps(random)
        path = sheet.parent / "202407" / name / f"{name}_radmaps.parquet"
        write_table(path, table, RADIATION_MAPS, meta=meta)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    write_sheet(sheet, rows)
    for day in range(-1, int(frames * STEP / np.timedelta64(1, "D")) + 2):
        write_goes(folder / "goes", START + np.timedelta64(day, "D"), cadence, random)
    return sheet


def write_goes(folder: Path, day: np.datetime64, cadence: int, random: np.random.Generator) -> None:
    """Write a day of the Sun with flares."""
    n = 86400 // cadence
    flux = 5e-7 * np.exp(random.normal(0, 0.1, n))
    for at in random.integers(0, n, 6):
        later = np.arange(n - at) * cadence / 1800
        flux[at:] += 10 ** random.uniform(-6, -4) * np.exp(-later)
    time = day + np.arange(n) * np.timedelta64(cadence, "s")
    columns = {"TIME": time, "XRSA": flux / 10, "XRSB": flux, "GOOD": random.random(n) > 0.01}
    columns["SATELLITE"] = np.full(n, "GOES-16")
    write_table(folder / f"goes_{str(day)[:10]}.parquet", columns, GOES_SERIES)


def bench_movies(folder: Path, frames: int, kind: str, cadence: int) -> Figures:
    """Measure a movie of new frames, and one of kept ones; scale both to a month."""
    sheet = make_month(folder, frames, cadence)
    arguments = [*_COMMAND, sheet, "--kind", kind, "--goes", folder / "goes", "--cache", folder / "days"]
    few = folder / "few.tsv"  # what does not grow: imports, settings, an encoder
    write_sheet(few, [])
    start = measured([*_COMMAND, few, "--cache", folder / "none", "-o", folder / "none.mp4"], folder)
    new = measured([*arguments, "-o", folder / "movie.mp4"], folder)
    kept = measured([*arguments, "-o", folder / "again.mp4"], folder)
    assert actual_checksum(folder / "movie.mp4") == actual_checksum(folder / "again.mp4")
    per_kept = max(kept["cpu_s"] - start["cpu_s"], 0.0) / frames
    per_new = (new["cpu_s"] - kept["cpu_s"]) / frames
    month = start["cpu_s"] + MONTH * (per_new + per_kept)
    return {
        "frames": frames,
        "start_cpu_s": start["cpu_s"],
        "draw_and_encode_cpu_s_per_frame": per_new,
        "kept_cpu_s_per_frame": per_kept,
        "month_cpu_s": month,
        "month_nothing_new_cpu_s": start["cpu_s"] + MONTH * per_kept,
        "goal_s": GOAL,
        "peak_MB": max(new["peak_MB"], kept["peak_MB"]),
        "wall_s": new["wall_s"],
        "movie_MB_per_month": (folder / "movie.mp4").stat().st_size / 1e6 * MONTH / frames,
        "kept_MB_per_month": sum(p.stat().st_size for p in (folder / "days").rglob("*.h264"))
        / 1e6
        * MONTH
        / frames,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--kind", default="xcosmix", choices=["xcosmix", "protons"])
    parser.add_argument("--cadence", type=int, default=60, help="of GOES [s]")
    parser.add_argument("--keep", type=Path, help="work in this folder and keep what is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        found = bench_movies(folder, options.frames, options.kind, options.cadence)
    print(json.dumps({key: round(value, 4) for key, value in found.items()}, indent=1))
    if found["month_cpu_s"] > GOAL:
        sys.exit("missed the goal")


if __name__ == "__main__":
    main()
