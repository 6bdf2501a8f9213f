"""The detectors of a month over the focal plane: a map per quantity, and the hot pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import Field, draw_outlines, field_of, quadrant_outlines, show_field
from visql_lib.pictures.ranges import Range, finite

_UNKNOWN = "#eceef1"  # quadrants without a value
_LEAST_DECADES = 0.8  # of a scale of rates
_LEVELS = style.part_of("cividis", 0.0, 1.0)
_RATES = style.part_of("plasma", 0.0, 0.92, bad=style.MUTED)


class _DetectorQuantity(NamedTuple):
    """One quantity over the focal plane."""

    column: str
    title: str
    label: str
    scale: float  # shown is the column times this
    types: tuple[str, ...]  # frame types that have it; none named: all
    digits: int
    least: float  # half range of the colours at least, in units shown


_MAPS = (
    _DetectorQuantity("BIAS", "bias", "bias level [ADU]", 1.0, (), 2, 0.05),
    _DetectorQuantity("READ_NOISE", "read noise", "read noise [ADU]", 1.0, (), 3, 0.005),
    _DetectorQuantity("DARK_RATE", "dark", "dark rate [mADU/s]", 1e3, ("DARK",), 3, 0.02),
    _DetectorQuantity("ILLUMINATION", "flat", "relative illumination", 1.0, ("FLAT",), 4, 0.002),
    _DetectorQuantity("N_HOT", "hot pixels", "hot pixels per DARK", 1.0, ("DARK",), 0, 1.0),
    _DetectorQuantity("TRAILING", "trailing charge", "trailing [%]", 1e2, ("CHARGE",), 3, 0.005),
)


@style.styled
def detector_maps(quadrants: Mapping[str, NDArray], instrument: Instrument, *, title: str = "") -> Figure:
    """Draw bias, read noise, dark rate, relative illumination, hot pixels and trailing of every quadrant.

    Parameters
    ----------
    quadrants : mapping of arrays, shape (n,)
        Columns of DETECTOR: FRAME_TYPE, EXPOSURE, EXT, BIAS, READ_NOISE [ADU], DARK_RATE
        [ADU/s], ILLUMINATION, N_HOT, TRAILING. Shown is the median over the frames;
        a NaN is left out.
    instrument : Instrument
        Tells where the quadrants are.
    title : str, optional
    """
    field = _field(quadrants["EXT"], instrument)
    shown = field.grown(0.04)
    width, height = _fitted(352, 405, shown)
    figure = style.canvas(1575, 2 * height + 235)
    style.heading(figure, title)
    for i, what in enumerate(_MAPS):
        box = (84 + 505 * (i % 3), 80 + (height + 80) * (1 - i // 3), width, height)
        axes = style.panel(figure, box)
        values, n_frames = _medians(quadrants, what)
        norm = _scale(np.array(list(values.values())), what.least)
        cmap = style.COUNTS if what.column == "N_HOT" else _LEVELS
        _tiles(axes, quadrant_outlines(instrument), values, norm, cmap)
        draw_outlines(axes, instrument, field)
        show_field(axes, shown, x_label=i >= 3, y_label=i % 3 == 0)
        _write_title(axes, what, values, n_frames)
        bar = (box[0] + box[2] + 10, box[1], 16, box[3])
        mappable = ScalarMappable(norm, cmap)
        scale = style.colour_bar(figure, mappable, bar, what.label, extend="both")
        scale.ax.ticklabel_format(axis="y", useOffset=False)
    figure.text(
        0.5, 0.012, "medians over the frames; grey: not measured", ha="center", fontsize=10, color=style.MUTED
    )
    return figure


def _field(names: NDArray, instrument: Instrument) -> Field:
    """Choose the part of the focal plane to show: where there are quadrants."""
    known = [n for n in np.unique(np.asarray(names, dtype=np.str_)).tolist() if n in instrument.quadrants]
    centres = np.array([instrument.quadrants[n].centre_world for n in known]).reshape(-1, 2)
    return field_of(instrument, centres[:, 0], centres[:, 1])


def _medians(quadrants: Mapping[str, NDArray], what: _DetectorQuantity) -> tuple[dict[str, float], int]:
    """Compute the median of every quadrant that has a value, and the number of frames."""
    values = what.scale * np.asarray(quadrants[what.column], dtype=float)
    types = np.asarray(quadrants["FRAME_TYPE"], dtype=np.str_)
    wanted = np.isfinite(values) & (np.isin(types, what.types) if what.types else True)
    names, which = np.unique(np.asarray(quadrants["EXT"], dtype=np.str_)[wanted], return_inverse=True)
    order = np.argsort(which, kind="stable")
    parts = np.split(values[wanted][order], np.cumsum(np.bincount(which, minlength=len(names)))[:-1])
    medians = {name: float(np.median(part)) for name, part in zip(names.tolist(), parts, strict=False)}
    return medians, len(np.unique(np.asarray(quadrants["EXPOSURE"])[wanted]))


def _scale(values: NDArray, least: float) -> Normalize:
    """Scale colours from the 2nd to the 98th percentile, not narrower than twice `least`."""
    known = finite(values)
    if len(known) == 0:
        return Normalize(0.0, 1.0)
    low, high = (float(v) for v in np.percentile(known, [2, 98]))
    more = max(0.0, least - (high - low) / 2)
    return Normalize(low - more, high + more)


def _tiles(
    axes: Axes, outlines: Mapping[str, Field], values: Mapping[str, float], norm: Normalize, cmap: Colormap
) -> None:
    """Draw every quadrant in the colour of its value."""
    boxes = [[(f.x0, f.y0), (f.x1, f.y0), (f.x1, f.y1), (f.x0, f.y1)] for f in outlines.values()]
    colours: list[Any] = [cmap(norm(values[name])) if name in values else _UNKNOWN for name in outlines]
    tiles = PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.3, zorder=0.4)
    axes.add_collection(tiles, autolim=False)


def _write_title(axes: Axes, what: _DetectorQuantity, values: Mapping[str, float], n_frames: int) -> None:
    """Write the title and extremes above a panel, or in it why it is empty."""
    said = [f"{what.title}, {style.count(n_frames, 'frame')}", ""]
    if values:
        said[0] += f": median {float(np.median(list(values.values()))):.{what.digits}f}"
    else:
        style.message(axes, _why_empty(what, n_frames))
    if len(values) > 1:
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        said[1] = " … ".join(f"{name} {values[name]:.{what.digits}f}" for name in (low, high))
    axes.set_title(said[0], loc="left", fontsize=11, pad=20)
    axes.annotate(said[1], (0, 1), (0, 5), "axes fraction", "offset points", va="bottom", fontsize=9)


def _fitted(width: float, height: float, field: Field) -> tuple[float, float]:
    """Compute the size [px] of a field at equal scales in a box."""
    scale = min(width / field.width, height / field.height)
    return scale * field.width, scale * field.height


def _why_empty(what: _DetectorQuantity, n_frames: int) -> str:
    if what.column == "N_HOT":
        return "fewer than two DARKs"
    if what.column == "TRAILING":
        return "no injected charge"
    return f"no {' or '.join(what.types)} frame" if what.types and n_frames == 0 else "not measured"


@style.styled
def hot_pixel_map(
    hot: Mapping[str, NDArray],
    quadrants: Mapping[str, NDArray],
    facts: Mapping[str, Any],
    instrument: Instrument,
    *,
    title: str = "",
) -> Figure:
    """Draw where the hot pixels and columns of a month are, and how hot.

    Parameters
    ----------
    hot : mapping of arrays, shape (n,)
        Columns of HOT_PIXELS: EXT, X_IMAGE, Y_IMAGE [px], RATE [ADU/s].
    quadrants : mapping of arrays, shape (m,)
        Columns of DETECTOR: EXT, which quadrants there are.
    facts : mapping
        ``darks``, ``hot_required``, ``hot_by_chance``, ``hot_columns``; see `months.detector`.
    instrument : Instrument
        Tells where the quadrants are.
    title : str, optional
    """
    figure = style.canvas(1400, 800)
    style.heading(figure, title)
    field = _field(np.concatenate([hot["EXT"], quadrants["EXT"]]), instrument)
    shown = field.grown(0.04)
    width, height = _fitted(610, 660, shown)
    box = (85, 740 - height, width, height)
    axes = style.panel(figure, box)
    draw_outlines(axes, instrument, field)
    rate = np.asarray(hot["RATE"], dtype=float)
    norm = _log_scale(rate)
    _draw_pixels(axes, hot, rate, norm, instrument)
    columns = list(facts.get("hot_columns", []))
    _draw_columns(axes, columns, instrument)
    show_field(axes, shown)
    place = (box[0] + box[2] + 12, box[1], 16, box[3])
    bar = style.colour_bar(figure, ScalarMappable(norm, _RATES), place, "rate [ADU/s]", extend="both")
    style.log_ticks(bar.ax.yaxis, norm.vmin or 0.0, norm.vmax or 0.0, plain=True)
    histogram = style.panel(figure, (880, 430, 490, 310))
    _draw_rates(histogram, rate)
    if len(rate) == 0:
        style.message(axes, _why_none(int(facts.get("darks", 0))))
    figure.text(0.61, 0.44, "\n".join(_account(hot, columns, facts)), va="top", fontsize=11, linespacing=1.6)
    return figure


def _log_scale(rate: NDArray) -> Normalize:
    """Scale colours of the logarithm of the rates, from the 1st to the 99th percentile."""
    known = finite(rate)
    known = known[known > 0]
    if len(known) == 0:
        return Normalize(-1.0, 1.0)
    low, high = np.log10(np.percentile(known, [1, 99]))
    return Normalize(*_wide(float(low), float(high)))


def _wide(low: float, high: float) -> Range:
    """Widen a range of logarithms until it holds two marks."""
    more = max(0.0, (_LEAST_DECADES - (high - low)) / 2)
    return low - more, high + more


def _draw_pixels(
    axes: Axes, hot: Mapping[str, NDArray], rate: NDArray, norm: Normalize, instrument: Instrument
) -> None:
    x, y = np.full(len(rate), np.nan), np.full(len(rate), np.nan)
    for name in np.unique(hot["EXT"]).tolist():
        rows = hot["EXT"] == name
        x[rows], y[rows] = instrument.quadrants[name].wcs.to_world(hot["X_IMAGE"][rows], hot["Y_IMAGE"][rows])
    size = 7 if len(rate) <= 2000 else 2 if len(rate) <= 30_000 else 0.5
    options: dict[str, Any] = {"cmap": _RATES, "plotnonfinite": True}
    axes.scatter(
        x, y, c=np.log10(np.where(rate > 0, rate, np.nan)), norm=norm, s=size, linewidths=0, **options
    )


def _draw_columns(axes: Axes, found: Sequence[tuple[str, int, int]], instrument: Instrument) -> None:
    """Draw the hot columns."""
    lines = []
    for name, number, _ in found:
        layout = instrument.quadrants[name]
        rows = layout.image_rows
        x, y = layout.wcs.to_world([number, number], [rows.start + 1, rows.stop])
        lines.append(list(zip(x.tolist(), y.tolist(), strict=True)))
    axes.add_collection(
        LineCollection(lines, colors=style.VERMILION, linewidths=1.4, zorder=3), autolim=False
    )


def _draw_rates(axes: Axes, rate: NDArray) -> None:
    known = finite(rate)
    known = known[known > 0]
    axes.set_xlabel("rate [ADU/s]")
    axes.set_ylabel("hot pixels")
    if len(known) == 0:
        style.message(axes, "none")
        return
    ends = _wide(float(np.log10(known.min())) - 0.05, float(np.log10(known.max())) + 0.05)
    axes.hist(np.log10(known), bins=40, range=ends, color=style.BLUE)
    axes.set_xlim(*ends)
    style.log_ticks(axes.xaxis, *ends, plain=True)


def _why_none(darks: int) -> str:
    if darks == 0:
        return "no DARK frame"
    if darks == 1:
        return "one DARK only: it takes two to tell\nhot pixels from particles"
    return "no hot pixel"


def _account(
    hot: Mapping[str, NDArray], columns: Sequence[tuple[str, int, int]], facts: Mapping[str, Any]
) -> list[str]:
    """Compose the remarks beside the map."""
    required = int(facts.get("hot_required", 0))
    said = [f"{style.count(int(facts.get('darks', 0)), 'DARK frame')}"]
    if required:
        said.append(f"{style.count(len(hot['EXT']), 'hot pixel')}, bright in {required} or more of them")
        said.append(f"expected among them by chance: {float(facts.get('hot_by_chance', 0.0)):.1f}")
    if len(hot["EXT"]):
        names, numbers = np.unique(hot["EXT"], return_counts=True)
        most = int(numbers.argmax())
        said.append(f"most in one quadrant: {names[most]} {numbers[most]:,}")
    if columns:
        named = ", ".join(f"{name} x = {number}" for name, number, _ in columns[:3])
        named += f" and {len(columns) - 3} more" if len(columns) > 3 else ""
        said.append(f"{style.count(len(columns), 'hot column')} (red lines): {named}")
    else:
        said.append("no hot column")
    return said
