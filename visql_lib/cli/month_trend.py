"""`visql month-trend`: the trend of the flux ratios -> its values for one month."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, settings_of, step
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@step(
    "month-trend",
    """Extract the trend of the flux ratios in one month from the table TREND.

    Writes loss [mmag], rate [mmag/d], steps [mmag], forecast and status, for the whole
    focal plane and for every CCD, class and colour BP-RP [mag] (docs/tables.md,
    month_trend). --text writes the rows of the whole focal plane as a text table.""",
    "visql month-trend timeline/trend.parquet --month 202407 -o trend_202407.parquet",
)
@click.argument("trend", type=INPUT)
@output_option("Trend of the month (Parquet).")
@click.option("--month", required=True, metavar="YYYYMM", help="Month to extract.")
@click.option("--text", type=OUTPUT, metavar="FILE", help="Also write a text table.")
def command(trend: Path, output: Path, month: str, text: Path | None, config: Path | None) -> None:
    """Read, choose, write."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.cli.trend import trend_limits
    from visql_lib.photometry.month_trend import month_trend
    from visql_lib.pipelines.vis.schemas.gaia import MONTH_TREND, TREND
    from visql_lib.tables import atomic_path, read_table, write_table

    if len(month) != 6 or not month.isdecimal() or not 1 <= int(month[4:]) <= 12:
        raise click.BadParameter(f"{month!r} is not a month: write YYYYMM", param_hint="--month")
    settings = settings_of(config)
    table = read_table(trend, TREND.names)
    steps, forecast = (table.meta.get(name, []) for name in ("steps", "forecast"))
    rows = month_trend(table, steps, forecast, month, limits=trend_limits(settings.trend))
    origin = provenance("month_trend", [trend], settings.trend)
    write_table(output, rows, MONTH_TREND, meta={"month": month}, **origin)
    if text is not None:
        with atomic_path(text) as temporary:
            temporary.write_text(_table(rows), encoding="utf-8")
        write_sidecars("month_trend", text, inputs=[trend])


def _table(rows: Mapping[str, NDArray]) -> str:
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
