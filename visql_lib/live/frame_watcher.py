"""Watching the raw folders for new and changed frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.errors import ConfigError
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines import registry_of, sheet_rules_of
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import GROWING, SheetRow, read_sheet
from visql_lib.sheets.walker import raw_files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """The exposures there are to work on, and the settings to do it with."""

    settings: str  # digest
    groups: tuple[str, ...]
    exposures: frozenset[tuple[str, str, str]]  # name, status, fingerprint; without those that still grow

    @classmethod
    def from_rows(cls, settings: Settings, groups: tuple[str, ...], rows: Iterable[SheetRow]) -> Snapshot:
        """Build a snapshot from the rows of sheets."""
        found = ((row.exposure, row.status, row.fingerprint) for row in rows if row.status != GROWING)
        return cls(digest(settings), groups, frozenset(found))

    def count_new(self, before: Snapshot) -> int:
        """Count the exposures that are new or changed since another snapshot."""
        return len(self.exposures - before.exposures)


class FrameWatcher:
    """Watches the raw folders.

    Names, sizes and times are compared with those of the last snapshot; the sheets
    are refreshed only if one of them changed.

    Parameters
    ----------
    today : callable, optional
        The clock, for groups such as the present month.
    """

    def __init__(self, today: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._today = today
        self._files: dict[str, dict[Path, tuple[int, int]]] = {}
        self._last: Snapshot | None = None
        self.growing = False  # whether there are frames too young to be worked on
        self.new = 0  # exposures that were new or changed in the last snapshot

    def snapshot(self, settings: Settings, on_read: Callable[[], None] = lambda: None) -> Snapshot:
        """Take a snapshot; the last one again if nothing changed.

        Parameters
        ----------
        settings : Settings
            The folders of raw frames and results.
        on_read : callable, optional
            Called for every file whose header was read.

        Raises
        ------
        ConfigError
            If a raw folder does not exist, or has lost all its frames at once.
        TableError
            If a sheet cannot be read.
        """
        groups = tuple(settings.groups_at(self._today()))
        instrument, rules = load_instrument(settings.instrument), sheet_rules_of(settings)
        found = raw_files(settings, instrument.names, rules, groups)
        files = {
            folder: {path: (stat.st_size, stat.st_mtime_ns) for path, stat in frames.items()}
            for folder, frames in found.items()
        }
        last = self._last
        same_groups = last is not None and last.groups == groups
        if same_groups:
            self._check_mounts(files)
        self.new = 0
        if last is not None and same_groups and not self.growing and files == self._files:
            if last.settings == digest(settings):
                return last
            log.info("the settings changed")
        before = last or _snapshot_before(settings, groups)
        sheets = refresh_sheets(settings, instrument, rules, groups, on_read=on_read)
        rows = [row for sheet in sheets.values() for row in sheet]
        snapshot = Snapshot.from_rows(settings, groups, rows)
        self.new, self.growing = snapshot.count_new(before), any(row.status == GROWING for row in rows)
        self._files, self._last = files, snapshot
        return snapshot

    def _check_mounts(self, files: dict[str, dict[Path, tuple[int, int]]]) -> None:
        """Refuse a folder that has lost all its frames: it may be a disk that is not mounted."""
        for folder, before in self._files.items():
            if before and folder in files and not files[folder]:
                raise ConfigError(
                    f"raw: all {len(before)} frames of {folder!r} are gone at once; is it mounted? "
                    "Nothing is run. If this is intended, restart `visql watch`"
                )


def _snapshot_before(settings: Settings, groups: tuple[str, ...]) -> Snapshot:
    """Build the snapshot of the sheets as they are before the first look."""
    grouping = registry_of(settings).grouping
    paths = [grouping.sheet_path(Path(settings.results), group) for group in groups]
    return Snapshot.from_rows(
        settings, groups, [row for path in paths if path.is_file() for row in read_sheet(path)]
    )
