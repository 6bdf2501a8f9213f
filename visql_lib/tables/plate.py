"""Plate solutions on disk: a FITS file with nothing but a header, solved or not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visql_lib import run_record
from visql_lib.atomic import atomic_path
from visql_lib.errors import TableError

SOLVED = "solved"
_COMMENTS = {
    "STATUS": "solved, not solved, timed out, ...",
    "REASON": "why NOT SOLVED",
    "RA": "[deg] boresight",
    "DEC": "[deg] boresight",
    "PA": "[deg] position angle",
    "SKYSCALE": "scale of the sky against the geometry",
    "NSTARS": "matched stars kept",
    "NMATCHED": "matched stars",
    "RMS": "[arcsec] residual per axis",
    "INDEX": "reference stars, or installed indexes",
    "CRPIX1": "boresight in E.png, x from the left",
    "CRPIX2": "boresight in E.png, y from the top",
    "IMAGEW": "[px] width of E.png",
    "IMAGEH": "[px] height of E.png",
}


@dataclass(frozen=True)
class PlateFile:
    """The content of a plate solution.

    ``solved``; ``ra``, ``dec``, ``pa`` [deg] of the boresight, NaN where it is not;
    ``rms`` [arcsec] per axis, NaN where not known; ``reason`` why it is not solved.
    """

    solved: bool
    ra: float
    dec: float
    pa: float
    rms: float
    reason: str


def write_plate(path: Path, cards: Mapping[str, Any], reason: str = "") -> None:
    """Write a plate solution, or why there is none.

    Parameters
    ----------
    path : Path
        Where to.
    cards : mapping
        Keyword to value: the solution, and what made it.
    reason : str
        Why there is no solution; empty if there is one.
    """
    from astropy.io import fits

    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    header["SOLVED"] = (not reason, "" if not reason else "NOT SOLVED")
    if reason:
        header["REASON"] = _plain(reason)
    for name, value in cards.items():
        header[name] = (_plain(value) if isinstance(value, str) else value, _COMMENTS.get(name, ""))
    if reason:
        header.add_comment(f"NOT SOLVED: {_plain(reason)}")
    with atomic_path(path) as temporary:
        fits.PrimaryHDU(header=header).writeto(temporary, overwrite=True)


def _plain(text: str) -> str:
    """Convert text for FITS headers: printable ASCII in one line."""
    return " ".join(text.split()).encode("ascii", "replace").decode()


def read_plate(path: Path) -> PlateFile:
    """Read a plate solution, ours or the original's.

    The original's names no boresight: it is taken at the reference pixel, which is
    true to some arcsec, and its position angle to some 0.03 deg.

    Raises
    ------
    TableError
        If the file is no plate solution.
    """
    from visql_lib.sky.plate import boresight_of

    header = _read_header(path)
    run_record.current().read(path, "")
    if not header.get("SOLVED", True):
        return PlateFile(False, *(4 * (math.nan,)), str(header.get("REASON", "not solved")))
    try:
        found = boresight_of(header)
        named = {"RA": found.ra, "DEC": found.dec, "PA": found.pa}
        ra, dec, pa = (float(header.get(name, value)) for name, value in named.items())
        rms = float(header.get("RMS", math.nan))
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: not a plate solution ({error}); make it again") from error
    return PlateFile(True, ra, dec, pa, rms, "")


def _read_header(path: Path) -> Any:
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # a file that is cut short says so twice
            return fits.getheader(path)
    except (OSError, ValueError, fits.VerifyError) as error:
        raise TableError(f"{path}: cannot be read as a FITS header ({error}); make it again") from error
