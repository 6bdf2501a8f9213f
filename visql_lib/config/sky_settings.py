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
        "Where a missing tile is asked for, in this order: folder, vizier, tap; none: no match with Gaia.",
    )
    folder: str = setting(
        "", None, "Catalogue files the user already has (FITS, Parquet, CSV, VOTable), for the source folder."
    )
    vizier_url: str = setting(
        "https://vizier.cds.unistra.fr/viz-bin/votable", None, "VizieR's VOTable service."
    )
    vizier_catalogue: str = setting("I/355/gaiadr3", None, "Catalogue asked for at VizieR.")
    tap_url: str = setting(
        "https://gea.esac.esa.int/tap-server/tap/sync", None, "The Gaia archive's TAP service."
    )
    tap_table: str = setting("gaiadr3.gaia_source", None, "Table asked for at the TAP service.")
    nside: int = setting(
        32, None, "HEALPix parameter of the tiles; 32 gives tiles of 1.8 deg.", ge=1, le=1024
    )
    timeout: float = setting(120.0, "s", "A service that is silent for so long has failed.", gt=0)
    attempts: int = setting(4, None, "Times a service is asked before the next one is.", ge=1)
    backoff: float = setting(2.0, "s", "First pause between attempts; it doubles.", ge=0)
    rest: float = setting(
        600.0, "s", "A service that failed all attempts is not asked again for so long, for any tile.", ge=0
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
