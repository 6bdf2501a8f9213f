"""Encode frames as an H.264 movie for browsers, with the encoder of imageio-ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.movies import VERSION
from visql_lib.movies.errors import MovieError
from visql_lib.tables.provenance import sign_mp4

_QUALITY = 20  # constant rate factor of x264; keeps letters sharp
_SECONDS_BETWEEN_KEYS = 2.0  # for seeking in the movie
_PLAIN = "-hide_banner -loglevel error -y"
_BITEXACT = "-fflags +bitexact -flags:v +bitexact"
_SAID = 600  # last characters of the encoder's output that are reported


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
        raise MovieError(f"no movie encoder: {error} (install imageio-ffmpeg with its binary)") from error


def packed(frames: Iterable[NDArray[np.uint8]], size: tuple[int, int], frames_per_second: float) -> bytes:
    """Encode part of a movie; the same frames give the same bytes on one machine.

    Parameters
    ----------
    frames : iterable of arrays of uint8, shape (height, width, 4)
        Red, green, blue and an unused channel; read one at a time.
    size : (int, int)
        Width and height [px], both even.
    frames_per_second : float

    Returns
    -------
    bytes
        An H.264 stream that can be joined at any place in a movie of that size and speed.

    Raises
    ------
    MovieError
        If the encoder is missing or fails, or a frame has another size.
    """
    with tempfile.TemporaryFile() as stream:
        shape = (size[1], size[0], 4)
        _run(_packing(size, frames_per_second), (_raw(frame, shape) for frame in frames), stream)
        stream.seek(0)
        return stream.read()


def write_movie(
    pieces: Iterable[bytes], frames_per_second: float, path: Path, inputs: Sequence[Path] = ()
) -> None:
    """Join encoded parts to a movie, without encoding them again.

    Parameters
    ----------
    pieces : iterable of bytes
        Streams returned by `packed`, at least one.
    frames_per_second : float
        The value with which the pieces were made.
    path : Path
        The .mp4; written under a temporary name and renamed.
    inputs : sequence of Path, optional
        Inputs of the frames, for the provenance of the movie.

    Raises
    ------
    MovieError
        If the encoder is missing or fails.
    """
    with atomic_path(path) as temporary:
        try:
            _run(_joining(frames_per_second, temporary), pieces)
        except MovieError as error:
            raise MovieError(f"{path}: {error}") from error
        sign_mp4(temporary, path, {"movies": VERSION}, inputs)


def _packing(size: tuple[int, int], rate: float) -> list[str]:
    width, height = size
    source = f"-f rawvideo -pix_fmt rgb0 -s {width}x{height} -r {rate:g} -i -"
    # Convert RGB to the colours of HDTV and declare them: players assume them at this size.
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    colours = f"-vf scale=out_color_matrix=bt709:out_range=tv,{tags} -pix_fmt yuv420p"
    keys = max(1, round(rate * _SECONDS_BETWEEN_KEYS))
    # One thread, no version and no date, to give the same bytes every time. No frame refers to a later one,
    # so that parts can be joined in any order.
    codec = f"-an -c:v libx264 -preset veryfast -bf 0 -crf {_QUALITY} -g {keys} -threads 1 -filter_threads 1"
    return [encoder(), *f"{_PLAIN} {source} {colours} {codec} {_BITEXACT} -f h264 -".split()]


def _joining(rate: float, path: Path) -> list[str]:
    source = f"-f h264 -framerate {rate:g} -i -"
    # Raw streams have no time stamps: they are set by counting frames.
    options = f"-an -c:v copy -bsf:v setts=ts=N*DURATION {_BITEXACT} -map_metadata -1 -movflags +faststart"
    return [encoder(), *f"{_PLAIN} {source} {options} -f mp4".split(), f"file:{path}"]


def _raw(frame: NDArray[np.uint8], shape: tuple[int, int, int]) -> memoryview:
    if frame.shape != shape or frame.dtype != np.uint8:
        raise MovieError(f"a frame has shape {frame.shape} ({frame.dtype}), not {shape}")
    return np.ascontiguousarray(frame).data


def _run(command: list[str], content: Iterable[bytes | memoryview], output: IO[bytes] | None = None) -> None:
    """Send the frames to the encoder, one at a time."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output or said, stderr=said)
        except OSError as error:
            raise MovieError(f"{command[0]}: the encoder does not start ({error.strerror})") from error
        fed = False
        try:
            whole = _feed(process, content)
            fed = True
        finally:
            if not fed:  # after a broken frame or an interruption, do not leave the encoder running
                process.kill()
                process.wait()
        if (code := process.wait()) != 0 or not whole:
            raise MovieError(f"the encoder failed (exit code {code}): {_end_of(said)}")


def _feed(process: subprocess.Popen[bytes], content: Iterable[bytes | memoryview]) -> bool:
    """Write all data to the encoder; return whether it accepted them."""
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            for part in content:
                pipe.write(part)
    except BrokenPipeError:  # it has ended; its output gives the reason
        return False
    return True


def _end_of(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read().decode(errors="replace").strip()[-_SAID:] or "no output"
