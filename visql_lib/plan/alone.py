"""One run at a time on a folder of results, and results that are never of tomorrow."""

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
_FORGOTTEN = 3600.0  # s without a change: nobody writes that file any more
_ASKEW = 60.0  # s by which the clocks of two machines may differ


def begin_run(results: Path, months: Iterable[str] = ()) -> FileLock:
    """Take the results for this process; they are free again when it ends, however it does.

    Parameters
    ----------
    results : Path
        Folder of all products.
    months : iterable of str, optional
        Those it works on, YYYYMM: what killed steps left of them is removed.

    Returns
    -------
    FileLock
        To be kept as long as the run lasts.

    Raises
    ------
    ConfigError
        If another run is at work on them.
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
        log.warning("%s: its file system has no locks; see that only one run works there", results)
    if last > time.time() + _ASKEW:
        bring_to_now(results)
    os.utime(path)
    remove_unfinished(results, months)
    return lock


def remove_unfinished(results: Path, months: Iterable[str]) -> None:
    """Remove what killed steps left half-written of some months, under names that no step reads.

    Not what is younger than an hour: a step may have outlived a Snakemake that was killed.
    """
    oldest = time.time() - _FORGOTTEN
    folders = [results / kind / month for kind in ("exposures", "months") for month in months]
    for folder in (*folders, results / "timeline"):
        for path in folder.rglob(f"{PART}*"):
            if path.is_file() and path.stat().st_mtime < oldest:
                log.info("%s: left by a step that was killed; removed", path)
                path.unlink(missing_ok=True)


def clear_dead_lock(results: Path, locks: Path = Path(".snakemake/locks")) -> None:
    """Remove what a killed run on these results left of Snakemake's lock, which would stop every later run.

    Snakemake's lock is files that outlive a killed process; the one on the results (`begin_run`) is not held
    any more when its process is gone, on whatever machine that ran, and no job begins without it. Locks of
    runs on other results stay, and all of them where the file system has no locks.

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
    except (Timeout, NotImplementedError):  # another run is at work, or there is no telling
        return
    log.warning("%s: an earlier run was killed; its lock of Snakemake is removed", results)


def _is_on(results: Path, lock: Path) -> bool:
    """Say whether a lock of Snakemake is of a run on some results: if it names files of theirs."""
    inside = os.path.join(os.path.abspath(results), "")  # noqa: PTH100, PTH118 as Snakemake: links are not followed
    with lock.open(encoding="utf-8", errors="replace") as file:
        return any(os.path.abspath(line.strip()).startswith(inside) for line in file)  # noqa: PTH100


def end_run(results: Path) -> None:
    """Note the time: what a run made is not newer."""
    if (results / _LOCK).is_file():
        os.utime(results / _LOCK)


def bring_to_now(results: Path) -> None:
    """Give files that are of the future the present time: the clock was set back since they were made.

    Snakemake takes a product for broken that is older than what it was made from.
    """
    now = time.time()
    late = [path for path in results.rglob("*") if path.is_file() and path.stat().st_mtime > now]
    for path in late:
        os.utime(path, (now, now))
    log.warning("%s: the clock was set back; %d files of the future are of now", results, len(late))
