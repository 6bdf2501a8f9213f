"""Stage `pyramid`: tiles of the whole focal plane of one exposure, for the site's viewer."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.atomic import put_in_place
from visql_lib.config import Settings
from visql_lib.errors import FrameError, RequestError
from visql_lib.frames import Exposure, open_exposure
from visql_lib.frames.names import is_gzipped, stem_of
from visql_lib.frames.pyramid import BRIGHTEST, DARKEST, Pyramid, Stretch, level_and_rms
from visql_lib.products.context import Context
from visql_lib.steps.frame import check_same_frame, header_meta
from visql_lib.tables import read_meta
from visql_lib.tables.provenance import sidecar

INDEX = "tiles.js"  # loaded by the viewer; the tiles are in the same folder
TILE = 512  # px
_QUALITY = 88  # of JPEG: its error is a third of the sky's noise
# Robust rms of blocks (of pixels, at full resolution) that the asinh is linear in: finer levels than these
# would spend megabytes on noise.
_SOFTNESS, _SOFTNESS_FULL = 1.0, 2.0
_SAMPLED = 9  # quadrants used for the stretch at full resolution
_BLACK, _WHITE = -2.5, 8.0  # rms from the median: what the viewer shows at first


@dataclass(frozen=True)
class PyramidInputs:
    """What tiles are made from.

    Parameters
    ----------
    raw : Path
        The raw frame.
    folder : Path
        An empty folder for the tiles, see `folder_replaced`; there may be thousands.
    full : bool
        Whether to make tiles of full resolution, too.
    quadrants : Path or None
        The frame is rejected if this table was made from another one.
    """

    raw: Path
    folder: Path
    full: bool = False
    quadrants: Path | None = None


@dataclass(frozen=True)
class PyramidOutputs:
    """The tiles' description for the viewer; docs/site.md explains it."""

    description: dict[str, Any]


def run(context: Context[Settings], inputs: PyramidInputs) -> PyramidOutputs:
    """Write the tiles of a frame into a folder; none if it failed.

    Raises
    ------
    FrameError
        If the frame cannot be read, holds no known quadrant, or is not the frame of the table of quadrants,
        and failures are not recorded.
    """
    meta: dict[str, Any] = {"exposure": stem_of(inputs.raw.name)}
    with context.failures(meta):
        meta |= _cut(context, inputs)
    if "failed" in meta:  # the tiles made so far are incomplete
        for part in inputs.folder.iterdir():
            shutil.rmtree(part)
    return PyramidOutputs(meta)


def _cut(context: Context[Settings], inputs: PyramidInputs) -> dict[str, Any]:
    sink = Tiles(inputs.folder)
    with open_exposure(inputs.raw, context.instrument) as exposure:
        stretch = _sampled(exposure) if inputs.full else None
        pyramid = Pyramid(exposure.layouts, sink, TILE, stretch)
        with context.progress(exposure.stem, len(exposure.layouts)) as advance:
            for quadrant in exposure:
                pyramid.add(quadrant.image, quadrant.layout)
                advance()
        if not pyramid.outlines:
            raise FrameError(f"{inputs.raw}: holds none of the quadrants of {exposure.instrument.name}")
        if inputs.quadrants is not None:
            check_same_frame(exposure, read_meta(inputs.quadrants), inputs.quadrants)
        stretch = pyramid.finish(_SOFTNESS)
        return _header_facts(exposure) | _description(pyramid, stretch, sink, exposure)


class Tiles:
    """Writes tiles as JPEG into a folder, and keeps a list of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: dict[int, set[tuple[int, int]]] = {}

    def __call__(self, binning: int, column: int, row: int, grey: NDArray) -> None:
        """Write a tile; see `visql_lib.frames.pyramid.Pyramid`."""
        from PIL import Image

        level = self._folder / str(binning)
        level.mkdir(exist_ok=True)
        Image.fromarray(grey).save(level / f"{column}_{row}.jpg", "JPEG", quality=_QUALITY)
        self.written.setdefault(binning, set()).add((column, row))

    def level(self, binning: int, columns: int, rows: int) -> dict[str, Any]:
        """Describe a level for the viewer: which of its tiles are there."""
        there = self.written.get(binning, set())
        present = ["".join("01"[(column, row) in there] for column in range(columns)) for row in range(rows)]
        return {"binning": binning, "present": present}


def _sampled(exposure: Exposure) -> Stretch:
    """Determine the stretch from a sample of quadrants, because tiles are written before all are read."""
    names = [layout.name for layout in exposure.layouts]
    if is_gzipped(exposure.path.name):
        names = list(exposure.names)
    chosen = sorted({round(i) for i in np.linspace(0, len(names) - 1, _SAMPLED)}) if names else []
    values = [exposure[names[i]].image[::4, ::4].ravel() for i in chosen]
    full_scale = exposure.instrument.detector.full_scale
    return Stretch.around(np.concatenate([np.zeros(0, np.uint16), *values]), full_scale, _SOFTNESS_FULL)


def _header_facts(exposure: Exposure) -> dict[str, Any]:
    """Collect the values of the header."""
    return header_meta(exposure) | {"pa": exposure.header.pa if math.isfinite(exposure.header.pa) else None}


def _description(pyramid: Pyramid, stretch: Stretch, sink: Tiles, exposure: Exposure) -> dict[str, Any]:
    """Describe sizes, levels, stretch and geometry of a pyramid; docs/site.md explains them."""
    level, rms = level_and_rms(pyramid.blocks())
    rms = max(rms, stretch.soft / 10) if math.isfinite(rms) else stretch.soft
    level = level if math.isfinite(level) else stretch.zero
    frame, known = pyramid.frame, exposure.instrument.quadrants
    return {
        "width": frame.width,
        "height": frame.height,
        "tile": pyramid.tile,
        "levels": [sink.level(binning, *pyramid.grid(binning)) for binning in pyramid.binnings],
        "scale": frame.scale,
        "left": frame.left,
        "top": frame.top,
        "stretch": stretch_facts(stretch),
        "shown": shown_range(level, rms),
        "quadrants": [
            [name, *pyramid.outlines[name], *known[name].origin] for name in known if name in pyramid.outlines
        ],
    }


def stretch_facts(stretch: Stretch) -> dict[str, float]:
    """Describe a stretch for the viewer."""
    return {
        "zero": stretch.zero,
        "soft": stretch.soft,
        "low": stretch.low,
        "high": stretch.high,
        "darkest": DARKEST,
        "brightest": BRIGHTEST,
    }


def shown_range(level: float, rms: float) -> list[float]:
    """Return the values that the viewer shows as black and as white at first."""
    return [level + _BLACK * rms, level + _WHITE * rms]


@contextmanager
def folder_replaced(folder: Path) -> Iterator[Path]:
    """Give an empty folder next to `folder` that replaces it at the end.

    Raises
    ------
    RequestError
        If `folder` contains other files than tiles, which would be lost.
    """
    # Do not check for tiles.js: Snakemake removes it before it reruns a rule.
    there = folder.iterdir() if folder.is_dir() else ()
    known = (INDEX, sidecar(folder / INDEX).name)
    if others := [p.name for p in there if p.name not in known and not p.name.isdigit()]:
        raise RequestError(f"{folder} contains {min(others)}, which would be lost: give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as name:
        made = Path(name) / "tiles"
        made.mkdir()
        yield made
        if folder.is_dir():
            folder.rename(Path(name) / "old")
        put_in_place(made, folder)
