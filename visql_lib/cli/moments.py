"""`visql moments`: raw frame and stars -> PSF moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    INPUT,
    OUTPUT,
    RECORD_FAILURE,
    output_option,
    progress,
    recorded,
    settings_of,
    step,
)
from visql_lib.errors import TableError

if TYPE_CHECKING:
    from visql_lib.frames import Instrument
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.moments import ExposureMoments
    from visql_lib.tables import Table


@step(
    "moments",
    """Measure the PSF moments of the stars STARS on the raw frame RAW.

    R2 is in px^2; e1, e2, tr1, tr2, com1, com2 are dimensionless; the centroids XIMAGE,
    YIMAGE are in px and one-based. Definitions: docs/measurements.md.""",
    "visql moments raw/E.fits E_stars2.parquet -o E_stars2_mom.parquet",
)
@click.argument("raw", type=INPUT)
@click.argument("stars", type=INPUT)
@output_option("Moments (Parquet).")
@click.option(
    "--stamps",
    type=OUTPUT,
    metavar="FILE",
    help="Also write cut-outs of stars, evenly spread over the field.",
)
@RECORD_FAILURE
def command(
    raw: Path, stars: Path, output: Path, stamps: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, measure, write."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.frames import load_instrument
    from visql_lib.frames.names import stem_of
    from visql_lib.pipelines.vis.stages.moments import STAR_COLUMNS
    from visql_lib.tables import MOMENTS, STAMPS, read_table, write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    meta: dict[str, Any] = {"exposure": stars.name.removesuffix("_stars2.parquet")}
    found = None
    with recorded(record_failure, meta):
        table = read_table(stars, STAR_COLUMNS)
        meta |= table.meta
        if meta["exposure"] != stem_of(raw.name):
            raise TableError(f"{stars}: stars of {meta['exposure']}, not of {raw.name}")
        if table.n_rows:  # else there is nothing to open the frame for
            found = _measure(raw, table, instrument, settings, stars)
    origin = provenance("moments", [raw, stars], settings.moments, instrument.geometry)
    write_table(output, found.moments if found else MOMENTS.empty(), MOMENTS, meta=meta, **origin)
    if stamps is not None:
        write_table(stamps, found.stamps if found else STAMPS.empty(), STAMPS, meta=meta, **origin)


def _measure(
    raw: Path, table: Table, instrument: Instrument, settings: VisSettings, stars: Path
) -> ExposureMoments | None:
    """Measure the moments; None if no star is far enough from the edges."""
    from visql_lib.cli.frame_pass import check_same_frame
    from visql_lib.frames import open_exposure
    from visql_lib.pipelines.vis.stages.moments import measure_exposure_moments

    with (
        open_exposure(raw, instrument) as exposure,
        progress(exposure.stem, len(exposure.layouts)) as advance,
    ):
        found = measure_exposure_moments(exposure, table, settings.moments, advance)
        check_same_frame(exposure, table.meta, stars)
    return found if found.moments else None
