"""How the exposure sheets are kept up to date: a look at the raw folders.

Headers are read only for files that are new or changed (name, size and time
of change), so that a look at two thousand known exposures takes well below a
second. A sheet is written only if a row changed.
"""

from __future__ import annotations

import logging
import math
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from visql_lib.config import IndexSettings, Settings
from visql_lib.config.load import digest
from visql_lib.config.units import unfit_path
from visql_lib.errors import ConfigError, FrameError, NameFormatError
from visql_lib.frames.header import ExposureHeader
from visql_lib.frames.names import file_kind_problem, is_fits_like, stem_of
from visql_lib.instruments.model import Instrument
from visql_lib.instruments.names import NamePattern
from visql_lib.tables.sheet import (
    COLUMNS,
    FROM_HEADER,
    GONE,
    GROWING,
    IMPORTED,
    INCOMPLETE,
    INTEGERS,
    KNOWN_BAD,
    NUMBERS,
    OK,
    SUPERSEDED,
    UNREADABLE,
    USABLE,
    SheetRow,
    make_results,
    read_sheet,
    sheet_path,
    write_sheet,
)
from visql_lib.values import duration

log = logging.getLogger(__name__)


def refresh_sheets(
    settings: Settings,
    instrument: Instrument,
    months: Sequence[str] | None,
    *,
    now: float | None = None,
    on_read: Callable[[], None] = lambda: None,
) -> dict[str, list[SheetRow]]:
    """Bring the sheets of `months` up to date and return their rows.

    Parameters
    ----------
    settings : Settings
        Where raw frames and results are, and how old a file must be.
    instrument : Instrument
        Interprets headers.
    months : sequence of str or None
        Months to list, YYYYMM; None: all there are, where names do not tell the date.
    now : float, optional
        Seconds since 1970, for the age of files.
    on_read : callable, optional
        Called for every file whose header was read.

    Raises
    ------
    ConfigError
        If a raw folder does not exist, or that of the results cannot be made.
    TableError
        If an existing sheet cannot be read.
    """
    from filelock import FileLock

    for folder in settings.raw:
        if not Path(folder).is_dir():
            raise ConfigError(f"raw: folder {folder!r} does not exist; create it, or set raw=FOLDER")
    results = Path(settings.results)
    found = _find_frames(settings, months, instrument.names)
    make_results(results / "exposures")
    sheets = {}
    with FileLock(results / "exposures" / ".lock"):
        look = _Look(settings, instrument, time.time() if now is None else now, on_read)
        looked_at: dict[str, dict[str, SheetRow]] = {}
        if not instrument.names.tell_start:
            looked_at, found = _by_month(found[""], look, results)
            months = sorted(found) if months is None else months
        for month in months or ():
            path = sheet_path(results, month)
            known = {r.exposure: r for r in read_sheet(path)} if path.is_file() else {}
            frames = found.setdefault(month, {})
            rows = looked_at.get(month) or {
                stem: look.row(*frame, known.get(stem)) for stem, frame in frames.items()
            }
            for stem, row in known.items():
                away = stem not in rows or stat.S_ISLNK(frames[stem][1].st_mode)  # on a disk not mounted
                if away and (kept := _without_raw(row, path)) is not None:
                    rows[stem] = kept
            for row in _imported_rows(results, month):
                rows.setdefault(row.exposure, row)
            _settle_versions(rows, frames, look)
            write_sheet(path, rows.values())
            _warn(path, [row for stem, row in rows.items() if row != known.get(stem)])
            _say_what_is_left(month, rows.values(), settings)
            sheets[month] = sorted(rows.values(), key=lambda r: r.exposure)
    return sheets


def _by_month(
    frames: _Found, look: _Look, results: Path
) -> tuple[dict[str, dict[str, SheetRow]], dict[str, _Found]]:
    """Look at files whose names do not tell the date: return rows and files by the month of their headers.

    What is known of a file stands in the sheet of any month.
    """
    known: dict[str, SheetRow] = {}
    for path in sorted((results / "exposures").glob("[12]" + "[0-9]" * 5 + ".tsv")):
        known |= {row.exposure: row for row in read_sheet(path)}
    rows: dict[str, dict[str, SheetRow]] = {}
    found: dict[str, _Found] = {}
    for stem, frame in frames.items():
        row = look.row(*frame, known.get(stem))
        month = row.date_obs[:7].replace("-", "")
        rows.setdefault(month, {})[stem] = row
        found.setdefault(month, {})[stem] = frame
    return rows, found


def _without_raw(row: SheetRow, sheet: Path) -> SheetRow | None:
    """Return the row of an exposure whose raw frame is gone, None if nothing was made of it."""
    made = sheet.with_suffix("") / row.exposure / f"{row.exposure}_quadrants.parquet"
    if row.status not in (*USABLE, GONE, SUPERSEDED) or not made.is_file():
        return None
    return replace(row, file="", status=GONE, reason="the raw frame is gone; its products are kept")


def _settle_versions(rows: dict[str, SheetRow], found: _Found, look: _Look) -> None:
    """Of several versions of an exposure the newest that can be used counts; the others are only listed."""
    versions: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for stem in rows:
        name = look.instrument.names.parse(stem)
        versions.setdefault(name.same, []).append((name.version, stem))
    for several in versions.values():
        newest = ""
        for version, stem in sorted(several, reverse=True):
            if not newest:
                if rows[stem].status == SUPERSEDED:  # what superseded it is gone, or broken
                    rows[stem] = look.row(*found[stem], None)
                if rows[stem].status in (*USABLE, GONE, IMPORTED):
                    newest, reason = stem, f"version {version:02d} of it is there: {stem}"
            elif rows[stem].status != KNOWN_BAD:
                rows[stem] = replace(rows[stem], status=SUPERSEDED, reason=reason)


def _say_what_is_left(month: str, rows: Collection[SheetRow], settings: Settings) -> None:
    """Say that a month has no frames, or that some are left for later: else that looks like success."""
    if not rows:
        log.warning("%s: no exposures in %s", month, ", ".join(settings.raw))
    if growing := sum(row.status == GROWING for row in rows):
        age = settings.index.growing_age
        log.warning("%s: %d frames changed less than %g s ago are left for a later run", month, growing, age)


_NAMED = 8  # missing quadrants
_LONGEST = 86400.0  # s, an exposure time of imported tables
_SHOWN = 3  # frames named in a warning; the sheet has all


def _warn(path: Path, changed: Sequence[SheetRow]) -> None:
    """Say which of the frames that are new or changed are not as they should be."""
    for status in (UNREADABLE, INCOMPLETE, OK):
        rows = [row for row in changed if row.status == status and row.reason]
        what = "odd" if status == OK else status
        for row in rows[:_SHOWN]:
            log.warning("%s: %s: %s", row.exposure, what, row.reason)
        if len(rows) > _SHOWN:
            log.warning("%s: and %d more %s frames", path, len(rows) - _SHOWN, what)


_Found = dict[str, tuple[Path, os.stat_result]]  # exposure -> file, and what the system says of it


def _find_frames(settings: Settings, months: Sequence[str] | None, names: NamePattern) -> dict[str, _Found]:
    """Return month -> exposure -> (file, stat) of all raw files of `months`.

    Where names do not tell the month, all files are under "".
    """
    suffixes = tuple(s.lower() for s in settings.index.suffixes)
    wanted = set(months or ()) if names.tell_start else {""}
    found: dict[str, _Found] = {month: {} for month in wanted}
    odd: list[str] = []
    others: list[str] = []
    for folder in settings.raw:
        for entry, state in _walk(Path(folder)):
            if not entry.name.lower().endswith(suffixes):
                if is_fits_like(entry.name) and not stat.S_ISDIR(state.st_mode):
                    others.append(entry.path)
                continue
            try:
                month = names.parse(entry.name).month
            except NameFormatError:
                odd += [entry.path] * (not stat.S_ISDIR(state.st_mode))
                continue
            if month not in wanted or (not month and stat.S_ISDIR(state.st_mode)):
                continue
            stem, path = stem_of(entry.name), Path(entry.path)
            other = found[month].get(stem)
            if other is not None:
                log.warning("%s: found twice, %s and %s", stem, other[0], path)
                if _rank(other[0], suffixes) <= _rank(path, suffixes):
                    continue
            found[month][stem] = (path, state)
    _say_what_is_odd(odd, "are not named like raw frames")
    _say_what_is_odd(others, f"have none of the endings {' '.join(suffixes)}")
    return found


def _say_what_is_odd(paths: Sequence[str], what: str) -> None:
    if paths:
        shown = ", ".join(map(repr, paths[:_SHOWN])) + ", ..." * (len(paths) > _SHOWN)
        log.warning("%d FITS files %s and are left alone: %s", len(paths), what, shown)


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield what is below a folder in order of name, a folder after what is in it.

    What may not be looked into is skipped with a warning. Links are followed, those
    that lead nowhere are yielded as links.
    """
    try:
        real = folder.resolve()
        if real in above:  # a link that leads back
            return
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        log.warning("%s: cannot be looked into (%s)", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):  # not ready yet: rsync's half files, and the folders it keeps them in
            continue
        try:
            state = entry.stat()
        except OSError:  # gone since it was listed, or a link to what is away
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue
        if stat.S_ISDIR(state.st_mode):
            yield from _walk(Path(entry.path), (*above, real))
        yield entry, state


def _rank(path: Path, suffixes: Sequence[str]) -> int:
    return next(i for i, s in enumerate(suffixes) if path.name.lower().endswith(s))


_READING = 2  # raised when headers are read in another way, so that they are all read again


@dataclass(frozen=True)
class _Look:
    """One look at raw files: what their rows are now."""

    settings: Settings
    instrument: Instrument
    now: float  # seconds since 1970
    on_read: Callable[[], None]

    @cached_property
    def context(self) -> str:
        """Changes with what decides how a header is read."""
        names = {"geometry", "frame_types", "earliest_date", "exposure_time_ranges", "header", "amplifiers"}
        facts = self.instrument.model_dump(mode="json", include=names)
        index = self.settings.index
        return digest(
            facts, {"detectors": index.detectors, "late": index.date_after_name, "reading": _READING}
        )

    def row(self, file: Path, state: os.stat_result, known: SheetRow | None) -> SheetRow:
        """Return the row of one raw file: the old one where the file did not change."""
        stem = stem_of(file.name)
        bad = stem in self.settings.known_bad
        if known is not None and not bad and known.status in (OK, INCOMPLETE, UNREADABLE, SUPERSEDED):
            seen = (str(file), state.st_size, state.st_mtime_ns, self.context)
            if (known.file, known.size, known.mtime, known.context) == seen:
                return known
        start = self.instrument.names.parse(stem).start
        blank = replace(_blank(stem, file, state, start), context=self.context)
        if bad:
            return replace(blank, status=KNOWN_BAD, reason="listed in known_bad")
        if reason := _obstacle(file, state):
            return replace(blank, status=UNREADABLE, reason=reason)
        if abs(self.now - state.st_mtime) < self.settings.index.growing_age:  # clocks differ a little
            return replace(blank, status=GROWING, reason="changed a moment ago; left for later")
        self.on_read()
        row = _inspect(blank, file, self.settings.index, self.instrument)
        if row.status == UNREADABLE and known is not None and known.frame_type != "UNKNOWN":
            # What is known of the exposure stays known; only its file has been broken since.
            return replace(row, **{name: getattr(known, name) for name in FROM_HEADER})
        return row


def _obstacle(file: Path, state: os.stat_result) -> str:
    """Return why a file is not even opened, "" if it can be."""
    if kind := file_kind_problem(state.st_mode):
        return f"{file}: {kind}, not a file"
    if reason := unfit_path(str(file)):
        return f"{str(file)!r}: the path {reason}; rename the folder"
    return ""


def _blank(stem: str, file: Path, state: os.stat_result, named: datetime | None) -> SheetRow:
    """Return a row of which nothing is known yet; a file without a date is listed under its own time."""
    start = named or datetime.fromtimestamp(state.st_mtime, UTC)
    empty: dict[str, Any] = dict.fromkeys(COLUMNS, "") | dict.fromkeys(NUMBERS, math.nan) | {"flags": 0}
    values = empty | {
        "exposure": stem,
        "file": str(file),
        "frame_type": "UNKNOWN",
        "date_obs": start.strftime("%Y-%m-%dT%H:%M:%S.000"),
        "date_source": "name" if named else "file",
        "size": state.st_size,
        "mtime": state.st_mtime_ns,
    }
    return SheetRow(**values)


def _inspect(blank: SheetRow, file: Path, settings: IndexSettings, instrument: Instrument) -> SheetRow:
    from visql_lib.frames.look import inspect  # imports astropy: only where a header is read

    try:
        structure = inspect(file, instrument, after_name=settings.date_after_name)
    except FrameError as error:
        log.info("%s", error)
        return replace(blank, status=UNREADABLE, reason=str(error))
    odd = "; ".join(structure.header.notes)
    row = replace(blank, status=OK, reason=odd, **header_values(structure.header))
    if structure.header.start is None:
        row = replace(row, date_source=blank.date_source)
    if not instrument.has_grid:
        if structure.quadrants == ():
            reason = f"{file}: holds no image of {instrument.name}"
            log.info("%s", reason)
            return replace(row, status=UNREADABLE, reason=reason)
        return row
    expected = [
        q.name for q in instrument.quadrants.values() if not settings.detectors or q.ccd in settings.detectors
    ]
    missing = [] if structure.quadrants is None else [q for q in expected if q not in structure.quadrants]
    if len(missing) == len(expected):
        reason = f"{file}: holds none of the quadrants of {instrument.name}"
        log.info("%s", reason)
        return replace(row, status=UNREADABLE, reason=reason)
    if missing:
        named = " ".join(missing[:_NAMED]) + " ..." * (len(missing) > _NAMED)
        reason = "; ".join(
            filter(None, [f"{len(missing)} of {len(expected)} quadrants missing: {named}", odd])
        )
        log.info("%s: %s", blank.exposure, reason)
        return replace(row, status=INCOMPLETE, reason=reason)
    return row


def header_values(header: ExposureHeader) -> dict[str, Any]:
    """Return the columns of a sheet row that come from a header."""
    values = asdict(header)
    values.pop("notes")
    start = values.pop("start")
    values["date_source"] = values.pop("start_source")
    if start is not None:
        values["date_obs"] = start.strftime("%Y-%m-%dT%H:%M:%S.") + f"{start.microsecond // 1000:03d}"
    return values


def _imported_rows(results: Path, month: str) -> Iterator[SheetRow]:
    """Yield rows of exposures that are known from imported tables only."""
    if not (results / "imported" / f"{month}.parquet").is_file():
        return
    from visql_lib.tables.imported import read_imported

    table = read_imported(results, month)
    if table is None:
        return
    empty: dict[str, Any] = (
        dict.fromkeys(COLUMNS, "") | dict.fromkeys(NUMBERS, math.nan) | dict.fromkeys(INTEGERS, 0)
    )
    for i, stem in enumerate(table["EXPOSURE"]):
        values = empty | {
            "exposure": str(stem),
            "frame_type": str(table["FRAME_TYPE"][i]),
            "date_obs": str(table["DATE_OBS"][i])[:23],
            "date_source": "name",
            "exptime": duration(float(table["EXPTIME"][i]), "EXPTIME", 0.0, _LONGEST).value,
            "status": IMPORTED,
            "reason": "from text tables of the original system",
        }
        yield SheetRow(**values)
