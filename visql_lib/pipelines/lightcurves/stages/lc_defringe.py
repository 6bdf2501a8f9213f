"""Stage `lc_defringe`: the frames of a set's night -> the map of their fringes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.fringes import fringe_map, fringe_scale, limited, pointings
from visql_lib.images.light_frame import LightFrame, read_light
from visql_lib.images.sky_file import read_sky
from visql_lib.pipelines.lightcurves.schemas import FRAMES
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.sources.sky_map import SkyMap, source_mask
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

SECTIONS = ("defringe", "sky")
_MOST_BYTES = 300_000_000  # of the frames of a night in memory
_LEAST_SHIFT = 5.0  # px
_SEEINGS = 3.0  # so many times the seeing is another pointing


@dataclass(frozen=True)
class FringeInputs:
    """The table of the frames of a night, the folder of their products, and frames to be left out."""

    table: Path
    folder: Path
    kicked: Collection[str] = ()


@dataclass(frozen=True)
class FringesMade:
    """The map [electron], None if there is none; from how many pointings; why there is none."""

    fringes: NDArray[np.float32] | None
    pointings: int
    reason: str
    frames: tuple[Path, ...] = ()


def run(context: Context[LightCurveSettings], inputs: FringeInputs) -> FringesMade:
    """Make the map of the fringes of a night; too few frames, or all of one pointing, make none.

    Raises
    ------
    FrameError, TableError
        If a frame that was measured, or its products, cannot be read any more.
    """
    rows = read_table(inputs.table, FRAMES.names)
    used = [
        i
        for i, (name, status) in enumerate(zip(rows["FRAME"], rows["STATUS"], strict=True))
        if status == LightStatus.OK and name not in inputs.kicked
    ]
    least = context.settings.defringe.min_frames
    catalogues = [_catalogue(inputs.folder, str(rows["FRAME"][i])) for i in used]
    sharp = rows["SEEING_PX"][used]
    shift = max(_LEAST_SHIFT, _SEEINGS * float(np.median(sharp)) if len(used) else 0.0)
    n = pointings([(c["XWIN_IMAGE"], c["YWIN_IMAGE"]) for c in catalogues], shift)
    shapes = {(int(rows["NY"][i]), int(rows["NX"][i])) for i in used}
    why = ""
    if n < least:
        why = f"{n} frames of different pointing, {least} are needed: no map of fringes"
    elif len(shapes) > 1:
        why = "frames of different size: no map of fringes"
    if why:
        log.info("%s: %s", inputs.table.name, why)
        return FringesMade(None, n, why)
    most = max(least, _MOST_BYTES // (4 * shapes.copy().pop()[0] * shapes.copy().pop()[1]))
    chosen = np.unique(np.linspace(0, len(used) - 1, min(most, len(used))).round().astype(int))
    paths = tuple(Path(str(rows["FILE"][used[k]])) for k in chosen)
    planes = []
    with context.progress("fringes", len(paths)) as advance:
        for path, k in zip(paths, chosen, strict=True):
            light = read_light(path, context.instrument)
            sky = read_sky(_product(inputs.folder, light.name, "_sky.fits"))
            masked = sky_mask(light, sky, catalogues[k])
            planes.append(limited(light.data - sky.image(), masked))
            advance()
    return FringesMade(fringe_map(planes), n, "", paths)


def sky_mask(light: LightFrame, sky: SkyMap, catalogue: Table) -> NDArray[np.bool_]:
    """Return the pixels of a frame that are no clean sky: bad ones, saturated ones, sources."""
    return light.unusable | source_mask(catalogue, light.shape, sky.rms)


def remove_fringes(light: LightFrame, sky: SkyMap, catalogue: Table, fringes: NDArray) -> float:
    """Subtract the fringes of a night from a frame, in place; return how strong they were in it.

    Parameters
    ----------
    light : LightFrame
        Its data are changed.
    sky : SkyMap
        Of the frame.
    catalogue : Table
        Its sources.
    fringes : array, shape (ny, nx)
        See `images.fringe_file.read_fringes`.
    """
    scale = fringe_scale(light.data - sky.image(), sky_mask(light, sky, catalogue), fringes)
    light.data -= np.float32(scale) * fringes
    return scale


def _catalogue(folder: Path, frame: str) -> Table:
    return read_table(_product(folder, frame, "_cat.parquet"))


def _product(folder: Path, frame: str, ending: str) -> Path:
    return folder / frame / f"{frame}{ending}"


def inputs_of(made: FringesMade, inputs: FringeInputs) -> Sequence[Path]:
    """Return what a map was made from, for its record."""
    return (inputs.table, *made.frames)
