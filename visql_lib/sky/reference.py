"""The reference stars of one exposure: chosen, moved to its date, projected onto the focal plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import SolutionFlag
from visql_lib.sky.projection import Boresight, project, propagate, reference_projection

EPOCH = 2016.0  # of Gaia DR3
_FIELD = 0.4  # deg, half the side of the field the reference projection is made for
_YEAR = 365.25  # d


def years_since_epoch(date: datetime | None) -> float:
    """Count the years from the epoch of the reference stars to a date (UTC); 0 for none."""
    if date is None:
        return 0.0
    start = datetime(2016, 1, 1, 12, tzinfo=date.tzinfo)  # J2016.0
    return (date - start).total_seconds() / 86400 / _YEAR


def moved_stars(stars: Mapping[str, NDArray], years: float) -> tuple[NDArray, NDArray, NDArray]:
    """Move reference stars by their proper motions; those without one stay where they are.

    Parameters
    ----------
    stars : mapping of arrays, shape (n,)
        RA, DEC [deg]; PMRA (times cos(dec)), PMDEC [mas/yr], NaN where not known.
    years : float
        Years of motion.

    Returns
    -------
    ra, dec : arrays
        Positions [deg].
    moving : array of bool
        Whose motion is known.
    """
    moving = np.isfinite(stars["PMRA"]) & np.isfinite(stars["PMDEC"])
    pm_ra, pm_dec = (np.where(moving, stars[name], 0.0) for name in ("PMRA", "PMDEC"))
    return *propagate(stars["RA"], stars["DEC"], pm_ra, pm_dec, years), moving


def reference_stars(
    stars: Mapping[str, NDArray],
    boresight: Boresight,
    years: float,
    *,
    radius: float,
    faintest: float = math.inf,
    max_error: float = math.inf,
    proper_motions: bool = True,
) -> tuple[dict[str, NDArray], SolutionFlag]:
    """Project the reference stars around a boresight onto the focal plane.

    Parameters
    ----------
    stars : mapping of arrays, shape (n,)
        SOURCE_ID; RA, DEC [deg] at epoch 2016.0; PMRA, PMDEC [mas/yr]; G, G_ERR,
        BP_RP [mag]; see GAIA_TILE in docs/tables.md.
    boresight : Boresight
        Where the instrument points [deg]; a missing PA is taken as 0.
    years : float
        Years of proper motion to apply; stars without one stay where they are.
    radius : float
        Around the boresight [deg] within which stars are used.
    faintest : float, optional
        Limit in G [mag].
    max_error : float, optional
        Errors of G [mag] from which a star is left out.
    proper_motions : bool, optional
        Whether proper motions are applied.

    Returns
    -------
    columns : dict of arrays
        GAIA_STARS (docs/tables.md): without colour, with too large an error or too
        faint they are left out; where the error of G is not known it does not count.
        The reference projection (RAV, DECV) knows no proper motions, all else does.
    flags : SolutionFlag
        NO_REFERENCE, NO_PROPER_MOTION.
    """
    turned = np.isfinite(boresight.pa)
    if not turned:
        boresight = Boresight(boresight.ra, boresight.dec, 0.0)
    rav, decv = reference_projection(stars["RA"], stars["DEC"], boresight)
    ra, dec, moving = moved_stars(stars, years if proper_motions else 0.0)
    with np.errstate(invalid="ignore"):  # a NaN is neither too faint nor good enough
        chosen = (stars["G"] < faintest) & ~(stars["G_ERR"] >= max_error)
    chosen &= np.isfinite(stars["BP_RP"])
    x_tan, y_tan = project(ra, dec, boresight)
    chosen &= np.hypot(x_tan, y_tan) < np.degrees(np.tan(np.radians(radius)))
    if turned:  # else nobody knows which way the field's corners point
        chosen &= (np.abs(rav) < _FIELD) & (np.abs(decv) < _FIELD)
    places = {"RA": ra, "DEC": dec, "RAV": rav, "DECV": decv, "X_TAN": x_tan, "Y_TAN": y_tan}
    kept = {name: stars[name] for name in ("SOURCE_ID", "G", "G_ERR", "BP_RP")}
    columns = {name: np.asarray(values)[chosen] for name, values in {**kept, **places}.items()}
    flags = SolutionFlag(0)
    if not chosen.any():
        flags |= SolutionFlag.NO_REFERENCE
    elif proper_motions and not moving[chosen].any():
        flags |= SolutionFlag.NO_PROPER_MOTION
    return columns, flags
