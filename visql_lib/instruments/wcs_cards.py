"""The cards of a header that tell where its pixels lie on the sky: which they are, and what cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io.fits.card import Undefined
from astropy.io.fits.verify import VerifyError

if TYPE_CHECKING:
    from astropy.wcs import WCS

_OF_THE_WCS = re.compile(
    r"(WCSAXES|CTYPE\d|CRVAL\d|CRPIX\d|CUNIT\d|CD\d_\d|PC\d_\d|CDELT\d|CROTA\d|PV\d_\d+|LONPOLE|LATPOLE"
    r"|RADESYS|RADECSYS|EQUINOX|EPOCH|[AB]P?_ORDER|[AB]P?_\d_\d|[AB]_DMAX)",
    re.ASCII,
)
_NOT_BESIDE_CD = re.compile(r"PC\d_\d|CDELT\d|CROTA\d", re.ASCII)
_SAME_SKY = ("icrs", "fk5")  # FK5 of J2000 is ICRS to 0.02 arcsec
_FARTHEST = 1e7  # px, of the reference pixel


def wcs_cards(cards: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards of a WCS that can be read; of two ways to write its matrix one: CD goes before PC."""
    values = {}
    for key in dict.fromkeys(cards):
        if _OF_THE_WCS.fullmatch(key):
            try:
                value = cards[key]
            except (VerifyError, ValueError):  # a card that cannot be read is as good as a missing one
                continue
            if value is not None and not isinstance(value, Undefined):
                values[key] = value
    if any(key.startswith("CD") and "_" in key for key in values):
        values = {key: value for key, value in values.items() if not _NOT_BESIDE_CD.fullmatch(key)}
    return values


def check_wcs(wcs: WCS) -> None:
    """Refuse numbers that no frame of the sky has.

    Raises
    ------
    ValueError
        Naming what cannot be.
    """
    matrix = wcs.pixel_scale_matrix
    if not np.isfinite(matrix).all() or not np.linalg.det(matrix):
        raise ValueError("its matrix is singular")
    if not (np.abs(wcs.wcs.crval) <= 360.0).all():
        raise ValueError(f"CRVAL = {wcs.wcs.crval.tolist()}")
    if not (np.abs(wcs.wcs.crpix) <= _FARTHEST).all():
        raise ValueError(f"CRPIX = {wcs.wcs.crpix.tolist()}")


def is_icrs(frame: Any) -> bool:
    """Say whether the coordinates of a frame of astropy are ICRS, as far as matters here."""
    equinox = getattr(frame, "equinox", None)
    return frame.name in _SAME_SKY and (equinox is None or abs(equinox.jyear - 2000.0) < 1e-6)
