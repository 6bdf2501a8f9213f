"""Cosmic rays in a single frame, found by astroscrappy (L.A.Cosmic; van Dokkum 2001, PASP 113, 1420)."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError

_READ_NOISE = 5.0  # electron, where nobody knows it


def require_astroscrappy() -> None:
    """Check that astroscrappy can be used.

    Raises
    ------
    RequestError
        If it is not installed.
    """
    if find_spec("astroscrappy") is None:
        raise RequestError(
            "reduce.cosmic_rays needs astroscrappy: pip install 'visql[cosmics]', or set it to false"
        )


def find_cosmic_rays(
    electrons: NDArray,
    bad: NDArray[np.bool_],
    *,
    read_noise: float,
    fwhm: float,
    sigma: float = 5.0,
    narrowest: float = 2.5,
) -> NDArray[np.bool_] | None:
    """Find the pixels that cosmic rays have hit.

    Parameters
    ----------
    electrons : array, shape (ny, nx)
        Reduced light in electrons, sky included: so the gain is used once, here, and astroscrappy is told 1.
    bad : array of bool
        Pixels that count nowhere, saturated ones among them.
    read_noise : float
        Of a pixel [electron].
    fwhm : float
        Of the stars [px]; NaN: not known.
    sigma : float, optional
        Limit of a cosmic ray.
    narrowest : float, optional
        Stars narrower than this [px] look like cosmic rays: nothing is searched.

    Returns
    -------
    array of bool, or None
        None: not searched.

    Raises
    ------
    RequestError
        If astroscrappy is not installed.
    """
    if not fwhm >= narrowest:
        return None
    require_astroscrappy()
    from astroscrappy import detect_cosmics

    data = np.where(bad, np.float32(np.median(electrons[~bad]) if (~bad).any() else 0), electrons)
    found, _ = detect_cosmics(
        np.ascontiguousarray(data, dtype=np.float32),
        inmask=np.ascontiguousarray(bad),
        sigclip=sigma,
        gain=1.0,
        readnoise=read_noise if np.isfinite(read_noise) else _READ_NOISE,
        satlevel=np.inf,
        cleantype="medmask",
    )
    return np.asarray(found, dtype=bool) & ~bad
