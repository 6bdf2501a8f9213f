"""Tables of one row per file, such as a log of headers: as text, TSV, ECSV, HTML or Parquet."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visql_lib.atomic import atomic_path
from visql_lib.errors import RequestError, TableError

if TYPE_CHECKING:
    from visql_lib.tables.schema import Column

Value = bool | int | float | str | None
MISSING, BLANK = "....", "_"  # in texts: there is no value; a blank in a value, or an empty one
_NAMES, _NUMBERS = "#1", "#1N"  # heads of texts: names of the columns, and their numbers
_ROWS_END = "</tbody></table>"
_LARGEST = 2**63  # of whole numbers in a column of such


@dataclass
class Listing:
    """A table whose rows all have the same columns; a value may be missing (None)."""

    columns: list[str]
    rows: list[list[Value]] = field(default_factory=list)


def write_listing(path: Path, listing: Listing, stage: str, version: int, *, append: bool = False) -> None:
    """Write a table as its ending says: ``.tsv``, ``.ecsv``, ``.html``, ``.parquet``; any other is text.

    Parameters
    ----------
    path : Path
        Written under a temporary name and renamed.
    listing : Listing
        The rows.
    stage, version : str, int
        What made it, for the record of a Parquet table.
    append : bool, optional
        Put the rows behind those of a table that is there, under the heads it has.

    Raises
    ------
    RequestError
        If rows are to be appended to a table of other columns.
    TableError
        If that table cannot be read.
    """
    kind = path.suffix.lower()
    old = path if append and path.exists() else None
    if kind == ".parquet":
        _write_parquet(path, _joined(_read_parquet(old), listing, path), stage, version)
    elif kind == ".ecsv":
        _write_ecsv(path, _joined(_read_ecsv(old), listing, path))
    else:
        before = _read_text(old) if old else ""
        make = {".tsv": _tsv, ".html": _html, ".htm": _html}.get(kind, _text)
        content = make(listing, before, path)
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8", newline="\n")


def columns_of(path: Path) -> list[str]:
    """Read the names of the columns of a table that `write_listing` wrote; see there for errors."""
    kind = path.suffix.lower()
    if kind == ".parquet":
        from visql_lib.tables.store import column_names

        return column_names(path)
    if kind == ".ecsv":
        found = _read_ecsv(path)
        return found.columns if found else []
    text = _read_text(path)
    if kind == ".tsv":
        return text.partition("\n")[0].split("\t")
    if kind in (".html", ".htm"):
        head = text.partition("<thead>")[2].partition("</thead>")[0]
        return [html.unescape(cell.partition("</th>")[0]) for cell in head.split("<th>")[1:]]
    return _head_of_text(text)


def as_text(listing: Listing) -> str:
    """Format a table as text in aligned columns, with two heads: names, and numbers of the columns."""
    return _text(listing, "", Path())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: no text; nothing can be appended to it") from error


def _check(found: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    if list(found) != list(wanted):
        raise RequestError(
            f"{path}: has the columns {', '.join(found) or 'none'}, not {', '.join(wanted)}; "
            "ask for the same, or write another file"
        )


def _word(value: Value) -> str:
    """Format a value for text: in one word."""
    if value is None:
        return MISSING
    return BLANK.join(_cell(value).split(" ")) or BLANK


def _cell(value: Value) -> str:
    """Format a value for a cell of one line; "" where it is missing."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return f"{value:.15g}" if float(f"{value:.15g}") == value else repr(value)
    return "" if value is None else " ".join(str(value).split())


def _head_of_text(text: str) -> list[str]:
    return next((line.split()[1:] for line in text.splitlines() if line.split()[:1] == [_NAMES]), [])


def _text(listing: Listing, before: str, path: Path) -> str:
    names = [_word(name) for name in listing.columns]
    heads = [[_NAMES, *names], [_NUMBERS, *(str(i + 1) for i in range(len(names)))]]
    rows = [["", *map(_word, row)] for row in listing.rows]
    there = []
    if before.strip():
        _check(_head_of_text(before), names, path)
        there = [line.split() for line in before.splitlines() if not line.startswith("#")]
        there = [["", *words] for words in there if len(words) == len(names)]
    every = [*heads, *there, *rows]
    widths = [max(len(words[i]) for words in every) for i in range(len(names) + 1)]
    lines = _lines(rows if before.strip() else [*heads, *rows], widths)
    start = before if not before or before.endswith("\n") else before + "\n"
    return start + "".join(f"{line}\n" for line in lines)


def _lines(rows: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterable[str]:
    return (" ".join(f"{w:<{n}}" for w, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def _tsv(listing: Listing, before: str, path: Path) -> str:
    lines = ["\t".join(map(_cell, row)) for row in listing.rows]
    names = [_cell(name) for name in listing.columns]
    if before:
        _check(before.partition("\n")[0].split("\t"), names, path)
        return before.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in lines)
    return "".join(f"{line}\n" for line in ["\t".join(names), *lines])


def _html(listing: Listing, before: str, path: Path) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>\n"
        for row in listing.rows
    )
    if before:
        _check(columns_of(path), listing.columns, path)
        start, end, rest = before.rpartition(_ROWS_END)
        if not end:
            raise TableError(f"{path}: no table of visql; nothing can be appended to it")
        return start + body + end + rest
    head = "".join(f"<th>{html.escape(name)}</th>" for name in listing.columns)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Frames</title>\n'
        "<style>body{font-family:sans-serif}table{border-collapse:collapse}"
        "th,td{padding:.2em .6em;text-align:left;border-bottom:1px solid #ccc}</style></head>\n"
        f"<body><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}{_ROWS_END}</body></html>\n"
    )


def _joined(before: Listing | None, listing: Listing, path: Path) -> Listing:
    if before is None:
        return listing
    _check(before.columns, listing.columns, path)
    return Listing(listing.columns, [*before.rows, *listing.rows])


def _kind(values: Iterable[Value]) -> str:
    """Find the type of a column: whole numbers, numbers, logicals, or texts for what is mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(-_LARGEST <= v < _LARGEST for v in values if isinstance(v, int)):
        return "int64"
    return "float64" if kinds and kinds <= {int, float} else "str"


def _typed(listing: Listing, *, holes: bool) -> dict[str, tuple[str, list[Any]]]:
    """Return type and values of each column; without `holes` what is missing is NaN or "" and decides."""
    found: dict[str, tuple[str, list[Any]]] = {}
    for place, name in enumerate(listing.columns):
        values: list[Any] = [row[place] for row in listing.rows]
        kind = _kind(values)
        if not holes and None in values:
            kind = {"int64": "float64", "bool": "str"}.get(kind, kind)
            values = [math.nan if v is None and kind == "float64" else v for v in values]
        if kind == "str":
            values = [None if v is None and holes else _cell(v) for v in values]
        found[name] = kind, values
    return found


def _write_ecsv(path: Path, listing: Listing) -> None:
    import numpy as np
    from astropy.table import MaskedColumn, Table

    table = Table()
    for name, (kind, values) in _typed(listing, holes=True).items():
        filler: Any = "" if kind == "str" else 0
        filled = np.array([filler if v is None else v for v in values], dtype=None if kind == "str" else kind)
        table[name] = MaskedColumn(filled, mask=[v is None for v in values], dtype=filled.dtype)
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def _read_ecsv(path: Path | None) -> Listing | None:
    if path is None:
        return None
    import numpy as np
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
    except (OSError, ValueError, TypeError) as error:
        raise TableError(f"{path}: cannot be read as ECSV ({error})") from error
    rows = [[None if v is np.ma.masked else v.item() for v in row] for row in table.iterrows()]
    return Listing(list(table.colnames), rows)


def _write_parquet(path: Path, listing: Listing, stage: str, version: int) -> None:
    from visql_lib.tables.schema import TableSchema
    from visql_lib.tables.store import write_table

    typed = _typed(listing, holes=False)
    schema = TableSchema(
        stage, "One row per file.", tuple(_column(n, kind) for n, (kind, _) in typed.items())
    )
    columns = {name: values for name, (_, values) in typed.items()}
    write_table(path, columns, schema, stage=stage, stage_version=version)


def _column(name: str, kind: str) -> Column:
    from visql_lib.tables.schema import Column

    return Column(name, kind, "", f"{name} of the file")


def _read_parquet(path: Path | None) -> Listing | None:
    if path is None:
        return None
    from visql_lib.tables.store import read_table

    table = read_table(path)
    columns = [[None if v != v or v == "" else v for v in values.tolist()] for values in table.values()]
    return Listing(list(table), [list(row) for row in zip(*columns, strict=True)])
