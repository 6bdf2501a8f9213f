"""Frames -> an animated GIF, which shows anywhere without a player."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.movies.errors import MovieError
from visql_lib.tables.provenance import write_sidecar

_FASTEST = 50.0  # frames per second; programs show faster ones slower


def write_gif(
    frames: Iterable[NDArray[np.uint8]],
    frames_per_second: float,
    path: Path,
    versions: Mapping[str, int],
    inputs: Sequence[Path] = (),
) -> None:
    """Write an animated GIF that repeats; its record is in a hidden file beside it.

    Parameters
    ----------
    frames : iterable of arrays of uint8, shape (height, width, 3 or 4)
        Red, green, blue, and an unused channel; all of one size. Each has a palette of its own.
    frames_per_second : float
        At most 50; GIF counts in hundredths of a second.
    path : Path
        Written under a temporary name and renamed.
    versions : mapping
        Versions of the stages that made it, for its record.
    inputs : sequence of Path, optional
        What it was made from, besides what the current run has read.

    Raises
    ------
    MovieError
        If there is no frame, or one has another size.
    """
    from PIL import Image

    pictures: list[Image.Image] = []
    for frame in frames:
        if pictures and pictures[0].size != frame.shape[1::-1]:
            raise MovieError(
                f"{path}: a frame of {frame.shape[1]} x {frame.shape[0]} px after others of"
                f" {pictures[0].width} x {pictures[0].height} px"
            )
        colours = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
        pictures.append(colours.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    if not pictures:
        raise MovieError(f"{path}: no frames")
    hundredths = round(100 / min(frames_per_second, _FASTEST))
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=10 * hundredths,
            loop=0,
            disposal=1,
        )
    write_sidecar(path, versions, inputs)
