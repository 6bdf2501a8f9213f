"""How well fluxes of a simulated frame could be measured at best: Fisher information.

PSF, positions and galaxy are the true ones; free are the fluxes, a constant, and a shift common to all
sources of the stamp. Variance: what is expected, sky in, and the square of the read noise; all pixels count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season_curves import SeasonExposure
from visql_lib.simulate.season_frame import MadeSeasonFrame

if TYPE_CHECKING:
    from visql_lib.simulate.season import Season

HALF = 24  # px, half side of the stamps
_STEP = 0.02  # px, of the slopes


def flux_bound(
    made: MadeSeasonFrame,
    read_noise: float,
    x: NDArray,
    y: NDArray,
    flux: NDArray,
    half: int = HALF,
) -> NDArray:
    """Return the least errors of the fluxes of sources that are measured together.

    Parameters
    ----------
    made : MadeSeasonFrame
    read_noise : float
        electron.
    x, y : array, shape (n,)
        Zero-based true places in the frame [px]; the stamp is about their mean.
    flux : array, shape (n,)
        Their true light [electron].
    half : int
        Half side of the stamp.

    Returns
    -------
    array, shape (n,)
        Standard deviations [electron]; NaN where the stamp is not wholly inside the frame.
    """
    exposure = made.exposure
    i, j = round(float(np.mean(x))), round(float(np.mean(y)))
    rows, columns = made.light.shape
    if not (half <= i < columns - half and half <= j < rows - half):
        return np.full(len(flux), np.nan)
    part = slice(j - half, j + half + 1), slice(i - half, i + half + 1)
    variance = made.light[part] + made.sky[part] + read_noise**2
    psf = exposure.psf.at(i)
    shapes, slopes = [], np.zeros((2, *variance.shape))
    for a, b, f in zip(x - i, y - j, flux, strict=True):
        shapes.append(psf.stamp(a, b, half))
        slopes[0] += f * (psf.stamp(a + _STEP, b, half) - psf.stamp(a - _STEP, b, half)) / (2 * _STEP)
        slopes[1] += f * (psf.stamp(a, b + _STEP, half) - psf.stamp(a, b - _STEP, half)) / (2 * _STEP)
    design = np.stack([*shapes, np.ones(variance.shape), *slopes]).reshape(len(flux) + 3, -1)
    size = np.sqrt((design**2 / variance.ravel()).sum(axis=1))
    design = design / size[:, None]
    information = (design / variance.ravel()) @ design.T
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(information)))[: len(flux)] / size[: len(flux)])


def target_bound(season: Season, made: MadeSeasonFrame) -> NDArray:
    """Return the least errors of the point sources' fluxes in a frame [electron], shape (n sources,)."""
    exposure = made.exposure
    flux = season.image_fluxes()[exposure.number - 1]
    x, y = exposure.place(*season.places.T)
    return flux_bound(made, season.options.camera.read_noise, x, y, flux)


def star_bound(season: Season, made: MadeSeasonFrame, stars: NDArray | None = None) -> NDArray:
    """Return the least errors of stars' fluxes in a frame [electron]; `stars`: their numbers, none: all."""
    exposure: SeasonExposure = made.exposure
    chosen = np.arange(len(season.stars.x)) if stars is None else np.asarray(stars)
    fluxes = season.star_fluxes()[exposure.number - 1]
    x, y = exposure.place(season.stars.x, season.stars.y)
    noise = season.options.camera.read_noise
    return np.array(
        [flux_bound(made, noise, x[k : k + 1], y[k : k + 1], fluxes[k : k + 1])[0] for k in chosen]
    )
