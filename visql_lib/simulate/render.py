"""Putting stars and galaxies into an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.optics import PsfModel
from visql_lib.simulate.wings import WING_SIZE

# Half sides [px] of stars' stamps; the smallest is taken outside which no pixel gets more than _FAINT.
_HALVES = (12, 18, 30, 64, 128, 256, WING_SIZE // 2)
_FAINT = 0.4  # ADU
_GALAXY_SIZES = (0.08, 0.13, 0.2, 0.3, 0.45, 0.7, 1.1)  # arcsec, middle half-light radii of the templates
_SIZE_SPREAD = 0.22  # half the distance of the middles, in ln: the templates of a class fill the gap
_SHAPES = 12  # templates of each class
_GALAXY_HALF = 8.0  # half side of a template, in half-light radii beyond the PSF's 8 px


@dataclass(frozen=True)
class Patch:
    """An image section [ADU, axis order (y, x)].

    ``origin`` is the zero-based position (x, y) of its first pixel in the quadrant's full array.
    """

    pixels: NDArray
    origin: tuple[int, int]


def add_stars(
    patch: Patch, psf: PsfModel, x: NDArray, y: NDArray, flux: NDArray, x_world: NDArray, y_world: NDArray
) -> None:
    """Add stars to an image, in place.

    Parameters
    ----------
    patch : Patch
        The image.
    psf : PsfModel
        Its point-spread function.
    x, y : arrays, shape (n,)
        One-based positions [px] in the quadrant's full array; may lie outside.
    flux : array, shape (n,)
        Total flux [ADU].
    x_world, y_world : arrays, shape (n,)
        Focal-plane positions [deg].
    """
    px, py = x - 1 - patch.origin[0], y - 1 - patch.origin[1]
    halves = stamp_halves(psf, flux)
    rows, columns = patch.pixels.shape
    near = (px > -halves - 0.5) & (px < columns - 0.5 + halves)
    near &= (py > -halves - 0.5) & (py < rows - 0.5 + halves)
    for k in np.flatnonzero(near):
        i, j, half = int(np.rint(px[k])), int(np.rint(py[k])), int(halves[k])
        stamp = psf.image(x_world[k], y_world[k], (px[k] - i, py[k] - j), half)
        _add(patch.pixels, stamp * np.float32(flux[k]), i - half, j - half)


def stamp_halves(psf: PsfModel, flux: NDArray) -> NDArray:
    """Compute the half side [px] of the stamp that holds the visible part of stars of some flux [ADU]."""
    edge = np.array([psf.profile(half) for half in _HALVES])
    enough = flux[:, None] * edge[None, :] < _FAINT
    choice = np.where(enough.any(axis=1), enough.argmax(axis=1), len(_HALVES) - 1)
    return np.asarray(_HALVES)[choice]


def _add(image: NDArray, stamp: NDArray, i: int, j: int) -> None:
    """Add a stamp whose first pixel is (i, j), cut at the image's edges."""
    rows, columns = image.shape
    height, width = stamp.shape
    y0, y1, x0, x1 = max(j, 0), min(j + height, rows), max(i, 0), min(i + width, columns)
    if y0 < y1 and x0 < x1:
        image[y0:y1, x0:x1] += stamp[y0 - j : y1 - j, x0 - i : x1 - i]


class GalaxyLibrary:
    """Galaxies of unit flux, convolved with the PSF of one place, to be used many times."""

    def __init__(self, psf: PsfModel, x_world: float, y_world: float, seed: int) -> None:
        import galsim

        rng = np.random.default_rng([seed, 77])
        blur = psf.node_profile(x_world, y_world)
        self.templates: list[list[NDArray]] = []
        for size in _GALAXY_SIZES:
            half = int(np.ceil(8 + _GALAXY_HALF / 2 * size / psf.scale))
            shapes = []
            for number in range(_SHAPES):
                index = 1.0 if number < _SHAPES * 3 // 4 else 2.5
                ellipticity = min(abs(rng.normal(0, 0.3)), 0.75)
                radius = size * np.exp(rng.uniform(-_SIZE_SPREAD, _SIZE_SPREAD))
                galaxy = galsim.Sersic(index, half_light_radius=radius).shear(
                    e=ellipticity, beta=rng.uniform(0, 180) * galsim.degrees
                )
                image = galsim.Convolve(galaxy, blur).drawImage(
                    nx=2 * half + 1,
                    ny=2 * half + 1,
                    scale=psf.scale,
                    offset=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5)),
                    method="no_pixel",
                )
                shapes.append(np.maximum(image.array, 0).astype(np.float32))
            self.templates.append(shapes)

    def add(self, patch: Patch, x: NDArray, y: NDArray, flux: NDArray, size: NDArray, draw: NDArray) -> None:
        """Add galaxies to an image, in place.

        ``x, y, flux`` as for `add_stars`; ``size`` [arcsec] chooses the template, ``draw`` of
        shape (n, 4) its shape and orientation.
        """
        edges = np.sqrt(np.array(_GALAXY_SIZES[1:]) * np.array(_GALAXY_SIZES[:-1]))
        classes = np.searchsorted(edges, size)
        i = np.rint(x - 1 - patch.origin[0]).astype(int)
        j = np.rint(y - 1 - patch.origin[1]).astype(int)
        rows, columns = patch.pixels.shape
        reach = max(t[0].shape[0] for t in self.templates) // 2
        near = (i > -reach) & (i < columns + reach) & (j > -reach) & (j < rows + reach)
        for k in np.flatnonzero(near):
            template = self.templates[classes[k]][int(draw[k, 0] * _SHAPES)]
            turned = template[:: 1 if draw[k, 1] < 0.5 else -1, :: 1 if draw[k, 2] < 0.5 else -1]
            if draw[k, 3] < 0.5:
                turned = turned.T
            half = turned.shape[0] // 2
            _add(patch.pixels, turned * np.float32(flux[k]), i[k] - half, j[k] - half)
