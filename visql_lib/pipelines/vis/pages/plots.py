"""Interactive plots, which are optional: pages work without them."""

from __future__ import annotations

import calendar
import importlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.summary import GroupSummary
from visql_lib.stores.goes import goes_path
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

_SERIES = ("TIME", "XRSA", "GOOD")
Plots = tuple[str, str]  # a script without its tags, and the HTML it fills


def _timelines() -> ModuleType | None:
    try:
        return importlib.import_module("visql_lib.pipelines.vis.pages.timelines")
    except ModuleNotFoundError:  # no BokehJS here
        return None


def plot_files() -> dict[str, bytes]:
    """List the scripts that pages with plots load, by name."""
    module = _timelines()
    found: dict[str, bytes] = module.bokeh_files() if module is not None else {}
    return found


@dataclass(frozen=True)
class PlotTables:
    """Tables that are read only when they are drawn, with a digest of their files."""

    paths: tuple[Path, ...]

    @property
    def digest(self) -> str:
        """A digest of the files."""
        stats = {str(path): path.stat() for path in self.paths}
        return digest({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})

    def read(self, columns: Sequence[str] | None = None) -> dict[str, NDArray] | None:
        """Read the columns of all tables, joined; None if there are no rows."""
        parts = []
        for path in self.paths:
            try:
                parts.append(read_table(path, columns))
            except TableError as error:  # such as a day of GOES that could not be had
                log.info("%s", error)
        parts = [part for part in parts if part.n_rows]
        if not parts:
            return None
        names = [name for name in parts[0] if all(name in part for part in parts)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}


def goes_of(settings: VisSettings, month: str) -> PlotTables:
    """List the existing days of GOES of a month."""
    first = date(int(month[:4]), int(month[4:]), 1)
    days = [first + timedelta(n) for n in range(calendar.monthrange(first.year, first.month)[1])]
    return PlotTables(
        tuple(path for path in (goes_path(settings.results, day) for day in days) if path.is_file())
    )


def tables_of(results: Path) -> PlotTables:
    """List the tables from which the plots of all months are made."""
    module = _timelines()
    return PlotTables(tuple(module.plot_tables(results)) if module is not None else ())


def month_plots(month: GroupSummary, thresholds: Thresholds, goes: PlotTables) -> Plots:
    """Make the timelines of a month."""
    return _made("month_plots", month, thresholds, goes.read(_SERIES))


def trend_plots(
    results: Path, thresholds: Thresholds, settings: VisSettings, held: Collection[str] | None
) -> Plots:
    """Make the plots of all months; points link to pages that exist (None: all do)."""
    return _made("trend_plots", results, thresholds, settings.trend, held)


def calibration_plots(results: Path, thresholds: Thresholds, held: Collection[str] | None) -> Plots:
    """Make the plots of the calibration frames of all months; `held` as for `trend_plots`."""
    return _made("calibration_plots", results, thresholds, held)


def _made(name: str, *arguments: Any) -> Plots:
    function = getattr(_timelines(), name, None)
    if function is None:
        return "", ""
    made: Plots = function(*arguments)
    return made
