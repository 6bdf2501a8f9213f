"""Stage `lc_stack`: the good frames of a set resampled to the reference and combined: deep, and by night."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe, Scaling, combine_block
from visql_lib.ccd.resample import resample
from visql_lib.errors import FrameError, TableError, TargetError
from visql_lib.images.image import Image
from visql_lib.images.light_frame import read_light
from visql_lib.images.scratch import FrameStack
from visql_lib.images.sky_file import read_sky
from visql_lib.photometry.star_apertures import pixel_variance
from visql_lib.pipelines.lightcurves.reference_file import TargetReference, read_reference
from visql_lib.pipelines.lightcurves.set_tables import column_at, rows_at
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.sky.affine import area, inverse
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

STAGE = "lc_stack"
NEEDED = ("frames", "transforms", "medcoeff", "stars")
SECTIONS = ("deep", "sky", "nights")
_CLIP = 4.0  # sigma
_FEWEST, _MOST = 3, 40  # frames of a stack that no frame is good enough for
_SHARE = 0.33  # of the frames, the sharpest, that make it
_NAMED = 999  # frames that the header names
_BEST = 200  # frames of a deep stack, at most: the sharpest


@dataclass(frozen=True)
class StackInputs:
    """Tables of a set by kind (see `NEEDED`) with the frames beside them, the reference, and the set."""

    tables: Mapping[str, Path]
    reference: Path
    set: str


@dataclass(frozen=True)
class LightStack:
    """A stack, and what it was made of.

    Attributes
    ----------
    image : Image
        Electrons of the photometric reference, without sky, in the pixels of the geometric one; with errors
        (which are correlated between neighbours) and the number of values.
    frames : tuple of str
    limits : str
        By what the frames were chosen.
    """

    image: Image
    frames: tuple[str, ...]
    limits: str


@dataclass(frozen=True)
class _Candidates:
    """Frames of a set that can be stacked; arrays of shape (n,)."""

    names: NDArray
    files: NDArray
    nights: NDArray
    matrices: NDArray
    coeff: NDArray
    seeing: NDArray  # arcsec, or px times the usual pixel
    ellipticity: NDArray
    stddev: NDArray

    def some(self, which: NDArray) -> _Candidates:
        return _Candidates(*(values[which] for values in vars(self).values()))


def run(context: Context[LightCurveSettings], inputs: StackInputs) -> LightStack:
    """Stack the frames within the limits of the settings.

    If fewer than three are, the sharper third of the frames is stacked, and a warning says so.

    Raises
    ------
    TargetError
        If no frame has a coefficient.
    """
    reference, found = read_reference(inputs.reference), _candidates(context, inputs)
    if not len(found.names):
        raise TargetError(f"{inputs.set}: no frame has a coefficient; see medcoeff_{inputs.set}.parquet")
    limits = context.settings.deep
    good = (found.seeing <= limits.max_seeing) & (found.ellipticity <= limits.max_ellipticity)
    good &= (found.coeff <= limits.max_medcoeff) & ~(found.stddev > limits.max_stddev)
    order = np.argsort(found.seeing, kind="stable")
    told = (
        f'seeing <= {limits.max_seeing:g}", ellipticity <= {limits.max_ellipticity:g}, '
        f"coefficient <= {limits.max_medcoeff:g}, stddev <= {limits.max_stddev:g}"
    )
    chosen = order[good[order]][:_BEST]
    if len(chosen) < min(_FEWEST, len(order)):
        log.warning(
            "%s: %d frames are good enough for the deep stack; the sharper third is stacked",
            inputs.set,
            len(chosen),
        )
        chosen = order[: max(_FEWEST, min(_MOST, round(_SHARE * len(order))))]
        told = "the sharper third of the frames: fewer than three are within the limits"
    stacked = found.some(np.sort(chosen))
    made = LightStack(_stack(context, inputs, reference, stacked), tuple(map(str, stacked.names)), told)
    for i, frame in enumerate(made.frames[:_NAMED], 1):
        made.image.header[f"FRAME{i:03d}"] = frame[:60]
    made.image.header["LIMITS"] = told
    return made


def night_stacks(
    context: Context[LightCurveSettings], inputs: StackInputs
) -> Iterator[tuple[str, LightStack]]:
    """Yield the stack of all frames of each night that have a coefficient."""
    reference, found = read_reference(inputs.reference), _candidates(context, inputs)
    for night in sorted(set(map(str, found.nights))):
        part = found.some(found.nights == night)
        image = _stack(context, inputs, reference, part)
        yield night, LightStack(image, tuple(map(str, part.names)), "all frames of the night")


def _candidates(context: Context[LightCurveSettings], inputs: StackInputs) -> _Candidates:
    frames, transforms = (read_table(inputs.tables[kind]) for kind in ("frames", "transforms"))
    coeff = column_at(frames["FRAME"], read_table(inputs.tables["medcoeff"]), "MEDCOEFF")
    at = rows_at(frames["FRAME"], transforms)
    good = (frames["STATUS"] == str(LightStatus.OK)) & (at >= 0) & np.isfinite(coeff)
    good[good] &= transforms["STATUS"][at[good]] == str(LightStatus.OK)
    rows = np.flatnonzero(good)
    seeing = np.asarray(frames["SEEING"], float)
    unknown = ~np.isfinite(seeing)
    seeing[unknown] = np.asarray(frames["SEEING_PX"], float)[unknown] * context.settings.nights.pixel
    return _Candidates(
        np.asarray(frames["FRAME"])[rows],
        np.asarray(frames["FILE"])[rows],
        np.asarray(frames["NIGHT"])[rows],
        np.asarray(transforms["MATRIX"], float).reshape(-1, 6)[at[rows]],
        coeff[rows],
        seeing[rows],
        np.asarray(frames["ELLIPTICITY"], float)[rows],
        np.asarray(transforms["STDDEV"], float)[at[rows]],
    )


def _stack(
    context: Context[LightCurveSettings], inputs: StackInputs, reference: TargetReference, frames: _Candidates
) -> Image:
    """Resample frames to the reference, times their coefficients; their clipped mean."""
    folder = inputs.tables["frames"].parent / "frames"
    with (
        FrameStack(inputs.tables["frames"].parent) as values,
        FrameStack(inputs.tables["frames"].parent) as variances,
        context.progress("resampled", len(frames.names)) as advance,
    ):
        for name, file, matrix, coeff in zip(
            frames.names, frames.files, frames.matrices, frames.coeff, strict=True
        ):
            try:
                made = _resampled(context, folder / name / name, Path(str(file)), matrix, coeff, reference)
            except (FrameError, TableError) as error:
                log.warning("%s: is not in the stack: %s", name, error)
                continue
            finally:
                advance()
            values.add(made[0])
            variances.add(made[1])
        return _combined(values, variances, reference, frames)


def _resampled(
    context: Context[LightCurveSettings],
    stem: Path,
    file: Path,
    matrix: NDArray,
    coeff: float,
    reference: TargetReference,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a frame and its variance in the pixels of the reference."""
    light, sky = read_light(file, context.instrument), read_sky(stem.with_name(f"{stem.name}_sky.fits"))
    data = np.subtract(light.data, sky.image(), dtype=np.float32)
    data[light.unusable] = np.nan
    variance = pixel_variance(data, sky.rms).astype(np.float32)
    back = inverse(matrix)
    factor = coeff * area(back)  # a pixel of the reference is so many of the frame
    made = resample(data, variance, back, reference.shape)
    return (made.values * np.float32(factor), made.variances * np.float32(factor**2))


def _combined(
    values: FrameStack, variances: FrameStack, reference: TargetReference, frames: _Candidates
) -> Image:
    if not values.n:
        raise TargetError("none of the frames of the stack can be read")
    ny, nx = reference.shape
    data, err, used = (
        np.empty((ny, nx), np.float32),
        np.empty((ny, nx), np.float32),
        np.empty((ny, nx), np.int16),
    )
    every = list(range(values.n))
    clip = _CLIP if values.n > 2 else math.inf
    recipe, scaling = Recipe("mean", sigma=(clip, clip)), Scaling.none(values.n)
    for first, last in values.blocks(2 * values.n):
        raw = values.rows(first, last, every).reshape(values.n, -1)
        squares = variances.rows(first, last, every).reshape(values.n, -1)
        made = combine_block(raw, recipe, scaling, variances=squares)
        for whole, part in ((data, made[0]), (err, made[1]), (used, made[2])):
            whole[first:last] = np.asarray(part).reshape(last - first, nx)
    header = fits.Header()
    for key, value in reference.wcs.items():
        header[key] = value
    header["BUNIT"] = "electron"
    header["NFRAMES"] = (values.n, "frames that were combined")
    header["REFFRAME"] = (reference.frame[:60], "in whose pixels it is")
    header["SEEING"] = (round(float(np.median(frames.seeing)), 4), "median seeing of the frames")
    return Image(data, header, err=err, used=used)


def chart_stars(table: Table) -> list[tuple[str, float, float, str]]:
    """Return name, zero-based place and part of each star of a set: ``psf``, ``norm`` or ``none``."""
    kinds = np.where(table["PSF"], "psf", np.where(table["NORM"], "norm", "none"))
    return [
        (str(name), float(x) - 1, float(y) - 1, str(kind))
        for name, x, y, kind in zip(table["STAR"], table["X"], table["Y"], kinds, strict=True)
    ]
