"""A raw file as it lies on the disk: whether it may be opened, how it is packed, what goes wrong with it."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from astropy.io.fits.verify import VerifyError
from astropy.utils.exceptions import AstropyUserWarning

from visql_lib.errors import FrameError
from visql_lib.frames.fits_parts import BLOCK, CutError, PartError
from visql_lib.frames.names import file_kind_problem, is_gzipped
from visql_lib.frames.unpacked import MAGIC, Unpacked
from visql_lib.instruments.model import Instrument

READ_ERRORS = (OSError, EOFError, ValueError, TypeError, LookupError, zlib.error, VerifyError)
CHUNK = 1 << 20  # bytes
_USUAL_PIXEL, _SPARE = 4, 1 << 20  # bytes of a pixel, and beside the pixels, a quadrant may have in a file
_LARGE = 4  # amplifiers of the largest size that a camera without a fixed grid may have in a file


def room(instrument: Instrument) -> int:
    """Return the bytes that a quadrant may have in a file, header included; real ones have half of it."""
    if not instrument.has_grid:
        return instrument.header_rule.most_pixels * _USUAL_PIXEL + _SPARE
    rows, columns = instrument.geometry.shape
    return rows * columns * _USUAL_PIXEL + _SPARE


def most_unpacked(instrument: Instrument) -> int:
    """Return the bytes that a frame may unpack to."""
    number = len(instrument.quadrants) if instrument.has_grid else _LARGE
    return number * room(instrument)


def opened(path: Path, instrument: Instrument) -> tuple[BinaryIO, int, bool]:
    """Return the opened file, the bytes it may have at most, and whether it is unpacked as it is read."""
    check_complete(path)
    if is_gzipped(path.name):
        return cast(BinaryIO, Unpacked(path)), most_unpacked(instrument), True
    return path.open("rb"), path.stat().st_size, False


def check_complete(path: Path) -> None:
    """Refuse what is no plain file, is empty, or packed in another way than its name says.

    Raises
    ------
    FrameError
        Naming the file and what is wrong with it.
    """
    try:
        if kind := file_kind_problem(path.stat().st_mode):  # opening a FIFO would wait for ever
            raise FrameError(f"{path}: {kind}, not a file")
        with path.open("rb") as file:
            start = file.read(BLOCK)
    except OSError as error:
        raise FrameError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not start:
        raise FrameError(f"{path}: empty file; fetch it again")
    if is_gzipped(path.name) and start.startswith(b"SIMPLE  ="):
        raise FrameError(f"{path}: a FITS file that is not gzipped, but named so; take .gz off its name")
    if not is_gzipped(path.name) and start.startswith(MAGIC):
        raise FrameError(f"{path}: gzip data, but not named so; add .gz to its name")


def gzip_note(path: Path, instrument: Instrument) -> str:
    """Return what is odd about a gzip file, "" if nothing is; refuse one that is cut.

    Its last bytes say how long the unpacked data are, which is a number of whole
    blocks: where it is not, the file is read to its end to know what is wrong.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - 4))
        if int.from_bytes(file.read(4), "little") % BLOCK == 0:
            return ""
    with Unpacked(path) as unpacked:
        read_on(unpacked, most_unpacked(instrument))
        # Otherwise several members, or no padding behind the last data.
        return "what follows the gzip data is left alone" if unpacked.behind else ""


def read_on(unpacked: Unpacked, most: int) -> None:
    """Read gzip data to their end, where their checksum stands.

    Raises
    ------
    PartError
        If they are damaged, or more than `most` bytes.
    """
    while unpacked.read(CHUNK):
        if unpacked.tell() > most:
            raise PartError(f"unpacks to more than {most} bytes")


@contextmanager
def reading(path: Path, quadrant: str = "") -> Iterator[None]:
    """Turn what astropy raises on broken files into a `FrameError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # odd cards are dealt with one by one
            yield
    except FrameError:
        raise
    except CutError as error:
        raise FrameError(f"{path}: cut short, {error}; fetch it again") from error
    except READ_ERRORS as error:
        where = f", quadrant {quadrant}" if quadrant else ""
        raise FrameError(f"{path}{where}: not a readable FITS file ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)
