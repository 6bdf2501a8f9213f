"""The signal of calibration frames: lamp light and injected charge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.amplifiers import Amplifier
from visql_lib.simulate.plan import DetectorOptions

BLOCKS = 4  # blocks of injected lines in a quadrant


def flat_signal(image: NDArray, layout: Amplifier, options: DetectorOptions, seed: int, number: int) -> None:
    """Add the light of a calibration lamp to an image [ADU, axis order (y, x)], in place.

    It falls off slowly from the middle of the focal plane; every pixel answers
    with a sensitivity of its own, the same for all flats of one seed.
    """
    glow = lamp_light(layout, options)
    response = np.random.Generator(np.random.SFC64([seed, 4, number])).standard_normal(
        image.shape, np.float32
    )
    response *= np.float32(options.prnu)
    response += 1
    response *= (options.flat_level * glow).astype(np.float32)
    image += response


def lamp_light(layout: Amplifier, options: DetectorOptions) -> NDArray:
    """Compute the light of the lamp over the image section, 1 in the middle of the focal plane."""
    columns, rows = layout.image_columns, layout.image_rows
    x, y = layout.wcs.to_world(
        np.arange(columns.start, columns.stop) + 1, np.arange(rows.start, rows.stop) + 1
    )
    slope_x, slope_y = options.flat_slope
    along_x, along_y = 1 - 0.4 * x**2 + slope_x * x, slope_y * y - 0.5 * (y - 0.05) ** 2
    return np.asarray(along_x[None, :] + along_y[:, None])


def injected_signal(
    image: NDArray, layout: Amplifier, options: DetectorOptions, rng: np.random.Generator
) -> None:
    """Add blocks of injected lines to an image [ADU, axis order (y, x)], in place.

    Each column injects a little more or less than its neighbours. Traps catch
    electrons of the first lines of a block and let them go in the lines after it,
    fewer and fewer: altogether the share ``trailing`` of a line's charge.
    """
    rows, columns = image.shape
    pattern = options.injection * np.asarray(1 + 0.08 * rng.standard_normal(columns))
    height = rows // (2 * BLOCKS)
    kept = np.exp(-1 / options.trailing_length)
    late = options.trailing * (1 - kept) * kept ** np.arange(height)[:, None] * pattern
    ordered = image if layout.lower else image[::-1]  # first line read first
    for block in range(BLOCKS):
        first = block * 2 * height + height // 2
        ordered[first : first + height] += (pattern - late).astype(np.float32)
        tail = ordered[first + height : first + 2 * height]
        tail += late[: len(tail)].astype(np.float32)
