"""QC results of a group: every quantity of its tables compared with its limits, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.quantity import Quantities
from visql_lib.qc.table import read_results, results_of
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables.provenance import checksum_of, read_record
from visql_lib.tables.store import column_names, read_table

log = logging.getLogger(__name__)

KIND = "qc"  # of the table of QC results
# Kind of a table whose rows are not frames -> reads its QC results, with the reason why none is judged.
Readers = Mapping[str, Callable[[Path, str], list[QCResult]]]


def group_tables(results: Path, group: str, grouping: Grouping, quantities: Quantities) -> dict[str, Path]:
    """Find the existing tables of a group that hold quantities, by their kind."""
    paths = {kind: grouping.table_path(results, group, kind) for kind in quantities.tables}
    return {kind: path for kind, path in paths.items() if path.is_file()}


def group_results(
    tables: Mapping[str, Path],
    rows: Sequence[SheetRow],
    thresholds: Thresholds | None,
    quantities: Quantities,
    *,
    readers: Readers | None = None,
    note: str = "",
    on_error: Callable[[TableError], None] | None = None,
) -> list[QCResult]:
    """Evaluate all quantities of a group.

    Parameters
    ----------
    tables : mapping
        Kind of table -> its file; see `group_tables`.
    rows : sequence of SheetRow
        The group's sheet: the types of its frames.
    thresholds : Thresholds or None
        Dated limits; None: nothing is evaluated, `note` says why.
    quantities : Quantities
        Those of the pipeline.
    readers : mapping, optional
        For tables whose rows are not frames.
    note : str, optional
        See `thresholds`.
    on_error : callable, optional
        Called with the error of a table that cannot be read, which is left out; None: it is raised.

    Returns
    -------
    list of QCResult
        Table by table, in the order of their rows.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    types = {row.exposure: row.frame_type for row in rows}
    found: list[QCResult] = []
    for kind, path in tables.items():
        try:
            if readers and kind in readers:
                found += readers[kind](path, note)
            else:
                table = read_table(path, _columns(kind, quantities, column_names(path)))
                found += results_of(
                    table, kind, quantities, thresholds, frame_type=lambda n: types.get(n, ""), note=note
                )
        except TableError as error:
            if on_error is None:
                raise
            on_error(error)
    return found


def current_results(
    results: Path,
    group: str,
    grouping: Grouping,
    quantities: Quantities,
    rows: Sequence[SheetRow] = (),
    readers: Readers | None = None,
) -> tuple[list[QCResult], tuple[str, ...]]:
    """Read the QC results of a group, as far as they belong to the current state of its tables.

    Parameters
    ----------
    results : Path
        Folder of all products.
    group : str
        Its key.
    grouping : Grouping
        Where its tables are.
    quantities : Quantities
        Those of the pipeline.
    rows : sequence of SheetRow, optional
        The group's sheet.
    readers : mapping, optional
        For tables whose rows are not frames.

    Returns
    -------
    list of QCResult
        For tables not evaluated yet, or made again since: their values, with status not judged.
    tuple of str
        Kinds of tables whose quantities were not evaluated, missing tables included.
    """
    path = grouping.table_path(results, group, KIND)
    tables = group_tables(results, group, grouping, quantities)
    known: dict[str, Any] = {}
    judged: list[QCResult] = []
    if path.is_file():
        try:
            judged = [r for r in read_results(path) if r.quantity in quantities]
            known = {Path(name).name: checksum for name, checksum in read_record(path)["inputs"].items()}
        except TableError as error:
            _warn(error)
    there = {kind for kind, table in tables.items() if known.get(table.name) == _checksum(table)}
    found = [r for r in judged if quantities[r.quantity].table in there]
    for kind in (kind for kind in tables if kind not in there):
        note = f"{path.name} is older than {tables[kind].name}" if known else f"{path.name} is not there"
        some = {kind: tables[kind]}
        found += group_results(some, rows, None, quantities, readers=readers, note=note, on_error=_warn)
    return found, tuple(kind for kind in quantities.tables if kind not in there)


def _warn(error: TableError) -> None:
    log.warning("%s", error)


def _checksum(table: Path) -> str:
    """Read the checksum of a table from its provenance record; "" if it cannot be read."""
    try:
        return checksum_of(table)
    except TableError:
        return ""


def _columns(kind: str, quantities: Quantities, there: Sequence[str]) -> list[str]:
    own = quantities.of_table(kind)
    first = [
        "EXPOSURE" if "EXPOSURE" in there else "PART",
        "DATE_OBS",
        *(["CLASS"] if "CLASS" in there else []),
    ]
    return list(dict.fromkeys((*first, *(q.column for q in own), *(q.error for q in own if q.error))))
