"""Disk space for new frames: old raw frames are moved or, on explicit request, removed."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from visql_lib.atomic import put_in_place, sync_folder
from visql_lib.config import Settings
from visql_lib.errors import ConfigError, NameFormatError, TableError
from visql_lib.frames.names import stem_of
from visql_lib.instruments.model import load_instrument
from visql_lib.instruments.names import NamePattern
from visql_lib.live.errors import FrameMoveError
from visql_lib.pipelines import sheet_rules_of
from visql_lib.products.expected import Expected
from visql_lib.products.plan import Plan
from visql_lib.products.status import exposure_states
from visql_lib.sheets.grouping import Grouping
from visql_lib.sheets.sheet import OK, SheetRow
from visql_lib.sheets.walker import raw_files
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

_BLOCK = 1 << 22  # bytes copied at once
_DAY = 86400.0  # s
_NOT_MEASURED = {"legacy", "site", "movies", "performance"}  # parts that can be made again without raw frames


@dataclass(frozen=True)
class RawFile:
    """One raw file of a group, and the obstacle to moving or removing it."""

    path: Path
    size: int  # bytes
    mtime: int  # ns
    obstacle: str  # why it stays, "" if it is moved or removed

    @property
    def stem(self) -> str:
        """The exposure."""
        return stem_of(self.path.name)


def frames_to_move(settings: Settings, group: str, target: Path, now: float | None = None) -> list[RawFile]:
    """List the raw files of a group, each with the obstacle to moving it.

    Parameters
    ----------
    settings : Settings
        The raw folders, and how old frames must be.
    group : str
        Its key.
    target : Path
        The second location.
    now : float, optional
        Seconds since 1970.

    Raises
    ------
    ConfigError
        If the second location is in a raw folder, where frames would be found twice, or contains one.
    """
    elsewhere = target.resolve()
    for folder in settings.raw:
        inside = Path(folder).resolve()
        if elsewhere.is_relative_to(inside) or inside.is_relative_to(elsewhere):
            raise ConfigError(f"{target}: overlaps the raw folder {folder}; choose another folder")
    return list(_frames(settings, group, time.time() if now is None else now))


def _frames(settings: Settings, group: str, now: float) -> Iterator[RawFile]:
    names = load_instrument(settings.instrument).names
    for files in raw_files(settings, names, sheet_rules_of(settings), [group]).values():
        for path, stat in files.items():
            obstacle = _too_young(path, names, stat.st_mtime, settings.fetch.raw_age, now)
            if path.is_symlink():
                obstacle = "is a link already"
            yield RawFile(path, stat.st_size, stat.st_mtime_ns, obstacle)


def _too_young(path: Path, names: NamePattern, mtime: float, least: float, now: float) -> str:
    """Find the reason why a file is too young: its exposure and its last change must be old enough."""
    try:
        start = names.parse(path.name).start
    except NameFormatError as error:
        return str(error)
    ages = (now - (start.timestamp() if start else mtime), now - mtime)
    age = min(ages) / _DAY
    return f"{max(age, 0.0):.1f} d old, younger than fetch.raw_age, {least:g} d" if age < least else ""


def move(frame: RawFile, target: Path) -> Path:
    """Copy a raw file elsewhere, compare, and replace it by a link; return its new path.

    The copy has the same time of change, and so has the link: no product becomes
    stale. Under either name there is a whole file at every moment. A copy left
    by an earlier attempt is compared and used.

    Parameters
    ----------
    frame : RawFile
        The file to move.
    target : Path
        Folder for it.

    Raises
    ------
    FrameMoveError
        If the copy differs, the file changed meanwhile, or the file system there does not keep times.
    OSError
        If one of the places cannot be read or written, or is full.
    """
    target.mkdir(parents=True, exist_ok=True)
    copy = target / frame.path.name
    if copy.exists():
        _compare(copy, _sum(copy), _sum(frame.path))
        _take_times(frame, copy)
    else:
        _copy(frame, copy)
    _check_unchanged(frame)
    link = frame.path.with_name(f".link-{os.getpid()}-{frame.path.name}")
    link.symlink_to(copy.resolve())
    try:
        os.utime(link, ns=(frame.mtime, frame.mtime), follow_symlinks=False)
        link.replace(frame.path)
    finally:
        link.unlink(missing_ok=True)
    sync_folder(frame.path.parent)
    return copy


def _copy(frame: RawFile, copy: Path) -> None:
    if shutil.disk_usage(copy.parent).free < frame.size:
        raise FrameMoveError(f"{copy.parent}: no room for {frame.path.name}, {frame.size / 1e9:.2f} GB")
    part = copy.with_name(f".part-{os.getpid()}-{copy.name}")
    try:
        total = hashlib.blake2b()
        with frame.path.open("rb") as source, part.open("xb") as file:
            while block := source.read(_BLOCK):
                total.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(frame.path, part)
        _compare(part, _sum(part), total.digest())
        _take_times(frame, part)
        put_in_place(part, copy)
    finally:
        part.unlink(missing_ok=True)


def _sum(path: Path) -> bytes:
    """Compute a checksum of the data on the medium, not of those still in memory."""
    total = hashlib.blake2b()
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK):
            total.update(block)
    return total.digest()


def _compare(copy: Path, copied: bytes, original: bytes) -> None:
    if copied != original:
        raise FrameMoveError(
            f"{copy}: differs from the raw file; nothing was replaced. Remove it and try again"
        )


def _take_times(frame: RawFile, copy: Path) -> None:
    os.utime(copy, ns=(frame.mtime, frame.mtime))
    if copy.stat().st_mtime_ns != frame.mtime:
        raise FrameMoveError(f"{copy.parent}: does not keep times of files; all products would become stale")


def _check_unchanged(frame: RawFile) -> None:
    stat = frame.path.lstat()
    if (stat.st_size, stat.st_mtime_ns) != (frame.size, frame.mtime):
        raise FrameMoveError(f"{frame.path}: changed meanwhile; it stays where it is")


def frames_to_drop(settings: Settings, plan: Plan, group: str, now: float | None = None) -> list[RawFile]:
    """List the raw files of a group, each with the obstacle to removing it.

    Parameters
    ----------
    settings : Settings
        The raw folders, and how old frames must be.
    plan : Plan
        With the refreshed sheet of the group.
    group : str
        Its key.
    now : float, optional
        Seconds since 1970.
    """
    grouping = plan.registry.grouping
    group_obstacle = _group_obstacle(grouping, Path(settings.results), group)
    states = {}
    if not group_obstacle:
        found_states = exposure_states(plan.registry, Path(settings.results), group)
        states = {s.exposure: s for s in found_states}
    found = []
    for frame in _frames(settings, group, time.time() if now is None else now):
        obstacle = group_obstacle or frame.obstacle
        if not obstacle:
            row, state = plan.row(group, frame.stem), states.get(frame.stem)
            if row is None or state is None or state.status != OK:
                obstacle = f"status {state.status}: {state.reason}" if state else "not in the sheet"
            else:
                obstacle = _product_obstacle(plan, group, row, frame)
        found.append(RawFile(frame.path, frame.size, frame.mtime, obstacle))
    return found


def drop(frame: RawFile) -> None:
    """Remove a raw file, if it did not change since it was listed.

    Raises
    ------
    FrameMoveError
        If it did.
    """
    _check_unchanged(frame)
    frame.path.unlink()


def _group_obstacle(grouping: Grouping, results: Path, group: str) -> str:
    """Find the reason why the group as a whole is not complete."""
    sheet = grouping.sheet_path(results, group)
    complete = grouping.group_folder(results, group) / "complete.tsv"
    if not complete.is_file():
        return f"the {grouping.kind} is not complete: no {complete}"
    if complete.stat().st_mtime_ns < sheet.stat().st_mtime_ns:
        return f"frames of the {grouping.kind} changed since it was complete; run the workflow first"
    return ""


def _product_obstacle(plan: Plan, group: str, row: SheetRow, frame: RawFile) -> str:
    """Find a product of an exposure that is missing, broken or older than its raw file, "" if none is."""
    if (row.file, row.size, row.mtime) != (str(frame.path), frame.size, frame.mtime):
        return f"its products were made of {row.file}"
    for path in _products(plan, group, row):
        try:
            stat = path.stat()
        except OSError:
            return f"{path.name} is missing"
        if not stat.st_size or stat.st_mtime_ns < frame.mtime:
            return f"{path.name} is {'older than the raw file' if stat.st_size else 'empty'}"
        if path.suffix == ".parquet" and (broken := _broken(path, row.exposure)):
            return broken
    return ""


def _products(plan: Plan, group: str, row: SheetRow) -> list[Path]:
    """List the products of an exposure's pixels, and the tables that depend on them."""
    everything = {stage.part for stage in plan.registry.stages} - _NOT_MEASURED
    endings = Expected(plan, parts=everything).endings(row)
    kept = [ending for ending in endings if ending.endswith(".parquet") or ending == ".png"]
    return [Path(plan.stem(group, row.exposure) + ending) for ending in kept]


def _broken(path: Path, exposure: str) -> str:
    """Read a table from end to end; return the reason why it is broken, "" if it is not."""
    try:
        meta = read_table(path).meta
    except TableError as error:
        return str(error)
    if meta.get("failed"):
        return f"{path.name}: {meta['failed']}"
    if meta.get("exposure", exposure) != exposure:
        return f"{path.name}: belongs to {meta['exposure']}"
    return ""
