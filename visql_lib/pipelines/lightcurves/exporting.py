"""Writing exported light curves: .rdb, ECSV and Parquet of the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.pipelines.lightcurves.export_table import export_schema
from visql_lib.pipelines.lightcurves.versions import VERSIONS
from visql_lib.tables.rdb import COMMON, RdbTable, names_of, write_rdb
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import write_table

STAGE = "lc_export"
APERTURE = "_aper"  # behind a source: its curve from an aperture


def rdb_columns(columns: Mapping[str, NDArray], sources: Sequence[str]) -> dict[str, NDArray]:
    """Return the columns of an .rdb, in their order; errors that a table lacks are left out.

    Other programs take no unknown magnitudes: nights without one of the sources are left out (see
    `lacking`), and curves from apertures are in it only where there are no others.
    """
    chosen = [s for s in sources if not s.endswith(APERTURE)] or list(sources)
    whole = ~np.any([np.isnan(columns[f"mag_{source}"]) for source in chosen], axis=0)
    return {name: np.asarray(columns[name])[whole] for name in names_of(chosen) if name in columns}


def lacking(columns: Mapping[str, NDArray], sources: Sequence[str]) -> list[tuple[str, str]]:
    """List the nights (date and time) that an .rdb leaves out, each with the sources that it lacks."""
    found = []
    for i, date in enumerate(columns["datetime"]):
        lost = [s for s in sources if np.isnan(columns[f"mag_{s}"][i]) and not s.endswith(APERTURE)]
        if lost:
            found.append((str(date), " ".join(lost)))
    return found


def write_curve(stem: Path, columns: Mapping[str, NDArray], sources: Sequence[str]) -> list[Path]:
    """Write the .rdb and the ECSV of a curve, and return their paths."""
    from astropy.table import Table

    rdb, ecsv = (stem.with_name(f"{stem.name}.{ending}") for ending in ("rdb", "ecsv"))
    write_rdb(rdb, rdb_columns(columns, sources))
    table = Table({name: np.asarray(values) for name, values in columns.items()})
    for column in export_schema(sources).columns:
        table[column.name].unit, table[column.name].description = column.unit or None, column.doc
    with atomic_path(ecsv) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return [rdb, ecsv]


def write_product(
    path: Path, columns: Mapping[str, NDArray], schema: TableSchema, inputs: Sequence[Path]
) -> None:
    """Write a table with its record."""
    write_table(path, columns, schema, stage=STAGE, stage_version=VERSIONS[STAGE], inputs=inputs)


def table_of(rdb: RdbTable) -> dict[str, NDArray]:
    """Return an .rdb as columns of an exported table; those it lacks are unknown.

    Errors that an .rdb has without number stand in the column of number 5.
    """
    schema = export_schema(rdb.sources)
    n, found = len(rdb), dict(rdb.columns)
    for source in rdb.sources:
        if (single := found.pop(f"magerr_{source}", None)) is not None:
            found.setdefault(f"magerr_{source}_5", single)
    return {c.name: c.cast(found.get(c.name, np.full(n, c.unknown))) for c in schema.columns}


def other_columns(rdb: RdbTable) -> list[str]:
    """List columns of an .rdb that are none of an exported table."""
    known = {*COMMON, *names_of(rdb.sources), *(f"magerr_{s}" for s in rdb.sources)}
    return [name for name in rdb.columns if name not in known]
