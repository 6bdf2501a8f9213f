"""What a reduced light says of itself: its row of the table FRAMES, and the same in its header."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.reduce import gain_after_flat
from visql_lib.flags import PixelFlag
from visql_lib.frames.header import ExposureHeader
from visql_lib.images.chip import Chip
from visql_lib.images.headers import read_header, value_of
from visql_lib.images.masters import KIND, REASON, STATUS, plain
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.reduction.calibration import Masters
from visql_lib.pipelines.reduction.schemas import FRAMES
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.values import number

REDUCED = "REDUCED"
_DIGITS = 7  # of numbers in cards and table alike
_NUMBERS = {  # attribute of a row: its card, and its comment
    "bias_level": ("BIASLEV", "[adu] overscan level that was taken off"),
    "level": ("LEVEL", "[adu] median after overscan"),
    "noise": ("NOISE", "[adu] scatter of the sky"),
    "n_saturated": ("NSATUR", "saturated pixels"),
    "n_masked": ("NMASKED", "masked pixels"),
    "n_cosmic": ("NCOSMIC", "pixels hit by cosmic rays; -1: not searched"),
    "sky": ("SKY", "[adu] background"),
    "fwhm": ("FWHM", "[px] of the stars"),
    "n_stars": ("NSTARS", "stars"),
}
_MASTERS = {"bias": "MSTBIAS", "dark": "MSTDARK", "flat": "MSTFLAT", "bad": "MSTBAD"}


class LightRow:
    """The row of a light in the table FRAMES; attributes are its columns in lower case.

    Parameters
    ----------
    light : Path
        The raw frame.
    """

    COLUMNS = FRAMES.names

    def __init__(self, light: Path) -> None:
        self.exposure, self.file = stem_of(light.name), str(light)
        self.type, self.filter, self.object = "UNKNOWN", "", ""
        self.date_obs: Any = np.datetime64("NaT", "us")
        self.exptime = math.nan
        self.status, self.reason, self.set = str(FrameStatus.FAILED), "", ""
        self.bias_level = self.level = self.noise = self.sky = self.fwhm = self.residual = math.nan
        self.n_stars: float = math.nan
        self.n_saturated = self.n_masked = 0
        self.n_cosmic = -1
        self.master_bias = self.master_dark = self.master_flat = ""

    def take_facts(self, chip: Chip) -> None:
        """Take what the header of the raw frame tells, and the level of its overscan."""
        facts = chip.facts
        self._facts(facts.frame_type, facts.start, facts.exptime, facts.filter, facts.object)
        self.bias_level = _rounded(chip.bias_level)

    def _facts(self, kind: str, start: datetime | None, exptime: float, name: str, target: str) -> None:
        self.type, self.exptime, self.filter, self.object = kind, exptime, name, target
        if start is not None:
            self.date_obs = np.datetime64(start.replace(tzinfo=None), "us")

    def became(self, status: FrameStatus, reason: str) -> None:
        """Note what became of it, and why: as a card can hold it, without the name of the frame before it."""
        self.status = str(status)
        for name in (self.file, Path(self.file).name):
            reason = reason.removeprefix(f"{name}: ")
        self.reason = plain(reason)

    def count(self, mask: NDArray) -> None:
        """Count its masked pixels, and round all numbers to what the cards hold."""
        self.n_masked = int(np.count_nonzero(mask))
        self.n_saturated = sum(int(np.count_nonzero(row & PixelFlag.SATURATED)) for row in mask)
        for name in ("level", "noise", "sky", "fwhm"):
            setattr(self, name, _rounded(getattr(self, name)))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def finish_header(
    header: fits.Header,
    chip: Chip,
    masters: Masters,
    row: LightRow,
    taken: float,
    electrons: float | NDArray | None,
    kind: str,
) -> None:
    """Write into the header of a reduced light what was done to it, and the numbers of its row.

    Parameters
    ----------
    header : fits.Header
        Of the prepared frame; changed.
    chip : Chip
        The frame as it was prepared.
    masters : Masters
        With what it was reduced.
    row : LightRow
        Gets the masters' names.
    taken : float
        Level that bias and dark had [ADU].
    electrons : float or array, or None
        By what all was multiplied [electron/ADU]; None: it is in ADU.
    kind : str
        How its dark was found; "" without one.
    """
    header[KIND] = (REDUCED, "product of VISQL")
    _write_steps(header, masters, row, bool(kind))
    header[STATUS] = (row.status, "what became of the frame")
    header[REASON] = row.reason
    for name, (card, comment) in _NUMBERS.items():
        value = getattr(row, name)
        value = int(value) if name.startswith("n_") and math.isfinite(value) else value
        header[card] = (None if isinstance(value, float) and not math.isfinite(value) else value, comment)
    _write_units(header, chip, masters, taken, electrons)
    for line in _history(chip, masters, row, electrons, kind):
        header.add_history(plain(line))


def _write_steps(header: fits.Header, masters: Masters, row: LightRow, dark: bool) -> None:
    """Write which steps were done with which masters."""
    header["BIASCOR"] = (masters.bias is not None or (masters.bias_in_dark and dark), "bias taken off?")
    header["DARKCOR"] = (dark, "dark taken off?")
    header["FLATCOR"] = (masters.flat is not None, "divided by flat?")
    for name, card in _MASTERS.items():
        master = getattr(masters, name)
        if master is not None and (name != "dark" or dark):
            header[card] = (plain(master.path.name), f"master {master.kind}")
            if name != "bad":
                setattr(row, f"master_{name}", plain(master.path.name))


def _write_units(
    header: fits.Header, chip: Chip, masters: Masters, taken: float, electrons: float | NDArray | None
) -> None:
    """Write unit, gain, read noise and saturation of the reduced pixels."""
    gain, noise = chip.gain(), np.asarray(chip.read_noise())
    one = gain_after_flat(gain)
    lowest = np.nanmin([a.saturation for a in chip.amplifiers] + [np.inf])
    saturation = lowest - np.nan_to_num(chip.bias_level) - np.nan_to_num(taken)
    if electrons is not None:
        header["BUNIT"] = ("electron", "unit of the pixels")
        saturation *= float(np.nanmin(electrons))
        for name in ("GAIN", *(key for key in ("EGAIN",) if key in header)):
            header[name] = (1.0, "electron/unit: already in electrons")
    elif isinstance(gain, np.ndarray) and masters.flat is not None and math.isfinite(one):
        header["GAIN"] = (_rounded(one), "[electron/adu] of all amplifiers after the flat")
    if np.isfinite(noise).any():
        header["RDNOISE"] = (_rounded(float(np.sqrt(np.nanmean(noise**2)))), "[electron] read noise")
    if math.isfinite(saturation):
        header["SATURATE"] = (_rounded(float(saturation)), "level of saturation in the unit of the pixels")


def _history(
    chip: Chip, masters: Masters, row: LightRow, electrons: float | NDArray | None, kind: str
) -> list[str]:
    """Say what was done, one line each."""
    lines = []
    if math.isfinite(chip.bias_level):
        lines.append(f"overscan of {row.bias_level:g} adu off")
    lines += [f"bias {masters.bias.path.name} off"] if masters.bias is not None else []
    if masters.dark is not None and kind:
        lines.append(f"dark {masters.dark.path.name} off, for {chip.facts.exptime:g} s by {kind}")
    lines += [f"divided by flat {masters.flat.path.name}"] if masters.flat is not None else []
    lines += [f"masked by {masters.bad.path.name}"] if masters.bad is not None else []
    if electrons is not None:
        lines.append(f"multiplied by gain {np.nanmean(electrons):.6g} electron/adu")
    return [f"visql reduce: {line}" for line in lines]


def row_of_header(light: Path, product: Path, instrument: Instrument) -> LightRow:
    """Read the row of a light from the header of what was made of it."""
    header = read_header(product)
    told = ExposureHeader.from_cards(header, instrument, None)
    row = LightRow(light)
    extra = told.extra
    row._facts(told.frame_type, told.start, told.exptime, extra.get("FILTER", ""), extra.get("OBJECT", ""))
    row.status, row.reason = _text(header, STATUS), _text(header, REASON)
    for name, (card, _) in _NUMBERS.items():
        value = number(value_of(header, card))
        setattr(row, name, value)
    for name in ("bias", "dark", "flat"):
        setattr(row, f"master_{name}", _text(header, _MASTERS[name]))
    return row


def _text(header: fits.Header, key: str) -> str:
    value: Any = value_of(header, key)
    return value if isinstance(value, str) else ""
