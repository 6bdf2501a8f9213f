"""Which pixels of a guide camera are bad, by its masters: dark rate, response, noise."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.bad_pixels import noisy_pixels
from visql_lib.errors import FrameError, RequestError
from visql_lib.flags import PixelFlag
from visql_lib.images.headers import read_header, value_of
from visql_lib.images.image import Image
from visql_lib.images.masters import BAD_PIXELS, BIAS, DARK, FLAT, KIND, OK, REASON, STATUS, plain
from visql_lib.pipelines.pointing.settings import GuideMasterSettings, PointingSettings
from visql_lib.pipelines.pointing.stages.master_frames import read_master_image
from visql_lib.pipelines.pointing.stages.masters import NUMBER, SCATTER, MasterFrame
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

_SURE = 8.0  # standard errors that a dark rate must be above 0 for its pixel to be bad


@dataclass(frozen=True)
class GuideBadPixelInputs:
    """The masters that bad pixels are found in; None: that kind is not looked for.

    Parameters
    ----------
    dark, flat, bias : Path, optional
        The bias for its noise only.
    """

    dark: Path | None = None
    flat: Path | None = None
    bias: Path | None = None

    @classmethod
    def sorted_out(cls, masters: Sequence[Path], **named: Path | None) -> GuideBadPixelInputs:
        """Sort masters by what their headers say they are, beside those that are named.

        Raises
        ------
        RequestError
            If one is no master of VISQL, or there are two of a kind.
        """
        words = {DARK: "dark", FLAT: "flat", BIAS: "bias"}
        found = dict(named)
        for path in masters:
            said = value_of(read_header(path), KIND)
            if said not in words:
                raise RequestError(f"{path}: does not say which master it is: name it with --dark or --flat")
            if found.get(words[said]) is not None:
                raise RequestError(f"{path}: a second {said.lower()}, after {found[words[said]]}; name one")
            found[words[said]] = path
        return cls(**found)


def run(context: Context[PointingSettings], inputs: GuideBadPixelInputs) -> MasterFrame:
    """Find the bad pixels; the image holds `PixelFlag` bits, 0 of good ones.

    Raises
    ------
    RequestError
        If there is neither dark nor flat.
    FrameError
        If a master cannot be used.
    """
    limits, shape = context.settings.masters, context.instrument.guide.shape
    if inputs.dark is None and inputs.flat is None:
        raise RequestError("badpix: give a master dark with --dark, a master flat with --flat, or both")
    mask = np.zeros(shape, np.int16)
    doubts = []
    for kind, path in ((BIAS, inputs.bias), (DARK, inputs.dark), (FLAT, inputs.flat)):
        if path is None:
            continue
        image = read_master_image(path, kind, shape)
        mask[~np.isfinite(image.data)] |= np.int16(PixelFlag.NOT_FINITE)
        number, scatter = _planes(path, shape)
        if kind == FLAT:
            low, high = image.data < limits.flat_low, image.data > limits.flat_high
            mask[low | high] |= np.int16(PixelFlag.BAD_FLAT)
            continue
        if scatter is None:
            doubts.append(f"{path.name} has no {SCATTER}: noisy pixels are not found in it")
        else:
            mask[noisy_pixels(scatter, limits.noise)] |= np.int16(PixelFlag.NOISY)
        if kind == DARK:
            err = _error(number, scatter)
            mask[image.data > np.maximum(limits.dark_rate, _SURE * err)] |= np.int16(PixelFlag.HOT)
            if _SURE * float(np.nanmedian(err)) > limits.dark_rate:
                doubts.append(
                    f"rates of {path.name} have errors of {float(np.nanmedian(err)):.2g} adu/s: pixels of "
                    f"{limits.dark_rate:g} adu/s cannot be told from good ones; take more or longer darks"
                )
    for doubt in doubts:
        log.warning("bad pixels: %s", doubt)
    return MasterFrame(Image(mask, _header(mask, inputs, limits, doubts)), doubts=doubts)


def _planes(path: Path, shape: tuple[int, int]) -> tuple[NDArray | None, NDArray | None]:
    """Read how many values the pixels of a master were made of, and their scatter; None: not there.

    Raises
    ------
    FrameError
        If one has another shape than the master.
    """
    with fits.open(path, memmap=False) as hdus:
        number, scatter = (np.array(hdus[n].data) if n in hdus else None for n in (NUMBER, SCATTER))
    for plane in (number, scatter):
        if plane is not None and plane.shape != shape:
            raise FrameError(
                f"{path}: its {NUMBER} or {SCATTER} has not the shape of its image; make it again"
            )
    return number, scatter


def _error(number: NDArray | None, scatter: NDArray | None) -> NDArray | float:
    """Return the standard error of the pixels of a master, at least the usual one; 0 where not known."""
    if number is None or scatter is None or not np.isfinite(scatter).any():
        return 0.0
    # Of few values the scatter may be small by chance.
    err = np.fmax(scatter, np.nanmedian(scatter)) / np.sqrt(np.maximum(number, 1))
    return np.asarray(err)


def _header(
    mask: NDArray[np.int16], inputs: GuideBadPixelInputs, limits: GuideMasterSettings, doubts: Sequence[str]
) -> fits.Header:
    """Write how many pixels are bad, why, by which limits."""
    header = fits.Header()

    def count(flag: PixelFlag) -> int:
        return int(np.count_nonzero(mask & np.int16(flag)))

    for name, value, comment in (
        (KIND, BAD_PIXELS, "what it is: bits of PixelFlag, 0: good"),
        (STATUS, OK, "it can be used"),
        ("N_BAD", int(np.count_nonzero(mask)), "bad pixels"),
        ("N_HOT", count(PixelFlag.HOT), "by their dark rate"),
        ("N_FLAT", count(PixelFlag.BAD_FLAT), "by their flat"),
        ("N_NOISY", count(PixelFlag.NOISY), "by their noise"),
        ("N_NAN", count(PixelFlag.NOT_FINITE), "without a value in a master"),
        ("DARKRATE", limits.dark_rate, "[adu/s] larger rates are bad"),
        ("FLATLOW", limits.flat_low, "lower flats are bad"),
        ("FLATHIGH", limits.flat_high, "higher flats are bad"),
        ("NOISE", limits.noise, "times the usual noise is bad"),
        *(
            (name, plain(path.name), "master that was used")
            for name, path in (("MSTBIAS", inputs.bias), ("MSTDARK", inputs.dark), ("MSTFLAT", inputs.flat))
            if path is not None
        ),
    ):
        header[name] = (value, comment)
    if doubts:
        header[REASON] = plain("; ".join(doubts))
    return header
