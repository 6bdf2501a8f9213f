"""``visql simulate-season``: frames of one field in many nights, with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, step
from visql_lib.errors import RequestError

if TYPE_CHECKING:
    from visql_lib.simulate.season import Season
    from visql_lib.simulate.season_camera import SeasonCamera
    from visql_lib.simulate.season_plan import SeasonOptions

_CAMERA = "generic"


@step(
    "simulate-season",
    "Simulate frames of a lensed quasar over a season: blended images on a galaxy, among stars. Frames go to "
    "raw/SET, the target's file to targets, the truth to truth: frames, stars, sources (light, place and "
    "least possible error in every frame). PLAN (YAML) and options change the defaults: 12 nights of 4 "
    "frames, 512 x 512.",
    "visql simulate-season -o season --seed 1",
)
@click.argument("plan", type=INPUT, required=False)
@output_option("Folder of the season.", FOLDER, "FOLDER")
@click.option("--seed", type=click.IntRange(0), help="Seed of field, air and noise.")
@click.option("--nights", type=click.IntRange(1), help="Nights.")
@click.option("--frames", type=click.IntRange(1), help="Frames a night.")
@click.option("--size", type=click.IntRange(96), help="Columns and rows [px].")
@click.option("--camera", metavar="NAME", help="Camera: a name in config/instruments, or a path.")
@click.option(
    "--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other option, such as air.flips=0.4."
)
@click.option("--overwrite", is_flag=True, help="Replace frames that are there.")
def command(
    plan: Path | None,
    output: Path,
    seed: int | None,
    nights: int | None,
    frames: int | None,
    size: int | None,
    camera: str | None,
    more: tuple[str, ...],
    overwrite: bool,
    config: Path | None,
) -> None:
    """Read plan and options, simulate, write frames, the target's file and truth."""
    given = {"seed": seed, "nights": nights, "frames": frames, "instrument": camera}
    sides = {"camera.columns": size, "camera.rows": size}
    make_season_files(season_options(plan, given | sides, more), output, overwrite)


def season_options(plan: Path | None, given: dict[str, Any], more: tuple[str, ...]) -> SeasonOptions:
    """Check the plan with the options of the command line in it.

    Raises
    ------
    ConfigError
        With a line per wrong key or value.
    """
    from visql_lib.config.load import parse_yaml, read_yaml, validated
    from visql_lib.errors import ConfigError
    from visql_lib.simulate.season_plan import SeasonOptions

    content = dict(read_yaml(plan)) if plan is not None else {}
    values = {key: value for key, value in given.items() if value is not None}
    for item in more:
        path, equals, text = item.partition("=")
        if not equals:
            raise click.UsageError(f"--set {item}: write KEY=VALUE")
        values[path] = parse_yaml(text, f"--set {path}")
    for path, value in values.items():
        *sections, name = path.split(".")
        place = content
        for section in sections:
            inner = place.get(section) or {}
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {path}: {section} has no keys below it")
            place[section] = dict(inner)
            place = place[section]
        place[name] = value
    return validated(SeasonOptions, content, str(plan) if plan is not None else "options")


def make_season_files(options: SeasonOptions, output: Path, overwrite: bool) -> None:
    """Simulate a season, write all of it, and say so.

    Raises
    ------
    RequestError
        If there are frames already, and they may not be replaced.
    """
    from visql_lib.instruments.model import load_instrument
    from visql_lib.simulate.season import make_season
    from visql_lib.simulate.season_camera import SeasonCamera, with_camera
    from visql_lib.simulate.season_files import raw_folder_of

    name = options.instrument or _CAMERA
    instrument = load_instrument(name)
    options = with_camera(options, instrument)
    season = make_season(options)
    raw = raw_folder_of(season, output)
    if not overwrite and raw.is_dir() and any(raw.iterdir()):
        raise RequestError(f"{raw}: holds files already; give --overwrite, or another folder")
    raw.mkdir(parents=True, exist_ok=True)
    _write_target(season, name, output)
    _write_frames(season, SeasonCamera(options, instrument), output)
    click.echo(f"{raw}: {len(season.frames)} frames made; their truth is in {output / 'truth'}")
    click.echo(f"{output / 'targets' / options.target.name}.yaml: the target's file")


def _write_target(season: Season, camera: str, output: Path) -> None:
    """Write the target's file."""
    import yaml

    from visql_lib.atomic import atomic_path
    from visql_lib.simulate.season_files import target_content

    path = output / "targets" / f"{season.options.target.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(target_content(season, camera), sort_keys=False, default_flow_style=None)
    with atomic_path(path) as temporary:
        temporary.write_text(f"# The target of a simulated season.\n{text}", encoding="utf-8")


def _write_frames(season: Season, camera: SeasonCamera, output: Path) -> None:
    """Write the frames, and their truth."""
    from visql_lib.atomic import atomic_path
    from visql_lib.simulate.season_files import raw_folder_of, write_frame
    from visql_lib.simulate.season_plan import VERSION
    from visql_lib.simulate.season_truth import frame_rows, joined, source_rows, star_rows
    from visql_lib.tables import write_table
    from visql_lib.tables.season_truth import SEASON_FRAMES, SEASON_SOURCES, SEASON_STARS

    truth, raw = output / "truth", raw_folder_of(season, output)
    truth.mkdir(parents=True, exist_ok=True)
    stage: dict[str, Any] = {"stage": "simulate-season", "stage_version": VERSION}
    write_table(truth / "frames.parquet", frame_rows(season), SEASON_FRAMES, **stage)
    write_table(truth / "stars.parquet", star_rows(season), SEASON_STARS, **stage)
    rows = []
    with progress("frames", len(season.frames)) as advance:
        for made in season.made():
            with atomic_path(raw / f"{made.exposure.name}.fits") as temporary:
                write_frame(made, camera, temporary)
            rows.append(source_rows(season, made))
            advance()
    write_table(truth / "sources.parquet", joined(rows), SEASON_SOURCES, **stage)
