"""How the engine's functions are compiled.

They are compiled at their first call and kept on disk beside the source, so that
only the first process on a machine waits. Numba looks for changes in the file of
the function only, although functions of other files are compiled into it. The
kept code is therefore tied to all files of the room.

Before it looks for kept code, numba loads all that it needs to compile anything,
even SciPy for the linear algebra: half a second in every process, where the code
itself is loaded in a tenth. `compiled` spares that; numba loads the same by
itself when it does compile. It means to reach into numba, which is done with the
versions it was tested with only. For it to help, the functions must not use those
of ``numba.np.arraymath`` (np.median, np.searchsorted, np.argmin, ...), which bring
all of it in again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
from numba.core.runtime import rtsys


@lru_cache
def room_stamp(room: Path = Path(__file__).parent) -> tuple[tuple[str, int, int], ...]:
    """List name, time of change and size of every source file of a room, by default this one."""
    files = sorted(room.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


_STAMP = room_stamp()
_TESTED = ((0, 68),)  # versions of numba


def _load_quickly(cache: Any) -> None:
    """Let a function's store of kept code be read without all that numba needs to compile."""
    load = getattr(cache, "_load_overload", None)
    if load is None or numba.version_info.short not in _TESTED:
        return

    def load_overload(signature: Any, target: Any) -> Any:
        rtsys.initialize(target)  # what compiled code itself calls
        return load(signature, target)

    cache.load_overload = load_overload


def compiled(fastmath: bool = False) -> Callable[[Callable], Any]:
    """Compile a function without the GIL and keep the result on disk.

    Parameters
    ----------
    fastmath : bool, optional
        Let the compiler reorder sums; only for functions that see no NaN.
    """

    def decorate(function: Callable) -> Any:
        dispatcher = numba.njit(nogil=True, cache=True, fastmath=fastmath)(function)
        cache = getattr(dispatcher, "_cache", None)
        kept = getattr(cache, "_cache_file", None)
        if kept is not None and hasattr(kept, "_source_stamp"):  # absent where nothing is compiled or kept
            room = Path(function.__code__.co_filename).parent
            kept._source_stamp = room_stamp(room) if room != Path(__file__).parent else _STAMP
            _load_quickly(cache)
        return dispatcher

    return decorate
