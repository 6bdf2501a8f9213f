"""The PSF of a frame as a FITS file, with the fluxes of the stars that were measured with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import TableError
from visql_lib.images.writing import write_hdus
from visql_lib.pipelines.lightcurves.schemas import STAR_FLUXES
from visql_lib.psf.effective import EffectivePSF
from visql_lib.tables.fits import table_hdu
from visql_lib.tables.provenance import checksum_of

SURFACE, STARS = "SURFACE", "STARS"
_HALF = 24  # px, of the picture of the PSF
_CARDS = {  # column of PSF -> keyword, comment
    "FRAME": ("FRAME", "frame"),
    "PSF_SET": ("PSFSET", "which PSF stars"),
    "REASON": ("REASON", "what is odd about it"),
    "CHI2": ("CHI2", "per pixel of the PSF stars"),
    "N_STARS": ("NSTARS", "PSF stars"),
    "STARS": ("STARS", "their names"),
}


@dataclass(frozen=True)
class PSFProduct:
    """What the file of a frame holds.

    Parameters
    ----------
    psf : EffectivePSF
    row : dict
        Of PSF.
    stars : dict
        Columns of STAR_FLUXES.
    """

    psf: EffectivePSF
    row: dict[str, Any]
    stars: dict[str, NDArray]


def write_psf(
    path: Path, product: PSFProduct, set_name: str, stages: Mapping[str, int], inputs: Iterable[Path] = ()
) -> None:
    """Write the PSF of a frame: its picture (sum 1), extensions SURFACE and STARS, the model in the header.

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed.
    product : PSFProduct
    set_name : str
    stages, inputs : mapping, iterable of Path
        For its record.
    """
    psf = product.psf
    primary = fits.PrimaryHDU(psf.stamp(0.0, 0.0, _HALF).astype(np.float32))
    header = primary.header
    header["SET"] = (set_name, "set of the target")
    for column, (key, comment) in _CARDS.items():
        value = product.row[column]
        header[key] = (value.item() if isinstance(value, np.generic) else value, comment)
    header["FWHM"] = (psf.fwhm, "[px] of the Moffat at the centre")
    header["E1"] = (psf.e1, "ellipticity along the axes")
    header["E2"] = (psf.e2, "ellipticity along the diagonals")
    header["BETA"] = (psf.beta, "exponent of the Moffat")
    header["PITCH"] = (psf.pitch, "[px] pitch of the surface")
    header["INTEGR"] = (psf.integrated, "the Moffat is integrated over pixels")
    header["XCENTRE"] = (psf.centre[0] + 1, "[px] one-based, where FWHM, E1, E2 hold")
    header["YCENTRE"] = (psf.centre[1] + 1, "[px] one-based")
    header["GRADIENT"] = (psf.gradient is not None, "FWHM, E1, E2 change over the frame")
    if psf.gradient is not None:
        for name, (by_x, by_y) in zip(("W", "A", "B"), psf.gradient.tolist(), strict=True):
            header[f"D{name}DX"] = (by_x, "[1/px] " + {"W": "ln FWHM", "A": "E1", "B": "E2"}[name])
            header[f"D{name}DY"] = (by_y, "[1/px]")
    surface = np.zeros((1, 1)) if psf.surface is None else psf.surface
    hdus = fits.HDUList([primary, fits.ImageHDU(surface, name=SURFACE)])
    hdus.append(table_hdu(product.stars, STAR_FLUXES, STARS))
    write_hdus(path, hdus, stages, inputs)


def read_psf(path: Path) -> EffectivePSF:
    """Read the PSF of a frame.

    Raises
    ------
    TableError
        If it is no such file, or cannot be read.
    """
    return read_psf_product(path).psf


def read_psf_product(path: Path) -> PSFProduct:
    """Read the PSF of a frame and the fluxes of its stars; see `read_psf`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                header, table = hdus[0].header, hdus[STARS].data
                psf = _psf_of(header, np.array(hdus[SURFACE].data, float))
                stars = {name: _native(table[name]) for name in STAR_FLUXES.names}
                row = {column: header[key] for column, (key, _) in _CARDS.items()}
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise TableError(f"{path}: is no readable PSF ({error}); make it again by visql lc-psf") from error
    run_record.current().read(path, checksum_of(path))
    return PSFProduct(psf, {**psf_row(psf), **row}, stars)


def _native(values: NDArray) -> NDArray:
    array = np.asarray(values)
    return array.astype(str) if array.dtype.kind in "SU" else array.astype(array.dtype.newbyteorder("="))


def _psf_of(header: fits.Header, surface: NDArray[np.float64]) -> EffectivePSF:
    gradient = None
    if header["GRADIENT"]:
        gradient = np.array([[header[f"D{name}DX"], header[f"D{name}DY"]] for name in ("W", "A", "B")])
    return EffectivePSF(
        fwhm=float(header["FWHM"]),
        e1=float(header["E1"]),
        e2=float(header["E2"]),
        beta=float(header["BETA"]),
        surface=surface if surface.size > 1 else None,
        pitch=float(header["PITCH"]),
        integrated=bool(header["INTEGR"]),
        gradient=gradient,
        centre=(float(header["XCENTRE"]) - 1, float(header["YCENTRE"]) - 1),
    )


def psf_row(psf: EffectivePSF | None) -> dict[str, Any]:
    """Return what a row of PSF tells of a PSF alone; None: NaN."""
    nan = float("nan")
    if psf is None:
        empty = dict.fromkeys(("FWHM", "E1", "E2", "BETA", "CHI2", "PITCH"), nan)
        return {"STATUS": "no_psf", **empty, "N_STARS": 0, "STARS": "", "GRADIENT": False}
    shape = {"FWHM": psf.fwhm, "E1": psf.e1, "E2": psf.e2, "BETA": psf.beta}
    return {"STATUS": "ok", **shape, "PITCH": psf.pitch, "GRADIENT": psf.gradient is not None}
