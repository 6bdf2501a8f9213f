"""Small pictures of the tables: thumbnails of thumbnails."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

log = logging.getLogger(__name__)

_QUALITY = 70
_AHEAD = 64  # pictures that wait to be written: a group of them would fill the memory
THREADS = min(8, os.cpu_count() or 1)


def small_jpeg(path: Path, width: int) -> bytes | None:
    """Shrink a picture to `width` [px], as the bytes of a JPEG; None if it is no picture."""
    try:
        with Image.open(path) as picture:
            kept = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
            height = max(1, round(kept.height * width / kept.width))
            buffer = io.BytesIO()
            kept.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0).save(
                buffer, "JPEG", quality=_QUALITY, optimize=True
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("%s: no small picture of it (%s)", path, error)
        return None
    return buffer.getvalue()


def webp(path: Path) -> bytes | None:
    """Convert a picture to the bytes of a WebP of the same size; None if it is no picture."""
    try:
        with Image.open(path) as picture:
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "WEBP", quality=80, method=3)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        log.warning("%s: left out (%s)", path, error)
        return None
    return buffer.getvalue()


def small_jpegs(paths: Sequence[Path], width: int) -> Iterator[tuple[Path, bytes | None]]:
    """Yield every picture with its `small_jpeg`; several at once, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), _AHEAD):
            part = paths[start : start + _AHEAD]
            yield from zip(part, pool.map(lambda p: small_jpeg(p, width), part), strict=True)


def webps(paths: Sequence[Path]) -> Iterator[tuple[Path, bytes | None]]:
    """Yield every picture with its `webp`."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), _AHEAD):
            part = paths[start : start + _AHEAD]
            yield from zip(part, pool.map(webp, part), strict=True)
