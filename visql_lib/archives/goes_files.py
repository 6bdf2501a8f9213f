"""X-ray flux of the Sun in the netCDF files of the GOES satellites.

One-minute averages and one-second samples of GOES-15 to 19 have the same
variables under slightly different names; the file itself
says which values of a flag are good.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError
from visql_lib.archives.netcdf import netcdf
from visql_lib.values import possible_flux

if TYPE_CHECKING:
    import netCDF4

_CHANNELS = {"XRSA": ("xrsa", "a"), "XRSB": ("xrsb", "b")}  # the second: files before 2020
_FLAG_ENDS = ("_flag", "_flags", "_qual_flag")
_UNITS = ("w/m2", "wm-2", "w/m^2", "wm^-2", "wattspermetersquared", "")
_SINCE = re.compile(
    r"seconds since (\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\d*)?\s*(?:UTC|Z)?",
    re.IGNORECASE,
)
_MOST = 1_000_000  # values of a variable; a day has 86,400 seconds
_EARLIEST, _LATEST = np.datetime64("1970-01-01", "us"), np.datetime64("2100-01-01", "us")
_NAME = re.compile(
    r"(sci|ops|dn)_xrsf-l2-(avg1m|flx1s)_g(\d{2})_d(\d{8})(?:_v(\d{1,6}(?:-\d{1,6}){0,5})|_[a-z]\w{0,99})?\.nc",
    re.IGNORECASE | re.ASCII,
)
# What netCDF4 raises for a file that is damaged, or whose attributes are not what they should be.
_DAMAGE = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError)


class GoesFormatError(SourceError):
    """A GOES file is damaged or not what it should be; the message names the file and the value."""


@dataclass(frozen=True)
class GoesName:
    """The parts of the name of a daily file; `science`: the final product, not the operational one."""

    science: bool
    kind: str  # avg1m: one-minute averages; flx1s: one-second samples
    satellite: int
    day: date
    version: tuple[int, ...]  # compared as numbers: 2-10-0 is after 2-9-0

    @property
    def product(self) -> str:
        """Name of the product, as of its folder on the server."""
        return f"xrsf-l2-{self.kind}" + ("_science" if self.science else "")

    @property
    def label(self) -> str:
        """The version as the name has it, such as ``2-2-0``; empty where it has none."""
        return "-".join(map(str, self.version))


def parse_name(name: str) -> GoesName | None:
    """Parse the name of a daily GOES file, None if it is not one."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    origin, kind, satellite, day, version = found.groups()
    try:
        when = date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:]}")
    except ValueError:
        return None
    numbers = tuple(int(n) for n in version.split("-")) if version else ()
    return GoesName(origin.lower() == "sci", kind.lower(), int(satellite), when, numbers)


def read_goes(path: Path) -> dict[str, NDArray]:
    """Read the X-ray flux of a netCDF file.

    Parameters
    ----------
    path : Path
        One-minute averages (``avg1m``) or one-second samples (``flx1s``).

    Returns
    -------
    dict of arrays, shape (n,)
        The columns of the table of a series, in the file's order: ``TIME``
        (datetime64[us], UTC without leap seconds, start of the sample), ``XRSA``
        (0.05-0.4 nm) and ``XRSB`` (0.1-0.8 nm) [W/m2], float32, NaN where the file
        has no value; ``GOOD``: the file calls XRSA good_data, and it is a flux that
        can be, between 0 and 1 W/m2;
        ``SATELLITE``, such as GOES-16. Samples without a time are left out.

    Raises
    ------
    GoesFormatError
        If the file is damaged, or holds no X-ray flux; the message says what is wrong.
    """
    try:
        with netcdf(path) as file:
            file.set_auto_maskandscale(False)  # else it masks what lies outside valid_min, valid_max, too
            return _series(file, path)
    except _DAMAGE as error:
        reason = (getattr(error, "strerror", "") or str(error) or type(error).__name__).strip()
        raise GoesFormatError(f"{path}: cannot be read ({reason}); not a netCDF file, or damaged") from error


def _series(file: netCDF4.Dataset, path: Path) -> dict[str, NDArray]:
    stems = {name: _stem(file, name, path) for name in _CHANNELS}
    fluxes = {name: _flux(file, f"{stem}_flux", path) for name, stem in stems.items()}
    seconds = _known(file, "time", path)
    good = _good(file, stems["XRSA"], path) & possible_flux(fluxes["XRSA"])
    lengths = {len(seconds), len(good), *(len(flux) for flux in fluxes.values())}
    if len(lengths) > 1:
        raise GoesFormatError(f"{path}: variables of different lengths {sorted(lengths)}")
    timed = np.isfinite(seconds)
    series = {"TIME": _times(file, seconds[timed], path)}
    series |= {name: flux[timed] for name, flux in fluxes.items()}
    return series | {
        "GOOD": good[timed],
        "SATELLITE": np.full(int(timed.sum()), f"GOES-{_satellite(file, path)}"),
    }


def _stem(file: netCDF4.Dataset, name: str, path: Path) -> str:
    """Find how the names of the variables of a channel begin."""
    for stem in _CHANNELS[name]:
        if f"{stem}_flux" in file.variables:
            return stem
    raise GoesFormatError(f"{path}: no variable {_CHANNELS[name][0]}_flux; not a file of GOES X-ray flux")


def _numbers(file: netCDF4.Dataset, name: str, path: Path) -> NDArray:
    """Read the numbers of a variable along time, as they are stored."""
    if name not in file.variables:
        raise GoesFormatError(f"{path}: no variable {name}")
    variable = file.variables[name]
    if variable.ndim != 1 or np.dtype(variable.dtype).kind not in "iuf":
        raise GoesFormatError(
            f"{path}: {name} is of type {variable.dtype} in {variable.ndim} dimensions, not a row of numbers"
        )
    if variable.size > _MOST:  # of values never written, a file of a few kB claims as many as it likes
        raise GoesFormatError(f"{path}: {name} has {variable.size} values, more than a day")
    return np.asarray(variable[:])


def _fills(variable: netCDF4.Variable) -> list[Any]:
    """Find the fill values of a variable: its own, or those of netCDF."""
    import netCDF4

    attributes = variable.ncattrs()
    found = [variable.getncattr(name) for name in ("_FillValue", "missing_value") if name in attributes]
    return found or [netCDF4.default_fillvals.get(np.dtype(variable.dtype).str[1:], np.nan)]


def _known(file: netCDF4.Dataset, name: str, path: Path) -> NDArray[np.floating]:
    """Read the numbers of a variable, NaN where there is none.

    Programs that rewrite a file may pack a variable: the stored integers are then
    scaled and shifted.
    """
    stored = _numbers(file, name, path)
    variable = file.variables[name]
    missing = np.isin(stored, _fills(variable))
    scale, offset = (
        float(getattr(variable, key, neutral))
        for key, neutral in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if not (math.isfinite(scale) and math.isfinite(offset) and scale):
        raise GoesFormatError(f"{path}: {name} is packed with scale_factor {scale:g}, add_offset {offset:g}")
    values = stored.astype(float)
    if (scale, offset) != (1.0, 0.0):
        values = values * scale + offset
    return np.where(missing | ~np.isfinite(values), np.nan, values)


def _flux(file: netCDF4.Dataset, name: str, path: Path) -> NDArray[np.float32]:
    """Read a flux [W/m2], NaN where there is none."""
    values = _known(file, name, path)
    unit = str(getattr(file.variables[name], "units", ""))
    if unit.lower().replace(" ", "").replace("**", "^") not in _UNITS:
        raise GoesFormatError(f"{path}: {name} is in {unit!r}, not in W/m2")
    with np.errstate(over="ignore"):  # what single precision cannot hold is no flux
        return values.astype(np.float32)


def _times(file: netCDF4.Dataset, seconds: NDArray, path: Path) -> NDArray[np.datetime64]:
    """Convert times to UTC; the files count days of 86400 s, as datetime64 does."""
    unit = str(getattr(file.variables["time"], "units", ""))
    found = _SINCE.fullmatch(unit.strip())
    if not found:
        raise GoesFormatError(f"{path}: time is in {unit!r}, not in seconds since a date")
    epoch = np.datetime64(f"{found[1]}T{found[2] or '00:00'}", "us")
    if len(seconds) and np.abs(seconds).max() > 1e10:
        raise GoesFormatError(f"{path}: a time of {np.abs(seconds).max():g} s since {found[1]} is impossible")
    times = epoch + np.round(seconds * 1e6).astype("timedelta64[us]")
    if len(times) and (times.min() < _EARLIEST or times.max() > _LATEST):
        raise GoesFormatError(f"{path}: times from {times.min()} to {times.max()} are impossible")
    return times


def _good(file: netCDF4.Dataset, stem: str, path: Path) -> NDArray[np.bool_]:
    """Find the samples that the file calls good_data: ``(flag & mask) == value`` of that entry."""
    name = next((f"{stem}{end}" for end in _FLAG_ENDS if f"{stem}{end}" in file.variables), None)
    if name is None:
        raise GoesFormatError(f"{path}: no variable {stem}_flag or {stem}_flags says what is good")
    flags = _numbers(file, name, path)
    variable = file.variables[name]
    if {"scale_factor", "add_offset"} & set(variable.ncattrs()):
        raise GoesFormatError(
            f"{path}: {name} is packed, so that its bits mean nothing; take the file as issued"
        )
    if flags.dtype.kind not in "iu":
        raise GoesFormatError(f"{path}: {name} is of type {flags.dtype}, not of whole numbers")
    meanings = str(getattr(variable, "flag_meanings", "")).split()
    if "good_data" not in meanings:
        raise GoesFormatError(f"{path}: {name} does not say which value is good_data: {meanings}")
    entry = meanings.index("good_data")
    value = _entry(variable, "flag_values", entry, len(meanings), path)
    # Without masks the values are compared as they are, as the conventions have it.
    has_masks = "flag_masks" in variable.ncattrs()
    mask = _entry(variable, "flag_masks", entry, len(meanings), path) if has_masks else -1
    return ((flags.astype(np.int64) & mask) == value) & ~np.isin(flags, _fills(variable))


def _entry(variable: netCDF4.Variable, name: str, entry: int, count: int, path: Path) -> int:
    """Read one of the numbers of an attribute, which is a plain number if there is only one."""
    numbers = np.atleast_1d(getattr(variable, name, ()))
    if len(numbers) != count or numbers.dtype.kind not in "iu":
        raise GoesFormatError(
            f"{path}: {variable.name} has {count} flag_meanings, but {name} {numbers.tolist()}"
        )
    return int(numbers[entry])


def _satellite(file: netCDF4.Dataset, path: Path) -> int:
    """Find the satellite's number in the file, or else in its name."""
    texts = [str(getattr(file, name, "")) for name in ("platform", "satellite_id", "id")]
    for text in (*texts, path.name):
        if found := re.search(r"(?:^|_)g(?:oes)?[- ]?(\d{1,2})(?!\d)", text, re.IGNORECASE):
            return int(found[1])
    raise GoesFormatError(f"{path}: neither its platform {texts[0]!r} nor its name says which satellite")
