"""The month's particles: rates, the part lit by X-rays, and the X-ray flux of the Sun, against date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from visql_lib.flags import RadiationFlag
from visql_lib.pictures import style
from visql_lib.pictures.ranges import Range, finite
from visql_lib.pipelines.vis.pictures.ice import date_range, show_dates, to_days
from visql_lib.qc.limits import Thresholds

_LEFT, _WIDTH, _PANEL, _STEP, _BOTTOM = 105, 1215, 165, 188, 110
_STEPS = np.log10([1.0, 2.0, 5.0, 10.0])  # where a logarithmic range may end in a decade


class _RatePanel(NamedTuple):
    column: str
    label: str
    known: Range  # the usual range
    of: str = "radiation"  # what its quantity belongs to


_PANELS = (
    _RatePanel("COSMIC_DARK_RATE", "cosmics\n[cm⁻² s⁻¹]", (0.5, 5.0)),
    _RatePanel("XRAY_RATE", "X-rays\n[cm⁻² s⁻¹]", (0.2, 5.0)),
    _RatePanel("PROTON_RATE", "protons\n[cm⁻² s⁻¹]", (5e-4, 1e-2)),
    _RatePanel("LIT_AREA", "lit by X-rays\n[cm²]", (0.1, 1000.0)),
    _RatePanel("GOES_FLUX", "the Sun, 0.05–0.4 nm\n[W m⁻²]", (1e-9, 1e-5), "sun"),
)
_ORDER = ("ok", "warn", "error")
# GOES classes are of the other band; decades are enough here.
_FLUX = "GOES_FLUX"


@style.styled
def radiation_timeline(
    exposures: Mapping[str, NDArray], thresholds: Thresholds | None = None, *, title: str = ""
) -> Figure:
    """Draw rates of cosmics, X-rays and protons, the lit area and the Sun's flux, one above the other.

    Parameters
    ----------
    exposures : mapping of arrays, shape (n,)
        Rows of MONTH_RADIATION, and GOES_FLUX [W m-2] where it is known: its panel
        is left out without that column or any value. A rate of 0 and a failed
        exposure are marked at the lower edge.
    thresholds : Thresholds, optional
        Limits drawn as lines, from the day they are in force.
    title : str, optional
    """
    panels = _PANELS if _has_flux(exposures) else _PANELS[:-1]
    figure = style.canvas(1400, _BOTTOM + len(panels) * _STEP + 30)
    style.heading(figure, title)
    day = to_days(exposures["DATE_OBS"])
    dated = np.isfinite(day)
    table = {name: np.asarray(values)[dated] for name, values in exposures.items()}
    low, high = date_range(day[dated], None)
    for row, panel in enumerate(panels):
        box = (_LEFT, _BOTTOM + (len(panels) - 1 - row) * _STEP, _WIDTH, _PANEL)
        axes = style.panel(figure, box)
        axes.set_ylabel(panel.label)
        axes.yaxis.set_label_coords(-0.052, 0.5)
        show_dates(axes, low, high, label=row == len(panels) - 1)
        _draw(
            axes, day[dated], table, panel, list(_limits(thresholds, f"{panel.of}.{panel.column}", low, high))
        )
    _legend(figure, exposures, int((~dated).sum()))
    return figure


def _has_flux(exposures: Mapping[str, NDArray]) -> bool:
    return _FLUX in exposures and len(finite(exposures[_FLUX])) > 0


class _Limit(NamedTuple):
    """A limit on some days (matplotlib's)."""

    start: float
    end: float
    value: float
    status: str


def _limits(thresholds: Thresholds | None, name: str, low: float, high: float) -> Iterator[_Limit]:
    """Yield the limits of a quantity on the days shown."""
    epochs = thresholds.epochs if thresholds is not None else ()
    starts = [float(mdates.date2num(np.datetime64(epoch.start))) for epoch in epochs]
    for epoch, start, end in zip(epochs, starts, [*starts[1:], high], strict=False):
        limits = epoch.limits.get(name)
        if limits is None or start >= high or end <= low:
            continue
        for status in ("warn", "error"):
            for side in ("above", "below"):
                value = getattr(limits, f"{status}_{side}")
                if value is not None and value > 0:
                    yield _Limit(max(start, low), min(end, high), value, status)


def log_span(logs: NDArray, known: Range) -> Range:
    """Compute the logarithms of the usual range, widened to 1, 2, 5 of a decade around all values.

    Parameters
    ----------
    logs : array
        Decimal logarithms.
    known : (float, float)
        The usual range, not logarithms.
    """
    low, high = (float(end) for end in np.log10(known))
    data = finite(logs)
    if len(data) and data.min() < low:
        decade = float(np.floor(data.min()))
        low = decade + float(_STEPS[data.min() - decade + 1e-9 >= _STEPS].max())
    if len(data) and data.max() > high:
        decade = float(np.floor(data.max()))
        high = decade + float(_STEPS[data.max() - decade - 1e-9 <= _STEPS].min())
    return low, high


def _draw(
    axes: Axes, day: NDArray, table: Mapping[str, NDArray], panel: _RatePanel, limits: list[_Limit]
) -> None:
    """Draw one quantity, by status, with errors and limits."""
    value = np.asarray(table[panel.column], dtype=float)
    positive = np.isfinite(value) & (value > 0)
    logs = np.full(len(value), np.nan)
    logs[positive] = np.log10(value[positive])
    low, high = log_span(logs[positive], panel.known)
    axes.set_ylim(low, high)
    style.log_ticks(axes.yaxis, low, high, plain=high - low < 2.5 and low > -3)
    for limit in limits:
        look = {"warn": "--", "error": "-"}[limit.status]
        colour = style.STATUS[limit.status].colour
        axes.plot([limit.start, limit.end], [np.log10(limit.value)] * 2, look, color=colour, lw=1.1, zorder=1)
    _errors(axes, day, value, table.get(f"{panel.column}_ERR"), positive)
    status = np.asarray(table["STATUS"], dtype=np.str_)
    if panel.column == _FLUX:  # no quality of ours
        status = np.full(len(value), "ok")
    for name in _ORDER:
        chosen = positive & (status == name)
        _points(axes, day[chosen], logs[chosen], name, panel.column == _FLUX)
    nothing = np.where(~positive & (np.isfinite(value) | (status == "failed")))[0]
    _at_the_edge(axes, day[nothing], np.isfinite(value[nothing]))
    if panel.column == "COSMIC_DARK_RATE":
        _storms(axes, day, table)
    if not len(value):
        style.message(axes, "no exposures")
    elif not positive.any():
        style.message(axes, "nothing lit" if panel.column == "LIT_AREA" else "not known")


def _points(axes: Axes, day: NDArray, logs: NDArray, status: str, sun: bool) -> None:
    look = style.STATUS[status]
    size = 5.0 if len(day) <= 300 else 3.2
    colour = style.INK if sun else look.colour
    axes.plot(day, logs, look.marker, color=colour, markersize=size, markeredgewidth=0, zorder=3)


def _errors(
    axes: Axes, day: NDArray, value: NDArray, error: NDArray | None, positive: NDArray[np.bool_]
) -> None:
    if error is None:
        return
    err = np.asarray(error, dtype=float)
    sure = positive & np.isfinite(err)
    low = np.log10(np.maximum(value[sure] - err[sure], value[sure] * 1e-3))
    ends = np.stack([day[sure], low, day[sure], np.log10(value[sure] + err[sure])], axis=-1)
    axes.add_collection(
        LineCollection(list(ends.reshape(-1, 2, 2)), colors="#9a9a9a", linewidths=0.6, zorder=1.5),
        autolim=False,
    )


def _at_the_edge(axes: Axes, day: NDArray, known: NDArray[np.bool_]) -> None:
    """Mark zeros (hollow, pointing down) and failed exposures at the lower edge."""
    low, high = axes.get_ylim()
    at = low + 0.07 * (high - low)
    zero, failed = day[known], day[~known]
    axes.plot(zero, np.full(len(zero), at), "v", color=style.MUTED, mfc="none", ms=4, mew=0.7, zorder=2)
    axes.plot(failed, np.full(len(failed), at), "X", color=style.INK, ms=6, mew=0, zorder=3)


def _storms(axes: Axes, day: NDArray, table: Mapping[str, NDArray]) -> None:
    """Mark storm exposures at the lower edge, where they leave room."""
    storm = (np.asarray(table["FLAGS"]) & RadiationFlag.STORM) != 0
    if storm.any():
        low, high = axes.get_ylim()
        at = np.full(int(storm.sum()), low + 0.1 * (high - low))
        axes.plot(day[storm], at, "*", color=style.VERMILION, ms=9, mew=0, zorder=4)


def _legend(figure: Figure, exposures: Mapping[str, NDArray], undated: int) -> None:
    status = np.asarray(exposures["STATUS"], dtype=np.str_)
    storms = int(((np.asarray(exposures["FLAGS"]) & RadiationFlag.STORM) != 0).sum())
    marks = [
        (s.marker, s.colour, s.colour, f"{s.text}: {int((status == n).sum())}")
        for n, s in style.STATUS.items()
    ]
    marks.append(("*", style.VERMILION, style.VERMILION, f"storm: {storms}"))
    marks.append(("v", style.MUTED, "none", "none seen"))
    handles = [
        Line2D([], [], ls="none", marker=m, color=colour, mfc=face, ms=7, label=text)
        for m, colour, face, text in marks
    ]
    for name, look in (("warn", "--"), ("error", "-")):
        colour, text = style.STATUS[name].colour, style.STATUS[name].text
        handles.append(Line2D([], [], ls=look, color=colour, lw=1.2, label=f"limit of {text}"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, columnspacing=1.4)
    text = style.count(len(status), "exposure")
    text += f"; {undated} without a date not drawn" if undated else ""
    width, height = style.size_of(figure)
    figure.text(1 - 80 / width, 1 - 10 / height, text, ha="right", va="top", fontsize=10, color=style.MUTED)
