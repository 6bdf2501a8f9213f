"""`visql geometry`: the matched stars of a month -> geometry of the focal plane, boresights."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, progress, settings_of, step


@step(
    "geometry",
    """Fit the geometry of the focal plane to all exposures of the month with the exposure sheet SHEET.

    Writes one row per CCD: shift [px of 0.1 arcsec] and affine terms relative to its
    nominal position, with standard errors; the common cubic is in the metadata. Matched
    stars are read from the folders next to the sheet (YYYYMM/E/E_frat.parquet,
    E_stars2_gaia.parquet).""",
    "visql geometry results/exposures/202407.tsv -o geometry_202407.parquet"
    " --astrometry astrometry_202407.parquet",
)
@click.argument("sheet", type=INPUT)
@output_option("Geometry (Parquet).")
@click.option(
    "--astrometry",
    type=OUTPUT,
    metavar="FILE",
    help="Also write boresight [deg], scatter [px] and flux ratios of every exposure, or why it has none.",
)
def command(sheet: Path, output: Path, astrometry: Path | None, config: Path | None) -> None:
    """Fit the month, write the tables."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.month_files import MonthFiles
    from visql_lib.pipelines.vis.registry import REGISTRY, VERSIONS
    from visql_lib.pipelines.vis.schemas.gaia import ASTROMETRY, GEOMETRY
    from visql_lib.pipelines.vis.stages.geometry import GeometryInputs, run
    from visql_lib.products.context import Context
    from visql_lib.tables import write_table

    context = Context.of(REGISTRY["geometry"], settings_of(config), progress)
    found = run(context, GeometryInputs(MonthFiles.of_sheet(sheet)))
    distortion = context.instrument.sky_distortion
    origin = provenance("geometry", [sheet], context.settings.astrometry, distortion)
    meta = {"month": sheet.stem, "instrument": context.instrument.name}
    facts = found.facts(f"{sheet.stem}-{VERSIONS['geometry']}-{origin['settings_hash']}")
    write_table(output, found.geometry.columns, GEOMETRY, meta=meta | facts, **origin)
    if astrometry is not None:
        write_table(astrometry, found.exposures, ASTROMETRY, meta=meta, **origin)
