"""Prepared frames in a temporary file, read back by blocks of rows: any number of them in little memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import PixelFlag

_BLOCK = 4_000_000  # bytes of all frames together


class FrameStack:
    """Frames of equal shape in a temporary file; use it in a ``with`` statement.

    Parameters
    ----------
    folder : Path, optional
        Where the file is; one frame of n pixels takes 4 n bytes. Default: the system's temporary folder.

    Notes
    -----
    Pixels are float32. Saturated ones are infinite, others that do not count NaN: neither is combined,
    and the reason is still there afterwards; see `flags_of`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 closed by __exit__
        self.shape: tuple[int, int] = (0, 0)
        self.n = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, data: NDArray, mask: NDArray | None = None) -> int:
        """Append a frame of shape (ny, nx), with its `PixelFlag` bits; return its number.

        An array of float32 is changed: its masked pixels are then as they are kept.
        """
        if not self.n:
            self.shape = (data.shape[0], data.shape[1])
        if data.shape != self.shape:
            raise ValueError(f"a frame of {data.shape} pixels among others of {self.shape}")
        pixels = np.ascontiguousarray(data, dtype=np.float32)
        if mask is not None and mask.any():
            pixels[mask != 0] = np.nan
            pixels[(mask & np.int16(PixelFlag.SATURATED)) != 0] = np.inf
        self._file.seek(0, 2)
        content = memoryview(pixels).cast("B")  # type: ignore[arg-type]
        while content:
            content = content[self._file.write(content) :]
        self.n += 1
        return self.n - 1

    def rows(self, first: int, last: int, frames: Sequence[int]) -> NDArray[np.float32]:
        """Read rows `first` to `last` (not included) of some frames; shape (frames, rows, nx)."""
        ny, nx = self.shape
        found = np.empty((len(frames), last - first, nx), np.float32)
        for place, number in enumerate(frames):
            self._file.seek((number * ny + first) * nx * 4)
            view = memoryview(found[place]).cast("B")
            while view:
                got = self._file.readinto(view)
                if not got:
                    raise OSError("the temporary file of prepared frames has become shorter")
                view = view[got:]
        return found

    def blocks(self, n: int) -> Iterator[tuple[int, int]]:
        """Yield first and last row of blocks that are read of `n` frames at a time."""
        ny, nx = self.shape
        step = max(_BLOCK // (4 * nx * max(n, 1)), 1)
        yield from ((first, min(first + step, ny)) for first in range(0, ny, step))


def flags_of(values: NDArray, used: NDArray) -> NDArray[np.int16]:
    """Say of pixels without a value why there is none.

    Parameters
    ----------
    values : array, shape (n, pixels)
        What a `FrameStack` gives.
    used : array, shape (pixels,)
        How many values counted.

    Returns
    -------
    array of int16, shape (pixels,)
        `PixelFlag` bits: REJECTED where none counted, with SATURATED or NOT_FINITE where a frame was that.
    """
    flags = np.zeros(values.shape[1], np.int16)
    empty = used == 0
    some = values[:, empty]
    flags[empty] = (
        int(PixelFlag.REJECTED)
        | np.where(np.isposinf(some).any(axis=0), int(PixelFlag.SATURATED), 0)
        | np.where(np.isnan(some).any(axis=0), int(PixelFlag.NOT_FINITE), 0)
    )
    return flags
