"""Daily files of a GOES satellite's X-ray sensor, with a Sun of known flux."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.netcdf import netcdf
from visql_lib.errors import SimulationError

if TYPE_CHECKING:
    import netCDF4

    Spans = Sequence[tuple[float, float]]

EPOCH = np.datetime64("2000-01-01T12:00:00", "us")
FILL = np.float32(-9999.0)
_CLASSES = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}  # W/m2
_ECLIPSE, _BAD, _ELECTRONS = 1, 2, 4  # flag bits of one-minute files
_MISSING = 256  # flag bit of one-second files
_MINUTE_FLAGS: dict[str, tuple[int, int]] = {  # meaning -> mask, value
    "good_data": (3, 0),
    "eclipse": (1, 1),
    "bad_data": (2, 2),
    "e_contam_significant": (4, 4),
    "e_correction_valid": (8, 0),
    "e_correction_invalid": (8, 8),
    "e_correction_interp": (48, 16),
    "e_correction_decay": (48, 32),
}
_SECOND_NAMES = (
    *("eclipse", "particle_spike", "calibration", "off_point", "temperature_error", "data_quality_error"),
    *("pointing_error", "invalid_mode", "missing_data", "L0_error"),
)
_SECOND_FLAGS = {"good_data": (65535, 0)} | {n: (1 << i, 1 << i) for i, n in enumerate(_SECOND_NAMES)}


def flux_of_class(text: str) -> float:
    """Compute the XRSB flux [W/m2] of a flare's class, such as ``M5.3``.

    Raises
    ------
    SimulationError
        If it is not a class.
    """
    try:
        return _CLASSES[text[:1].upper()] * float(text[1:] or 1)
    except (KeyError, ValueError) as error:
        raise SimulationError(f"{text!r} is not the class of a flare, such as M5.3") from error


@dataclass(frozen=True)
class Flare:
    """A flare: peak [h since the day began; may lie outside], class, rise and decay [s]."""

    peak: float
    size: str
    rise: float = 240.0
    decay: float = 1200.0


@dataclass(frozen=True)
class GoesDay:
    """The X-ray flux that a satellite measures on one day. Spans are from, to [h since the day began].

    Attributes
    ----------
    day : date
        UTC.
    satellite : int
    flares : sequence of Flare
    quiet : float
        XRSB without flares [W/m2]; it varies by some ten per cent.
    science : bool
        The final product, else the operational one.
    version : tuple of int
    cadence : int
        60: one-minute averages; 1: one-second samples.
    gaps : spans
        No samples.
    fills : spans
        Samples without values, flagged bad.
    bad, eclipse : spans
        Samples with values that are flagged.
    seed : int
    """

    day: date
    satellite: int = 16
    flares: Sequence[Flare] = ()
    quiet: float = 4e-7
    science: bool = True
    version: tuple[int, ...] = (2, 2, 0)
    cadence: int = 60
    gaps: Spans = ()
    fills: Spans = ()
    bad: Spans = ()
    eclipse: Spans = ()
    seed: int = 1

    @property
    def kind(self) -> str:
        """Kind of file as its name has it."""
        return "avg1m" if self.cadence == 60 else "flx1s"

    @property
    def name(self) -> str:
        """Name of the file, as the server has it."""
        version = "-".join(map(str, self.version))
        start = "sci" if self.science else "dn"
        return f"{start}_xrsf-l2-{self.kind}_g{self.satellite:02d}_d{self.day:%Y%m%d}_v{version}.nc"

    @property
    def folder(self) -> str:
        """Folder of the file, below the address of the server."""
        product = f"xrsf-l2-{self.kind}" + ("_science" if self.science else "")
        return f"goes{self.satellite:02d}/l2/data/{product}/{self.day:%Y}/{self.day:%m}"


def fluxes(options: GoesDay) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Compute the true seconds since the day began, XRSA and XRSB [W/m2], of all samples of a day.

    The ratio of the channels rises with the flux, as hotter flares have harder
    spectra: XRSA = XRSB/10 (XRSB / 1e-5 W/m2)^0.4.
    """
    seconds = np.arange(0, 86400, options.cadence, dtype=float)
    knots = np.r_[_knots(options, 0), _knots(options, 1)[0]]  # so that days join
    xrsb = options.quiet * np.exp(np.interp(seconds / 3600, np.arange(25), knots))
    for flare in options.flares:
        since = seconds - 3600 * flare.peak
        rising = np.exp(-0.5 * (np.minimum(since, 0) / flare.rise) ** 2)
        xrsb += flux_of_class(flare.size) * rising * np.exp(-np.maximum(since, 0) / flare.decay)
    return seconds, 0.1 * xrsb * (xrsb / 1e-5) ** 0.4, xrsb


def _knots(options: GoesDay, later: int) -> NDArray[np.floating]:
    """Draw the logarithm of the quiet Sun's factor at every full hour of this day, or of a later one."""
    return np.random.default_rng((options.seed, options.day.toordinal() + later)).normal(0.0, 0.15, 24)


def write_goes_day(options: GoesDay, root: Path) -> Path:
    """Write a day in the satellite's own format; return the file.

    Parameters
    ----------
    options : GoesDay
    root : Path
        The file goes into ``options.folder`` below it, as on the server.
    """
    seconds, xrsa, xrsb = fluxes(options)
    hour = seconds / 3600
    kept = ~_in(hour, options.gaps)
    filled = _in(hour, options.fills)[kept]
    flags = _flags(options, hour, xrsb)[kept]
    values = {"xrsa": xrsa[kept], "xrsb": xrsb[kept]}
    path = root / options.folder / options.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with netcdf(path, "w", format="NETCDF4") as file:
        file.setncatts(_attributes(options))
        file.createDimension("time", int(kept.sum()))
        _write_time(file, options, seconds[kept])
        for name, flux in values.items():
            _write_channel(file, options, name, np.where(filled, FILL, flux), flags)
    return path


def _in(hour: NDArray, spans: Spans) -> NDArray[np.bool_]:
    """Find the samples that lie in any of the spans."""
    return np.any([np.zeros(hour.shape, bool), *((hour >= a) & (hour < b) for a, b in spans)], axis=0)


def _flags(options: GoesDay, hour: NDArray, xrsb: NDArray) -> NDArray:
    """Set the flag of each sample; electrons disturb most quiet minutes, which stay good."""
    bad, eclipse, filled = (_in(hour, spans) for spans in (options.bad, options.eclipse, options.fills))
    if options.cadence == 60:
        generator = np.random.default_rng((options.seed, options.day.toordinal(), 1))
        electrons = (xrsb < 2 * options.quiet) & (generator.random(len(hour)) < 0.9)
        flags = _ECLIPSE * eclipse | _BAD * (bad | filled) | _ELECTRONS * electrons
        return flags.astype(np.uint8)
    return (_ECLIPSE * eclipse | _BAD * bad | _MISSING * filled).astype(np.uint16)


def _attributes(options: GoesDay) -> dict[str, Any]:
    start = np.datetime64(options.day, "ms")
    minute = options.cadence == 60
    return {
        "title": "L2 XRS 1 minute average" if minute else "L2 XRS 1 second fluxes",
        "institution": "simulated",
        "source": "VISQL simulator",
        "instrument": "GOES R Series Extreme Ultraviolet Sensor and X-ray Irradiance Sensors (EXIS)",
        "platform": f"g{options.satellite:02d}",
        "id": options.name,
        "processing_level": "Level 2",
        "time_coverage_resolution": "PT1M" if minute else "PT1S",
        "time_coverage_start": f"{start}Z",
        "time_coverage_end": f"{start + np.timedelta64(1, 'D')}Z",
        "algorithm_version": ".".join(map(str, options.version)),
    }


def _write_time(file: netCDF4.Dataset, options: GoesDay, seconds: NDArray) -> None:
    time = file.createVariable("time", "f8", ("time",), zlib=True, fill_value=float(FILL))
    time.long_name = "Record start time, neglecting leap seconds."
    time.units = "seconds since 2000-01-01T12:00:00"
    time.calendar = "proleptic_gregorian"
    time[:] = seconds + (np.datetime64(options.day, "us") - EPOCH) / np.timedelta64(1, "s")


def _write_channel(
    file: netCDF4.Dataset, options: GoesDay, name: str, values: NDArray, flags: NDArray
) -> None:
    flag_name = f"{name}_flag" if options.cadence == 60 else f"{name}_flags"
    flux = file.createVariable(f"{name}_flux", "f4", ("time",), zlib=True, fill_value=FILL)
    flux.long_name = f"{name.upper()} flux."
    flux.units = "W/m2"
    flux.valid_min, flux.valid_max = np.float32(1e-9), np.float32(0.2)
    flux.ancillary_variables = flag_name
    flux.set_auto_mask(False)
    flux[:] = values.astype(np.float32)
    meanings = _MINUTE_FLAGS if options.cadence == 60 else _SECOND_FLAGS
    kind = flags.dtype
    flag = file.createVariable(
        flag_name, kind, ("time",), zlib=True, fill_value=kind.type(np.iinfo(kind).max)
    )
    flag.long_name = f"Flags for {name}_flux."
    flag.flag_masks = np.array([mask for mask, _ in meanings.values()], dtype=kind)
    flag.flag_values = np.array([value for _, value in meanings.values()], dtype=kind)
    flag.flag_meanings = " ".join(meanings)
    flag.set_auto_mask(False)
    flag[:] = flags
