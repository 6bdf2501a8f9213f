"""Frames -> an H.264 movie that browsers play, by the encoder imageio-ffmpeg brings along."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import STAGES
from visql_lib.movies.errors import MovieError
from visql_lib.tables.provenance import sign_mp4
from visql_lib.tables.store import atomic_path

_QUALITY = 20  # x264's constant rate factor: letters stay sharp
_SECONDS_BETWEEN_KEYS = 2.0  # so that one can jump about in the movie
_SAID = 600  # last characters of the encoder's complaint that are passed on


def encoder() -> str:
    """Return the path of the encoder.

    Raises
    ------
    MovieError
        If there is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MovieError(f"no encoder of movies: {error} (install imageio-ffmpeg with its binary)") from error


def encode(
    frames: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    frames_per_second: float,
    path: Path,
    inputs: Sequence[Path] = (),
) -> int:
    """Write a movie; the same frames give the same bytes on one machine.

    Parameters
    ----------
    frames : iterable of arrays of uint8, shape (height, width, 3)
        Red, green, blue; read one at a time.
    size : (int, int)
        Width and height [px], both even.
    frames_per_second : float
    path : Path
        The .mp4; written under a temporary name and renamed.
    inputs : sequence of Path, optional
        What the frames were drawn from, for the movie's record.

    Returns
    -------
    int
        Number of frames.

    Raises
    ------
    MovieError
        If the encoder is missing or fails, or a frame has another size.
    """
    with atomic_path(path) as temporary, tempfile.TemporaryFile() as said:
        command = _command(encoder(), size, frames_per_second, temporary)
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
        except OSError as error:
            raise MovieError(f"{command[0]}: the encoder does not start ({error.strerror})") from error
        fed = False
        try:
            count, whole = _feed(process, frames, size)
            fed = True
        finally:
            if not fed:  # a broken frame, an interruption: leave no encoder behind
                process.kill()
                process.wait()
        if (code := process.wait()) != 0 or not whole:
            raise MovieError(f"{path}: the encoder failed (exit code {code}): {_end_of(said)}")
        sign_mp4(temporary, path, {"movies": STAGES["movies"]}, inputs)
    return count


def _command(program: str, size: tuple[int, int], rate: float, path: Path) -> list[str]:
    width, height = size
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {rate:g} -i -"
    # RGB becomes the colours of HDTV, and the file says so: players assume them at this size.
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    colours = f"-vf scale=out_color_matrix=bt709:out_range=tv,{tags} -pix_fmt yuv420p"
    keys = max(1, round(rate * _SECONDS_BETWEEN_KEYS))
    # One thread and no version or date in the file: the same bytes every time.
    codec = f"-an -c:v libx264 -preset fast -crf {_QUALITY} -g {keys} -threads 1 -filter_threads 1"
    file = "-fflags +bitexact -flags:v +bitexact -map_metadata -1 -movflags +faststart -f mp4"
    options = f"-hide_banner -loglevel error -y {source} {colours} {codec} {file}"
    return [program, *options.split(), str(path)]


def _feed(
    process: subprocess.Popen[bytes], frames: Iterable[NDArray[np.uint8]], size: tuple[int, int]
) -> tuple[int, bool]:
    """Give the frames to the encoder; return their number, and whether it took all of them."""
    assert process.stdin is not None
    shape, count = (size[1], size[0], 3), 0
    try:
        with process.stdin as pipe:
            for frame in frames:
                if frame.shape != shape or frame.dtype != np.uint8:
                    raise MovieError(f"frame {count} has shape {frame.shape} ({frame.dtype}), not {shape}")
                pipe.write(np.ascontiguousarray(frame).data)
                count += 1
    except BrokenPipeError:  # it died; what it said tells why
        return count, False
    return count, True


def _end_of(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-_SAID:] or "it said nothing"
