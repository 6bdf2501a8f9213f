"""The columns of the tables of the light curves."""

from __future__ import annotations

from visql_lib.pipelines.lightcurves.schemas.curves import DECISIONS, FLUXES, NIGHTS, SCENE
from visql_lib.pipelines.lightcurves.schemas.frames import (
    APERTURES,
    FRAMES,
    LIGHT_CATALOGUE,
    REFERENCE,
    TRANSFORMS,
)
from visql_lib.pipelines.lightcurves.schemas.stars import (
    MEDCOEFF,
    PSF,
    PSF_CHUNK,
    PSF_MODEL,
    RENORM,
    STAR_FLUXES,
    STARS,
)

ALL = (
    *(FRAMES, LIGHT_CATALOGUE, REFERENCE, TRANSFORMS, APERTURES, STARS, MEDCOEFF, PSF, STAR_FLUXES, RENORM),
    *(PSF_MODEL, PSF_CHUNK, SCENE, FLUXES, NIGHTS, DECISIONS),
)
