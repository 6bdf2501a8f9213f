"""`visql gaia-project`: Gaia stars -> focal-plane coordinates of one exposure."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, output_option, settings_of, step

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.gaia_project import ProjectInputs
    from visql_lib.products.context import Context


@step(
    "gaia-project",
    """Project the Gaia stars of CATALOGUE (one or more files) onto the focal plane.

    CATALOGUE is a tile made by `visql gaia-tile`, or any FITS, Parquet, CSV or VOTable
    file with source number, RA, Dec [deg, epoch 2016.0], G and BP-RP. Boresight and
    position angle are in deg. With --date, positions are propagated with the proper
    motions. The result is in focal-plane degrees: docs/tables.md, gaia_stars.""",
    "visql gaia-project gaia/8123.parquet --ra 56.2457 --dec -55.7142 --pa 46.2177"
    " --date 2024-07-13T03:28:40 -o E_stars2_gaia.parquet",
)
@click.argument("catalogue", type=INPUT, nargs=-1, required=True)
@click.option(
    "--ra", type=click.FloatRange(-360, 360), required=True, help="Right ascension of the boresight [deg]."
)
@click.option(
    "--dec", type=click.FloatRange(-90, 90), required=True, help="Declination of the boresight [deg]."
)
@click.option("--pa", type=float, default=float("nan"), metavar="DEG", help="Position angle, if known.")
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]),
    help="Date and time of the exposure (UTC).",
)
@click.option("--exposure", default="", metavar="NAME", help="Name of the exposure, stored in the table.")
@click.option(
    "--record-failure",
    is_flag=True,
    help="If a catalogue is missing or failed, write an empty table with the reason, and exit with 0.",
)
@output_option("Reference stars (Parquet).")
def command(
    catalogue: tuple[Path, ...],
    ra: float,
    dec: float,
    pa: float,
    date: datetime | None,
    exposure: str,
    record_failure: bool,
    output: Path,
    config: Path | None,
) -> None:
    """Read, project, write."""
    from visql_lib.pipelines.vis.stages.gaia_project import ProjectInputs
    from visql_lib.products.context import Context
    from visql_lib.sky.projection import Boresight

    context = Context.using(settings_of(config), ("gaia",), record_failure=record_failure)
    name = exposure or output.name.removesuffix("_stars2_gaia.parquet")
    project(context, ProjectInputs(catalogue, Boresight(ra, dec, pa), date, name), output)


def project(context: Context[VisSettings], inputs: ProjectInputs, output: Path) -> None:
    """Project reference stars and write them."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.schemas.gaia import GAIA_STARS
    from visql_lib.pipelines.vis.stages.gaia_project import run
    from visql_lib.tables import write_table

    made = run(context, inputs)
    origin = provenance("gaia_project", list(inputs.catalogues), context.settings.gaia)
    write_table(output, made.stars, GAIA_STARS, meta=made.meta, **origin)
