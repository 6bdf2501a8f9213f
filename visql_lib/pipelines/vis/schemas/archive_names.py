"""The table of an archive's products: archive names, raw names, versions, and download states."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.atomic import atomic_path
from visql_lib.tables.schema import Column, TableSchema
from visql_lib.tables.store import Table, read_table, write_table

log = logging.getLogger(__name__)

# What may become of a product.
HERE, MISSING, OLDER, GONE, REFUSED, FAILED, LEFT_OUT = (
    "here",
    "missing",
    "older",
    "gone",
    "refused",
    "failed",
    "left_out",
)

ARCHIVE_NAMES = TableSchema(
    "archive_names",
    "Raw frames listed by the archive; rows are added and updated, never removed.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("ARCHIVE_NAME", "str", "", "name of the product in the archive"),
        Column("RAW_NAME", "str", "", "name of the raw file it was made of, as the archive has it"),
        Column("VERSION", "str", "", "version of the file, and of its processing"),
        Column("FIRST_SEEN", "time", "", "when it was first listed here, UTC"),
        Column(
            "STATE",
            "str",
            "",
            "here; missing: not downloaded yet; older: a newer version is used; gone: deleted here, but its "
            "products exist; refused: broken in the archive, or access denied; failed; left_out: known_bad",
        ),
        Column("TRIED", "time", "", "last attempt to download it, UTC"),
        Column("REASON", "str", "", "why it failed"),
    ),
)

DONE = "complete_until"  # in the metadata: what the archive got before that time [ISO 8601, UTC] was loaded
_NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class ArchiveRow:
    """One product of the archive; see `ARCHIVE_NAMES`."""

    exposure: str
    archive_name: str
    raw_name: str
    version: str
    first_seen: np.datetime64
    state: str = MISSING
    tried: np.datetime64 = _NEVER
    reason: str = ""


def names_path(results: Path) -> Path:
    """Compose the path of the table."""
    return results / "archive_names.parquet"


def text_path(results: Path) -> Path:
    """Compose the path of the text table in the original's format."""
    return results / "le1-vs-iws.txt"


def read_names(results: Path) -> tuple[dict[str, ArchiveRow], datetime | None]:
    """Read the table: rows by archive name, and the date up to which it is complete; empty if none.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    path = names_path(results)
    if not path.is_file():
        return {}, None
    table = read_table(path, ARCHIVE_NAMES.names)
    rows = [ArchiveRow(*map(_plain, values)) for values in zip(*table.values(), strict=True)]
    return {row.archive_name: row for row in rows}, _done(table)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def _done(table: Table) -> datetime | None:
    try:
        return datetime.fromisoformat(table.meta.get(DONE, "")).astimezone(UTC)
    except ValueError:
        return None


@contextmanager
def names_lock(results: Path) -> Iterator[None]:
    """Lock the table against changes by other processes."""
    from filelock import FileLock

    results.mkdir(parents=True, exist_ok=True)
    with FileLock(results / ".archive_names.lock"):
        yield


def merge_names(
    results: Path,
    rows: Iterable[ArchiveRow],
    *,
    done: datetime | None = None,
    **provenance: Any,
) -> None:
    """Merge rows into the table and its text; others stay as they are.

    What is known of a product stays known: the time it was first seen, and,
    where a row has none, of the last attempt. `done`: until when [UTC] all was
    loaded, if that is known anew.

    Raises
    ------
    TableError
        If the table cannot be read.
    """
    with names_lock(results):
        known, last = read_names(results)
        merged = known | {row.archive_name: _joined(known.get(row.archive_name), row) for row in rows}
        done = done or last
        same = done == last and repr(merged) == repr(known)  # a time that is none equals no other
        if not same or not text_path(results).is_file():
            _write(results, merged, done, provenance)


def _joined(old: ArchiveRow | None, new: ArchiveRow) -> ArchiveRow:
    if old is None:
        return new
    tried = old.tried if np.isnat(new.tried) else new.tried
    return replace(new, first_seen=min(old.first_seen, new.first_seen), tried=tried)


def _write(
    results: Path, rows: Mapping[str, ArchiveRow], done: datetime | None, provenance: Mapping[str, Any]
) -> None:
    ordered = sorted(rows.values(), key=lambda r: (r.exposure, r.version, r.archive_name))
    names = [f.name for f in fields(ArchiveRow)]
    columns: dict[str, Any] = {name.upper(): [getattr(row, name) for row in ordered] for name in names}
    if not ordered:
        columns = {**ARCHIVE_NAMES.empty()}
    meta = {DONE: done.isoformat(timespec="seconds")} if done else {}
    write_table(names_path(results), columns, ARCHIVE_NAMES, meta=meta, **provenance)
    lines = ['"Header.ProductId.LimitedString","Data.InputRawFiles.RawFile"']
    lines += [f'"{row.archive_name}","{row.raw_name}"' for row in ordered]
    with atomic_path(text_path(results)) as temporary:
        temporary.write_bytes("".join(f"{line}\r\n" for line in lines).encode("ascii"))
