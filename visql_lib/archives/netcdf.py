"""The one place where netCDF files are opened: HDF5 below it must not run in two threads at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import netCDF4

_LOCK = threading.RLock()


@contextmanager
def netcdf(path: Path, mode: Literal["r", "w"] = "r", **options: Any) -> Iterator[netCDF4.Dataset]:
    """Open a netCDF file for this thread alone; others wait until it is closed.

    Parameters
    ----------
    path : Path
        Of the file.
    mode : {"r", "w"}, optional
        Read, or write a new file.
    **options
        Further arguments of `netCDF4.Dataset`.
    """
    with _LOCK:
        import netCDF4

        with netCDF4.Dataset(path, mode, **options) as file:
            yield file
