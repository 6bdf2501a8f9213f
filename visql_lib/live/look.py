"""A look at the raw frames: is anything new or changed?"""

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
from visql_lib.live.raw import raw_files
from visql_lib.plan import month_list
from visql_lib.tables.sheet import GROWING, SheetRow, read_sheet, sheet_path
from visql_lib.tables.sheet_look import refresh_sheets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """What there is to work on."""

    settings: str  # digest
    months: tuple[str, ...]
    exposures: frozenset[tuple[str, str, str]]  # name, status, fingerprint; without those that still grow

    @classmethod
    def of(cls, settings: Settings, months: tuple[str, ...], rows: Iterable[SheetRow]) -> View:
        """Return what the rows of sheets show."""
        found = ((row.exposure, row.status, row.fingerprint) for row in rows if row.status != GROWING)
        return cls(digest(settings), months, frozenset(found))

    def new(self, before: View) -> int:
        """Return the number of exposures that are new or changed."""
        return len(self.exposures - before.exposures)


class Looker:
    """Looks at the raw folders again and again.

    Names, sizes and times are compared with those of the last look; the sheets
    are refreshed only if one of them changed.

    Parameters
    ----------
    today : callable, optional
        Says what time it is, for `auto` months.
    """

    def __init__(self, today: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._today = today
        self._files: dict[str, dict[Path, tuple[int, int]]] = {}
        self._last: View | None = None
        self.growing = False  # whether there are frames too young to be worked on
        self.new = 0  # exposures that the last look found new or changed

    def look(self, settings: Settings, on_read: Callable[[], None] = lambda: None) -> View:
        """Look, and return what there is.

        Parameters
        ----------
        settings : Settings
            Where raw frames and results are.
        on_read : callable, optional
            Called for every file whose header was read.

        Raises
        ------
        ConfigError
            If a raw folder does not exist, or has lost all its frames at once.
        TableError
            If a sheet cannot be read.
        """
        months = tuple(month_list(settings.months, self._today()))
        found = raw_files(settings, months)
        files = {
            folder: {path: (stat.st_size, stat.st_mtime_ns) for path, stat in frames.items()}
            for folder, frames in found.items()
        }
        last = self._last
        same_months = last is not None and last.months == months
        if same_months:
            self._check_mounts(files)
        self.new = 0
        if last is not None and same_months and not self.growing and files == self._files:
            if last.settings == digest(settings):
                return last
            log.info("the settings changed")
        before = last or _known(settings, months)
        sheets = refresh_sheets(settings, load_instrument(settings.instrument), months, on_read=on_read)
        rows = [row for sheet in sheets.values() for row in sheet]
        view = View.of(settings, months, rows)
        self.new, self.growing = view.new(before), any(row.status == GROWING for row in rows)
        self._files, self._last = files, view
        return view

    def _check_mounts(self, files: dict[str, dict[Path, tuple[int, int]]]) -> None:
        """Refuse a folder that has lost all: what hangs on a medium that is not there is not gone."""
        for folder, before in self._files.items():
            if before and folder in files and not files[folder]:
                raise ConfigError(
                    f"raw: all {len(before)} frames of {folder!r} are gone at once; is it mounted? "
                    "Nothing is run. If this is meant, start `visql watch` anew"
                )


def _known(settings: Settings, months: tuple[str, ...]) -> View:
    """Return what the sheets knew before we came."""
    paths = [sheet_path(Path(settings.results), month) for month in months]
    return View.of(settings, months, [row for path in paths if path.is_file() for row in read_sheet(path)])
