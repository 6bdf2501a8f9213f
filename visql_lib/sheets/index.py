"""The index of raw frames: sheets are brought up to date with what is in the raw folders.

Headers are read only for files that are new or changed (name, size and time
of change), so that an index of two thousand known exposures takes well below a
second. A sheet is written only if a row changed.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.instruments.model import Instrument
from visql_lib.sheets.row_builder import RowBuilder
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import (
    GONE,
    GROWING,
    INCOMPLETE,
    OK,
    PRODUCT,
    SUPERSEDED,
    UNREADABLE,
    USABLE,
    SheetRow,
    make_results,
    read_sheet,
    write_sheet,
)
from visql_lib.sheets.walker import SHOWN, IgnoredFiles, RawEntry, check_folders, find_entries, suffixes_of

log = logging.getLogger(__name__)

_Found = dict[str, tuple[Path, os.stat_result]]  # exposure -> file, and what the system says of it


def refresh_sheets(
    settings: Settings,
    instrument: Instrument,
    rules: SheetRules,
    groups: Sequence[str] | None,
    *,
    now: float | None = None,
    on_read: Callable[[], None] = lambda: None,
) -> dict[str, list[SheetRow]]:
    """Bring the sheets of `groups` up to date and return their rows.

    Parameters
    ----------
    settings : Settings
        Where raw frames and results are, and how old a file must be.
    instrument : Instrument
        Interprets headers.
    rules : SheetRules
        What the pipeline adds: how frames are grouped, further rows.
    groups : sequence of str or None
        Groups to list, such as months YYYYMM; None: all there are.
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

    check_folders(settings.raw)
    results = Path(settings.results)
    files = _find_files(settings, instrument, rules, groups)
    found = {} if not instrument.names.tell_start else _frames_in(files, suffixes_of(settings))
    folder = results / Path(rules.grouping.sheet).parts[0]
    make_results(folder)
    with FileLock(folder / ".lock"):
        builder = RowBuilder(settings, instrument, time.time() if now is None else now, on_read)
        index = _Index(results, builder, rules)
        built: dict[str, dict[str, SheetRow]] = {}
        if not instrument.names.tell_start:
            built, found = index.by_group(files)
        groups = index.groups_of(found, built) if groups is None else groups
        return {group: index.refresh(group, found.get(group, {}), built.get(group)) for group in groups}


@dataclass(frozen=True)
class _Index:
    """The sheets of some results, while their lock is held."""

    results: Path
    builder: RowBuilder
    rules: SheetRules

    def refresh(self, group: str, frames: _Found, built: dict[str, SheetRow] | None) -> list[SheetRow]:
        """Bring the sheet of one group up to date; `built` are the rows of its frames if they are there."""
        path = self.rules.grouping.sheet_path(self.results, group)
        known = {r.exposure: r for r in read_sheet(path)} if path.is_file() else {}
        rows = built or {stem: self.builder.row(*frame, known.get(stem)) for stem, frame in frames.items()}
        for stem, row in known.items():
            away = stem not in rows or stat.S_ISLNK(frames[stem][1].st_mode)  # on a disk not mounted
            if away and (kept := self._without_raw(row, group)) is not None:
                rows[stem] = kept
        for row in self.rules.rows_without_files(self.results, group):
            rows.setdefault(row.exposure, row)
        self.rules.settle(
            rows, self.builder.instrument.names, lambda stem: self.builder.row(*frames[stem], None)
        )
        write_sheet(path, rows.values())
        _warn_of_problems(path, [row for stem, row in rows.items() if row != known.get(stem)])
        _warn_of_rest(group, rows.values(), self.builder.settings)
        return sorted(rows.values(), key=lambda r: r.exposure)

    def groups_of(self, found: dict[str, _Found], built: dict[str, dict[str, SheetRow]]) -> list[str]:
        """List the groups of all files, but for those that hold nothing but files not looked into yet.

        These are listed by the time of the file, where they need not belong.
        """
        groups = []
        for group in sorted(found):
            rows = built.get(group, {}).values()
            sheet = self.rules.grouping.sheet_path(self.results, group)
            if rows and all(row.status == GROWING for row in rows) and not sheet.is_file():
                _warn_of_rest(group, rows, self.builder.settings)
            else:
                groups.append(group)
        return groups

    def by_group(self, files: Sequence[RawEntry]) -> tuple[dict[str, dict[str, SheetRow]], dict[str, _Found]]:
        """Build the rows of files whose names do not tell the date; return rows and files by group.

        What is known of a file stands in the sheet of any group; files of other groups may have its name.
        """
        known: dict[str, SheetRow] = {}
        for group in self.rules.grouping.groups(self.results):
            path = self.rules.grouping.sheet_path(self.results, group)
            known |= {row.file: row for row in read_sheet(path)}
        built = {f.path: self.builder.row(f.path, f.state, known.get(str(f.path))) for f in files}
        entries = (f._replace(group=self.rules.group_of_row(built[f.path])) for f in files)
        found = _frames_in(entries, suffixes_of(self.builder.settings))
        rows = {
            group: {name: built[path] for name, (path, _) in frames.items()}
            for group, frames in found.items()
        }
        return rows, found

    def _without_raw(self, row: SheetRow, group: str) -> SheetRow | None:
        """Return the row of an exposure whose raw frame is gone, None if nothing was made of it."""
        if row.status not in (*USABLE, GONE, SUPERSEDED):
            return None
        if not self.rules.has_products(self.results, group, row.exposure):
            return None
        return replace(row, file="", status=GONE, reason="the raw frame is gone; its products are kept")


def _find_files(
    settings: Settings, instrument: Instrument, rules: SheetRules, groups: Sequence[str] | None
) -> list[RawEntry]:
    """Find all raw files of `groups`; where names do not tell the group, all there are, of group ""."""
    ignored = IgnoredFiles()
    found = list(find_entries(settings, instrument.names, rules, groups, ignored))
    ignored.warn(suffixes_of(settings))
    return found


def _frames_in(files: Iterable[RawEntry], suffixes: Sequence[str]) -> dict[str, _Found]:
    """Return group -> exposure -> (file, stat); of an exposure in several files: by the first ending."""
    found: dict[str, _Found] = {}
    for entry in files:
        frames = found.setdefault(entry.group, {})
        other = frames.get(entry.exposure)
        if other is not None:
            log.warning("%s: found twice, %s and %s", entry.exposure, other[0], entry.path)
            if _rank(other[0], suffixes) <= _rank(entry.path, suffixes):
                continue
        frames[entry.exposure] = (entry.path, entry.state)
    return found


def _rank(path: Path, suffixes: Sequence[str]) -> int:
    return next(i for i, s in enumerate(suffixes) if path.name.lower().endswith(s))


def _warn_of_rest(group: str, rows: Collection[SheetRow], settings: Settings) -> None:
    """Warn that a group has no frames, or that some are left for later: else that looks like success."""
    if not rows:
        log.warning("%s: no exposures in %s", group, ", ".join(settings.raw))
    if growing := sum(row.status == GROWING for row in rows):
        age = settings.index.growing_age
        log.warning("%s: %d frames changed less than %g s ago are left for a later run", group, growing, age)


def _warn_of_problems(path: Path, changed: Sequence[SheetRow]) -> None:
    """Warn of those new or changed frames that are not as they should be; the sheet has all."""
    for status in (UNREADABLE, INCOMPLETE, PRODUCT, OK):
        rows = [row for row in changed if row.status == status and row.reason]
        what = "odd" if status == OK else status
        for row in rows[:SHOWN]:
            log.warning("%s: %s: %s", row.exposure, what, row.reason)
        if len(rows) > SHOWN:
            log.warning("%s: and %d more %s frames", path, len(rows) - SHOWN, what)
