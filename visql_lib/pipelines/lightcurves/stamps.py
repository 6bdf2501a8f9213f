"""The stamps of a frame as a FITS file: its stars and the target, with sigma and what is not to be used."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import FrameError
from visql_lib.images.writing import write_hdus
from visql_lib.tables.provenance import checksum_of
from visql_lib.values import number

TARGET = "target"  # its name among those of the stars
_CARDS = {  # attribute -> keyword, comment
    "rms": ("RMS", "[electron] noise of a pixel of the background"),
    "sky": ("SKY", "[electron] median sky, taken off"),
    "gain": ("GAIN", "[electron/adu] of the camera; it is in the pixels already"),
    "fwhm": ("FWHM", "[px] seeing of the frame"),
}


@dataclass
class Stamps:
    """Stamps of one frame; none of them is resampled.

    Attributes
    ----------
    names : list of str
        Of the stars; the target is TARGET.
    data : array of float32, shape (n, side, side)
        Electrons without sky, axis order (y, x); NaN: no value, or outside of the frame.
    sigma : array of float32, same shape
        sqrt(max(smoothed data, 0) + rms^2) [electron]; NaN as the data.
    bad : array of uint8, same shape
        `StampFlag` bits: 1 bad, 2 cosmic ray, 4 saturated, 8 a neighbour's
        light; 0: good.
    x0, y0 : array of int, shape (n,)
        Pixel of the frame in the corner [0, 0], zero-based.
    x, y : array, shape (n,)
        Where source (target: middle of its point sources) is expected in the frame, zero-based [px].
    matrix : array, shape (6,)
        From zero-based pixels of the frame to those of the reference.
    rms, sky, gain, fwhm : float
        Of the frame [electron, electron, electron/adu, px].
    frame, set : str
    """

    names: list[str]
    data: NDArray[np.float32]
    sigma: NDArray[np.float32]
    bad: NDArray[np.uint8]
    x0: NDArray[np.intp]
    y0: NDArray[np.intp]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    matrix: NDArray[np.float64]
    rms: float
    sky: float = math.nan
    gain: float = math.nan
    frame: str = ""
    set: str = ""
    fwhm: float = field(default=math.nan)

    def index(self, name: str) -> int:
        """Return the place of a star, or of TARGET, in the arrays; -1: it has no stamp."""
        return self.names.index(name) if name in self.names else -1

    def write(self, path: Path, stages: Mapping[str, int], inputs: Iterable[Path] = ()) -> None:
        """Write them: extensions DATA, SIGMA, BAD (cubes) and STARS (table).

        Parameters
        ----------
        path : Path
            Written under a temporary name and renamed.
        stages : mapping
            The stages that made them, with their versions.
        inputs : iterable of Path, optional
            What they were made from, besides what the current run has read.
        """
        primary = fits.PrimaryHDU()
        primary.header["FRAME"], primary.header["SET"] = self.frame, self.set
        for name, (key, comment) in _CARDS.items():
            value = getattr(self, name)
            primary.header[key] = (float(value) if np.isfinite(value) else None, comment)
        for k, value in enumerate(self.matrix):
            primary.header[f"M{k}"] = (float(value), "zero-based px to those of the reference")
        data = fits.ImageHDU(np.asarray(self.data, np.float32), name="DATA")
        data.header["BUNIT"] = "electron"
        sigma = fits.ImageHDU(np.asarray(self.sigma, np.float32), name="SIGMA")
        sigma.header["BUNIT"] = "electron"
        bad = fits.ImageHDU(np.asarray(self.bad, np.uint8), name="BAD")
        longest = max([1, *map(len, self.names)])
        columns = [fits.Column("NAME", f"{longest}A", array=np.array(self.names, dtype=f"U{longest}"))]
        for name, form in (("x0", "J"), ("y0", "J"), ("x", "D"), ("y", "D")):
            columns.append(fits.Column(name.upper(), form, unit="pix", array=getattr(self, name)))
        table = fits.BinTableHDU.from_columns(columns, name="STARS")
        write_hdus(path, fits.HDUList([primary, data, sigma, bad, table]), stages, inputs)

    @classmethod
    def read(cls, path: Path) -> Stamps:
        """Read the stamps of a frame.

        Raises
        ------
        FrameError
            If it is no such file, or cannot be read.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                with fits.open(path, memmap=False) as hdus:
                    made = cls._of(hdus)
        except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
            raise FrameError(f"{path}: cannot be read as stamps ({error}); make it again") from error
        run_record.current().read(path, checksum_of(path))
        return made

    @classmethod
    def _of(cls, hdus: fits.HDUList) -> Stamps:
        header, table = hdus[0].header, hdus["STARS"].data
        return cls(
            names=[str(name).strip() for name in table["NAME"]],
            data=np.array(hdus["DATA"].data, np.float32),
            sigma=np.array(hdus["SIGMA"].data, np.float32),
            bad=np.array(hdus["BAD"].data, np.uint8),
            x0=np.asarray(table["X0"], np.intp),
            y0=np.asarray(table["Y0"], np.intp),
            x=np.asarray(table["X"], float),
            y=np.asarray(table["Y"], float),
            matrix=np.array([float(header[f"M{k}"]) for k in range(6)]),
            frame=str(header["FRAME"]),
            set=str(header["SET"]),
            **{name: number(header[key]) for name, (key, _) in _CARDS.items()},
        )
