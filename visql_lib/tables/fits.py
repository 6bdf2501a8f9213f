"""Tables as extensions of FITS files, for users who expect FITS: units and descriptions with each column.

A table is written from numpy's bytes and a header that is composed once per schema: several times faster
than by way of objects for its columns. What reads FITS reads them; units are those of the standard.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import TableError
from visql_lib.tables.schema import Column, TableSchema
from visql_lib.tables.store import Table

_BLOCK = 2880  # bytes
_FORMS = {  # type of a column -> TFORM, numpy's type of the bytes
    "float64": ("D", ">f8"),
    "float32": ("E", ">f4"),
    "int64": ("K", ">i8"),
    "int32": ("J", ">i4"),
    "int16": ("I", ">i2"),
    "bool": ("L", "S1"),
}
_TEXTS = ("str", "time")
_SAME = "the same"  # description of a column: as that of the one before
_NO_ROWS = f"NAXIS2  = {0:>20}"
_BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError)


def unit_in_fits(unit: str) -> str:
    """Write a unit as the FITS standard does: ``px2`` is ``pixel**2``, ``mag/arcsec2`` ``mag/arcsec**2``."""
    return re.sub(r"([a-z])(\d)", r"\1**\2", re.sub(r"\bpx", "pixel", unit))


def table_bytes(columns: Mapping[str, Any], schema: TableSchema, name: str) -> bytes:
    """Compose a table as an extension of a FITS file: header and rows, padded to whole blocks.

    Parameters
    ----------
    columns : mapping of arrays
        At least the columns of `schema`. Of texts, a letter beyond ASCII becomes a question mark; times
        are texts, ISO 8601.
    schema : TableSchema
        Names, types, units (TUNIT) and descriptions (TCOMM).
    name : str
        EXTNAME.

    Raises
    ------
    TableError
        If a column is missing or of another length.
    """
    cast = schema.cast(columns)
    packed = {c.name: _packed(c, cast[c.name]) for c in schema.columns}
    widths = tuple(packed[c.name].dtype.itemsize for c in schema.columns if c.dtype in _TEXTS)
    rows: NDArray = np.empty(schema.length(columns), [(n, a.dtype, a.shape[1:]) for n, a in packed.items()])
    for column, values in packed.items():
        rows[column] = values
    header = _header(schema, name, widths).replace(_NO_ROWS, f"NAXIS2  = {len(rows):>20}", 1)
    data = rows.tobytes()
    return header.encode("ascii") + data.ljust(-(-len(data) // _BLOCK) * _BLOCK, b"\0")


def table_hdu(columns: Mapping[str, Any], schema: TableSchema, name: str) -> fits.BinTableHDU:
    """Compose a table as an extension of astropy; see `table_bytes`."""
    return fits.BinTableHDU.fromstring(table_bytes(columns, schema, name))


def _packed(column: Column, values: NDArray) -> NDArray:
    """Return values as the bytes that FITS wants."""
    if column.dtype == "bool":
        return np.where(values, b"T", b"F")
    if column.dtype in _TEXTS:
        texts = [str(text).encode("ascii", "replace") for text in values]
        return np.array(texts, dtype=f"S{max(1, *map(len, texts), 1)}")
    return values.astype(_FORMS[column.dtype][1])


@lru_cache(maxsize=32)
def _header(schema: TableSchema, name: str, widths: tuple[int, ...]) -> str:
    """Compose the header of a table without rows; `widths`: of its columns of texts."""
    cards: list[tuple[str, Any]] = []
    left, size, doc = list(widths), 0, ""
    for i, column in enumerate(schema.columns, start=1):
        many = column.size or 1
        if column.dtype in _TEXTS:
            many, form, item = left.pop(0), "A", 1
        else:
            form, kind = _FORMS[column.dtype]
            item = np.dtype(kind).itemsize
        size += many * item
        cards += [(f"TTYPE{i}", column.name), (f"TFORM{i}", f"{many}{form}" if many > 1 else form)]
        if column.unit:
            cards.append((f"TUNIT{i}", unit_in_fits(column.unit)))
        doc = doc if column.doc == _SAME else column.doc
        cards.append((f"TCOMM{i}", doc))
    header = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table"),
            *(("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", size), ("NAXIS2", 0)),
            *(("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(schema.columns)), ("EXTNAME", name)),
            *cards,
        ]
    )
    header.add_comment(schema.doc)
    return header.tostring()


@dataclass(frozen=True)
class FitsTables:
    """What a FITS file of tables holds: the header of its primary, and its tables by EXTNAME."""

    header: fits.Header
    tables: Mapping[str, Table]


def read_fits_tables(path: Path, *names: str) -> FitsTables:
    """Read tables of a FITS file.

    Parameters
    ----------
    path : Path
    names : str
        EXTNAMEs of the wanted tables.

    Returns
    -------
    FitsTables
        Columns in the order of this machine's bytes; the metadata of each table is its extension's header.

    Raises
    ------
    TableError
        If it cannot be read, is cut short or damaged, or lacks one of the tables.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            warnings.simplefilter("ignore", AstropyWarning)  # cards of other people
            with fits.open(path, memmap=False) as hdus:
                found = {name: _table(hdus, name) for name in names}
                tables = FitsTables(hdus[0].header.copy(), found)
    except (*_BROKEN, fits.VerifyError, AstropyUserWarning) as error:
        why = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise TableError(f"{path}: cannot be read as FITS tables ({why}); make it again") from error
    run_record.current().read(path, "")  # its checksum is looked up where a record is written
    return tables


def _table(hdus: fits.HDUList, name: str) -> Table:
    hdu = next((h for h in hdus if h.name == name), None)
    if not isinstance(hdu, fits.BinTableHDU):
        raise KeyError(f"no table {name}")
    return Table({c: _native(hdu.data[c]) for c in hdu.columns.names}, dict(hdu.header))


def _native(values: NDArray) -> NDArray:
    if values.dtype.kind in "SU":
        return np.asarray(values, dtype=np.str_)
    return np.array(values, dtype=values.dtype.newbyteorder("="))


def of_schema(table: Table, schema: TableSchema, path: Path) -> dict[str, NDArray]:
    """Take the columns of a schema out of a table that was read; lists of one value are lists again.

    Raises
    ------
    TableError
        If one is missing, or is of another kind.
    """
    if missing := [name for name in schema.names if name not in table]:
        raise TableError(f"{path}: has no column {', '.join(missing[:5])}; make it again")
    try:
        return {
            c.name: c.cast(table[c.name].reshape(-1, c.size) if c.size else table[c.name])
            for c in schema.columns
        }
    except ValueError as error:
        raise TableError(f"{path}: a column is of another kind ({error}); make it again") from error
