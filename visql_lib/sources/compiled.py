"""How the engine's functions are compiled.

They are compiled at their first call and kept on disk beside the source, so that
only the first process on a machine waits. Numba looks for changes in the file of
the function only, although functions of other files are compiled into it. The
kept code is therefore tied to all files of the room.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def room_stamp() -> tuple[tuple[str, int, int], ...]:
    """Return name, time of change and size of every source file of the room."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


_STAMP = room_stamp()


def compiled(fastmath: bool = False) -> Callable[[Callable], Any]:
    """Compile a function without the GIL and keep the result on disk.

    Parameters
    ----------
    fastmath : bool, optional
        Let the compiler reorder sums; only for functions that see no NaN.
    """

    def decorate(function: Callable) -> Any:
        dispatcher = numba.njit(nogil=True, cache=True, fastmath=fastmath)(function)
        kept = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
        if kept is not None and hasattr(kept, "_source_stamp"):  # absent where nothing is compiled or kept
            kept._source_stamp = _STAMP
        return dispatcher

    return decorate
