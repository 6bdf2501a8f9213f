"""`visql moments`: raw frame and stars -> PSF moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, progress, settings_of, step

if TYPE_CHECKING:
    from visql_lib.config import Settings
    from visql_lib.steps.moments import ExposureMoments
    from visql_lib.tables import Table


@step(
    "moments",
    """Measure the PSF moments of the stars STARS on the raw frame RAW.

    R2 in px^2; e1, e2, tr1, tr2, com1, com2 without unit; centroids XIMAGE,
    YIMAGE one-based [px]. Definitions: docs/measurements.md.""",
    "visql moments raw/E.fits E_stars2.parquet -o E_stars2_mom.parquet",
)
@click.argument("raw", type=INPUT)
@click.argument("stars", type=INPUT)
@output_option("Moments (Parquet).")
@click.option(
    "--stamps", type=OUTPUT, metavar="FILE", help="Also write cut-outs of stars spread over the field."
)
def command(raw: Path, stars: Path, output: Path, stamps: Path | None, config: Path | None) -> None:
    """Read, measure, write."""
    from visql_lib.cli.frame_pass import provenance
    from visql_lib.steps.moments import STAR_COLUMNS
    from visql_lib.tables import MOMENTS, STAMPS, read_table, write_table

    settings = settings_of(config)
    table = read_table(stars, STAR_COLUMNS)
    found = _measure(raw, table, settings)
    origin = provenance("moments", [raw, stars], settings.moments)
    write_table(output, found.moments or MOMENTS.empty(), MOMENTS, meta=table.meta, **origin)
    if stamps is not None:
        write_table(stamps, found.stamps or STAMPS.empty(), STAMPS, meta=table.meta, **origin)


def _measure(raw: Path, table: Table, settings: Settings) -> ExposureMoments:
    from visql_lib.frames import load_instrument, open_exposure
    from visql_lib.steps.moments import ExposureMoments, measure_exposure_moments

    if not table.n_rows:  # no stars, or a frame that could not be read: nothing to open it for
        return ExposureMoments({}, {})
    with (
        open_exposure(raw, load_instrument(settings.instrument)) as exposure,
        progress(exposure.stem, len(exposure.layouts)) as advance,
    ):
        return measure_exposure_moments(exposure, table, settings.moments, advance)
