"""Settings of astrometry, flux ratios and their trend."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, field_validator

from visql_lib.config.units import Section, one_or_more, setting


class GaiaSettings(Section):
    """Reference stars: where they come from, where they are kept, which are used."""

    store: str = setting(
        "", None, "Folder of the sky tiles, shared by all months; empty: gaia in the folder of results."
    )
    sources: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("vizier", "tap"),
        None,
        "Sources of a missing tile, in this order: folder, vizier, tap; none: no match with Gaia.",
    )
    folder: str = setting(
        "", None, "Catalogue files the user already has (FITS, Parquet, CSV, VOTable), for the source folder."
    )
    vizier_url: str = setting(
        "https://vizier.cds.unistra.fr/viz-bin/votable", None, "VizieR's VOTable service."
    )
    vizier_catalogue: str = setting("I/355/gaiadr3", None, "Catalogue of VizieR.")
    tap_url: str = setting(
        "https://gea.esac.esa.int/tap-server/tap/sync", None, "The Gaia archive's TAP service."
    )
    tap_table: str = setting("gaiadr3.gaia_source", None, "Table of the TAP service.")
    nside: int = setting(
        32, None, "HEALPix parameter of the tiles; 32 gives tiles of 1.8 deg.", ge=1, le=1024
    )
    timeout: float = setting(120.0, "s", "A service that sends nothing for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Attempts at a query before the next source.", ge=1)
    backoff: float = setting(
        2.0, "s", "Delay before the second attempt; each further one is twice as long.", ge=0
    )
    rest: float = setting(
        600.0,
        "s",
        "After all attempts failed, no query is sent to a service for so long, for any tile.",
        ge=0,
    )
    radius: float = setting(0.6, "deg", "Radius around the boresight within which stars are used.", gt=0)
    faintest: float = setting(21.0, "mag", "Limit in G.")
    max_error: float = setting(0.02, "mag", "Largest error of G.", gt=0)
    proper_motions: bool = setting(True, None, "Move the stars to the date of the exposure.")

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(sources) - {"folder", "vizier", "tap"}:
            raise ValueError(f"{min(unknown)!r} is none of folder, vizier, tap")
        return sources

    @field_validator("nside")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value


class AstrometrySettings(Section):
    """Matching of stars to the reference, and the geometry of the focal plane."""

    geometry: str = setting(
        "affine",
        None,
        "Fitted per CCD: reference (nothing, as the original), shift, or affine.",
        pattern="^(reference|shift|affine)$",
    )
    min_stars: int = setting(10, None, "Fewer matches than this are flagged.", ge=3)
    min_stars_ccd: int = setting(6, None, "A CCD with fewer stars is not given terms of its own.", ge=3)
    search_offset: float = setting(0.1, "deg", "Error of the boresight that is searched.", gt=0)
    search_roll: float = setting(2.5, "deg", "Error of the roll that is searched.", ge=0)
    match_radius: float = setting(2.0, "arcsec", "Largest distance of a matched pair.", gt=0)


class RatioSettings(Section):
    """VIS/Gaia flux ratios: which stars, which gains, how they are gathered."""

    gain: str = setting("3", None, "Gain model of the fluxes: a table of the instrument file, or none.")
    fit_gain: str = setting(
        "V", None, "Gain model of block, CCD and quadrant fits; unit factors if not in the file."
    )
    faintest_fit: float = setting(19.5, "mag", "Limit in G of the stars that enter the colour relation.")
    max_sigma: float = setting(
        10.0, "px", "Exposures of a larger astrometric scatter stay out of the trends.", gt=0
    )
    curvature: tuple[float, float] = setting(
        (-0.175, -0.025), None, "Range of r(0.75) + r(2.75) - 2 r(1.75) of exposures that enter the trends."
    )
    hexagons: int = setting(40, None, "Hexagons across the focal plane.", ge=4)
    min_stars: int = setting(10, None, "Cells of fewer stars get no fit.", ge=4)


class TrendSettings(Section):
    """The trend of the flux ratios: losses, steps, forecast."""

    clean_start: str = setting("2024-03-16", None, "First day of the clean epoch, YYYY-MM-DD.")
    clean_end: str = setting("2024-03-21", None, "Last day of the clean epoch, YYYY-MM-DD.")
    loss: float = setting(50.0, "mmag", "Loss whose date is forecast.", gt=0)
    warn_loss: float = setting(20.0, "mmag", "Loss that warns.", gt=0)
    error_loss: float = setting(40.0, "mmag", "Loss that is an error.", gt=0)
    warn_rate: float = setting(0.3, "mmag/d", "Rate of loss that warns.", gt=0)
    error_rate: float = setting(1.0, "mmag/d", "Rate of loss that is an error.", gt=0)
    min_days: int = setting(
        5, "d", "Days since the last step that a forecast, or a status from a rate, needs at least.", ge=2
    )
    step_significance: float = setting(5.0, None, "A step is reported above this many sigma.", gt=0)
