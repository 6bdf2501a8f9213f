"""Settings of the target: scene, nights, tables of the light curve."""

from __future__ import annotations

from visql_lib.config.units import SettingsSection, setting


class SceneSettings(SettingsSection):
    """Joint fit of the target in all frames of a set."""

    radius: int = setting(14, "px", "Radius of the image of galaxy and ring.", ge=4, le=30)
    shift: float = setting(0.5, "px", "Prior of the shift of each frame.", gt=0)
    fixed: bool = setting(
        False, None, "Keep the positions of the point sources as the target's file gives them."
    )
    rounds: int = setting(8, None, "Rounds of the fit, at most.", ge=3)
    clip: float = setting(
        6.0, None, "Pixels so many sigma and clip_share of the model off get no weight.", gt=0
    )
    clip_share: float = setting(0.02, None, "See clip.", ge=0)


class NightSettings(SettingsSection):
    """Means of nights, and the limits of frames and nights."""

    auto: bool = setting(True, None, "Raise the limits to median + 4 robust sigma of the set; else fixed.")
    gap: float = setting(0.4, "d", "A new night begins after such a gap.", gt=0, le=1)
    max_seeing: float = setting(1.5, "arcsec", "Frames: largest seeing.", gt=0)
    max_ellipticity: float = setting(0.15, None, "Frames: largest ellipticity.", gt=0)
    max_sky: float = setting(10000.0, "electron", "Frames: largest sky times coefficient.", gt=0)
    max_coeff: float = setting(8.0, None, "Frames: largest coefficient.", gt=0)
    night_seeing: float = setting(5.0, "arcsec", "Nights: largest seeing.", gt=0)
    night_ellipticity: float = setting(0.95, None, "Nights: largest ellipticity.", gt=0)
    night_sky: float = setting(50000.0, "electron", "Nights: largest sky times coefficient.", gt=0)
    night_coeff: float = setting(20.0, None, "Nights: largest coefficient.", gt=0)
    pixel: float = setting(
        0.2,
        "arcsec",
        "Pixel with which limits of the seeing are taken where the camera's file tells none.",
        gt=0,
    )


class ExportSettings(SettingsSection):
    """What is written of a light curve."""

    zero_point: float = setting(0.0, "mag", "Added to all magnitudes.")
    sums: dict[str, list[str]] = setting(
        {}, None, "Sums of sources, such as AB: [A, B], with the full covariance."
    )
