"""`visql month-trend`: the trend of the flux ratios -> its values for one month."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, settings_of, step


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
    """Choose, write."""
    from visql_lib.cli.outputs import provenance, write_sidecars
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.gaia import MONTH_TREND
    from visql_lib.pipelines.vis.stages.month_trend import MonthTrendInputs, month_trend_text, run
    from visql_lib.products.context import Context
    from visql_lib.tables import atomic_path, write_table

    if len(month) != 6 or not month.isdecimal() or not 1 <= int(month[4:]) <= 12:
        raise click.BadParameter(f"{month!r} is not a month: write YYYYMM", param_hint="--month")
    context = Context.of(REGISTRY["month_trend"], settings_of(config))
    found = run(context, MonthTrendInputs(trend, month))
    origin = provenance("month_trend", [trend], context.settings.trend)
    write_table(output, found.columns, MONTH_TREND, meta={"month": month}, **origin)
    if text is not None:
        with atomic_path(text) as temporary:
            temporary.write_text(month_trend_text(found.columns), encoding="utf-8")
        write_sidecars("month_trend", text, inputs=[trend])
