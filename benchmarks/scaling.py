"""How the cost of the catalogue step grows with pixels and with detections.

    python benchmarks/scaling.py [--runs 3] [--ccds 3-3,3-4] [--raw FRAME] [--json FILE]

Pixels: 1/16, 1/4 and all of the quadrants of one frame, drawn at random. Detections:
four CCDs with 0, 0.1, 1 and 10 times the real rate of cosmic rays. Without previews,
whose cost is the same for every frame.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
from pathlib import Path
from typing import Any

from common import VISQL, Command, Figures, engine_settings, measured, medians, simulate, start_of_a_process
from report import scaling_section

SHARES = (16, 4, 1)
RATES = (0.0, 0.1, 1.0, 10.0)
_RATE_CCDS = "3-3,3-4,4-3,4-4"
_PIXELS = 2048 * 2066  # of a quadrant's image section

Row = dict[str, Any]


def bench_scaling(
    folder: Path, runs: int, ccds: str = "", raw: Path | None = None, engine: str = "fast"
) -> dict[str, Any]:
    """Measure the catalogue step on frames of several sizes and several densities of cosmic rays.

    Parameters
    ----------
    folder : Path
        Where to work.
    runs : int
        How often; medians are returned.
    ccds : str, optional
        CCDs of the largest frame; empty: all; and of those of several densities; empty: four.
    raw : Path, optional
        The largest frame, where it is not to be simulated.
    engine : str, optional
        Detection engine.

    Returns
    -------
    dict
        ``rows`` of frames with costs, ``start`` of a process, ``slopes`` (log cost
        over log number, less the start; for detections also less the frame
        without cosmic rays; in a storm tracks merge, so that detections grow less
        than particles), ``ms_per_Mpx`` and ``us_per_detection`` (in the storm).
    """
    start = start_of_a_process(folder / "toy", engine, runs)
    config = engine_settings(folder, engine)
    sizes = _sizes(raw or simulate(folder / "pixels", ccds)[0], runs, config)
    rates = []
    for rate in RATES:
        path, _ = simulate(folder / f"rate{rate:g}", ccds or _RATE_CCDS, "--cosmics", str(rate))
        rates.append(_measure(path, f"cosmic rays x {rate:g}", len(quadrants(path)), runs, config))
        path.unlink()
    return {"engine": engine, "start": start, "rows": sizes + rates} | _laws(sizes, rates, start["cpu_s"])


def _sizes(raw: Path, runs: int, config: Path) -> list[Row]:
    """Measure parts of a frame."""
    rows = []
    for share in SHARES:
        path, n = cut_frame(raw, share, config.parent)
        name = "all quadrants" if share == 1 else f"1/{share} of the quadrants"
        rows.append(_measure(path, name, n, runs, config))
        path.unlink()
    return rows


def _laws(sizes: list[Row], rates: list[Row], start: float) -> dict[str, Any]:
    empty, *others = rates
    cost = [row["cpu_s"] - empty["cpu_s"] for row in others]
    number = [row["detections"] - empty["detections"] for row in others]
    return {
        "slopes": {
            "pixels": slope([row["quadrants"] for row in sizes], [row["cpu_s"] - start for row in sizes]),
            "detections": slope(number, cost),
            "particles": slope(list(RATES[1:]), cost),
        },
        "ms_per_Mpx": 1e9 * (empty["cpu_s"] - start) / (empty["quadrants"] * _PIXELS),
        "us_per_detection": 1e6 * cost[-1] / number[-1],
    }


def slope(x: list[float], y: list[float]) -> float:
    """Return the exponent of the power law through costs `y` [s] of numbers `x`.

    A straight line in the logarithms; a cost is taken to be good to 0.1 s and 3 %.
    """
    points = [
        (math.log(a), math.log(b), 1 / ((0.1 / b) ** 2 + 0.03**2))
        for a, b in zip(x, y, strict=True)
        if a > 0 and b > 0
    ]
    if len({a for a, _, _ in points}) < 2:
        return float("nan")
    total = sum(w for _, _, w in points)
    mean_x, mean_y = (sum(p[k] * p[2] for p in points) / total for k in (0, 1))
    rise = sum(w * (a - mean_x) * (b - mean_y) for a, b, w in points)
    return rise / sum(w * (a - mean_x) ** 2 for a, _, w in points)


def _measure(raw: Path, frame: str, n: int, runs: int, config: Path) -> Row:
    import pyarrow.parquet

    folder = config.parent
    step: Command = ["catalog", raw, "-o", "E.cat.parquet", "--quadrants", "E_q.parquet"]
    cost: Figures = medians([measured([*VISQL, *step, "--config", config], folder) for _ in range(runs)])
    found = pyarrow.parquet.read_metadata(folder / "E.cat.parquet").num_rows
    return {"frame": frame, "quadrants": n, "detections": int(found), **cost}


def quadrants(raw: Path) -> list[tuple[int, int]]:
    """Return first byte and end of every extension of a FITS file, the primary one left out."""
    from astropy.io import fits

    with fits.open(raw, lazy_load_hdus=False) as hdus:
        places = [hdu.fileinfo() for hdu in hdus[1:]]
    return [(place["hdrLoc"], place["datLoc"] + place["datSpan"]) for place in places]


def cut_frame(raw: Path, share: int, folder: Path) -> tuple[Path, int]:
    """Copy the primary header and one of `share` quadrants of a frame; return the copy and their number."""
    places = quadrants(raw)
    n = max(1, len(places) // share)
    chosen = sorted(random.Random(share).sample(places, n))
    path = folder / f"share{share}" / raw.name
    path.parent.mkdir(parents=True)
    with raw.open("rb") as source, path.open("wb") as target:
        for first, last in [(0, places[0][0]), *chosen]:
            source.seek(first)
            target.write(source.read(last - first))
    return path, n


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ccds", default="", help="CCDs of all frames; default: all; for the densities four")
    parser.add_argument("--raw", type=Path, help="take this frame as the largest one")
    parser.add_argument("--engine", default="fast")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    raw = given.raw.resolve() if given.raw else None
    with tempfile.TemporaryDirectory() as name:
        result = bench_scaling(Path(name), given.runs, given.ccds, raw, given.engine)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(scaling_section(result)))


if __name__ == "__main__":
    main()
