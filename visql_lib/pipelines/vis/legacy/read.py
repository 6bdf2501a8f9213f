"""Readers of the text tables of the original system.

Every reader refuses what it does not understand, naming the line: a table is
read as a whole or not at all.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.errors import LegacyFormatError, NameFormatError, shorten
from visql_lib.flags import MomentFlag
from visql_lib.instruments.euclid_names import ArchiveName, RawName
from visql_lib.instruments.model import Instrument
from visql_lib.values import duration

log = logging.getLogger(__name__)

STARS_COLUMNS = (
    *("X_WORLD", "Y_WORLD", "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE"),
    *("THETA_IMAGE", "NUMBER", "FLAGS", "FIELDRAD"),
)
MOMENTS_COLUMNS = (
    *("EXT", "XWORLD", "YWORLD", "FLUX", "FLUXERR", "FLUXRAD", "FIELDRAD", "XIMAGE", "YIMAGE"),
    *("DX", "DY", "WTFLUX", "R2", "e1", "e2", "tr1", "tr2", "com1", "com2"),
)
COLOUR_COLUMNS = (*MOMENTS_COLUMNS, "G", "BpRp")
MEDIANS = ("R2", "com1", "com2", "e1", "e2", "tr1", "tr2")  # in the order of psfmoments_YYYYMM.txt
SCORE_COLUMNS = ("R2", "e1", "e2", "score")

# What the original printed for the medians of an exposure without stars.
NO_STARS_R2, NO_STARS_OTHER = 9.9, 0.9999

_MEDIANS_HEADER = ("catalogue", "R2", "COMA1", "COMA2", "ELL1", "ELL2", "TREF1", "TREF2")
_MOMENTS_FILE = "_stars2_mom.cat"
_LONGEST = 86400.0  # s, an exposure time
_EXACT = 2.0**53  # beyond, not every whole number is a double


@dataclass(frozen=True)
class ScoreRow:
    """One line of a score table: R2 [px^2], e1, e2, score as printed; NaN without stars."""

    R2: float
    e1: float
    e2: float
    score: float
    archive_name: str = ""  # empty if the table has none


def read_stars2(path: Path, instrument: Instrument | None = None) -> dict[str, NDArray]:
    """Read ``E_stars2.cat``: the selected stars, a table without header.

    Parameters
    ----------
    path : Path
        A file without lines holds no stars.
    instrument : Instrument, optional
        Its linear WCS gives quadrant and pixel, which the table does not hold.

    Returns
    -------
    dict of arrays
        `STARS_COLUMNS` [deg, adu, px as in our stars table] and ``EXT``, ``X_IMAGE``,
        ``Y_IMAGE`` [px, one-based]; "" and NaN where no quadrant's image section
        holds the position.

    Raises
    ------
    LegacyFormatError
        If a line does not hold eleven numbers.
    """
    columns = _read_columns(path, STARS_COLUMNS, header=False)
    columns["FLAGS"] = _integers(path, "FLAGS", columns["FLAGS"])
    columns["NUMBER"] = _integers(path, "NUMBER", columns["NUMBER"])
    return columns | locate(columns["X_WORLD"], columns["Y_WORLD"], instrument)


def locate(x_world: NDArray, y_world: NDArray, instrument: Instrument | None) -> dict[str, NDArray]:
    """Find quadrant and one-based pixel of focal-plane positions [deg].

    ``EXT`` is empty and ``X_IMAGE``, ``Y_IMAGE`` NaN outside every quadrant's image section.
    """
    ext = np.full(len(x_world), "", dtype="U8")
    x_image, y_image = np.full(len(x_world), np.nan), np.full(len(x_world), np.nan)
    for quadrant in instrument.quadrants.values() if instrument else ():
        x, y = quadrant.wcs.to_pixel(x_world, y_world)
        # One-based pixel i covers i - 0.5 .. i + 0.5; a zero-based slice starts one lower.
        columns, rows = quadrant.image_columns, quadrant.image_rows
        inside = (x >= columns.start + 0.5) & (x < columns.stop + 0.5)
        inside &= (y >= rows.start + 0.5) & (y < rows.stop + 0.5)
        ext[inside], x_image[inside], y_image[inside] = quadrant.name, x[inside], y[inside]
    return {"EXT": ext, "X_IMAGE": x_image, "Y_IMAGE": y_image}


def read_moments(path: Path) -> dict[str, NDArray]:
    """Read ``E_stars2_mom.cat``: the columns of our moments table, except FLAGS.

    Raises
    ------
    LegacyFormatError
        If the header or a line is not that of this table, or the file was cut short.
    """
    return _read_columns(path, MOMENTS_COLUMNS, header=True)


def read_flagged_moments(path: Path) -> dict[str, NDArray]:
    """Read ``E_stars2_mom.cat`` with the FLAGS our table has; see `read_moments`.

    A star with a printed moment that is not finite has NaN and ``MomentFlag.NO_FLUX``.
    """
    moments = read_moments(path)
    good = np.isfinite([moments[name] for name in MEDIANS]).all(axis=0)
    cleaned = {name: np.where(good, moments[name], np.nan) for name in MEDIANS}
    return moments | cleaned | {"FLAGS": np.where(good, 0, MomentFlag.NO_FLUX.value)}


def read_moments_with_colours(path: Path) -> dict[str, NDArray]:
    """Read ``E_stars2_mom_col.cat``: moments of matched stars with G and BpRp [mag]; see `read_moments`."""
    return _read_columns(path, COLOUR_COLUMNS, header=True)


def read_psfmoments(path: Path) -> dict[str, dict[str, float]]:
    """Read ``psfmoments_YYYYMM.txt``: `MEDIANS` by exposure.

    R2 in px^2, the others dimensionless; all NaN for an exposure without stars,
    which was printed as R2 9.9 and 0.9999 elsewhere.

    Raises
    ------
    LegacyFormatError
        If the header or a line is not that of this table.
    """
    rows: dict[str, dict[str, float]] = {}
    for number, cells in _cells(path, "|", "#|", _MEDIANS_HEADER):
        exposure = _exposure(path, number, cells[0], _MOMENTS_FILE)
        values = _known(path, number, cells[1:])
        if _is_duplicate(path, number, exposure, rows):
            continue
        rows[exposure] = dict(zip(MEDIANS, values, strict=True))
        if values == [NO_STARS_R2] + [NO_STARS_OTHER] * (len(MEDIANS) - 1):
            rows[exposure] = dict.fromkeys(MEDIANS, np.nan)
    return rows


def read_scores(path: Path) -> dict[str, ScoreRow]:
    """Read ``psfmoments_YYYYMM{,_le1}_score.{txt,csv}``: R2, e1, e2, score by exposure.

    Tables with ``_le1`` in their name also hold the archive name.

    Raises
    ------
    LegacyFormatError
        If a line is not that of this table.
    """
    le1 = "_le1_score" in path.name
    if path.suffix == ".csv":
        separator, start = (";" if le1 else ","), ""
    else:
        separator, start = "|", "|"
    rows: dict[str, ScoreRow] = {}
    header = ("image", *SCORE_COLUMNS, "EASname") if le1 else ("image", *SCORE_COLUMNS)
    for number, cells in _cells(path, separator, start, header):
        exposure = _exposure(path, number, cells[0], "_")
        r2, e1, e2, score = _known(path, number, cells[1:5])
        if _is_duplicate(path, number, exposure, rows):
            continue
        if [r2, e1, e2] == [NO_STARS_R2, NO_STARS_OTHER, NO_STARS_OTHER]:
            r2 = e1 = e2 = score = np.nan
        rows[exposure] = ScoreRow(r2, e1, e2, score, _archive(path, number, cells[5]) if le1 else "")
    return rows


def read_exposure_times(path: Path) -> dict[str, float]:
    """Read exposure times [s] by exposure from a ``vis-over-gaia-*`` or ``*_x_gaia_dxdy.txt`` table.

    Only lines of a single exposure count; sums over days or months are left out.

    Raises
    ------
    LegacyFormatError
        If a line does not end with an exposure time.
    """
    times: dict[str, float] = {}
    for number, line in _lines(path):
        words = line.split()
        if len(words) < 3 or line.startswith("#") or "VIS/Gaia" not in words[1]:
            continue
        if not words[0].startswith("C_ALL"):
            exposure = _exposure(path, number, words[0], _MOMENTS_FILE)
            time = duration(_floats(path, number, words[-1:])[0], "the exposure time", 0.0, _LONGEST)
            if time.doubt:
                log.warning("%s: line %d: %s", path, number, time.doubt)
            else:
                times[exposure] = time.value
    return times


def read_archive_names(path: Path) -> dict[str, str]:
    """Read a table of archive names and raw file names: archive name by exposure.

    Two columns, separated by a comma or blanks, values optionally in double
    quotes; lines without an archive name at their start are titles or comments
    (docs/formats.md).

    Raises
    ------
    LegacyFormatError
        If a line with an archive name holds no raw file's name.
    """
    names = {}
    for number, line in _lines(path):
        words = re.split(r"[,\s]+", line.replace('"', " ").strip())
        if not words[0].startswith("EUC_"):
            continue
        try:
            archive = ArchiveName.parse(words[0])
            names[RawName.parse(archive.local_stem(words[1])).stem] = words[0]
        except (IndexError, NameFormatError) as error:
            raise LegacyFormatError(
                f"{path}: line {number}: expected archive name and raw name, found {shorten(line)}"
            ) from error
    return names


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines that are not blank; refuse a file that was cut short."""
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise LegacyFormatError(f"{path}: not a text table (byte {error.start} is not ASCII)") from error
    run_record.current().read(path, "")
    lines = text.splitlines()
    if text and not text.endswith("\n"):
        raise LegacyFormatError(f"{path}: line {len(lines)}: no line end; cut short, copy it again")
    return ((n, line) for n, line in enumerate(lines, 1) if line.strip())


def _read_columns(path: Path, names: tuple[str, ...], header: bool) -> dict[str, NDArray]:
    """Read a table of blanks and numbers; ``EXT`` is text."""
    lines = list(_lines(path))
    if header:
        found = lines[0][1].lstrip("# ").split() if lines else []
        if found != list(names):
            wanted = f"'# {' '.join(names)}'"
            raise LegacyFormatError(f"{path}: line 1: expected the header {wanted}, found {shorten(found)}")
        lines = lines[1:]
    rows = []
    for number, line in lines:
        words = line.split()
        if len(words) != len(names):
            raise LegacyFormatError(f"{path}: line {number}: {len(words)} values, expected {len(names)}")
        rows.append(words)
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    numbers = [number for number, _ in lines]
    return {name: _column(path, name, words, numbers) for name, words in by_name.items()}


def _column(path: Path, name: str, words: tuple[str, ...], numbers: list[int]) -> NDArray:
    if name == "EXT":
        return np.array(words, dtype=np.str_)
    try:
        return np.array(list(map(float, words)), dtype=float)
    except ValueError:  # once more, slowly: the message names the line
        return np.array([_floats(path, n, [w], f"{name} ")[0] for n, w in zip(numbers, words, strict=True)])


def _integers(path: Path, name: str, values: NDArray) -> NDArray:
    if not ((np.abs(values) < _EXACT) & (values == np.round(values))).all():
        raise LegacyFormatError(f"{path}: {name} must be whole numbers; not a table of stars")
    return values.astype(np.int64)


def _cells(path: Path, separator: str, start: str, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and stripped cells of a table with separators, in the order of `names`.

    The first line starts with `start` and names the columns, in any order, blanks apart.
    """
    lines = list(_lines(path))
    if not lines or not lines[0][1].startswith(start):
        raise LegacyFormatError(f"{path}: line 1: expected a header that starts with {start!r}")
    found = ["".join(cell.split()) for cell in _split(lines[0][1].removeprefix("#"), separator)]
    if sorted(found) != sorted(names):
        wanted = f" {separator} ".join(names)
        raise LegacyFormatError(
            f"{path}: line 1: expected the columns '{wanted}', found {shorten(lines[0][1])}"
        )
    order = [found.index(name) for name in names]
    for number, line in lines[1:]:
        cells = _split(line, separator)
        if len(cells) != len(names):
            raise LegacyFormatError(f"{path}: line {number}: {len(cells)} cells, expected {len(names)}")
        yield number, [cells[place] for place in order]


def _split(line: str, separator: str) -> list[str]:
    text = line.strip()
    inner = text[1:-1] if separator == "|" and text.startswith("|") and text.endswith("|") else text
    return [cell.strip() for cell in inner.split(separator)]


def _known(path: Path, number: int, words: list[str]) -> list[float]:
    """Replace numbers that are not finite by NaN, with a warning."""
    values = _floats(path, number, words)
    if any(map(math.isinf, values)):
        log.warning("%s: line %d: an infinite value is taken as unknown", path, number)
    return [math.nan if math.isinf(value) else value for value in values]


def _is_duplicate(path: Path, number: int, exposure: str, rows: Mapping[str, object]) -> bool:
    """Test, and warn, whether a table has an exposure twice; the first line counts."""
    if exposure in rows:
        log.warning("%s: line %d: %s is listed twice; the first line is used", path, number, exposure)
    return exposure in rows


def _floats(path: Path, number: int, words: list[str], name: str = "") -> list[float]:
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError as error:
            raise LegacyFormatError(
                f"{path}: line {number}: {name}{shorten(word)} is not a number"
            ) from error
    return values


def _exposure(path: Path, number: int, name: str, suffix: str) -> str:
    try:
        if name.endswith(suffix):
            return RawName.parse(name.removesuffix(suffix)).stem
    except NameFormatError:
        pass
    what = f"no exposure's name followed by {suffix!r}"
    raise LegacyFormatError(f"{path}: line {number}: {shorten(name)} is {what}")


def _archive(path: Path, number: int, name: str) -> str:
    try:
        return str(ArchiveName.parse(name)) if name else ""
    except NameFormatError as error:
        raise LegacyFormatError(f"{path}: line {number}: {shorten(name)} is no archive name") from error
