"""The season: what the nights were like, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pipelines.pointing.night_files import night_of_table
from visql_lib.pipelines.pointing.schemas import SEASON
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import UNREADABLE
from visql_lib.tables.store import Table, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PERCENTILES = (10, 50, 90)
_SPREAD = ("ZP", "MU", "SCATTER")
_FAILED = (GuideStatus.FAILED, UNREADABLE)
_COLUMNS = ("DATE_OBS", "MJD_OBS", "STATUS", "DOME", "N_STREAKS", *_SPREAD)


@dataclass(frozen=True)
class SeasonInputs:
    """The tables of nights."""

    nights: Sequence[Path]


@dataclass(frozen=True)
class Season:
    """The columns of SEASON, in order of time."""

    columns: dict[str, NDArray]


def run(context: Context[PointingSettings], inputs: SeasonInputs) -> Season:
    """Summarise nights.

    Raises
    ------
    TableError
        If a table cannot be read, or does not say of which night it is.
    """
    rows = {}
    for path in inputs.nights:
        table = read_table(path, _COLUMNS)
        night = night_of_table(path, table.meta)
        rows[night] = {"NIGHT": night} | summary_of(table)
    return Season(SEASON.of_rows(rows[night] for night in sorted(rows)))


def summary_of(frames: Table) -> dict[str, Any]:
    """Summarise the frames of a night: counts, hours, percentiles of the frames without dome."""
    status, dome, mjd = (np.asarray(frames[name]) for name in ("STATUS", "DOME", "MJD_OBS"))
    days, starts = mjd[np.isfinite(mjd)], frames["DATE_OBS"]
    found = {
        "DATE_OBS": min(starts[~np.isnat(starts)], default=np.datetime64("NaT", "us")),
        "N_FRAMES": len(status),
        "N_MEASURED": int(np.isfinite(frames["ZP"]).sum()),
        "N_DOME": int(dome.sum()),
        "N_MOVED": int((status == GuideStatus.MOVED).sum()),
        "N_FAILED": int(np.isin(status, _FAILED).sum()),
        "N_STREAKS": int(np.maximum(frames["N_STREAKS"], 0).sum()),
        "HOURS": 24.0 * float(np.ptp(days)) if len(days) else np.nan,
    }
    for name in _SPREAD:
        values = frames[name][~dome & np.isfinite(frames[name])]
        ends = np.percentile(values, _PERCENTILES) if len(values) else [np.nan] * len(_PERCENTILES)
        found |= {f"{name}_{p}": float(v) for p, v in zip(_PERCENTILES, ends, strict=True)}
    return found


def picture(season: Season, nominal: float) -> Figure:
    """Draw the season; `nominal` is the zero point of a clear night."""
    from visql_lib.pipelines.pointing.pictures.season import season_picture

    return season_picture(season.columns, nominal)
