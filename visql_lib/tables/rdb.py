"""Light curves as .rdb: tab-separated text of programs for time delays, in several dialects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.errors import TableError, shorten

ERRORS = 6  # of each magnitude, from 0
COMMON = (
    *("mhjd", "datetime", "telescope", "setname", "nbimg", "fwhm", "ellipticity", "airmass"),
    *("relskylevel", "normcoeff", "flag"),
)
_TEXTS = ("datetime", "telescope", "setname")
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
_EMPTY = "-"  # how an empty text is written
_NOTHING = ("", "nan", "none", "null")  # how a number that is not known is written


@dataclass(frozen=True)
class RdbTable:
    """A light curve as an .rdb holds it.

    Attributes
    ----------
    columns : dict of arrays, shape (n,)
        Name -> values: texts, ``flag`` as bool, all others float64 (NaN: not known), in the file's order.
    sources : tuple of str
        The sources that have a column ``mag_X``, in the file's order.
    """

    columns: dict[str, NDArray]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(name.removeprefix("mag_") for name in self.columns if name.startswith("mag_"))

    def __len__(self) -> int:
        """Count the rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def magnitude(self, source: str) -> NDArray:
        """Return the magnitudes of a source."""
        return self.columns[f"mag_{source}"]

    def error(self, source: str, number: int = 5) -> NDArray:
        """Return an error of a source: the one of this number, else the only one that there is.

        Raises
        ------
        TableError
            If there is none.
        """
        for name in (f"magerr_{source}_{number}", f"magerr_{source}"):
            if name in self.columns:
                return self.columns[name]
        raise TableError(f"no errors of {source}: neither magerr_{source}_{number} nor magerr_{source}")


def names_of(sources: Iterable[str]) -> list[str]:
    """List the columns of an .rdb of some sources, in order."""
    more = ([f"mag_{s}", *(f"magerr_{s}_{k}" for k in range(ERRORS))] for s in sources)
    return [*COMMON, *(name for names in more for name in names)]


def write_rdb(path: Path, columns: Mapping[str, NDArray]) -> None:
    """Write an .rdb: names, underlines as long as the names, rows; tabs between.

    Parameters
    ----------
    path : Path
    columns : mapping
        Name -> values, in the order in which they are written.
    """
    names = list(columns)
    lines = ["\t".join(names), "\t".join("=" * len(name) for name in names)]
    lines += ["\t".join(map(_text, row)) for row in zip(*columns.values(), strict=True)]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: object) -> str:
    """Write a value so that reading it gives the same.

    Programs for time delays split lines at any blank, so that a text has none, and is never empty.
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return "_".join(str(value).split()) or _EMPTY


def read_rdb(path: Path) -> RdbTable:
    """Read an .rdb of any dialect.

    The second line may be underlines (``=`` or ``-``), tabs only, or missing; errors may be
    ``magerr_X_0`` to ``_5`` or ``magerr_X``; columns may be apart by blanks instead of tabs.
    Lines that begin with ``#`` are remarks.

    Raises
    ------
    TableError
        If it cannot be read, has no columns ``mhjd`` and ``mag_X``, or a row or a value that does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read ({error})") from error
    numbered = enumerate(text.splitlines(), start=1)
    lines = [(n, line) for n, line in numbered if line.strip(" ") and not line.startswith("#")]
    if not lines or not lines[0][1].strip():
        raise TableError(f"{path}: is empty; an .rdb begins with the names of its columns")
    between = "\t" if "\t" in lines[0][1] else None  # None: any blanks, as in files made by hand
    names = _names(path, lines[0][1], between)
    if len(lines) > 1 and _is_underline(lines[1][1]):
        del lines[1]
    rows = []
    for number, line in lines[1:]:
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(between)]
        if len(cells) == len(names) + 1 and not cells[-1]:
            cells.pop()  # a tab behind the last value
        if len(cells) != len(names):
            raise TableError(f"{path}, line {number}: {len(cells)} values for {len(names)} columns")
        rows.append((number, cells))
    return RdbTable({name: _column(path, name, i, rows) for i, name in enumerate(names)})


def _names(path: Path, line: str, between: str | None) -> list[str]:
    """Return the names of the columns from the first line."""
    names = [name.strip() for name in line.rstrip().split(between)]
    if "mhjd" not in names or not any(name.startswith("mag_") for name in names):
        raise TableError(f"{path}: its first line names no mhjd and mag_X, but {shorten(line)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"{path}: two columns are called {twice!r}")
    return names


def _is_underline(line: str) -> bool:
    return not line.strip("=-\t ")


def _column(path: Path, name: str, i: int, rows: Sequence[tuple[int, list[str]]]) -> NDArray:
    """Convert the values of a column: texts as they are, flags, else numbers."""
    texts = [(number, cells[i]) for number, cells in rows]
    if name in _TEXTS:
        return np.array(["" if text == _EMPTY else text for _, text in texts], dtype=np.str_)
    if name == "flag":
        return np.array([_flag(path, number, text) for number, text in texts], dtype=bool)
    return np.array([_number(path, name, number, text) for number, text in texts], dtype=float)


def _flag(path: Path, line: int, text: str) -> bool:
    """Read a flag; what is not known is false."""
    value = text.lower()
    if value not in (*_TRUE, *_FALSE, *_NOTHING):
        raise TableError(f"{path}, line {line}, flag: {shorten(text)} is neither True nor False")
    return value in _TRUE


def _number(path: Path, name: str, line: int, text: str) -> float:
    """Read a number; a blank, hyphens, nan or none is NaN."""
    if not text.strip("-") or text.lower() in _NOTHING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise TableError(f"{path}, line {line}, {name}: {shorten(text)} is no number") from None
