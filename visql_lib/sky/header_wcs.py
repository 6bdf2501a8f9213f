"""The sky under a frame as a header tells it: TAN, TAN-SIP or TPV, and the way back to pixels.

Headers also hold polynomials for the way back (AP, BP). They are fits, valid on the frame at best and
often of another one, and are not read: the way back is solved on the way there.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.wcs_cards import check_wcs, is_icrs, wcs_cards
from visql_lib.sky.projection import Boresight, project
from visql_lib.values import number, said

if TYPE_CHECKING:
    from astropy.wcs import WCS

MARGIN = 0.3  # deg around the frame's circle within which places on the sky are brought to pixels

_CTYPE = re.compile(r"(RA--|DEC-)-(TAN|TPV)(-SIP)?", re.ASCII)
_SIP = re.compile(r"([AB])_(\d)_(\d)", re.ASCII)
_OF_SIP = re.compile(r"[AB]P?_(ORDER|\d_\d|DMAX)", re.ASCII)
_NUMBERS = re.compile(r"(CD|PC|PV)\d_|CDELT|CROTA|LONPOLE|LATPOLE", re.ASCII)
_LINEAR = ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
_HIGHEST_ORDER = 9  # of SIP
_WIDEST = 60.0  # deg, of the frame's circle: beyond, a tangent plane is no picture of the sky
_EDGE = 33  # points along each edge of the frame, and each side of a grid on it
_STEPS = 30  # of Newton's method, at most; three or four are needed
_CLOSE = 1e-3  # px; after a smaller step the place is right to a millionth
_AGREES = 0.01  # px between a place on the sky and that of the pixel found for it
_H = 0.5  # px, for derivatives
_ARCSEC = math.degrees(1) * 3600  # in a radian


@dataclass(frozen=True)
class HeaderWCS:
    """The sky under a frame. Pixels count from 0 at the centre of the first; RA and Dec are ICRS [deg].

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        From pixels to the sky.
    shape : (int, int)
        Rows and columns of the frame.
    ctype : str
        CTYPE1 as the header has it.
    centre : (float, float)
        RA and Dec of the frame's centre [deg].
    radius : float
        Of the circle around it that holds the frame [deg].
    sip_not_named : bool
        There are coefficients of SIP, but CTYPE does not say so; they are used.
    sip_missing : bool
        CTYPE says that there are such coefficients, but there are none; it is linear.
    """

    wcs: WCS
    shape: tuple[int, int]
    ctype: str
    centre: tuple[float, float]
    radius: float
    sip_not_named: bool = False
    sip_missing: bool = False

    @classmethod
    def from_header(cls, header: Mapping[str, Any], shape: tuple[int, int]) -> HeaderWCS:
        """Read the WCS of a header.

        Parameters
        ----------
        header : fits.Header or mapping
            Its cards; of other things than the WCS they may say what they want.
        shape : (int, int)
            Rows and columns of the frame.

        Raises
        ------
        ValueError
            Saying what is wrong: no WCS of the sky, another projection, a number that is none, a singular
            matrix, a distortion that folds the frame.
        """
        from astropy.io import fits
        from astropy.wcs import WCS
        from astropy.wcs.utils import wcs_to_celestial_frame

        cards = wcs_cards(header)
        named, coefficients = _names_sip(cards), _sip_coefficients(cards)
        plain = fits.Header(_plain(cards, coefficients).items())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # astropy tells of every card that it mends
                wcs = WCS(plain, naxis=2)
                check_wcs(wcs)
                frame = wcs_to_celestial_frame(wcs)
        except (ValueError, KeyError, TypeError, ArithmeticError, MemoryError) as error:
            raise ValueError(_last_line(error)) from error
        if not is_icrs(frame):
            raise ValueError(
                f"its coordinates are {frame.name} of {wcs.wcs.equinox:g}, not ICRS or FK5 of 2000"
            )
        ctype, nowhere = str(cards["CTYPE1"]).strip(), (math.nan, math.nan)
        missing, not_named = named and not coefficients, any(coefficients.values()) and not named
        found = cls(wcs, shape, ctype, nowhere, math.nan, sip_not_named=not_named, sip_missing=missing)
        centre, radius = found._circle()
        found = replace(found, centre=centre, radius=radius)
        found._check_one_to_one()
        return found

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return RA in [0, 360) and Dec [deg] of positions on the frame [px, zero-based]; NaN: none."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        if not x.size:
            return np.empty(x.shape), np.empty(x.shape)
        ra, dec = self.wcs.all_pix2world(x.ravel(), y.ravel(), 0, ra_dec_order=True)
        return np.mod(ra, 360.0).reshape(x.shape), np.asarray(dec).reshape(x.shape)

    def to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return the positions [px, zero-based] of places on the sky [deg].

        NaN where a place is more than `MARGIN` outside of the frame's circle, or where no pixel near the
        frame has it. All that lie on the frame are found; those beside it may lie beyond its borders.
        """
        ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=float), np.asarray(dec, dtype=float))
        xi, eta = self._plane(ra.ravel(), dec.ravel())
        x, y = np.full(xi.shape, np.nan), np.full(xi.shape, np.nan)
        near = np.flatnonzero(np.hypot(xi, eta) <= math.degrees(math.tan(math.radians(self._reach))))
        if len(near):
            x[near], y[near] = self._solved(xi[near], eta[near])
        return x.reshape(ra.shape), y.reshape(ra.shape)

    def pixel_area(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Return the area of pixels [arcsec2] at positions on the frame [px, zero-based]."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        along_x = _vectors(*self.to_sky(x + _H, y)) - _vectors(*self.to_sky(x - _H, y))
        along_y = _vectors(*self.to_sky(x, y + _H)) - _vectors(*self.to_sky(x, y - _H))
        return np.asarray(np.linalg.norm(np.cross(along_x, along_y), axis=-1) * _ARCSEC**2)

    @property
    def _reach(self) -> float:
        return self.radius + MARGIN

    @property
    def _middle(self) -> tuple[float, float]:
        rows, columns = self.shape
        return (columns - 1) / 2, (rows - 1) / 2

    def _circle(self) -> tuple[tuple[float, float], float]:
        """Return the place of the frame's centre, and how far its border is at most [deg]."""
        rows, columns = self.shape
        t = np.linspace(0.0, 1.0, _EDGE)
        x = np.concatenate([t, t, 0 * t, 0 * t + 1]) * columns - 0.5
        y = np.concatenate([0 * t, 0 * t + 1, t, t]) * rows - 0.5
        ra, dec = self.to_sky(*self._middle)
        border = _vectors(*self.to_sky(x, y))
        chord = np.linalg.norm(border - _vectors(ra, dec), axis=-1).max()
        radius = math.degrees(2 * math.asin(min(chord / 2, 1.0))) if chord > 0 else math.nan
        if not 0 < radius < _WIDEST:
            raise ValueError(f"its corners are {radius:g} deg from its centre")
        return (float(ra), float(dec)), radius

    def _check_one_to_one(self) -> None:
        """Refuse a WCS that has the same place on the sky under several pixels of the frame."""
        rows, columns = self.shape
        x, y = np.meshgrid(np.linspace(0, columns - 1, _EDGE), np.linspace(0, rows - 1, _EDGE))
        _, _, (a, b, c, d) = self._linearised(x.ravel(), y.ravel())
        sign = np.sign(a * d - b * c)
        if not ((sign == 1).all() or (sign == -1).all()):
            raise ValueError("its distortion folds the frame")

    def _plane(self, ra: NDArray, dec: NDArray) -> tuple[NDArray, NDArray]:
        """Project the sky onto the plane that touches it at the frame's centre [deg]; NaN: behind it."""
        return project(ra, dec, Boresight(*self.centre, 0.0))

    def _linearised(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, tuple[NDArray, ...]]:
        """Return the places of pixels on that plane, and their derivatives by x and y: xi_x, xi_y, ..."""
        n = len(x)
        xi, eta = self._plane(*self.to_sky(np.concatenate([x, x + _H, x]), np.concatenate([y, y, y + _H])))
        slopes = [(v[k * n : (k + 1) * n] - v[:n]) / _H for v in (xi, eta) for k in (1, 2)]
        return xi[:n], eta[:n], tuple(slopes)

    def _solved(self, xi: NDArray, eta: NDArray) -> tuple[NDArray, NDArray]:
        """Find the pixels of places on that plane by Newton's method, from the linear WCS at the centre."""
        middle = np.array(self._middle)
        x, y = np.full(len(xi), middle[0]), np.full(len(xi), middle[1])
        _, _, slopes = self._linearised(x[:1], y[:1])
        scale = math.sqrt(abs(float(slopes[0][0] * slopes[3][0] - slopes[1][0] * slopes[2][0])))  # deg/px
        far = 2 * math.hypot(*middle) + MARGIN / scale  # px
        dx, dy = _quotient(xi, eta, slopes)
        x, y = (
            np.clip(x + dx, middle[0] - far, middle[0] + far),
            np.clip(y + dy, middle[1] - far, middle[1] + far),
        )
        left = np.arange(len(xi))
        for _ in range(_STEPS):
            at_xi, at_eta, slopes = self._linearised(x[left], y[left])
            dx, dy = _quotient(xi[left] - at_xi, eta[left] - at_eta, slopes)
            x[left] = np.clip(x[left] + dx, middle[0] - far, middle[0] + far)
            y[left] = np.clip(y[left] + dy, middle[1] - far, middle[1] + far)
            left = left[np.hypot(dx, dy) > _CLOSE]
            if not len(left):
                break
        at_xi, at_eta = self._plane(*self.to_sky(x, y))
        agrees = np.hypot(at_xi - xi, at_eta - eta) <= _AGREES * scale
        return np.where(agrees, x, np.nan), np.where(agrees, y, np.nan)


def _quotient(xi: NDArray, eta: NDArray, slopes: tuple[NDArray, ...]) -> tuple[NDArray, NDArray]:
    """Return the steps in x and y [px] that make steps on the plane; NaN where there are none."""
    a, b, c, d = slopes
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = a * d - b * c
        return (d * xi - b * eta) / determinant, (a * eta - c * xi) / determinant


def _vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray:
    """Return unit vectors of places on the sky [deg], shape (..., 3)."""
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def _names_sip(cards: Mapping[str, Any]) -> bool:
    """Check that the projection is one of ours, and return whether it says that there is SIP.

    Raises
    ------
    ValueError
        If there is none, or another one.
    """
    kinds = []
    for key in ("CTYPE1", "CTYPE2"):
        if key not in cards:
            raise ValueError(f"it has no {key}, so no WCS of the sky")
        kinds.append(_CTYPE.fullmatch(str(cards[key]).strip().upper()))
    first, second = kinds
    if first is None or second is None or first[1] == second[1] or first[2] != second[2]:
        names = f"{said(cards['CTYPE1'])}, {said(cards['CTYPE2'])}"
        raise ValueError(f"CTYPE = {names}: the projections that are known are TAN, TAN-SIP and TPV")
    return first[3] is not None


def _sip_coefficients(cards: Mapping[str, Any]) -> dict[str, float]:
    """Return the coefficients of SIP for the way to the sky, as far as A_ORDER and B_ORDER let them count.

    Raises
    ------
    ValueError
        If one is no number.
    """
    if "TPV" in str(cards.get("CTYPE1", "")).upper():
        return {}  # has a distortion of its own
    found = {}
    for key in cards:
        if not (match := _SIP.fullmatch(key)):
            continue
        order = f"{match[1]}_ORDER"
        if int(match[2]) + int(match[3]) <= (_number(cards, order) if order in cards else _HIGHEST_ORDER):
            found[key] = _number(cards, key)
    return found


def _plain(cards: Mapping[str, Any], coefficients: Mapping[str, float]) -> dict[str, Any]:
    """Return cards that say one thing only: SIP if there are coefficients, and numbers as such.

    Raises
    ------
    ValueError
        If a card that must be there is missing, or no number.
    """
    plain = {key: value for key, value in cards.items() if not _OF_SIP.fullmatch(key) and key != "WCSAXES"}
    plain |= {key: _number(cards, key) for key in _LINEAR}
    if not any(re.fullmatch(r"CD\d_\d|CDELT\d", key) for key in cards):
        raise ValueError("it has neither CD1_1 nor CDELT1, so no scale")
    plain |= {key: _number(cards, key) for key in cards if _NUMBERS.match(key)}
    for key in ("EQUINOX", "EPOCH"):  # some write J2000.0; without one it is that of RADESYS
        if key in plain and math.isnan(number(plain[key])):
            del plain[key]
    for key in ("CTYPE1", "CTYPE2"):
        plain[key] = str(cards[key]).strip().upper().removesuffix("-SIP") + "-SIP" * bool(coefficients)
    if "TPV" in plain["CTYPE1"]:
        plain = {"PV1_1": 1.0, "PV2_1": 1.0} | plain  # the convention's defaults; wcslib has 0
    if coefficients:
        orders = [int(key[2]) + int(key[4]) for key in coefficients]
        plain |= dict(coefficients) | dict.fromkeys(("A_ORDER", "B_ORDER"), max(2, *orders))
    return plain


def _number(cards: Mapping[str, Any], key: str) -> float:
    if key not in cards:
        raise ValueError(f"it has no {key}")
    if math.isnan(found := number(cards[key])):
        raise ValueError(f"{key} = {said(cards[key])} is no number")
    return found


def _last_line(error: BaseException) -> str:
    """Return the last line of a message: that of wcslib that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
