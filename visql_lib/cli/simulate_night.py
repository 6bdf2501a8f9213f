"""``visql simulate-night``: a night of an ordinary camera with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, step
from visql_lib.errors import RequestError

if TYPE_CHECKING:
    from visql_lib.simulate.night import SimulatedNight
    from visql_lib.simulate.night_plan import NightOptions

_DIALECTS = ("maxim", "nina", "sbig", "acp", "observatory", "mosaic")


@step(
    "simulate-night",
    "Simulate a night of an ordinary camera: biases, darks (an odd one among them), twilight flats with "
    "trails of stars, lights of two targets, shifted and turned. Frames go to the subfolder raw, the truth "
    "to truth: camera.fits (bias, offset, rate, flats, bad pixels), frames, stars and cosmics. PLAN (YAML) "
    "and options change the defaults.",
    "visql simulate-night -o night --dialect mosaic --seed 1",
)
@click.argument("plan", type=INPUT, required=False)
@output_option("Folder of the night.", FOLDER, "FOLDER")
@click.option("--seed", type=click.IntRange(0), help="Seed of camera, sky and noise.")
@click.option("--dialect", type=click.Choice(_DIALECTS), help="How headers are written; see docs.")
@click.option(
    "--set", "more", multiple=True, metavar="KEY=VALUE", help="Any other option, such as frames.biases=5."
)
@click.option("--overwrite", is_flag=True, help="Replace frames that are there.")
def command(
    plan: Path | None,
    output: Path,
    seed: int | None,
    dialect: str | None,
    more: tuple[str, ...],
    overwrite: bool,
    config: Path | None,
) -> None:
    """Read plan and options, simulate, write frames and truth."""
    make_night(_options(plan, {"seed": seed, "dialect": dialect}, more), output, overwrite)


def make_night(options: NightOptions, output: Path, overwrite: bool) -> None:
    """Simulate a night, write frames and truth, and say so.

    Raises
    ------
    RequestError
        If there are frames already, and they may not be replaced.
    """
    from visql_lib.simulate.night import SimulatedNight, raw_folder

    night = SimulatedNight(options)
    raw = raw_folder(output)
    if not overwrite and raw.is_dir() and any(raw.iterdir()):
        raise RequestError(f"{raw}: holds files already; give --overwrite, or another folder")
    raw.mkdir(parents=True, exist_ok=True)
    _write(night, output)
    click.echo(f"{raw}: {len(night.frames)} frames made; their truth is in {output / 'truth'}")


def _options(plan: Path | None, given: dict[str, Any], more: tuple[str, ...]) -> NightOptions:
    """Check the plan with the options of the command line in it."""
    from visql_lib.config.load import parse_yaml, read_yaml, validated
    from visql_lib.simulate.night_plan import NightOptions

    content = dict(read_yaml(plan)) if plan is not None else {}
    content |= {key: value for key, value in given.items() if value is not None}
    for item in more:
        path, equals, text = item.partition("=")
        section, dot, name = path.partition(".")
        if not equals:
            raise click.UsageError(f"--set {item}: write KEY=VALUE")
        value: Any = parse_yaml(text, f"--set {path}")
        content[section] = {**content.get(section, {}), name: value} if dot else value
    return validated(NightOptions, content, str(plan) if plan is not None else "options")


def _write(night: SimulatedNight, output: Path) -> None:
    """Write the truth, then frame by frame, so that no frame is without truth."""
    import numpy as np

    from visql_lib.atomic import atomic_path
    from visql_lib.simulate.night import cosmic_columns, raw_folder, truth_folder
    from visql_lib.simulate.night_plan import VERSION
    from visql_lib.tables import write_table
    from visql_lib.tables.truth import NIGHT_COSMICS, NIGHT_FRAMES, NIGHT_STARS

    truth = truth_folder(output)
    truth.mkdir(parents=True, exist_ok=True)
    stage: dict[str, Any] = {"stage": "simulate-night", "stage_version": VERSION}
    with atomic_path(truth / "camera.fits") as temporary:
        night.camera_truth().writeto(temporary, overwrite=True)
    write_table(truth / "frames.parquet", night.frame_columns(), NIGHT_FRAMES, **stage)
    write_table(truth / "stars.parquet", night.star_columns(), NIGHT_STARS, **stage)
    hits = []
    with progress("frames", len(night.frames)) as advance:
        for made in night.made():
            with atomic_path(raw_folder(output) / made.name) as temporary:
                made.hdus.writeto(temporary, overwrite=True)
            hits.append(cosmic_columns(made.name, made.cosmics))
            advance()
    columns = {key: np.concatenate([one[key] for one in hits]) for key in hits[0]} if hits else {}
    write_table(truth / "cosmics.parquet", columns or NIGHT_COSMICS.empty(), NIGHT_COSMICS, **stage)
