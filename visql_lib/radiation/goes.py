"""X-ray flux of the Sun during exposures, from series of a GOES satellite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.flags import SunFlag

_LONGEST = 60.0  # s, that a sample can last
_GAP = 1.5  # times the usual step to the next sample: there is a gap
_DAY = np.timedelta64(1, "D")


class _Good(NamedTuple):
    """The good samples: start and end [s since the series' origin], flux [W/m2]; all in order of time."""

    start: NDArray[np.floating]
    end: NDArray[np.floating]
    flux: NDArray[np.floating]
    satellite: NDArray[np.str_]
    origin: np.datetime64


def join_series(parts: Iterable[Mapping[str, NDArray]]) -> dict[str, NDArray]:
    """Join series to one in order of time.

    Parameters
    ----------
    parts : iterable of mappings of arrays
        With the columns of the table of a series. Of samples of one satellite at the
        same time the first good one is kept, or the first if none is good. Satellites
        do not agree to the last per cent, nor begin their samples together: the first
        one counts, and another only where the first has no good sample at all.

    Returns
    -------
    dict of arrays, shape (n,)
        The same columns. Gaps stay gaps.
    """
    kept = [part for part in parts if len(part["TIME"])]
    empty = {
        "TIME": np.empty(0, "datetime64[us]"),
        "XRSA": np.empty(0, np.float32),
        "XRSB": np.empty(0, np.float32),
        "GOOD": np.empty(0, bool),
        "SATELLITE": np.empty(0, np.str_),
    }
    if not kept:
        return empty
    joined = {name: np.concatenate([np.asarray(part[name]) for part in kept]) for name in empty}
    satellites = joined["SATELLITE"]
    series = [_in_order(_rows(joined, satellites == name)) for name in dict.fromkeys(satellites.tolist())]
    found = series[0]
    for other in series[1:]:
        found = _filled(found, other)
    return found


def _rows(series: Mapping[str, NDArray], rows: NDArray) -> dict[str, NDArray]:
    return {name: values[rows] for name, values in series.items()}


def _filled(first: dict[str, NDArray], other: dict[str, NDArray]) -> dict[str, NDArray]:
    """Fill the gaps of a series with whole samples of another one."""
    start, end = _spans(first)
    good = first["GOOD"]
    begin, until = _spans(other)
    other = _rows(other, ~_overlapping(begin, until, start[good], end[good]))
    begin, until = _spans(other)
    replaced = _overlapping(start, end, begin[other["GOOD"]], until[other["GOOD"]]) & ~good
    parts = (_rows(first, ~replaced), other)
    return _in_order({name: np.concatenate([part[name] for part in parts]) for name in first})


def _spans(series: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Find start and end of every sample."""
    time = series["TIME"].astype("datetime64[us]")
    return time, time + np.round(sample_lengths(time) * 1e6).astype("timedelta64[us]")


def _overlapping(start: NDArray, end: NDArray, others: NDArray, ends: NDArray) -> NDArray[np.bool_]:
    """Find the spans that overlap one of others, which are in order of time."""
    if not len(others):
        return np.zeros(len(start), bool)
    following = np.searchsorted(ends, start, "right")
    return (following < len(others)) & (others[np.minimum(following, len(others) - 1)] < end)


def _in_order(joined: dict[str, NDArray]) -> dict[str, NDArray]:
    """Put a series in order of time, each time once."""
    order = np.lexsort((~joined["GOOD"], joined["TIME"]))  # stable: the first of equals stays first
    time = joined["TIME"][order]
    order = order[np.r_[True, time[1:] != time[:-1]] & ~np.isnat(time)]
    return {name: values[order] for name, values in joined.items()}


def sample_lengths(time: NDArray[np.datetime64]) -> NDArray[np.floating]:
    """Measure how long each sample lasts [s]: until the next, or the usual step where a gap follows.

    Parameters
    ----------
    time : array of datetime64, shape (n,)
        Starts of samples, in order. The usual step is the median of a UTC day, at most 60 s.
    """
    if not len(time):
        return np.empty(0)
    steps = np.diff(time) / np.timedelta64(1, "s")
    day = time.astype("datetime64[D]")
    starts = np.flatnonzero(np.r_[True, day[1:] != day[:-1]])
    ends = np.r_[starts[1:], len(time)]
    inside = [steps[a : b - 1] for a, b in zip(starts, ends, strict=True)]
    usual = np.repeat([min(_LONGEST, np.median(s)) if len(s) else _LONGEST for s in inside], ends - starts)
    following = np.r_[steps, np.inf]
    return np.where(following <= _GAP * usual, following, usual)


def exposure_flux(
    series: Mapping[str, NDArray],
    start: ArrayLike,
    exptime: ArrayLike,
    readout: float,
    *,
    provisional: Collection[np.datetime64] = (),
    reach: float = 600.0,
) -> dict[str, NDArray]:
    """Measure the Sun's X-ray flux (XRSA) during exposures and their readout.

    Parameters
    ----------
    series : mapping of arrays, shape (n,)
        One series in order of time, as `join_series` gives it.
    start : array of datetime64, shape (m,)
        DATE-OBS, UTC; NaT where not known.
    exptime : array, shape (m,)
        Exposure times [s]; NaN where not known: then only the readout counts, and
        there is no fluence.
    readout : float
        Readout time [s].
    provisional : collection of datetime64[D], optional
        Days (UTC) whose series are not final.
    reach : float, optional
        How far [s] from the exposure the nearest good sample may be.

    Returns
    -------
    dict of arrays, shape (m,)
        ``GOES_FLUX`` [W/m2]: mean over [start, start + exptime + readout], every good
        sample weighted by its part in that time; the nearest good sample if there is
        none, NaN if that is out of reach. ``GOES_FLUENCE`` [J/m2]: that mean times
        exptime + readout/2 (a pixel waits half the readout on average). ``GOES_PEAK``
        [W/m2]: largest good sample, NaN if none. ``GOES_COVERAGE``: fraction of the
        time with good samples. ``GOES_SATELLITE``. ``FLAGS``: SunFlag bits.
    """
    good = _good_samples(series)
    known, low, high = _windows(start, exptime, readout, good.origin)
    a, b = np.searchsorted(good.end, low, "right"), np.searchsorted(good.start, high, "left")
    b = np.maximum(a, b)
    mean, coverage = _mean(good, low, high)
    peak = np.array([good.flux[i:j].max(initial=-np.inf) for i, j in zip(a, b, strict=True)])
    inside = (b > a) & known & (coverage > 0)
    nearest, far = _nearest(good, low, high)
    beside = ~inside & known & (far <= reach)
    a, b = np.where(beside, nearest, a), np.where(beside, nearest + 1, np.where(inside, b, a))
    flux = np.where(inside, mean, np.nan)
    flux[beside] = good.flux[nearest[beside]]
    flags = np.where(beside, SunFlag.NEAREST.value, 0) | np.where(inside | beside, 0, SunFlag.NO_GOES.value)
    early = _of_days(good, a, b, provisional)
    return {
        "GOES_FLUX": flux,
        "GOES_FLUENCE": flux * (np.asarray(exptime, dtype=float) + readout / 2),
        "GOES_PEAK": np.where(inside, peak, np.nan),
        "GOES_COVERAGE": np.where(inside, coverage, 0.0),
        "GOES_SATELLITE": _satellites(good, a, b),
        "FLAGS": (flags | np.where(early, SunFlag.PROVISIONAL.value, 0)).astype(np.int16),
    }


def _good_samples(series: Mapping[str, NDArray]) -> _Good:
    time = np.asarray(series["TIME"], dtype="datetime64[us]")
    flux = np.asarray(series["XRSA"], dtype=float)
    keep = np.asarray(series["GOOD"], dtype=bool) & np.isfinite(flux)
    origin = time[0] if len(time) else np.datetime64("2000-01-01", "us")
    begin = (time - origin) / np.timedelta64(1, "s")
    end = begin + sample_lengths(time)
    return _Good(begin[keep], end[keep], flux[keep], np.asarray(series["SATELLITE"])[keep], origin)


def _windows(
    start: ArrayLike, exptime: ArrayLike, readout: float, origin: np.datetime64
) -> tuple[NDArray[np.bool_], NDArray[np.floating], NDArray[np.floating]]:
    """Find whether the start is known, and first and last second of exposure and readout."""
    first = np.atleast_1d(np.asarray(start, dtype="datetime64[us]"))
    known = ~np.isnat(first)
    low = np.where(known, (first - origin) / np.timedelta64(1, "s"), 0.0)
    length = np.nan_to_num(np.atleast_1d(np.asarray(exptime, dtype=float))) + readout
    return known, low, low + np.maximum(length, 1e-3)  # an instant would have no mean


def _mean(good: _Good, low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
    """Average the flux over windows (NaN where nothing is good), and find the fraction that is good."""
    if not len(good.start):
        return np.full(low.shape, np.nan), np.zeros(low.shape)
    length = good.end - good.start
    time = np.r_[0.0, np.cumsum(length)]
    dose = np.r_[0.0, np.cumsum(length * good.flux)]

    def until(moment: NDArray) -> tuple[NDArray, NDArray]:
        """Sum good time and dose from the beginning of the series to a moment."""
        i = np.searchsorted(good.start, moment, "right") - 1
        part = np.clip(moment - good.start[i], 0.0, length[i])
        part = np.where(i < 0, 0.0, part)
        i = np.maximum(i, 0)
        return time[i] + part, dose[i] + part * good.flux[i]

    (t0, d0), (t1, d1) = until(low), until(high)
    seen = t1 - t0
    some = seen > 1e-6 * (high - low)
    mean = np.divide(d1 - d0, seen, out=np.full(low.shape, np.nan), where=some)
    return mean, np.where(some, np.minimum(seen / (high - low), 1.0), 0.0)


def _nearest(good: _Good, low: NDArray, high: NDArray) -> tuple[NDArray[np.intp], NDArray]:
    """Find the good sample nearest to each window, and how far it is [s]: inf if there is none."""
    if not len(good.start):
        return np.zeros(low.shape, dtype=np.intp), np.full(low.shape, np.inf)
    last = len(good.start) - 1
    after = np.searchsorted(good.start, low, "left")
    before = after - 1
    wait = np.where(after > last, np.inf, np.maximum(good.start[np.minimum(after, last)] - high, 0.0))
    past = np.where(before < 0, np.inf, np.maximum(low - good.end[np.maximum(before, 0)], 0.0))
    first = past <= wait
    return np.where(first, before, after).clip(0, last), np.minimum(past, wait)


def _of_days(good: _Good, a: NDArray, b: NDArray, days: Collection[np.datetime64]) -> NDArray[np.bool_]:
    """Find the runs of samples, from a to before b, that lie partly in one of some days."""
    hit = np.zeros(a.shape, dtype=bool)
    for day in days:
        first = (day.astype("datetime64[us]") - good.origin) / np.timedelta64(1, "s")
        i, j = np.searchsorted(good.start, [first, first + _DAY / np.timedelta64(1, "s")])
        hit |= (a < j) & (b > i) & (b > a)
    return hit


def _satellites(good: _Good, a: NDArray, b: NDArray) -> NDArray[np.str_]:
    """Name the satellites of the samples from a to before b, several with a +."""
    names = good.satellite
    if not len(names):
        return np.full(a.shape, "")
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    first, last = (np.searchsorted(starts, i, "right") - 1 for i in (a, b - 1))
    runs = names[starts]
    return np.array(
        [
            "+".join(dict.fromkeys(runs[i : j + 1])) if n else ""
            for i, j, n in zip(first, last, b > a, strict=True)
        ],
        dtype=np.str_,
    )
