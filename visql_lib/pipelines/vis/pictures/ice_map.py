"""The loss and its rate of every CCD on the focal plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style
from visql_lib.pictures.focalplane import Field, ccd_outlines, field_of, show_field
from visql_lib.pictures.ranges import finite
from visql_lib.pipelines.vis.pictures.ice import COLOURS, note_above

_LOSSES = style.part_of("viridis", 0.0, 1.0)
_STALE = np.timedelta64(3, "D")  # older than the newest CCD by this: its date is written


@style.styled
def loss_map(
    trend: Mapping[str, NDArray], instrument: Instrument, *, colour: float = COLOURS[0], title: str = ""
) -> Figure:
    """Draw the last loss and rate of every CCD on the focal plane.

    Parameters
    ----------
    trend : mapping of arrays, shape (n,)
        Rows of TREND of CCDs, one class and field: DATE (UTC), SPACE_BIN,
        COLOUR [mag], MODEL [mmag], RATE, RATE_ERR [mmag/d], STATUS. Of each CCD
        the last row with a MODEL is drawn.
    instrument : Instrument
        Tells where the CCDs are.
    colour : float, optional
        BP-RP [mag] shown.
    title : str, optional
    """
    figure = style.canvas(1400, 720)
    style.heading(figure, title)
    outlines = ccd_outlines(instrument)
    last = _last_rows(trend, colour)
    field = field_of(instrument, np.empty(0), np.empty(0)).grown(0.03)
    newest = max((row["DATE"] for row in last.values()), default=None)
    for left, name, label in ((80, "MODEL", "flux loss [mmag]"), (765, "RATE", "rate of loss [mmag/d]")):
        axes = style.panel(figure, (left, 75, 530, 570))
        values = {ccd: float(row[name]) for ccd, row in last.items() if ccd in outlines}
        norm, cmap = _scale(np.array(list(values.values())))
        _tiles(axes, outlines, {c: v for c, v in values.items() if np.isfinite(v)}, norm, cmap)
        for ccd, field_ in outlines.items():
            _write(axes, field_, ccd, last.get(ccd), name, newest, norm, cmap)
        what = "loss" if name == "MODEL" else "rate of loss"
        axes.set_title(
            f"{what} at BP-RP = {colour:g} mag" + (f", {newest.astype('M8[D]')}" if newest else "")
        )
        show_field(axes, field, y_label=left < 100)
        style.colour_bar(figure, ScalarMappable(norm, cmap), (left + 542, 75, 16, 570), label)
        if not values:
            note_above(axes, "no CCD with a trend")
    return figure


def _last_rows(trend: Mapping[str, NDArray], colour: float) -> dict[str, dict[str, Any]]:
    """Select the last row with a loss for every place."""
    dates = np.asarray(trend["DATE"], dtype="datetime64[us]")
    model = np.asarray(trend["MODEL"], dtype=float)
    rows = (
        np.isclose(np.asarray(trend["COLOUR"], dtype=float), colour) & np.isfinite(model) & ~np.isnat(dates)
    )
    names = ("DATE", "SPACE_BIN", "MODEL", "RATE", "RATE_ERR", "STATUS")
    chosen = np.flatnonzero(rows)
    chosen = chosen[np.argsort(dates[chosen], kind="stable")]
    return {str(trend["SPACE_BIN"][row]): {n: trend[n][row] for n in names} for row in chosen.tolist()}


def _scale(values: NDArray) -> tuple[Normalize, Colormap]:
    """Scale colours from 0 up; red for losses and blue for gains where there are clear gains."""
    known = finite(values)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if low < -0.1 * max(high, 1e-6):
        end = max(-low, high)
        return TwoSlopeNorm(0.0, -end, end), style.SIZES
    return Normalize(0.0, high if high > 0 else 1.0), _LOSSES


def _tiles(
    axes: Axes, outlines: Mapping[str, Field], values: Mapping[str, float], norm: Normalize, cmap: Colormap
) -> None:
    for ccd, f in outlines.items():
        known = ccd in values
        axes.add_patch(
            Rectangle(
                (f.x0, f.y0),
                f.width,
                f.height,
                facecolor=cmap(norm(values[ccd])) if known else "#f4f5f7",
                edgecolor=style.MUTED if known else style.LIGHT,
                hatch=None if known else "///",
                linewidth=0.8,
            )
        )


def _write(
    axes: Axes,
    field: Field,
    ccd: str,
    row: Mapping[str, Any] | None,
    name: str,
    newest: np.datetime64 | None,
    norm: Normalize,
    cmap: Colormap,
) -> None:
    """Write name, value and status of one CCD into its tile, dark on light or light on dark."""
    lines, ink = [ccd], style.MUTED
    if row is not None and np.isfinite(row[name]):
        ink = style.INK if np.dot(cmap(norm(row[name]))[:3], (0.3, 0.59, 0.11)) > 0.5 else "white"
        number = f"{row[name]:.1f}" if name == "MODEL" else f"{row[name]:.3f}"
        lines.append(number.replace("-", "−"))
        if name == "RATE":
            lines.append(f"± {row['RATE_ERR']:.3f}".replace("nan", "?"))
        elif row["STATUS"] != "ok":
            lines.append(str(row["STATUS"]))
        if newest is not None and newest - row["DATE"] > _STALE:
            lines.append(str(row["DATE"].astype("M8[D]"))[5:])
    else:
        lines.append("no rate" if row is not None else "no data")
    axes.text(
        field.x0 + field.width / 2,
        field.y0 + field.height / 2,
        "\n".join(lines),
        ha="center",
        va="center",
        fontsize=9,
        color=ink,
    )
