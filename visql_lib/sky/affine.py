"""Affine transforms of pixels, as six numbers: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def inverse(matrix: NDArray) -> NDArray[np.float64]:
    """Return the inverse of an affine transform of six numbers."""
    m = np.asarray(matrix, np.float64)
    turned = np.linalg.inv(m.reshape(2, 3)[:, :2])
    moved = -turned @ m[[2, 5]]
    return np.array([*turned[0], moved[0], *turned[1], moved[1]])


def area(matrix: NDArray) -> float:
    """Return the area of a pixel after an affine transform."""
    return abs(float(matrix[0] * matrix[4] - matrix[1] * matrix[3]))
