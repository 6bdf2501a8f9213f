"""Write FITS images with their record in a small last extension."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.images.image import ERR, MASK, USED, Image, header_of
from visql_lib.tables.provenance import append_to_fits


def write_image(
    path: Path,
    image: Image,
    stages: Mapping[str, int],
    inputs: Iterable[Path] = (),
    planes: Mapping[str, NDArray] | None = None,
) -> None:
    """Write an image: pixels in the primary, extensions ERR, MASK and N where they are known.

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed.
    image : Image
        Floats keep their width (float32 or float64).
    stages : mapping
        The stages that made it, with their versions, for its record.
    inputs : iterable of Path, optional
        What it was made from, besides what the current run has read.
    planes : mapping, optional
        Further extensions: their names and pixels.
    """
    hdus = fits.HDUList([fits.PrimaryHDU(image.data, header_of(image))])
    if image.err is not None:
        hdus.append(fits.ImageHDU(image.err, name=ERR))
    if image.mask is not None:
        hdus.append(fits.ImageHDU(image.mask.astype(np.int16, copy=False), name=MASK))
    if image.used is not None:
        hdus.append(fits.ImageHDU(image.used.astype(np.int16, copy=False), name=USED))
    hdus.extend(fits.ImageHDU(pixels, name=name) for name, pixels in (planes or {}).items())
    write_hdus(path, hdus, stages, inputs)


def write_hdus(
    path: Path, hdus: fits.HDUList, stages: Mapping[str, int], inputs: Iterable[Path] = ()
) -> None:
    """Write the parts of a FITS file, and its record; see `write_image`."""
    with atomic_path(path) as temporary:
        with warnings.catch_warnings(), temporary.open("wb") as file:
            warnings.simplefilter("ignore", AstropyWarning)  # cards of other people, kept as they are
            hdus.writeto(file, output_verify="silentfix+ignore")
        append_to_fits(temporary, path, stages, inputs)
