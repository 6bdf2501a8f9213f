"""Which frames a movie has, which of them are new, and where they are kept.

A frame is kept as PNG under the name of its exposure and a digest of all it is
made from, so that a longer month only draws what is new.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import STAGES
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.months.quality import start_of_row
from visql_lib.movies.errors import MovieError
from visql_lib.pictures.movie import HOURS, FrameFacts, MovieCanvas, even_size
from visql_lib.tables.sheet import USABLE, WITHOUT_RAW, SheetRow, read_sheet
from visql_lib.tables.store import atomic_path, read_table

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

MAPS_ENDING = "_radmaps.parquet"
FRAME_TYPES = ("SCIENCE", "DARK")
_GOES_COLUMNS = ("TIME", "XRSA", "XRSB", "GOOD", "SATELLITE")
_ANGLE_COLUMNS = ("EXPOSURE", "SAA", "ALPHA", "ANGLE_SOURCE", "GOES_FLUX")
_FRAME = re.compile(r"(?P<exposure>.+)-(?P<digest>[0-9a-f]{12})\.png")


@dataclass(frozen=True)
class MovieExposure:
    """An exposure of a movie: what its frame tells, its maps, and the sheet it comes from."""

    facts: FrameFacts
    maps: Path
    sheet: str


def movie_exposures(
    sheets: Sequence[Path],
    angles: Sequence[Mapping[str, NDArray]] = (),
    readout: float = 0.0,
    last_days: float | None = None,
) -> list[MovieExposure]:
    """Return the SCIENCE and DARK exposures that have maps of particles, in order of time.

    Parameters
    ----------
    sheets : sequence of Path
        Exposure sheets; maps are looked for beside each.
    angles : sequence of mappings, optional
        Tables ANGLES; what they know counts more than the sheets.
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
    for sheet in sheets:
        for row in read_sheet(sheet):
            maps = sheet.parent / sheet.stem / row.exposure / f"{row.exposure}{MAPS_ENDING}"
            wanted = row.frame_type in FRAME_TYPES and row.status in (*USABLE, *WITHOUT_RAW)
            if wanted and maps.is_file():
                facts = _facts(row, known.get(row.exposure, {}), readout)
                found.append(MovieExposure(facts, maps, sheet.stem))
    # NaT is the largest of all dates as text, too: exposures without a time come last.
    found.sort(key=lambda e: (str(e.facts.date_obs), e.facts.exposure))
    return found if last_days is None else _last(found, last_days)


def _last(exposures: list[MovieExposure], days: float) -> list[MovieExposure]:
    dated = [e for e in exposures if not np.isnat(e.facts.date_obs)]
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
        date_obs=start_of_row(row).astype("datetime64[us]"),
        exptime=row.exptime,
        readout=readout,
        saa=angles["SAA"] if computed else row.saa,
        alpha=angles["ALPHA"] if computed else row.alpha,
        angle_source=angles["ANGLE_SOURCE"] if computed else "header",
        goes_flux=angles.get("GOES_FLUX", np.nan),
    )


def read_angles(path: Path) -> dict[str, NDArray]:
    """Read what frames tell of a table ANGLES."""
    return read_table(path, _ANGLE_COLUMNS)


class GoesDays:
    """Series of GOES, one or more days each, from which the hours around an exposure are taken.

    Parameters
    ----------
    paths : sequence of Path
        Tables GOES_SERIES; a broken one is left out with a warning.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._days: list[dict[str, NDArray]] = []
        for path in paths:
            try:
                table = read_table(path, _GOES_COLUMNS)
            except TableError as error:  # costs a day of the curve, not the movie
                log.warning("%s", error)
                continue
            if table.n_rows:
                order = np.argsort(table["TIME"], kind="stable")
                self._days.append({name: np.asarray(table[name])[order] for name in _GOES_COLUMNS})
        self._days.sort(key=lambda day: day["TIME"][0])

    def around(self, start: np.datetime64, hours: float) -> dict[str, NDArray] | None:
        """Return the samples within `hours` of a time, in order; None if there are none."""
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


class FrameCache:
    """The kept frames of one kind of movie.

    Parameters
    ----------
    folder : Path
        Holds the frames of all sheets and kinds, in folders of their own.
    kind : str
        xcosmix or protons.
    width : int
        Width of a frame [px].
    hours : float, optional
        The Sun's flux is shown so long before and after an exposure.
    """

    def __init__(self, folder: Path, kind: str, width: int, hours: float = HOURS) -> None:
        self.folder, self.kind, self.size, self.hours = folder / kind, kind, even_size(width), hours
        self.drawn = 0
        self.removed = 0
        self._canvas: MovieCanvas | None = None

    @property
    def canvas(self) -> MovieCanvas:
        """What draws; made when the first frame is new."""
        if self._canvas is None:
            self._canvas = MovieCanvas(self.kind, self.size[0], self.hours)
        return self._canvas

    @contextmanager
    def locked(self, exposures: Sequence[MovieExposure]) -> Iterator[None]:
        """Keep other movies of the same months away: they draw, and remove, the same frames."""
        from filelock import FileLock

        with ExitStack() as locks:
            for sheet in sorted(
                {exposure.sheet for exposure in exposures}
            ):  # in order: nobody waits in a circle
                (self.folder / sheet).mkdir(parents=True, exist_ok=True)
                locks.enter_context(FileLock(self.folder / sheet / ".lock"))
            yield

    def keep(
        self,
        exposures: Sequence[MovieExposure],
        goes: GoesDays,
        on_frame: Callable[[], None] = lambda: None,
    ) -> list[Path]:
        """Draw the frames that are new and return the paths of all, in order.

        A kept frame goes if its exposure has a newer one here, or is no longer in
        the folder of its sheet; frames of exposures that are not asked for stay.

        Parameters
        ----------
        exposures : sequence of MovieExposure
        goes : GoesDays
        on_frame : callable, optional
            Called after each frame, drawn or not.
        """
        paths = []
        for exposure in exposures:
            paths.append(self._kept(exposure, goes))
            on_frame()
        self._remove_orphans(exposures, set(paths))
        return paths

    def _kept(self, exposure: MovieExposure, goes: GoesDays) -> Path:
        facts = exposure.facts
        series = goes.around(facts.date_obs, self.hours)
        path = self.folder / exposure.sheet / f"{facts.exposure}-{self._digest(exposure, series)}.png"
        if not path.is_file() or path.stat().st_size == 0:
            _write_png(self._draw(exposure, series), path)
            self.drawn += 1
        return path

    def _digest(self, exposure: MovieExposure, series: Mapping[str, NDArray] | None) -> str:
        """Return what changes with anything the frame is made from."""
        inputs = hashlib.sha256(exposure.maps.read_bytes())
        for values in (series or {}).values():
            inputs.update(np.ascontiguousarray(values).tobytes())
        facts = {name: str(value) for name, value in vars(exposure.facts).items()}
        return digest(facts, self.kind, f"{self.size} {self.hours} {STAGES['movies']}", inputs.hexdigest())

    def _draw(self, exposure: MovieExposure, series: Mapping[str, NDArray] | None) -> NDArray[np.uint8]:
        try:
            table = read_table(exposure.maps, ("MAP", "IX", "IY", "N"))
        except TableError as error:  # costs this frame, not the movie
            log.warning("%s", error)
            trouble = str(error).replace(str(exposure.maps), exposure.maps.name)
            return self.canvas.draw(exposure.facts, None, {}, series, trouble)
        trouble = str(table.meta.get("failed", ""))
        return self.canvas.draw(exposure.facts, table, table.meta, series, trouble)

    def _remove_orphans(self, exposures: Sequence[MovieExposure], paths: set[Path]) -> None:
        shown = {exposure.facts.exposure for exposure in exposures}
        folders = {exposure.sheet: exposure.maps.parents[1] for exposure in exposures}
        for sheet, tables in folders.items():
            for path in sorted((self.folder / sheet).glob("*.png")):
                match = _FRAME.fullmatch(path.name)
                if match is None or path in paths:
                    continue
                exposure = match["exposure"]
                if exposure in shown or not (tables / exposure / f"{exposure}{MAPS_ENDING}").is_file():
                    path.unlink(missing_ok=True)
                    self.removed += 1


def _write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", compress_level=1)


def read_frames(paths: Sequence[Path], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield kept frames, shape (height, width, 3).

    Parameters
    ----------
    paths : sequence of Path
    size : (int, int)
        Width and height [px] they must have.

    Raises
    ------
    MovieError
        If one is broken; it is removed, so that the next run draws it again.
    """
    from PIL import Image, UnidentifiedImageError

    for path in paths:
        try:
            with Image.open(path) as picture:
                pixels = _pixels(picture, size)
        except (
            UnidentifiedImageError,
            SyntaxError,
            OSError,
            ValueError,
        ) as error:  # Pillow's words for a broken PNG
            path.unlink(missing_ok=True)
            raise MovieError(
                f"{path}: a broken frame ({error}); it is removed: make the movie again"
            ) from error
        yield pixels


def _pixels(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    if picture.size != size:
        raise ValueError(f"{picture.width} x {picture.height} px instead of {size[0]} x {size[1]}")
    return np.asarray(picture.convert("RGB"))
