"""Masters as files: what says that one is failed, how one is read, and the dark that it holds for a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.dark import DarkForTime, DarkKind, DarkModel, Line, dark_of_one_time
from visql_lib.errors import FrameError, NoMasterError
from visql_lib.images.headers import read_header, value_of
from visql_lib.images.image import Image, read_image
from visql_lib.images.writing import write_hdus
from visql_lib.values import number

BIAS, DARK, FLAT, BAD_PIXELS = "MASTER BIAS", "MASTER DARK", "MASTER FLAT", "BAD PIXELS"
KIND, STATUS, REASON = "VISQLTYP", "STATUS", "REASON"
OK, FAILED = "ok", "failed"
PLANES = ("OFFSET", "RATE", "VAROFF", "VARRATE", "COVAR")  # of a dark of several times
SAME_TIME = 0.01  # of the exposure time: darks so near to it are darks of that time


def write_failed_master(
    path: Path, kind: str, reason: str, stages: Mapping[str, int], inputs: Iterable[Path] = ()
) -> None:
    """Write in the place of a master why there is none: an empty primary with STATUS and REASON."""
    header = fits.Header()
    header[KIND] = (kind, "what it should be")
    header[STATUS] = (FAILED, "there is no master")
    header[REASON] = plain(reason)
    write_hdus(path, fits.HDUList([fits.PrimaryHDU(header=header)]), stages, inputs)


def plain(text: str) -> str:
    """Return a text as a card of a header can hold it: one line of ASCII."""
    return " ".join(text.encode("ascii", "replace").decode().split())


def why_not_master(path: Path, kind: str) -> str:
    """Say why a file cannot be used as a master of a kind; "" if it can."""
    if not path.is_file():
        return "there is no such file"
    header = read_header(path)
    if value_of(header, STATUS) == FAILED:
        return f"it is failed: {value_of(header, REASON)}"
    if (found := value_of(header, KIND)) != kind:
        return f"it is no {kind.lower()} of VISQL, but {found or 'another image'}"
    return ""


def require_master(path: Path, kind: str) -> Image:
    """Read a master.

    Parameters
    ----------
    path : Path
    kind : str
        Such as `BIAS`: what its VISQLTYP must say.

    Raises
    ------
    NoMasterError
        If there is none, or it is failed (with its REASON), or of another kind.
    FrameError
        If it cannot be read.
    """
    if why := why_not_master(path, kind):
        raise NoMasterError(f"{path}: cannot be used as {kind.lower()}: {why}")
    return read_image(path)


@dataclass
class MasterDark:
    """A master dark: a line for each pixel, or darks of one time only.

    Attributes
    ----------
    image : Image
        The dark at its EXPTIME [ADU], the bias taken off; err, mask, used as well.
    exptime : float
        s; the longest that there was.
    model : DarkModel or None
        The line of each pixel; None of one time only.
    line : Line or None
        That through the levels of all pixels; None of one time only.
    bias : str
        Name of the master bias that was taken off its frames; "": none was, it holds the bias.
    """

    image: Image
    exptime: float
    model: DarkModel | None
    line: Line | None
    bias: str

    @classmethod
    def read(cls, path: Path) -> MasterDark:
        """Read a master dark; see `require_master` for what is raised."""
        image = require_master(path, DARK)
        header = image.header
        exptime = number(value_of(header, "EXPTIME"))
        if not exptime > 0:
            raise FrameError(f"{path}: a master dark without EXPTIME; make it again")
        bias = str(value_of(header, "MSTBIAS") or "")
        if value_of(header, "DARKLINE") is not True:
            return cls(image, exptime, None, None, bias)
        planes = _planes(path)
        shape = image.data.shape
        used = image.used if image.used is not None else np.zeros(shape, np.int16)
        model = DarkModel(planes[0], planes[1], planes[2], planes[3], planes[4], used)
        return cls(image, exptime, model, _line(header), bias)

    def at(self, t: float, tolerance: float = 0.0, line: Line | None = None) -> DarkForTime:
        """Return the dark for an exposure time [s], its standard error [ADU], and how it was found.

        Parameters
        ----------
        t : float
            Wanted time [s].
        tolerance : float, optional
            Times that near to each other are one [s]; of darks of one time only.
        line : Line, optional
            The camera's global line, for darks of one time only.

        Raises
        ------
        RequestError
            If there are darks of another time only, and no line.
        """
        if self.model is not None:
            return DarkForTime(*self.model.at(t), DarkKind.LINE)
        assert self.image.err is not None
        return dark_of_one_time(t, self.image.data, self.image.err, self.exptime, line, tolerance)

    def with_bias(
        self, t: float, bias: Image, tolerance: float = 0.0, line: Line | None = None
    ) -> DarkForTime:
        """Return bias and dark together, with the error of their sum [ADU]; see `at`.

        Where the dark was made with this bias, the bias's error is in it with the other sign: all of it
        that is in the offset goes out of the sum.
        """
        dark, err, kind = self.at(t, tolerance, line)
        own = np.zeros(()) if bias.err is None else np.square(bias.err, dtype=np.float64)
        same = bool(self.bias) and bias.name == self.bias
        # The dark of another time is line + (dark - offset) t / T: so much of the bias is in it.
        share = t / self.exptime if kind is DarkKind.GLOBAL_LINE else 1.0
        variance = np.square(err, dtype=np.float64) + (own * (1 - 2 * share) if same else own)
        total = bias.data + dark
        return DarkForTime(total, np.sqrt(np.maximum(variance, 0)), kind)


def _planes(path: Path) -> list[NDArray]:
    with fits.open(path, memmap=False) as hdus:
        if missing := [name for name in PLANES if name not in hdus]:
            raise FrameError(f"{path}: its extension {missing[0]} is missing; make it again")
        return [np.array(hdus[name].data, dtype=np.float32) for name in PLANES]


def _line(header: fits.Header) -> Line:
    keys = ("DARKOFF", "DARKRATE", "DARKOFFE", "DARKRTE", "DARKCOV")
    offset, rate, offset_err, rate_err, covariance = (number(value_of(header, key)) for key in keys)
    return Line(offset, rate, offset_err, rate_err, covariance)
