"""Where the sky lies on a frame of a simulated guide camera: TAN, with a distortion as SIP writes it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from visql_lib.simulate.guide_plan import GuidePlateOptions

_STEPS = 20  # of Newton's method
_TOLERANCE = 1e-9  # px
_TILT = 0.05  # of the distortion that is of second order, in the corners

Polynomial = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Plate:
    """The sky on a frame: pixel (u, v) from the centre -> (u, v) + polynomials -> matrix -> TAN.

    Attributes
    ----------
    ra, dec : float
        Of the centre [deg].
    centre : (float, float)
        Zero-based x, y.
    matrix : array, shape (2, 2)
        From pixels to degrees.
    a, b : dict
        (p, q) -> coefficient of u^p v^q, of x and y; empty: linear.
    """

    ra: float
    dec: float
    centre: tuple[float, float]
    matrix: NDArray
    a: Polynomial
    b: Polynomial

    @classmethod
    def of(
        cls, options: GuidePlateOptions, ra: float, dec: float, shape: tuple[int, int], scale: float
    ) -> Plate:
        """Return the true plate of a frame that looks at a place [deg]; scale in arcsec/px."""
        turn = np.radians(options.turn)
        # North is `turn` from y towards east, which is left.
        matrix = np.array([[-np.cos(turn), -np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * scale / 3600
        if options.mirrored:
            matrix = matrix @ np.diag([-1.0, 1.0])
        centre = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        corner = float(np.hypot(*centre))
        cubic = (1 - _TILT) * options.distortion / corner**3
        tilt = _TILT * options.distortion / corner**2
        a = {(3, 0): cubic, (1, 2): cubic, (2, 0): tilt} if options.distortion else {}
        b = {(0, 3): cubic, (2, 1): cubic, (0, 2): -tilt} if options.distortion else {}
        return cls(ra, dec, centre, matrix, a, b)

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return RA and Dec [deg] of zero-based places."""
        u, v = self._distorted(np.asarray(x, float) - self.centre[0], np.asarray(y, float) - self.centre[1])
        xi, eta = (np.radians(row[0] * u + row[1] * v) for row in self.matrix)
        a, d = np.radians(self.ra), np.radians(self.dec)
        depth = np.cos(d) - eta * np.sin(d)
        ra = a + np.arctan2(xi, depth)
        dec = np.arctan2(np.sin(d) + eta * np.cos(d), np.hypot(xi, depth))
        return np.degrees(ra) % 360, np.degrees(dec)

    def to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return zero-based places of positions [deg] on or near the frame; NaN behind the sky."""
        a, d, d0 = np.radians(np.asarray(ra) - self.ra), np.radians(np.asarray(dec)), np.radians(self.dec)
        depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
        depth = np.where(depth > 0.1, depth, np.nan)
        xi = np.cos(d) * np.sin(a) / depth
        eta = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth
        inverse = np.linalg.inv(self.matrix)
        wanted = [np.degrees(row[0] * xi + row[1] * eta) for row in inverse]
        u, v = wanted[0].copy(), wanted[1].copy()
        for _ in range(_STEPS if self.a else 0):
            found = self._distorted(u, v)
            off = wanted[0] - found[0], wanted[1] - found[1]
            (uu, uv), (vu, vv) = self._slopes(u, v)
            determinant = uu * vv - uv * vu
            u += (vv * off[0] - uv * off[1]) / determinant
            v += (uu * off[1] - vu * off[0]) / determinant
            if not (np.abs(off) > _TOLERANCE).any():
                break
        return u + self.centre[0], v + self.centre[1]

    def pixel_area(self, x: ArrayLike, y: ArrayLike) -> NDArray:
        """Return the area of pixels [arcsec2] at zero-based places."""
        u, v = np.asarray(x, float) - self.centre[0], np.asarray(y, float) - self.centre[1]
        (uu, uv), (vu, vv) = self._slopes(u, v)
        u, v = self._distorted(u, v)
        xi, eta = (np.radians(row[0] * u + row[1] * v) for row in self.matrix)
        flat = abs(np.linalg.det(self.matrix)) * 3600**2 * (uu * vv - uv * vu)
        return np.asarray(flat * (1 + xi**2 + eta**2) ** -1.5)

    def _distorted(self, u: NDArray, v: NDArray) -> tuple[NDArray, NDArray]:
        return u + _value(self.a, u, v), v + _value(self.b, u, v)

    def _slopes(self, u: NDArray, v: NDArray) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
        """Return the derivatives of the distorted place by u and v."""
        du, dv = (tuple(_value(_derived(f, axis), u, v) for axis in (0, 1)) for f in (self.a, self.b))
        return (1 + du[0], du[1]), (dv[0], 1 + dv[1])

    def with_error(self, options: GuidePlateOptions, rng: np.random.Generator) -> Plate:
        """Return the plate a solver finds: shifted, of a slightly wrong scale and turn."""
        turn = rng.uniform(0, 2 * np.pi)
        shift = options.shift * np.cos(turn), options.shift * np.sin(turn)
        half = np.array(self.centre) + 0.5
        wrong = rng.standard_normal((2, 2)) * options.scatter / (half * np.sqrt(2 / 3))
        centre = self.centre[0] + shift[0], self.centre[1] + shift[1]
        return replace(self, centre=centre, matrix=self.matrix @ (np.eye(2) + wrong))

    def header(self, shape: tuple[int, int]) -> fits.Header:
        """Return the cards of the WCS; with the inverse coefficients that a careless program writes."""
        kind = "-SIP" if self.a else ""
        cards: dict[str, str | int | float] = {
            "WCSAXES": 2,
            "CTYPE1": f"RA---TAN{kind}",
            "CTYPE2": f"DEC--TAN{kind}",
            "EQUINOX": 2000.0,
            "LONPOLE": 180.0,
            "LATPOLE": 0.0,
            "CRVAL1": self.ra,
            "CRVAL2": self.dec,
            "CRPIX1": self.centre[0] + 1,
            "CRPIX2": self.centre[1] + 1,
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            **{f"CD{i + 1}_{j + 1}": float(self.matrix[i, j]) for i in (0, 1) for j in (0, 1)},
            "IMAGEW": shape[1],
            "IMAGEH": shape[0],
        }
        for letter, terms, sign in (
            ("A", self.a, 1),
            ("B", self.b, 1),
            ("AP", self.a, -1),
            ("BP", self.b, -1),
        ):
            if terms:
                cards[f"{letter}_ORDER"] = 3
                cards |= {f"{letter}_{p}_{q}": sign * float(c) for (p, q), c in terms.items()}
        return fits.Header(cards)


def _value(terms: Polynomial, u: NDArray, v: NDArray) -> NDArray:
    return np.asarray(sum((c * u**p * v**q for (p, q), c in terms.items()), np.zeros(np.shape(u))))


def _derived(terms: Polynomial, axis: int) -> Polynomial:
    """Return the derivative by u (axis 0) or v."""
    found = {}
    for powers, coefficient in terms.items():
        if powers[axis]:
            lower = (powers[0] - 1, powers[1]) if axis == 0 else (powers[0], powers[1] - 1)
            found[lower] = coefficient * powers[axis]
    return found
