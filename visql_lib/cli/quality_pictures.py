"""``visql quality-pictures``: the pictures of a month's image quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOMENTS = ("R2", "e1", "e2", "tr1", "tr2", "com1", "com2")
_COLUMNS = ("DATE_OBS", "EXPTIME", "STATUS", *_MOMENTS, *(f"{m}_ERR" for m in _MOMENTS))


@step(
    "quality-pictures",
    "Draw the image quality of the exposures of one or more tables PSFMOMENTS: median moments against"
    " each other (--diagrams), and against mission day [d], coloured by exposure time [s] (--timeline).",
    "visql quality-pictures psfmoments_202407.parquet --diagrams psfmoments_202407.png"
    " --timeline IQ_timeline_202407.png",
)
@click.argument("psfmoments", type=INPUT, nargs=-1, required=True)
@click.option("--diagrams", type=OUTPUT, metavar="PNG", help="Draw the diagrams to this file.")
@click.option("--timeline", type=OUTPUT, metavar="PNG", help="Draw the timeline to this file.")
@click.option(
    "--last-days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Show only the last DAYS days before the newest exposure.",
)
def command(
    psfmoments: tuple[Path, ...],
    diagrams: Path | None,
    timeline: Path | None,
    last_days: float | None,
    config: Path | None,
) -> None:
    """Draw the pictures of a month."""
    if diagrams is None and timeline is None:
        raise click.UsageError("give --diagrams PNG, --timeline PNG, or both")
    import numpy as np

    from visql_lib.cli.outputs import save_picture
    from visql_lib.frames import load_instrument
    from visql_lib.pictures.timeline import timeline as draw_timeline
    from visql_lib.pipelines.vis.pictures.month import quality_diagrams

    table = _last(_read(psfmoments), last_days)
    settings = settings_of(config)
    dpi, title = settings.pictures.dpi, _title(table)
    if diagrams is not None:
        save_picture(quality_diagrams(table, title=title), diagrams, dpi, "quality_pictures")
    if timeline is not None:
        start = load_instrument(settings.instrument).mission_epoch.replace(tzinfo=None)
        save_picture(
            draw_timeline(table, np.datetime64(start, "us"), title=title), timeline, dpi, "quality_pictures"
        )


def _read(paths: tuple[Path, ...]) -> dict[str, NDArray]:
    """Read the columns needed of all tables, one after the other."""
    import numpy as np

    from visql_lib.tables.store import read_table

    tables = [read_table(path, _COLUMNS) for path in paths]
    return {name: np.concatenate([table[name] for table in tables]) for name in _COLUMNS}


def _last(table: dict[str, NDArray], days: float | None) -> dict[str, NDArray]:
    """Keep the exposures of the last `days` days before the newest; those without a date are dropped.

    Dates in the future, as in some imported tables, are ignored.
    """
    import numpy as np

    dates = table["DATE_OBS"]
    known = ~np.isnat(dates)
    if days is None or not known.any():
        return table
    past = dates[known & (dates <= np.datetime64("now") + np.timedelta64(1, "D"))]
    oldest = (past if len(past) else dates[known]).max() - np.timedelta64(round(days * 86400e6), "us")
    recent = known & (dates >= oldest) & (dates <= max(past, default=dates[known].max()))
    return {name: column[recent] for name, column in table.items()}


def _title(table: dict[str, NDArray]) -> str:
    """Return for example ``image quality, 2024-07-01 to 2024-07-16``."""
    import numpy as np

    dates = table["DATE_OBS"][~np.isnat(table["DATE_OBS"])]
    if len(dates) == 0:
        return "image quality"
    first, last = (str(np.datetime_as_string(d, "D")) for d in (dates.min(), dates.max()))
    return f"image quality, {first}" + (f" to {last}" if last != first else "")
