"""`visql preview`: raw frame of any type -> thumbnail, zooms, levels."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.catalog import QUADRANTS
from visql_lib.cli.common import INPUT, PREFIX, RECORD_FAILURE, output_option, settings_of, step


@step(
    "preview",
    """Draw thumbnail and zooms of the raw frame RAW, of any type.

    Writes PREFIX.png and PREFIX_{tl,tc,tr,cl,cc,cr,ll,lc,lr}.png; grey scale
    in ADU. Nothing is detected.""",
    "visql preview raw/E.fits -o E --quadrants E_quadrants.parquet",
)
@click.argument("raw", type=INPUT)
@output_option("Pictures: the first part of their names.", PREFIX, "PREFIX")
@QUADRANTS
@RECORD_FAILURE
def command(
    raw: Path, output: Path, quadrants: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, bin, draw."""
    from visql_lib.cli import frame_pass, outputs
    from visql_lib.frames import load_instrument

    settings = settings_of(config)
    found, meta = frame_pass.pass_over(raw, settings, None, record_failure)
    if quadrants is not None:
        instrument = load_instrument(settings.instrument)
        facts = frame_pass.facts_of(instrument)
        origin = outputs.provenance("preview", [raw], settings.preview, settings.calibration, *facts)
        frame_pass.write_quadrants(found, quadrants, meta, **origin)
    frame_pass.write_previews(found, output, meta["exposure"], settings)
