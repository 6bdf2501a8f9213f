"""The trend of the flux ratios in one month, as a table and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from visql_lib.photometry.month_trend import month_trend
from visql_lib.pipelines.vis.schemas.gaia import TREND
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.trend import trend_limits
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table


@dataclass(frozen=True)
class MonthTrendInputs:
    """The table TREND of all months, and the month YYYYMM that is taken from it."""

    trend: Path
    month: str


@dataclass(frozen=True)
class MonthTrendOutputs:
    """The columns of MONTH_TREND (docs/tables.md)."""

    columns: dict[str, NDArray]


def run(context: Context[VisSettings], inputs: MonthTrendInputs) -> MonthTrendOutputs:
    """Take the trend of one month from that of all.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    table = read_table(inputs.trend, TREND.names)
    steps, forecast = (table.meta.get(name, []) for name in ("steps", "forecast"))
    limits = trend_limits(context.settings.trend)
    return MonthTrendOutputs(month_trend(table, steps, forecast, inputs.month, limits=limits))


def month_trend_text(rows: Mapping[str, NDArray]) -> str:
    """Return the rows of the whole focal plane as text of fixed width."""
    names = ("CLASS", "FIELD", "COLOUR", "N", "LOSS", "LOSS_ERR", "RATE", "RATE_ERR", "N_STEPS", "STEP")
    head = [*names, "FORECAST", "STATUS", "REASON"]
    lines = [head]
    for i in range(len(rows["SPACE"])):
        if rows["SPACE"][i] != "fpa":
            continue
        values = [rows[name][i] for name in names]
        # Adding zero makes -0.0 of rounding 0.0.
        words = [f"{round(v, 3) + 0.0:.3f}" if isinstance(v, float) else str(v) for v in values]
        date = str(rows["FORECAST"][i])[:10].replace("NaT", "-")
        lines.append([*words, date, str(rows["STATUS"][i]), str(rows["REASON"][i])])
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "".join(
        "  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
