"""Values imported from text tables of the original system: a table per month, a row per exposure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.instruments.euclid_names import RawName, start_from_name
from visql_lib.pipelines.vis.schemas.gaia import RATIOS
from visql_lib.tables.products import PSFMOMENTS
from visql_lib.tables.schema import Column, TableSchema
from visql_lib.tables.store import Table, read_table, write_table

MEDIANS = ("R2", "com1", "com2", "e1", "e2", "tr1", "tr2")
_UNITS = {c.name: c.unit for c in PSFMOMENTS.columns}

IMPORTED = TableSchema(
    "imported",
    "Exposures of a month that are known from text tables of the original system.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("DATE_OBS", "time", "", "start, UTC, from the exposure's name (whole seconds)"),
        Column("EXPTIME", "float64", "s", "exposure time; NaN where not known"),
        Column("FRAME_TYPE", "str", "", "SCIENCE where moments say so, else UNKNOWN: FLATs have stars, too"),
        Column("ARCHIVE_NAME", "str", "", "name in the archive, empty where not known"),
        *(Column(n, "float64", _UNITS[n], f"median {n}; NaN without stars or not imported") for n in MEDIANS),
        Column("HAS_STARS", "int8", "", "1: its table of stars was imported"),
        Column("HAS_MOMENTS", "int8", "", "1: its table of moments was imported"),
        Column("HAS_MEDIANS", "int8", "", "1: its medians were imported; NaN then means no stars"),
    ),
)


@dataclass(frozen=True)
class ImportedRow:
    """Imported values of one exposure; None and False: nothing new."""

    exposure: str
    exptime: float | None = None  # s
    archive_name: str | None = None
    medians: dict[str, float] = field(default_factory=dict)  # some or all of MEDIANS; NaN: no stars
    has_stars: bool = False
    has_moments: bool = False

    def merged(self, newer: ImportedRow) -> ImportedRow:
        """Update this row with the known values of `newer`; known values are never lost."""
        return replace(
            self,
            exptime=self.exptime if newer.exptime is None else newer.exptime,
            archive_name=self.archive_name if newer.archive_name is None else newer.archive_name,
            medians=self.medians | newer.medians,
            has_stars=self.has_stars or newer.has_stars,
            has_moments=self.has_moments or newer.has_moments,
        )

    @property
    def frame_type(self) -> str:
        """SCIENCE if it has moments or medians of them, else UNKNOWN."""
        return "SCIENCE" if self.has_moments or self.medians else "UNKNOWN"

    @property
    def month(self) -> str:
        """Month of the exposure's start, YYYYMM, from its name."""
        return RawName.parse(self.exposure).month


@dataclass(frozen=True)
class MergeResult:
    """The outcome of a merge, in numbers of exposures."""

    new: int
    changed: int
    unchanged: int


def imported_path(results: Path, month: str) -> Path:
    """Compose the path of the imported table of a month."""
    return results / "imported" / f"{month}.parquet"


def read_imported(results: Path, month: str) -> Table | None:
    """Read the imported table of a month, sorted by exposure; None if nothing was imported.

    Raises
    ------
    TableError
        If there is one that cannot be read.
    """
    path = imported_path(results, month)
    if not path.is_file():
        return None
    return read_table(path, IMPORTED.names)


def imported_rows(results: Path, month: str) -> dict[str, ImportedRow]:
    """Read the imported rows of a month, by exposure."""
    table = read_imported(results, month)
    return {} if table is None else {row.exposure: row for row in _rows(table)}


def merge_imported(results: Path, month: str, rows: Iterable[ImportedRow]) -> MergeResult:
    """Add `rows` to the imported table of their month; nothing is written if nothing changes.

    Raises
    ------
    TableError
        If a row is of another month, or the table cannot be read.
    """
    from filelock import FileLock

    path = imported_path(results, month)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):  # two imports at once must not lose each other's rows
        known = imported_rows(results, month)
        merged = dict(known)
        named = set()
        for row in rows:
            if row.month != month:
                raise TableError(f"{row.exposure}: belongs to {row.month}, not into {path}")
            merged[row.exposure] = merged.get(row.exposure, ImportedRow(row.exposure)).merged(row)
            named.add(row.exposure)
        same = {e for e in named if e in known and _same(known[e], merged[e])}
        if len(same) < len(named):
            write_table(
                path,
                _columns(merged),
                IMPORTED,
                stage="import",
                meta={"month": month, "origin": IMPORTED_ORIGIN},
            )
    changed = len(named & known.keys() - same)
    return MergeResult(new=len(named - known.keys()), changed=changed, unchanged=len(same))


IMPORTED_ORIGIN = "imported"


def store_imported(
    path: Path, columns: Mapping[str, NDArray], schema: TableSchema, meta: Mapping[str, Any]
) -> str:
    """Store an imported table, unless the existing one is the same or our own.

    Returns
    -------
    str
        ``imported``; ``unchanged`` if the same table stands there already, which is
        not touched then; ``measured`` if VISQL measured the one that stands there.

    Raises
    ------
    TableError
        If there is a table that cannot be read.
    """
    meta = {**meta, "origin": IMPORTED_ORIGIN}
    if path.is_file():
        found = read_table(path)
        if found.meta.get("origin") != IMPORTED_ORIGIN:
            return "measured"
        cast = schema.cast(columns)
        if tuple(found) == schema.names and all(found.meta.get(k) == v for k, v in meta.items()):
            pairs = ((found[c.name], cast[c.name], c.dtype.startswith("float")) for c in schema.columns)
            if all(np.array_equal(old, new, equal_nan=is_float) for old, new, is_float in pairs):
                return "unchanged"
    write_table(path, columns, schema, stage="import", meta=meta)
    return "imported"


def _rows(table: Table) -> Iterable[ImportedRow]:
    columns = {name: table[name].tolist() for name in IMPORTED.names}
    for i, exposure in enumerate(columns["EXPOSURE"]):
        medians = {n: columns[n][i] for n in MEDIANS} if columns["HAS_MEDIANS"][i] else {}
        exptime = columns["EXPTIME"][i]
        yield ImportedRow(
            exposure,
            None if np.isnan(exptime) else exptime,
            columns["ARCHIVE_NAME"][i] or None,
            medians,
            bool(columns["HAS_STARS"][i]),
            bool(columns["HAS_MOMENTS"][i]),
        )


def _same(a: ImportedRow, b: ImportedRow) -> bool:
    """Compare two rows; NaN equals NaN."""
    plain = all(getattr(a, f.name) == getattr(b, f.name) for f in fields(a) if f.name != "medians")
    if not plain or bool(a.medians) != bool(b.medians):
        return False
    values = [[row.medians.get(n, np.nan) for n in MEDIANS] for row in (a, b)]
    return np.array_equal(values[0], values[1], equal_nan=True)


def _columns(by_exposure: dict[str, ImportedRow]) -> dict[str, NDArray]:
    rows = [by_exposure[exposure] for exposure in sorted(by_exposure)]
    columns = {
        "EXPOSURE": np.array([r.exposure for r in rows]),
        "DATE_OBS": np.array([start_from_name(r.exposure) for r in rows], dtype="datetime64[us]"),
        "EXPTIME": np.array([np.nan if r.exptime is None else r.exptime for r in rows]),
        "FRAME_TYPE": np.array([row.frame_type for row in rows]),
        "ARCHIVE_NAME": np.array([r.archive_name or "" for r in rows]),
        "HAS_STARS": np.array([r.has_stars for r in rows]),
        "HAS_MOMENTS": np.array([r.has_moments for r in rows]),
        "HAS_MEDIANS": np.array([bool(r.medians) for r in rows]),
    }
    return columns | {n: np.array([r.medians.get(n, np.nan) for r in rows]) for n in MEDIANS}


def imported_ratios_path(results: Path, month: str) -> Path:
    """Compose the path of the imported flux ratios of a month."""
    return results / "imported" / f"ratios_{month}.parquet"


def imported_ratios(results: Path, month: str) -> Table | None:
    """Read the flux ratios imported for a month, columns of RATIOS; None if there are none.

    Raises
    ------
    TableError
        If there is a table that cannot be read.
    """
    path = imported_ratios_path(results, month)
    return read_table(path, RATIOS.names) if path.is_file() else None


def merge_imported_ratios(results: Path, month: str, rows: Mapping[str, NDArray]) -> MergeResult:
    """Add `rows`, columns of RATIOS, to the imported flux ratios of a month; a newer row of a cell counts.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    from filelock import FileLock

    path = imported_ratios_path(results, month)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = RATIOS.cast(rows)
    with FileLock(path.parent / ".lock"):
        old = imported_ratios(results, month) or Table(RATIOS.empty(), {})
        known, cells = _cells(old), _cells(found)
        changed = sum(
            not all(np.array_equal(old[n][known[c]], found[n][i], equal_nan=True) for n in _RATIO_VALUES)
            for c, i in cells.items()
            if c in known
        )
        new = len(cells.keys() - known.keys())
        if new or changed:
            kept = [i for c, i in known.items() if c not in cells]
            columns = {n: np.concatenate([old[n][kept], found[n]]) for n in RATIOS.names}
            order = np.lexsort([columns[name] for name in reversed(_RATIO_CELL)])
            meta = {"month": month, "origin": IMPORTED_ORIGIN}
            sorted_columns = {n: values[order] for n, values in columns.items()}
            write_table(path, sorted_columns, RATIOS, stage="import", meta=meta)
    return MergeResult(new=new, changed=changed, unchanged=len(cells) - new - changed)


_RATIO_CELL = ("TIME", "TIME_BIN", "SPACE", "SPACE_BIN", "CLASS", "FIELD")
_RATIO_VALUES = ("R1", "R2", "R3", "R1_ERR", "R2_ERR", "R3_ERR")


def _cells(rows: Mapping[str, NDArray]) -> dict[tuple[str, ...], int]:
    """Find the number of each row by its cell; of two rows of one cell the last."""
    keys = zip(*(np.asarray(rows[name]).tolist() for name in _RATIO_CELL), strict=True)
    return {key: number for number, key in enumerate(keys)}
