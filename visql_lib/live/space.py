"""Room for new frames: old raw frames go elsewhere, or, on explicit request, for good."""

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
from visql_lib.live.errors import SpaceError
from visql_lib.live.raw import raw_files
from visql_lib.plan import CATALOGUED, Plan, exposure_states
from visql_lib.plan.radiation import RADIATED
from visql_lib.tables.sheet import OK, SheetRow, sheet_path
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

_BLOCK = 1 << 22  # bytes copied at once
_DAY = 86400.0  # s


@dataclass(frozen=True)
class Frame:
    """One raw file of a month, and what is to become of it."""

    path: Path
    size: int  # bytes
    mtime: int  # ns
    obstacle: str  # why it stays where it is, "" if it goes

    @property
    def stem(self) -> str:
        """The exposure."""
        return stem_of(self.path.name)


def frames_to_move(settings: Settings, month: str, target: Path, now: float | None = None) -> list[Frame]:
    """Return the raw files of a month, with what hinders each from going elsewhere.

    Parameters
    ----------
    settings : Settings
        Where raw frames are, and how old they must be.
    month : str
        YYYYMM.
    target : Path
        The second location.
    now : float, optional
        Seconds since 1970.

    Raises
    ------
    ConfigError
        If the second location lies in a raw folder, where frames would be found twice, or around one.
    """
    elsewhere = target.resolve()
    for folder in settings.raw:
        inside = Path(folder).resolve()
        if elsewhere.is_relative_to(inside) or inside.is_relative_to(elsewhere):
            raise ConfigError(f"{target}: is not apart from the raw folder {folder}; choose another folder")
    return list(_frames(settings, month, time.time() if now is None else now))


def _frames(settings: Settings, month: str, now: float) -> Iterator[Frame]:
    names = load_instrument(settings.instrument).names
    for files in raw_files(settings, [month]).values():
        for path, stat in files.items():
            obstacle = _too_young(path, names, stat.st_mtime, settings.fetch.raw_age, now)
            if path.is_symlink():
                obstacle = "is a link already"
            yield Frame(path, stat.st_size, stat.st_mtime_ns, obstacle)


def _too_young(path: Path, names: NamePattern, mtime: float, least: float, now: float) -> str:
    """Return why a file is too young; both its exposure and its last change must be old enough."""
    try:
        start = names.parse(path.name).start
    except NameFormatError as error:
        return str(error)
    ages = (now - (start.timestamp() if start else mtime), now - mtime)
    age = min(ages) / _DAY
    return f"{max(age, 0.0):.1f} d old, younger than fetch.raw_age, {least:g} d" if age < least else ""


def move(frame: Frame, target: Path) -> Path:
    """Copy a raw file elsewhere, compare, and put a link in its place; return where it is now.

    The copy has the same time of change, and so has the link: nothing is made
    again. Under either name there is a whole file at every moment. A copy left
    by an earlier attempt is compared and used.

    Parameters
    ----------
    frame : Frame
        What to move.
    target : Path
        Folder for it.

    Raises
    ------
    SpaceError
        If the copy differs, the file changed meanwhile, or the place does not keep times.
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


def _copy(frame: Frame, copy: Path) -> None:
    if shutil.disk_usage(copy.parent).free < frame.size:
        raise SpaceError(f"{copy.parent}: no room for {frame.path.name}, {frame.size / 1e9:.2f} GB")
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
    """Return a checksum of what is on the medium, not of what is still in memory."""
    total = hashlib.blake2b()
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK):
            total.update(block)
    return total.digest()


def _compare(copy: Path, found: bytes, wanted: bytes) -> None:
    if found != wanted:
        raise SpaceError(f"{copy}: differs from the raw file; nothing was replaced. Remove it and try again")


def _take_times(frame: Frame, copy: Path) -> None:
    os.utime(copy, ns=(frame.mtime, frame.mtime))
    if copy.stat().st_mtime_ns != frame.mtime:
        raise SpaceError(f"{copy.parent}: does not keep times of files; all products would be made again")


def _check_unchanged(frame: Frame) -> None:
    stat = frame.path.lstat()
    if (stat.st_size, stat.st_mtime_ns) != (frame.size, frame.mtime):
        raise SpaceError(f"{frame.path}: changed meanwhile; left where it is")


def frames_to_drop(settings: Settings, plan: Plan, month: str, now: float | None = None) -> list[Frame]:
    """Return the raw files of a month, with what hinders each from being removed.

    Parameters
    ----------
    settings : Settings
        Where raw frames are, and how old they must be.
    plan : Plan
        With the refreshed sheet of the month.
    month : str
        YYYYMM.
    now : float, optional
        Seconds since 1970.
    """
    month_obstacle = _month_obstacle(Path(settings.results), month)
    states = {}
    if not month_obstacle:
        states = {s.exposure: s for s in exposure_states(sheet_path(Path(settings.results), month))}
    found = []
    for frame in _frames(settings, month, time.time() if now is None else now):
        obstacle = month_obstacle or frame.obstacle
        if not obstacle:
            row, state = plan.row(month, frame.stem), states.get(frame.stem)
            if row is None or state is None or state.status != OK:
                obstacle = f"status {state.status}: {state.reason}" if state else "not in the sheet"
            else:
                obstacle = _product_obstacle(plan, month, row, frame)
        found.append(Frame(frame.path, frame.size, frame.mtime, obstacle))
    return found


def drop(frame: Frame) -> None:
    """Remove a raw file, if it did not change since it was looked at.

    Raises
    ------
    SpaceError
        If it did.
    """
    _check_unchanged(frame)
    frame.path.unlink()


def _month_obstacle(results: Path, month: str) -> str:
    """Return why the month as a whole is not complete."""
    sheet, complete = sheet_path(results, month), results / "months" / month / "complete.tsv"
    if not complete.is_file():
        return f"the month is not complete: no {complete}"
    if complete.stat().st_mtime_ns < sheet.stat().st_mtime_ns:
        return "frames of the month changed since it was complete; run the workflow first"
    return ""


def _product_obstacle(plan: Plan, month: str, row: SheetRow, frame: Frame) -> str:
    """Return which product of an exposure is missing, broken or older than its raw file, "" if none is."""
    if (row.file, row.size, row.mtime) != (str(frame.path), frame.size, frame.mtime):
        return f"its products were made of {row.file}"
    for path in _products(plan, month, row):
        try:
            stat = path.stat()
        except OSError:
            return f"{path.name} is missing"
        if not stat.st_size or stat.st_mtime_ns < frame.mtime:
            return f"{path.name} is {'older than the raw file' if stat.st_size else 'empty'}"
        if path.suffix == ".parquet" and (broken := _broken(path, row.exposure)):
            return broken
    return ""


def _products(plan: Plan, month: str, row: SheetRow) -> list[Path]:
    """Return what is made of an exposure's pixels, and the tables that hang on it."""
    kind, exposure = row.frame_type, row.exposure
    endings = ["_quadrants.parquet", ".png"]
    if kind in CATALOGUED:
        endings.append(".cat.parquet")
    if kind in ("SCIENCE", "FLAT"):
        endings.append("_stars2.parquet")
    if kind == "SCIENCE":
        endings += ["_stars2_mom.parquet", "_stars2_stamps.parquet"]
    if kind in RADIATED:
        endings += ["_radiation.parquet", "_radmaps.parquet"]
    if exposure in plan.gaia.pointed(month):
        endings += ["_stars2_gaia.parquet", "_stars2_mom_col.parquet", "_frat.parquet"]
    return [Path(plan.stem(month, exposure) + ending) for ending in endings]


def _broken(path: Path, exposure: str) -> str:
    """Read a table from end to end; return what is wrong with it."""
    try:
        meta = read_table(path).meta
    except TableError as error:
        return str(error)
    if meta.get("failed"):
        return f"{path.name}: {meta['failed']}"
    if meta.get("exposure", exposure) != exposure:
        return f"{path.name}: is of {meta['exposure']}"
    return ""
