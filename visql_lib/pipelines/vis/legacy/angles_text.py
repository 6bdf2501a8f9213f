"""The text table ``All_Angles_and_GOES_YYYYMM.txt``: angles and X-ray flux of a month's exposures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.errors import LegacyFormatError

_EMPTY = "-"  # a text that is not known; numbers that are not are nan


class _Cell(NamedTuple):
    """A column of the text: title with unit, our column, form of its numbers (none: text), least width."""

    title: str
    name: str
    form: str
    width: int


_CELLS = (
    _Cell("exposure", "EXPOSURE", "", 44),
    _Cell("date", "DATE", "", 10),
    _Cell("time_UTC", "CLOCK", "", 12),
    _Cell("type", "FRAME_TYPE", "", 8),
    _Cell("IMG_T1", "IMG_T1", "", 8),
    _Cell("IMG_T2", "IMG_T2", "", 8),
    _Cell("EXPTIME[s]", "EXPTIME", "%.2f", 10),
    _Cell("SAA[deg]", "SAA", "%.3f", 8),
    _Cell("ALPHA[deg]", "ALPHA", "%.3f", 10),
    _Cell("RA[deg]", "RA", "%.6f", 11),
    _Cell("DEC[deg]", "DEC", "%.6f", 11),
    _Cell("PA[deg]", "PA", "%.5f", 10),
    _Cell("GOES[W/m2]", "GOES_FLUX", "%.4e", 10),
    _Cell("GOES[J/m2]", "GOES_FLUENCE", "%.4e", 10),
    _Cell("angles_from", "ANGLE_SOURCE", "", 11),
    _Cell("pointing_from", "POINTING_SOURCE", "", 13),
)


def write_angles_text(path: Path, angles: Mapping[str, NDArray]) -> None:
    """Write the text table: a title line, then a line per exposure in columns of fixed width.

    Parameters
    ----------
    path : Path
        Where to.
    angles : mapping of arrays
        Columns of ANGLES (docs/tables.md). What is not known is nan, an empty text
        ``-``; blanks in texts become underscores, so that every line has as many words.
    """
    start = np.asarray(angles["DATE_OBS"], dtype="datetime64[ms]")
    stamps = [_EMPTY + "T" + _EMPTY if np.isnat(t) else str(t) for t in start]
    moments = [stamp.split("T") for stamp in stamps]
    texts = {"DATE": [m[0] for m in moments], "CLOCK": [m[1] for m in moments]}
    columns = []
    for cell in _CELLS:
        values = texts.get(cell.name) or np.asarray(angles.get(cell.name, ())).tolist()
        words = [cell.title, *(_word(value, cell.form) for value in values)]
        width = max(cell.width, *map(len, words))
        columns.append([w.rjust(width) if cell.form else w.ljust(width) for w in words])
    lines = [" ".join(row).rstrip() for row in zip(*columns, strict=True)]
    with atomic_path(path) as temporary:
        temporary.write_text(
            "".join(f"{line}\n" for line in [f"# {lines[0]}", *(f"  {r}" for r in lines[1:])])
        )


def _word(value: object, form: str) -> str:
    if form:
        return form % value
    return "_".join(str(value).split()) or _EMPTY


def read_angles_text(path: Path) -> dict[str, NDArray]:
    """Read the text table back: its columns by their names in ANGLES, DATE_OBS among them.

    Raises
    ------
    LegacyFormatError
        If a line is not of this table.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LegacyFormatError(f"{path}: cannot be read ({error})") from error
    titles = [cell.title for cell in _CELLS]
    if not lines or lines[0].split() != ["#", *titles]:
        raise LegacyFormatError(f"{path}: the first line is not the title of this table")
    rows = [_cells(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    by_name = dict(
        zip((c.name for c in _CELLS), zip(*rows, strict=True) if rows else [()] * len(titles), strict=True)
    )
    stamps = [f"{d}T{c}" for d, c in zip(by_name.pop("DATE"), by_name.pop("CLOCK"), strict=True)]
    unknown = f"{_EMPTY}T{_EMPTY}"
    try:
        columns: dict[str, NDArray] = {
            cell.name: np.array(by_name[cell.name], dtype=float if cell.form else np.str_)
            for cell in _CELLS
            if cell.name in by_name
        }
        columns["DATE_OBS"] = np.array(["NaT" if s == unknown else s for s in stamps], dtype="datetime64[us]")
    except ValueError as error:
        raise LegacyFormatError(f"{path}: {error}") from error
    return {n: np.where(v == _EMPTY, "", v) if v.dtype.kind == "U" else v for n, v in columns.items()}


def _cells(path: Path, number: int, line: str) -> list[str]:
    words = line.split()
    if len(words) != len(_CELLS):
        raise LegacyFormatError(f"{path}: line {number} has {len(words)} words, not {len(_CELLS)}")
    return words
