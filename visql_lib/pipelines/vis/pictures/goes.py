"""The Sun's X-ray flux, as a GOES satellite measured it, around one exposure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from visql_lib.flags import SunFlag
from visql_lib.pictures import style
from visql_lib.radiation.goes import sample_lengths

CHANNELS = {"XRSB": (style.ORANGE, "XRSB, 0.1–0.8 nm"), "XRSA": (style.BLUE, "XRSA, 0.05–0.4 nm")}
CLASSES = {"A": 1e-8, "B": 1e-7, "C": 1e-6, "M": 1e-5, "X": 1e-4}  # W/m2 in XRSB, where each begins
_LOW, _HIGH = 1e-9, 1e-3  # W/m2; always the same, so that pictures compare
_HIGHEST = 1e-1
_MOST_BAD = 1500  # marks of bad samples of a channel: more cannot be distinguished
_MOST_LINES = 3  # of the reason why a day is missing
_NO_NAMES: Mapping[str, str] = {}
_NO_VALUES: Mapping[str, Any] = {}


@style.styled
def goes_picture(
    series: Mapping[str, NDArray],
    start: np.datetime64,
    exptime: float,
    readout: float,
    *,
    title: str = "",
    angles: tuple[float, float] = (np.nan, np.nan),
    measured: Mapping[str, Any] = _NO_VALUES,
    missing: Mapping[str, str] = _NO_NAMES,
    hours: float = 12.0,
) -> Figure:
    """Draw X-ray flux [W/m2] against hours from the start of an exposure.

    Parameters
    ----------
    series : mapping of arrays, shape (n,)
        TIME (UTC), XRSA, XRSB [W/m2], GOOD, SATELLITE, in order of time; see
        `visql_lib.radiation.goes.join_series`.
    start : datetime64
        DATE-OBS, UTC; NaT if not known: then nothing can be drawn.
    exptime, readout : float
        Exposure time (NaN if not known) and readout time [s].
    title : str, optional
        The exposure's name; the date is put behind it.
    angles : (float, float), optional
        SAA and ALPHA [deg], NaN where not known.
    measured : mapping, optional
        What `visql_lib.radiation.goes.exposure_flux` found for this exposure.
    missing : mapping, optional
        Day (ISO) -> why there is no series; days shown without one are said.
    hours : float, optional
        Half width of the picture.
    """
    figure = style.canvas(1000, 640)
    known = not np.isnat(start)
    date = str(start.astype("datetime64[s]")).replace("T", " ") + " UTC" if known else "date not known"
    style.heading(figure, f"{title}, {date}" if title else date)
    figure.text(0.09, 0.922, _facts(exptime, readout, angles), ha="left", va="center", fontsize=10)
    axes = style.panel(figure, (90, 105, 820, 465))
    draw_flux(axes, series, start, exptime, readout, hours=hours, missing=missing)
    figure.text(0.09, 0.022, _flux_text(measured), ha="left", va="center", fontsize=10, color=style.MUTED)
    _legend(figure, series, start, hours)
    return figure


def draw_flux(
    axes: Axes,
    series: Mapping[str, NDArray],
    start: np.datetime64,
    exptime: float,
    readout: float,
    *,
    hours: float = 12.0,
    missing: Mapping[str, str] = _NO_NAMES,
) -> None:
    """Draw the panel of `goes_picture` in given axes."""
    hour, part = _window(series, start, hours)
    top = max([_HIGH, *(float(np.nanmax(part[n], initial=0.0)) for n in CHANNELS)])
    high = min(10.0 ** np.ceil(np.log10(top)), _HIGHEST)
    axes.set_xlim(-hours, hours)
    axes.set_ylim(np.log10(_LOW), np.log10(high))
    axes.set_xlabel("hours from the start of the exposure")
    axes.set_ylabel("GOES X-ray flux [W/m²]")
    style.log_ticks(axes.yaxis, np.log10(_LOW), np.log10(high))
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)
    _classes(axes, high)
    if not np.isnat(start):
        _exposure(axes, exptime, readout)
    for name, (colour, _) in CHANNELS.items():
        _channel(axes, hour, part, name, colour)
    _explain(axes, start, hours, part, missing)


def _window(
    series: Mapping[str, NDArray], start: np.datetime64, hours: float
) -> tuple[NDArray, dict[str, NDArray]]:
    """Compute hours from the start, and the samples shown."""
    time = np.asarray(series["TIME"], dtype="datetime64[us]")
    if np.isnat(start):
        time = time[:0]
    hour = (time - start) / np.timedelta64(1, "h") if len(time) else np.empty(0)
    first, last = np.searchsorted(hour, [-hours, hours])
    part = {name: np.asarray(series[name])[first:last] for name in series}
    part["TIME"] = time[first:last]
    return hour[first:last], part


def _channel(axes: Axes, hour: NDArray, part: Mapping[str, NDArray], name: str, colour: str) -> None:
    """Draw one channel: a line that ends at gaps, points for lonely samples, crosses for bad ones."""
    good = np.asarray(part["GOOD"], dtype=bool)
    flux = np.asarray(part[name], dtype=float)
    positive = np.isfinite(flux) & (flux > 0)
    level = np.full(flux.shape, np.nan)
    level[positive] = np.log10(flux[positive])
    shown = np.where(good, level, np.nan)
    if len(hour):
        lasts = sample_lengths(part["TIME"]) / 3600
        cut = np.flatnonzero(np.diff(hour) > 1.01 * lasts[:-1]) + 1
        ends = hour[cut - 1] + lasts[cut - 1]
        x, y = np.insert(hour, cut, ends), np.insert(shown, cut, np.nan)
        axes.plot(x, y, "-", color=colour, linewidth=1.4, zorder=3, label=name)
        lonely = np.isfinite(y) & np.isnan(np.r_[np.nan, y[:-1]]) & np.isnan(np.r_[y[1:], np.nan])
        axes.plot(x[lonely], y[lonely], ".", color=colour, markersize=4, zorder=3)
    bad = np.flatnonzero(positive & ~good)
    bad = bad[:: max(1, len(bad) // _MOST_BAD)]
    axes.plot(hour[bad], level[bad], "x", color=style.MUTED, markersize=3, markeredgewidth=0.7, zorder=2)


def _classes(axes: Axes, high: float) -> None:
    """Write the classes of flares at the right side."""
    for name, begin in CLASSES.items():
        end = high if name == "X" else 10 * begin
        at = np.log10(begin) / 2 + np.log10(end) / 2
        axes.text(
            1.012, at, name, transform=axes.get_yaxis_transform(), ha="left", va="center", color=style.MUTED
        )


def _exposure(axes: Axes, exptime: float, readout: float) -> None:
    """Mark exposure and readout, and the start, which is seen however short they are."""
    exposed = (exptime if np.isfinite(exptime) else 0.0) / 3600
    axes.axvspan(0, exposed, color=style.VERMILION, alpha=0.35, linewidth=0, zorder=1)
    axes.axvspan(exposed, exposed + readout / 3600, color=style.VERMILION, alpha=0.15, linewidth=0, zorder=1)
    axes.axvline(0, color=style.VERMILION, linewidth=1.2, zorder=1.5)


def _explain(
    axes: Axes, start: np.datetime64, hours: float, part: Mapping[str, NDArray], missing: Mapping[str, str]
) -> None:
    """Explain why the panel, or a day of it, is empty."""
    if np.isnat(start):
        _message(axes, "the exposure's date is not known")
        return
    half = np.timedelta64(round(hours * 3600e6), "us")
    shown = np.arange((start - half).astype("datetime64[D]"), (start + half).astype("datetime64[D]") + 1)
    days = [str(day) for day in shown if str(day) in missing]
    lines = [line for day in days for line in textwrap.wrap(f"{day}: {missing[day]}", 95)[:_MOST_LINES]]
    if not any(np.isfinite(part[name]).any() for name in CHANNELS):
        _message(axes, "no GOES data")
    if lines:
        style.remark(axes, "\n".join(lines), "lower right")


def _message(axes: Axes, text: str) -> None:
    """Write why the panel is empty, clear of its grid."""
    style.message(axes, text)
    axes.texts[-1].set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 5})


def _facts(exptime: float, readout: float, angles: tuple[float, float]) -> str:
    """Format exposure time and angles, as the original's picture has them."""
    saa, alpha = (f"{a:.2f}°".replace("-", "−") if np.isfinite(a) else "not known" for a in angles)
    time = f"{exptime:g} s" if np.isfinite(exptime) else "not known"
    return f"SAA  {saa}      ALPHA  {alpha}      exposure  {time} + {readout:g} s readout"


def _flux_text(measured: Mapping[str, Any]) -> str:
    """Format the flux measured during the exposure."""
    if not measured:
        return ""
    flags = int(measured["FLAGS"])
    if flags & SunFlag.NO_GOES:
        return "no good sample near the exposure"
    text = f"{measured['GOES_SATELLITE']}: XRSA {measured['GOES_FLUX']:.3g} W/m²"
    text += " (nearest sample)" if flags & SunFlag.NEAREST else f", {measured['GOES_COVERAGE']:.0%} covered"
    if np.isfinite(measured["GOES_FLUENCE"]):
        text += f", fluence {measured['GOES_FLUENCE']:.3g} J/m²"
    return text + (", provisional" if flags & SunFlag.PROVISIONAL else "")


def _legend(figure: Figure, series: Mapping[str, NDArray], start: np.datetime64, hours: float) -> None:
    _, part = _window(series, start, hours)
    handles: list[Any] = [Line2D([], [], color=colour, label=text) for colour, text in CHANNELS.values()]
    handles.append(Patch(color=style.VERMILION, alpha=0.4, linewidth=0, label="exposure"))
    if (~np.asarray(part["GOOD"], dtype=bool)).any():
        bad = Line2D([], [], ls="none", marker="x", color=style.MUTED, ms=4, label="not good")
        handles.append(bad)
    figure.legend(handles=handles, loc="center right", ncols=4, frameon=False, bbox_to_anchor=(0.925, 0.07))
