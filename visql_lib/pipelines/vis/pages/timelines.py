"""The interactive plots of the site, from its data and tables, and the one script they need."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.pages.calibration_plots import CALIBRATION_COLUMNS, calibration_markup
from visql_lib.pipelines.vis.pages.month_plots import month_plots
from visql_lib.pipelines.vis.pages.trend_plots import MEDIAN_KEYS, month_medians, trend_markup
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.schemas.gaia import TREND
from visql_lib.pipelines.vis.settings import TrendSettings
from visql_lib.pipelines.vis.stages.qc import TREND as TREND_KIND
from visql_lib.pipelines.vis.stages.qc import read_trend
from visql_lib.plots.core import group_of
from visql_lib.plots.markup import bokeh_files
from visql_lib.qc.evaluate import NOT_JUDGED, worst_status
from visql_lib.qc.group import current_results
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.sentences import sentence
from visql_lib.qc.summary import UNJUDGED
from visql_lib.qc.table import by_frame
from visql_lib.tables.store import Table, read_table

__all__ = ["bokeh_files", "calibration_plots", "month_plots", "plot_tables", "trend_plots"]

log = logging.getLogger(__name__)
_OF_FRAMES = {q.name for q in QUANTITIES.of_table("detector_frames")}
_TYPES = ("SCIENCE", "DARK")  # whose medians are shown
_FLUX = "sun.GOES_FLUX"
_QUALITY = tuple(name for name in MEDIAN_KEYS if QUANTITIES[name].table == "psfmoments")
_RADIATION = tuple(name for name in MEDIAN_KEYS if QUANTITIES[name].table == "radiation")


def plot_tables(results: Path) -> list[Path]:
    """List the tables that the plots of all months read: unchanged tables give unchanged plots."""
    names = ("psfmoments", "radiation", "angles", "detector_frames", "qc")
    paths = [folder / f"{name}_{folder.name}.parquet" for folder in _months(results) for name in names]
    return [path for path in (*paths, _trend_path(results)) if path.is_file()]


def trend_plots(
    results: Path,
    thresholds: Thresholds,
    settings: TrendSettings | None = None,
    held: Collection[str] | None = None,
) -> tuple[str, str]:
    """Make the plots over all months: Bokeh's script and the HTML for it.

    A table that is not there, or cannot be read, is left out.

    Parameters
    ----------
    results : Path
        Folder of results.
    thresholds : Thresholds
    settings : TrendSettings, optional
        Limits of the flux loss; the defaults if None.
    held : collection of str, optional
        Pages that points may lead to; None: any.
    """
    table = _read(_trend_path(results), TREND.names)
    meta: dict[str, Any] = table.meta if table is not None else {}
    medians = [found for folder in _months(results) if (found := _medians(folder))["groups"]]
    return trend_markup(
        table,
        meta.get("steps") or [],
        meta.get("forecast") or [],
        medians,
        thresholds,
        settings or TrendSettings(),
        held,
    )


def calibration_plots(
    results: Path, thresholds: Thresholds, held: Collection[str] | None = None
) -> tuple[str, str]:
    """Make the plots of the frames of all months: Bokeh's script and the HTML for it.

    Parameters
    ----------
    results : Path
        Folder of results.
    thresholds : Thresholds
    held : collection of str, optional
        Pages that points may lead to; None: any.
    """
    tables = []
    for folder in _months(results):
        table = _read(folder / f"detector_frames_{folder.name}.parquet", CALIBRATION_COLUMNS)
        if table is not None and table.n_rows:
            own = {"MONTH": np.full(table.n_rows, folder.name)} | _judged(table, results, folder.name)
            tables.append({**table, **own})
    names = tables[0].keys() if tables else ()
    frames = {name: np.concatenate([table[name] for table in tables]) for name in names}
    return calibration_markup(frames, thresholds, held)


def _judged(frames: Table, results: Path, month: str) -> dict[str, NDArray]:
    """Derive status and reason of a month's frames from their QC results; failed ones stay failed."""
    found, _ = current_results(results, month, MONTHS, QUANTITIES, readers={TREND_KIND: read_trend})
    by_name = by_frame([r for r in found if r.quantity in _OF_FRAMES])
    status, reason = frames["STATUS"].astype(object), frames["REASON"].astype(object)
    for i, name in enumerate(frames["EXPOSURE"]):
        if status[i] != "failed":
            mine = by_name.get(str(name), [])
            worst = worst_status(mine)
            status[i] = UNJUDGED if worst == NOT_JUDGED else worst
            reason[i] = "; ".join(sentence(r, QUANTITIES) for r in mine if r.is_bad)
    return {"STATUS": status, "REASON": reason}


def _months(results: Path) -> list[Path]:
    folder = results / "months"
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and len(path.name) == 6 and path.name.isdigit())


def _trend_path(results: Path) -> Path:
    return results / "timeline" / "trend.parquet"


def _read(path: Path, columns: Sequence[str]) -> Table | None:
    """Read columns of a table; None if it is missing or broken, as the page is made without it."""
    if not path.is_file():
        return None
    try:
        return read_table(path, columns)
    except TableError as error:
        log.warning("%s is left out of the plots: %s", path, error)
        return None


def _medians(folder: Path) -> dict[str, Any]:
    return month_medians(folder.name, {k: v for k, v in _values(folder) if k in MEDIAN_KEYS})


def _values(folder: Path) -> Iterator[tuple[str, tuple[NDArray, NDArray]]]:
    """Yield the quantities of a month with the colour groups of its exposures."""
    quality = _read(folder / f"psfmoments_{folder.name}.parquet", ("CLASS", *_columns(_QUALITY)))
    if quality is not None:
        groups = _groups(quality["CLASS"], np.full(quality.n_rows, "SCIENCE"))
        yield from _named(_QUALITY, groups, quality)
    columns = ("EXPOSURE", "CLASS", "FRAME_TYPE", *_columns(_RADIATION))
    radiation = _read(folder / f"radiation_{folder.name}.parquet", columns)
    if radiation is None:
        return
    groups = _groups(radiation["CLASS"], radiation["FRAME_TYPE"])
    yield from _named(_RADIATION, groups, radiation)
    column = QUANTITIES[_FLUX].column
    angles = _read(folder / f"angles_{folder.name}.parquet", ("EXPOSURE", column))
    if angles is not None:
        flux = dict(zip(angles["EXPOSURE"], angles[column], strict=True))
        mine = np.array([flux.get(name, np.nan) for name in radiation["EXPOSURE"]], dtype=float)
        yield _FLUX, (groups, mine)


def _columns(names: Sequence[str]) -> list[str]:
    return [QUANTITIES[name].column for name in names]


def _named(
    names: Sequence[str], groups: NDArray, table: Table
) -> Iterator[tuple[str, tuple[NDArray, NDArray]]]:
    """Yield quantities of a table by their names, with the colour groups of its rows."""
    for name in names:
        yield name, (groups, np.asarray(table[QUANTITIES[name].column], dtype=float))


def _groups(classes: NDArray, types: NDArray) -> NDArray:
    pairs = zip(classes, types, strict=True)
    return np.array([group_of(str(c), str(t)) if t in _TYPES else "other" for c, t in pairs], dtype=object)
