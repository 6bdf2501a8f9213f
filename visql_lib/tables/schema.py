"""Schemas of tables: columns with types, units and meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.tables.metadata import Metadata


@dataclass(frozen=True)
class Column:
    """One column.

    ``dtype`` is a NumPy type name, ``str`` or ``time`` (UTC, microseconds);
    ``size`` is the length of a fixed-size list, 0 for a plain number, -1 for any
    length (the same in all rows). What is written is rounded to what the
    measurement is worth: to multiples of ``step`` (a power of two: the rest of
    the number is zeros, which pack well), or to ``bits`` significant bits.
    ``split`` stores the bytes of the numbers apart, which packs dense ones better;
    ``fill`` is the integer that stands for one that is not known.
    """

    name: str
    dtype: str
    unit: str
    doc: str
    size: int = 0
    step: float = 0.0
    bits: int = 0
    split: bool = False
    fill: int = 0

    @property
    def unknown(self) -> Any:
        """What stands for a value that is not known: NaN, NaT, an empty text, ``fill`` or False."""
        if self.dtype == "str":
            return ""
        if self.dtype == "time":
            return np.datetime64("NaT", "us")
        plain = np.dtype(self.dtype).type(np.nan if self.dtype.startswith("float") else self.fill)
        return np.full(self.size, plain) if self.size > 0 else plain

    def cast(self, values: Any) -> NDArray:
        """Convert `values` to this column's type, rounded as declared."""
        if self.dtype == "str":
            return np.asarray(values).astype(np.str_)
        if self.dtype == "time":
            return np.asarray(values, dtype="datetime64[us]")
        array = np.asarray(values)
        if self.step:
            array = np.round(array.astype(float) / self.step) * self.step
        if self.bits:
            mantissa, exponent = np.frexp(array.astype(float))
            array = np.ldexp(np.round(np.ldexp(mantissa, self.bits)), exponent - self.bits)
        return array.astype(self.dtype)


@dataclass(frozen=True)
class TableSchema:
    """A product's table: its name, meaning and columns in order, and the values in its metadata, if any."""

    product: str
    doc: str
    columns: tuple[Column, ...]
    metadata: type[Metadata] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    def length(self, values: Mapping[str, Any]) -> int:
        """Count the rows of the columns of this schema in `values`.

        Raises
        ------
        TableError
            If a column is missing or the lengths differ.
        """
        missing = [n for n in self.names if n not in values]
        if missing:
            raise TableError(f"{self.product}: columns missing: {', '.join(missing)}")
        lengths = {len(values[n]) for n in self.names}
        if len(lengths) > 1:
            raise TableError(f"{self.product}: columns of different lengths {sorted(lengths)}")
        return lengths.pop()

    def cast(self, values: Mapping[str, Any]) -> dict[str, NDArray]:
        """Convert `values` to the columns of this schema, each in its type.

        Raises
        ------
        TableError
            If a column is missing or the lengths differ.
        """
        self.length(values)
        return {c.name: c.cast(values[c.name]) for c in self.columns}

    def of_rows(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, NDArray]:
        """Make columns of rows; what a row does not say is not known (see `Column.unknown`)."""
        listed = list(rows)
        if not listed:
            return self.empty()
        return {c.name: c.cast([row.get(c.name, c.unknown) for row in listed]) for c in self.columns}

    def empty(self) -> dict[str, NDArray]:
        """Make the columns of a table without rows."""
        return {c.name: c.cast(np.empty((0, abs(c.size)) if c.size else 0)) for c in self.columns}
