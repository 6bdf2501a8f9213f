"""Images of bad pixels, and where the amplifiers of a master lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.errors import FrameError, RequestError
from visql_lib.images.headers import value_of
from visql_lib.images.masters import BAD_PIXELS, require_master
from visql_lib.instruments.sections import parse_section

Place = tuple[slice, slice]  # rows, columns

_MOST_AMPLIFIERS = 99


def read_bad_pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Read the `PixelFlag` bits of bad pixels, as `visql bad-pixels` writes them.

    Raises
    ------
    NoMasterError
        If it is none, or failed.
    RequestError
        If it has another shape than (rows, columns).
    """
    image = require_master(path, BAD_PIXELS)
    if image.data.shape != tuple(shape):
        sizes = [" x ".join(map(str, reversed(s))) for s in (image.data.shape, tuple(shape))]
        raise RequestError(f"the bad pixels {path.name} have {sizes[0]} px, the frames {sizes[1]}")
    if not np.isfinite(image.data).all():
        raise FrameError(f"{path}: holds numbers that are no bits of PixelFlag; make it again")
    return image.data.astype(np.int16)


def write_places(header: fits.Header, places: Sequence[Place]) -> None:
    """Write where amplifiers lie, if there are several: AMPSEC1 ... [x1:x2,y1:y2], as FITS counts."""
    if len(places) < 2:
        return
    for i, (rows, columns) in enumerate(places[:_MOST_AMPLIFIERS], start=1):
        section = f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]"
        header[f"AMPSEC{i}"] = (section, "pixels of this amplifier")


def places_in(header: fits.Header) -> list[Place]:
    """Read where amplifiers lie; none where one has all."""
    found = []
    for i in range(1, _MOST_AMPLIFIERS + 1):
        section = parse_section(value_of(header, f"AMPSEC{i}"))
        if section is None:
            break
        found.append((section.rows, section.columns))
    return found
