"""What an exposure gets after its numbers are told: its streaks and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.names import stem_of
from visql_lib.pictures.save import save_picture
from visql_lib.pipelines.pointing.frame import GuideFrame, read_frame
from visql_lib.pipelines.pointing.measure import detrended
from visql_lib.pipelines.pointing.reference import FrameStars
from visql_lib.pipelines.pointing.summary import Summary, read_summary, write_streaks
from visql_lib.pipelines.pointing.versions import VERSIONS
from visql_lib.sources.streaks import Streaks, find_streaks, star_radii

if TYPE_CHECKING:
    from visql_lib.pipelines.pointing.exposure import Outcome, Worker


def finish_exposure(worker: Worker, path: Path, folder: Path, outcome: Outcome | None = None) -> None:
    """Find the streaks of an exposure whose summary stands, and draw its pictures.

    Parameters
    ----------
    worker : Worker
        Settings, camera, masters, reference stars.
    path, folder : Path
        The raw frame, and where its products are.
    outcome : Outcome, optional
        What was measured, if it is still in memory; else the frame is read again.

    Raises
    ------
    FrameError, TableError
        If the frame, or its summary, cannot be read (any more).
    """
    wanted = worker.settings.exposure
    stem = f"{folder / stem_of(path.name)}"
    summary = read_summary(Path(f"{stem}-summary.fits"))
    if outcome is not None and outcome.frame is not None and outcome.measured is not None:
        frame, stars = outcome.frame, outcome.stars
        image, bad = outcome.measured.image, outcome.measured.bad
    else:
        frame = read_frame(path, worker.instrument)
        stars, _ = worker.stars_on(frame)
        image, bad = detrended(frame, worker.masters)
    streaks = _streaks(worker, image, bad, stars) if wanted.streaks else Streaks.none()
    write_streaks(Path(f"{stem}-streaks.fits"), frame, streaks, key=summary.key)
    for name, draw in _DRAWN.items():
        if name in wanted.pictures:
            figure = draw(worker, frame, summary, image, streaks)
            versions = {"exposure": VERSIONS["exposure"]}
            save_picture(figure, Path(f"{stem}-{name}.png"), worker.settings.pictures.dpi, versions)


def _streaks(worker: Worker, image: NDArray, bad: NDArray, stars: FrameStars | None) -> Streaks:
    if stars is None:
        x = y = radii = np.empty(0)
    else:
        x, y, radii = stars.all_x, stars.all_y, star_radii(stars.all_g)
    limit = worker.settings.exposure.streak_time_limit
    return find_streaks(image, bad, x, y, radii, gain=worker.gain, time_limit=limit)


def _zp(worker: Worker, frame: GuideFrame, summary: Summary, image: NDArray, streaks: Streaks) -> Any:
    from visql_lib.pipelines.pointing.pictures.zp import zp_picture

    only = worker.settings.exposure.science_only
    return zp_picture(summary, frame.stem, worker.instrument.guide, science_only=only)


def _detrended(worker: Worker, frame: GuideFrame, summary: Summary, image: NDArray, streaks: Streaks) -> Any:
    from visql_lib.pipelines.pointing.pictures.detrended import detrended_picture

    drawn = streaks if "streaks" in worker.settings.exposure.pictures else None
    return detrended_picture(image, frame.stem, worker.instrument.guide, summary, drawn)


def _quiver(worker: Worker, frame: GuideFrame, summary: Summary, image: NDArray, streaks: Streaks) -> Any:
    from visql_lib.pipelines.pointing.pictures.quiver import quiver_picture

    return quiver_picture(summary, frame.stem, worker.instrument.guide, frame.wcs.ctype)


_DRAWN = {"zp": _zp, "detrended": _detrended, "quiver": _quiver}
