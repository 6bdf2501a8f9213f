"""The colour reference of a target: the star that has one flux in all its sets, which ties them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visql_lib.photometry.renormalise import colour_factors
from visql_lib.pipelines.lightcurves.decisions import Decision
from visql_lib.pipelines.lightcurves.export_table import SetCurve
from visql_lib.tables.store import read_meta

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TiedCurves:
    """Curves of the sets of a target on the scale of the first one.

    Attributes
    ----------
    curves : list of SetCurve
    star : str
        The colour reference; "": one set, or no star that all of them have.
    shifts : dict
        Set -> what was added to its magnitudes.
    decisions : list of Decision
    """

    curves: list[SetCurve]
    star: str
    shifts: dict[str, float]
    decisions: list[Decision]


def tied_curves(curves: Sequence[SetCurve], folders: Sequence[Path], stage: str) -> TiedCurves:
    """Bring the magnitudes of all sets to the scale of the first: one star has the same flux in all of them.

    Parameters
    ----------
    curves : sequence of SetCurve
    folders : sequence of Path
        Of the sets, in the same order; the levels of the stars are in the metadata of ``renorm_SET.parquet``.
    stage : str
        That decides, for the record.
    """
    if len(curves) < 2:
        return TiedCurves(list(curves), "", {one.name: 0.0 for one in curves}, [])
    star, factors = colour_factors(
        {one.name: _levels(folder, one.name) for one, folder in zip(curves, folders, strict=True)}
    )
    shifts = {name: -2.5 * math.log10(factor) for name, factor in factors.items()}
    first = curves[0].name
    if not star:
        why = "no comparison star is in all sets: their magnitudes are not tied to each other"
        log.warning("%s", why)
        return TiedCurves(
            list(curves), "", shifts, [Decision("", one.name, stage, True, why) for one in curves]
        )
    told = [
        Decision("", name, stage, True, f"{shift:+.4f} mag: star {star} is as bright as in {first}", shift)
        for name, shift in shifts.items()
        if name != first
    ]
    return TiedCurves([_shifted(one, shifts[one.name]) for one in curves], star, shifts, told)


def _levels(folder: Path, name: str) -> dict[str, float]:
    levels = read_meta(folder / f"renorm_{name}.parquet").get("levels")
    return {str(star): float(level) for star, level in levels.items()} if isinstance(levels, dict) else {}


def _shifted(curve: SetCurve, shift: float) -> SetCurve:
    nights = dict(curve.nights)
    for column in ("MAG", "MEAN_MAG"):
        if column in nights:
            nights[column] = nights[column] + shift
    return replace(curve, nights=nights)
