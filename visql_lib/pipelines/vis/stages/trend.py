"""The trend of the flux ratios of all months, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import RatioFlag
from visql_lib.photometry.aggregate import select
from visql_lib.photometry.trend_records import TrendLimits, Trends
from visql_lib.pipelines.vis.schemas.gaia import RATIOS
from visql_lib.pipelines.vis.settings import TrendSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Endings of the original's timelines -> the first day they show.
SINCE = {"": None, "2": "2024-03", "3": "2024-06"}


@dataclass(frozen=True)
class TrendInputs:
    """The tables RATIOS of the months."""

    ratios: tuple[Path, ...]


@dataclass(frozen=True)
class TrendOutputs:
    """The trends, and the accepted ratios that they were fitted to, columns of RATIOS."""

    trends: Trends
    ratios: dict[str, NDArray]

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata of the table TREND."""
        found = self.trends
        return {"steps": found.steps, "forecast": found.forecast, "notes": found.notes}


def run(context: Context[VisSettings], inputs: TrendInputs) -> TrendOutputs:
    """Fit the trends of the focal plane and of every CCD.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    from visql_lib.photometry.trend import trends

    settings = context.settings.trend
    wanted = [_followed(read_table(path, RATIOS.names)) for path in inputs.ratios]
    rows = {name: np.concatenate([part[name] for part in wanted]) for name in RATIOS.names}
    found = trends(
        rows,
        clean_epoch=(settings.clean_start, settings.clean_end),
        limits=trend_limits(settings),
        step_significance=settings.step_significance,
    )
    return TrendOutputs(found, rows)


def pictures(context: Context[VisSettings], found: TrendOutputs) -> Iterator[tuple[str, Figure]]:
    """Draw the timelines and trends one after the other, each with its name."""
    for cls in context.instrument.exposure_classes:
        yield from _timelines(context, found.ratios, cls)
        yield from _losses(context, found.trends, cls)


def trend_limits(settings: TrendSettings) -> TrendLimits:
    """Take the limits of losses and rates from the settings."""
    return TrendLimits(
        loss=settings.loss,
        warn_loss=settings.warn_loss,
        error_loss=settings.error_loss,
        warn_rate=settings.warn_rate,
        error_rate=settings.error_rate,
        min_days=settings.min_days,
    )


def _followed(table: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Return the accepted rows: the focal plane by exposure, CCDs by day."""
    whole = (table["SPACE"] == "fpa") & (table["TIME"] == "exposure")
    parts = (table["SPACE"] == "ccd") & (table["TIME"] == "day") & (table["FIELD"] == "all")
    good = (table["FLAGS"] & RatioFlag.NOT_ACCEPTED) == 0
    return {name: values[(whole | parts) & good] for name, values in table.items()}


def _timelines(
    context: Context[VisSettings], rows: Mapping[str, NDArray], cls: str
) -> Iterator[tuple[str, Figure]]:
    """Draw the ratios of one class of exposures against time."""
    from visql_lib.pipelines.vis.pictures.ice import diagonal_timeline, ratio_timeline

    settings = context.settings.trend
    for name, field in {"": "all", "selfcal_": "selfcal"}.items():
        part = select(rows, space="fpa", cls=cls, field=field)
        what = f"VIS/Gaia, {cls} exposures" + (", self-calibration field" if field == "selfcal" else "")
        for end, since in SINCE.items():
            yield f"iceplot_{name}{cls}{end}", ratio_timeline(part, since=since, title=what)
    ccds = select(rows, space="ccd", cls=cls)
    clean, title = (settings.clean_start, settings.clean_end), f"VIS/Gaia, {cls} exposures, daily"
    for name, cross in (("diag", False), ("xdiag", True)):
        names = context.instrument.geometry.diagonal(cross=cross)
        yield f"iceplot_{name}_{cls}", diagonal_timeline(ccds, names, clean=clean, title=title)


def _losses(context: Context[VisSettings], found: Trends, cls: str) -> Iterator[tuple[str, Figure]]:
    """Draw the losses of one class of exposures: of the focal plane against time, and per CCD."""
    from visql_lib.pipelines.vis.pictures.ice_map import loss_map
    from visql_lib.pipelines.vis.pictures.ice_trend import loss_trend

    trend = _part(found.table, SPACE="fpa", CLASS=cls, FIELD="all")
    steps, forecast = (_records(records, cls) for records in (found.steps, found.forecast))
    title, settings = f"flux loss, {cls} exposures", context.settings.trend
    yield f"loss_{cls}", loss_trend(trend, steps, forecast, settings, title=title)
    trend = _part(found.table, SPACE="ccd", CLASS=cls, FIELD="all")
    title = f"flux loss per CCD, {cls} exposures"
    yield f"loss_map_{cls}", loss_map(trend, context.instrument, title=title)


def _part(table: Mapping[str, NDArray], **values: str) -> dict[str, NDArray]:
    keep = np.all([np.asarray(table[name]) == value for name, value in values.items()], axis=0)
    return {name: np.asarray(column)[keep] for name, column in table.items()}


def _records(records: list[dict[str, Any]], cls: str) -> list[dict[str, Any]]:
    wanted = {"SPACE": "fpa", "CLASS": cls, "FIELD": "all"}
    return [r for r in records if all(r[name] == value for name, value in wanted.items())]
