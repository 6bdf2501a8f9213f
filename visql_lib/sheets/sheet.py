"""The exposure sheet: one row per raw file of a group, such as a month, in a file of tab-separated values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from visql_lib import run_record
from visql_lib.atomic import atomic_path
from visql_lib.checksum import new_hash
from visql_lib.config.units import UNPRINTABLE
from visql_lib.errors import ConfigError, TableError

OK, INCOMPLETE, UNREADABLE, GROWING, KNOWN_BAD, IMPORTED, GONE, SUPERSEDED, PRODUCT = (
    "ok",
    "incomplete",
    "unreadable",
    "growing",
    "known_bad",
    "imported",
    "gone",
    "superseded",
    "product",
)
USABLE = (OK, INCOMPLETE)  # a raw frame that is worth processing
WITHOUT_RAW = (IMPORTED, GONE, UNREADABLE)  # no raw frame to work with, but perhaps tables


@dataclass(frozen=True)
class SheetRow:
    """One exposure. Angles in deg, times in s, NaN or "" where not known."""

    exposure: str
    file: str  # path of the raw frame, "" for an imported exposure
    frame_type: str
    date_obs: str  # ISO 8601, UTC
    date_source: str  # "DATE-OBS" or "name"
    exptime: float
    ra: float
    dec: float
    pa: float
    saa: float
    alpha: float
    obs_id: str
    calblkid: str
    calblkvr: str
    dithobs: str
    img_t1: str
    img_t2: str
    status: str
    reason: str  # why it is not ok; of one that is, what is odd about its header or file
    size: int  # bytes
    mtime: int  # ns
    context: str  # changes with the settings and facts that decide type and status
    flags: int = 0  # ExposureFlag bits: what the reason says of header and file, for programs
    # Further columns that the instrument asks for, as text; "" where not known.
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def fingerprint(self) -> str:
        """Changes when the raw file is replaced."""
        return f"{self.size}-{self.mtime}"


FROM_HEADER = (
    *("frame_type", "date_obs", "date_source", "exptime", "ra", "dec", "pa", "saa", "alpha"),
    *("obs_id", "calblkid", "calblkvr", "dithobs", "img_t1", "img_t2", "extra"),
)
COLUMNS = tuple(f.name for f in fields(SheetRow) if f.name != "extra")
_BEFORE = tuple(name for name in COLUMNS if name != "flags")  # of sheets of earlier versions
NUMBERS = {f.name for f in fields(SheetRow) if f.type == "float"}
INTEGERS = {f.name for f in fields(SheetRow) if f.type == "int"}


def empty_row(exposure: str) -> SheetRow:
    """Make a row of which nothing but the exposure is known."""
    values: dict[str, Any] = (
        dict.fromkeys(COLUMNS, "") | dict.fromkeys(NUMBERS, math.nan) | dict.fromkeys(INTEGERS, 0)
    )
    return SheetRow(**values | {"exposure": exposure})


def read_sheet(path: Path) -> list[SheetRow]:
    """Read a sheet.

    Raises
    ------
    TableError
        If it is missing or not a sheet of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); run `visql index`") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: no text, so no exposure sheet; give the .tsv of `visql index`") from error
    run_record.current().read(path, new_hash(text.encode()).hexdigest())
    lines = csv.DictReader(io.StringIO(text), delimiter="\t")
    names = tuple(lines.fieldnames or ())
    if names != _BEFORE and names[: len(COLUMNS)] != COLUMNS:
        raise TableError(f"{path}: not an exposure sheet of this version; remove it and run `visql index`")
    try:
        return [_parse(line) for line in lines]
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}: {error}; remove it and run `visql index`") from error


def row_of(path: Path, exposure: str) -> SheetRow:
    """Return the row of one exposure.

    Raises
    ------
    TableError
        If the sheet cannot be read, or has no such exposure.
    """
    for row in read_sheet(path):
        if row.exposure == exposure:
            return row
    raise TableError(f"{path}: has no exposure {exposure!r}")


def _parse(line: dict[str, str]) -> SheetRow:
    values: dict[str, Any] = {name: line[name] for name in COLUMNS if name in line}
    if None in line or None in line.values():
        raise ValueError("a line with more or fewer columns than its head")
    values["extra"] = {name: text for name, text in line.items() if name not in COLUMNS}
    for name in NUMBERS:
        values[name] = float(line[name]) if line[name] else math.nan  # this one, so that rows compare equal
    for name in INTEGERS:
        values[name] = int(line.get(name, "0") or ("0" if name == "flags" else ""))
    return SheetRow(**values)


def write_sheet(path: Path, rows: Iterable[SheetRow]) -> bool:
    """Write a sheet, unless it stands like that already; say whether it was written."""
    out = io.StringIO()
    ordered = sorted(rows, key=lambda r: r.exposure)
    extra = tuple(dict.fromkeys(name for row in ordered for name in row.extra))
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow((*COLUMNS, *extra))
    for row in ordered:
        values = {name: getattr(row, name) for name in COLUMNS}
        for name in NUMBERS:
            values[name] = "" if math.isnan(values[name]) else repr(values[name])
        texts = (*values.values(), *(row.extra.get(name, "") for name in extra))
        writer.writerow(UNPRINTABLE.sub(" ", str(v)) for v in texts)
    text = out.getvalue()
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def make_results(folder: Path) -> None:
    """Make the folder of the results, or one in it.

    Raises
    ------
    ConfigError
        If that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made ({error.strerror or error})"
        raise ConfigError(f"results: {str(folder)!r} {reason}; set results=FOLDER") from error
