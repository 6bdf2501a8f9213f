"""Checks of a VOTable before it is read: that it is as large as it claims, and refers to nothing else.

The reader of VOTables follows ``href``, to files of this machine too, and allocates
as many rows as a table claims to have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from visql_lib.archives.errors import TransientError
from visql_lib.archives.pages import printable

_DEEPEST = 64  # elements within elements
_MOST_FIELDS = 1000
_LONGEST_NUMBER = 9  # digits
_ENCODINGS = ("utf-8", "us-ascii", "iso-8859-1")
_CHUNK = 1 << 20  # bytes
_SIZES = {"boolean": 1, "bit": 1, "unsignedByte": 1, "short": 2, "unicodeChar": 4, "char": 1, "int": 4}
_SIZES |= {"long": 8, "float": 4, "double": 8, "floatComplex": 8, "doubleComplex": 16}
_OBJECT = 128  # bytes in memory of a value without a fixed size


class _UnfitError(Exception):
    """A VOTable is not safe to read; the message says why."""


@dataclass
class _Table:
    claimed: int = 0  # rows, as it claims
    rows: int = 0  # rows that came
    row: int = 0  # bytes of a row in memory
    fields: int = 0
    binary: bool = False
    fixed: int = 0  # bytes of a row in a stream, at least


@dataclass
class _Scan:
    """Counts of the elements, rows and bytes up to now."""

    largest: int
    depth: int = 0
    size: int = 0  # bytes all tables take in memory
    streamed: int = 0  # characters of the stream that is open
    in_stream: bool = False
    tables: list[_Table] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Check the beginning of an element."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _UnfitError(f"more than {_DEEPEST} elements within each other")
        kind = name.rpartition(":")[2]
        for key in attributes:
            if key.rpartition(":")[2] == "href" or kind == "include":
                raise _UnfitError(
                    f"{printable(kind)} refers to {printable(attributes[key])!r}, which is not followed"
                )
        if kind == "TABLE":
            self.tables.append(_Table(claimed=_number(attributes.get("nrows", "0"), "nrows")))
        elif kind == "FIELD" and self.tables:
            self._field(self.tables[-1], attributes)
        elif kind == "TR" and self.tables:
            self.tables[-1].rows += 1
            self._grow(self.tables[-1].row)
        elif kind == "STREAM" and self.tables:
            self.in_stream, self.streamed = True, 0
        elif kind == "FITS":
            raise _UnfitError("a FITS file within it, which is not read")

    def text(self, data: str) -> None:
        """Count the characters of a stream."""
        if self.in_stream:
            self.streamed += len(data)

    def end(self, name: str) -> None:
        """Check the end of an element."""
        self.depth -= 1
        kind = name.rpartition(":")[2]
        if kind == "STREAM" and self.in_stream:
            self.in_stream = False
            table = self.tables[-1]
            if not table.fixed:
                raise _UnfitError("rows without a size")
            table.rows += self.streamed // table.fixed  # more than there are: base64 is longer
            self._grow(table.row * (self.streamed // table.fixed))
        elif kind == "TABLE" and self.tables:
            table = self.tables[-1]
            if table.claimed > table.rows:
                raise _UnfitError(f"claims to have {table.claimed} rows, and has {table.rows} at most")

    def _field(self, table: _Table, attributes: dict[str, str]) -> None:
        table.fields += 1
        if table.fields > _MOST_FIELDS:
            raise _UnfitError(f"more than {_MOST_FIELDS} columns")
        size = _SIZES.get(attributes.get("datatype", "char"), _OBJECT)
        count, variable = 1, False
        for part in attributes.get("arraysize", "1").split("x")[:9]:
            variable |= part.endswith("*")
            count *= _number(part.rstrip("*") or "1", "arraysize")
        if count > 1 << 20:
            raise _UnfitError(f"{count} values in a column")
        table.row += _OBJECT + count * size if variable else count * size
        table.fixed += 4 if variable else count * size

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size > self.largest:
            raise _UnfitError(f"its tables need more than {self.largest} bytes")


def scan(body: bytes, where: str, largest: int) -> None:
    """Refuse a VOTable that is not safe to read.

    Parameters
    ----------
    body : bytes
        The document.
    where : str
        Names the service in messages.
    largest : int
        Bytes its tables may need in memory.

    Raises
    ------
    TransientError
        If it declares entities, refers to other files or addresses, claims rows that did
        not come, or is not in UTF-8 or ASCII.
    """
    seen = _Scan(largest)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = _refuse_entity
    parser.XmlDeclHandler = _check_encoding
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.CharacterDataHandler = seen.text
    try:
        if body.find(b"\0") >= 0:
            raise _UnfitError("is not in UTF-8")
        for start in range(0, len(body), _CHUNK):
            parser.Parse(body[start : start + _CHUNK])
        parser.Parse(b"", True)
    except _UnfitError as error:
        raise TransientError(f"{where}: the VOTable {error}") from error
    except expat.ExpatError as error:
        raise TransientError(f"{where}: the VOTable cannot be read ({printable(str(error))})") from error


def _refuse_entity(*_: Any) -> None:
    raise _UnfitError("declares entities, which are not read")  # a few lines of them grow to gigabytes


def _check_encoding(version: str, encoding: str | None, standalone: int) -> None:
    if (encoding or "utf-8").lower() not in _ENCODINGS:
        raise _UnfitError(f"is in {printable(encoding or '')}, not in UTF-8")


def _number(text: str, name: str) -> int:
    """Parse a number of plausible length."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _LONGEST_NUMBER:
        raise _UnfitError(f"has {name}={printable(text)!r}, which makes no sense")
    return int(digits)
