"""What a raw frame must not be (a master, a colour frame), and what is odd about its numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import FrameError, NotRawError
from visql_lib.images.headers import value_of
from visql_lib.values import number

_TYPES = ("IMAGETYP", "OBSTYPE", "FRAME", "OBJECT")
_MASTER = re.compile(r"\bmaster", re.IGNORECASE)
_DONE = {"BIASCOR": "bias", "DARKCOR": "dark", "FLATCOR": "flat"}
_COUNTS = ("NCOMBINE", "IMC_NFIL")
_COLOURS = ("BAYERPAT", "COLORTYP", "COLORTYPE")
_GREY = ("", "NONE", "MONO", "MONOCHROME", "GREY", "GRAY", "GRAYSCALE", "FALSE", "F")
_FULL_WELLS = (1023, 4095, 16383)  # the highest numbers of 10, 12 and 14 bits
_PILED = 3  # pixels with exactly that highest number: it is where they end


def why_not_raw(header: fits.Header) -> str:
    """Say why a file is no raw frame but a master or a reduced one; "" if nothing tells so.

    Told by VISQLTYP, BIASCOR, DARKCOR, FLATCOR, CALSTAT (of MaxIm), a type that says "master", or NCOMBINE,
    IMC_NFIL above 1.
    """
    if kind := value_of(header, "VISQLTYP"):
        return f"it is a product (VISQLTYP = {kind})"
    for key, what in _DONE.items():
        if value_of(header, key) in (True, "T"):
            return f"its {what} is taken off or divided out ({key} = T)"
    if isinstance(done := value_of(header, "CALSTAT"), str) and set(done.upper()) & set("BDF"):
        return f"it is calibrated (CALSTAT = {done})"
    for key in _TYPES:
        if isinstance(word := value_of(header, key), str) and _MASTER.search(word):
            return f"it is a master ({key} = {word})"
    for key in _COUNTS:
        if number(value_of(header, key)) > 1:
            return f"it is combined of others ({key} = {value_of(header, key)})"
    return ""


def refuse_unfit(path: Path, header: fits.Header) -> None:
    """Refuse a file that is no raw frame of grey pixels.

    Raises
    ------
    NotRawError
        If it is a master or reduced.
    FrameError
        If it is a colour (Bayer) frame: neighbours have other filters.
    """
    if why := why_not_raw(header):
        raise NotRawError(f"{path}: no raw frame: {why}")
    for key in _COLOURS:
        said = str(value_of(header, key) or "").strip()
        if said.upper() not in _GREY:
            raise FrameError(
                f"{path}: a colour frame ({key} = {said}), never combined or divided as a grey one; "
                "split it into its colours first"
            )


def pedestal_of(header: fits.Header, path: Path) -> float:
    """Return what must be added to each pixel [ADU], by SBIG's PEDESTAL (usually -100); 0 where none is said.

    Raises
    ------
    FrameError
        If it is no number.
    """
    said = value_of(header, "PEDESTAL")
    if said is None:
        return 0.0
    if not math.isfinite(found := number(said)):
        raise FrameError(f"{path}: PEDESTAL = {said!r} is no number; correct the header")
    return found


def step_of_numbers(pixels: NDArray, whole: bool = False) -> float:
    """Return the step of whole numbers [ADU]: 16 of 12 bits stored as the upper ones of 16; 0: floats.

    `whole`: numbers are whole where there are any, as those of a frame with BLANK.
    """
    if whole and pixels.dtype.kind == "f":
        known = pixels[np.isfinite(pixels)]
        pixels = known.astype(np.int64) if (known == np.rint(known)).all() else known
    if pixels.dtype.kind not in "iu":
        return 0.0
    bits = int(np.bitwise_or.reduce(pixels, axis=None))
    return float(bits & -bits) if bits else 1.0


def full_scale(pixels: NDArray, step: float) -> tuple[float, str]:
    """Return the highest number that pixels can have [ADU], infinite if not known, and a note if it is odd.

    Of whole numbers of 8 and 16 bits that of their type; 1023, 4095 or 16383 where several pixels have
    just that number and none a higher one.
    """
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        return math.inf, ""
    top = int(pixels.max())
    if top in _FULL_WELLS and int((pixels == top).sum()) >= _PILED:
        return float(top), f"no number above {top}: taken as the saturation"
    most = int(np.iinfo(pixels.dtype).max)
    return most // step * step, ""


def step_note(step: float, pixels: NDArray) -> str:
    """Say what is odd about the numbers of a raw frame; "" if nothing is."""
    if step == 0.0:
        return "its pixels are floats; is it a raw frame?"
    if step > 1 and pixels.size and pixels.min() != pixels.max():
        return f"all numbers are multiples of {step:g}: fewer bits, stored as the upper ones"
    return ""
