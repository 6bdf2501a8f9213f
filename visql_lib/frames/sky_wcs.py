"""Positions on the sky of a frame's pixels: the header's own WCS (TAN, SIP, TPV ...), or a file's beside it.

The header speaks of pixels of its array in the file; catalogues of the full
array. `SkyWCS` translates.
"""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from visql_lib.errors import FrameError
from visql_lib.frames.fits_parts import parts_in
from visql_lib.frames.raw_file import check_complete, reading
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.names import stem_of
from visql_lib.instruments.wcs_cards import check_wcs, is_icrs, wcs_cards

if TYPE_CHECKING:
    from astropy.wcs import WCS

log = logging.getLogger(__name__)

BESIDE = (".wcs", ".wcs.fits")  # endings of a file with a frame's WCS, as plate solvers write it
_CELESTIAL = re.compile(r"(RA|DEC|[GEHS]LON|[GEHS]LAT)-", re.ASCII)
_SIP = re.compile(r"[AB]P?_(ORDER|\d_\d|DMAX)", re.ASCII)


@dataclass(frozen=True)
class SkyWCS:
    """The sky under one amplifier.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Of the pixels of its array in the file.
    layout : Amplifier
        Where that lies in the full array.
    """

    wcs: WCS
    layout: Amplifier

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return RA in [0, 360) and Dec [deg, ICRS] of one-based positions in the full array; NaN: none."""
        file_x, file_y = self.layout.to_file(x, y)
        if not np.size(file_x):
            return np.empty(np.shape(file_x)), np.empty(np.shape(file_x))
        ra, dec = self.wcs.all_pix2world(file_x, file_y, 1, ra_dec_order=True)
        return np.mod(np.asarray(ra, dtype=float), 360.0), np.asarray(dec, dtype=float)


@dataclass(frozen=True)
class _OtherSky(SkyWCS):
    """The same, of a frame whose coordinates are others than ICRS: FK4, galactic, of another equinox."""

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return RA in [0, 360) and Dec [deg, ICRS] of one-based positions in the full array."""
        file_x, file_y = self.layout.to_file(x, y)
        if not np.size(file_x):
            return np.empty(np.shape(file_x)), np.empty(np.shape(file_x))
        sky = self.wcs.pixel_to_world(file_x - 1, file_y - 1).icrs
        return np.asarray(sky.ra.deg, dtype=float), np.asarray(sky.dec.deg, dtype=float)


def sky_of(cards: fits.Header, layout: Amplifier, path: Path, *, beside: bool = True) -> SkyWCS | None:
    """Find the WCS of the sky of an amplifier.

    Parameters
    ----------
    cards : fits.Header
        Of its array.
    layout : Amplifier
    path : Path
        The raw frame.
    beside : bool, optional
        A file of its name that ends with .wcs goes before the header: of frames of one
        amplifier, since such a file has one WCS.

    Returns
    -------
    SkyWCS or None
        None where there is none, or one that makes no sense (then a warning is logged).
    """
    other = _cards_beside(path) if beside else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy tells of every card that it mends
            return _sky(cards if other is None else other, layout)
    except (ValueError, KeyError, TypeError, ArithmeticError, MemoryError) as error:
        log.warning("%s: its WCS of the sky makes no sense (%s); no RA and Dec", path, _first_line(error))
        return None


def _sky(cards: fits.Header, layout: Amplifier) -> SkyWCS | None:
    values = wcs_cards(cards)
    if not str(values.get("CTYPE1", "")).upper().endswith("-SIP"):
        values = {key: value for key, value in values.items() if not _SIP.fullmatch(key)}
    if not all(_CELESTIAL.match(str(values.get(key, "")).upper()) for key in ("CTYPE1", "CTYPE2")):
        return None
    from astropy.wcs import WCS
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs = WCS(fits.Header(values.items()), naxis=2)
    check_wcs(wcs)
    found = (SkyWCS if is_icrs(wcs_to_celestial_frame(wcs)) else _OtherSky)(wcs, layout)
    y, x = (0.5 * (n + 1) for n in layout.shape)
    if not np.isfinite(wcs.all_pix2world([[x, y]], 1)).all():
        raise ValueError("its middle is not on the sky")
    return found


def _cards_beside(path: Path) -> fits.Header | None:
    """Return the header of the file with the WCS beside a frame, None where none can be read."""
    for ending in BESIDE:
        file = path.with_name(stem_of(path.name) + ending)
        if not file.is_file():
            continue
        try:
            return header_with_wcs(file)
        except FrameError as error:
            log.warning("%s; the frame's own WCS counts", error)
    return None


def header_with_wcs(file: Path) -> fits.Header:
    """Read the header that holds the WCS in a file beside a frame: the first with CTYPE1, else the first.

    Raises
    ------
    FrameError
        If it cannot be read, is empty, cut short, or no FITS file.
    """
    check_complete(file)
    with file.open("rb") as opened, reading(file):
        headers = [part.header() for part in parts_in(opened, file.stat().st_size)]
    return next((cards for cards in headers if "CTYPE1" in cards), headers[0])


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
