"""The trend of the flux ratios: losses, their rates, detected steps, and when a loss will be reached.

Per place, class and field, everything is measured on daily means. The daily
losses of the three colours are averaged into one history with the least noise,
in which days that fit neither those before nor those after are set aside and
breaks are sought (`segments.find_breaks`); a break where the loss jumps by
`step_significance` standard errors, and that no smooth curve explains, is a
step, any other a change of rate. Lines between the breaks are then fitted to
each colour by itself.

How often it errs at a significance of 5, on simulated daily histories whose
errors are not known, in units of the daily noise s of the mean of the colours
(50 to 1000 histories each; tests/test_trend.py repeats a part of this):

- False steps: none in 400 years of white noise and in 200 histories that bend as
  that of 2024 did; 0.003 per month of only eight days; up to 0.1 per year where
  noise correlates by 0.5 or 0.8 from day to day; 0.05 per year with two months
  of fourfold noise; 0.15 per year if 3 % of the days are odd by 50 mmag rms.
- Missed steps: 12 % of 3 s, 2 % of 4 s, 1 % of 5 s. Ten days before the end
  10 % of 5 s; four days before it 59 % of 5 s, none of 100 of 10 s. A step needs
  three days of data after it; until then these are set aside as odd.
- Pulls of rates and sizes have mean 0 and width 1 within 0.1, but after a step
  that was missed, and 1.3 wide for eight days. Forecasts cover the truth in
  64 to 69 % of cases; where noise correlates by 0.5 or 0.8 in 59 or 53 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from visql_lib.photometry.history import (
    Days,
    Rows,
    clean_level,
    daily,
    date_of,
    days_since_1970,
    losses,
    noise,
)
from visql_lib.photometry.segments import (
    LEAST,
    PiecewiseLines,
    Series,
    beats_curve,
    find_breaks,
    fit_lines,
    persistence,
    place_break,
    slow_noise,
    vet,
)
from visql_lib.photometry.trend_records import COLOURS, Forecast, PlaceTrend, Step, TrendLimits, Trends
from visql_lib.photometry.trend_status import statuses

SIGNIFICANT = 3.0  # standard errors of a rate that is used

_FEW = 6.0  # days for which the penalty of a break is four times that of many days
_UPPER = 0.84  # of the interval of forecasts
_FAR = 36525.0  # d, beyond which no date is forecast
_KEYS = ("SPACE", "SPACE_BIN", "CLASS", "FIELD")


def trends(
    ratios: Mapping[str, NDArray],
    *,
    clean_epoch: tuple[str, str],
    limits: TrendLimits,
    step_significance: float = 5.0,
) -> Trends:
    """Follow every place, class and field of a table of ratios with time.

    Parameters
    ----------
    ratios : mapping of arrays, shape (n,)
        Rows of RATIOS of one kind of time bin, exposures or days: DATE, SPACE,
        SPACE_BIN, CLASS, FIELD, R1 R2 R3 [dimensionless] and R1_ERR R2_ERR
        R3_ERR, NaN where not known. Rows without a date are left out.
    clean_epoch : (str, str)
        First and last day, YYYY-MM-DD, against whose ratios losses are measured.
    limits : TrendLimits
        What losses and rates are judged by.
    step_significance : float, optional
        A jump of at least so many standard errors is a step.

    Returns
    -------
    Trends
        One row per row and colour; steps, forecasts and notes name their place.
    """
    parts: list[dict[str, NDArray]] = []
    all_of_them = Trends({})
    for key, rows in _places(ratios):
        dates = np.asarray(ratios["DATE"], dtype="datetime64[us]")[rows]
        values, errors = (
            np.stack([np.asarray(ratios[f"R{i}{end}"], dtype=float)[rows] for i in (1, 2, 3)], axis=1)
            for end in ("", "_ERR")
        )
        found = place_trend(
            dates,
            values,
            errors,
            clean_epoch=clean_epoch,
            limits=limits,
            step_significance=step_significance,
        )
        parts.append(_columns(key, dates, found))
        place = dict(zip(_KEYS, key, strict=True))
        all_of_them.steps += [place | step.record() for step in found.steps]
        all_of_them.forecast += [place | forecast.record() for forecast in found.forecasts]
        all_of_them.notes += [f"{' '.join(key)}: {note}" for note in found.notes]
    parts = parts or [_columns(("",) * 4, np.empty(0, "datetime64[us]"), _nothing(0, ()))]
    all_of_them.table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return all_of_them


def _places(ratios: Mapping[str, NDArray]) -> Iterator[tuple[tuple[str, ...], NDArray]]:
    """Yield every place with its rows, in order of time."""
    dates = np.asarray(ratios["DATE"], dtype="datetime64[us]")
    names = [np.unique(np.asarray(ratios[key]).astype(np.str_), return_inverse=True) for key in _KEYS]
    which = np.zeros(len(dates), dtype=int)
    for values, index in names:
        which = which * max(len(values), 1) + index
    order = np.lexsort((dates, which))
    order = order[~np.isnat(dates[order])]
    for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        if len(rows):
            yield tuple(str(values[index[rows[0]]]) for values, index in names), rows


def _columns(key: Sequence[str], dates: NDArray, found: PlaceTrend) -> dict[str, NDArray]:
    n = len(dates)
    columns: dict[str, NDArray] = {"DATE": np.repeat(dates, 3)}
    columns |= {name: np.full(3 * n, text) for name, text in zip(_KEYS, key, strict=True)}
    columns["COLOUR"] = np.tile(np.array(COLOURS), n)
    names = ("loss", "loss_err", "model", "rate", "rate_err", "status")
    return columns | {name.upper(): getattr(found, name).reshape(-1) for name in names}


def place_trend(
    dates: ArrayLike,
    ratios: ArrayLike,
    errors: ArrayLike,
    *,
    clean_epoch: tuple[str, str],
    limits: TrendLimits,
    step_significance: float = 5.0,
) -> PlaceTrend:
    """Follow one place, class and field with time.

    Parameters
    ----------
    dates : array_like of datetime64, shape (n,)
        Times of exposures or days (UTC), in any order, none NaT.
    ratios, errors : array_like, shape (n, 3)
        VIS/Gaia ratios at `COLOURS` and their standard errors, NaN where not known.
    clean_epoch : (str, str)
        First and last day, YYYY-MM-DD, against whose ratios losses are measured.
    limits : TrendLimits
        What losses and rates are judged by.
    step_significance : float, optional
        A jump of at least so many standard errors is a step.

    Returns
    -------
    PlaceTrend
        All NaN and unknown where there is no ratio.
    """
    when = np.asarray(dates, dtype="datetime64[us]")
    rows = losses(when, np.asarray(ratios, dtype=float), np.asarray(errors, dtype=float))
    if not np.isfinite(rows.loss).any():
        return _nothing(len(when), ("no ratios",))
    days = daily(rows)
    clean, clean_err, notes = clean_level(days, clean_epoch)
    days = days._replace(loss=days.loss - clean)
    found = _find(days, step_significance)
    if found.odd.any():
        notes.append(f"days set aside that fit neither those before nor after: {found.odd.sum()}")
    fits = [_fit(days, c, found) for c in range(3)]
    x = days_since_1970(when)
    model, _ = _columns_of(fits, [f.lines.terms(x) for f in fits])
    rate, rate_err = _columns_of(fits, [f.lines.rate_terms(x) for f in fits])
    least_rate = rate_err * np.array([_limit(f.dof) for f in fits])
    lasting = _lasting(days, fits, x) >= limits.min_days
    return PlaceTrend(
        loss=rows.loss - clean,
        loss_err=_row_errors(rows, days),
        model=model,
        rate=rate,
        rate_err=rate_err,
        status=statuses(model, rate, (rate > least_rate) & lasting, limits),
        clean_err=clean_err,
        steps=_steps_of(found, fits),
        breaks=tuple(date_of(at) for at in found.times[~found.steps]),
        forecasts=tuple(_forecast(days, c, fits[c], clean_err[c], limits) for c in range(3)),
        odd_days=int(found.odd.sum()),
        notes=tuple(notes),
    )


def _nothing(n: int, notes: tuple[str, ...]) -> PlaceTrend:
    """Make the trend of a place without data."""
    empty = np.full((n, 3), np.nan)
    return PlaceTrend(*(empty,) * 5, np.full((n, 3), "unknown"), np.full(3, np.nan), (), (), (), 0, notes)


class _Found(NamedTuple):
    """Breaks of a place.

    Times [d], whether the lines jump there, whether that is a step (a jump no
    curve explains), the error of the time [d], the jump of the mean of the
    colours in standard errors; and the odd days.
    """

    times: NDArray
    jumps: NDArray[np.bool_]
    steps: NDArray[np.bool_]
    errors: Sequence[float]
    significance: NDArray
    odd: NDArray[np.bool_]


def _find(days: Days, significance: float) -> _Found:
    """Find the breaks of the mean of the colours and tell steps from changes of rate."""
    use, pooled = _pooled(days)
    odd = np.zeros(len(days.x), dtype=bool)
    none = np.empty(0, dtype=bool)
    nothing = _Found(np.empty(0), none, none, [], np.empty(0), odd)
    if len(pooled.x) < 2 * LEAST:
        return nothing
    rows = np.flatnonzero(use)
    pooled, odd[rows] = vet(pooled)
    kept = pooled.chosen(~odd[rows])
    # The scatter of few days is itself uncertain, and a small one makes steps of nothing.
    penalty = significance**2 * (1 + _FEW / len(kept.x)) ** 2
    ends = find_breaks(kept, penalty * slow_noise(kept))
    if not ends:
        return nothing._replace(odd=odd)
    edges = [0, *ends, len(kept.x)]
    runs = list(zip(edges, ends, edges[2:], strict=False))
    places = [place_break(kept, *run) for run in runs]
    times = np.array([place.time for place in places])
    jumps, sure = _jumps(kept, times, significance)
    steps = np.array([beats_curve(kept, *run) for run in runs]) & jumps
    return _Found(times, jumps, steps, [place.error for place in places], sure, odd)


def _jumps(series: Series, times: NDArray, significance: float) -> tuple[NDArray[np.bool_], NDArray]:
    """Find the breaks that jump by at least `significance` standard errors, and by how many (0: no jump).

    The others join their lines; the weakest first.
    """
    jumps, sure = np.ones(len(times), dtype=bool), np.zeros(len(times))
    while jumps.any():
        lines = fit_lines(series, times, jumps)
        size, error = _scaled(lines, series, True).evaluate(lines.jump_terms())
        sure[:] = 0
        sure[jumps] = np.abs(size) / error
        if sure[jumps].min() >= significance:
            break
        jumps[np.flatnonzero(jumps)[np.argmin(sure[jumps])]] = False
        sure[~jumps] = 0
    return jumps, sure


def _pooled(days: Days) -> tuple[NDArray[np.bool_], Series]:
    """Average the colours with the least noise, on the days that have all of them.

    Colours with data on fewer than half of the days of the fullest are left
    out; the weights are the same on all days, so that a change of errors makes
    no step. The errors are scaled to the scatter.
    """
    number = np.isfinite(days.loss).sum(axis=0)
    colours = [c for c in range(3) if number[c] and number[c] >= number.max() / 2]
    use = np.isfinite(days.loss[:, colours]).all(axis=1)
    factors = np.array([noise(days.series(c), bool(days.known[c])) for c in colours])
    factors[~np.isfinite(factors)] = 1.0
    typical = np.nanmedian(days.error[:, colours], axis=0) * factors
    weight = typical**-2.0 / np.sum(typical**-2.0)
    loss = days.loss[use][:, colours] @ weight
    error = np.sqrt((days.error[use][:, colours] ** 2) @ weight**2)
    series = Series(days.x[use], loss, error)
    if len(loss) < LEAST:
        return use, series
    return use, series._replace(e=error * noise(series, bool(days.known[colours].all())))


class _Fit(NamedTuple):
    """Lines of one colour, errors scaled, and the degrees of freedom these rest on."""

    lines: PiecewiseLines
    dof: float


def _fit(days: Days, colour: int, found: _Found) -> _Fit:
    series, known = days.series(colour), bool(days.known[colour])
    odd = found.odd[np.isfinite(days.loss[:, colour])]
    factor = noise(series, known)
    if np.isfinite(factor):
        series, alone = vet(series._replace(e=series.e * factor))
        odd = odd | alone
        series = series._replace(e=series.e / factor)
    if not odd.all():
        series = series.chosen(~odd)
    lines = fit_lines(series, found.times, found.jumps)
    return _Fit(_scaled(lines, series, known), np.inf if known else max(lines.dof, 1))


def _scaled(lines: PiecewiseLines, series: Series, known: bool) -> PiecewiseLines:
    """Scale errors to the scatter: never down where they are known; up for noise that persists."""
    if lines.dof < 1:
        return lines if known else lines.scaled(np.nan)
    factor = np.sqrt(lines.chi2 / lines.dof)
    residuals = (series.y - lines.evaluate(lines.terms(series.x))[0]) / series.e
    return lines.scaled((max(1.0, factor) if known else factor) * np.sqrt(persistence(residuals)))


def _steps_of(found: _Found, fits: Sequence[_Fit]) -> tuple[Step, ...]:
    sizes, errors = (np.full((len(found.times), 3), np.nan) for _ in (0, 1))
    for c, fit in enumerate(fits):
        sizes[found.jumps, c], errors[found.jumps, c] = fit.lines.evaluate(fit.lines.jump_terms())
    return tuple(
        Step(date_of(found.times[k]), found.errors[k], sizes[k], errors[k], float(found.significance[k]))
        for k in np.flatnonzero(found.steps).tolist()
    )


def _columns_of(fits: Sequence[_Fit], terms: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    pairs = [fit.lines.evaluate(t) for fit, t in zip(fits, terms, strict=True)]
    return np.stack([v for v, _ in pairs], axis=1), np.stack([e for _, e in pairs], axis=1)


def _row_errors(rows: Rows, days: Days) -> NDArray:
    """Find the errors of the rows; where rows without errors are days, the scatter of the days."""
    single = len(rows.dates) == len(days.x)
    factors = [noise(days.series(c), False) if single and not rows.known[c] else 1.0 for c in range(3)]
    return np.asarray(rows.error * np.array(factors))


def _limit(dof: float) -> float:
    """Find how many standard errors are as sure as `SIGNIFICANT` ones of a normal distribution."""
    return float(-stdtrit(dof, ndtr(-SIGNIFICANT))) if np.isfinite(dof) else SIGNIFICANT


def _lasting(days: Days, fits: Sequence[_Fit], x: NDArray) -> NDArray:
    """Count the days that the lines at the times `x` [d] rest on, per colour: shape (n, 3)."""
    number = np.empty((len(x), len(fits)), dtype=int)
    for c, fit in enumerate(fits):
        of_day = np.searchsorted(fit.lines.breaks, days.series(c).x, side="right")
        counts = np.bincount(of_day, minlength=len(fit.lines.breaks) + 1)
        number[:, c] = counts[np.searchsorted(fit.lines.breaks, x, side="right")]
    return number


def _forecast(days: Days, colour: int, fit: _Fit, clean_err: float, limits: TrendLimits) -> Forecast:
    """Forecast when the lines reach the configured loss; no date from fewer days than a rate needs.

    The chance that it is reached at a time is that of the line, normal with
    the covariance of its level and rate, being above: for a quantile z,
    ``value - loss = z * error`` is a quadratic equation of the time.
    """
    nat, loss = np.datetime64("NaT", "us"), limits.loss
    nothing = Forecast(COLOURS[colour], loss, False, nat, nat, nat)
    series = days.series(colour)
    if len(series.x) == 0:
        return nothing
    now = float(series.x[-1])
    terms = np.vstack([fit.lines.terms(now), fit.lines.rate_terms(now)])
    (level, rate), errors = fit.lines.evaluate(terms)
    reached = bool(level >= loss)
    few = _lasting(days, [fit], np.array([now]))[0, 0] < limits.min_days
    if few or not rate > _limit(fit.dof) * errors[1]:
        return Forecast(COLOURS[colour], loss, reached, nat, nat, nat)
    (v, c), (_, w) = terms @ fit.lines.covariance @ terms.T
    v += clean_err**2 if np.isfinite(clean_err) else 0.0
    z2 = float(stdtrit(fit.dof, _UPPER)) ** 2
    a, b = rate**2 - z2 * w, (level - loss) * rate - z2 * c
    root = np.sqrt(max(b**2 - a * ((level - loss) ** 2 - z2 * v), 0.0))
    after = np.array([(loss - level) / rate, (-b - root) / a, (-b + root) / a])
    begin = float(fit.lines.breaks[-1]) if len(fit.lines.breaks) else float(series.x[0])
    after = np.where(after > _FAR, np.nan, np.maximum(after, begin - now))
    date, early, late = (date_of(now + float(later)) for later in after)
    return Forecast(COLOURS[colour], loss, reached, date, early, late)
