"""One run at a time on a folder of results, and results that are never of tomorrow."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

from visql_lib.errors import ConfigError
from visql_lib.tables.sheet import make_results

log = logging.getLogger(__name__)

_LOCK = ".run.lock"
_ASKEW = 60.0  # s by which the clocks of two machines may differ


def begin_run(results: Path) -> FileLock:
    """Take the results for this process; they are free again when it ends, however it does.

    Parameters
    ----------
    results : Path
        Folder of all products.

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
    return lock


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
