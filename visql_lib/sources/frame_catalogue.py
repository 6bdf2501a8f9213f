"""The catalogue of a frame in electrons: sources about a known sky, windowed centroids, peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import SourceFlag
from visql_lib.sources.detect import detect_sources
from visql_lib.sources.sky_map import SkyMap

_SIGMA = 2.3548200450309493  # FWHM of a Gaussian, in sigma
_WINDOW = 2.0  # px, least FWHM of the window of centroids
_LARGEST_SHIFT = 2.0  # px, between isophotal and windowed place
_REACH = 3  # px about the place, where the peak is


@dataclass(frozen=True)
class DetectionLimits:
    """What a source is: threshold in sigma, least pixels, levels and contrast of deblending."""

    threshold: float = 5.0
    min_area: int = 12
    deblend_levels: int = 32
    deblend_contrast: float = 0.005


def frame_catalogue(
    data: NDArray,
    bad: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    sky: SkyMap,
    limits: DetectionLimits | None = None,
) -> tuple[dict[str, NDArray], NDArray[np.float32]]:
    """Detect and measure the sources of a frame.

    Parameters
    ----------
    data : array, shape (ny, nx)
        electron, axis order (y, x), sky included; NaN where bad.
    bad : array of bool, same shape
        Pixels without a value: background, never a source.
    saturated : array of bool, same shape
        Sources with such pixels are flagged SATURATED.
    sky : SkyMap
        Of this frame.
    limits : DetectionLimits, optional

    Returns
    -------
    columns : dict of arrays, shape (n,)
        Brightest first: NUMBER from 1, X_IMAGE, Y_IMAGE (isophotal), XWIN_IMAGE, YWIN_IMAGE (weighted by a
        Gaussian of twice the median half-light radius; the isophotal ones where that does not converge)
        [px, one-based], FLUX_AUTO, FLUXERR_AUTO [electron], A_IMAGE, B_IMAGE, FLUX_RADIUS [px],
        THETA_IMAGE [deg], PEAK [electron, sky included], FLAGS (`SourceFlag` bits).
    light : array of float32, shape (ny, nx)
        `data` less the sky; 0 where bad.

    Raises
    ------
    DetectionError
        If far too many pixels are above the threshold.
    """
    chosen = limits or DetectionLimits()
    light = np.subtract(data, sky.image(), dtype=np.float32)
    light[bad] = 0
    found = detect_sources(
        data,
        chosen.threshold,
        error=sky.rms,
        mask=bad,
        gain=1.0,
        min_area=chosen.min_area,
        deblend_levels=chosen.deblend_levels,
        deblend_contrast=chosen.deblend_contrast,
        max_flux_radius=np.inf,
        background=sky.background,
    )
    order = np.argsort(-found.columns["FLUX_AUTO"], kind="stable")
    columns = {name: values[order] for name, values in found.columns.items()}
    columns["NUMBER"] = np.arange(1, len(order) + 1, dtype=np.int32)
    columns["XWIN_IMAGE"], columns["YWIN_IMAGE"] = _windowed(light, bad, columns)
    columns["PEAK"] = _highest(data, columns)
    hot = _highest(saturated.astype(np.float32), columns) > 0
    columns["FLAGS"] = columns["FLAGS"] | np.where(hot, SourceFlag.SATURATED, 0).astype(np.int16)
    return columns, light


def _windowed(
    light: NDArray[np.float32], bad: NDArray[np.bool_], columns: dict[str, NDArray]
) -> tuple[NDArray, NDArray]:
    """Measure windowed centroids [px, one-based]."""
    import sep

    x0, y0 = columns["X_IMAGE"] - 1, columns["Y_IMAGE"] - 1
    if not len(x0):
        return x0, y0
    whole = columns["FLAGS"] <= SourceFlag.BLENDED
    radius = columns["FLUX_RADIUS"][whole] if whole.any() else columns["FLUX_RADIUS"]
    width = max(2 * float(np.median(radius)), _WINDOW)
    x, y, _ = sep.winpos(light, x0, y0, width / _SIGMA, mask=bad if bad.any() else None)
    lost = ~(np.hypot(x - x0, y - y0) < _LARGEST_SHIFT)
    return np.where(lost, x0, x) + 1, np.where(lost, y0, y) + 1


def _highest(image: NDArray, columns: dict[str, NDArray]) -> NDArray[np.float64]:
    """Return the highest pixel within 3 px of the sources' places, NaN where all are bad."""
    if not len(columns["XWIN_IMAGE"]):
        return np.empty(0)
    x = np.rint(columns["XWIN_IMAGE"] - 1).astype(int)
    y = np.rint(columns["YWIN_IMAGE"] - 1).astype(int)
    padded = np.pad(image, _REACH, constant_values=np.nan)
    box = np.lib.stride_tricks.sliding_window_view(padded, (2 * _REACH + 1, 2 * _REACH + 1))
    ny, nx = image.shape
    cut = box[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)].reshape(len(x), -1)
    return np.asarray(np.fmax.reduce(cut, axis=1), dtype=np.float64)
