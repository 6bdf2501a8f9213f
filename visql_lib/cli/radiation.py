"""`visql radiation`: catalogue -> counts, rates and maps of cosmics, X-rays and protons."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import (
    INPUT,
    OUTPUT,
    PREFIX,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of,
    step,
)


@step(
    "radiation",
    """Count the cosmic rays, X-rays and protons of the catalogue CATALOGUE.

    Writes numbers and rates [cm-2 s-1] per quadrant with Poisson errors. The metadata
    contain the rates of the exposure, the area illuminated by X-rays [cm2], and the count
    of the tenth-fullest bin minus that of the median bin. --quadrants tells which quadrants
    were read, and in which of them nothing could be detected. Definitions:
    docs/measurements.md.""",
    "visql radiation E.cat.parquet --quadrants E_quadrants.parquet -o E_radiation.parquet"
    " --maps E_radmaps.parquet --pictures E",
)
@click.argument("catalogue", type=INPUT)
@output_option("Particles per quadrant (Parquet).")
@click.option("--quadrants", type=INPUT, metavar="TABLE", help="Table of quadrants of the exposure.")
@click.option("--maps", type=OUTPUT, metavar="FILE", help="Also write the maps and the radius-flux diagram.")
@click.option(
    "--pictures",
    type=PREFIX,
    metavar="PREFIX",
    help="Also draw PREFIX_{cosmiX,cosmics,protons,rf}.png.",
)
@click.option("--sheet", type=INPUT, metavar="TSV", help="Exposure sheet: also draw PREFIX_goes.png.")
@click.option(
    "--goes",
    type=INPUT,
    multiple=True,
    metavar="SERIES",
    help="Solar X-ray flux for PREFIX_goes.png, one day per file.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 24, min_open=True),
    help="Time shown in PREFIX_goes.png before and after the exposure.",
)
@RECORD_FAILURE
def command(
    catalogue: Path,
    output: Path,
    quadrants: Path | None,
    maps: Path | None,
    pictures: Path | None,
    sheet: Path | None,
    goes: tuple[Path, ...],
    hours: float | None,
    record_failure: bool,
    config: Path | None,
) -> None:
    """Read, count, write, draw."""
    if sheet is not None and pictures is None:
        raise click.UsageError("--sheet needs --pictures")
    from visql_lib.cli.outputs import provenance, save_picture
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.radiation import RADIATION, RADIATION_MAPS
    from visql_lib.pipelines.vis.stages.particles import ParticleInputs, figures, run
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["particles"], settings_of(config), progress, record_failure)
    made = run(context, ParticleInputs(catalogue, quadrants))
    settings, instrument = context.settings, context.instrument
    inputs = [catalogue, *([quadrants] if quadrants else [])]
    readout = {"readout": instrument.detector.readout_time}
    origin = provenance("radiation", inputs, settings.radiation, instrument.geometry, readout)
    write_table(output, made.quadrants, RADIATION, meta=made.meta, **origin)
    if maps is not None:
        write_table(maps, made.maps, RADIATION_MAPS, meta=made.meta, **origin)
    if pictures is None:
        return
    for ending, figure in figures(context, made):
        path = pictures.with_name(pictures.name + ending)
        save_picture(figure, path, settings.pictures.dpi, "radiation_pictures", "radiation")
    if sheet is not None:
        from visql_lib.pipelines.vis.stages import goes_picture

        path = pictures.with_name(f"{pictures.name}_goes.png")
        context = Context.using(settings, goes_picture.SETTINGS, goes_picture.FACTS)
        wanted = goes_picture.GoesPictureInputs(sheet, str(made.meta["exposure"]), goes, hours)
        save_picture(goes_picture.run(context, wanted).figure, path, settings.pictures.dpi, "goes_pictures")
