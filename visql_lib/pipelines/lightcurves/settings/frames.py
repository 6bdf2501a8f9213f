"""Settings of single frames: sky, sources, seeing, fringes, alignment, apertures."""

from __future__ import annotations

from typing import Literal

from visql_lib.config.units import SettingsSection, setting


class SkySettings(SettingsSection):
    """The sky of a frame, its sources and its seeing."""

    method: Literal["map", "constant", "none"] = setting(
        "map",
        None,
        "map: interpolated between the medians of meshes; constant; or none: it is subtracted already.",
    )
    mesh: int = setting(
        0, "px", "Side of a mesh; 0: 256, or a quarter of the shorter side if that is less.", ge=0
    )
    mesh_filter: int = setting(5, None, "Width of the median filter of the map, in meshes; odd.", ge=1)
    threshold: float = setting(5.0, None, "Threshold of sources, in sigma of the background.", gt=0)
    min_area: int = setting(12, "px", "Smallest number of connected pixels of a source.", ge=1)
    deblend_levels: int = setting(32, None, "Number of deblending levels.", ge=1, le=64)
    deblend_contrast: float = setting(
        0.005, None, "Smallest share of the flux in a separate branch.", gt=0, le=1
    )


class DefringeSettings(SettingsSection):
    """Fringes of dithered frames."""

    on: bool = setting(
        False, None, "Subtract the fringes of each night; needs 5 frames of different pointing."
    )
    min_frames: int = setting(5, None, "Fewer frames make no map of fringes.", ge=3)


class AlignmentSettings(SettingsSection):
    """Alignment with the reference, by stars."""

    max_stars: int = setting(30, None, "Stars of the affine fit, the brightest first.", ge=6)
    min_stars: int = setting(6, None, "Matched stars with which a frame is accepted in any case.", ge=3)
    max_rms: float = setting(0.3, "px", "Largest residual of a frame that is accepted.", gt=0)
    max_scale: float = setting(0.01, None, "Largest difference of the scale from 1.", gt=0, lt=0.2)


class ApertureSettings(SettingsSection):
    """Aperture photometry and stamps of the stars."""

    diameters: tuple[float, ...] = setting(
        (),
        "px",
        "Diameters; empty: those of the camera's file, else 2, 3, 4, 6 and 8 times the set's median FWHM.",
    )
    empty_box: int = setting(100, "px", "Side of the emptiest box of the reference, for the noise.", ge=16)
    stamp_least: int = setting(40, "px", "Smallest side of a stamp; it is 12 times the seeing.", ge=15)
    stamp_most: int = setting(96, "px", "Largest side of a stamp.", ge=15)
    cosmics: bool = setting(True, None, "Find cosmic rays in the stamps, by astroscrappy.")
    cosmic_sigma: float = setting(5.0, None, "Limit of a cosmic ray.", gt=0)
