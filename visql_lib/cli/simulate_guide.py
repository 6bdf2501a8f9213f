"""A night of a guide camera of ``visql simulate``: frames, calibrations, a copy of Gaia, truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import progress
from visql_lib.errors import RequestError

if TYPE_CHECKING:
    from visql_lib.simulate.guide_night import GuideNight
    from visql_lib.simulate.guide_plan import GuideNightOptions

KEY = "guide_night"  # of a plan


def guide_night_options(
    content: Mapping[str, Any], source: str, instrument: str | None = None
) -> GuideNightOptions:
    """Check a plan of a night of a guide camera; `instrument` is used instead of the plan's.

    Raises
    ------
    ConfigError
        With a line per wrong key or value.
    """
    from visql_lib.config.load import validated
    from visql_lib.errors import ConfigError
    from visql_lib.simulate.guide_plan import GuideNightOptions

    if others := sorted(set(content) - {KEY}):
        raise ConfigError(f"{source}: {others[0]}: no key beside {KEY}; write it below")
    own = content[KEY] or {}
    if not isinstance(own, Mapping):
        raise ConfigError(f"{source}: {KEY}: write keys and values below it")
    options = validated(GuideNightOptions, own, f"{source}: {KEY}")
    if not (name := instrument or options.instrument):
        raise ConfigError(f"{source}: {KEY}: name the camera (instrument), or give --instrument")
    return options.model_copy(update={"instrument": name})


def make_guide_night(options: GuideNightOptions, output: Path, overwrite: bool) -> None:
    """Simulate a night, write all of it, and say so.

    Raises
    ------
    RequestError
        If there are frames already, and they may not be replaced.
    """
    from visql_lib.instruments.model import load_instrument
    from visql_lib.simulate.guide_night import GuideNight

    raw = output / "raw"
    if not overwrite and raw.is_dir() and any(raw.iterdir()):
        raise RequestError(f"{raw}: holds files already; give --overwrite, or another folder")
    night = GuideNight(options, load_instrument(options.instrument))
    _write_reference(night, output)
    _write_frames(night, output)
    click.echo(f"{raw}: {len(night.exposures)} frames made; their truth is in {output / 'truth'}")
    click.echo(f"{output / 'calibration'}: {len(night.calibrations)} frames for the masters")


def _write_reference(night: GuideNight, output: Path) -> None:
    """Write what does not change from frame to frame: the stars as Gaia has them, the chip."""
    from visql_lib.atomic import atomic_path
    from visql_lib.simulate.guide_plan import VERSION
    from visql_lib.tables import write_table
    from visql_lib.tables.truth import GUIDE_BAD_PIXELS

    for folder in ("raw", "gaia", "truth"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    for name, content in night.gaia():
        with atomic_path(output / "gaia" / name) as temporary:
            content.writeto(temporary, overwrite=True)
    with atomic_path(output / "truth" / "camera.fits") as temporary:
        night.camera_truth().writeto(temporary, overwrite=True)
    stage: dict[str, Any] = {"stage": "simulate", "stage_version": VERSION}
    write_table(output / "truth" / "bad_pixels.parquet", night.bad_pixels(), GUIDE_BAD_PIXELS, **stage)


def _write_frames(night: GuideNight, output: Path) -> None:
    """Write the frames, and the truth of all of them."""
    import numpy as np

    from visql_lib.atomic import atomic_path
    from visql_lib.simulate.guide_night import named
    from visql_lib.simulate.guide_plan import VERSION
    from visql_lib.tables import write_table
    from visql_lib.tables.truth import GUIDE_STARS, GUIDE_STREAKS, guide_frames

    rows, stars, streaks = [], [], []
    with progress("frames", len(night.calibrations) + len(night.exposures)) as advance:
        for made in night.made():
            for path, content in night.files(made):
                (output / path).parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(output / path) as temporary:
                    content.writeto(temporary, overwrite=True)
            rows.append({"FILE": made.path.name, **made.frame.truth})
            stars.append(named(made.frame.stars, made.path.name))
            streaks.append(named(made.frame.streaks, made.path.name))
            advance()
    schema = guide_frames(len(night.camera.facts.apertures))
    texts = {c.name for c in schema.columns if c.dtype == "str"}
    frames: dict[str, Any] = {
        name: np.array([row[name] for row in rows], dtype=object if name in texts else None)
        for name in (rows[0] if rows else ())
    }
    stage: dict[str, Any] = {"stage": "simulate", "stage_version": VERSION}
    truth = output / "truth"
    write_table(truth / "frames.parquet", frames or schema.empty(), schema, **stage)
    for name, parts, own in (("stars", stars, GUIDE_STARS), ("streaks", streaks, GUIDE_STREAKS)):
        columns = {key: np.concatenate([part[key] for part in parts]) for key in (parts[0] if parts else ())}
        write_table(truth / f"{name}.parquet", columns or own.empty(), own, **stage)
