"""A frame that fails costs that frame: its reason is kept in the metadata of its empty tables."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from visql_lib.errors import VisqlError

log = logging.getLogger(__name__)

_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE),
)


@contextmanager
def failure_recorded(wanted: bool, meta: dict[str, Any]) -> Iterator[None]:
    """Record in the metadata of a table why an exposure failed, if `wanted`; else raise the error.

    One bad exposure must not stop the month, so this is the only place that catches all
    exceptions; the log holds the traceback of unexpected ones. Kills and interruptions
    are not caught, and neither are problems of the machine, such as a full disk or too
    little memory: those jobs are retried.

    Parameters
    ----------
    wanted : bool
        Whether to record it.
    meta : dict
        Gets the key ``failed``; its ``exposure`` is named in the log.
    """
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except VisqlError as error:
        if not wanted:
            raise
        log.error("%s", error)
        meta["failed"] = str(error)
    except Exception as error:
        if not wanted or _is_of_the_machine(error):
            raise
        log.exception("%s", meta.get("exposure", ""))
        meta["failed"] = f"{type(error).__name__}: {error} (unexpected; its log has the traceback)"


def _is_of_the_machine(error: Exception) -> bool:
    """Tell whether an error is caused by the machine, such as a full disk or too little memory."""
    return isinstance(error, OSError) and (
        error.errno in _OF_THE_MACHINE or (error.errno is None and "shared object" in str(error))
    )
