"""`visql lc-stack`: the good frames of a set -> deep stack and finding chart; also stacks of nights."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, INPUT, OUTPUT, output_option, progress, step
from visql_lib.cli.lightcurves import SET, light_settings_of, set_of


@step(
    "lc-stack",
    """Stack the good frames of a set in the pixels of the reference, and draw the finding chart.

TABLES are frames_SET, transforms_SET, medcoeff_SET and stars_SET.parquet, in any order; the frames' products
lie beside them, in frames/FRAME. Frames within the limits `deep` of the settings are resampled, multiplied
by their coefficients and combined by a clipped mean. With --nights all frames of each night are, too.""",
    "visql lc-stack {frames,transforms,medcoeff,stars}_R.parquet -o stack_R.fits --chart chart_R.png "
    "--reference ../reference.parquet --target J1206 --set R",
)
@click.argument("tables", nargs=-1, required=True, type=INPUT)
@output_option("The deep stack (FITS: image, ERR, N).")
@click.option("--chart", type=OUTPUT, metavar="FILE", help="Finding chart (PNG).")
@click.option("--nights", type=FOLDER, metavar="FOLDER", help="Also stacks of nights: FOLDER/NIGHT.fits.")
@click.option("--reference", required=True, type=INPUT, metavar="FILE", help="The target's reference.")
@click.option("--target", required=True, metavar="NAME", help="The target's file, or its name.")
@SET
def command(
    tables: tuple[Path, ...],
    output: Path,
    chart: Path | None,
    nights: Path | None,
    reference: Path,
    target: str,
    set_name: str | None,
    config: Path | None,
) -> None:
    """Stack, write images and chart."""
    from visql_lib.images.writing import write_image
    from visql_lib.pictures.save import save_picture
    from visql_lib.pipelines.lightcurves.context import camera_context
    from visql_lib.pipelines.lightcurves.given import given_tables
    from visql_lib.pipelines.lightcurves.pictures.chart import finding_chart
    from visql_lib.pipelines.lightcurves.reference_file import read_reference
    from visql_lib.pipelines.lightcurves.stages.lc_stack import (
        NEEDED,
        SECTIONS,
        STAGE,
        StackInputs,
        chart_stars,
        night_stacks,
        run,
    )
    from visql_lib.pipelines.lightcurves.target_file import load_target
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables.store import read_table

    aim, given = load_target(target), given_tables(tables, NEEDED)
    name = set_of(list(aim.sets), set_name, target)
    context = camera_context(light_settings_of(config), aim.camera(name), SECTIONS, progress)
    inputs = StackInputs(given, reference, name)
    stages = {STAGE: VERSIONS[STAGE]}
    made = run(context, inputs)
    write_image(output, made.image, stages)
    if chart is not None:
        known = read_reference(reference)
        title = f"{aim.name}, {name}: {len(made.frames)} frames"
        figure = finding_chart(
            made.image.data,
            chart_stars(read_table(given["stars"])),
            known.points,
            known.fwhm,
            title,
            known.wcs,
        )
        save_picture(figure, chart, None, stages)
    if nights is not None:
        nights.mkdir(parents=True, exist_ok=True)
        for night, stack in night_stacks(context, inputs):
            write_image(nights / f"{night}.fits", stack.image, stages)
