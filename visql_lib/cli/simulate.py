"""``visql simulate``: raw exposures with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step

# Options of one exposure: flag, key in a plan, type, meaning with unit.
_OPTIONS: tuple[tuple[str, str, Any, str], ...] = (
    (
        "--type",
        "type",
        str,
        "An exposure class of the instrument (its first if not given), DARK, FLAT, BIAS or CHARGE.",
    ),
    ("--date", "date", str, "Start, UTC, such as 2024-07-13T03:28:40."),
    ("--ccds", "ccds", str, "CCDs, separated by commas, such as 3-3,3-4. [default: all]"),
    ("--seed", "seed", int, "Seed of sky, instrument and exposure."),
    ("--exptime", "exptime", float, "Exposure time [s], where the type does not imply it."),
    ("--ra", "ra", float, "Right ascension of the boresight [deg]."),
    ("--dec", "dec", float, "Declination of the boresight [deg]."),
    ("--pa", "pa", float, "Position angle [deg]."),
    ("--suffix", "suffix", str, "Ending of the file: .fits, .fits.gz or .fits.fz."),
    ("--ice", "sky.ice", float, "Flux lost at BP-RP 1.75 [mag]."),
    ("--jitter", "optics.jitter", float, "Gaussian added to the PSF [px]."),
    ("--cosmics", "radiation.cosmics", float, "Rate of particles, in units of the real one."),
    ("--xrays", "radiation.xrays", float, "Rate of X-rays in the lit region [1/s/Mpx]."),
    ("--truncate", "damage.truncate", float, "Keep only this fraction of the file."),
    ("--drop", "damage.drop", str, "Quadrants to leave out, separated by commas."),
    ("--blank", "damage.blank", str, "Primary keywords to leave blank, separated by commas."),
    ("--date-obs", "damage.date_obs", str, "A wrong DATE-OBS."),
)
_LISTS = ("ccds", "damage.drop", "damage.blank")


def _exposure_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for flag, _, kind, text in reversed(_OPTIONS):
        function = click.option(flag, type=kind, default=None, help=text)(function)
    return function


@step(
    "simulate",
    "Simulate raw exposures with known truth: those of a PLAN (YAML), or one given by options. Frames that "
    "were made with the same options before are kept. Truth tables go to the subfolder truth. A plan with "
    "the key guide_night is a night of a guide camera.",
    "visql simulate -o raw --type long --date 2024-07-13T03:28:40 --ccds 3-3,3-4 --seed 1",
)
@click.argument("plan", type=INPUT, required=False)
@output_option("Folder of the frames.", FOLDER, "FOLDER")
@_exposure_options
@click.option("--shuffle", is_flag=True, default=None, help="Write the quadrants in random order.")
@click.option(
    "--set",
    "more",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other option of an exposure, such as sky.stars=2 or detector.noise=false.",
)
@click.option("--instrument", help="Instrument; default: from the plan, or else from the settings.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Number of processes.")
@click.option(
    "--overwrite", is_flag=True, help="Replace existing frames, even those not made by the simulator."
)
def command(
    plan: Path | None,
    output: Path,
    shuffle: bool | None,
    more: tuple[str, ...],
    instrument: str | None,
    jobs: int,
    overwrite: bool,
    config: Path | None,
    **given: Any,
) -> None:
    """Read a plan or options, simulate, write frames and truth."""
    from visql_lib.cli.simulate_guide import KEY, guide_night_options, make_guide_night
    from visql_lib.cli.simulate_night import make_night
    from visql_lib.config.load import read_yaml, validated
    from visql_lib.pipelines.vis.stages import simulate as stage
    from visql_lib.products.context import Context
    from visql_lib.simulate.night_plan import NightOptions
    from visql_lib.simulate.plan import exposures_of
    from visql_lib.simulate.sun_plan import goes_days

    own = _nested({**given, "shuffle": shuffle}, more)
    if plan is not None and own:
        raise click.UsageError("give either a plan or the options of one exposure, not both")
    content = read_yaml(plan) if plan is not None else {"exposures": [own]}
    if content.get("kind") == "night":
        make_night(validated(NightOptions, content, str(plan)), output, overwrite)
        return
    if KEY in content:
        make_guide_night(guide_night_options(content, str(plan), instrument), output, overwrite)
        return
    exposures = exposures_of(content, str(plan) if plan is not None else "options")
    days = goes_days(content, str(plan))
    settings = settings_of(config)
    name = str(instrument or content.get("instrument") or settings.instrument)
    settings = settings.model_copy(update={"instrument": name})
    context = Context.using(settings, (), stage.FACTS, progress)
    inputs = stage.SimulateInputs(tuple(exposures), output, tuple(days), jobs, overwrite)
    made = stage.run(context, inputs).frames
    click.echo(f"{output}: {len(made)} frames made, {len(exposures) - len(made)} kept")
    if days:
        click.echo(f"{output / 'goes'}: {len(days)} days of GOES data made")


def _nested(given: Mapping[str, Any], more: tuple[str, ...]) -> dict[str, Any]:
    """Turn options into the mapping a plan would hold."""
    from visql_lib.config.load import parse_yaml
    from visql_lib.config.units import names_in

    paths = {flag.removeprefix("--").replace("-", "_"): path for flag, path, _, _ in _OPTIONS}
    flat = {paths.get(key, key): value for key, value in given.items() if value is not None}
    for item in more:
        key, equals, text = item.partition("=")
        if not equals:
            raise click.UsageError(f"--set {item}: write KEY=VALUE")
        flat[key] = parse_yaml(text, f"--set {key}")
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        if key in _LISTS and isinstance(value, str):
            value = names_in(value)
        section, dot, name = key.partition(".")
        if dot:
            nested.setdefault(section, {})[name] = value
        else:
            nested[key] = value
    return nested
