"""Stage `plate`: plate solution of one exposure from its brightest stars and an index of reference stars."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.astrometry_net import (
    INDEX_VERSION,
    Deadline,
    NotInstalledError,
    NotSolvedError,
    PlateError,
    SolveFieldResult,
    StarField,
    TimedOutError,
    build_index,
    solve,
)
from visql_lib.archives.columns import joined
from visql_lib.archives.files import read_stars
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.frames.mosaic import bounding_box
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.settings import PlateSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.sky.geometry import FocalPlaneGeometry
from visql_lib.sky.plate import (
    PlateSolution,
    boresight_of,
    brightest,
    index_limits,
    index_stars,
    match_pairs,
    solve_pairs,
)
from visql_lib.sky.reference import years_since_epoch
from visql_lib.sky.thumbnail import ThumbnailFrame
from visql_lib.stores.gaia import store_folder
from visql_lib.tables import read_meta, read_table
from visql_lib.tables.plate import SOLVED

log = logging.getLogger(__name__)

_MATCHES = 2  # number of times the stars are paired again
_FIRST = 0.6  # fraction of the time for the first attempt, if there is a second
# The picture around the thumbnail, as visql_lib.pictures.preview draws it [px].
_LARGEST, _USUAL, _NARROWEST = 1200, 1000, 500
_HEAD, _FOOT, _SIDE = 32, 64, 20


@dataclass(frozen=True)
class PlateInputs:
    """What a plate solution is made from.

    Parameters
    ----------
    stars : Path
        The table of the exposure's stars.
    tiles : tuple of Path
        Reference stars around the boresight.
    position : (float, float)
        RA, Dec [deg] of the header; NaN if it has none.
    quadrants : Path or None
        The table of the quadrants in the thumbnail; None: all.
    cache : Path or None
        Folder of the indexes; None: beside the store of reference stars.
    """

    stars: Path
    tiles: tuple[Path, ...] = ()
    position: tuple[float, float] = (math.nan, math.nan)
    quadrants: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class PlateOutputs:
    """Cards of the plate solution; why there is none ("" if there is), and the solver's error, if it was one.

    That an exposure cannot be solved is a valid outcome, which is written, too.
    """

    exposure: str
    cards: dict[str, Any]
    reason: str
    unsolved: PlateError | None


def run(context: Context[VisSettings], inputs: PlateInputs) -> PlateOutputs:
    """Make a plate solution of the thumbnail of an exposure.

    Raises
    ------
    VisqlError
        If a table cannot be used, and failures are not recorded.
    """
    settings = context.settings
    meta: dict[str, Any] = {"exposure": inputs.stars.stem.removesuffix("_stars2")}
    cards: dict[str, Any] = {"STATUS": "failed"}
    unsolved: PlateError | None = None
    with context.failures(meta):
        reference = _reference(
            inputs.tiles, inputs.cache or store_folder(settings.gaia, settings.results) / "index"
        )
        try:
            found, index = _solved(context, inputs, reference)
            cards = {"STATUS": SOLVED, "INDEX": index} | _facts(found) | found.cards
        except PlateError as error:
            unsolved, cards = error, {"STATUS": error.kind}
    reason = str(unsolved) if unsolved else meta.get("failed", "")
    return PlateOutputs(meta["exposure"], cards, reason, unsolved)


def _solved(
    context: Context[VisSettings], inputs: PlateInputs, reference: ReferenceStars | None
) -> tuple[PlateSolution, str]:
    settings, instrument = context.settings, context.instrument
    stars = read_table(inputs.stars, ("X_WORLD", "Y_WORLD", "FLUX_AUTO"))
    if cause := stars.meta.get("failed"):
        raise TableError(str(cause))
    shown = read_table(inputs.quadrants, ("EXT",))["EXT"].tolist() if inputs.quadrants is not None else []
    frame = thumbnail_frame(instrument, shown, settings.preview.thumbnail_binning)
    exptime, date = stars.meta.get("exptime"), stars.meta.get("date_obs")
    return solve_exposure(
        stars,
        math.nan if exptime is None else float(exptime),
        datetime.fromisoformat(date) if date else None,
        inputs.position,
        reference,
        frame,
        instrument,
        settings.plate,
    )


def thumbnail_frame(instrument: Instrument, quadrants: Sequence[str], binning: int) -> ThumbnailFrame:
    """Find the position of the focal plane in the picture E.png of an exposure.

    Parameters
    ----------
    instrument : Instrument
        The focal plane.
    quadrants : sequence of str
        Quadrants of the raw frame; empty: all. Names unknown to the instrument are ignored.
    binning : int
        Mosaic pixels per side of a block.
    """
    known = instrument.quadrants
    layouts = [known[name] for name in quadrants if name in known] or list(known.values())
    x0, y0, x1, y1 = bounding_box(layouts)
    left, low = x0 // binning * binning, y0 // binning * binning
    nx, ny = -(-(x1 - left) // binning), -(-(y1 - low) // binning)
    largest = max(nx, ny)
    factor = 1.0 if _USUAL // 2 < largest <= _LARGEST else _USUAL / largest
    factor = math.floor(factor) if factor > 1 else factor
    wide, high = max(round(nx * factor), _NARROWEST), round(ny * factor)
    return ThumbnailFrame(
        scale=layouts[0].wcs.scale,
        origin=(left, low),
        step=(binning / factor, binning * ny / high),
        left=(wide - nx * factor) // 2 + _SIDE,
        bottom=_HEAD + high,
        width=wide + 2 * _SIDE,
        height=high + _HEAD + _FOOT,
    )


def _reference(paths: Sequence[Path], cache: Path) -> ReferenceStars | None:
    """Offer the stars of tiles, read when needed; None without tiles."""
    if not paths:
        return None
    seen = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(paths)]
    return ReferenceStars(lambda: _read(paths), digest(str(seen)), cache)


def _read(paths: Sequence[Path]) -> Mapping[str, NDArray]:
    """Read the stars of all available tiles; a failed tile only lacks its own stars."""
    failed = [p for p in paths if p.suffix == ".parquet" and read_meta(p).get("failed")]
    for path in failed:
        log.warning("%s: contains no stars: %s", path, read_meta(path)["failed"])
    return joined(read_stars(path) for path in paths if path not in failed)


def _facts(found: PlateSolution) -> dict[str, Any]:
    return {
        "RA": found.boresight.ra,
        "DEC": found.boresight.dec,
        "PA": found.boresight.pa,
        "SKYSCALE": found.scale,
        "NSTARS": found.n,
        "NMATCHED": found.n_pairs,
        "RMS": found.rms,
    }


@dataclass(frozen=True)
class ReferenceStars:
    """Reference stars that are read only if an index must be built.

    ``read`` returns RA, DEC [deg], PMRA, PMDEC [mas/yr], G [mag]; ``key`` changes with
    the stars; ``folder`` contains the indexes.
    """

    read: Callable[[], Mapping[str, NDArray]]
    key: str
    folder: Path


def solve_exposure(
    stars: Mapping[str, NDArray],
    exptime: float,
    date: datetime | None,
    position: tuple[float, float],
    reference: ReferenceStars | None,
    frame: ThumbnailFrame,
    instrument: Instrument,
    settings: PlateSettings,
) -> tuple[PlateSolution, str]:
    """Solve an exposure, first around the boresight of the header, then over the whole sky.

    Parameters
    ----------
    stars : mapping of arrays
        ``X_WORLD``, ``Y_WORLD`` [deg], ``FLUX_AUTO`` [ADU] of the exposure's stars.
    exptime : float
        Exposure time [s], NaN if not known.
    date : datetime or None
        Start, UTC.
    position : (float, float)
        RA, Dec [deg] of the header; NaN if it has none.
    reference : ReferenceStars or None
        Stars around that position, if available.
    frame : ThumbnailFrame
        The picture.
    instrument : Instrument
        Its distortion and magnitudes.
    settings : PlateSettings
        Limits.

    Returns
    -------
    solution : PlateSolution
    index : str
        ``reference`` or ``installed``.

    Raises
    ------
    PlateError
        If there is no solution; ``kind`` gives the reason.
    """
    deadline = Deadline(settings.time_limit)
    rows = brightest(stars, settings.stars)
    field = _field({name: stars[name][rows] for name in ("X_WORLD", "Y_WORLD")}, frame, settings)
    causes: list[PlateError] = []
    if reference is not None and np.isfinite(position).all():
        facts = instrument.photometry
        limits = index_limits(
            np.asarray(stars["FLUX_AUTO"])[rows],
            exptime,
            magnitude_zero=facts.magnitude_zero,
            magnitude_gain=facts.magnitude_gain,
        )
        first = deadline.part(_FIRST) if settings.blind else deadline
        try:
            return _near(field, reference, limits, date, position, first, frame, instrument, settings)
        except NotInstalledError:
            raise
        except PlateError as error:
            causes.append(error)
    if settings.blind:
        try:
            return _solution(field, solve(field, [], None, deadline), frame, instrument)
        except NotInstalledError:
            raise
        except PlateError as error:
            causes.append(error)
    raise _summary(causes)


def _field(place: Mapping[str, NDArray], frame: ThumbnailFrame, settings: PlateSettings) -> StarField:
    x, y = frame.to_picture(place["X_WORLD"], place["Y_WORLD"])
    low, high = (frame.pixel_scale * (1 + sign * settings.scale_error) for sign in (-1, 1))
    return StarField(x, y, frame.width, frame.height, (low, high))


def _near(
    field: StarField,
    reference: ReferenceStars,
    limits: tuple[float, float],
    date: datetime | None,
    position: tuple[float, float],
    deadline: Deadline,
    frame: ThumbnailFrame,
    instrument: Instrument,
    settings: PlateSettings,
) -> tuple[PlateSolution, str]:
    """Solve with an index of the reference stars, which is built if necessary."""
    years = float(
        round(years_since_epoch(date))
    )  # an index is valid for a year, in which few stars move by 0.1 arcsec
    name = digest(f"{reference.key} {limits} {years} {INDEX_VERSION}")
    path = reference.folder / f"{name}.fits"
    if not path.is_file() and len(field.x):
        build_index(index_stars(reference.read(), limits, years), path, deadline)
    found = solve(field, [path], (*position, settings.radius), deadline)
    return _solution(field, found, frame, instrument)


def _solution(
    field: StarField, found: SolveFieldResult, frame: ThumbnailFrame, instrument: Instrument
) -> tuple[PlateSolution, str]:
    """Fit the geometry to the matches of the solver, and then to all pairs."""
    geometry = FocalPlaneGeometry.of(instrument.sky_distortion)
    pairs = (found.x, found.y, found.ra, found.dec)
    solution = solve_pairs(*pairs, frame, geometry, boresight_of(found.header))
    for _ in range(_MATCHES):
        if solution is None:
            break
        index = (found.index_ra, found.index_dec)
        here, there = match_pairs(field.x, field.y, *index, frame, geometry, solution)
        pairs = (field.x[here], field.y[here], index[0][there], index[1][there])
        solution = solve_pairs(*pairs, frame, geometry, solution.boresight)
    if solution is None:
        raise NotSolvedError(f"only {len(pairs[0])} stars match: too few to be sure")
    return solution, found.index


def _summary(causes: list[PlateError]) -> PlateError:
    """Choose one error for all attempts; a timeout takes precedence over a failure."""
    if not causes:
        return NotSolvedError("no reference stars around the boresight, and plate.blind is off")
    kind = TimedOutError if any(isinstance(c, TimedOutError) for c in causes) else NotSolvedError
    if len(causes) == 1:
        return kind(str(causes[0]))
    return kind(f"around the header's boresight: {causes[0]}; anywhere: {causes[1]}")
