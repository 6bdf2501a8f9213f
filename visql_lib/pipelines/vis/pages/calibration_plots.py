"""The interactive plots of the calibration frames of all months."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures import style
from visql_lib.plots.bands import add_bands, bands, limits_text
from visql_lib.plots.core import (
    DAY,
    GROUPS,
    Panel,
    Plot,
    Points,
    add_points,
    bk,
    leads_of,
    marks,
    new_cross,
    new_panel,
    numbers,
    shared_range,
    tints,
    to_ms,
    value_range,
)
from visql_lib.plots.markup import PlotSection, markup, without_data
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.summary import STATUSES, UNJUDGED

FRAMES = 6000  # drawn one by one; of more, SCIENCE frames are replaced by the days' medians
_LEVEL = "FLAT_LEVEL"  # SIGNAL of FLATs
_SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Bias and noise": (
        Panel("BIAS", "bias", "ADU", "%.3f", "all", "detector.BIAS"),
        Panel("BIAS_SHIFT", "bias, change of the quadrants", "ADU", "%.4f", "all"),
        Panel("READ_NOISE", "read noise", "ADU", "%.4f", "all", "detector.READ_NOISE"),
    ),
    "Darks": (
        Panel("DARK_RATE", "dark rate", "ADU/s", "%.6f", "all", "detector.DARK_RATE"),
        Panel("N_HOT", "hot pixels", "", "%.0f", "all", "detector.N_HOT"),
        Panel("N_HOT_COLUMNS", "bright columns", "", "%.0f", "all", "detector.N_HOT_COLUMNS"),
    ),
    "Flats and charge": (
        Panel(_LEVEL, "flat level", "ADU", "%.1f", "all"),
        Panel("FLAT_SCATTER", "flat, scatter of the quadrants", "", "%.5f", "all", "detector.FLAT_SCATTER"),
        Panel("TRAILING", "trailing", "of a line", "%.6f", "all"),
    ),
}
_PANELS = tuple(panel for panels in _SECTIONS.values() for panel in panels)

CALIBRATION_COLUMNS = (
    *("EXPOSURE", "DATE_OBS", "FRAME_TYPE", "STATUS", "REASON", "SIGNAL"),
    *(panel.key for panel in _PANELS if panel.key != _LEVEL),
)


def calibration_markup(
    frames: Mapping[str, NDArray], thresholds: Thresholds, held: Collection[str] | None = None
) -> tuple[str, str]:
    """Make the plots of all months' frames: Bokeh's script and the HTML for it.

    Parameters
    ----------
    frames : mapping of arrays
        Rows of DETECTOR_FRAMES of all months, joined, and MONTH (YYYYMM) where it
        differs from the month of DATE_OBS. Undated ones are counted, not drawn.
    thresholds : Thresholds
        Limits drawn as bands, each on the days it was in force.
    held : collection of str, optional
        Pages there are; None: of all exposures.

    Returns
    -------
    script, html : str
        For a page in the site's root: points open ``exposures/YYYYMM/E.html``.
    """
    total = len(frames["EXPOSURE"]) if "EXPOSURE" in frames else 0
    rows = _rows(frames) if total else _nothing()
    undated = total - len(rows["t"])
    rows = _thin(rows)
    present = [g for g in GROUPS if g in set(rows["group"])]
    counted = {g: int(np.sum(rows["group"] == g)) for g in present}
    points, colours = _points(rows, held), tints(present)
    times, cross = shared_range(rows["t"]), new_cross()

    def items(panels: tuple[Panel, ...]) -> Iterator[Plot | str]:
        full = [p for p in panels if np.isfinite(points.column(p.key)).any()]
        for panel in full:
            found = bands(thresholds, panel.threshold)
            values = value_range(points.column(panel.key), panel.log, [band.edge for band in found])
            remark = limits_text(found, float(rows["t"].max()))
            plot = new_panel(panel, times, values, cross, remark=remark, height=172)
            add_bands(plot, found)
            add_points(plot, panel, points, colours, values)
            yield plot
        yield from without_data([p for p in panels if p not in full], "no values in any month")

    sections = [PlotSection(heading, tuple(items(panels))) for heading, panels in _SECTIONS.items()]
    days = float(np.ptp(rows["t"])) / DAY if len(rows["t"]) else 0.0
    spans = {text: n for text, n in (("last 30 days", 30.0), ("last year", 365.0)) if days > n}
    notes = [f"{style.count(undated, 'frame')} without a date not drawn."] if undated else []
    if total > FRAMES:
        notes.append("SCIENCE frames: medians of the days.")
    return markup(sections, counted, spans=spans, notes=notes)


def _nothing() -> dict[str, NDArray]:
    empty: dict[str, NDArray] = {panel.key: np.zeros(0) for panel in _PANELS}
    return (
        empty | {"t": np.zeros(0)} | {n: np.zeros(0, object) for n in ("name", "group", "page", "s", "say")}
    )


def _rows(frames: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Select the dated frames in order of time: values, names, pages, statuses."""
    t = to_ms(frames["DATE_OBS"])
    order = np.flatnonzero(np.isfinite(t))
    order = order[np.argsort(t[order], kind="stable")]
    types = np.asarray(frames["FRAME_TYPE"])[order].astype(object)
    months = [str(m).replace("-", "") for m in t[order].astype("datetime64[ms]").astype("datetime64[M]")]
    if "MONTH" in frames:
        months = [str(m) for m in np.asarray(frames["MONTH"])[order]]
    names = [str(n) for n in np.asarray(frames["EXPOSURE"])[order]]
    status = [str(s) if s in STATUSES else "none" for s in np.asarray(frames["STATUS"])[order]]
    reasons = np.asarray(frames["REASON"])[order]
    words = ["not judged" if s == UNJUDGED else s for s in status]
    say = [f"{s}: {r}" if r else s for s, r in zip(words, reasons, strict=True)]
    signal = np.asarray(frames["SIGNAL"], dtype=float)[order]
    rows: dict[str, Any] = {
        "t": t[order],
        "name": np.array(names, dtype=object),
        "group": np.array([g if g in GROUPS else "other" for g in types], dtype=object),
        "page": np.array(
            [f"exposures/{m}/{n}.html" for m, n in zip(months, names, strict=True)], dtype=object
        ),
        "s": np.array(status, dtype=object),
        "say": np.array(say, dtype=object),
        _LEVEL: np.where(types == "FLAT", signal, np.nan),
    }
    for panel in _PANELS:
        if panel.key != _LEVEL:
            rows[panel.key] = np.asarray(frames[panel.key], dtype=float)[order]
    return rows


def _thin(rows: dict[str, NDArray]) -> dict[str, NDArray]:
    """Replace the SCIENCE frames of a long history by one point a day: medians, and the worst status."""
    science = rows["group"] == "SCIENCE"
    if len(science) <= FRAMES:
        return rows
    day = np.floor(rows["t"] / DAY)
    new: dict[str, list[Any]] = {name: [] for name in rows}
    for one in np.unique(day[science]):
        mine = np.flatnonzero(science & (day == one))
        worst = min((str(s) for s in rows["s"][mine]), key=STATUSES.index)
        month = str(rows["page"][mine[0]]).split("/")[1]
        date = str(np.datetime64(int(one), "D"))
        new["t"].append(float(np.mean(rows["t"][mine])))
        new["name"].append(f"{date}: median of {style.count(len(mine), 'exposure')}")
        new["group"].append("SCIENCE")
        new["page"].append(f"months/{month}.html")
        new["s"].append(worst)
        count = int(np.sum(rows["s"][mine] == worst))
        word = "not judged" if worst == UNJUDGED else worst
        new["say"].append(f"{word}: {count} of {len(mine)}" if worst not in ("ok", "none") else word)
        for panel in _PANELS:
            known = rows[panel.key][mine]
            known = known[np.isfinite(known)]
            new[panel.key].append(float(np.median(known)) if len(known) else np.nan)
    joined = {
        name: np.concatenate([values[~science], np.array(new[name], dtype=values.dtype)])
        for name, values in rows.items()
    }
    order = np.argsort(joined["t"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _points(rows: Mapping[str, NDArray], held: Collection[str] | None) -> Points:
    data: dict[str, Any] = {name: rows[name] for name in ("t", "name", "group", "page")}
    status = [str(s) for s in rows["s"]]
    data |= {"s_all": status, "z_all": marks(status), "say_all": rows["say"]}
    data |= {panel.key: numbers(rows[panel.key]) for panel in _PANELS}
    source = bk.ColumnDataSource(data, name="visql-points")
    leads = leads_of([str(page) for page in rows["page"]], held)
    return Points(source, "@{page}", bk.BooleanFilter(name="visql-shown"), leads=leads)
