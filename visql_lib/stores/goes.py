"""The store of X-ray series of the Sun: one table per day (UTC), shared by all exposures and months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.goes import FAILED, FINAL, NONE, GoesDayFlux
from visql_lib.config import GoesSettings
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.radiation.goes import join_series
from visql_lib.stores.schemas import GOES_SERIES
from visql_lib.stores.versions import GOES_DAY_VERSION
from visql_lib.tables.store import read_meta, read_table, write_table


def goes_folder(results: str | Path) -> Path:
    """Compose the path of the folder of the series."""
    return Path(results) / "goes"


def goes_path(results: str | Path, day: date) -> Path:
    """Compose the path of the series of a day."""
    return goes_folder(results) / f"goes_{day:%Y%m%d}.parquet"


def days_around(start: datetime, before: float, after: float) -> list[date]:
    """List the days (UTC) from `before` to `after` [s] around a moment."""
    first, last = start - timedelta(seconds=before), start + timedelta(seconds=after)
    return [first.date() + timedelta(days=n) for n in range((last.date() - first.date()).days + 1)]


def write_day(path: Path, day: date, answer: GoesDayFlux, goes: GoesSettings) -> bool:
    """Write the series of a day; a failed one records the reason as ``failed``.

    A table with the same content stays as it is, so that nothing which hangs on
    it is made again; the time of its last query is that of its retry stamp (`retry_stamp`).

    Returns
    -------
    changed : bool
        Whether a table was written.
    """
    columns = answer.columns or GOES_SERIES.empty()
    meta: dict[str, Any] = {
        "day": day.isoformat(),
        "state": answer.state,
        "reason": answer.reason,
        "satellite": answer.satellite,
        "goes_product": answer.product,
        "version": answer.version,
        "source": answer.source,
        "asked": answer.asked,
        "origins": _source_names(goes),
    }
    if answer.state == FAILED:
        meta["failed"] = answer.reason
    changed = not _is_same(path, columns, meta, goes)
    if changed:
        write_table(path, columns, GOES_SERIES, meta=meta, **query_of(goes, day))
    if retry_stamp(path).is_file():
        retry_stamp(path).touch()
    return changed


def retry_stamp(path: Path) -> Path:
    """Compose the path of a day's retry stamp: when it was queried again without a change of its table."""
    return path.parent / "again" / f"{path.stem}.txt"


def _is_same(path: Path, columns: Mapping[str, NDArray], meta: dict[str, Any], goes: GoesSettings) -> bool:
    """Test whether a table holds the same series, and is equally final."""
    try:
        table = read_table(path, GOES_SERIES.names)
    except TableError:
        return False  # there is none, or none of ours
    if any(table.meta.get(key) != meta.get(key) for key in ({*meta, "failed"} - {"asked"})):
        return False
    if is_final(table.meta, goes) != is_final(meta, goes):
        return False
    new = GOES_SERIES.cast(columns)
    return all(np.array_equal(table[name], new[name], equal_nan=new[name].dtype.kind in "fM") for name in new)


def query_of(goes: GoesSettings, day: date) -> dict[str, Any]:
    """Compose the arguments of `write_table` that record the stage of a day and its query."""
    asked = {"satellites": goes.satellites_on(day)}  # neither the services, nor retries
    return {
        "stage": "goes",
        "stage_version": GOES_DAY_VERSION,
        "settings_hash": digest(asked),
    }


def _source_names(goes: GoesSettings) -> list[str]:
    """List the names of the sources queried."""
    where = {"folder": goes.folder, "server": goes.url}
    return [f"{source} {where[source]}" for source in goes.sources]


def is_current(path: Path, day: date, goes: GoesSettings, now: datetime | None = None) -> bool:
    """Test whether a day need not be queried (again).

    A day that failed is always asked for again; one that is not final (see
    `is_final`) once ``goes.refresh`` has passed since it was. One without any file
    also if other sources are configured now.

    Parameters
    ----------
    path : Path
        Of the table.
    day : date
        UTC.
    goes : GoesSettings
        The sources, and when a day is queried again.
    now : datetime, optional
        With a time zone; by default the clock's.
    """
    if not path.is_file():
        return False
    try:
        meta = read_meta(path)
    except TableError:
        return False  # not ours, or of a disk that was full
    origin = query_of(goes, day)
    wanted = {
        "product": GOES_SERIES.product,
        "day": day.isoformat(),
        "stage_version": origin["stage_version"],
        "settings": origin["settings_hash"],
    }
    if meta.get("state") == FAILED or any(meta.get(key) != value for key, value in wanted.items()):
        return False
    if meta.get("state") == NONE and meta.get("origins") != _source_names(goes):
        return False
    return is_final(meta, goes) or _since(path, meta, now) < timedelta(hours=goes.refresh)


def is_final(meta: dict[str, Any], goes: GoesSettings) -> bool:
    """Test by the metadata of a day whether nothing better is expected.

    That is so if it comes from the final product, or was asked for (with an
    answer) when it was ``goes.final_after`` old.
    """
    if meta.get("state") in (FINAL, FAILED):
        return meta["state"] == FINAL
    if not meta.get("asked") or not meta.get("day"):
        return False
    end = datetime.fromisoformat(meta["day"]).replace(tzinfo=UTC) + timedelta(days=1)
    return datetime.fromisoformat(meta["asked"]) >= end + timedelta(days=goes.final_after)


def must_query(path: Path, goes: GoesSettings, now: datetime | None = None) -> bool:
    """Test whether an existing day must be queried again in this run.

    Like `is_current`, but a day that failed is given ``goes.refresh``, too: all
    exposures around it would be made again with it.
    """
    try:
        meta = read_meta(path)
        day = date.fromisoformat(str(meta.get("day")))
        waited = _since(path, meta, now)
    except (TableError, ValueError):
        return True
    if meta.get("state") == FAILED:
        return waited >= timedelta(hours=goes.refresh)
    return not is_current(path, day, goes, now)


def _since(path: Path, meta: dict[str, Any], now: datetime | None) -> timedelta:
    """Compute how long ago a day was queried."""
    asked = datetime.fromisoformat(str(meta.get("asked")))
    note = retry_stamp(path)
    if note.is_file():
        asked = max(asked, datetime.fromtimestamp(note.stat().st_mtime, UTC))
    return (now or datetime.now(UTC)) - asked


def read_series(
    paths: Sequence[Path], goes: GoesSettings
) -> tuple[dict[str, NDArray], list[np.datetime64], dict[str, str]]:
    """Read the series of days, or of files the user gave (`visql goes`).

    Returns
    -------
    series : dict of arrays
        Joined, in order of time; see `visql_lib.radiation.goes.join_series`.
    provisional : list of datetime64[D]
        Days with a series that is not final.
    missing : dict
        Day (ISO) -> why there is nothing.

    Raises
    ------
    TableError
        If a file is not a table of such a series.
    """
    tables = [read_table(path, GOES_SERIES.names) for path in paths]
    days = [t for t in tables if "day" in t.meta]
    early = [np.datetime64(t.meta["day"], "D") for t in days if t.n_rows and not is_final(t.meta, goes)]
    missing = {str(t.meta["day"]): str(t.meta.get("reason", "")) for t in days if not t.n_rows}
    return join_series(tables), early, missing
