"""Settings of the comparison stars, the PSF and the normalisation."""

from __future__ import annotations

from typing import Literal

from visql_lib.config.units import SettingsSection, setting


class StarSettings(SettingsSection):
    """Choice of the comparison stars."""

    min_snr: float = setting(100.0, None, "Smallest signal to noise in the reference.", gt=0)
    max_peak: float = setting(
        0.78, None, "Highest peak, as a part of the saturation, on 95 % of the frames.", gt=0, le=1
    )
    max_neighbour: float = setting(
        0.02, None, "Brightest neighbour within two seeings, as a part of its flux.", ge=0
    )
    min_inside: float = setting(0.9, None, "Part of the frames in which it is inside.", ge=0, le=1)
    psf_stars: int = setting(6, None, "Stars that make the PSF, by default.", ge=3)
    most_psf_stars: int = setting(12, None, "Stars that make the PSF, at most.", ge=3)
    candidates: int = setting(40, None, "Stars that are measured in every frame, at most.", ge=3)


class MedcoeffSettings(SettingsSection):
    """Coefficients of the frames by aperture photometry."""

    flux: str = setting(
        "auto",
        None,
        "Flux of the stars: auto (Kron), or the number of an aperture, from 1.",
        pattern=r"^(auto|[1-9])$",
    )


class DeepStackSettings(SettingsSection):
    """Frames of the deep stack."""

    max_seeing: float = setting(0.8, "arcsec", "Largest seeing.", gt=0)
    max_ellipticity: float = setting(0.1, None, "Largest ellipticity.", gt=0)
    max_medcoeff: float = setting(1.25, None, "Largest coefficient.", gt=0)
    max_stddev: float = setting(80.0, "electron", "Largest noise of the empty region.", gt=0)


class PSFSettings(SettingsSection):
    """The PSF of each frame."""

    backend: Literal["own", "starred"] = setting("own", None, "own, or starred (extra visql[starred]).")
    prior: float = setting(0.2, None, "Prior of the surface at each node, as a part of the Moffat.", gt=0)
    rounds: int = setting(3, None, "Rounds of positions, fluxes and surface.", ge=1)
    gradient: Literal["auto", "on", "off"] = setting(
        "auto", None, "FWHM and ellipticity linear over the frame; auto: with 8 PSF stars, if it pays."
    )
    gradient_stars: int = setting(
        12,
        None,
        "Stars that make a PSF that changes over the frame, at most.",
        ge=8,
    )
    clip: float = setting(
        5.0, None, "Pixels so many sigma and clip_share of the model off get no weight.", gt=0
    )
    clip_share: float = setting(0.02, None, "See clip.", ge=0)


class RenormSettings(SettingsSection):
    """Coefficients of the frames by PSF photometry of the stars."""

    drop: float = setting(
        2.5, None, "A star that scatters so many times more than the median star is dropped.", gt=1
    )
    drop_least: float = setting(3.0, "mmag", "Scatter below which no star is dropped.", ge=0)
    min_stars: int = setting(3, None, "So many stars are kept in any case.", ge=2)
