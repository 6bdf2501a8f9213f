"""How far our engines agree with SExtractor: same settings, same pixels, four kinds of image.

    python benchmarks/parity.py [--engines fast,sep] [--kinds exposure,storm,stars,galaxies] [--json FILE]

Two full quadrants of each kind. SExtractor's catalogue is cut like ours; an
object is matched if the other catalogue holds one within 1 px; values are
compared on pairs that are nearest to each other.

SExtractor holds 1024 rows of an image at a time (MEMORY_BUFSIZE) and flags some
apertures as incomplete that reach beyond those rows only: such differences in
APERTURE_INCOMPLETE vanish if it holds the whole image.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sextractor
from common import ENGINES
from inputs import KINDS, images
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from visql_lib.config import CatalogSettings
from visql_lib.flags import SourceFlag
from visql_lib.sources import detect_sources

COMPARED = ("FLUX_AUTO", "FLUXERR_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE")
BITS = ("NEIGHBOURS", "BLENDED", "SATURATED", "TRUNCATED", "APERTURE_INCOMPLETE")
_STARS = "stars: B_IMAGE > 1.3, FLUX_AUTO > 1e4, FLUX_RADIUS < 1.6"
_BRIGHT = "bright galaxies: B_IMAGE > 1.3, FLUX_AUTO > 5e3, FLUX_RADIUS > 1.6"
CHOSEN = {"exposure": _STARS, "storm": _STARS, "stars": _STARS, "galaxies": _BRIGHT}
Columns = dict[str, NDArray]


@dataclass(frozen=True)
class Pairs:
    """Objects both found in an image, and counts: theirs, theirs matched, ours, ours matched."""

    theirs: Columns
    ours: Columns
    counts: tuple[int, int, int, int]
    background_difference: float
    threshold_ratio: float


def compare(
    image: NDArray,
    settings: CatalogSettings,
    kind: str = "stars",
    reference: sextractor.Reference | None = None,
) -> dict[str, Any]:
    """Compare an engine with SExtractor on one image.

    Parameters
    ----------
    image : array, shape (ny, nx)
        Pixels [ADU], axis order (y, x).
    settings : CatalogSettings
        Engine, and settings of both.
    kind : str, optional
        Which objects are of special interest: a key of `CHOSEN`.
    reference : Reference, optional
        What SExtractor said of this image; default: it is run.

    Returns
    -------
    dict
        As of `agreement`.
    """
    return agreement([pairs(image, settings, reference)], kind)


def pairs(image: NDArray, settings: CatalogSettings, reference: sextractor.Reference | None = None) -> Pairs:
    """Measure an image with both; return the objects both found. Parameters as of `compare`."""
    reference = reference or sextractor.measure(image, settings)
    theirs = reference.columns
    found = detect_sources(image, **settings.model_dump(), saturation=sextractor.SATURATION)
    ours = found.columns
    here = np.c_[theirs["X_IMAGE"], theirs["Y_IMAGE"]]
    there = np.c_[ours["X_IMAGE"], ours["Y_IMAGE"]]
    distance, index = cKDTree(there).query(here)
    back_distance, back = cKDTree(here).query(there)
    mutual = (distance < 1) & (back[index] == np.arange(len(here)))
    counts = (len(here), int((distance < 1).sum()), len(there), int((back_distance < 1).sum()))
    return Pairs(
        {name: column[mutual] for name, column in theirs.items()},
        {name: column[index[mutual]] for name, column in ours.items()},
        counts,
        found.background - reference.background,
        settings.threshold * found.rms / float(np.median(theirs["THRESHOLD"])),
    )


def agreement(parts: list[Pairs], kind: str = "stars") -> dict[str, Any]:
    """Return how far the objects of some images agree; fractions are in per cent.

    ``within`` and ``within_chosen`` are values within 1 % of SExtractor's, of all
    pairs and of the chosen ones; ``flags`` says for every bit in how many per
    cent it agrees, and counts: set by both, by us only, by SExtractor only.
    """
    theirs = {name: np.concatenate([p.theirs[name] for p in parts]) for name in parts[0].theirs}
    ours = {name: np.concatenate([p.ours[name] for p in parts]) for name in parts[0].ours}
    n_theirs, matched, n_ours, matched_ours = np.sum([p.counts for p in parts], axis=0)
    ratios = {name: ours[name] / theirs[name] for name in COMPARED}
    chosen = _chosen(theirs, kind)
    return {
        "objects": int(n_theirs),
        "ours": int(n_ours),
        "matched": _percent(matched / n_theirs),
        "ours_matched": _percent(matched_ours / n_ours),
        "chosen": int(chosen.sum()),
        "within": {name: _within(ratio) for name, ratio in ratios.items()},
        "within_chosen": {name: _within(ratio[chosen]) for name, ratio in ratios.items()},
        "median": {name: round(float(np.median(ratio)), 6) for name, ratio in ratios.items()},
        "angles": _angles(theirs, ours),
        "flags": {bit: _bit(theirs["FLAGS"], ours["FLAGS"], SourceFlag[bit]) for bit in BITS},
        "background_difference": max((p.background_difference for p in parts), key=abs),
        "threshold_ratio": max((p.threshold_ratio for p in parts), key=lambda r: abs(r - 1)),
        "outliers": _outliers(theirs, ours, chosen),
    }


def _chosen(columns: Columns, kind: str) -> NDArray:
    """Select what `CHOSEN` says."""
    thick = columns["B_IMAGE"] > 1.3
    if kind == "galaxies":
        return thick & (columns["FLUX_AUTO"] > 5e3) & (columns["FLUX_RADIUS"] > 1.6)
    return thick & (columns["FLUX_AUTO"] > 1e4) & (columns["FLUX_RADIUS"] < 1.6)


def _percent(fraction: float) -> float:
    return round(100 * float(fraction), 3)


def _within(ratio: NDArray) -> float:
    return _percent((np.abs(ratio - 1) < 0.01).mean()) if len(ratio) else float("nan")


def _angles(theirs: Columns, ours: Columns) -> float:
    """Return the percentage of long objects whose angles agree within a degree."""
    long = theirs["A_IMAGE"] > 1.2 * theirs["B_IMAGE"]
    difference = (ours["THETA_IMAGE"] - theirs["THETA_IMAGE"] + 90) % 180 - 90
    return _percent((np.abs(difference[long]) < 1).mean())


def _bit(theirs: NDArray, ours: NDArray, bit: int) -> dict[str, float]:
    a, b = theirs.astype(int) & bit > 0, ours.astype(int) & bit > 0
    return {
        "agree": _percent((a == b).mean()),
        "both": int((a & b).sum()),
        "ours_only": int((b & ~a).sum()),
        "theirs_only": int((a & ~b).sum()),
    }


def _outliers(
    theirs: Columns, ours: Columns, chosen: NDArray, most: int = 12
) -> list[dict[str, list[float]]]:
    """Return the chosen objects whose flux or radius is farthest off: theirs and ours, worst first."""
    off = np.maximum(*(np.abs(ours[name] / theirs[name] - 1) for name in ("FLUX_AUTO", "FLUX_RADIUS")))
    worst = [k for k in np.argsort(-np.where(chosen, off, 0))[:most] if chosen[k] and off[k] > 0.01]
    names = ("X_IMAGE", "Y_IMAGE", "FLUX_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE", "FLAGS")
    return [{n: [round(float(theirs[n][k]), 3), round(float(ours[n][k]), 3)] for n in names} for k in worst]


def bench_parity(engines: list[str], kinds: list[str]) -> dict[str, Any]:
    """Compare engines on two quadrants of every kind.

    Returns
    -------
    dict
        ``agreement`` by kind and engine; ``inputs`` and ``chosen``, what the kinds
        and their chosen objects are.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in kinds:
        seen = [(image, sextractor.measure(image, CatalogSettings())) for image in images(kind)]
        result[kind] = {
            engine: agreement([pairs(i, CatalogSettings(engine=engine), r) for i, r in seen], kind)
            for engine in engines
        }
    return {
        "inputs": {kind: KINDS[kind] for kind in kinds},
        "chosen": {kind: CHOSEN[kind] for kind in kinds},
        "agreement": result,
    }


def main() -> None:
    """Compare and print."""
    from report import parity_section

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of " + ", ".join(KINDS))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    result = bench_parity(given.engines.split(","), given.kinds.split(","))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(parity_section(result)))


if __name__ == "__main__":
    main()
