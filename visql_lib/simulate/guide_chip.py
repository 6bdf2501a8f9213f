"""The chip of a simulated guide camera: what it does to light, from its response to its full wells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.guide import GuideFacts
from visql_lib.simulate.guide_plan import GuideChipOptions

HOT, DEAD, COLUMN = 1, 2, 3  # kinds of bad pixels
_MANY = 0.01  # of the frame above the full well: no star
_LEVEL_OF_COLUMN = 0.3  # response of a bad column

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class GuideChip:
    """The truth of a chip, arrays of shape (rows, columns), axis order (y, x).

    Attributes
    ----------
    bias, rate : array of float32
        Bias [adu], dark rate [adu/s].
    flat : array of float32
        Response; its median is 1.
    read_variance : array of float32
        Square of the read noise [adu2].
    kind : array of uint8
        0, or the kind of bad pixel: `HOT`, `DEAD`, `COLUMN`.
    """

    bias: Floats
    rate: Floats
    flat: Floats
    read_variance: Floats
    kind: NDArray[np.uint8]


def quadrant_slices(facts: GuideFacts) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yield each quadrant's number and its pixels (rows, columns)."""
    x, y = int(np.floor(facts.split_x)) + 1, int(np.floor(facts.split_y)) + 1
    left, right, lower, upper = slice(0, x), slice(x, None), slice(0, y), slice(y, None)
    yield from ((1, (upper, right)), (2, (upper, left)), (3, (lower, left)), (4, (lower, right)))


def chip_of(facts: GuideFacts, options: GuideChipOptions, seed: int) -> GuideChip:
    """Draw the chip of a camera; the same for all nights of a seed."""
    rng = np.random.default_rng([seed, 51])
    shape = facts.shape
    kind = _bad_pixels(shape, options, rng)
    bias = np.full(shape, options.bias, np.float32)
    bias += rng.normal(0, options.structure, shape[1]).astype(np.float32)
    noise = np.empty(shape, np.float32)
    flat = 1 + np.float32(options.prnu) * rng.standard_normal(shape, np.float32)
    flat *= _vignetting(shape, options.vignetting)
    for number, part in quadrant_slices(facts):
        bias[part] += np.float32(rng.normal(0, options.steps))
        flat[part] *= np.float32(1 + rng.normal(0, options.gains))
        noise[part] = facts.read_noise[number - 1]
    rate = np.abs(options.rate * (1 + np.float32(0.1) * rng.standard_normal(shape, np.float32)))
    hot = kind == HOT
    rate[hot] += 10 ** rng.uniform(0, np.log10(options.hottest), int(hot.sum()))
    flat[kind == DEAD] *= rng.uniform(0.02, 0.2, int((kind == DEAD).sum()))
    flat[kind == COLUMN] *= np.float32(_LEVEL_OF_COLUMN)
    flat = np.clip(flat, 0, None)
    flat /= np.median(flat[kind == 0])
    return GuideChip(bias, rate.astype(np.float32), flat, noise**2, kind)


def _bad_pixels(shape: tuple[int, int], options: GuideChipOptions, rng: np.random.Generator) -> NDArray:
    draw = rng.random(shape, np.float32)
    kind = np.zeros(shape, np.uint8)
    kind[draw < options.hot] = HOT
    kind[draw > 1 - options.dead] = DEAD
    for _ in range(options.columns):
        kind[: int(rng.integers(shape[0] // 3, shape[0])), int(rng.integers(shape[1]))] = COLUMN
    return kind


def _vignetting(shape: tuple[int, int], loss: float) -> Floats:
    y, x = ((np.arange(n, dtype=np.float32) - (n - 1) / 2) ** 2 for n in shape)
    corner = x[0] + y[0]
    return np.asarray(1 - loss / corner * (x[None, :] + y[:, None]), np.float32)


def cosmic_rays(shape: tuple[int, int], number: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Draw hits of one or two pixels: their places (y, x), shape (2, n), and charges [electron]."""
    y, x = rng.integers(0, shape[0], number), rng.integers(0, shape[1], number)
    charge = 10 ** rng.uniform(2.6, 4.0, number)
    second = rng.random(number) < 0.4
    beside = np.minimum(x + 1, shape[1] - 1)
    places = np.array([np.concatenate([y, y[second]]), np.concatenate([x, beside[second]])])
    return places, np.concatenate([charge, charge[second] * rng.uniform(0.1, 1.0, int(second.sum()))])


def bleed(signal: Floats, well: float) -> None:
    """Let charge above the full well go to the next free pixels of its column, half up and half down.

    Nothing is lost but at the border. A frame that is too bright all over is cut at the well.

    Parameters
    ----------
    signal : array, shape (ny, nx)
        adu above the bias; changed in place.
    well : float
        The same unit.
    """
    rows, columns = np.nonzero(signal > well)
    if not len(rows):
        return
    if len(rows) > _MANY * signal.size + signal.shape[0]:
        np.minimum(signal, well, out=signal)
        return
    order = np.argsort(columns, kind="stable")
    found, first = np.unique(columns[order], return_index=True)
    for column, own in zip(found, np.split(rows[order], first[1:]), strict=True):
        _bleed_column(signal[:, column], own, well)


def _bleed_column(column: NDArray, rows: NDArray, well: float) -> None:
    """Move the charge of the saturated `rows` of one column, in place."""
    halves = {int(row): 0.5 * (float(column[row]) - well) for row in rows}
    column[rows] = well
    for step, start, stop in ((1, rows.min(), len(column)), (-1, rows.max(), -1)):
        end = rows.max() if step > 0 else rows.min()
        carried = 0.0
        for row in range(int(start), stop, step):
            carried += halves.get(row, 0.0)
            taken = min(carried, well - float(column[row]))
            column[row] += taken
            carried -= taken
            if carried <= 0 and row * step >= end * step:
                break


def digitised(
    signal: Floats, bias: Floats, limit: float, bend: float, full_scale: float
) -> NDArray[np.uint16]:
    """Return the numbers the converter gives.

    Parameters
    ----------
    signal, bias : arrays, shape (ny, nx)
        adu.
    limit, bend : float
        Raw values above the limit [adu] grow by `bend` of what they should.
    full_scale : float
        The largest number.
    """
    raw = signal + bias
    if bend < 1:
        high = raw > limit
        raw[high] = limit + bend * (raw[high] - limit)
    np.rint(raw, out=raw)
    return np.clip(raw, 0, full_scale, out=raw).astype(np.uint16)
