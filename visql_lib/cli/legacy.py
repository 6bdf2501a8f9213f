"""`visql legacy`: our tables -> the text tables of the original system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step
from visql_lib.cli.outputs import write_sidecars
from visql_lib.errors import TableError

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings

_EXPOSURES = ("stars", "moments", "catalogue", "gaia_stars", "moments_colours", "frat")


@step(
    "legacy",
    """Export the tables TABLE of VISQL as text tables of the original scripts.

    Columns, units and formats are those of the original scripts. For a month, writes
    psfmoments_YYYYMM.txt and the score tables from the image quality,
    vis-over-gaia-*.txt and visgaiacolour_*.txt from the flux ratios, and
    fitslistYYYYMM.txt from the exposure sheet (.tsv). For an exposure, writes
    E_stars2.cat, E_stars2_mom.cat, E.cat.gz, E_stars2_gaia.cat, E_stars2_mom_col.cat and
    E_frat.txt from stars, moments, catalogue, reference stars, colours and flux ratios.""",
    "visql legacy psfmoments_202407.parquet E_stars2.parquet -o legacy/",
)
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True, type=INPUT)
@output_option("Folder for the text tables.", kind=FOLDER, metavar="FOLDER")
def command(tables: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Read each table, write its text."""
    from visql_lib.tables import read_meta

    settings = settings_of(config)
    for path in tables:
        if path.suffix == ".tsv":
            from visql_lib.pipelines.vis.legacy.fits_list import write_fits_list
            from visql_lib.sheets.sheet import read_sheet

            text = output / f"fitslist{path.stem}.txt"
            write_fits_list(text, read_sheet(path))
            write_sidecars("legacy", text, inputs=[path])
            continue
        meta = read_meta(path)
        product = meta.get("product")
        if product == "psfmoments":
            written = _write_month(path, output, meta, settings)
        elif product == "ratios":
            written = _write_ratios(path, output, meta, settings)
        elif product in _EXPOSURES:
            written = [_write_exposure(path, output, meta)]
        else:
            wanted = ", ".join(("psfmoments", "ratios", *_EXPOSURES))
            raise TableError(
                f"{path}: the original has no text table of product {product!r}; expected one of {wanted}"
            )
        write_sidecars("legacy", *written, inputs=[path])


def _write_month(path: Path, output: Path, meta: dict[str, Any], settings: VisSettings) -> list[Path]:
    import numpy as np

    from visql_lib.flags import ExposureFlag
    from visql_lib.pipelines.vis.legacy.read import MEDIANS
    from visql_lib.pipelines.vis.legacy.write import write_month
    from visql_lib.products.context import Context
    from visql_lib.tables import read_table

    month = _wanted(path, meta, "month")
    quality = read_table(path, ["EXPOSURE", "ARCHIVE_NAME", "FLAGS", *MEDIANS])
    unknown = np.isnan([quality[name] for name in MEDIANS])
    # Without stars the original prints fixed numbers; it has no way to mark medians that are partly unknown.
    half = unknown.any(axis=0) & ~unknown.all(axis=0)
    known = ((quality["FLAGS"] & ExposureFlag.FAILED) == 0) & ~half
    if not known.all():
        click.echo(f"{path}: {(~known).sum()} exposures omitted: failed, or not all medians known")
    context = Context.using(settings, (), ("score",))
    columns = {name: column[known] for name, column in quality.items()}
    return write_month(output, month, columns, context.instrument.score)


def _write_ratios(path: Path, output: Path, meta: dict[str, Any], settings: VisSettings) -> list[Path]:
    from visql_lib.pipelines.vis.legacy.gaia import write_colour_fits, write_month_of_ratios
    from visql_lib.pipelines.vis.schemas.gaia import RATIOS
    from visql_lib.products.context import Context
    from visql_lib.tables import read_table

    month = _wanted(path, meta, "month")
    write = write_colour_fits if meta.get("rule") == "sheet" else write_month_of_ratios
    output.mkdir(parents=True, exist_ok=True)
    exptimes = Context.using(settings, (), ("exposure_classes",)).instrument.exposure_classes
    return write(output, month, read_table(path, RATIOS.names), exptimes)


def _write_exposure(path: Path, output: Path, meta: dict[str, Any]) -> Path:
    from visql_lib.pipelines.vis.legacy import gaia as legacy_gaia
    from visql_lib.pipelines.vis.legacy import write as legacy_write
    from visql_lib.tables import read_table

    exposure = _wanted(path, meta, "exposure")
    table = read_table(path)
    small = {
        "stars": ("_stars2.cat", legacy_write.write_stars2),
        "moments": ("_stars2_mom.cat", legacy_write.write_moments),
        "gaia_stars": ("_stars2_gaia.cat", legacy_gaia.write_gaia_stars),
        "moments_colours": ("_stars2_mom_col.cat", legacy_gaia.write_moments_with_colours),
        "frat": ("_frat.txt", legacy_gaia.write_frat),
    }
    ending, write = small.get(meta["product"], (".cat.gz", None))
    text = output / f"{exposure}{ending}"
    if write is not None:
        write(text, table)
    else:
        with progress(exposure, legacy_write.chunks(table.n_rows)) as advance:
            legacy_write.write_catalogue(text, table, advance)
    return text


def _wanted(path: Path, meta: dict[str, Any], key: str) -> str:
    if not meta.get(key):
        raise TableError(f"{path}: its metadata has no {key}; remake the table")
    return str(meta[key])
