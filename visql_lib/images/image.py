"""One FITS image with its error and mask, as arrays and header."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import FrameError
from visql_lib.tables.provenance import checksum_of

ERR, MASK, USED = "ERR", "MASK", "N"  # names of extensions
_PLANES = ("BZERO", "BSCALE", "BLANK", "DATAMIN", "DATAMAX")  # cards of stored numbers, not of pixels


@dataclass
class Image:
    """An image, or a cube of planes.

    Parameters
    ----------
    data : array, shape (ny, nx) or (nz, ny, nx)
        Pixels as they are meant, float; NaN where none are known.
    header : fits.Header
        Cards of the image and, where it is in an extension, of the primary.
    err : array, optional
        Standard error (1 sigma), of the same shape and unit.
    mask : array of int16, optional
        `PixelFlag` bits; 0: good. Masked pixels count nowhere.
    used : array of int16, optional
        How many values a pixel was made from.
    path : Path, optional
        Where it was read.
    """

    data: NDArray
    header: fits.Header = field(default_factory=fits.Header)
    err: NDArray | None = None
    mask: NDArray | None = None
    used: NDArray | None = None
    path: Path | None = None

    @property
    def name(self) -> str:
        """The name of its file, for messages."""
        return self.path.name if self.path is not None else "image"

    @property
    def valid(self) -> NDArray:
        """Pixels that are finite and not masked."""
        good: NDArray = np.isfinite(self.data)
        return good if self.mask is None else good & (self.mask == 0)


def read_image(path: Path, dtype: Any = np.float32, extension: int | str | None = None) -> Image:
    """Read the image of a FITS file: of the primary, or the first extension that holds one.

    Parameters
    ----------
    path : Path
        Plain, gzipped or tile-compressed.
    dtype : data-type, optional
        Of pixels and errors.
    extension : int or str, optional
        Number (0: the primary) or EXTNAME of the image that is meant, where it is not the first one.

    Raises
    ------
    FrameError
        If it cannot be read, is cut short, or holds no image.
    """
    try:
        with warnings.catch_warnings():
            # Truncation is an error here; odd cards are only odd.
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                image = _image_in(hdus, path, dtype, extension)
    except FrameError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, AstropyUserWarning) as error:
        raise FrameError(f"{path}: cannot be read as a FITS image ({_why(error)})") from error
    run_record.current().read(path, checksum_of(path))
    return image


def _why(error: Exception) -> str:
    """Return why astropy cannot read a file, without its advice to programmers."""
    text = str(error)
    if "cannot reshape" in text:
        return "cut short; fetch it again"
    return "does not begin with SIMPLE" if "No SIMPLE card" in text else text


def _image_in(hdus: fits.HDUList, path: Path, dtype: Any, extension: int | str | None) -> Image:
    places = [
        i for i, hdu in enumerate(hdus) if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and hdu.size
    ]
    places = [i for i in places if hdus[i].name not in (ERR, MASK, USED)]
    if extension is not None:
        places = [i for i in places if extension == i or str(extension).upper() == hdus[i].name]
    if not places:
        what = "no image" if extension is None else f"no image in extension {extension!r}"
        raise FrameError(f"{path}: holds {what}")
    hdu = hdus[places[0]]
    header = hdu.header.copy()
    if places[0]:
        for card in hdus[0].header.cards:
            if card.keyword and card.keyword not in header and card.keyword not in ("EXTEND", "SIMPLE"):
                header.append(card, end=True)
    raw = hdu.data
    data = np.array(raw, dtype=dtype)
    blank = hdu.header.get("BLANK")
    if blank is not None and raw.dtype.kind in "iu":
        zero, scale = hdu.header.get("BZERO", 0), hdu.header.get("BSCALE", 1)
        data[raw == blank * scale + zero] = np.nan
    others = {h.name: h.data for h in hdus[places[0] + 1 :] if h.is_image and h.name in (ERR, MASK, USED)}
    for name, values in others.items():
        if values is None or values.shape != data.shape:
            raise FrameError(f"{path}: its extension {name} has not the shape of its image")
    return Image(
        data,
        header,
        np.array(others[ERR], dtype=dtype) if ERR in others else None,
        np.array(others[MASK], dtype=np.int16) if MASK in others else None,
        np.array(others[USED], dtype=np.int16) if USED in others else None,
        path,
    )


def header_of(image: Image) -> fits.Header:
    """Return the header for an image of floats: without the cards of integers' scaling."""
    header = image.header.copy()
    for name in (*_PLANES, "CHECKSUM", "DATASUM", "XTENSION", "EXTNAME", "PCOUNT", "GCOUNT"):
        header.remove(name, ignore_missing=True, remove_all=True)
    return header
