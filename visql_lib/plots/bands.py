"""Threshold bands of interactive plots: dated limits as areas, lines and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from visql_lib.pictures import style
from visql_lib.plots.core import DAY, Plot, bk, to_ms
from visql_lib.qc.limits import Thresholds

_FAR = 100 * 365.25 * DAY  # how far limits go on where nothing ends them


@dataclass(frozen=True)
class Band:
    """Values beyond a limit, from `start` to `end` [ms; None: no end]: from ``edge`` on, up to ``until``."""

    status: str
    side: str
    edge: float
    until: float | None
    start: float
    end: float | None


def bands(thresholds: Thresholds | None, name: str) -> list[Band]:
    """Derive the bands of a quantity in all epochs of a threshold file."""
    epochs = thresholds.epochs if thresholds is not None and name else ()
    starts = [_day(epoch.start) for epoch in epochs]
    found = []
    for epoch, start, end in zip(epochs, starts, [*starts[1:], None], strict=False):
        limits = epoch.limits.get(name)
        for side in ("above", "below") if limits is not None else ():
            warn, error = (getattr(limits, f"{status}_{side}") for status in ("warn", "error"))
            if warn is not None:
                found.append(Band("warn", side, warn, error, start, end))
            if error is not None:
                found.append(Band("error", side, error, None, start, end))
    return found


def _day(day: date) -> float:
    return float(to_ms(np.datetime64(day)))


def limits_text(found: Sequence[Band], at: float) -> str:
    """Format the limits in force at a time [ms], such as ``warn <0.2 >2, error >4``."""
    texts = []
    for status in ("warn", "error"):
        mine = [b for b in found if b.status == status and b.start <= at and (b.end is None or at < b.end)]
        sides = [f"{'<' if b.side == 'below' else '>'}{b.edge:g}" for b in mine]
        texts += [f"{status} {' '.join(sorted(sides))}"] if sides else []
    return ", ".join(texts)


def add_bands(plot: Plot, found: Sequence[Band]) -> None:
    """Draw the areas beyond the limits: tinted, hatched for errors, a line at each limit."""
    for band in found:
        ends = {"bottom": band.edge, "top": band.until}
        if band.side == "below":
            ends = {"bottom": band.until, "top": band.edge}
        error = band.status == "error"
        colour = style.STATUS[band.status].colour
        plot.add_layout(
            bk.BoxAnnotation(
                left=band.start,
                right=band.end,
                **ends,
                fill_color=colour,
                fill_alpha=0.10,
                hatch_pattern="/" if error else None,
                hatch_color=colour,
                hatch_alpha=0.22,
                hatch_scale=10,
                line_color=None,
                level="underlay",
            )
        )
    # Solid: a dashed line as long as an epoch is, at a zoom of minutes, takes a browser for ever.
    for status, width in (("warn", 1.0), ("error", 2.0)):
        mine = [b for b in found if b.status == status]
        if mine:
            left = [b.start for b in mine]
            right = [b.end if b.end is not None else b.start + _FAR for b in mine]
            edges = [b.edge for b in mine]
            colour = style.STATUS[status].colour
            plot.segment(left, edges, right, edges, color=colour, line_width=width, level="underlay")
