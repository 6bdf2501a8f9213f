"""``visql pictures``: the pictures of one exposure, from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, PREFIX, output_option, progress, settings_of, step
from visql_lib.pipelines.vis.registry import REGISTRY

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.products.context import Context


@step(
    "pictures",
    "Draw the pictures of one exposure from its TABLES, in any order: catalogue, stars, moments, stamps,"
    " reference stars, flux ratios, solution, colours."
    " Each table says itself what it is. Drawn is what the given tables allow, or what --only asks for:"
    " radius-flux diagrams [px, ADU], star cut-outs, moments and their maps over the focal plane [deg],"
    " reference stars [deg], astrometric residuals [px], VIS/Gaia flux ratios against BP-RP [mag].",
    "visql pictures E.cat.parquet E_stars2.parquet E_stars2_mom.parquet -o E\n"
    "  visql pictures E_stars2_mom.parquet -o E\n"
    "  visql pictures FLAT.cat.parquet FLAT_stars2.parquet --only chimney2 -o FLAT",
)
@click.argument("tables", type=INPUT, nargs=-1, required=True)
@click.option("--stamps", type=INPUT, metavar="TABLE", help="Cut-outs of stars; may also be one of TABLES.")
@click.option("--cutout", type=INPUT, metavar="PNG", help="A zoom of this exposure, shown in the iq picture.")
@click.option(
    "--only",
    type=click.Choice(list(REGISTRY.drawings)),
    multiple=True,
    help="Draw this picture; may be given several times. Default: all the tables allow.",
)
@output_option("Beginning of the pictures' names: PREFIX_chimney.png and so on.", PREFIX, "PREFIX")
def command(
    tables: tuple[Path, ...],
    stamps: Path | None,
    cutout: Path | None,
    only: tuple[str, ...],
    output: Path,
    config: Path | None,
) -> None:
    """Draw the pictures of one exposure."""
    from visql_lib.products.context import Context

    # A frame without stars, or without its raw frame, has fewer pictures that depend on fewer settings.
    context = Context.using(settings_of(config), ("pictures",), REGISTRY["pictures"].facts, progress)
    draw(context, [*tables, *([stamps] if stamps else [])], output, only, cutout)


def draw(
    context: Context[VisSettings],
    tables: Sequence[Path],
    prefix: Path,
    only: Sequence[str] = (),
    cutout: Path | None = None,
) -> None:
    """Draw what some tables allow, or only some pictures, and write them."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.stages.pictures import run
    from visql_lib.steps.pictures import PictureInputs

    made = run(context, PictureInputs(tuple(tables), prefix.name, tuple(only), cutout))
    for picture in made.pictures:
        path = prefix.with_name(f"{prefix.name}_{picture.name}.png")
        save_picture(picture.figure, path, context.settings.pictures.dpi, picture.stage, inputs=made.sources)
