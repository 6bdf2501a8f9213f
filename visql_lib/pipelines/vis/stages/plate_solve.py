"""Plate solution of one exposure from its brightest stars and an index of reference stars."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

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
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.settings import PlateSettings
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

log = logging.getLogger(__name__)

_MATCHES = 2  # number of times the stars are paired again
_FIRST = 0.6  # fraction of the time for the first attempt, if there is a second


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
