"""The thumbnail's picture: its pixels, and a FITS header that ties them to the sky.

Pixels are those of the picture file: (1, 1) is the centre of the upper left one, and y
runs downwards, as astronomical programs count the pixels of a PNG. In this frame the
sky is mirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.sky.geometry import CUBIC_TERMS, FocalPlaneGeometry
from visql_lib.sky.projection import Boresight

Cards = dict[str, float | int | str]

_INVERSE_ORDER = 5  # of the polynomial from the sky to pixels: below 0.01 px in the picture
_GRID = 25  # points along each axis on which polynomials are fitted


@dataclass(frozen=True)
class ThumbnailFrame:
    """Where the focal plane lies in the picture of the thumbnail.

    Attributes
    ----------
    scale : float
        Side of a pixel of the mosaic [deg].
    origin : (int, int)
        Mosaic position (x, y) [px] of the lower left corner pixel of the thumbnail.
    step : (float, float)
        Mosaic pixels per picture pixel, along x and y.
    left, bottom : float
        Where the thumbnail's left and lower edges are [px], from the picture's left
        and *upper* edges.
    width, height : int
        Of the picture [px].
    """

    scale: float
    origin: tuple[int, int]
    step: tuple[float, float]
    left: float
    bottom: float
    width: int
    height: int

    @property
    def pixel_scale(self) -> float:
        """Side of a picture pixel [arcsec], mean of both axes."""
        return 3600.0 * self.scale * math.sqrt(self.step[0] * self.step[1])

    def to_picture(self, x_world: ArrayLike, y_world: ArrayLike) -> tuple[NDArray, NDArray]:
        """Convert focal-plane positions [deg] to picture pixels."""
        # A mosaic pixel is half a pixel wide to either side of its position, and so is a picture pixel.
        u = (np.asarray(x_world, dtype=float) / self.scale + 0.5 - self.origin[0]) / self.step[0]
        v = (np.asarray(y_world, dtype=float) / self.scale + 0.5 - self.origin[1]) / self.step[1]
        return self.left + u + 0.5, self.bottom - v + 0.5

    def to_world(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Convert picture pixels to focal-plane positions [deg]; inverse of `to_picture`."""
        u, v = np.asarray(x, dtype=float) - self.left - 0.5, self.bottom + 0.5 - np.asarray(y, dtype=float)
        x_world = (u * self.step[0] + self.origin[0] - 0.5) * self.scale
        return x_world, (v * self.step[1] + self.origin[1] - 0.5) * self.scale


def header_cards(
    frame: ThumbnailFrame, geometry: FocalPlaneGeometry, boresight: Boresight, scale: float = 1.0
) -> Cards:
    """Make the cards of a TAN-SIP header of the thumbnail.

    The reference pixel shows the boresight. The cubic of the geometry is a
    polynomial of third order in pixels, so the header says exactly the same.
    """
    x0, y0 = geometry.distortion.invert(np.zeros(1), np.zeros(1))
    px, py = (float(v[0]) for v in frame.to_picture(x0, y0))
    matrix = _matrix(frame, geometry, boresight, scale, (float(x0[0]), float(y0[0])))
    u, v = np.meshgrid(
        *(np.linspace(1, size, _GRID) - p for size, p in ((frame.width, px), (frame.height, py)))
    )
    u, v = u.ravel(), v.ravel()
    xi, eta = _to_sky_plane(*_tangent(frame, geometry, u + px, v + py, scale), boresight)
    u_ideal, v_ideal = np.linalg.solve(matrix, np.stack([xi, eta]))
    cards: Cards = {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "EQUINOX": 2000.0,
        "LONPOLE": 180.0,
        "LATPOLE": 0.0,
        "CRVAL1": boresight.ra,
        "CRVAL2": boresight.dec,
        "CRPIX1": px,
        "CRPIX2": py,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        **{f"CD{i + 1}_{j + 1}": float(matrix[i, j]) for i in range(2) for j in range(2)},
        "IMAGEW": frame.width,
        "IMAGEH": frame.height,
    }
    order = max(i + j for i, j in CUBIC_TERMS)
    cards |= _polynomial("A", u, v, u_ideal - u, order, 2) | _polynomial("B", u, v, v_ideal - v, order, 2)
    return (
        cards
        | _polynomial("AP", u_ideal, v_ideal, u - u_ideal, _INVERSE_ORDER, 0)
        | _polynomial("BP", u_ideal, v_ideal, v - v_ideal, _INVERSE_ORDER, 0)
    )


def _tangent(
    frame: ThumbnailFrame, geometry: FocalPlaneGeometry, x: NDArray, y: NDArray, scale: float
) -> tuple[NDArray, NDArray]:
    """Convert picture pixels to tangent-plane coordinates [deg], axes of the focal plane."""
    x_tan, y_tan = geometry.distortion.apply(*frame.to_world(x, y))
    return x_tan * scale, y_tan * scale


def _to_sky_plane(x_tan: NDArray, y_tan: NDArray, boresight: Boresight) -> tuple[NDArray, NDArray]:
    """Turn tangent-plane coordinates from the axes of the focal plane to east and north."""
    c, s = math.cos(boresight.roll), math.sin(boresight.roll)
    return -x_tan * c + y_tan * s, x_tan * s + y_tan * c


def _matrix(
    frame: ThumbnailFrame,
    geometry: FocalPlaneGeometry,
    boresight: Boresight,
    scale: float,
    centre: tuple[float, float],
) -> NDArray[np.float64]:
    """Compute the CD matrix [deg/px] at a focal-plane position."""
    jxx, jxy, jyx, jyy = (
        float(v[0]) for v in geometry.distortion.jacobian(*np.array([[centre[0]], [centre[1]]]))
    )
    per_x, per_y = scale * frame.scale * frame.step[0], -scale * frame.scale * frame.step[1]
    by_x = _to_sky_plane(np.array(jxx * per_x), np.array(jyx * per_x), boresight)
    by_y = _to_sky_plane(np.array(jxy * per_y), np.array(jyy * per_y), boresight)
    return np.array([[float(by_x[0]), float(by_y[0])], [float(by_x[1]), float(by_y[1])]])


def _polynomial(name: str, u: NDArray, v: NDArray, value: NDArray, order: int, lowest: int) -> Cards:
    """Make the cards of the polynomial that gives `value` [px] at pixels u, v from the reference."""
    terms = [(i, j) for i in range(order + 1) for j in range(order + 1 - i) if i + j >= lowest]
    unit = max(float(np.abs(u).max()), float(np.abs(v).max()), 1.0)  # or high powers would drown low ones
    columns = np.stack([(u / unit) ** i * (v / unit) ** j for i, j in terms], axis=-1)
    found = np.linalg.lstsq(columns, value, rcond=None)[0]
    cards: Cards = {f"{name}_ORDER": order}
    return cards | {
        f"{name}_{i}_{j}": float(c / unit ** (i + j)) for (i, j), c in zip(terms, found, strict=True)
    }
