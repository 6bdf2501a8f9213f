"""Responses of astronomical services: VOTable, JSON, CSV, ECSV."""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.columns import Columns, known_columns, no_stars, star_columns
from visql_lib.archives.errors import TransientError
from visql_lib.archives.foreign import votable_columns, votable_units
from visql_lib.archives.pages import excerpt, printable
from visql_lib.archives.responses import LARGEST, gunzip
from visql_lib.archives.votable_scan import scan

MOST_STARS = 2_500_000  # of one response
_LARGEST_JSON = 1 << 25  # bytes: in memory it is twenty times as large; we request VOTable
_END = re.compile(rb"</(?:\w{1,30}:)?VOTABLE\s{0,30}>")
_LONGEST_HEADER = 1 << 16  # bytes: the Gaia archive's tables have 150 columns
_START = re.compile(rb"<(?:\w{1,30}:)?VOTABLE[\s>]")


def read_answer(body: bytes, where: str) -> tuple[Columns, bool]:
    """Read the stars of a response in any of the formats.

    Parameters
    ----------
    body : bytes
        The response.
    where : str
        Names the service in error messages.

    Returns
    -------
    stars : dict of arrays
        See `visql_lib.archives.columns.star_columns`. Possibly without a row.
    overflow : bool
        The service has more rows than it sent, as it says.

    Raises
    ------
    TransientError
        If the response is empty, truncated, an error message, or no table of stars.
    """
    if body.startswith(b"\x1f\x8b"):  # packed, although the headers do not say so
        body = _unpacked(body, where)
    start = body[:8000].lstrip(b"\xef\xbb\xbf \r\n\t")[:4000]
    if not start:
        raise TransientError(f"{where}: the response is empty")
    if start.startswith(b"{"):
        return star_columns(_read_json(body, where), where), False
    if not start.startswith(b"<"):
        return star_columns(read_text(body, where), where), False
    if not _START.search(start):
        raise TransientError(f"{where}: the response is a page, not a table: {excerpt(body)}")
    if not _END.search(body[-2000:]):
        raise TransientError(f"{where}: the response is cut short (no </VOTABLE> at its end)")
    scan(body, where, LARGEST)
    return _read_votable(body, where)


def _unpacked(body: bytes, where: str) -> bytes:
    with io.BytesIO() as plain:
        for piece in gunzip(iter([body]), where):
            if plain.tell() + len(piece) > LARGEST:
                raise TransientError(f"{where}: the response unpacks to more than {LARGEST} bytes")
            plain.write(piece)
        return plain.getvalue()


# What astropy raises for invalid VOTables: broken XML and its own checks (SyntaxError, ValueError),
# broken binary streams (struct, EOFError), fields that do not fit their table.
_BROKEN = (ValueError, SyntaxError, EOFError, OSError, TypeError, LookupError, AttributeError, struct.error)


def _read_votable(body: bytes, where: str) -> tuple[Columns, bool]:
    from astropy.io import votable

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no service follows the standard strictly
            document = votable.parse(io.BytesIO(body), verify="ignore")
    except _BROKEN as error:
        raise TransientError(
            f"{where}: the VOTable cannot be read ({excerpt(str(error).encode())})"
        ) from error
    notes = list(_notes(document))
    for name, text in notes:
        if name == "error" or (name == "query_status" and text.upper().startswith("ERROR")):
            raise TransientError(f"{where}: the service says: {excerpt(text.encode())}")
    overflow = any(
        (name == "query_status" and text.upper().startswith("OVERFLOW")) or "truncated result" in text.lower()
        for name, text in notes
    )
    for table in document.iter_tables():
        if known_columns(field.name for field in table.fields):
            return _rows(table, where), overflow
    if any((name == "matches" and text.split()[:1] == ["0"]) or _says_none(text) for name, text in notes):
        return no_stars(), False
    raise TransientError(
        f"{where}: the response holds no table of stars, nor does it say that there are none"
    )


def _rows(table: Any, where: str) -> Columns:
    if not len(table.array):
        return no_stars()
    numbers = known_columns(field.name for field in table.fields)["SOURCE_ID"]
    return star_columns(votable_columns(table, numbers, where), where, votable_units(table))


def _notes(element: Any) -> Iterator[tuple[str, str]]:
    """Yield name and text of every INFO of a VOTable, wherever it stands."""
    for info in element.infos:
        yield (info.name or "").lower(), " ".join(str(t) for t in (info.value, info.content) if t)
    for child in (*getattr(element, "resources", ()), *getattr(element, "tables", ())):
        yield from _notes(child)


def _says_none(text: str) -> bool:
    return "no object found" in text.lower()


def _read_json(body: bytes, where: str) -> dict[str, NDArray]:
    if len(body) > _LARGEST_JSON or body.count(b"[") + body.count(b"{") > MOST_STARS:
        raise TransientError(f"{where}: JSON of {len(body)} bytes is too large; query fewer stars")
    try:
        document = json.loads(body)
        names = [str(column["name"]) for column in document["metadata"]]
        rows = document["data"]
        if any(len(row) != len(names) for row in rows):
            raise ValueError("rows of another length than the list of columns")
        needed = list(known_columns(names).values()) or names
        return {
            name: _json_column([row[i] for row in rows]) for i, name in enumerate(names) if name in needed
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise TransientError(
            f"{where}: the JSON cannot be read ({printable(repr(error))}): {excerpt(body)}"
        ) from error


def _json_column(values: list[Any]) -> NDArray:
    if not all(value is None or type(value) in (int, float) for value in values):
        raise TypeError("a value that is no number")
    missing = np.array([value is None for value in values], dtype=bool)
    kind = np.int64 if values and all(v is None or type(v) is int for v in values) else float
    filled = np.array([0 if value is None else value for value in values], dtype=kind)
    return np.ma.MaskedArray(filled, missing)


def read_text(body: bytes, where: str) -> dict[str, NDArray]:
    """Read the known columns of comma- or tab-separated text, also with ECSV's header.

    Raises
    ------
    TransientError
        If it is not such text, or cut short.
    """
    import pyarrow as pa
    from pyarrow import csv

    begin = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    while body.startswith(b"#", begin):
        begin = body.find(b"\n", begin) + 1 or len(body)
    lines = memoryview(body)[begin:]
    end = body.find(b"\n", begin)
    first = body[begin : min(end if end >= 0 else len(body), begin + _LONGEST_HEADER)]
    header = first.decode("utf-8", "replace").strip()
    delimiter = next((mark for mark in (",", "\t", ";", "|") if mark in header), " ")
    names = known_columns(name.strip().strip('"') for name in header.split(delimiter))
    if not names or not body.endswith(b"\n"):
        cause = "cut short (no end of line)" if names else "no table of stars"
        raise TransientError(f"{where}: {cause}: {excerpt(body)}")
    if body.count(b"\n", begin) > MOST_STARS:
        raise TransientError(f"{where}: more than {MOST_STARS} rows; query fewer stars")
    convert = csv.ConvertOptions(
        include_columns=list(names.values()),
        column_types={n: pa.int64() if ours == "SOURCE_ID" else pa.float64() for ours, n in names.items()},
        null_values=["", "null", "NULL", "nan", "NaN", "--"],
    )
    try:
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(lines)),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=convert,
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise TransientError(f"{where}: the text cannot be read ({printable(str(error))})") from error
    return {name: arrow_column(table.column(name)) for name in table.column_names}


def arrow_column(column: Any) -> NDArray:
    """Convert a column of Arrow into a NumPy array, masked where it has no value."""
    missing = column.is_null().to_numpy()
    return np.ma.MaskedArray(column.fill_null(0).to_numpy(), missing)
