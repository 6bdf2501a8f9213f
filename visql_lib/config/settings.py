"""The settings that every pipeline has, declared once: type, unit, default, check and meaning.

The JSON schema (``workflow/schemas/config.schema.json``) and the documentation
(``docs/configuration.md``) are made by ``visql schema`` from these classes and those that VIS adds.
Facts of an instrument are not settings: they live in ``config/instruments/``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, Field, field_validator

from visql_lib.config.fetch_settings import FetchSettings, WatchSettings
from visql_lib.config.network_settings import NetworkSettings
from visql_lib.config.site_settings import AlertSettings, SiteSettings
from visql_lib.config.units import SettingsSection, names_in, one_or_more, setting, unfit_path


class IndexSettings(SettingsSection):
    """Search for raw frames, and how they are listed in the exposure sheet."""

    growing_age: float = setting(
        60.0,
        "s",
        "A raw file that changed less than this time ago may still be growing and is left for the next run.",
        ge=0,
    )
    suffixes: tuple[str, ...] = setting(
        tuple(f".{end}{packed}" for end in ("fits", "fit", "fts") for packed in ("", ".gz", ".fz")),
        None,
        "Endings of raw files, in any case; if an exposure has several files, the first ending is used.",
    )
    date_after_name: float = setting(
        1200.0,
        "s",
        "Largest expected delay of DATE-OBS after the time in the file name (start of the pointing); up to a "
        "minute before is also expected. Other dates are flagged; beyond a day the time in the name is used.",
        ge=0,
    )
    detectors: tuple[str, ...] = setting(
        (), None, "Detectors that a complete frame contains; empty: all of the instrument."
    )


class CatalogSettings(SettingsSection):
    """Detection and measurement of sources; in brackets the names of SExtractor's parameters."""

    engine: str = setting(
        "fast",
        None,
        "Detection engine: fast (compiled, agrees with SExtractor), or sep (for reference; slower).",
        pattern="^(sep|fast)$",
    )
    mesh: int = setting(64, "px", "Side of a background mesh (BACK_SIZE).", ge=8)
    mesh_filter: int = setting(
        3, None, "Width of the median filter of the background, in meshes (BACK_FILTERSIZE).", ge=1
    )
    threshold: float = setting(
        1.5, None, "Detection and analysis threshold, in sigma of the background (DETECT_THRESH).", gt=0
    )
    min_area: int = setting(5, "px", "Smallest number of connected pixels (DETECT_MINAREA).", ge=1)
    deblend_levels: int = setting(32, None, "Number of deblending levels (DEBLEND_NTHRESH).", ge=1, le=64)
    deblend_contrast: float = setting(
        0.005, None, "Smallest flux fraction of a separate branch (DEBLEND_MINCONT).", ge=0, le=1
    )
    clean: float = setting(1.0, None, "Cleaning parameter (CLEAN_PARAM).", gt=0)
    kron_factor: float = setting(2.5, None, "Kron factor of FLUX_AUTO (PHOT_AUTOPARAMS).", gt=0)
    kron_min_radius: float = setting(
        3.5, None, "Smallest Kron aperture, in units of A and B (PHOT_AUTOPARAMS).", gt=0
    )
    max_flux_radius: float = setting(15.0, "px", "Detections with a larger FLUX_RADIUS are dropped.", gt=0)


class PreviewSettings(SettingsSection):
    """Thumbnail and full-resolution zooms."""

    thumbnail_binning: int = setting(24, "px", "Size of the pixel blocks that are averaged.", ge=1)
    zoom_size: int = setting(900, "px", "Size of a zoom.", ge=50)
    zscale_contrast: float = setting(0.25, None, "Contrast of the zscale stretch.", gt=0, le=1)


class PictureSettings(SettingsSection):
    """Pictures of one exposure."""

    dpi: int = setting(100, "dot", "Resolution of the pictures, in dots per inch.", ge=30, le=600)
    map_space: str = setting(
        "ccd", None, "Bins of the maps of moments: ccd or quadrant.", pattern="^(ccd|quadrant)$"
    )


class CalibrationSettings(SettingsSection):
    """Levels and defects of DARK, FLAT, BIAS and CHARGE frames."""

    hot_sigma: float = setting(
        6.0,
        None,
        "A pixel, row or column of a DARK or BIAS that exceeds its quadrant by this many sigma is hot.",
        gt=0,
    )
    hot_signal: float = setting(20.0, "adu", "Smallest signal of a hot pixel above its quadrant.", gt=0)


PIPELINES = ("vis", "reduction", "pointing", "lightcurves")  # those that are built in, the usual one first


class Settings(SettingsSection):
    """The settings that every pipeline has; each adds its own in a class of its own."""

    order: ClassVar[tuple[str, ...]] = ()  # of the keys in documents; those not named here stand behind
    group_key: ClassVar[str] = ""  # the key that names the groups to process
    known_parts: ClassVar[tuple[str, ...]] = ()

    pipeline: str = setting(
        PIPELINES[0],
        None,
        f"What is made of the frames: {', '.join(PIPELINES)}. A folder of results belongs to one pipeline.",
    )
    raw: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("raw",), None, "Folder of raw frames, or a list of folders; subfolders are searched."
    )
    results: str = setting("results", None, "Folder of all products.")
    instrument: str = setting(
        "generic_ccd", None, "Instrument: a name in config/instruments or the path of an instrument file."
    )
    parts: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (), None, "What the default target makes besides what is always made."
    )
    known_bad: Annotated[tuple[str, ...], BeforeValidator(names_in)] = setting(
        (),
        None,
        "Exposures known to be unusable: listed in the sheet, but not processed and not counted as errors.",
    )
    index: IndexSettings = Field(default=IndexSettings(), description=IndexSettings.__doc__)
    catalog: CatalogSettings = Field(default=CatalogSettings(), description=CatalogSettings.__doc__)
    preview: PreviewSettings = Field(default=PreviewSettings(), description=PreviewSettings.__doc__)
    pictures: PictureSettings = Field(default=PictureSettings(), description=PictureSettings.__doc__)
    calibration: CalibrationSettings = Field(
        default=CalibrationSettings(), description=CalibrationSettings.__doc__
    )
    fetch: FetchSettings = Field(default=FetchSettings(), description=FetchSettings.__doc__)
    watch: WatchSettings = Field(default=WatchSettings(), description=WatchSettings.__doc__)
    site: SiteSettings = Field(default=SiteSettings(), description=SiteSettings.__doc__)
    alerts: AlertSettings = Field(default=AlertSettings(), description=AlertSettings.__doc__)
    network: NetworkSettings = Field(default=NetworkSettings(), description=NetworkSettings.__doc__)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups to process, as the settings name them; none: all there are."""
        return ()

    def groups_at(self, now: datetime | None = None) -> list[str]:
        """List the groups to process, sorted, with words such as "today" resolved; default: the clock's."""
        return sorted(self.groups)

    @property
    def thresholds(self) -> str:
        """The threshold file: a name or a path; "" for none."""
        return ""

    @classmethod
    def names(cls) -> list[str]:
        """List all keys, in the order in which documents show them."""
        known = dict.fromkeys((*cls.order, *cls.model_fields))
        return [name for name in known if name in cls.model_fields]

    def in_order(self) -> dict[str, Any]:
        """Dump all settings as plain values, in the order of `names`."""
        values = self.model_dump(mode="json")
        return {name: values[name] for name in self.names()}

    def only(self, *sections: str) -> dict[str, Any]:
        """Dump what a command needs that uses some sections: these, and by what the rest is found."""
        other = {"pipeline"} if self.pipeline != PIPELINES[0] else set()
        return self.model_dump(mode="json", include={"instrument", *other, *sections})

    @field_validator("raw", "results")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        for folder in value if isinstance(value, tuple) else (value,):
            if reason := unfit_path(folder):
                raise ValueError(f"{folder!r} {reason}")
        return value

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(parts) - set(cls.known_parts):
            raise ValueError(f"{min(unknown)!r} is none of {', '.join(cls.known_parts)}")
        return parts


S = TypeVar("S", bound=Settings)
