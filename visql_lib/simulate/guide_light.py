"""What falls on a simulated guide camera besides stars: sky, clouds, the dome, satellites."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from visql_lib.simulate.guide_plan import DomeOptions, StreakOptions

Floats = NDArray[np.float32]

_FWHM = 2.3548200450309493  # of a Gaussian, in sigma
_REACH = 5.0  # sigma of a streak's profile
_PIXEL_VARIANCE = 1 / 12  # along an axis


def plane(shape: tuple[int, int], level: float, slope: tuple[float, float]) -> Floats:
    """Return an image that changes linearly.

    Parameters
    ----------
    shape : tuple of int
    level : float
        In its centre.
    slope : (float, float)
        Change from border to border along x and y.
    """
    y, x = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in shape)
    return np.asarray(level + slope[0] * x[None, :] + slope[1] * y[:, None], np.float32)


def at_places(
    shape: tuple[int, int], level: float, slope: tuple[float, float], x: NDArray, y: NDArray
) -> NDArray:
    """Return the same at zero-based places."""
    rows, columns = shape
    u, v = x / (columns - 1) - 0.5, y / (rows - 1) - 0.5
    return np.asarray(level + slope[0] * u + slope[1] * v)


def towards(length: float, angle: float) -> tuple[float, float]:
    """Return the components of a vector of some length, angle [deg] from x to y."""
    return float(length * np.cos(np.radians(angle))), float(length * np.sin(np.radians(angle)))


def dome_transmission(shape: tuple[int, int], dome: DomeOptions) -> Floats:
    """Return the share of the light that passes the dome, whose edge is a straight line."""
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in shape)
    across, along = towards(1.0, dome.angle)
    distance = np.float32(across) * x[None, :] + np.float32(along) * y[:, None]
    border = np.quantile(distance[::3, ::3], 1 - dome.share)
    distance -= np.float32(border)
    return np.asarray(0.5 - 0.5 * erf(distance * np.float32(_FWHM / np.sqrt(2) / dome.edge)), np.float32)


class StreakTruth(NamedTuple):
    """A streak as the frame has it: its ends cut at the border."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float  # full width at half maximum [px]
    peak: float  # adu
    flux: float  # adu, on the frame
    leaves: bool


def add_streak(image: Floats, streak: StreakOptions) -> StreakTruth | None:
    """Add a streak to an image [adu], in place; None: it misses the frame."""
    rows, columns = image.shape
    ends = _cut(streak, columns, rows)
    if ends is None:
        return None
    dx, dy = streak.x2 - streak.x1, streak.y2 - streak.y1
    length = float(np.hypot(dx, dy))
    ux, uy = dx / length, dy / length
    sigma = np.sqrt((streak.width / _FWHM) ** 2 + _PIXEL_VARIANCE)
    x, y = _band(streak, (ux, uy), _REACH * sigma, image.shape)
    across = (x - streak.x1) * -uy + (y - streak.y1) * ux
    along = (x - streak.x1) * ux + (y - streak.y1) * uy
    ramp = 0.5 * (erf(along / (np.sqrt(2) * sigma)) - erf((along - length) / (np.sqrt(2) * sigma)))
    height = streak.peak * streak.width / (_FWHM * sigma)  # as much light as without pixels
    light = height * np.exp(-0.5 * (across / sigma) ** 2) * ramp
    image[y, x] += light.astype(np.float32)
    leaves = ends != (streak.x1, streak.y1, streak.x2, streak.y2)
    return StreakTruth(*ends, streak.width, streak.peak, float(light.sum()), leaves)


def _band(
    streak: StreakOptions, direction: tuple[float, float], reach: float, shape: tuple[int, ...]
) -> tuple[NDArray, NDArray]:
    """List the pixels (x, y) near a streak, each once."""
    steep = abs(direction[1]) > abs(direction[0])
    (x1, x2), (y1, y2) = (streak.x1, streak.x2), (streak.y1, streak.y2)
    if steep:
        (x1, x2), (y1, y2) = (y1, y2), (x1, x2)
    slope = (y2 - y1) / (x2 - x1)
    first, last = sorted((x1, x2))
    steps = np.arange(int(np.floor(first - reach)), int(np.ceil(last + reach)) + 1)
    half = int(np.ceil(reach * np.hypot(1, slope)))
    middle = np.rint(y1 + slope * (steps - x1)).astype(int)
    other = middle[:, None] + np.arange(-half, half + 1)
    steps = np.broadcast_to(steps[:, None], other.shape)
    x, y = (other.ravel(), steps.ravel()) if steep else (steps.ravel(), other.ravel())
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    return x[inside], y[inside]


def _cut(streak: StreakOptions, columns: int, rows: int) -> tuple[float, float, float, float] | None:
    """Cut a streak at the frame's border (Liang and Barsky); None: nothing is left of it."""
    dx, dy = streak.x2 - streak.x1, streak.y2 - streak.y1
    low, high = 0.0, 1.0
    walls = (
        (-dx, streak.x1 + 0.5),
        (dx, columns - 0.5 - streak.x1),
        (-dy, streak.y1 + 0.5),
        (dy, rows - 0.5 - streak.y1),
    )
    for step, room in walls:
        if step == 0:
            if room < 0:
                return None
        elif step < 0:
            low = max(low, room / step)
        else:
            high = min(high, room / step)
    if low >= high:
        return None
    begin = (streak.x1 + low * dx, streak.y1 + low * dy) if low > 0 else (streak.x1, streak.y1)
    end = (streak.x1 + high * dx, streak.y1 + high * dy) if high < 1 else (streak.x2, streak.y2)
    return (*begin, *end)


def trailed(image: Floats, length: float, angle: float) -> Floats:
    """Return an image of stars that moved during the exposure, in steps of a pixel."""
    steps = max(int(np.ceil(length)), 1)
    if steps == 1:
        return image
    found = np.zeros_like(image)
    for place in np.linspace(-0.5, 0.5, steps):
        dx, dy = (round(c) for c in towards(place * length, angle))
        rows, columns = image.shape
        if abs(dx) >= columns or abs(dy) >= rows:
            continue
        to = slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), columns + min(dx, 0))
        out = slice(max(-dy, 0), rows + min(-dy, 0)), slice(max(-dx, 0), columns + min(-dx, 0))
        found[to] += image[out]
    return found / np.float32(steps)
