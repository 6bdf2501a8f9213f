"""The trend of one place: losses with their lines, steps, limits and forecast, and the rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite, to_edges
from visql_lib.pipelines.vis.pictures.ice import (
    COLOURS,
    MARKERS,
    TINTS,
    date_range,
    note_above,
    show_dates,
    to_days,
)
from visql_lib.pipelines.vis.settings import TrendSettings

_HEIGHT = 465.0  # px, of the panel of losses
_LABEL = 0.155  # width of a step's label, as a part of the panel's
_ROW = 27.0  # pt, height of a label
_ROWS = 4  # of labels; steps that find no room are only marked
_AHEAD = 0.6  # how far the future is shown, as a part of the past

Record = Mapping[str, Any]


class _Colour(NamedTuple):
    """The rows of one colour in order of time: days (matplotlib's), and the columns of TREND."""

    day: NDArray
    columns: dict[str, NDArray]


def _rows_of(trend: Mapping[str, NDArray], colour: float) -> _Colour:
    rows = np.flatnonzero(np.isclose(np.asarray(trend["COLOUR"], dtype=float), colour))
    day = to_days(np.asarray(trend["DATE"])[rows])
    rows, day = rows[np.isfinite(day)], day[np.isfinite(day)]
    order = np.argsort(day, kind="stable")
    names = ("LOSS", "LOSS_ERR", "MODEL", "RATE", "RATE_ERR")
    return _Colour(day[order], {n: np.asarray(trend[n], dtype=float)[rows][order] for n in names})


@style.styled
def loss_trend(
    trend: Mapping[str, NDArray],
    steps: Sequence[Record],
    forecast: Sequence[Record],
    settings: TrendSettings,
    *,
    since: str | None = None,
    title: str = "",
) -> Figure:
    """Draw the loss of one place with its lines, steps, limits and forecast, and below it the rates.

    Parameters
    ----------
    trend : mapping of arrays, shape (n,)
        Rows of TREND of one place, class and field: DATE (UTC), COLOUR [mag],
        LOSS, LOSS_ERR, MODEL [mmag], RATE, RATE_ERR [mmag/d], STATUS.
    steps, forecast : sequences of records
        Of this place (`visql_lib.photometry.trend_records`); a date that is not
        known is None.
    settings : TrendSettings
        Limits that warn and are errors.
    since : str, optional
        First day shown.
    title : str, optional
    """
    figure = style.canvas(1400, 860)
    style.heading(figure, title)
    upper, lower = (style.panel(figure, box) for box in ((85, 345, 985, _HEIGHT), (85, 75, 985, 225)))
    parts = [_rows_of(trend, colour) for colour in COLOURS]
    past = date_range(np.concatenate([part.day for part in parts]), since)
    shown = past[0], _future(past, forecast)
    for axes in (upper, lower):
        show_dates(axes, *shown, label=axes is lower)
    losses = np.concatenate([p.columns[n][p.day >= past[0]] for p in parts for n in ("LOSS", "MODEL")])
    labels = _labels(steps, shown)
    upper.set_ylim(*_loss_range(losses, settings, 1 + max((label.row for label in labels), default=-1)))
    upper.set_ylabel("flux loss [mmag]")
    lower.set_ylabel("rate of loss [mmag/d]")
    beyond = sum(_draw_loss(upper, part, i, past) for i, part in enumerate(parts))
    _draw_rates(lower, parts, past, settings)
    _limits(upper, settings.warn_loss, settings.error_loss)
    _limits(lower, settings.warn_rate, settings.error_rate)
    _draw_steps((upper, lower), labels)
    _draw_forecast(upper, parts, forecast)
    if not len(finite(losses)):
        style.message(upper, "no losses")
    if beyond:
        note_above(upper, f"{style.count(beyond, 'point')} beyond the range")
    _summary(figure, parts, steps, labels, forecast, settings)
    return figure


def _future(past: Range, forecast: Sequence[Record]) -> float:
    """Choose the end of the axis of dates: behind the forecasts, if these are not too far."""
    latest = [_day(record[key]) for record in forecast for key in ("date", "late")]
    limit = past[1] + _AHEAD * (past[1] - past[0])
    ends = [day for day in latest if past[1] < day]
    return min(max(ends) + 0.02 * (past[1] - past[0]), limit) if ends else past[1]


def _day(date: str | None) -> float:
    return float(to_days(np.array(date, dtype="datetime64[us]"))) if date else np.nan


def _loss_range(losses: NDArray, settings: TrendSettings, rows: int) -> Range:
    """Compute a range for the losses without a few odd ones, the limits, and `rows` of labels above them."""
    known = finite(losses)
    low, high = np.percentile(known, [0.3, 99.7]) if len(known) else (0.0, 0.0)
    low, high = min(float(low), 0.0), max(float(high), settings.error_loss, settings.loss)
    margin = 0.06 * (high - low)
    labels = rows * _ROW * style.LAYOUT_DPI / 72 / _HEIGHT  # part of the panel
    return low - margin, low - margin + (high - low + 2 * margin) / (1 - labels)


def _draw_loss(axes: Axes, part: _Colour, i: int, past: Range) -> int:
    """Draw one colour's losses and lines; return how many points lie beyond the range."""
    columns, seen = part.columns, part.day >= past[0]
    day, loss, error = part.day[seen], columns["LOSS"][seen], columns["LOSS_ERR"][seen]
    edged = to_edges(day, loss, axes.get_xlim(), axes.get_ylim())
    many = int(edged.inside.sum()) > 300
    sure = edged.inside & np.isfinite(error) & (error > 0)
    if not many and sure.any():
        ends = np.stack([np.stack([day, loss - error], -1), np.stack([day, loss + error], -1)], 1)[sure]
        bars = LineCollection(list(ends), colors=TINTS[i], linewidths=0.6, alpha=0.35, zorder=1.4)
        axes.add_collection(bars, autolim=False)
    axes.scatter(
        day[edged.inside],
        loss[edged.inside],
        s=6 if many else 12,
        c=TINTS[i],
        marker=MARKERS[i],
        lw=0,
        alpha=0.55,
        zorder=1.5,
    )
    for caret, chosen in edged.outside.items():
        if chosen.any():
            axes.scatter(edged.x[chosen], edged.y[chosen], c=TINTS[i], marker=caret, s=22, lw=0, zorder=2)
    axes.plot(*_broken(day, columns["MODEL"][seen], columns["RATE"][seen]), color=TINTS[i], lw=1.8, zorder=3)
    return sum(int(chosen.sum()) for chosen in edged.outside.values())


def _broken(day: NDArray, value: NDArray, rate: NDArray) -> tuple[NDArray, NDArray]:
    """Part a line wherever one segment ends, so that a step is not drawn as a steep slope."""
    with np.errstate(invalid="ignore"):
        ends = np.flatnonzero(~np.isclose(rate[1:], rate[:-1], rtol=1e-6, atol=1e-9)) + 1
    return np.insert(day, ends, np.nan), np.insert(value, ends, np.nan)


def _draw_rates(axes: Axes, parts: Sequence[_Colour], past: Range, settings: TrendSettings) -> None:
    """Draw the rates with their errors as bands."""
    ends = [0.0]
    for i, part in enumerate(parts):
        seen = part.day >= past[0]
        rate, error = part.columns["RATE"][seen], part.columns["RATE_ERR"][seen]
        day, level = _broken(part.day[seen], rate, rate)
        _, width = _broken(part.day[seen], error, rate)
        axes.plot(day, level, color=TINTS[i], lw=1.8, zorder=3)
        axes.fill_between(day, level - width, level + width, color=TINTS[i], alpha=0.22, lw=0, zorder=2)
        ends += finite(np.concatenate([rate, rate - error, rate + error])).tolist()
    if len(ends) == 1:
        style.message(axes, "no rates")
    top, low = max(*ends, settings.error_rate), min(ends)
    axes.set_ylim(low - 0.12 * (top - low), top + 0.12 * (top - low))


def _limits(axes: Axes, warn: float, error: float) -> None:
    """Draw the limits that warn and are errors, named at the right."""
    for value, name, line, side in ((warn, "warn", "--", "top"), (error, "error", "-.", "bottom")):
        axes.axhline(value, color=style.STATUS[name].colour, lw=1.2, ls=line, zorder=1)
        at = (1.005, value)
        text = style.STATUS[name].text
        axes.annotate(text, at, xycoords=("axes fraction", "data"), va=side, ha="left", fontsize=9)


class _Label(NamedTuple):
    """A step in view: its day, the row of its label (-1: no room), and whether that goes to the left."""

    step: Record
    day: float
    row: int
    leftward: bool


def _labels(steps: Sequence[Record], shown: Range) -> list[_Label]:
    """Place the labels of the steps in view side by side, or in rows where they are close."""
    width = _LABEL * (shown[1] - shown[0])
    rows: list[list[Range]] = [[] for _ in range(_ROWS)]
    labels = []
    for step in sorted(steps, key=lambda record: str(record["date"])):
        day = _day(step["date"])
        if not shown[0] <= day <= shown[1]:
            continue
        leftward = day + width > shown[1]
        low, high = (day - width, day) if leftward else (day, day + width)
        free = (r for r, taken in enumerate(rows) if all(high <= a or low >= b for a, b in taken))
        row = next(free, -1)
        if row >= 0:
            rows[row].append((low, high))
        labels.append(_Label(step, day, row, leftward))
    return labels


def _draw_steps(panels: Sequence[Axes], labels: Sequence[_Label]) -> None:
    """Mark the steps in all panels, date and change of loss written into the first."""
    for step, day, row, leftward in labels:
        for axes in panels:
            axes.axvline(day, color=style.INK, lw=0.9, ls=":", zorder=1.2)
        if row < 0:
            continue
        panels[0].annotate(
            f"{step['date'][:10]}\n{_sizes(step)}",
            (day, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if leftward else 4, -4 - _ROW * row),
            textcoords="offset points",
            ha="right" if leftward else "left",
            va="top",
            fontsize=8.5,
            zorder=6,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )


def _sizes(step: Record) -> str:
    """Format the largest and smallest size of a step."""
    sizes = [value for value in step["size"] if value is not None]
    if not sizes:
        return "size not known"
    low, high = min(sizes, key=abs), max(sizes, key=abs)
    same = f"{low:+.3g}" == f"{high:+.3g}"
    return (f"{high:+.3g} mmag" if same else f"{low:+.3g} to {high:+.3g} mmag").replace("-", "−")


def _draw_forecast(axes: Axes, parts: Sequence[_Colour], forecast: Sequence[Record]) -> None:
    """Continue the lines to the configured loss, with the interval of the date as a bar there."""
    for i, part in enumerate(parts):
        record = next((r for r in forecast if np.isclose(r["colour"], COLOURS[i])), None)
        model = np.flatnonzero(np.isfinite(part.columns["MODEL"]))
        if record is None or record["date"] is None or record["reached"] or len(model) == 0:
            continue
        now, level = part.day[model[-1]], part.columns["MODEL"][model[-1]]
        day, loss = _day(record["date"]), record["loss"]
        axes.plot([now, day], [level, loss], color=TINTS[i], lw=1.2, ls=(0, (4, 2)), zorder=2.5)
        early, late = _day(record["early"]), _day(record["late"])
        late = late if np.isfinite(late) else axes.get_xlim()[1]
        axes.plot(
            [early, late], [loss, loss], color=TINTS[i], lw=5, alpha=0.45, solid_capstyle="butt", zorder=2
        )
        axes.plot([day], [loss], marker=MARKERS[i], color=TINTS[i], ms=7, mec="white", zorder=4)


def _summary(
    figure: Figure,
    parts: Sequence[_Colour],
    steps: Sequence[Record],
    labels: Sequence[_Label],
    forecast: Sequence[Record],
    settings: TrendSettings,
) -> None:
    """Write the last loss and rate of each colour and the forecast beside the panels."""
    width, height = style.size_of(figure)
    y = 805.0

    def write(text: str, drop: float, colour: str = style.INK, size: float = 10) -> None:
        nonlocal y
        figure.text(1150 / width, y / height, text, va="top", fontsize=size, color=colour)
        y -= drop

    for i in (2, 1, 0):
        write(f"BP-RP = {COLOURS[i]:g} mag", 20, TINTS[i], 11)
        for line in _facts(parts[i], next((r for r in forecast if r["colour"] == COLOURS[i]), None)):
            write(line, 18)
        y -= 12
    write("Lines: fitted; dotted: steps", 18, style.MUTED, 9)
    write("with date and change of loss.", 18, style.MUTED, 9)
    write(f"Broken: forecast of {settings.loss:g} mmag,", 18, style.MUTED, 9)
    write("bar: 16 to 84 % of its date.", 18, style.MUTED, 9)
    write(f"{style.count(len(steps), 'step').capitalize()} in all.", 18, style.MUTED, 9)
    if any(label.row < 0 for label in labels):
        write("Some are too close for labels.", 18, style.MUTED, 9)


def _facts(part: _Colour, record: Record | None) -> list[str]:
    known = np.flatnonzero(np.isfinite(part.columns["MODEL"]))
    if len(known) == 0:
        return ["not known"]
    last = {name: float(values[known[-1]]) for name, values in part.columns.items()}
    when = str(mdates.num2date(part.day[known[-1]]).date())
    rate = f"rate {last['RATE']:.3f} ± {last['RATE_ERR']:.3f} mmag/d".replace("nan", "?").replace("-", "−")
    lines = [f"{last['MODEL']:.1f} mmag on {when}".replace("-", "−", 1 if last["MODEL"] < 0 else 0), rate]
    if record is None:
        return lines
    if record["reached"]:
        return [*lines, f"{record['loss']:g} mmag is reached"]
    if record["date"] is None:
        return [*lines, f"{record['loss']:g} mmag: no date, rate not", "significantly positive"]
    early, late = (record[key][:10] if record[key] else "?" for key in ("early", "late"))
    return [*lines, f"{record['loss']:g} mmag: {record['date'][:10]}", f"({early} to {late})"]
