"""Names of files: whether they are FITS, how they are packed, what lies there."""

from __future__ import annotations

import re
import stat

from visql_lib.instruments.names import stem_of

__all__ = ["file_kind_problem", "is_fits_like", "is_gzipped", "stem_of"]

_FITS_LIKE = re.compile(r"\.(fits?|fts|fz)(\.|$)", re.IGNORECASE)

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link that leads nowhere",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def file_kind_problem(mode: int) -> str:
    """Describe a path of this mode that is no plain file, "" for a plain file, which alone may be opened."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "of an unknown kind")


def is_fits_like(name: str) -> bool:
    """Say whether a file is FITS by its name, in whatever way it is packed."""
    return _FITS_LIKE.search(name) is not None


def is_gzipped(name: str) -> bool:
    """Say whether a file is gzip data by its name."""
    return name.lower().endswith(".gz")
