"""The masters that lights are reduced with: checked against each light, and read by rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from numpy.typing import NDArray

from visql_lib.ccd.arithmetic import Pixels, size_text
from visql_lib.ccd.dark import DarkKind, DarkModel, Line, dark_of_one_time
from visql_lib.errors import FrameError, NoMasterError, RequestError
from visql_lib.frames.header import ExposureHeader
from visql_lib.images.chip import Chip
from visql_lib.images.headers import read_header, value_of
from visql_lib.images.image import ERR, MASK, USED
from visql_lib.images.masters import (
    BAD_PIXELS,
    BIAS,
    DARK,
    FAILED,
    FLAT,
    KIND,
    PLANES,
    REASON,
    SAME_TIME,
    STATUS,
)
from visql_lib.instruments.finding import binning_of
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import stem_of
from visql_lib.tables.provenance import NoRecordError, read_record
from visql_lib.values import number

_KINDS = {"bias": BIAS, "dark": DARK, "flat": FLAT, "bad pixels": BAD_PIXELS}
_MUST_AGREE = ("GAIN", "OFFSET", "READOUT")  # columns of the sheet, where both are known
_WARMER = 1.0  # C between a dark and a light that is told
_READ_ERRORS = (OSError, ValueError, TypeError, KeyError, IndexError, AstropyUserWarning)


class OpenMaster:
    """A master, open to be read by rows; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        One made by VISQL, or any image of the same kind; then without ERR it counts as exact.
    kind : str
        bias, dark, flat or bad pixels: for messages.
    instrument : Instrument
        Tells where the facts stand in its header.

    Raises
    ------
    NoMasterError
        If it is the record of one that could not be made.
    RequestError
        If it is of another kind.
    FrameError
        If it cannot be read, or holds no image.
    """

    def __init__(self, path: Path, kind: str, instrument: Instrument) -> None:
        self.path, self.kind, self.name = path, kind, stem_of(path.name)
        self.header = read_header(path)
        if value_of(self.header, STATUS) == FAILED:
            why = value_of(self.header, REASON) or "no reason is given"
            raise NoMasterError(f"master {kind} {path.name} could not be made: {why}")
        said = value_of(self.header, KIND)
        if said is not None and said != _KINDS[kind]:
            raise RequestError(f"{path}: is no master {kind}, but a {said}; give each master its own option")
        self.facts = ExposureHeader.from_cards(self.header, instrument, None)
        rule = instrument.header_rule
        told = any(key in self.header for key in (*rule.binning, *rule.binning_xy))
        self.binning = binning_of(rule, self.header) if told else None
        self._hdus: Any = fits.open(path, memmap=False)
        self._planes = self._found()

    def _found(self) -> dict[str, Any]:
        """Find its planes: "" the image, and extensions of the same shape by their names."""
        with self._reading():
            images = [h for h in self._hdus if h.is_image and h.header.get("NAXIS", 0) == 2 and h.size]
            first = next((h for h in images if h.name not in (ERR, MASK, USED)), None)
            if first is None:
                raise FrameError(f"{self.path}: holds no image of rows and columns")
            return {"" if h is first else h.name: h for h in images if h.shape == first.shape}

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AstropyWarning)
                warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
                yield
        except _READ_ERRORS as error:
            raise FrameError(f"{self.path}: cannot be read as a master {self.kind} ({error})") from error

    def __enter__(self) -> OpenMaster:
        return self

    def __exit__(self, *_: object) -> None:
        self._hdus.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        rows, columns = self._planes[""].shape
        return rows, columns

    def has(self, *names: str) -> bool:
        """Say whether it has all of some extensions."""
        return all(name in self._planes for name in names)

    def rows(self, name: str, rows: slice) -> NDArray | None:
        """Read rows of a plane, "" for the image; None if there is no such plane."""
        if name not in self._planes:
            return None
        with self._reading():
            found = np.asarray(self._planes[name].section[rows, :])
        return found.astype(found.dtype.newbyteorder("="), copy=False)

    def pixels(self, rows: slice) -> Pixels:
        """Read rows of image, error and mask."""
        values = self.rows("", rows)
        assert values is not None
        return Pixels(values, self.rows(ERR, rows), self.rows(MASK, rows))

    def mask(self, rows: slice) -> NDArray:
        """Read rows of its mask; of a file without one, the image itself is the mask."""
        found = self.rows(MASK, rows)
        found = self.rows("", rows) if found is None else found
        assert found is not None
        return found.astype(np.int16)

    def done(self, card: str) -> bool:
        """Say whether a step is done, such as BIASCOR."""
        return value_of(self.header, card) in (True, "T")

    def is_of(self, other: OpenMaster) -> bool:
        """Say whether it was made from another master: by its record, else by MSTBIAS."""
        try:
            return read_record(other.path)["checksum"] in read_record(self.path)["inputs"].values()
        except NoRecordError:
            return value_of(self.header, "MSTBIAS") == other.path.name


class OpenDark(OpenMaster):
    """A master dark: a line of each pixel, or a dark of one exposure time."""

    @property
    def has_line(self) -> bool:
        """Whether it has the line of each pixel."""
        return self.has(*PLANES)

    @property
    def line(self) -> Line | None:
        """The camera's global line, None where its header has none."""
        offset, rate = (number(value_of(self.header, key)) for key in ("DARKOFF", "DARKRATE"))
        if math.isnan(offset) or math.isnan(rate):
            return None
        return Line(offset, rate, number(value_of(self.header, "DARKOFFE")))

    def kind_for(self, exptime: float) -> DarkKind:
        """Tell how the dark for an exposure time [s] is found.

        Raises
        ------
        NoMasterError
            If the exposure time is not known, or there is no way to it.
        """
        if not math.isfinite(exptime):
            raise NoMasterError(
                "the exposure time is not known, so there is no dark for it; correct EXPTIME, or set "
                "reduce.allow_missing: [dark]"
            )
        if self.has_line:
            return DarkKind.LINE
        own = self.facts.exptime
        if math.isnan(own):
            raise FrameError(f"{self.path}: a master dark without an exposure time; write EXPTIME")
        if abs(exptime - own) <= SAME_TIME * own:
            return DarkKind.SAME_TIME
        if self.line is None or not self.done("BIASCOR"):
            raise NoMasterError(
                f"{self.path.name} has darks of {own:g} s alone, and the light is of {exptime:g} s: make the "
                "master of darks of two times (visql master-dark), or set reduce.allow_missing: [dark]"
            )
        return DarkKind.GLOBAL_LINE

    def share_of_bias(self, exptime: float) -> float:
        """Return how much of the bias is in the dark for an exposure time [s]; see `ccd.reduce`."""
        scaled = self.kind_for(exptime) is DarkKind.GLOBAL_LINE
        return exptime / self.facts.exptime if scaled else 1.0

    def pedestal(self, dark: NDArray) -> float | NDArray:
        """Return what of some rows of the dark is no charge [ADU], as far as that is known."""
        if not self.done("BIASCOR"):
            return dark  # the bias, and hardly anything else
        return self.line.offset if self.line is not None else 0.0

    def dark(self, exptime: float, rows: slice) -> Pixels:
        """Read rows of the dark for an exposure time [s]."""
        mask = self.rows(MASK, rows)
        if self.has_line:
            offset, rate, *errors = (np.asarray(self.rows(name, rows), dtype=np.float64) for name in PLANES)
            offset_var, rate_var, covariance = errors
            model = DarkModel(offset, rate, offset_var, rate_var, covariance, np.ones((), np.int16))
            return Pixels(*model.at(exptime), mask)
        own = self.pixels(rows)
        if self.kind_for(exptime) is DarkKind.SAME_TIME:
            return own
        err = np.zeros(own.values.shape) if own.err is None else own.err
        try:
            found = dark_of_one_time(exptime, own.values, err, self.facts.exptime, self.line, 0.0)
        except RequestError as error:
            raise NoMasterError(f"{self.path.name}: {error}") from error
        return Pixels(found.dark, found.err, mask)


@dataclass(frozen=True)
class Masters:
    """The masters of some lights, open; `missing`: why one is not there."""

    bias: OpenMaster | None = None
    dark: OpenDark | None = None
    flat: OpenMaster | None = None
    bad: OpenMaster | None = None
    missing: Mapping[str, str] | None = None

    def check(self, chip: Chip) -> tuple[str, ...]:
        """Check that all fit a light; return what is doubtful.

        Raises
        ------
        FrameError
            If one does not fit, naming both.
        """
        notes: list[str] = []
        for master in (self.bias, self.dark, self.flat, self.bad):
            if master is not None:
                _check_fit(chip, master, notes)
        for master in (self.bias, self.dark):
            if master is not None:
                _check_overscan(chip, master)
        if self.dark is not None and not self.dark.done("BIASCOR") and self.bias is not None:
            raise FrameError(
                f"{chip.image.name}: {self.dark.path.name} holds its bias, and {self.bias.path.name} goes "
                "off before it: the bias would be taken off twice. Make the dark with visql master-dark, or "
                "leave out --bias (with a dark of the light's exposure time), or write BIASCOR = T into "
                "the dark if it is free of bias"
            )
        return tuple(notes)

    @property
    def bias_in_dark(self) -> bool:
        """Whether the dark holds the bias, so that both go together."""
        return self.bias is None and self.dark is not None and not self.dark.done("BIASCOR")


def _check_fit(chip: Chip, master: OpenMaster, notes: list[str]) -> None:
    """Refuse a master of another shape, binning, gain setting or filter; note what is doubtful."""
    both = f"{chip.image.name} and master {master.kind} {master.path.name} do not fit"
    if chip.image.data.shape != master.shape:
        sizes = f"{size_text(chip.image.data.shape)}, {size_text(master.shape)}"
        raise FrameError(f"{both}: {sizes}; give a master of the same size")
    if master.binning is not None and chip.facts.binning != master.binning:
        binnings = ", ".join(f"{b.x} x {b.y}" for b in (chip.facts.binning, master.binning))
        raise FrameError(f"{both}: binning {binnings}; give a master of the same binning")
    ours, theirs = dict(chip.facts.extra), dict(master.facts.extra)
    if master.kind == "flat":
        ours["FILTER"], theirs["FILTER"] = chip.facts.filter, theirs.get("FILTER", "")
        if bool(ours["FILTER"]) != bool(theirs["FILTER"]):
            known = chip.image.name if ours["FILTER"] else master.path.name
            notes.append(f"the filter is known of {known} alone")
    for key in (*_MUST_AGREE, *(("FILTER",) if master.kind == "flat" else ())):
        one, other = ours.get(key, "").strip(), theirs.get(key, "").strip()
        if one and other and not _same(one, other) and not (key == "GAIN" and master.kind == "bad pixels"):
            raise FrameError(f"{both}: {key} {one}, {other}; give a master of the same {key.lower()}")
    warm, cold = (number(extra.get("CCD-TEMP") or None) for extra in (ours, theirs))
    if master.kind == "dark" and abs(warm - cold) > _WARMER:
        notes.append(f"the dark was taken at {cold:g} C, the light at {warm:g} C")
    if master.kind in ("bias", "dark", "flat") and not master.has(ERR):
        notes.append(f"master {master.kind} {master.path.name} has no ERR; it counts as exact")


def _check_overscan(chip: Chip, master: OpenMaster) -> None:
    """Refuse a master with the level of the overscan in it for a light without, and the other way round."""
    done = value_of(master.header, "OVERSCAN")
    off = math.isfinite(chip.bias_level)
    if isinstance(done, bool) and done != off:
        one, other = ("is", "is not") if off else ("is not", "is")
        raise FrameError(
            f"{chip.image.name} and master {master.kind} {master.path.name} do not fit: the level of the "
            f"overscan {one} taken off the light and {other} off the {master.kind}; make both with the same "
            "overscan.method"
        )


def _same(one: str, other: str) -> bool:
    a, b = number(one), number(other)
    return one == other or (math.isfinite(a) and math.isclose(a, b, rel_tol=1e-4))


@contextmanager
def open_masters(files: Mapping[str, Path | None], instrument: Instrument) -> Iterator[Masters]:
    """Open the masters bias, dark, flat and bad; one that could not be made is missing, with its reason."""
    from contextlib import ExitStack

    kinds = {"bias": OpenMaster, "dark": OpenDark, "flat": OpenMaster, "bad": OpenMaster}
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name, kind in kinds.items():
            if (path := files.get(name)) is None:
                continue
            try:
                what = "bad pixels" if name == "bad" else name
                found[name] = stack.enter_context(kind(path, what, instrument))
            except NoMasterError as error:
                missing[name] = str(error)
        yield Masters(**found, missing=missing)
