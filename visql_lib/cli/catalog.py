"""`visql catalog`: raw frame -> source catalogue, levels, previews."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    INPUT,
    OUTPUT,
    PREFIX,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of_any,
    step,
)

if TYPE_CHECKING:
    from visql_lib.config import PreviewSettings
    from visql_lib.steps.catalog import FrameOutputs

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
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.products.context import Context
    from visql_lib.steps.catalog import CatalogInputs, run
    from visql_lib.steps.frame import measuring_facts
    from visql_lib.tables import CATALOGUE, SKY_CATALOGUE, write_table

    _hold_memory(threads)
    context = Context.of(REGISTRY["catalog"], settings_of_any(config), progress, record_failure)
    made, settings = run(context, CatalogInputs(raw, threads)), context.settings
    facts = measuring_facts(context.instrument)
    origin = provenance("catalog", [raw], settings.catalog, settings.calibration, *facts)
    schema = CATALOGUE if context.instrument.has_grid else SKY_CATALOGUE
    columns = made.found.catalogue if made.found is not None and made.found.catalogue else schema.empty()
    write_table(output, columns, schema, meta=made.meta, **origin)
    columns.clear()  # a million rows that the previews need no more
    if quadrants is not None:
        write_quadrants(made, quadrants, **origin)
    if previews is not None:
        write_previews(made, previews, settings.preview)


def write_quadrants(made: FrameOutputs, path: Path, **provenance: Any) -> None:
    """Write the table of quadrants."""
    from visql_lib.tables import QUADRANTS, write_table

    columns = made.found.quadrants if made.found is not None and made.found.quadrants else QUADRANTS.empty()
    write_table(path, columns, QUADRANTS, meta=made.meta, **provenance)


def write_previews(made: FrameOutputs, prefix: Path, settings: PreviewSettings) -> None:
    """Write thumbnail and zooms; one pixel of the picture is one of the detector."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.steps.preview import preview_figures

    for ending, figure in preview_figures(made, settings):
        save_picture(figure, prefix.with_name(prefix.name + ending), None, "preview")


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
