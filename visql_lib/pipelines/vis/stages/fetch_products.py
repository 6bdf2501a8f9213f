"""Selection of raw frames of an archive: names parsed, versions compared, newest first."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import NameFormatError
from visql_lib.frames.names import stem_of
from visql_lib.instruments.euclid_names import ArchiveName, RawName
from visql_lib.sheets.walker import walk

if TYPE_CHECKING:
    from visql_lib.archives.euclid import ListedProduct

log = logging.getLogger(__name__)

MARGIN = timedelta(days=2)  # queried in addition: clocks, ours or the archive's, may be wrong by a day
_GROWING = 3600.0  # s; a younger file may still grow, and is not called broken


@dataclass(frozen=True)
class ArchiveProduct:
    """One product of the archive, with its names parsed.

    ``name`` and ``raw`` are the archive's and the raw file's names as listed,
    ``exposure`` its stem in VISQL.
    """

    name: str
    raw: str
    archive: ArchiveName
    exposure: str
    start: datetime  # UTC, from the name of the raw file

    @property
    def month(self) -> str:
        """Month of the start, YYYYMM."""
        return f"{self.start:%Y%m}"

    @property
    def identity(self) -> tuple[str, int]:
        """A key that all versions of an exposure share."""
        return self.exposure.rpartition(".bin_")[0], self.archive.exposure

    @property
    def version(self) -> str:
        """Version of the file and of its processing, such as ``01-01.00``."""
        return f"{self.archive.version:02d}-{self.archive.processing}"

    @property
    def rank(self) -> tuple[int, tuple[int, ...], str]:
        """A sort key, larger for a newer version."""
        numbers = tuple(int(n) for n in self.archive.processing.split("."))
        return self.archive.version, numbers, self.name


def parse_products(listed: Iterable[ListedProduct]) -> tuple[list[ArchiveProduct], list[str]]:
    """Parse the names of raw frames; returns their products, and the archive names of the others."""
    products, others = [], []
    for item in listed:
        try:
            archive = ArchiveName.parse(item.archive)
            local = RawName.parse(archive.local_stem(item.raw))
        except NameFormatError as error:
            log.debug("%s", error)
            others.append(item.archive)
            continue
        products.append(ArchiveProduct(item.archive, item.raw, archive, local.stem, local.start))
    return products, others


def newest_versions(products: Iterable[ArchiveProduct]) -> tuple[list[ArchiveProduct], list[ArchiveProduct]]:
    """Separate the newest version of every exposure, the newest exposure first, from all older versions."""
    best: dict[tuple[str, int], ArchiveProduct] = {}
    older = []
    for product in products:
        other = best.setdefault(product.identity, product)
        if other.rank < product.rank:
            best[product.identity] = product
            older.append(other)
        elif other is not product:
            older.append(product)
    return sorted(best.values(), key=lambda p: (p.start, p.exposure), reverse=True), older


def query_since(now: datetime, days: float, last: datetime | None, explicit: date | None = None) -> date:
    """Choose the first day of a query.

    So many days ago, or the day of the last query if that is longer ago, less a margin: a
    machine that was off, or whose clock is wrong by a day, loses no frames. A day that
    the user gives is taken as it is.
    """
    if explicit is not None:
        return explicit
    start = now - timedelta(days=days)
    if last is not None and last < start:
        start = last
    return (start - MARGIN).astimezone(UTC).date()


def month_start(month: str) -> date:
    """Compute the first day on which the archive may have got frames of a month, with a margin."""
    return (datetime.strptime(month, "%Y%m").replace(tzinfo=UTC) - MARGIN).date()


@dataclass(frozen=True)
class LocalFrame:
    """A raw frame in a folder; broken: empty or no whole number of FITS blocks, and not still growing."""

    path: Path
    broken: bool


def frames_in(folders: Sequence[Path], suffixes: Sequence[str], now: float) -> dict[str, LocalFrame]:
    """Find the raw frames in folders and their subfolders, by exposure.

    A link counts even if its target is missing: that is a disk that is not mounted,
    not a frame that was lost.
    """
    found: dict[str, LocalFrame] = {}
    endings = tuple(suffix.lower() for suffix in suffixes)
    for entry, state in chain.from_iterable(walk(folder) for folder in folders):
        if stat.S_ISDIR(state.st_mode) or not entry.name.lower().endswith(endings):
            continue
        try:
            stem = RawName.parse(entry.name).stem
        except NameFormatError:
            continue
        known = found.get(stem)
        if known is None or known.broken:
            found[stem] = LocalFrame(Path(entry.path), _is_broken(entry.name, state, now))
    return found


def _is_broken(name: str, state: os.stat_result, now: float) -> bool:
    if stat.S_ISLNK(state.st_mode):  # without a target
        return False
    cut_off = name.lower().endswith(".fits") and state.st_size % 2880 != 0
    return (state.st_size == 0 or cut_off) and abs(now - state.st_mtime) > _GROWING


def is_inside(folder: Path, others: Collection[Path]) -> bool:
    """Check that a folder is one of others, or below one of them."""
    real = folder.resolve()
    return any(real.is_relative_to(other.resolve()) for other in others)


def target_of(folder: Path, product: ArchiveProduct) -> Path:
    """Name the file of a frame: a subfolder per month, ``.fits``."""
    return folder / product.month / f"{product.exposure}.fits"


def old_version_path(target: Path, version: str) -> Path:
    """Name the older file of the same name that a newer one replaces.

    It does not have the ending of a raw frame, so that it is not mistaken for one.
    """
    return target.with_name(f"{stem_of(target.name)}.{version}.fits.old")
