"""What calibration frames hold instead of sky: lamp light and injected charge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.frames.layout import QuadrantLayout
from visql_lib.simulate.plan import DetectorOptions

_BLOCKS = 4  # blocks of injected lines in a quadrant


def flat_signal(
    image: NDArray, layout: QuadrantLayout, options: DetectorOptions, seed: int, number: int
) -> None:
    """Add the light of a calibration lamp to an image [ADU, axis order (y, x)], in place.

    It falls off slowly from the middle of the focal plane; every pixel answers
    with a sensitivity of its own, the same for all flats of one seed.
    """
    rows, columns = image.shape
    x, y = layout.wcs.to_world(
        np.arange(columns) + layout.origin[0] + 1, np.arange(rows) + layout.origin[1] + 1
    )
    glow = 1 - 0.4 * x[None, :] ** 2 - 0.5 * (y[:, None] - 0.05) ** 2
    response = np.random.Generator(np.random.SFC64([seed, 4, number])).standard_normal(
        image.shape, np.float32
    )
    response *= np.float32(options.prnu)
    response += 1
    response *= (options.flat_level * glow).astype(np.float32)
    image += response


def injected_signal(
    image: NDArray, layout: QuadrantLayout, options: DetectorOptions, rng: np.random.Generator
) -> None:
    """Add blocks of injected lines to an image [ADU, axis order (y, x)], in place.

    Each column injects a little more or less than its neighbours; electrons
    caught by traps come out in the first lines after a block.
    """
    rows, columns = image.shape
    pattern = options.injection * np.asarray(1 + 0.08 * rng.standard_normal(columns))
    height = rows // (2 * _BLOCKS)
    decay = np.exp(-np.arange(12) / 4.0)[:, None]
    ordered = image if layout.lower else image[::-1]  # first line read first
    for block in range(_BLOCKS):
        first = block * 2 * height + height // 2
        ordered[first : first + height] += pattern.astype(np.float32)
        tail = ordered[first + height : first + height + len(decay)]
        tail += (0.002 * pattern[None, :] * decay[: len(tail)]).astype(np.float32)
