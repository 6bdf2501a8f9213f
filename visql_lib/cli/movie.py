"""`visql movie`: the exposures of a month in time order, with the solar X-ray flux."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step

log = logging.getLogger(__name__)

_ANY = click.Path(path_type=Path)
_CONFIGURED = 0.0  # days: use the setting
_NOTHING_SECONDS = 2.0  # of a movie without exposures


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
    """Find the exposures, draw days that changed, encode the movie."""
    from visql_lib.instruments.model import load_instrument
    from visql_lib.movies.encode import encode_piece, write_movie
    from visql_lib.pipelines.vis.registry import VERSIONS
    from visql_lib.pipelines.vis.stages.movie import GoesDays, Pieces, movie_exposures, read_angles

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    readout = instrument.detector.readout_time
    days = settings.movies.last_days if last_days == _CONFIGURED else last_days
    versions = {"movies": VERSIONS["movies"]}
    series, tables = _files(goes), _files(angles)
    exposures = movie_exposures(sheets, [read_angles(path) for path in tables], readout, days)
    rate = settings.movies.frames_per_second
    pieces = Pieces(cache, kind, instrument.particle_scale, settings.movies.width, rate, settings.goes.hours)
    if not exposures:
        nothing = pieces.canvas.draw_nothing(f"no exposure in {', '.join(sheet.stem for sheet in sheets)}")
        frames = repeat(nothing, max(1, round(rate * _NOTHING_SECONDS)))
        write_movie([encode_piece(frames, pieces.size, rate)], rate, output, versions, sheets)
        return
    inputs = [*sheets, *tables, *series]
    with pieces.locked(exposures), progress(output.name, len(exposures)) as advance:
        write_movie(pieces.make(exposures, GoesDays(series), advance), rate, output, versions, inputs)
        if days is None:  # a movie of the last days has parts of days
            for sheet in {exposure.sheet for exposure in exposures}:
                pieces.remove_others(sheet)
    log.info(
        "%s: %d of %d frames drawn, %d old pieces removed",
        output.name,
        pieces.drawn,
        len(exposures),
        pieces.removed,
    )


def _files(paths: Iterable[Path]) -> list[Path]:
    """List the files and those of the folders; a missing one is left out with a warning."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            log.warning("%s: does not exist", path)
        found += sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    return found
