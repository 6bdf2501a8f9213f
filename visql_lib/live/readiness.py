"""Whether a FITS file is complete: its own headers, or the end of its gzip data, tell how long it must be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, cast

from visql_lib.frames.fits_parts import BLOCK, CutError, PartError, parts_in
from visql_lib.frames.names import file_kind_problem, is_gzipped
from visql_lib.frames.unpacked import Unpacked

_LARGEST = 1 << 40  # bytes of a file
_SHORTEST_GZIP = 18  # bytes
_NO_DATA = "headers without data"  # as a file begins whose data are in an extension


def unfinished(path: Path) -> str:
    """Return why a FITS file with data is not complete (yet), "" if it is.

    Each header has its END and each part its data, in whole blocks of 2880 bytes. Gzip data
    must have their end, and unpack to such a file; tiles (``.fz``) are one.
    """
    try:
        if kind := file_kind_problem(path.stat().st_mode):
            return f"{kind}, not a file"
        return _unfinished_gzip(path) if is_gzipped(path.name) else _unfinished_plain(path)
    except PartError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def unfinished_header(path: Path) -> str:
    """Return why the first header of a FITS file is not complete (yet), "" if it is; of the data nothing."""
    try:
        if kind := file_kind_problem(path.stat().st_mode):
            return f"{kind}, not a file"
        with path.open("rb") as file:
            return "" if next(parts_in(file, os.fstat(file.fileno()).st_size), None) else "no header"
    except CutError as error:
        return "" if error.part is not None else str(error)
    except PartError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _unfinished_plain(path: Path) -> str:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        parts = list(parts_in(file, size))
    if not any(part.size for part in parts):
        return _NO_DATA
    return "" if parts[-1].padded else f"{size} bytes: not whole blocks of {BLOCK}"


def _unfinished_gzip(path: Path) -> str:
    """Look at the length that the last bytes claim; unpack all where it is not that of the first part."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _SHORTEST_GZIP:
            return f"{size} bytes: no gzip data"
        file.seek(-4, os.SEEK_END)
        claimed = int.from_bytes(file.read(4), "little")
    with Unpacked(path) as unpacked:
        parts = parts_in(cast(BinaryIO, unpacked), _LARGEST, packed=True)
        first = next(parts)
        if first.size and claimed == first.end % (1 << 32):  # by chance once in four billion times
            return ""
        has_data = bool(sum(part.size for part in (first, *parts)))
        while unpacked.read(1 << 20):
            pass
        place = unpacked.tell()
    if not has_data:
        return _NO_DATA
    return "" if place % BLOCK == 0 else f"unpacks to {place} bytes: not whole blocks of {BLOCK}"
