"""`visql movie`: the exposures of a month in time order, with the solar X-ray flux."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step

log = logging.getLogger(__name__)

_ANY = click.Path(path_type=Path)
_CONFIGURED = 0.0  # days: use the setting


@step(
    "movie",
    """Make a movie (H.264, for browsers) of the SCIENCE and DARK exposures of one or more SHEETs.

    Shows one frame per exposure that has maps of particles (YYYYMM/E/E_radmaps.parquet
    next to the sheet), in time order. xcosmix shows the GOES X-ray flux [W/m2] from 12 h
    before to 12 h after, the map of X-rays [deg], and FLUX_RADIUS [px] against flux [ADU];
    protons shows the map of protons, with the other panels in small. Encoded days (UTC)
    are cached in a folder; only days that changed are drawn.""",
    "visql movie results/exposures/202407.tsv --kind xcosmix --goes results/goes"
    " --angles angles_202407.parquet --cache results/movies -o XCOSMIX202407.mp4",
)
@click.argument("sheets", metavar="SHEET...", type=INPUT, nargs=-1, required=True)
@output_option("The movie (.mp4).")
@click.option("--kind", type=click.Choice(["xcosmix", "protons"]), default="xcosmix", show_default=True)
@click.option(
    "--goes",
    type=_ANY,
    multiple=True,
    metavar="SERIES",
    help="GOES series (Parquet), or a folder of them; may be repeated. Missing days appear as gaps.",
)
@click.option(
    "--angles",
    type=_ANY,
    multiple=True,
    metavar="TABLE",
    help="Table of angles to the Sun; may be repeated. Default: angles of the sheet.",
)
@click.option("--cache", type=FOLDER, required=True, metavar="FOLDER", help="Folder of the encoded days.")
@click.option(
    "--last-days",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=_CONFIGURED,
    metavar="[DAYS]",
    help="Show only the last DAYS days before the newest exposure; default: movies.last_days.",
)
def command(
    sheets: tuple[Path, ...],
    output: Path,
    kind: str,
    goes: tuple[Path, ...],
    angles: tuple[Path, ...],
    cache: Path,
    last_days: float | None,
    config: Path | None,
) -> None:
    """Make the movie."""
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.stages.movie import MovieInputs, run
    from visql_lib.products.context import Context

    context = Context.of(REGISTRY["movie"], settings_of(config), progress)
    days = context.settings.movies.last_days if last_days == _CONFIGURED else last_days
    months = tuple(MonthFiles.of_sheet(sheet) for sheet in sheets)
    inputs = MovieInputs(months, output, cache, kind, _files(goes), _files(angles), days)
    found = run(context, inputs)
    if found.frames:
        said = "%s: %d of %d frames drawn, %d old pieces removed"
        log.info(said, output.name, found.drawn, found.frames, found.removed)


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """List the files and those of the folders; a missing one is left out with a warning."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            log.warning("%s: does not exist", path)
        found += sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    return tuple(found)
