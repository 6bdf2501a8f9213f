"""The stars of one reduced image: places, fluxes, width, and the sky around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray

from visql_lib.flags import SourceFlag
from visql_lib.sources import detect_sources
from visql_lib.sources.background import background_of
from visql_lib.sources.pixels import pixels_of

SIGMA = 2.3548200450309493  # full width at half maximum of a Gaussian, in sigma
_MESH, _MESH_FILTER = 64, 3  # of the background, as `detect_sources` has them
_APERTURE = 2.0  # radius of the aperture, in FWHM: all but 2e-5 of a Gaussian's light
_SHARP = 0.1  # light beside a star's centre in units of that in it, at least
_NARROW = 0.6  # half-light radius in units of the stars' below which it is none
_LONG = 4.0  # A / B from which it is a trail
_BRIGHT = 20.0  # signal to noise of the stars that tell the width
_FEW = 5
_WINDOW = 2.0  # px, least FWHM of the window that places are weighted with
_SQUARE = SIGMA**2 / 12  # px^2, by which flat square pixels widen the square of a FWHM
_LARGEST_SHIFT = 1.0  # px, between isophotal and windowed place
_UNSURE = SourceFlag.SATURATED | SourceFlag.TRUNCATED | SourceFlag.ISOPHOTE_INCOMPLETE
_CROWDED = SourceFlag.BLENDED | SourceFlag.NEIGHBOURS | SourceFlag.APERTURE_INCOMPLETE


@dataclass(frozen=True)
class MeasuredStars:
    """Stars of an image; units are those of its pixels.

    Attributes
    ----------
    x, y : array, shape (n,)
        Windowed places [px], zero-based.
    flux, flux_err : array, shape (n,)
        Sky-subtracted sum within 2 FWHM, and its standard error.
    whole : array of bool, shape (n,)
        Not saturated, not at the edge, no masked pixel in its light: its place counts.
    alone : array of bool, shape (n,)
        Whole, and without neighbours in its aperture: its flux counts.
    fwhm : float
        Full width at half maximum [px]; NaN where no star tells it.
    sky, noise : float
        Median background, and its scatter per pixel; NaN if all pixels are masked.
    """

    x: NDArray
    y: NDArray
    flux: NDArray
    flux_err: NDArray
    whole: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    fwhm: float
    sky: float
    noise: float

    def __len__(self) -> int:
        """Count the stars."""
        return len(self.x)


def measure_stars(
    data: NDArray,
    mask: NDArray | None = None,
    *,
    threshold: float = 5.0,
    err: NDArray | None = None,
    gain: float | None = None,
    saturation: float = np.inf,
) -> MeasuredStars:
    """Detect and measure the stars of a reduced image.

    Sources that a point of light cannot be are left out: those whose centre stands alone (hot
    pixels, cosmic rays) or that are much narrower than the others, and trails.

    Parameters
    ----------
    data : array, shape (ny, nx)
        Pixels, axis order (y, x), sky included; NaN: not known.
    mask : array, same shape, optional
        Not zero (or True): masked. Counts neither for the sky nor for any star.
    threshold : float, optional
        Of detection, in sigma of the background.
    err : array, same shape, optional
        Standard errors of the pixels, of which those of the fluxes are made; default: the noise of the sky.
    gain : float, optional
        Electrons per unit of the pixels: without `err`, the stars' own noise is added to their errors.
    saturation : float, optional
        Level of the pixels (sky included) from which they are saturated.

    Returns
    -------
    MeasuredStars
        Brightest first. The FWHM is twice the median half-light radius of the brighter stars
        that stand alone, less what apertures over flat square pixels add: FWHM^2 - 0.46 px^2. The
        camera's own pixels stay in it: a star of 3 px has 3.08.

    Raises
    ------
    DetectionError
        If far too many pixels are above the threshold.
    """
    bad = ~np.isfinite(data) if mask is None else ~np.isfinite(data) | (mask != 0)
    found = detect_sources(data, threshold, mask=bad, gain=gain, saturation=saturation)
    columns = found.columns
    if not len(columns["X_IMAGE"]):
        return _none(found.background, found.rms)
    pixels = pixels_of(data, bad)
    light = background_of(pixels, _MESH, _MESH_FILTER).image((data.shape[0], data.shape[1]))
    del pixels
    np.subtract(data, light, out=light, casting="unsafe")
    light[bad] = 0
    like = _like_stars(light, bad, columns, found.rms)
    columns = {name: values[like] for name, values in columns.items()}
    if not like.any():
        return _none(found.background, found.rms)
    fwhm = _width(columns)
    columns = {n: v[columns["FLUX_RADIUS"] > _NARROW * fwhm / 2] for n, v in columns.items()}
    return _measured(light, bad, columns, fwhm, (found.background, found.rms), _noise(err, bad, gain))


def _noise(err: NDArray | None, bad: NDArray, gain: float | None) -> dict[str, Any]:
    """Return the errors of the pixels as sep takes them; {}: only the sky's."""
    if err is not None:
        usable = np.isfinite(err) & ~bad
        return {"err": np.ascontiguousarray(np.where(usable, err, 0), dtype=np.float32)}
    return {} if gain is None else {"gain": gain}


def _none(sky: float, noise: float) -> MeasuredStars:
    nothing, never = np.empty(0), np.empty(0, bool)
    return MeasuredStars(nothing, nothing, nothing, nothing, never, never, np.nan, sky, noise)


def _like_stars(light: NDArray, bad: NDArray, columns: dict[str, NDArray], noise: float) -> NDArray[np.bool_]:
    """Tell sources with light on both sides of their centre, along x and along y, from single hot pixels.

    Where the centre is saturated or masked, that cannot be told, and it is taken for a star.
    """
    ny, nx = light.shape
    x = np.clip(np.rint(columns["X_IMAGE"] - 1).astype(int), 1, nx - 2)
    y = np.clip(np.rint(columns["Y_IMAGE"] - 1).astype(int), 1, ny - 2)
    around = np.stack([[light[y + j, x + i] for i in (-1, 0, 1)] for j in (-1, 0, 1)])  # [j, i, star]
    top = np.maximum(around.reshape(9, -1).max(axis=0), noise)
    # The brightest of the nine pixels is the centre; it may lie beside the barycentre.
    place = around.reshape(9, -1).argmax(axis=0)
    x, y = np.clip(x + place % 3 - 1, 1, nx - 2), np.clip(y + place // 3 - 1, 1, ny - 2)
    beside = np.minimum(
        np.maximum(light[y, x - 1], light[y, x + 1]), np.maximum(light[y - 1, x], light[y + 1, x])
    )
    hidden = bad[y, x] | bad[y, x - 1] | bad[y, x + 1] | bad[y - 1, x] | bad[y + 1, x]
    round_enough = columns["A_IMAGE"] < _LONG * np.maximum(columns["B_IMAGE"], 1e-3)
    chosen: NDArray[np.bool_] = (hidden | (beside > _SHARP * top)) & round_enough
    return chosen


def _width(columns: dict[str, NDArray]) -> float:
    """Find the FWHM [px] of the brighter stars that stand alone, or of what there is."""
    flags, radius = columns["FLAGS"], columns["FLUX_RADIUS"]
    sure = (flags & int(_UNSURE)) == 0
    alone = sure & ((flags & int(_CROWDED)) == 0)
    bright = alone & (columns["FLUX_AUTO"] > _BRIGHT * columns["FLUXERR_AUTO"])
    for chosen in (bright, alone, sure):
        if chosen.sum() >= _FEW:
            break
    else:
        chosen = np.ones(len(radius), bool)
    seen = 2 * float(np.median(radius[chosen]))
    return float(np.sqrt(max(seen**2 - _SQUARE, _SQUARE)))


def _measured(
    light: NDArray,
    bad: NDArray,
    columns: dict[str, NDArray],
    fwhm: float,
    sky: tuple[float, float],
    noise: dict[str, Any],
) -> MeasuredStars:
    """Measure places and fluxes on the image less its background."""
    x0, y0 = columns["X_IMAGE"] - 1, columns["Y_IMAGE"] - 1
    x, y, _ = sep.winpos(light, x0, y0, max(fwhm, _WINDOW) / SIGMA, mask=bad)
    lost = ~(np.hypot(x - x0, y - y0) < _LARGEST_SHIFT)
    x, y = np.where(lost, x0, x), np.where(lost, y0, y)
    flux, err, cut = sep.sum_circle(light, x, y, _APERTURE * fwhm, mask=bad, **{"err": sky[1], **noise})
    flags = columns["FLAGS"]
    whole = ((flags & int(_UNSURE)) == 0) & ~lost & (flux > 0)
    alone = whole & (cut == 0) & ((flags & int(_CROWDED)) == 0)
    order = np.argsort(-columns["FLUX_AUTO"], kind="stable")
    flux = np.where(flux > 0, flux, columns["FLUX_AUTO"])
    return MeasuredStars(
        x[order], y[order], flux[order], err[order], whole[order], alone[order], float(fwhm), *sky
    )
