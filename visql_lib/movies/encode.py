"""Frames -> an H.264 movie that browsers play, with the encoder of imageio-ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import atomic_path
from visql_lib.movies.errors import MovieError
from visql_lib.tables.provenance import append_to_mp4

_QUALITY = 20  # x264's constant rate factor: letters stay sharp
_SECONDS_BETWEEN_KEYS = 2.0  # s; between them one can jump in the movie
_PLAIN = "-hide_banner -loglevel error -y"
_BITEXACT = "-fflags +bitexact -flags:v +bitexact"
_TAIL = 600  # last characters of the encoder's messages that are quoted


def encoder() -> str:
    """Find the encoder.

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


def encode_piece(
    frames: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    frames_per_second: float,
    quality: int = _QUALITY,
) -> bytes:
    """Encode a piece of a movie; the same frames give the same bytes on one machine.

    Parameters
    ----------
    frames : iterable of arrays of uint8, shape (height, width, 4)
        Red, green, blue, and an unused channel; read one at a time.
    size : (int, int)
        Width and height [px], both even.
    frames_per_second : float
    quality : int, optional
        x264's constant rate factor; pictures full of noise are as good with a larger one, and far smaller.

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
        _run(_encoding(size, frames_per_second, quality), (_raw(frame, shape) for frame in frames), stream)
        stream.seek(0)
        return stream.read()


def write_movie(
    pieces: Iterable[bytes],
    frames_per_second: float,
    path: Path,
    versions: Mapping[str, int],
    inputs: Sequence[Path] = (),
) -> None:
    """Join encoded parts to a movie, without encoding them again.

    Parameters
    ----------
    pieces : iterable of bytes
        From `encode_piece`, at least one.
    frames_per_second : float
        The one the pieces were encoded for.
    path : Path
        The .mp4; written under a temporary name and renamed.
    versions : mapping
        Versions of the stages that made it, for the movie's record.
    inputs : sequence of Path, optional
        The tables the frames were drawn from, for the movie's record.

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
        append_to_mp4(temporary, path, versions, inputs)


def _encoding(size: tuple[int, int], rate: float, quality: int) -> list[str]:
    width, height = size
    source = f"-f rawvideo -pix_fmt rgb0 -s {width}x{height} -r {rate:g} -i -"
    # Convert RGB to the colours of HDTV and declare them: players assume them at this size.
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    colours = f"-vf scale=out_color_matrix=bt709:out_range=tv,{tags} -pix_fmt yuv420p"
    keys = max(1, round(rate * _SECONDS_BETWEEN_KEYS))
    # One thread, no version and no date, to give the same bytes every time. No frame refers to a later one,
    # so that parts can be joined in any order.
    codec = f"-an -c:v libx264 -preset veryfast -bf 0 -crf {quality} -g {keys} -threads 1 -filter_threads 1"
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
    """Run the encoder on some content, one part after the other."""
    with tempfile.TemporaryFile() as messages:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output or messages, stderr=messages
            )
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
            raise MovieError(f"the encoder failed (exit code {code}): {_end_of(messages)}")


def _feed(process: subprocess.Popen[bytes], content: Iterable[bytes | memoryview]) -> bool:
    """Write everything to the encoder; return whether it accepted all."""
    assert process.stdin is not None
    try:
        with process.stdin as pipe:
            for part in content:
                pipe.write(part)
    except BrokenPipeError:  # it ended; its messages give the reason
        return False
    return True


def _end_of(messages: IO[bytes]) -> str:
    messages.seek(0)
    return messages.read().decode(errors="replace").strip()[-_TAIL:] or "without a message"
