"""The focal plane as a background: outlines of detectors, the field shown, stars per detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pictures import style


class Field(NamedTuple):
    """A rectangle of the focal plane [deg]."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Extent in X [deg]."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Extent in Y [deg]."""
        return self.y1 - self.y0

    def grown(self, share: float, top: float | None = None) -> Field:
        """Grow the field by a margin, as a share of the larger side, and another one at the top."""
        margin = share * max(self.width, self.height)
        upper = margin if top is None else top * max(self.width, self.height)
        return Field(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + upper)


def quadrant_outlines(instrument: Instrument) -> dict[str, Field]:
    """Outline the image section of every quadrant."""
    fields = {}
    for name, layout in instrument.quadrants.items():
        columns, rows = layout.image_columns, layout.image_rows
        x, y = layout.wcs.to_world(  # pixel centres are whole numbers, one-based: edges lie at halves
            [columns.start + 0.5, columns.stop + 0.5], [rows.start + 0.5, rows.stop + 0.5]
        )
        fields[name] = Field(float(x[0]), float(y[0]), float(x[1]), float(y[1]))
    return fields


def ccd_outlines(instrument: Instrument) -> dict[str, Field]:
    """Compute the rectangle around the image sections of every detector."""
    quadrants = quadrant_outlines(instrument)
    members: dict[str, list[Field]] = {}
    for name, layout in instrument.quadrants.items():
        members.setdefault(layout.ccd, []).append(quadrants[name])
    return {ccd: _around(fields) for ccd, fields in members.items()}


def _around(fields: list[Field]) -> Field:
    lows, highs = np.min(fields, axis=0), np.max(fields, axis=0)
    return Field(float(lows[0]), float(lows[1]), float(highs[2]), float(highs[3]))


def field_of(instrument: Instrument | None, x: NDArray, y: NDArray) -> Field:
    """Choose the field: the whole focal plane, or the detectors with stars if these are few.

    Parameters
    ----------
    instrument : Instrument or None
        Without one, the rectangle around the stars is shown.
    x, y : arrays, shape (n,)
        Positions of the stars [deg]; NaN is left out.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.asarray(x)[known], np.asarray(y)[known]
    if instrument is None:
        if len(x) == 0:
            return Field(-1.0, -1.0, 1.0, 1.0)
        half = max(np.ptp(x), np.ptp(y), 0.02) / 2
        cx, cy = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
        return Field(float(cx - half), float(cy - half), float(cx + half), float(cy + half))
    outlines = list(ccd_outlines(instrument).values())
    whole = _around(outlines)
    hit = [f for f in outlines if ((x >= f.x0) & (x <= f.x1) & (y >= f.y0) & (y <= f.y1)).any()]
    if not hit:
        return whole
    part = _around(hit)
    off = (x < whole.x0) | (x > whole.x1) | (y < whole.y0) | (y > whole.y1)
    small = part.width < whole.width / 2 and part.height < whole.height / 2
    return part if small and len(hit) > 1 and not off.any() else whole


def draw_outlines(axes: Axes, instrument: Instrument | None, field: Field) -> None:
    """Draw the edges of the detectors in a field, lightly."""
    if instrument is None:
        return
    loops = [
        [(f.x0, f.y0), (f.x1, f.y0), (f.x1, f.y1), (f.x0, f.y1), (f.x0, f.y0)]
        for f in ccd_outlines(instrument).values()
        if field.x0 < (f.x0 + f.x1) / 2 < field.x1 and field.y0 < (f.y0 + f.y1) / 2 < field.y1
    ]
    axes.add_collection(LineCollection(loops, colors=style.LIGHT, linewidths=0.8, zorder=0.5), autolim=False)


def show_field(axes: Axes, field: Field, x_label: bool = True, y_label: bool = True) -> None:
    """Set range, equal scales and labels of a panel of the focal plane."""
    axes.set_xlim(field.x0, field.x1)
    axes.set_ylim(field.y0, field.y1)
    axes.set_aspect("equal", adjustable="box")
    if x_label:
        axes.set_xlabel(style.LABELS["XWORLD"])
    else:
        axes.tick_params(labelbottom=False)
    if y_label:
        axes.set_ylabel(style.LABELS["YWORLD"])
    else:
        axes.tick_params(labelleft=False)


class BinMedians(NamedTuple):
    """Medians of stars per bin of the focal plane, arrays of shape (n_bins,)."""

    names: NDArray[np.str_]
    number: NDArray[np.integer]
    values: dict[str, NDArray[np.floating]]  # XWORLD and YWORLD [deg], R2 [px^2], the rest dimensionless


def bin_medians(
    moments: Mapping[str, NDArray], columns: tuple[str, ...], instrument: Instrument | None, space: str
) -> BinMedians:
    """Compute the median position and moments of the stars of every detector or quadrant.

    Parameters
    ----------
    moments : mapping of arrays, shape (n,)
        EXT, XWORLD, YWORLD [deg] and `columns`; a star with a NaN is left out.
    columns : tuple of str
        The moments wanted.
    instrument : Instrument or None
        Tells which quadrant belongs to which detector; a quadrant it does not
        know is a bin of its own.
    space : {"ccd", "quadrant"}
    """
    wanted = ("XWORLD", "YWORLD", *columns)
    stars = {name: np.asarray(moments[name], dtype=float) for name in wanted}
    good = np.all([np.isfinite(values) for values in stars.values()], axis=0)
    names, which = np.unique(np.asarray(moments["EXT"], dtype=np.str_)[good], return_inverse=True)
    if space == "ccd" and instrument is not None:
        known = instrument.quadrants
        ccds = np.array([known[n].ccd if n in known else n for n in names.tolist()], dtype=np.str_)
        names, merged = np.unique(ccds, return_inverse=True)
        which = merged[which] if len(merged) else which
    members = [np.flatnonzero(which == i) for i in range(len(names))]
    values = {
        name: np.array([np.median(column[good][rows]) for rows in members], dtype=float)
        for name, column in stars.items()
    }
    return BinMedians(names, np.array([len(rows) for rows in members], dtype=int), values)
