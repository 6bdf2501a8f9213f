"""Rows of tables as pages show them: records, numbers with their errors, tables of cells."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.products.page_parts import Cell, PageTable
from visql_lib.tables.store import column_names, read_table

log = logging.getLogger(__name__)

Record = Mapping[str, Any]


def records(path: Path, columns: Sequence[str] = ()) -> list[Record]:
    """Read the rows of a table, of the columns that are there; none if it is missing or cannot be read."""
    if not path.is_file():
        return []
    try:
        there = column_names(path)
        names = [name for name in columns or there if name in there]
        table = read_table(path, names)
    except TableError as error:
        log.warning("%s", error)
        return []
    rows = zip(*(table[name].tolist() for name in names), strict=True)
    starts = [str(t) for t in table["DATE_OBS"]] if "DATE_OBS" in names else [""] * table.n_rows
    return [
        dict(zip(names, row, strict=True)) | {"START": "" if start == "NaT" else start}
        for row, start in zip(rows, starts, strict=True)
    ]


def number_text(value: Any, error: Any = math.nan, digits: int = 4) -> str:
    """Format a number: to two digits of its error, if that is known; "" where it is not known."""
    if value is None or not math.isfinite(value):
        return ""
    if error is None or not math.isfinite(error) or error <= 0:
        text = f"{value:.{digits}g}"
        return (f"{value:.0f}" if "e+" in text else text).replace("-", "−")
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f}\u00a0±\u00a0{error:.{decimals}f}".replace("-", "−")


def table_of(
    columns: Mapping[str, Callable[[Record], Cell]],
    rows: Sequence[Record],
    title: str,
    numbers: tuple[str, ...],
    folded: bool = False,
) -> PageTable:
    """Make a table of the columns that say something in at least one row."""
    cells = {head: [make(row) for row in rows] for head, make in columns.items()}
    full = {head: found for head, found in cells.items() if any(c.text for c in found)}
    lines = tuple(zip(*full.values(), strict=True)) if full else ()
    return PageTable(tuple(full), lines, title, tuple(n for n in numbers if n in full), folded)
