"""`visql pyramid`: raw frame of any type -> tiles of the whole focal plane, for the site's viewer."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.atomic import put_in_place
from visql_lib.cli.common import (
    FOLDER,
    INPUT,
    RECORD_FAILURE,
    output_option,
    progress,
    settings_of,
    step,
)
from visql_lib.cli.outputs import write_sidecars
from visql_lib.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.frames import Exposure
    from visql_lib.frames.pyramid import Pyramid, Stretch
    from visql_lib.pipelines.vis.settings import VisSettings

INDEX = "tiles.js"  # loaded by the viewer; the tiles are in the same folder
_TILE = 512  # px
_QUALITY = 88  # of JPEG: its error is a third of the sky's noise
# Robust rms of blocks (of pixels, at full resolution) that the asinh is linear in: finer levels than these
# would spend megabytes on noise.
_SOFTNESS, _SOFTNESS_FULL = 1.0, 2.0
_SAMPLED = 9  # quadrants used for the stretch at full resolution
_BLACK, _WHITE = -2.5, 8.0  # rms from the median: what the viewer shows at first


@step(
    "pyramid",
    """Cut the raw frame RAW, of any type, into tiles for the viewer of the site.

    Tiles show means of 8 x 8 px [ADU], including the bias, or every pixel with --full
    (about 200 MB for a frame of Euclid VIS). Writes FOLDER/BINNING/COLUMN_ROW.jpg and
    FOLDER/tiles.js, which relates grey levels to pixel values [ADU], and tiles to the focal
    plane [deg]. The previous content of FOLDER is replaced.""",
    "visql pyramid raw/E.fits -o site/tiles/202407/E",
)
@click.argument("raw", type=INPUT)
@output_option("Folder of the tiles.", FOLDER, "FOLDER")
@click.option("--full", is_flag=True, help="Write tiles of full resolution.")
@click.option(
    "--quadrants",
    type=INPUT,
    metavar="FILE",
    help="Table of quadrants: reject RAW if it was made from another frame.",
)
@RECORD_FAILURE
def command(
    raw: Path, output: Path, full: bool, quadrants: Path | None, record_failure: bool, config: Path | None
) -> None:
    """Read, cut, write."""
    from visql_lib.cli.common import recorded
    from visql_lib.frames.names import stem_of
    from visql_lib.pipelines.vis.pages.overlays import script

    settings = settings_of(config)
    meta: dict[str, Any] = {"exposure": stem_of(raw.name)} | _origin(raw, settings, full)
    with _replaced(output) as folder:
        with recorded(record_failure, meta):
            meta |= cut(raw, folder, settings, full, quadrants)
        if "failed" in meta:  # the tiles made so far are incomplete
            for part in folder.iterdir():
                shutil.rmtree(part)
        (folder / INDEX).write_text(script("visqlTiles", meta), encoding="utf-8")
    write_sidecars("pyramid", output / INDEX, inputs=[raw])


def cut(
    raw: Path, folder: Path, settings: VisSettings, full: bool, quadrants: Path | None = None
) -> dict[str, Any]:
    """Write the tiles of a frame into an empty folder; return the description for the viewer.

    Raises
    ------
    FrameError
        If the frame cannot be read, holds no known quadrant, or is not the frame of the table `quadrants`.
    """
    from visql_lib.cli.frame_pass import check_same_frame
    from visql_lib.frames import load_instrument, open_exposure
    from visql_lib.frames.pyramid import Pyramid
    from visql_lib.tables import read_meta

    sink = _Tiles(folder)
    with open_exposure(raw, load_instrument(settings.instrument)) as exposure:
        stretch = _sampled(exposure) if full else None
        pyramid = Pyramid(exposure.layouts, sink, _TILE, stretch)
        with progress(exposure.stem, len(exposure.layouts)) as advance:
            for quadrant in exposure:
                pyramid.add(quadrant.image, quadrant.layout)
                advance()
        if not pyramid.outlines:
            raise FrameError(f"{raw}: holds none of the quadrants of {exposure.instrument.name}")
        if quadrants is not None:
            check_same_frame(exposure, read_meta(quadrants), quadrants)
        stretch = pyramid.finish(_SOFTNESS)
        return _facts(exposure) | _description(pyramid, stretch, sink, exposure)


class _Tiles:
    """Writes tiles as JPEG, and keeps a list of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: dict[int, set[tuple[int, int]]] = {}

    def __call__(self, binning: int, column: int, row: int, grey: NDArray) -> None:
        from PIL import Image

        level = self._folder / str(binning)
        level.mkdir(exist_ok=True)
        Image.fromarray(grey).save(level / f"{column}_{row}.jpg", "JPEG", quality=_QUALITY)
        self.written.setdefault(binning, set()).add((column, row))


def _sampled(exposure: Exposure) -> Stretch:
    """Return the stretch from a sample of quadrants, because tiles are written before all are read."""
    import numpy as np

    from visql_lib.frames.names import is_gzipped
    from visql_lib.frames.pyramid import Stretch

    names = [layout.name for layout in exposure.layouts]
    if is_gzipped(exposure.path.name):
        names = list(exposure.names)
    chosen = sorted({round(i) for i in np.linspace(0, len(names) - 1, _SAMPLED)}) if names else []
    values = [exposure[names[i]].image[::4, ::4].ravel() for i in chosen]
    full_scale = exposure.instrument.detector.full_scale
    return Stretch.around(np.concatenate([np.zeros(0, np.uint16), *values]), full_scale, _SOFTNESS_FULL)


def _facts(exposure: Exposure) -> dict[str, Any]:
    """Return the values of the header."""
    from visql_lib.cli.frame_pass import header_meta

    return header_meta(exposure) | {"pa": exposure.header.pa if math.isfinite(exposure.header.pa) else None}


def _description(pyramid: Pyramid, stretch: Stretch, sink: _Tiles, exposure: Exposure) -> dict[str, Any]:
    """Return sizes, levels, stretch and geometry of a pyramid; docs/site.md explains them."""
    from visql_lib.frames.pyramid import BRIGHTEST, DARKEST, level_and_rms

    level, rms = level_and_rms(pyramid.blocks())
    rms = max(rms, stretch.soft / 10) if math.isfinite(rms) else stretch.soft
    level = level if math.isfinite(level) else stretch.zero
    frame, known = pyramid.frame, exposure.instrument.quadrants
    levels = []
    for binning in pyramid.binnings:
        columns, rows = pyramid.grid(binning)
        there = sink.written.get(binning, set())
        present = ["".join("01"[(column, row) in there] for column in range(columns)) for row in range(rows)]
        levels.append({"binning": binning, "present": present})
    return {
        "width": frame.width,
        "height": frame.height,
        "tile": pyramid.tile,
        "levels": levels,
        "scale": frame.scale,
        "left": frame.left,
        "top": frame.top,
        "stretch": {
            "zero": stretch.zero,
            "soft": stretch.soft,
            "low": stretch.low,
            "high": stretch.high,
            "darkest": DARKEST,
            "brightest": BRIGHTEST,
        },
        "shown": [level + _BLACK * rms, level + _WHITE * rms],
        "quadrants": [
            [name, *pyramid.outlines[name], *known[name].origin] for name in known if name in pyramid.outlines
        ],
    }


def _origin(raw: Path, settings: VisSettings, full: bool) -> dict[str, Any]:
    from visql_lib import __version__
    from visql_lib.cli.outputs import provenance
    from visql_lib.frames import load_instrument

    geometry = load_instrument(settings.instrument).geometry
    origin = provenance("pyramid", [raw], geometry, {"full": full})
    return {
        "visql_version": __version__,
        "stage": origin["stage"],
        "stage_version": origin["stage_version"],
        "settings": origin["settings_hash"],
        "inputs": [raw.name],
    }


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give an empty folder next to `folder` that replaces it at the end.

    Raises
    ------
    click.UsageError
        If `folder` contains other files than tiles, which would be lost.
    """
    from visql_lib.tables.provenance import sidecar

    # Do not check for tiles.js: Snakemake removes it before it reruns a rule.
    there = folder.iterdir() if folder.is_dir() else ()
    known = (INDEX, sidecar(folder / INDEX).name)
    if others := [p.name for p in there if p.name not in known and not p.name.isdigit()]:
        raise click.UsageError(f"{folder} contains {min(others)}, which would be lost: give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as name:
        made = Path(name) / "tiles"
        made.mkdir()
        yield made
        if folder.is_dir():
            folder.rename(Path(name) / "old")
        put_in_place(made, folder)
