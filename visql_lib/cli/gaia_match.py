"""`visql gaia-match`: moments and Gaia stars -> astrometric solution and flux ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    settings_of,
    step,
)
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.gaia_match import ExposureMatch
    from visql_lib.products.context import Context

_MOMENTS_END, _GAIA_END = "_stars2_mom", "_stars2_gaia"


@step(
    "gaia-match",
    """Match the stars of MOMENTS with the reference stars of GAIA.

    Writes the VIS/Gaia flux ratio of every matched star; optionally also the
    astrometric solution of the original scripts [px of 0.1 arcsec] and VISQL's solution
    as a table with errors. MOMENTS and GAIA are tables of VISQL or of the original scripts
    (.cat, .txt); results named .txt or .cat are written in the original format. With
    --sheet, GAIA are tiles or catalogues with sky positions, which are projected as
    by `visql gaia-project` around the boresight given in the sheet.""",
    "visql gaia-match E_stars2_mom.parquet E_stars2_gaia.parquet -o E_frat.parquet"
    " --solution E_x_gaia_dxdy.txt\n"
    "  visql gaia-match E_stars2_mom.parquet gaia/8123.parquet --sheet 202407.tsv"
    " --project E_stars2_gaia.parquet -o E_frat.parquet",
)
@click.argument("moments", type=INPUT)
@click.argument("gaia", type=INPUT, nargs=-1, required=True)
@click.option("--sheet", type=INPUT, metavar="TSV", help="Exposure sheet; needs --project.")
@click.option(
    "--project",
    "projected",
    type=OUTPUT,
    metavar="FILE",
    help="Write the projected stars to this file (Parquet).",
)
@output_option("Flux ratios (Parquet, or .txt).")
@click.option(
    "--solution", type=OUTPUT, metavar="TXT", help="Also write the solution in the original format."
)
@click.option(
    "--table", type=OUTPUT, metavar="FILE", help="Also write VISQL's solution, one row per CCD (Parquet)."
)
@click.option("--colours", type=OUTPUT, metavar="FILE", help="Also write the moments with G and BP-RP.")
@click.option(
    "--pictures", type=PREFIX, metavar="PREFIX", help="Also draw the match: PREFIX_stars2_gaia.png ..."
)
@click.option("--exptime", type=float, metavar="S", help="Exposure time; default: that of MOMENTS.")
@click.option(
    "--geometry",
    type=click.Choice(["reference", "shift", "affine"]),
    help="Original method, or VISQL's with a shift or affine per CCD; default: astrometry.geometry.",
)
@RECORD_FAILURE
def command(
    moments: Path,
    gaia: tuple[Path, ...],
    sheet: Path | None,
    projected: Path | None,
    output: Path,
    solution: Path | None,
    table: Path | None,
    colours: Path | None,
    pictures: Path | None,
    exptime: float | None,
    geometry: str | None,
    record_failure: bool,
    config: Path | None,
) -> None:
    """Read, project, match, write, draw."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.cli.pictures import draw
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.gaia import FRAT, MOMENTS_COLOURS, SOLUTION
    from visql_lib.pipelines.vis.stages.gaia_match import MatchInputs, run
    from visql_lib.products.context import Context

    if pictures is not None and (table is None or colours is None):
        raise click.UsageError("--pictures needs --table and --colours")
    settings = settings_of(config)
    if geometry is not None:
        changed = settings.astrometry.model_copy(update={"geometry": geometry})
        settings = settings.model_copy(update={"astrometry": changed})
    context = Context.of(REGISTRY["gaia_match"], settings, progress, record_failure)
    stars = _reference(gaia, sheet, projected, moments.stem.removesuffix(_MOMENTS_END), context)
    made = run(context, MatchInputs(moments, stars, exptime))
    found, meta, instrument = made.found, made.meta, context.instrument
    facts = (instrument.gain_models, instrument.sky_distortion, instrument.photometry)
    origin = provenance("gaia_match", [moments, stars], settings.astrometry, settings.ratios, *facts)
    _write(output, found.frat if found else {}, FRAT, meta, origin)
    if colours is not None:
        _write(colours, found.colours if found else {}, MOMENTS_COLOURS, meta, origin)
    if table is not None:
        _write(table, found.ccds if found else {}, SOLUTION, meta, origin)
    if solution is not None:
        _write_text(solution, found, meta)
        write_sidecars("gaia_match", solution, inputs=[moments, stars])
    if pictures is not None and table is not None and colours is not None:
        draw(context, [stars, output, table, colours], pictures)


def _reference(
    gaia: tuple[Path, ...],
    sheet: Path | None,
    projected: Path | None,
    exposure: str,
    context: Context[VisSettings],
) -> Path:
    """Return the table of projected stars: the given one, or one made from sky positions."""
    if sheet is None and projected is None:
        if len(gaia) > 1:
            raise click.UsageError("several files of stars with sky positions need --sheet and --project")
        return gaia[0]
    if sheet is None or projected is None:
        raise click.UsageError("--sheet and --project must be used together")
    from visql_lib.cli.gaia_project import project
    from visql_lib.pipelines.vis.stages.gaia_project import inputs_from_sheet

    project(context, inputs_from_sheet(sheet, exposure, gaia), projected)
    return projected


def _write(
    path: Path, columns: Mapping[str, NDArray], schema: Any, meta: dict[str, Any], origin: dict[str, Any]
) -> None:
    """Write a table, in the original format if its name ends in .txt or .cat."""
    from visql_lib.pipelines.vis.legacy.gaia import write_frat, write_moments_with_colours
    from visql_lib.tables import write_table

    if path.suffix in (".txt", ".cat"):
        texts = {"frat": write_frat, "moments_colours": write_moments_with_colours}
        if schema.product not in texts:
            raise click.UsageError(
                f"{path}: {schema.product} has no text format; use a name that ends in .parquet"
            )
        texts[schema.product](path, columns or schema.empty())
        write_sidecars("gaia_match", path, inputs=origin["inputs"])
    else:
        write_table(path, columns or schema.empty(), schema, meta=meta, **origin)


def _write_text(path: Path, found: ExposureMatch | None, meta: dict[str, Any]) -> None:
    from visql_lib.pipelines.vis.legacy.gaia import LegacySolution, RatioLine, write_solution

    first, second = (f"{meta['exposure']}{end}.cat" for end in (_MOMENTS_END, _GAIA_END))
    numbers = ("sigma", "dx", "dy", "ddx_dx", "ddy_dx", "ddx_dy", "ddy_dy")
    if found is None:
        write_solution(path, LegacySolution(first, second, 0, *(7 * [math.nan])))
        return
    m, r = found.reference, found.relation
    line = RatioLine(first, "VIS/GaiaBpRp", r.colours, r.ratios, meta["exptime"])
    write_solution(path, LegacySolution(first, second, m.n_kept, *(getattr(m, n) for n in numbers)), line)
