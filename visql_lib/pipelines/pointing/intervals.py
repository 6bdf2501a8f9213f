"""Intervals of time that get a movie of their own: a CSV file of the user."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from visql_lib.errors import ConfigError, shorten
from visql_lib.values import moment

_HEAD = ("label", "start", "end")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)  # names the movie's file


@dataclass(frozen=True)
class Interval:
    """A label, and the first and last start of its exposures, UTC."""

    label: str
    start: datetime
    end: datetime

    def may_hold(self, night: str) -> bool:
        """Say whether frames of a night, YYYYMMDD of its evening, may lie in it, anywhere on Earth."""
        evening = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC)
        return self.start < evening + timedelta(days=2.5) and self.end > evening - timedelta(days=0.5)

    def contains(self, starts: np.ndarray) -> np.ndarray:
        """Say which starts of exposures (datetime64, UTC) are within; NaT is not."""
        first, last = (np.datetime64(t.replace(tzinfo=None), "us") for t in (self.start, self.end))
        return (starts >= first) & (starts <= last)


def read_intervals(path: str) -> list[Interval]:
    """Read a file of intervals, "" for none: CSV with the head ``label,start,end``.

    Times are ISO 8601, UTC unless they have an offset. Empty lines and those that begin with # are
    left out.

    Raises
    ------
    ConfigError
        If the file cannot be read, or with a line per wrong row.
    """
    if not path:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"movie.intervals: {path}: cannot be read ({reason})") from error
    cells = [(n, _cells(line)) for n, line in enumerate(lines, 1) if _says(line)]
    if not cells or tuple(cell.lower() for cell in cells[0][1]) != _HEAD:
        raise ConfigError(f"movie.intervals: {path}: its first line must be {','.join(_HEAD)}")
    found: dict[str, Interval] = {}
    wrong = []
    for number, row in cells[1:]:
        try:
            interval = _interval(row)
            if interval.label in found:
                raise ValueError(f"{interval.label!r} is there twice; labels name files")
            found[interval.label] = interval
        except ValueError as error:
            wrong.append(f"movie.intervals: {path}, line {number}: {error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return list(found.values())


def find_interval(path: str, label: str) -> Interval:
    """Find an interval in a file of intervals; see `read_intervals`.

    Raises
    ------
    ConfigError
        If it is not there either.
    """
    found = {interval.label: interval for interval in read_intervals(path)}
    if label not in found:
        where = path or "movie.intervals is not set"
        raise ConfigError(f"no interval {label!r}: {where}; there are: {', '.join(found) or 'none'}")
    return found[label]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line]), [])]


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _interval(row: list[str]) -> Interval:
    """Check a row.

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    if len(row) != len(_HEAD):
        raise ValueError(f"{len(row)} values; write {','.join(_HEAD)}")
    label, *texts = row
    if not _LABEL.fullmatch(label):
        raise ValueError(f"label {shorten(label)}: write letters, digits, _ . - (it names a file)")
    times = [moment(text) for text in texts]
    for text, time in zip(texts, times, strict=True):
        if time is None:
            raise ValueError(f"{shorten(text)} is no time: write it as 2021-06-12T05:13:35")
    start, end = (time for time in times if time is not None)
    if end <= start:
        raise ValueError(f"ends at {texts[1]}, not after its start {texts[0]}")
    return Interval(label, start, end)
