"""Lock a folder of results for one run at a time, and keep times of files out of the future."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from visql_lib.atomic import PART
from visql_lib.errors import ConfigError
from visql_lib.sheets.sheet import make_results

log = logging.getLogger(__name__)

_LOCK = ".run.lock"
_ABANDONED = 3600.0  # s without a change: no process writes that file any more
_CLOCK_OFFSET = 60.0  # s by which the clocks of two machines may differ


def lock_results(results: Path, folders: Iterable[Path] = ()) -> FileLock:
    """Lock a folder of results for this process; the lock is released when it ends, however it does.

    Parameters
    ----------
    results : Path
        Folder of all products.
    folders : iterable of Path, optional
        Of what the run makes: unfinished files of killed steps are removed there.

    Returns
    -------
    FileLock
        To be held as long as the run lasts.

    Raises
    ------
    ConfigError
        If another run holds the lock.
    """
    make_results(results)
    path = results / _LOCK
    last = path.stat().st_mtime if path.is_file() else 0.0
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"results: another run is at work on {results}; wait for its end, or stop it"
        ) from error
    except NotImplementedError:
        log.warning("%s: its file system has no locks; make sure that only one run uses it", results)
    if last > time.time() + _CLOCK_OFFSET:
        touch_future_files(results)
    os.utime(path)
    remove_unfinished(folders)
    return lock


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Remove unfinished files of killed steps from some folders; no step reads them.

    Files younger than an hour stay: a step may have outlived a Snakemake that was killed.
    """
    oldest = time.time() - _ABANDONED
    for folder in folders:
        for path in folder.rglob(f"{PART}*"):
            if path.is_file() and path.stat().st_mtime < oldest:
                log.info("%s: unfinished file of a killed step; removed", path)
                path.unlink(missing_ok=True)


def remove_stale_lock(results: Path, locks: Path = Path(".snakemake/locks")) -> None:
    """Remove the Snakemake lock of a killed run on these results, which would stop every later run.

    Snakemake's lock consists of files that outlive a killed process. The lock on the results
    (`lock_results`) is released when its process ends, on whatever machine it ran, and no job begins
    without it. Locks of runs on other results stay, and all of them where the file system has no locks.

    Parameters
    ----------
    results : Path
        Folder of all products.
    locks : Path, optional
        Snakemake's locks: lists of the files that a run reads or makes.
    """
    ours = [path for path in sorted(locks.glob("*.lock")) if path.is_file() and _is_on(results, path)]
    if not ours:
        return
    results.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(results / _LOCK, timeout=0):
            for path in ours:
                path.unlink(missing_ok=True)
    except (Timeout, NotImplementedError):  # another run is at work, or it cannot be known
        return
    log.warning("%s: an earlier run was killed; its Snakemake lock was removed", results)


def _is_on(results: Path, lock: Path) -> bool:
    """Test whether a Snakemake lock is of a run on some results: whether it lists files there."""
    inside = os.path.join(os.path.abspath(results), "")  # noqa: PTH100, PTH118 as Snakemake: links are not followed
    with lock.open(encoding="utf-8", errors="replace") as file:
        return any(os.path.abspath(line.strip()).startswith(inside) for line in file)  # noqa: PTH100


def record_end(results: Path) -> None:
    """Record the time at which a run ended, as the modification time of its lock: no product is newer."""
    if (results / _LOCK).is_file():
        os.utime(results / _LOCK)


def touch_future_files(results: Path) -> None:
    """Set modification times that lie in the future to now: the clock was set back since.

    Snakemake takes a product that is older than its inputs for incomplete.
    """
    now = time.time()
    late = [path for path in results.rglob("*") if path.is_file() and path.stat().st_mtime > now]
    for path in late:
        os.utime(path, (now, now))
    log.warning("%s: the clock was set back; %d times in the future were set to now", results, len(late))
