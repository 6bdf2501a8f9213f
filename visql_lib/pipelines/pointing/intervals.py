"""Intervals of time that get a movie of their own: a CSV file of the user."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from visql_lib.errors import ConfigError
from visql_lib.values import moment

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", re.ASCII)


@dataclass(frozen=True)
class Interval:
    """A label, which becomes a file's name, and from when to when (UTC)."""

    label: str
    start: datetime
    end: datetime

    def may_hold(self, night: str) -> bool:
        """Say whether frames of a night, YYYYMMDD of its evening, may lie in it, wherever the telescope is."""
        evening = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC)
        return self.start < evening + timedelta(days=2.5) and self.end > evening - timedelta(days=0.5)


def read_intervals(path: str) -> list[Interval]:
    """Read a CSV file with the columns label, start, end; "" for no file.

    Raises
    ------
    ConfigError
        Naming the line that is wrong.
    """
    if not path:
        return []
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"movie.intervals: {path}: cannot be read ({error})") from error
    found = [_interval(row, f"movie.intervals: {path}, line {n}") for n, row in enumerate(rows, start=2)]
    if twice := {i.label for i in found if sum(j.label == i.label for j in found) > 1}:
        raise ConfigError(f"movie.intervals: {path}: {min(twice)!r} is there twice; labels name files")
    return found


def _interval(row: dict[str, str | None], where: str) -> Interval:
    label = (row.get("label") or "").strip()
    if not _LABEL.fullmatch(label):
        raise ConfigError(f"{where}: label {label!r}: write letters, digits and . _ + -, as it names a file")
    start, end = (moment((row.get(key) or "").strip()) for key in ("start", "end"))
    if start is None or end is None or not start < end:
        raise ConfigError(f"{where}: write start and end (UTC) as 2021-06-12T05:00:00, the start first")
    return Interval(label, start, end)
