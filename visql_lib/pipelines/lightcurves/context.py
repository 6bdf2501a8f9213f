"""The context of a stage for frames of one set: the camera is that of the target's file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visql_lib import run_record
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.products.context import Context, no_progress, note_used

if TYPE_CHECKING:
    from visql_lib.products.context import Progress

CAMERA_FACTS = (
    *("header", "amplifiers", "imaging", "site", "pixel_scale", "exposure_time_ranges"),
    *("frame_types", "earliest_date", "night"),
)


def camera_context(
    settings: LightCurveSettings,
    camera: Instrument,
    sections: Sequence[str],
    progress: Progress = no_progress,
    record_failure: bool = False,
) -> Context[LightCurveSettings]:
    """Make the context of a run on frames of a camera, and note the settings and facts it uses.

    Parameters
    ----------
    settings : LightCurveSettings
    camera : Instrument
        `Target.camera` of the set.
    sections : sequence of str
        Sections of the settings that count.
    progress, record_failure : optional
        See `products.context.Context`.
    """
    note_used(settings, camera, sections, CAMERA_FACTS)
    return Context(settings, camera, run_record.current(), progress, record_failure)
