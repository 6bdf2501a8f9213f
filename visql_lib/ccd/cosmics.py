"""Cosmic rays in a single frame, found by astroscrappy (L.A.Cosmic; van Dokkum 2001, PASP 113, 1420)."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError

_READ_NOISE = 5.0  # electron, where nobody knows it
# Contrast between a hit and what is smooth, which protects the cores of stars: of stars of 2.2 px and S/N 30
# a contrast of 5 masks one in a hundred, of 8 none in 300; of wide stars more than 3 lets hits pass that
# are near the core (of 61 hits of 15 sigma within 1.5 FWHM, 3 finds 56, 5 finds 53).
_CONTRAST, _STEEP, _WIDE, _LEAST, _MOST = 5.0, 4.0, 3.0, 3.0, 10.0
EDGE = 4  # px at the border of stamps in which nothing is found


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


def find_stamp_cosmics(
    stamps: NDArray, variance: NDArray, bad: NDArray[np.bool_], *, fwhm: float, sigma: float = 5.0
) -> NDArray[np.bool_]:
    """Find the pixels of stamps that cosmic rays have hit, with what lies next to them.

    Parameters
    ----------
    stamps : array, shape (n, side, side)
        Electrons without sky. The gain is in them: astroscrappy is told 1, and the variance. Give them
        `EDGE` px more on each side than needed: at the border little is found.
    variance : array, same shape
        Of the pixels, expected without the hits [electron^2].
    bad : array of bool, same shape
        Pixels that count nowhere, saturated ones among them.
    fwhm : float
        Of the stars [px]; the sharper, the more contrast a hit needs.
    sigma : float, optional
        Limit of a hit.

    Returns
    -------
    array of bool, same shape
        Hits, and their neighbours above, below and beside, that they may have spilt into.
    """
    from astroscrappy import detect_cosmics
    from scipy.ndimage import binary_dilation

    wanted = _CONTRAST + _STEEP * (_WIDE - fwhm) if np.isfinite(fwhm) else _MOST
    contrast = min(max(wanted, _LEAST), _MOST)
    found = np.zeros(stamps.shape, bool)
    for data, var, hidden, hits in zip(stamps, variance, bad, found, strict=True):
        if hidden.all():
            continue
        pixels = np.ascontiguousarray(np.where(hidden, 0, data), dtype=np.float32)
        hits[:], _ = detect_cosmics(
            pixels,
            inmask=np.ascontiguousarray(hidden),
            inbkg=np.zeros_like(pixels),
            invar=np.ascontiguousarray(np.where(hidden, 1, var), dtype=np.float32),
            sigclip=sigma,
            objlim=contrast,
            gain=1.0,
            readnoise=0.0,  # it is in the variance
            satlevel=np.inf,
            cleantype="medmask",
        )
    cross = np.zeros((3, 3, 3), bool)
    cross[1, 1, :] = cross[1, :, 1] = True
    grown = binary_dilation(found & ~bad, cross)
    return np.asarray(grown & ~bad)
