"""What a DARK, FLAT, BIAS or CHARGE frame tells of one quadrant, beyond its levels."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import CalibrationSettings
from visql_lib.flags import QuadrantFlag
from visql_lib.frames.defects import (
    MOST_CANDIDATES,
    Candidates,
    hot_candidates,
    overscan_row_pattern,
    rows_and_columns,
)
from visql_lib.frames.injection import measure_injection
from visql_lib.frames.statistics import level_and_noise

if TYPE_CHECKING:
    from visql_lib.frames.exposure import Quadrant

CALIBRATION = DARK, FLAT, BIAS, CHARGE = "DARK", "FLAT", "BIAS", "CHARGE"
_HIT_SIGMA = 5.0  # pixels above the level by this were hit by a particle
_EVERY = 4  # rows and columns that are enough for a slope

_NUMBERS = (
    "SIGNAL",
    "ROW_PATTERN",
    "ROW_PATTERN_OVERSCAN",
    "COLUMN_PATTERN",
    "N_HOT_COLUMNS",
    "N_HOT_ROWS",
    "HOT_COLUMN",
    "HOT_COLUMN_SIGNAL",
    "N_CANDIDATES",
    "SLOPE_X",
    "SLOPE_Y",
    "INJECTED",
    "INJECTED_LINES",
    "TRAILING",
    "TRAILING_ERR",
    "TRAILING_LENGTH",
)


def calibration_measures(
    quadrant: Quadrant,
    frame_type: str,
    levels: dict[str, Any],
    settings: CalibrationSettings,
    saturation: float,
) -> dict[str, Any]:
    """Return what the table of quadrants holds beyond levels; NaN where it does not apply.

    Parameters
    ----------
    quadrant : Quadrant
        Its pixels.
    frame_type : str
        DARK, FLAT, BIAS or CHARGE; of any other only SIGNAL is computed, from `levels`.
    levels : mapping
        BIAS, READ_NOISE, LEVEL, NOISE [ADU] and FLAGS of the quadrant.
    settings : CalibrationSettings
        What is hot.
    saturation : float
        From where on a pixel is saturated [ADU].

    Returns
    -------
    dict
        The columns of QUADRANTS (docs/tables.md) of that kind; FLAGS with new bits
        added; HOT_INDEX and HOT_SIGNAL are arrays of any length.
    """
    found: dict[str, Any] = dict.fromkeys(_NUMBERS, np.nan)
    found |= {"SIGNAL": levels["LEVEL"] - levels["BIAS"], "FLAGS": levels["FLAGS"]}
    found |= {"HOT_INDEX": np.empty(0, np.int32), "HOT_SIGNAL": np.empty(0, np.float32)}
    if frame_type not in CALIBRATION:
        return found
    if levels["NOISE"] == 0 and np.ptp(quadrant.image) == 0:
        return found | {"FLAGS": levels["FLAGS"] | int(QuadrantFlag.CONSTANT)}
    if frame_type in (DARK, BIAS):
        _add_lines(found, quadrant, levels, settings)
    if frame_type == DARK:
        _add_dark(found, quadrant, levels, settings)
    if frame_type == FLAT:
        found["SLOPE_X"], found["SLOPE_Y"] = flat_slopes(quadrant.image, levels["BIAS"])
        if levels["LEVEL"] >= saturation:
            found["FLAGS"] |= int(QuadrantFlag.SATURATED)
    if frame_type == CHARGE:
        _add_injection(found, quadrant, levels)
    return found


def dark_level(level: float, noise: float, share: float) -> float:
    """Return the level of the pixels that no particle hit [ADU].

    Parameters
    ----------
    level, noise : float
        Median and robust rms of all pixels [ADU].
    share : float
        Of the pixels, those that were hit: they only raise the median.
    """
    return level - noise * NormalDist().inv_cdf(min(0.5 / (1 - min(share, 0.5)), 1 - 1e-6))


def flat_slopes(image: NDArray, bias: float) -> tuple[float, float]:
    """Return how much the light changes from edge to edge along x and y, relative to its mean."""
    slopes = []
    for medians in (np.median(image[::_EVERY], axis=0), np.median(image[:, ::_EVERY], axis=1)):
        signal = medians - bias
        place = (np.arange(len(signal)) + 0.5) / len(signal) - 0.5
        mean = float(signal.mean())
        slopes.append(float(np.polyfit(place, signal, 1)[0] / mean) if mean > 0 else float("nan"))
    return slopes[0], slopes[1]


def _add_lines(
    found: dict[str, Any], quadrant: Quadrant, levels: dict[str, Any], settings: CalibrationSettings
) -> None:
    """Add pattern, and hot rows and columns."""
    image = quadrant.image
    rows, columns = rows_and_columns(image, levels["LEVEL"], levels["NOISE"], settings.hot_sigma)
    found |= {
        "ROW_PATTERN": rows.pattern,
        "ROW_PATTERN_OVERSCAN": overscan_row_pattern(quadrant.overscan),
        "COLUMN_PATTERN": columns.pattern,
        "N_HOT_COLUMNS": len(columns.hot),
        "N_HOT_ROWS": len(rows.hot),
    }
    if len(columns.hot):
        signals = [level_and_noise(image[:, column])[0] - levels["LEVEL"] for column in columns.hot]
        brightest = int(np.argmax(signals))
        found["HOT_COLUMN"] = int(columns.hot[brightest]) + quadrant.layout.origin[0] + 1
        found["HOT_COLUMN_SIGNAL"] = signals[brightest]
    if len(columns.hot) or len(rows.hot):
        found["FLAGS"] |= int(QuadrantFlag.HOT_LINE)


def _add_dark(
    found: dict[str, Any], quadrant: Quadrant, levels: dict[str, Any], settings: CalibrationSettings
) -> None:
    """Add the signal of a DARK, and the pixels that may be hot."""
    image, level, noise = quadrant.image, levels["LEVEL"], levels["NOISE"]
    hit = np.count_nonzero(image[::_EVERY] > level + _HIT_SIGMA * noise) / image[::_EVERY].size
    found["SIGNAL"] = dark_level(level, noise, hit) - levels["BIAS"]
    candidates = hot_candidates(image, level, noise, settings.hot_sigma, settings.hot_signal)
    found |= {
        "N_CANDIDATES": candidates.n_found,
        "HOT_INDEX": _in_full_array(candidates, quadrant),
        "HOT_SIGNAL": candidates.signal.astype(np.float32),
    }
    if candidates.n_found > MOST_CANDIDATES:
        found["FLAGS"] |= int(QuadrantFlag.MANY_CANDIDATES)


def _in_full_array(candidates: Candidates, quadrant: Quadrant) -> NDArray[np.int32]:
    columns = quadrant.image.shape[1]
    x0, y0 = quadrant.layout.origin
    y, x = candidates.place // columns + y0, candidates.place % columns + x0
    return np.asarray(y * quadrant.layout.shape[1] + x, dtype=np.int32)


def _add_injection(found: dict[str, Any], quadrant: Quadrant, levels: dict[str, Any]) -> None:
    """Add injected level and trailing."""
    ordered = quadrant.image if quadrant.layout.lower else quadrant.image[::-1]
    noise = levels["READ_NOISE"] if np.isfinite(levels["READ_NOISE"]) else 0.0
    injection = measure_injection(ordered, noise)
    found |= {
        "INJECTED": injection.level,
        "INJECTED_LINES": injection.n_lines,
        "TRAILING": injection.trailing,
        "TRAILING_ERR": injection.trailing_error,
        "TRAILING_LENGTH": injection.length,
    }
    if injection.n_lines == 0:
        found["FLAGS"] |= int(QuadrantFlag.NO_INJECTION)
