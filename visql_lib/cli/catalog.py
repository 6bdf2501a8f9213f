"""`visql catalog`: raw frame -> source catalogue, levels, previews."""

from __future__ import annotations

import ctypes
from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, PREFIX, RECORD_FAILURE, output_option, settings_of, step

PREVIEWS = click.option(
    "--previews",
    type=PREFIX,
    metavar="PREFIX",
    help="Also draw PREFIX.png (thumbnail) and PREFIX_{tl,tc,tr,cl,cc,cr,ll,lc,lr}.png (zooms).",
)
QUADRANTS = click.option(
    "--quadrants",
    type=OUTPUT,
    metavar="FILE",
    help="Also write bias level, noise and background of every quadrant [ADU].",
)


# Of malloc.h: pages are given back, and arrays get pages of their own, only beyond so many bytes; arenas.
_TRIM, _MMAP, _ARENAS = (-1, 400_000_000), (-3, 64_000_000), (-8, 1)


@step(
    "catalog",
    """Detect and measure the sources of the raw frame RAW.

    Fluxes are in ADU, sizes in px, positions one-based in the full quadrant
    array [px] and in the focal plane [deg], and on the sky [deg] where the
    frame has a WCS. RAW may be .fits, .fits.gz or .fits.fz.
    Columns: docs/tables.md, definitions: docs/measurements.md.""",
    "visql catalog raw/E.fits -o E.cat.parquet --previews E",
)
@click.argument("raw", type=INPUT)
@output_option("Catalogue (Parquet).")
@QUADRANTS
@PREVIEWS
@RECORD_FAILURE
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Quadrants to detect in at once; each more takes some 60 MB.",
)
def command(
    raw: Path,
    output: Path,
    quadrants: Path | None,
    previews: Path | None,
    record_failure: bool,
    threads: int,
    config: Path | None,
) -> None:
    """Read, measure, write."""
    from visql_lib.cli import frame_pass, outputs
    from visql_lib.frames import load_instrument
    from visql_lib.tables import CATALOGUE, SKY_CATALOGUE, write_table

    _hold_memory(threads)
    settings = settings_of(config)
    found, meta = frame_pass.pass_over(raw, settings, settings.catalog, record_failure, threads)
    instrument = load_instrument(settings.instrument)
    facts = frame_pass.facts_of(instrument)
    origin = outputs.provenance("catalog", [raw], settings.catalog, settings.calibration, *facts)
    schema = CATALOGUE if instrument.has_grid else SKY_CATALOGUE
    columns = found.catalogue if found is not None and found.catalogue else schema.empty()
    write_table(output, columns, schema, meta=meta, **origin)
    columns.clear()  # a million rows that the previews need no more
    if quadrants is not None:
        frame_pass.write_quadrants(found, quadrants, meta, **origin)
    if previews is not None:
        frame_pass.write_previews(found, previews, meta["exposure"], settings)


def _hold_memory(threads: int) -> None:
    """Tune glibc's memory allocation; other C libraries need no tuning.

    One thread: use the arrays of one quadrant for the next; giving their pages back
    every time costs a second of an exposure. Several: share one arena; each
    thread's own would keep 100 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for option in (_TRIM, _MMAP) if threads == 1 else (_ARENAS,):
        if mallopt is not None:
            mallopt(*option)
