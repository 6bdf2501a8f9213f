"""Which raw frames of an archive are wanted: names understood, versions sorted out, newest first."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import NameFormatError
from visql_lib.frames.names import stem_of
from visql_lib.instruments.euclid_names import ArchiveName, RawName

if TYPE_CHECKING:
    from visql_lib.archives.euclid import Listed

log = logging.getLogger(__name__)

MARGIN = timedelta(days=2)  # asked for in addition: clocks, ours or the archive's, may be wrong by a day
_GROWING = 3600.0  # s; a file of others is not called broken before


@dataclass(frozen=True)
class Product:
    """One product of the archive, its names understood.

    ``name`` and ``raw`` are the archive's and the raw file's names as listed,
    ``exposure`` the stem VISQL gives it.
    """

    name: str
    raw: str
    archive: ArchiveName
    exposure: str
    start: datetime  # UTC, as the name of the raw file has it

    @property
    def month(self) -> str:
        """Month of the start, YYYYMM."""
        return f"{self.start:%Y%m}"

    @property
    def identity(self) -> tuple[str, int]:
        """What all versions of an exposure share."""
        return self.exposure.rpartition(".bin_")[0], self.archive.exposure

    @property
    def version(self) -> str:
        """Version of the file and of its processing, such as ``01-01.00``."""
        return f"{self.archive.version:02d}-{self.archive.processing}"

    @property
    def rank(self) -> tuple[int, tuple[int, ...], str]:
        """Larger for a newer version."""
        numbers = tuple(int(n) for n in self.archive.processing.split("."))
        return self.archive.version, numbers, self.name


def understand(listed: Iterable[Listed]) -> tuple[list[Product], list[str]]:
    """Return products whose names are those of raw frames, and the archive names of the others."""
    products, odd = [], []
    for item in listed:
        try:
            archive = ArchiveName.parse(item.archive)
            local = RawName.parse(archive.local_stem(item.raw))
        except NameFormatError as error:
            log.debug("%s", error)
            odd.append(item.archive)
            continue
        products.append(Product(item.archive, item.raw, archive, local.stem, local.start))
    return products, odd


def newest_versions(products: Iterable[Product]) -> tuple[list[Product], list[Product]]:
    """Return the newest version of every exposure, the newest exposure first, and all older versions."""
    best: dict[tuple[str, int], Product] = {}
    older = []
    for product in products:
        other = best.setdefault(product.identity, product)
        if other.rank < product.rank:
            best[product.identity] = product
            older.append(other)
        elif other is not product:
            older.append(product)
    return sorted(best.values(), key=lambda p: (p.start, p.exposure), reverse=True), older


def ask_since(now: datetime, days: float, last: datetime | None, explicit: date | None = None) -> date:
    """Return the day from which on the archive is asked.

    So many days ago, or when it was asked last if that is longer ago, less a margin: a
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
    """Return the day from which on the archive may have got frames of a month, with a margin."""
    return (datetime.strptime(month, "%Y%m").replace(tzinfo=UTC) - MARGIN).date()


@dataclass(frozen=True)
class Found:
    """A raw frame in a folder; broken: empty, or no whole number of FITS blocks, and not just growing."""

    path: Path
    broken: bool


def frames_in(folders: Sequence[Path], suffixes: Sequence[str], now: float) -> dict[str, Found]:
    """Return the raw frames in folders and their subfolders, by exposure.

    A link counts even if what it points to is away: that is a disk that is not
    mounted, not a frame that was lost.
    """
    found: dict[str, Found] = {}
    for path in _files(folders):
        if path.name.startswith(".") or not path.name.endswith(tuple(suffixes)):
            continue
        try:
            stem = RawName.parse(path.name).stem
        except NameFormatError:
            continue
        known = found.get(stem)
        if known is None or known.broken:
            found[stem] = Found(path, _is_broken(path, now))
    return found


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    seen: set[str] = set()
    for folder in folders:
        for root, below, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:  # a link that leads back, or a folder named twice
                below.clear()
                continue
            seen.add(real)
            yield from (Path(root, name) for name in names)


def _is_broken(path: Path, now: float) -> bool:
    try:
        state = path.stat()
    except OSError:  # a link to what is away
        return False
    odd = path.name.endswith(".fits") and state.st_size % 2880 != 0
    return (state.st_size == 0 or odd) and abs(now - state.st_mtime) > _GROWING


def is_inside(folder: Path, others: Collection[Path]) -> bool:
    """Tell whether a folder is one of others, or below one of them."""
    real = folder.resolve()
    return any(real.is_relative_to(other.resolve()) for other in others)


def target_of(folder: Path, product: Product) -> Path:
    """Return where a frame is put: a subfolder per month, ``.fits``."""
    return folder / product.month / f"{product.exposure}.fits"


def kept_name(target: Path, version: str) -> Path:
    """Return what an older file of the same name is called when a newer one takes its place.

    It does not end like a raw frame, so nothing takes it for one.
    """
    return target.with_name(f"{stem_of(target.name)}.{version}.fits.old")
