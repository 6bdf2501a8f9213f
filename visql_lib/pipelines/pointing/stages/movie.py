"""The movie of a night, or of an interval: the small pictures of its frames, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.movies.encode import encode_piece, write_movie
from visql_lib.pipelines.pointing.intervals import Interval
from visql_lib.pipelines.pointing.night_files import NightFiles
from visql_lib.pipelines.pointing.pictures.movie import GuideMovie, MovieFacts, MovieStretch
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.stages.night_picture import clock_of
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.summary import read_thumbnail
from visql_lib.pipelines.pointing.versions import VERSIONS
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

THUMBNAIL = "-thumbnail.fits"
_COLUMNS = ("EXPOSURE", "DATE_OBS", "EXPTIME", "STATUS", "ZP", "ZP_ERR", "N_STARS", "MU", "DOME")
_NOTHING_SECONDS = 2.0  # of a movie without frames
_SAMPLE, _EVERY = 200, 4  # frames, and which of their blocks, from which the stretch is found
_ENDS = (0.5, 99.5)  # %
_WHITE, _BRIGHT = 1.8, 95.0  # white against the sky of a bright frame, and which that is [%]: twilight is not
_QUALITY = 28  # of the encoder: letters are large
_LEAST = 2.0  # ratio of the ends of a stretch: less would show noise
_USUAL = MovieStretch(1.0, 10.0)  # where nothing is known


@dataclass(frozen=True)
class NightMovieInputs:
    """The tables of nights, in their usual places; which of their frames are shown: None, all."""

    tables: Sequence[Path]
    output: Path
    interval: Interval | None = None


@dataclass(frozen=True)
class NightMovieOutputs:
    """How many frames the movie shows, and how many had no small picture."""

    frames: int
    skipped: int


@dataclass(frozen=True)
class MovieFrame:
    """What a frame shows, and the file of its small picture."""

    facts: MovieFacts
    path: Path


def run(context: Context[PointingSettings], inputs: NightMovieInputs) -> NightMovieOutputs:
    """Write a movie; one that says so if there is no frame.

    Raises
    ------
    TableError
        If a table cannot be read, or lies elsewhere.
    MovieError
        If the encoder is missing or fails.
    """
    frames = movie_frames(inputs.tables, inputs.interval)
    rate, guide = context.settings.movie.fps, context.instrument.guide
    there = [frame for frame in frames if frame.path.is_file()]
    movie = GuideMovie(guide, stretch_of(there), clock_of(context.instrument))
    shown: list[MovieFrame] = []
    with context.progress(inputs.output.name, len(there)) as advance:
        piece = encode_piece(_pictures(movie, there, rate, shown, advance), movie.size, rate, _QUALITY)
    name = "night_movie" if inputs.interval is None else "interval_movie"
    write_movie([piece], rate, inputs.output, {name: VERSIONS[name]}, inputs.tables)
    if skipped := len(frames) - len(shown):
        log.warning("%s: %d of %d frames have no small picture", inputs.output, skipped, len(frames))
    return NightMovieOutputs(len(shown), skipped)


def movie_frames(tables: Sequence[Path], interval: Interval | None = None) -> list[MovieFrame]:
    """List the measured frames of nights, in order of time; those of an interval, or all.

    Raises
    ------
    TableError
        If a table cannot be read, or lies elsewhere.
    """
    found = []
    for path in tables:
        files, table = NightFiles.of_table(path), read_table(path, _COLUMNS)
        shown = np.isin(table["STATUS"], [s for s in GuideStatus if s.is_measured])
        if interval is not None:
            shown &= interval.contains(table["DATE_OBS"])
        for i in np.flatnonzero(shown):
            row = {name: table[name][i] for name in _COLUMNS}
            facts = MovieFacts(
                exposure=str(row["EXPOSURE"]),
                date_obs=row["DATE_OBS"],
                exptime=float(row["EXPTIME"]),
                zp=float(row["ZP"]),
                zp_err=float(row["ZP_ERR"]),
                n_stars=int(row["N_STARS"]),
                mu=float(row["MU"]),
                dome=bool(row["DOME"]),
            )
            found.append(MovieFrame(facts, files.frame_file(facts.exposure, THUMBNAIL)))
    # NaT sorts last, also as text: frames without a time come last.
    return sorted(found, key=lambda frame: (str(frame.facts.date_obs), frame.facts.exposure))


def stretch_of(frames: Sequence[MovieFrame]) -> MovieStretch:
    """Find the colours of a movie: of the sky of a sample of its frames, without dome if there are any.

    The sky of nearly all frames, also of moonlit ones, stays well below white: stars are seen on it.
    """
    clear = [frame for frame in frames if not frame.facts.dome] or list(frames)
    step = max(1, -(-len(clear) // _SAMPLE))
    images = (_means(frame.path) for frame in clear[::step])
    samples = [_positive(image[::_EVERY, ::_EVERY]) for image in images if image is not None]
    samples = [values for values in samples if len(values)]
    if not samples:
        return _USUAL
    low, high = (float(v) for v in np.percentile(np.concatenate(samples), _ENDS))
    high = max(high, _WHITE * float(np.percentile([np.median(values) for values in samples], _BRIGHT)))
    spare = max(_LEAST / (high / low), 1.0) ** 0.5
    return MovieStretch(low / spare, high * spare)


def _positive(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values[np.isfinite(values) & (values > 0)]


def _means(path: Path) -> NDArray[np.float32] | None:
    """Read the small picture of a frame [adu/s], None with a warning if that cannot be."""
    try:
        return read_thumbnail(path).pixels
    except TableError as error:  # affects a frame, not the movie
        log.warning("%s", error)
        return None


def _pictures(
    movie: GuideMovie,
    frames: Sequence[MovieFrame],
    rate: float,
    shown: list[MovieFrame],
    advance: Callable[[], None],
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of frames, and note which are shown; if none is, some that say so."""
    for frame in frames:
        if (means := _means(frame.path)) is not None:
            shown.append(frame)
            yield movie.draw(frame.facts, means)
        advance()
    if not shown:
        yield from repeat(movie.draw_nothing("no frames"), max(1, round(rate * _NOTHING_SECONDS)))
