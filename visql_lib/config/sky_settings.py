"""Settings of astrometry, flux ratios and their trend."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, field_validator

from visql_lib.config.units import SettingsSection, one_or_more, setting


class GaiaSettings(SettingsSection):
    """Reference stars: their source, their local copy, and which of them are used."""

    store: str = setting(
        "", None, "Folder of the sky tiles, shared by all months; empty: gaia in the results folder."
    )
    sources: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = setting(
        ("vizier", "tap"),
        None,
        "Sources of a missing tile, in this order: folder, vizier, tap; none: no match with Gaia.",
    )
    folder: str = setting(
        "", None, "Your own catalogue files (FITS, Parquet, CSV, VOTable), used by the source `folder`."
    )
    vizier_url: str = setting(
        "https://vizier.cds.unistra.fr/viz-bin/votable", None, "Address of VizieR's VOTable service."
    )
    vizier_catalogue: str = setting("I/355/gaiadr3", None, "Catalogue of VizieR.")
    tap_url: str = setting(
        "https://gea.esac.esa.int/tap-server/tap/sync",
        None,
        "Address of the TAP service of the Gaia archive.",
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
    faintest: float = setting(21.0, "mag", "Faintest G magnitude.")
    max_error: float = setting(0.02, "mag", "Largest error of the G magnitude.", gt=0)
    proper_motions: bool = setting(
        True, None, "Propagate positions to the date of the exposure with their proper motions."
    )

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


class AstrometrySettings(SettingsSection):
    """Matching of stars to the reference, and the geometry of the focal plane."""

    geometry: str = setting(
        "affine",
        None,
        "Terms fitted per CCD: reference (none, as in the original scripts), shift, or affine.",
        pattern="^(reference|shift|affine)$",
    )
    min_stars: int = setting(10, None, "Solutions with fewer matches are flagged.", ge=3)
    min_stars_ccd: int = setting(6, None, "CCDs with fewer stars get no terms of their own.", ge=3)
    search_offset: float = setting(
        0.1, "deg", "Largest error of the boresight for which the search is made.", gt=0
    )
    search_roll: float = setting(2.5, "deg", "Largest error of the roll for which the search is made.", ge=0)
    match_radius: float = setting(2.0, "arcsec", "Largest separation of a matched pair.", gt=0)
