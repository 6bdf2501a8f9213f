"""Columns of tables from outside: their shapes, their units, and numbers of stars without loss of digits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.values import unit_factor

log = logging.getLogger(__name__)

# Our units, by our names of columns; flux and its error only meet as a ratio, which has none.
UNITS = {"RA": "deg", "DEC": "deg", "PMRA": "mas/yr", "PMDEC": "mas/yr", "EPOCH": "yr"}
UNITS |= dict.fromkeys(("G", "G_ERR", "BP_RP", "E_G", "BP", "RP"), "mag")
_WHOLE = 8  # bytes that a number of a star takes


def plain_columns(
    raw: Mapping[str, NDArray], names: Mapping[str, str], units: Mapping[str, Any], where: str
) -> dict[str, NDArray]:
    """Convert columns to one number a row, in our units.

    Parameters
    ----------
    raw : mapping of arrays
        Columns by the names they have there. One of arrays of one element is as good
        as one of numbers.
    names : mapping of str
        Our names of columns to the names there.
    units : mapping
        Their units in the table: texts or astropy's; a column that is not in it
        is taken to be in ours.
    where : str
        Names the table in error messages.

    Raises
    ------
    SourceError
        If a column has a unit that cannot be converted.
    """
    plain = {name: _one_a_row(column) for name, column in raw.items()}
    for ours, name in names.items():
        factor = factor_of(ours, name, units, where)
        if factor != 1.0:
            plain[name] = plain[name] * factor
    return plain


def factor_of(ours: str, name: str, units: Mapping[str, Any], where: str) -> float:
    """Compute the factor that converts a column to our unit; see `plain_columns`."""
    if ours not in UNITS:
        return 1.0
    factor = unit_factor(units.get(name), UNITS[ours])
    if factor is None:
        raise SourceError(f"{where}: {name} is in {str(units[name])!r}, not in {UNITS[ours]}")
    return factor


def _one_a_row(column: NDArray) -> NDArray:
    return column.reshape(len(column)) if column.ndim > 1 and column.size == len(column) else column


def votable_columns(table: Any, numbers: str, where: str) -> dict[str, NDArray]:
    """Extract the columns of a VOTable of astropy.

    Parameters
    ----------
    table : astropy.io.votable.tree.TableElement
        The table.
    numbers : str
        The name of its column with the numbers of the stars.
    where : str
        Names the table in error messages.

    Raises
    ------
    TransientError
        If that column is of a type that cannot hold them: its writer, or astropy as its
        reader, has cut off what did not fit.
    """
    columns = {field.name: table.array[field.ID] for field in table.fields}
    dtype = columns[numbers].dtype
    if dtype.kind in "iu" and dtype.itemsize < _WHOLE:
        raise TransientError(
            f"{where}: {numbers} is of type {dtype.name}, so that numbers of stars did not arrive whole"
        )
    return columns


def votable_units(table: Any) -> dict[str, Any]:
    """Extract the units of the columns of a VOTable of astropy that have one."""
    return {field.name: field.unit for field in table.fields if field.unit is not None}


def warn_missing_colours(names: Iterable[str], where: str) -> None:
    """Warn that a table has no colours, without which a star enters no flux ratio."""
    known = set(names)
    if "BP_RP" not in known and not {"BP", "RP"} <= known:
        log.warning("%s: has no colours (bp_rp, or magnitudes in BP and RP): no flux ratios from it", where)
