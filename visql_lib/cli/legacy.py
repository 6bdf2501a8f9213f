"""`visql legacy`: our tables -> the text tables of the original system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress, settings_of, step
from visql_lib.errors import TableError

if TYPE_CHECKING:
    from visql_lib.config import Settings


@step(
    "legacy",
    """Write the text tables of the original system from our TABLEs.

    Columns, units and formats are the original's: psfmoments_YYYYMM.txt and the
    score tables from a month's image quality; E_stars2.cat, E_stars2_mom.cat and
    E.cat.gz from an exposure's stars, moments and catalogue.""",
    "visql legacy psfmoments_202407.parquet E_stars2.parquet -o legacy/",
)
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True, type=INPUT)
@output_option("Folder for the text tables.", kind=FOLDER, metavar="FOLDER")
def command(tables: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Read each table, write its text."""
    from visql_lib.tables import read_meta

    settings = settings_of(config)
    for path in tables:
        meta = read_meta(path)
        product = meta.get("product")
        if product == "psfmoments":
            _write_month(path, output, meta, settings)
        elif product in ("stars", "moments", "catalogue"):
            _write_exposure(path, output, meta)
        else:
            raise TableError(
                f"{path}: the original has no text table of product {product!r}; "
                "wants psfmoments, stars, moments or catalogue"
            )


def _write_month(path: Path, output: Path, meta: dict[str, Any], settings: Settings) -> None:
    import numpy as np

    from visql_lib.flags import ExposureFlag
    from visql_lib.frames.instrument import load_instrument
    from visql_lib.tables import read_table
    from visql_lib.tables.legacy_read import MEDIANS
    from visql_lib.tables.legacy_write import write_month

    month = _wanted(path, meta, "month")
    quality = read_table(path, ["EXPOSURE", "ARCHIVE_NAME", "FLAGS", *MEDIANS])
    unknown = np.isnan([quality[name] for name in MEDIANS])
    # Without stars the original printed numbers of its own; of half-known medians it had no way to tell.
    half = unknown.any(axis=0) & ~unknown.all(axis=0)
    known = ((quality["FLAGS"] & ExposureFlag.FAILED) == 0) & ~half
    if not known.all():
        click.echo(f"{path}: {(~known).sum()} exposures left out: failed, or not all medians known")
    instrument = load_instrument(settings.instrument)
    write_month(output, month, {name: column[known] for name, column in quality.items()}, instrument.score)


def _write_exposure(path: Path, output: Path, meta: dict[str, Any]) -> None:
    from visql_lib.tables import legacy_write, read_table

    exposure = _wanted(path, meta, "exposure")
    table = read_table(path)
    if meta["product"] == "stars":
        legacy_write.write_stars2(output / f"{exposure}_stars2.cat", table)
    elif meta["product"] == "moments":
        legacy_write.write_moments(output / f"{exposure}_stars2_mom.cat", table)
    else:
        with progress(exposure, legacy_write.chunks(table.n_rows)) as advance:
            legacy_write.write_catalogue(output / f"{exposure}.cat.gz", table, advance)


def _wanted(path: Path, meta: dict[str, Any], key: str) -> str:
    if not meta.get(key):
        raise TableError(f"{path}: its metadata does not say the {key}; make the table again")
    return str(meta[key])
