"""The frames of a movie, and the cache of encoded days.

The frames of a day are kept encoded, under the name of the day and a digest of all
their inputs, so that for a longer month only new days are drawn.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib import run_record
from visql_lib.atomic import atomic_path
from visql_lib.checksum import new_hash
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.instruments.facts import ParticleScale
from visql_lib.movies.encode import encode_piece, write_movie
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.movie import HOURS, FrameFacts, MovieCanvas, frame_size
from visql_lib.pipelines.vis.registry import VERSIONS
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.tables.metadata import facts_in
from visql_lib.tables.provenance import checksum_of
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

MAPS_ENDING = "_radmaps.parquet"
_NOTHING_SECONDS = 2.0  # of a movie without exposures
FRAME_TYPES = ("SCIENCE", "DARK")
_GOES_COLUMNS = ("TIME", "XRSA", "XRSB", "GOOD", "SATELLITE")
_ANGLE_COLUMNS = ("EXPOSURE", "SAA", "ALPHA", "ANGLE_SOURCE", "GOES_FLUX")


@dataclass(frozen=True)
class MovieExposure:
    """An exposure of a movie: the facts its frame shows, its maps, and its sheet."""

    facts: FrameFacts
    maps: Path
    sheet: str


@dataclass(frozen=True)
class MovieInputs:
    """What a movie shows.

    Parameters
    ----------
    months : tuple of MonthFiles
    output : Path
        The movie.
    cache : Path
        Folder of the encoded days.
    kind : str
        xcosmix or protons.
    goes, angles : tuple of Path
        Tables GOES_SERIES and ANGLES.
    last_days : float, optional
        Only exposures of so many days before the newest one.
    """

    months: tuple[MonthFiles, ...]
    output: Path
    cache: Path
    kind: str
    goes: tuple[Path, ...] = ()
    angles: tuple[Path, ...] = ()
    last_days: float | None = None


@dataclass(frozen=True)
class MovieOutputs:
    """Numbers of frames, of those that were drawn anew, and of encoded days that were removed."""

    frames: int
    drawn: int = 0
    removed: int = 0


def run(context: Context[VisSettings], inputs: MovieInputs) -> MovieOutputs:
    """Draw the days that changed and write the movie; one that says so if there is no exposure.

    Raises
    ------
    TableError
        If a sheet or a table of angles cannot be read.
    MovieError
        If the encoder is missing or fails.
    """
    settings, instrument, days = context.settings, context.instrument, inputs.last_days
    sheets, rate = [month.sheet for month in inputs.months], settings.movies.frames_per_second
    angles = [read_angles(path) for path in inputs.angles]
    exposures = movie_exposures(inputs.months, angles, instrument.detector.readout_time, days)
    scale, width = instrument.particle_scale, settings.movies.width
    pieces = Pieces(inputs.cache, inputs.kind, scale, width, rate, settings.goes.hours)
    versions = {"movies": VERSIONS["movies"]}
    if not exposures:
        months = ", ".join(month.month for month in inputs.months)
        frame = pieces.canvas.draw_nothing(f"no exposure in {months}")
        frames = repeat(frame, max(1, round(rate * _NOTHING_SECONDS)))
        write_movie([encode_piece(frames, pieces.size, rate)], rate, inputs.output, versions, sheets)
        return MovieOutputs(0)
    sources = [*sheets, *inputs.angles, *inputs.goes]
    with pieces.locked(exposures), context.progress(inputs.output.name, len(exposures)) as advance:
        parts = pieces.make(exposures, GoesDays(inputs.goes), advance)
        write_movie(parts, rate, inputs.output, versions, sources)
        if days is None:  # a movie of the last days has parts of days
            for sheet in {exposure.sheet for exposure in exposures}:
                pieces.remove_others(sheet)
    return MovieOutputs(len(exposures), pieces.drawn, pieces.removed)


def movie_exposures(
    months: Sequence[MonthFiles],
    angles: Sequence[Mapping[str, NDArray]] = (),
    readout: float = 0.0,
    last_days: float | None = None,
) -> list[MovieExposure]:
    """Find the SCIENCE and DARK exposures that have maps of particles, in order of time.

    Parameters
    ----------
    months : sequence of MonthFiles
        Their sheets and the maps of their exposures.
    angles : sequence of mappings, optional
        Tables ANGLES; their angles count more than those of the sheets.
    readout : float, optional
        Readout time of the instrument [s].
    last_days : float, optional
        Only exposures of so many days before the newest one.

    Raises
    ------
    TableError
        If a sheet cannot be read.
    """
    known = _angles_by_exposure(angles)
    found = []
    for month in months:
        for row in read_sheet(month.sheet):
            maps = month.frame_file(row.exposure, MAPS_ENDING)
            selected = row.frame_type in FRAME_TYPES and row.status in (*USABLE, *WITHOUT_RAW)
            if selected and maps.is_file():
                facts = _facts(row, known.get(row.exposure, {}), readout)
                found.append(MovieExposure(facts, maps, month.month))
    # NaT sorts last, also as text: exposures without a time come last.
    found.sort(key=lambda e: (str(e.facts.date_obs), e.facts.exposure))
    return found if last_days is None else _last(found, last_days)


def _last(exposures: list[MovieExposure], days: float) -> list[MovieExposure]:
    """Select the last days before the newest exposure; dates in the future are ignored."""
    latest = np.datetime64("now") + np.timedelta64(1, "D")
    dated = [e for e in exposures if e.facts.date_obs <= latest]  # NaT is not
    if not dated:
        return []
    oldest = dated[-1].facts.date_obs - np.timedelta64(round(days * 86400e6), "us")
    return [e for e in dated if e.facts.date_obs >= oldest]


def _angles_by_exposure(tables: Sequence[Mapping[str, NDArray]]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for table in tables:
        columns = [np.asarray(table[name]).tolist() for name in _ANGLE_COLUMNS]
        rows |= {row[0]: dict(zip(_ANGLE_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)}
    return rows


def _facts(row: SheetRow, angles: Mapping[str, Any], readout: float) -> FrameFacts:
    computed = bool(np.isfinite([angles.get("SAA", np.nan), angles.get("ALPHA", np.nan)]).any())
    return FrameFacts(
        exposure=row.exposure,
        frame_type=row.frame_type,
        date_obs=start_of_row(row),
        exptime=row.exptime,
        readout=readout,
        saa=angles["SAA"] if computed else row.saa,
        alpha=angles["ALPHA"] if computed else row.alpha,
        angle_source=angles["ANGLE_SOURCE"] if computed else "header",
        goes_flux=angles.get("GOES_FLUX", np.nan),
    )


def read_angles(path: Path) -> dict[str, NDArray]:
    """Read the columns of a table ANGLES that frames show."""
    return read_table(path, _ANGLE_COLUMNS)


class GoesDays:
    """Series of GOES, one or more days each, from which the hours around an exposure are taken.

    Parameters
    ----------
    paths : sequence of Path
        Tables GOES_SERIES; a broken one is skipped with a warning.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._days: list[dict[str, NDArray]] = []
        for path in paths:
            try:
                table = read_table(path, _GOES_COLUMNS)
            except TableError as error:  # affects a day of the curve, not the movie
                log.warning("%s", error)
                continue
            if table.n_rows:
                order = np.argsort(table["TIME"], kind="stable")
                self._days.append({name: np.asarray(table[name])[order] for name in _GOES_COLUMNS})
        self._days.sort(key=lambda day: day["TIME"][0])

    def around(self, start: np.datetime64, hours: float) -> dict[str, NDArray] | None:
        """Select the samples within `hours` of a time, in order; None if there are none."""
        if np.isnat(start):
            return None
        span = np.timedelta64(round(hours * 3600e6), "us")
        parts = []
        for day in self._days:
            low = np.searchsorted(day["TIME"], start - span)
            high = np.searchsorted(day["TIME"], start + span, side="right")
            if high > low:
                parts.append({name: values[low:high] for name, values in day.items()})
        if not parts:
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in _GOES_COLUMNS}


class Pieces:
    """Cache of a kind of movie: one encoded part per day (UTC).

    For a longer month only the days that are new or have changed are drawn and encoded.

    Parameters
    ----------
    folder : Path
        Contains the parts of all sheets and kinds, in separate folders.
    kind : str
        xcosmix or protons.
    scale : ParticleScale
        The exposure whose numbers of particles are shown.
    width : int
        Width of a frame [px].
    rate : float
        Frames per second.
    hours : float, optional
        Time for which the solar flux is shown before and after an exposure.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        scale: ParticleScale,
        width: int,
        rate: float,
        hours: float = HOURS,
    ) -> None:
        self.folder, self.kind, self.scale, self.hours = folder / kind, kind, scale, hours
        self.size, self.rate = frame_size(width), rate
        self._made: set[Path] = set()
        self.drawn = 0  # frames
        self.removed = 0  # pieces

    @cached_property
    def canvas(self) -> MovieCanvas:
        """The canvas for drawing; created for the first new frame."""
        return MovieCanvas(self.scale, self.kind, self.size[0], self.hours)

    @contextmanager
    def locked(self, exposures: Sequence[MovieExposure]) -> Iterator[None]:
        """Lock out other movies of the same months, which make and remove the same pieces."""
        from filelock import FileLock

        with ExitStack() as locks:
            # In order, against deadlocks.
            for sheet in sorted({exposure.sheet for exposure in exposures}):
                (self.folder / sheet).mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(self.folder / sheet / ".lock"))
            yield

    def make(
        self,
        exposures: Sequence[MovieExposure],
        goes: GoesDays,
        on_frame: Callable[[], None] = lambda: None,
    ) -> Iterator[bytes]:
        """Yield the parts of a movie in order, from the cache or newly encoded.

        Parameters
        ----------
        exposures : sequence of MovieExposure
            In order of time.
        goes : GoesDays
        on_frame : callable, optional
            Called for each frame, drawn or not.

        Raises
        ------
        MovieError
            If the encoder is missing or fails.
        """
        for (sheet, day), group in groupby(exposures, lambda e: (e.sheet, _day(e.facts.date_obs))):
            members = [(e, goes.around(e.facts.date_obs, self.hours)) for e in group]
            made_from = digest(f"{self.rate:g}", *(self._digest(e, series) for e, series in members))
            path = self.folder / sheet / f"{day}-{made_from}.h264"
            piece = _read(path)
            if piece is None:
                frames = _counted((self._draw(e, series) for e, series in members), on_frame)
                piece = encode_piece(frames, self.size, self.rate)
                self.drawn += len(members)
                _write(path, piece)
            else:
                for _ in members:
                    on_frame()
            self._made.add(path)
            yield piece

    def remove_others(self, sheet: str) -> None:
        """Remove the pieces of a sheet that belong to no movie made here."""
        for path in (self.folder / sheet).iterdir():
            if path.is_file() and path not in self._made and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                self.removed += 1

    def _digest(self, exposure: MovieExposure, series: Mapping[str, NDArray] | None) -> str:
        """Compute a digest of all inputs of a frame."""
        maps = checksum_of(exposure.maps)
        run_record.current().read(exposure.maps, maps)
        inputs = hashlib.sha256(maps.encode())
        for values in (series or {}).values():
            inputs.update(np.ascontiguousarray(values).tobytes())
        facts = {name: str(value) for name, value in vars(exposure.facts).items()}
        look = f"{self.size} {self.hours} {VERSIONS['movies']}"
        return digest(facts, self.kind, look, self.scale, inputs.hexdigest())

    def _draw(self, exposure: MovieExposure, series: Mapping[str, NDArray] | None) -> NDArray[np.uint8]:
        try:
            table = read_table(exposure.maps, ("MAP", "IX", "IY", "N"))
            about = facts_in(table.meta, RadiationMetadata, exposure.maps)
        except TableError as error:  # affects this frame, not the movie
            log.warning("%s", error)
            trouble = str(error).replace(str(exposure.maps), exposure.maps.name)
            return self.canvas.draw(exposure.facts, None, RadiationMetadata(), series, trouble)
        return self.canvas.draw(exposure.facts, table, about, series, about.failed)


def _day(start: np.datetime64) -> str:
    """Format the day (UTC) of an exposure for the name of a piece."""
    return "undated" if np.isnat(start) else str(start.astype("datetime64[D]"))


def _counted(
    frames: Iterator[NDArray[np.uint8]], on_frame: Callable[[], None]
) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        yield frame
        on_frame()


def _write(path: Path, piece: bytes) -> None:
    """Write a piece, with a checksum before it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(new_hash(piece).digest() + piece)


def _read(path: Path) -> bytes | None:
    """Read a piece; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    length = new_hash().digest_size
    if new_hash(content[length:]).digest() != content[:length]:
        log.warning("%s: is damaged; encoded again", path)
        return None
    return content[length:]
