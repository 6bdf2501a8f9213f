"""Select raw frames of an archive: parse their names, choose the newest versions, sort by date."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.errors import NameFormatError
from visql_lib.frames.names import ArchiveName, RawName, stem_of

if TYPE_CHECKING:
    from visql_lib.archives.euclid import Listed

log = logging.getLogger(__name__)

MARGIN = timedelta(days=2)  # added to a query, because the clock of either machine may be wrong by a day
_GROWING = 3600.0  # s; a file written by another program is not called broken before


@dataclass(frozen=True)
class Product:
    """One product of the archive, with parsed names.

    ``name`` and ``raw`` are the names of the product and of the raw file as listed,
    ``exposure`` is the exposure name used by VISQL.
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
        """Key shared by all versions of an exposure."""
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
    """Return the products that are raw frames, and the archive names of all others."""
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
    """Return the first day of an archive query.

    This is `days` ago, or the time of the last query if that is longer ago, minus a margin,
    so that no frames are lost if a machine was off or its clock is wrong by a day. A day
    given by the user is used without change.
    """
    if explicit is not None:
        return explicit
    start = now - timedelta(days=days)
    if last is not None and last < start:
        start = last
    return (start - MARGIN).astimezone(UTC).date()


def month_start(month: str) -> date:
    """Return the first day on which frames of a month may have reached the archive, with a margin."""
    return (datetime.strptime(month, "%Y%m").replace(tzinfo=UTC) - MARGIN).date()


@dataclass(frozen=True)
class Found:
    """A raw frame in a folder; broken if empty or not a whole number of FITS blocks, and not growing."""

    path: Path
    broken: bool


def frames_in(folders: Sequence[Path], suffixes: Sequence[str], now: float) -> dict[str, Found]:
    """Return the raw frames in folders and their subfolders, by exposure.

    A broken link counts as well: its disk may not be mounted, but the frame is not
    lost.
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
            if real in seen:  # a circular link, or a folder given twice
                below.clear()
                continue
            seen.add(real)
            yield from (Path(root, name) for name in names)


def _is_broken(path: Path, now: float) -> bool:
    try:
        state = path.stat()
    except OSError:  # a broken link
        return False
    odd = path.name.endswith(".fits") and state.st_size % 2880 != 0
    return (state.st_size == 0 or odd) and abs(now - state.st_mtime) > _GROWING


def is_inside(folder: Path, others: Collection[Path]) -> bool:
    """Tell whether a folder is one of the others, or inside one of them."""
    real = folder.resolve()
    return any(real.is_relative_to(other.resolve()) for other in others)


def target_of(folder: Path, product: Product) -> Path:
    """Return the path of a downloaded frame: one subfolder per month, ending in ``.fits``."""
    return folder / product.month / f"{product.exposure}.fits"


def kept_name(target: Path, version: str) -> Path:
    """Return the new name of an older file that a newer one of the same name replaces.

    It does not have the ending of a raw frame, so that it is not mistaken for one.
    """
    return target.with_name(f"{stem_of(target.name)}.{version}.fits.old")
