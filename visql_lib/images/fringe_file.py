"""The map of the fringes of a night as a FITS file; one that could not be made says why, and is none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import FrameError
from visql_lib.images.writing import write_hdus
from visql_lib.tables.provenance import checksum_of

_FRAMES, _WHY = "NFRAMES", "REASON"


def write_fringes(
    path: Path,
    fringes: NDArray | None,
    frames: int,
    reason: str,
    stages: Mapping[str, int],
    inputs: Iterable[Path] = (),
) -> None:
    """Write a map of fringes [electron], shape (ny, nx); None: a file without an image, with the reason."""
    hdu = fits.PrimaryHDU(None if fringes is None else np.asarray(fringes, dtype=np.float32))
    if fringes is not None:
        hdu.header["BUNIT"] = "electron"
    hdu.header[_FRAMES] = (frames, "frames of different pointing")
    hdu.header[_WHY] = reason.encode("ascii", "replace").decode()
    write_hdus(path, fits.HDUList([hdu]), stages, inputs)


def read_fringes(path: Path) -> NDArray[np.float32] | None:
    """Read a map of fringes; None where none could be made.

    Raises
    ------
    FrameError
        If the file is none, or cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                if _FRAMES not in hdus[0].header:
                    raise FrameError(f"{path}: no map of fringes; make it with visql lc-defringe")
                data = hdus[0].data
                found = None if data is None else np.array(data, dtype=np.float32)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise FrameError(f"{path}: cannot be read as a map of fringes ({error})") from error
    run_record.current().read(path, checksum_of(path))
    return found
