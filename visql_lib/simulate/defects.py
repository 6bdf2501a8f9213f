"""Defects of a detector: hot pixels and columns, and the levels of its lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import SimulationError
from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.instruments.model import Instrument
from visql_lib.simulate.plan import DetectorOptions

_SURPLUS = 1.0  # mean rate of hot pixels above the faintest, in units of it


class HotPixels(NamedTuple):
    """Hot pixels of one quadrant, arrays of shape (n,)."""

    x: NDArray[np.integer]  # zero-based in the image section
    y: NDArray[np.integer]
    rate: NDArray[np.floating]  # ADU/s


def hot_pixels(layout: Amplifier, options: DetectorOptions, seed: int, number: int) -> HotPixels:
    """Draw the hot pixels of a quadrant, the same for all frames of one seed.

    Parameters
    ----------
    layout : Amplifier
        Which quadrant.
    options : DetectorOptions
        Density and least rate.
    seed : int
        Of the instrument.
    number : int
        Of the quadrant.
    """
    rng = np.random.default_rng([seed, 7, number])
    columns = layout.image_columns.stop - layout.image_columns.start
    rows = layout.image_rows.stop - layout.image_rows.start
    n = int(rng.poisson(options.hot_pixels * rows * columns / 1e6))
    at = np.sort(rng.choice(rows * columns, n, replace=False))
    rate = options.hot_rate * (1 + _SURPLUS * rng.exponential(size=n))
    return HotPixels(at % columns, at // columns, rate)


def hot_columns(options: DetectorOptions, instrument: Instrument) -> dict[str, list[int]]:
    """Sort the hot columns by quadrant, one-based in the full array.

    Raises
    ------
    SimulationError
        If there is no such quadrant, or no such column in its image section.
    """
    found: dict[str, list[int]] = {}
    for text in options.hot_columns:
        name, _, column = text.partition(":")
        layout = instrument.quadrants.get(name)
        if layout is None or not column.isdecimal():
            raise SimulationError(f"hot_columns: {text!r}: write QUADRANT:COLUMN, such as 3-3.E:700")
        first, end = layout.image_columns.start + 1, layout.image_columns.stop
        if not first <= int(column) <= end:
            raise SimulationError(f"hot_columns: {text!r}: image columns of {name} are {first} to {end}")
        found.setdefault(name, []).append(int(column))
    return found


def add_defects(
    image: NDArray,
    layout: Amplifier,
    pixels: HotPixels,
    columns: list[int],
    level: float,
    exptime: float,
) -> None:
    """Add hot pixels and columns to an image [ADU, axis order (y, x)], in place.

    Hot pixels fill up during the exposure [s]; a hot column has `level` [ADU]
    in every frame, as it comes from the readout.
    """
    image[pixels.y, pixels.x] += (pixels.rate * exptime).astype(np.float32)
    for column in columns:
        image[:, column - 1 - layout.image_columns.start] += np.float32(level)


def line_levels(
    layout: Amplifier, options: DetectorOptions, seed: int, number: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray] | None:
    """Draw levels of the rows and columns of a quadrant's full array [ADU], None if all have one level.

    Those of the columns are the same for all frames of one seed; `rng` gives those of the rows.
    """
    own = options.row_pattern or options.column_pattern
    if not (own or options.prescan_level or options.parallel_level):
        return None
    fixed = np.random.default_rng([seed, 8, number])
    rows = options.row_pattern * rng.standard_normal(layout.shape[0])
    columns = options.column_pattern * fixed.standard_normal(layout.shape[1])
    rows[layout.overscan_rows] += options.parallel_level
    columns[layout.prescan_columns] += options.prescan_level
    return rows, columns
