"""Columns of a schema as a table of a FITS file, with units and comments, that any reader opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from visql_lib.tables.schema import Column, TableSchema

_KINDS = {"bool": "L", "int16": "I", "int32": "J", "int64": "K", "float32": "E", "float64": "D"}
_UNITS = {"px": "pixel", "px2": "pixel2"}  # as the FITS standard calls them


def table_hdu(columns: Mapping[str, Any], schema: TableSchema, name: str) -> fits.BinTableHDU:
    """Make an extension of the columns of a schema.

    Parameters
    ----------
    columns : mapping of arrays
    schema : TableSchema
        Its units become TUNITn, its descriptions TCOMMn. Times are written as text, ISO 8601.
    name : str
        EXTNAME.

    Raises
    ------
    TableError
        If a column is missing or the lengths differ.
    """
    cast = schema.cast(columns)
    hdu = fits.BinTableHDU.from_columns([_column(c, cast[c.name]) for c in schema.columns], name=name)
    for number, column in enumerate(schema.columns, 1):
        hdu.header.set(f"TCOMM{number}", column.doc, after=f"TFORM{number}")
    return hdu


def _column(column: Column, values: np.ndarray) -> fits.Column:
    if column.dtype in ("str", "time"):
        texts = np.char.encode(values.astype(np.str_), "ascii", "replace")
        return fits.Column(column.name, f"{max(1, texts.dtype.itemsize)}A", array=texts)
    size = values.shape[1] if column.size else 1
    unit = _UNITS.get(column.unit, column.unit) or None
    return fits.Column(column.name, f"{size}{_KINDS[column.dtype]}", unit=unit, array=values)
