"""What an exposure gets after its numbers are told: its streaks and its pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import GuideFrameFlag
from visql_lib.instruments.names import stem_of
from visql_lib.pictures.save import save_picture
from visql_lib.pipelines.pointing.frame import GuideFrame, read_frame
from visql_lib.pipelines.pointing.measure import detrended
from visql_lib.pipelines.pointing.reference import FrameStars
from visql_lib.pipelines.pointing.summary import FrameSummary, read_summary, write_streaks
from visql_lib.pipelines.pointing.versions import VERSIONS
from visql_lib.sources.streaks import Streaks, find_streaks, no_streaks, star_radii, warm_up

if TYPE_CHECKING:
    from visql_lib.pipelines.pointing.exposure import ExposureOutcome, Worker

_warm_up = cache(warm_up)  # once in a process: the time limit of a frame is not for compiling
_SAMPLE = 7  # px from one sampled pixel to the next


def finish_exposure(worker: Worker, path: Path, folder: Path, outcome: ExposureOutcome | None = None) -> None:
    """Find the streaks of an exposure whose summary stands, and draw its pictures.

    Parameters
    ----------
    worker : Worker
        Settings, camera, masters, reference stars.
    path, folder : Path
        The raw frame, and where its products are.
    outcome : ExposureOutcome, optional
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
    streaks = no_streaks() if _is_blind(summary) else _streaks(worker, frame, image, bad, stars)
    write_streaks(Path(f"{stem}-streaks.fits"), frame, streaks, key=summary.key)
    for name, draw in _DRAWN.items():
        if name in wanted.pictures:
            figure = draw(worker, frame, summary, image, streaks)
            versions = {"exposure": VERSIONS["exposure"]}
            save_picture(figure, Path(f"{stem}-{name}.png"), worker.settings.pictures.dpi, versions)


def _is_blind(summary: FrameSummary) -> bool:
    """Tell whether all pixels have the same value, or most are saturated: what is there is of the masters."""
    blind = GuideFrameFlag.NO_LIGHT | GuideFrameFlag.ALL_SATURATED
    return bool(int(summary.sky["flags"][0]) & blind)


def _streaks(
    worker: Worker, frame: GuideFrame, image: NDArray, bad: NDArray, stars: FrameStars | None
) -> Streaks:
    """Find the streaks; without the setting there are none, and nothing was timed out."""
    if not worker.settings.exposure.streaks:
        return no_streaks()
    x = y = radii = np.empty(0)
    if stars is not None:
        nominal = worker.instrument.guide.zero_point + 2.5 * np.log10(frame.exptime)
        x, y, radii = (
            *(stars.all_x, stars.all_y),
            star_radii(stars.all_g, zero_point=nominal, noise=_noise_of(image)),
        )
    limit, gain = worker.settings.exposure.streak_time_limit, worker.gain
    if limit > 0:
        _warm_up()
    gain = gain if gain > 0 else np.inf  # not known: errors without the photons of the streak
    return find_streaks(image, bad, x, y, radii, gain=gain, time_limit=limit)


def _noise_of(image: NDArray) -> float:
    """Return the noise of a pixel of sky [adu]: half the distance of 16 and 84 % of a sample."""
    low, high = np.nanpercentile(image[::_SAMPLE, ::_SAMPLE], (15.87, 84.13))
    return max(float(high - low) / 2, 1e-3)


def _zp(worker: Worker, frame: GuideFrame, summary: FrameSummary, image: NDArray, streaks: Streaks) -> Any:
    from visql_lib.pipelines.pointing.pictures.zp import zp_picture

    only = worker.settings.exposure.science_only
    return zp_picture(summary, frame.stem, worker.instrument.guide, science_only=only)


def _detrended(
    worker: Worker, frame: GuideFrame, summary: FrameSummary, image: NDArray, streaks: Streaks
) -> Any:
    from visql_lib.pipelines.pointing.pictures.detrended import detrended_picture

    drawn = streaks if "streaks" in worker.settings.exposure.pictures else None
    return detrended_picture(image, frame.stem, worker.instrument.guide, summary, drawn)


def _quiver(
    worker: Worker, frame: GuideFrame, summary: FrameSummary, image: NDArray, streaks: Streaks
) -> Any:
    from visql_lib.pipelines.pointing.pictures.quiver import quiver_picture

    return quiver_picture(summary, frame.stem, worker.instrument.guide, frame.wcs.ctype)


_DRAWN = {"zp": _zp, "detrended": _detrended, "quiver": _quiver}
