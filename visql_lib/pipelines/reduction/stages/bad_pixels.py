"""Stage `bad_pixels`: hot, dead, nonlinear pixels and bad columns of a dark and of flats -> one mask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from visql_lib.ccd.bad_pixels import BadPixels, Measured, find_bad_pixels
from visql_lib.errors import FrameError, NoMasterError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.bad_pixels import places_in, write_places
from visql_lib.images.headers import value_of
from visql_lib.images.image import Image, read_image
from visql_lib.images.masters import (
    BAD_PIXELS,
    FLAT,
    KIND,
    OK,
    REASON,
    STATUS,
    MasterDark,
    plain,
    require_master,
)
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.products.context import Context
from visql_lib.values import number

_APART = 1.5  # times: levels of two flats that tell whether pixels are linear
_KEPT = ("INSTRUME", "TELESCOP", "XBINNING", "YBINNING", "CCDSUM", "CCD-TEMP", "SET-TEMP", "DATE-OBS")
_KINDS = {"hot": "NHOT", "dead": "NDEAD", "nonlinear": "NNONLIN", "column": "NCOLUMN"}


@dataclass(frozen=True)
class BadPixelInputs:
    """What bad pixels are found in; None, or empty: not there.

    Parameters
    ----------
    name : str
        Of the result.
    dark : Path, optional
        Master dark.
    flats : sequence of Path, optional
        Master flats, of any filters. Two of one filter, one of which has 1.5 times the level of the other,
        are a pair of low and high level.
    low, high : Path, optional
        Flats of one filter of low and of high level with ERR: master flats, or any image free of bias.
    """

    name: str
    dark: Path | None = None
    flats: Sequence[Path] = ()
    low: Path | None = None
    high: Path | None = None


@dataclass
class BadPixelOutputs:
    """The image of `PixelFlag` bits (None if it failed), pixels of each kind that was searched, and facts.

    ``meta``: ``failed``: why there is none; ``reason``: what is doubtful; ``of``: names of what it is from.
    """

    name: str
    image: Image | None = None
    kinds: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> str:
        """Why there is no mask; "" if there is."""
        return str(self.meta.get("failed", ""))


@dataclass
class _Sources:
    """The images that can be used."""

    dark: MasterDark | None = None
    flats: list[Image] = field(default_factory=list)
    pairs: list[tuple[Image, Image]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def images(self) -> Iterator[Image]:
        """Yield all, the dark first."""
        if self.dark is not None:
            yield self.dark.image
        yield from self.flats
        for pair in self.pairs:
            yield from pair


def run(context: Context[ReductionSettings], inputs: BadPixelInputs) -> BadPixelOutputs:
    """Find bad pixels in what is there.

    Raises
    ------
    VisqlError
        If nothing is, or images do not go together, and failures are not recorded.
    """
    made = BadPixelOutputs(inputs.name)
    made.meta["exposure"] = inputs.name
    with context.failures(made.meta):
        sources = _read(inputs)
        shape = _common_shape(sources)
        places = next((some for image in sources.images() if (some := places_in(image.header))), [])
        found = find_bad_pixels(
            shape,
            rate=_rate(sources.dark),
            flats=[_measured(image) for image in sources.flats],
            pairs=[(_measured(low), _measured(high)) for low, high in sources.pairs],
            boxes=places,
            sigma=context.settings.masters.bad_sigma,
        )
        if sources.dark is not None and (flags := sources.dark.image.mask) is not None:
            found.hot[(flags & PixelFlag.SATURATED) != 0] = True  # in a dark: too hot for a rate
        _finish(made, sources, found)
        write_places(made.image.header, places)  # type: ignore[union-attr]
    return made


def _read(inputs: BadPixelInputs) -> _Sources:
    """Read what there is; masters that failed are told."""
    if (inputs.low is None) != (inputs.high is None):
        raise RequestError("flats of low and of high level go together: give --low and --high")
    found = _Sources()
    if inputs.dark is not None:
        try:
            found.dark = MasterDark.read(inputs.dark)
        except NoMasterError as error:
            found.doubts.append(str(error))
    for path in inputs.flats:
        try:
            found.flats.append(_with_errors(require_master(path, FLAT)))
        except NoMasterError as error:
            found.doubts.append(str(error))
    if inputs.low is not None and inputs.high is not None:
        found.pairs.append((_with_errors(read_image(inputs.low)), _with_errors(read_image(inputs.high))))
    found.pairs += _pairs(found.flats)
    if not list(found.images()):
        raise FrameError("; ".join(found.doubts) or "bad pixels are found in a dark or in flats: give one")
    return found


def _with_errors(image: Image) -> Image:
    """Check that an image has errors: limits are so many of them."""
    if image.err is None:
        raise FrameError(
            f"{image.path}: has no ERR; make it with visql master-flat, or visql combine with --gain"
        )
    return image


def _pairs(flats: Sequence[Image]) -> list[tuple[Image, Image]]:
    """Find flats of one filter whose levels are far apart: (low, high)."""
    found = []
    for one, other in combinations(flats, 2):
        low, high = sorted((one, other), key=_level)
        same = value_of(low.header, "FILTER") == value_of(high.header, "FILTER")
        if same and _level(high) > _APART * _level(low):
            found.append((low, high))
    return found


def _level(image: Image) -> float:
    level = number(value_of(image.header, "LEVEL"))
    return level if math.isfinite(level) else 0.0


def _common_shape(sources: _Sources) -> tuple[int, int]:
    """Return the shape that all have."""
    first, *others = sources.images()
    for other in others:
        if other.data.shape != first.data.shape:
            sizes = [" x ".join(map(str, reversed(i.data.shape))) for i in (first, other)]
            raise RequestError(
                f"{first.name} has {sizes[0]} px, {other.name} {sizes[1]}: they do not go together"
            )
    rows, columns = first.data.shape
    return rows, columns


def _rate(dark: MasterDark | None) -> Measured | None:
    """Return the dark rate and its error [ADU/s]; of darks of one time the dark over that time."""
    if dark is None:
        return None
    if dark.model is not None:
        return Measured(dark.model.rate, np.sqrt(dark.model.rate_var))
    err = _with_errors(dark.image).err
    assert err is not None
    return Measured(dark.image.data / dark.exptime, err / dark.exptime)


def _measured(image: Image) -> Measured:
    assert image.err is not None
    return Measured(image.data, image.err)


def _finish(made: BadPixelOutputs, sources: _Sources, found: BadPixels) -> None:
    """Make the image, with the number of each kind that was searched in its header."""
    first = next(sources.images())
    searched = {
        "hot": sources.dark is not None,
        "dead": bool(sources.flats),
        "nonlinear": bool(sources.pairs),
        "column": sources.dark is not None or bool(sources.flats),
    }
    made.kinds = {name: pixels for name, pixels in found._asdict().items() if searched[name]}
    header = fits.Header()
    for key in _KEPT:
        if (value := value_of(first.header, key)) is not None:
            header[key] = value
    header[KIND] = (BAD_PIXELS, "what it is: bits of PixelFlag")
    header[STATUS] = (OK, "it can be used")
    mask = found.mask
    header["N_BAD"] = (int(np.count_nonzero(mask)), "bad pixels")
    for name, pixels in made.kinds.items():
        header[_KINDS[name]] = (int(pixels.sum()), f"pixels: {name}")
    made.meta["of"] = list(dict.fromkeys(image.name for image in sources.images()))
    for i, name in enumerate(made.meta["of"], start=1):
        header[f"FROM{i}"] = (plain(name), "what it is found in")
    if told := "; ".join(sources.doubts):
        made.meta["reason"] = told
        header[REASON] = plain(told)
    made.image = Image(mask, header)
