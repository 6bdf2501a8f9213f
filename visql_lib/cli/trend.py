"""`visql trend`: the flux ratios of all months -> losses, rates, steps, forecast, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.photometry.trend_records import TrendLimits, Trends
    from visql_lib.pipelines.vis.settings import TrendSettings, VisSettings

# Endings of the original's timelines -> the first day they show.
SINCE = {"": None, "2": "2024-03", "3": "2024-06"}


@step(
    "trend",
    """Measure the trend of the VIS/Gaia flux ratios in the tables RATIOS of one or more months.

    For the whole focal plane (by exposure) and for every CCD (by day), writes the flux
    loss [mmag] relative to the clean epoch at three colours BP-RP [mag], rates [mmag/d],
    steps with date and size, and the date at which the configured loss will be reached,
    with errors. --pictures draws the timelines and trends.""",
    "visql trend results/months/*/ratios_*.parquet -o trend.parquet --pictures timeline/",
)
@click.argument("ratios", type=INPUT, nargs=-1, required=True)
@output_option("Trend (Parquet); steps and forecast in its metadata.")
@click.option("--pictures", type=FOLDER, metavar="FOLDER", help="Also draw the timelines and trends.")
def command(ratios: tuple[Path, ...], output: Path, pictures: Path | None, config: Path | None) -> None:
    """Read the flux ratios, fit the trends, write and draw them."""
    import numpy as np

    from visql_lib.cli.outputs import provenance
    from visql_lib.photometry.trend import trends
    from visql_lib.pipelines.vis.schemas.gaia import RATIOS, TREND
    from visql_lib.tables import read_table, write_table

    settings = settings_of(config)
    wanted = [_followed(read_table(path, RATIOS.names)) for path in ratios]
    rows = {name: np.concatenate([part[name] for part in wanted]) for name in RATIOS.names}
    found = trends(
        rows,
        clean_epoch=(settings.trend.clean_start, settings.trend.clean_end),
        limits=trend_limits(settings.trend),
        step_significance=settings.trend.step_significance,
    )
    meta: dict[str, Any] = {"steps": found.steps, "forecast": found.forecast, "notes": found.notes}
    origin = provenance("trend", list(ratios), settings.trend)
    write_table(output, found.table, TREND, meta=meta, **origin)
    if pictures is not None:
        for cls in _classes(settings):
            _draw(rows, found, cls, pictures, settings)


def trend_limits(settings: TrendSettings) -> TrendLimits:
    """Take the limits of losses and rates from the settings."""
    from visql_lib.photometry.trend_records import TrendLimits

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
    from visql_lib.flags import RatioFlag

    whole = (table["SPACE"] == "fpa") & (table["TIME"] == "exposure")
    parts = (table["SPACE"] == "ccd") & (table["TIME"] == "day") & (table["FIELD"] == "all")
    good = (table["FLAGS"] & RatioFlag.NOT_ACCEPTED) == 0
    return {name: values[(whole | parts) & good] for name, values in table.items()}


def _classes(settings: VisSettings) -> tuple[str, ...]:
    from visql_lib.instruments.model import load_instrument

    return tuple(load_instrument(settings.instrument).exposure_classes)


def _draw(rows: Mapping[str, NDArray], found: Trends, cls: str, folder: Path, settings: VisSettings) -> None:
    """Draw all pictures of one class of exposures."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.instruments.model import load_instrument
    from visql_lib.photometry.aggregate import select
    from visql_lib.pipelines.vis.pictures.ice import diagonal_timeline, ratio_timeline
    from visql_lib.pipelines.vis.pictures.ice_map import loss_map
    from visql_lib.pipelines.vis.pictures.ice_trend import loss_trend

    instrument = load_instrument(settings.instrument)
    dpi, clean = settings.pictures.dpi, (settings.trend.clean_start, settings.trend.clean_end)
    whole = {"": "all", "selfcal_": "selfcal"}
    for name, field in whole.items():
        part = select(rows, space="fpa", cls=cls, field=field)
        what = f"VIS/Gaia, {cls} exposures" + (", self-calibration field" if field == "selfcal" else "")
        for end, since in SINCE.items():
            figure = ratio_timeline(part, since=since, title=what)
            save_picture(figure, folder / f"iceplot_{name}{cls}{end}.png", dpi, "trend")
    ccds = select(rows, space="ccd", cls=cls)
    for name, cross in (("diag", False), ("xdiag", True)):
        names = instrument.geometry.diagonal(cross=cross)
        figure = diagonal_timeline(ccds, names, clean=clean, title=f"VIS/Gaia, {cls} exposures, daily")
        save_picture(figure, folder / f"iceplot_{name}_{cls}.png", dpi, "trend")
    trend = _part(found.table, SPACE="fpa", CLASS=cls, FIELD="all")
    steps, forecast = (_records(records, cls) for records in (found.steps, found.forecast))
    figure = loss_trend(trend, steps, forecast, settings.trend, title=f"flux loss, {cls} exposures")
    save_picture(figure, folder / f"loss_{cls}.png", dpi, "trend")
    trend = _part(found.table, SPACE="ccd", CLASS=cls, FIELD="all")
    figure = loss_map(trend, instrument, title=f"flux loss per CCD, {cls} exposures")
    save_picture(figure, folder / f"loss_map_{cls}.png", dpi, "trend")


def _part(table: Mapping[str, NDArray], **values: str) -> dict[str, NDArray]:
    import numpy as np

    keep = np.all([np.asarray(table[name]) == value for name, value in values.items()], axis=0)
    return {name: np.asarray(column)[keep] for name, column in table.items()}


def _records(records: list[dict[str, Any]], cls: str) -> list[dict[str, Any]]:
    wanted = {"SPACE": "fpa", "CLASS": cls, "FIELD": "all"}
    return [r for r in records if all(r[name] == value for name, value in wanted.items())]
