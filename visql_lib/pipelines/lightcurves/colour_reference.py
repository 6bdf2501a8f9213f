"""The colour reference: one star has one flux in all sets of a target, so that their curves lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from visql_lib.errors import TableError
from visql_lib.photometry.renormalise import colour_factors
from visql_lib.pipelines.lightcurves.export_table import SetCurve
from visql_lib.tables.store import read_meta

_MAGNITUDES = ("MAG", "MEAN_MAG")


def star_levels(renorm: Path) -> dict[str, float]:
    """Return the fluxes of a set's comparison stars at its photometric reference; none without a table."""
    try:
        levels = read_meta(renorm).get("levels")
    except TableError:
        return {}
    return {str(k): float(v) for k, v in levels.items()} if isinstance(levels, dict) else {}


def tied_curves(
    curves: Sequence[SetCurve], levels: Mapping[str, Mapping[str, float]]
) -> tuple[list[SetCurve], str, dict[str, float]]:
    """Move the magnitudes of sets so that one star has the same flux in all.

    Parameters
    ----------
    curves : sequence of SetCurve
    levels : mapping
        Set -> star -> flux, see `star_levels`.

    Returns
    -------
    curves : list of SetCurve
        The first one is as it was.
    star : str
        The star; "": the sets have none in common, or there is one set: nothing is moved.
    moved : dict
        Set -> what is added to its magnitudes.
    """
    star, factors = colour_factors({curve.name: levels.get(curve.name, {}) for curve in curves})
    if len(curves) < 2 or not star:
        return list(curves), "", {}
    moved = {name: 0.0 - 2.5 * float(np.log10(factor)) for name, factor in factors.items()}
    out = []
    for curve in curves:
        new = {c: np.asarray(curve.nights[c]) + moved[curve.name] for c in _MAGNITUDES if c in curve.nights}
        out.append(replace(curve, nights={**curve.nights, **new}))
    return out, star, moved
