"""Files that are whole or not there: written under another name, on the disk, then renamed.

A rename alone keeps out what a killed process leaves half-written, but not what a power cut
does: the name may be on the disk before the content is. So content, and then the folder,
are handed to the disk first (fsync).
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

PART = ".part-"  # how files begin that are not finished


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it at the end, removed on failure.

    Nothing half-written is ever seen under the final name, after a power cut neither. The
    temporary name ends like the final one, so that writers that look at endings are happy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=PART, suffix=f"-{path.name}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file, or a folder of finished files, to its final name, which lasts from then on."""
    to_disk(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def to_disk(path: Path) -> None:
    """Hand a file, or a folder with all that is in it, to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            to_disk(inner)
        sync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last, where that can be asked for."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems on the network cannot
            raise
        log.debug("%s: %s", folder, error)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
