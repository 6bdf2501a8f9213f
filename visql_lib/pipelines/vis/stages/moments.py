"""Stage `moments`: PSF moments of the stars of one exposure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import FrameError, TableError
from visql_lib.frames import Exposure, Quadrant, open_exposure
from visql_lib.frames.names import stem_of
from visql_lib.frames.statistics import integer_median
from visql_lib.pipelines.vis.settings import MomentSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.psf.moments import cut_stamps, measure_moments
from visql_lib.steps.frame import check_same_frame
from visql_lib.tables import MOMENTS, STAMPS, Table, read_table
from visql_lib.tables.metadata import StarMetadata, facts_in

# Column of the moments table <- column of the stars table.
_CARRIED = {
    "EXT": "EXT",
    "XWORLD": "X_WORLD",
    "YWORLD": "Y_WORLD",
    "FLUX": "FLUX_AUTO",
    "FLUXERR": "FLUXERR_AUTO",
    "FLUXRAD": "FLUX_RADIUS",
    "FIELDRAD": "FIELDRAD",
}
STAR_COLUMNS = (*_CARRIED.values(), "X_IMAGE", "Y_IMAGE")


@dataclass(frozen=True)
class MomentInputs:
    """What moments are measured from: a raw frame and the table of its stars."""

    raw: Path
    stars: Path


@dataclass(frozen=True)
class MomentOutputs:
    """Columns of the tables MOMENTS and STAMPS, and their metadata."""

    moments: Mapping[str, NDArray]
    stamps: Mapping[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[VisSettings], inputs: MomentInputs) -> MomentOutputs:
    """Measure the PSF moments of the stars of an exposure.

    Raises
    ------
    VisqlError
        If the frame or the table cannot be used, and failures are not recorded.
    """
    meta: dict[str, Any] = {"exposure": inputs.stars.name.removesuffix("_stars2.parquet")}
    found = None
    with context.failures(meta):
        stars = read_table(inputs.stars, STAR_COLUMNS)
        facts_in(stars.meta, StarMetadata, inputs.stars)
        meta |= stars.meta
        if meta["exposure"] != stem_of(inputs.raw.name):
            raise TableError(f"{inputs.stars}: stars of {meta['exposure']}, not of {inputs.raw.name}")
        if stars.n_rows:  # else there is nothing to open the frame for
            found = _measured(context, inputs, stars)
    if found is None or not found.moments:  # no star, or none far enough from the edges
        return MomentOutputs(MOMENTS.empty(), STAMPS.empty(), meta)
    return MomentOutputs(found.moments, found.stamps, meta)


def _measured(context: Context[VisSettings], inputs: MomentInputs, stars: Table) -> ExposureMoments:
    with (
        open_exposure(inputs.raw, context.instrument) as exposure,
        context.progress(exposure.stem, len(exposure.layouts)) as advance,
    ):
        found = measure_exposure_moments(exposure, stars, context.settings.moments, advance)
        check_same_frame(exposure, stars.meta, inputs.stars)
    return found


@dataclass(frozen=True)
class ExposureMoments:
    """Moments of an exposure's stars, and cut-outs of some of them.

    ``moments`` and ``stamps`` are columns of the tables of those names
    (docs/tables.md); empty where there are no stars.
    """

    moments: dict[str, NDArray]
    stamps: dict[str, NDArray]


def measure_exposure_moments(
    exposure: Exposure,
    stars: Mapping[str, NDArray],
    settings: MomentSettings,
    on_quadrant: Callable[[], None] = lambda: None,
) -> ExposureMoments:
    """Measure the moments of all stars that are far enough from the edges of their quadrant.

    Parameters
    ----------
    exposure : Exposure
        The raw frame.
    stars : mapping of arrays, shape (n,)
        The columns of the stars table.
    settings : MomentSettings
        Border, stamps, weight and centring.
    on_quadrant : callable, optional
        Called after each quadrant.

    Returns
    -------
    ExposureMoments
        In the order of `stars`.

    Raises
    ------
    FrameError
        If the frame cannot be read.
    """
    rows: list[NDArray] = []
    parts: list[dict[str, NDArray]] = []
    stamps: list[NDArray] = []
    wanted = set(np.unique(stars["EXT"]))
    for quadrant in exposure:
        on_quadrant()
        if quadrant.name not in wanted:
            continue
        if quadrant.layout.is_moved:
            raise FrameError(
                f"{exposure.path}: {quadrant.name} lies elsewhere in the detector than in its file; "
                "moments are measured in arrays as they are in the file"
            )
        index = np.flatnonzero(_inside(stars, quadrant, settings.border))
        if not len(index):
            continue
        cut, x, y = _stamps(quadrant, stars["X_IMAGE"][index], stars["Y_IMAGE"][index], settings)
        measured = measure_moments(
            cut,
            sigma=settings.sigma,
            iterations=settings.iterations,
            gain=settings.gain,
            max_shift=settings.max_shift,
        )
        measured["XIMAGE"], measured["YIMAGE"] = x + measured["DX"], y + measured["DY"]
        rows.append(index)
        parts.append(measured)
        stamps.append(cut)
    if not rows:
        return ExposureMoments({}, {})
    return _assemble(stars, rows, parts, stamps, settings)


def _inside(stars: Mapping[str, NDArray], quadrant: Quadrant, border: int) -> NDArray[np.bool_]:
    x, y = stars["X_IMAGE"], stars["Y_IMAGE"]
    ny, nx = quadrant.layout.shape
    return (
        (stars["EXT"] == quadrant.name) & (x > border) & (x < nx - border) & (y > border) & (y < ny - border)
    )


def _stamps(
    quadrant: Quadrant, x: NDArray, y: NDArray, settings: MomentSettings
) -> tuple[NDArray, NDArray, NDArray]:
    """Cut out sky-subtracted stamps and their one-based central pixels."""
    b = settings.border
    sky = integer_median(quadrant.pixels[b:-b, b:-b] if b else quadrant.pixels)
    nearest_x, nearest_y = np.rint(x).astype(int), np.rint(y).astype(int)
    stamps = cut_stamps(quadrant.pixels, nearest_x - 1, nearest_y - 1, settings.stamp)
    return stamps.astype(np.float64) - sky, nearest_x, nearest_y


def _assemble(
    stars: Mapping[str, NDArray],
    rows: list[NDArray],
    parts: list[dict[str, NDArray]],
    stamps: list[NDArray],
    settings: MomentSettings,
) -> ExposureMoments:
    index = np.concatenate(rows)
    order = np.argsort(index, kind="stable")
    columns = {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
    index = index[order]
    columns |= {name: stars[source][index] for name, source in _CARRIED.items()}
    shown = spread(columns["XWORLD"], columns["YWORLD"], columns["FLUX"], settings.layout_cell)
    images = np.concatenate(stamps)[order][shown]
    return ExposureMoments(
        columns,
        {name: columns[name][shown] for name in ("EXT", "XWORLD", "YWORLD")}
        | {"STAMP": images.reshape(len(images), -1)},
    )


def spread(x: NDArray, y: NDArray, flux: NDArray, cell: float) -> NDArray[np.intp]:
    """Choose stars, brightest first, such that squares of side `cell` around them do not overlap.

    Parameters
    ----------
    x, y : arrays, shape (n,)
        Positions, in the unit of `cell`.
    flux : array, shape (n,)
        Brighter stars are chosen first.
    cell : float
        Side of the square around each star.

    Returns
    -------
    array of int
        Indices of the chosen stars, increasing.
    """
    free = np.ones(len(x), dtype=bool)
    chosen = np.zeros(len(x), dtype=bool)
    for i in np.argsort(-flux, kind="stable"):
        if free[i]:
            chosen[i] = True
            free &= (np.abs(x - x[i]) >= cell) | (np.abs(y - y[i]) >= cell)
    return np.flatnonzero(chosen)
