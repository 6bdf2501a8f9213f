"""`visql lc-pictures`: frames, a set or a target of the light curves, drawn from their products."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, OUTPUT, output_option, step

_THERE = click.Path(exists=True, path_type=Path)


@step(
    "lc-pictures",
    """Draw frames, a set or a target from their products; what is missing is said in the pictures.

frame: PATHS are stamps of frames (FRAME_stamps.fits) or tables of a night with FRAME; of each frame the
target (data, model, residual in sigma, masks, PSF, surface) and its PSF stars, into FOLDER/FRAME.
set: PATH is the folder of a set; coefficients, stars, histograms, conditions, residuals, galaxy, montage.
target: PATH is the folder of a target; light curves by frame and night, with --colour, the six errors.""",
    "visql lc-pictures target results/targets/J1206 -o results/targets/J1206/pictures --colour seeing",
)
@click.argument("what", type=click.Choice(["frame", "set", "target"]))
@click.argument("paths", nargs=-1, required=True, type=_THERE)
@output_option("Folder of the pictures; of frames, that of all frames.", FOLDER, "FOLDER")
@click.option(
    "--colour",
    "--color",
    "colour",
    default="seeing",
    metavar="COLUMN",
    help="Column of the fluxes that colours points of a target: seeing, airmass, sky ... [seeing].",
)
@click.option("--list", "listed", type=OUTPUT, metavar="FILE", help="Also write a list of the pictures.")
def command(
    what: str, paths: tuple[Path, ...], output: Path, colour: str, listed: Path | None, config: Path | None
) -> None:
    """Draw and write, one picture at a time."""
    from typing import cast

    from visql_lib.atomic import atomic_path
    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.errors import RequestError
    from visql_lib.pictures.save import save_picture
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_pictures import LightPictureInputs, run
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.products.context import Context

    if what != "frame" and len(paths) > 1:
        raise RequestError(f"lc-pictures {what}: one folder at a time, {len(paths)} were given")
    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config))
    context = Context.using(settings, ("pictures",), (), progress)
    made = []
    for name, figure in run(context, LightPictureInputs(what, paths, colour)):
        save_picture(figure, output / name, settings.pictures.dpi, {"lc_pictures": VERSIONS["lc_pictures"]})
        made.append(name)
    if listed is not None:
        with atomic_path(listed) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in ["PICTURE", *made]), encoding="utf-8")
