"""The settings of the pipeline `pointing`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from visql_lib.config import Settings
from visql_lib.config.service_settings import GaiaSettings
from visql_lib.config.units import GroupNames, SettingsSection, is_date, names_in, setting

Names = Annotated[tuple[str, ...], BeforeValidator(names_in)]
AUTO = "auto"
# Of the environment, where no setting speaks: the folder of raw frames, and that of files of Gaia.
RAW_VARIABLE, GAIA_VARIABLE = "PC_RAW_DATA_DIR", "PC_GAIA_DIR"
ANY_RADIUS = 99999.0  # px: as the tables write that a zero point has no limit in radius
PICTURES = ("zp", "detrended", "quiver", "streaks")


class PointingGaiaSettings(GaiaSettings):
    """Reference stars: their source and their local copy, shared with other pipelines."""

    faintest: float = setting(15.5, "mag", "Faintest G magnitude of the tiles.")


class ExposureSettings(SettingsSection):
    """One exposure, of a night and of the watch alike."""

    check_motion: bool = setting(
        True, None, "Measure nothing of frames whose header says the telescope moves."
    )
    check_tracking: bool = setting(
        False, None, "The same if the telescope's own telemetry says that it does not track (live only)."
    )
    flat_field: bool = setting(True, None, "Divide by the flat.")
    one_aperture: bool = setting(False, None, "Measure in the standard aperture only.")
    sky_clip: bool = setting(True, None, "Clip the pixels of the annulus at 3 sigma before their median.")
    proper_motions: bool = setting(True, None, "Move the reference stars to the date of the exposure.")
    max_stars: int = setting(3000, None, "The brightest stars on the frame that are measured.", ge=1)
    max_radius: float = setting(
        ANY_RADIUS, "px", "Stars farther from the centre are in no zero point; 99999: all are.", gt=0
    )
    dome: Literal["blocks", "pixels"] = setting(
        "blocks", None, "What is dark in front of a dome: medians of blocks, or single pixels as before."
    )
    streaks: bool = setting(True, None, "Find the streaks of satellites and planes.")
    streak_time_limit: float = setting(10.0, "s", "The search ends after so long, with what it has.", ge=0)
    detrended: bool = setting(False, None, "Write the detrended frame.")
    pictures: Names = setting(
        ("zp",), None, "Pictures of a frame: zp, detrended, quiver; streaks: drawn into detrended."
    )
    science_only: bool = setting(False, None, "The picture zp shows the science field only.")

    @field_validator("pictures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(names) - set(PICTURES):
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(PICTURES)}")
        return names


class GuideMasterSettings(SettingsSection):
    """Master frames, and which pixels are bad."""

    folder: str = setting(
        "",
        None,
        "Folder of the masters pc_master_bias, _dark, _flat and pc_badpix_mask (.fits, .fits.gz); "
        "empty: that of POINTING_CAMERA_META.",
    )
    clip: float = setting(5.0, None, "Values so many sigma off the median of a pixel are left out.", gt=0)
    dark_rate: float = setting(5.0, "adu/s", "Pixels of a larger dark rate are bad.", gt=0)
    flat_low: float = setting(0.5, None, "Pixels of a lower flat are bad.", ge=0)
    flat_high: float = setting(2.0, None, "Pixels of a higher flat are bad.", gt=0)
    noise: float = setting(5.0, None, "Pixels whose noise is so many times the usual one are bad.", gt=0)


class TelemetrySettings(SettingsSection):
    """Where each exposure is told: a hash of a Redis server."""

    recorded: ClassVar[bool] = False
    host: str = setting("", None, "Host of the Redis server; empty: none, or that of REDISHOST.")
    port: int = setting(6379, None, "Its port.", ge=1, le=65535)
    db: int = setting(0, None, "Number of its data base.", ge=0)
    key: str = setting("", None, "Key of the hash; empty: that of REDISKEY, else pointing_camera.")
    key_tcs: str = setting("", None, "Key of the telescope's hash; empty: that of REDISKEY_TCS, else tcs.")
    stream: str = setting("", None, "Key of a stream that gets every exposure; empty: none.")
    stream_length: int = setting(10000, None, "Entries the stream keeps, about.", ge=1)
    timeout: float = setting(0.5, "s", "A server that does not answer for so long is taken for down.", gt=0)


class LiveSettings(SettingsSection):
    """The watch: frames are measured as they arrive."""

    recorded: ClassVar[bool] = False
    poll: float = setting(0.5, "s", "Time between two looks.", gt=0)
    settle: float = setting(
        0.5, "s", "A frame is ready when it and its .wcs did not change for so long.", ge=0
    )
    wcs_patience: float = setting(60.0, "s", "A frame without .wcs is told after so long.", gt=0)
    tries: int = setting(3, None, "How often a frame is tried that fails.", ge=1)
    pause: float = setting(10.0, "s", "Before the second try; each further one is three times as long.", ge=0)
    keep: float = setting(
        2.0,
        "d",
        "Files that were changed longer ago are left to the workflow, and dropped from the list of what was "
        "done.",
        gt=0,
    )
    veto_list: str = setting(
        "", None, "File with names of frames to leave out, one a line; read again when it changes."
    )


class GuideMovieSettings(SettingsSection):
    """Movies of a night and of intervals."""

    fps: float = setting(10.0, "1/s", "Frames per second.", gt=0, le=60)
    intervals: str = setting("", None, "CSV file of intervals (label,start,end; UTC) that get a movie each.")


class PointingSettings(Settings):
    """All settings of a configuration file."""

    order: ClassVar[tuple[str, ...]] = (
        *(
            "pipeline",
            "nights",
            "limits",
            "raw",
            "results",
            "instrument",
            "calibration",
            "parts",
            "known_bad",
        ),
        *("index", "exposure", "gaia", "masters", "telemetry", "live", "movie"),
    )
    group_key: ClassVar[str] = "nights"

    nights: GroupNames = setting(
        (AUTO,),
        None,
        "Nights to process: YYYYMMDD of the evening, a list, or auto: tonight, and last night until noon.",
    )
    limits: str = setting("pointing_camera", None, "Threshold file: a name in config/thresholds, or a path.")
    instrument: str = setting(
        "pointing_camera", None, "Camera: a name in config/instruments or the path of a file."
    )
    exposure: ExposureSettings = Field(default=ExposureSettings(), description=ExposureSettings.__doc__)
    gaia: PointingGaiaSettings = Field(
        default=PointingGaiaSettings(), description=PointingGaiaSettings.__doc__
    )
    masters: GuideMasterSettings = Field(
        default=GuideMasterSettings(), description=GuideMasterSettings.__doc__
    )
    telemetry: TelemetrySettings = Field(default=TelemetrySettings(), description=TelemetrySettings.__doc__)
    live: LiveSettings = Field(default=LiveSettings(), description=LiveSettings.__doc__)
    movie: GuideMovieSettings = Field(default=GuideMovieSettings(), description=GuideMovieSettings.__doc__)

    @property
    def groups(self) -> tuple[str, ...]:
        """The nights to process, as the settings name them."""
        return self.nights

    @property
    def thresholds(self) -> str:
        """The threshold file."""
        return self.limits

    def groups_at(self, now: datetime | None = None) -> list[str]:
        """List the nights to process; auto: tonight, and last night until local noon ends it."""
        from visql_lib.instruments.model import load_instrument
        from visql_lib.sheets.nights import NOON, night_of

        moment = datetime.now(UTC) if now is None else now
        boundary = load_instrument(self.instrument).night.boundary
        auto = night_of(moment, NOON if boundary is None else boundary)
        return sorted({auto if night == AUTO else night for night in self.nights})

    @model_validator(mode="before")
    @classmethod
    def _of_the_environment(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        found, stars = dict(values), values.get("gaia", {})
        if "raw" not in values and (folder := os.environ.get(RAW_VARIABLE)):
            found["raw"] = folder
        names_none = isinstance(stars, Mapping) and not {"sources", "folder"} & set(stars)
        if names_none and (folder := os.environ.get(GAIA_VARIABLE)):
            found["gaia"] = {**stars, "sources": ["folder"], "folder": folder}
        return found

    @field_validator("nights")
    @classmethod
    def _night_names(cls, nights: tuple[str, ...]) -> tuple[str, ...]:
        for night in nights:
            if night != AUTO and not is_date(night):
                raise ValueError(f"{night!r} is no night: write YYYYMMDD of its evening, or auto")
        return nights


SETTINGS = PointingSettings
