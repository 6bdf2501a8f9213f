"""`visql gaia-project`: Gaia stars -> focal-plane coordinates of one exposure."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import INPUT, output_option, recorded, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.sky.projection import Boresight


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
    from visql_lib.sky.projection import Boresight

    name = exposure or output.name.removesuffix("_stars2_gaia.parquet")
    project(catalogue, Boresight(ra, dec, pa), date, name, output, settings_of(config), record_failure)


def project(
    catalogue: tuple[Path, ...],
    boresight: Boresight,
    date: datetime | None,
    exposure: str,
    output: Path,
    settings: VisSettings,
    record_failure: bool,
) -> None:
    """Read the reference stars of one or more files, project them, write them."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.flags import SolutionFlag
    from visql_lib.pipelines.vis.schemas.gaia import GAIA_STARS
    from visql_lib.sky.reference import reference_stars, years_since_epoch
    from visql_lib.tables import write_table

    years = years_since_epoch(date)
    pointing = {"ra": boresight.ra, "dec": boresight.dec, "pa": boresight.pa}
    meta: dict[str, Any] = {"exposure": exposure, **pointing, "years": years}
    columns, flags = GAIA_STARS.empty(), SolutionFlag.REFERENCE_FAILED
    with recorded(record_failure, meta):
        limits = settings.gaia
        columns, flags = reference_stars(
            _read(catalogue),
            boresight,
            years,
            radius=limits.radius,
            faintest=limits.faintest,
            max_error=limits.max_error,
            proper_motions=limits.proper_motions,
        )
    meta["flags"] = int(flags)
    origin = provenance("gaia_project", list(catalogue), settings.gaia)
    write_table(output, columns, GAIA_STARS, meta=meta, **origin)


def _read(paths: tuple[Path, ...]) -> dict[str, NDArray]:
    """Read the stars of all catalogues, without duplicates."""
    import numpy as np

    from visql_lib.archives.columns import joined
    from visql_lib.archives.files import read_stars
    from visql_lib.errors import TableError
    from visql_lib.tables import read_meta

    for path in paths:
        if path.suffix == ".parquet" and (cause := read_meta(path).get("failed")):
            raise TableError(str(cause))
    stars = joined(read_stars(path) for path in paths)
    _, first = np.unique(stars["SOURCE_ID"], return_index=True)
    return {name: values[first] for name, values in stars.items()}
