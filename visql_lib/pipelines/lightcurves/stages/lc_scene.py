"""Stage `lc_scene`: how a target is modelled in a set, chosen once: smoothness of the galaxy, its core."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.photometry.scene import fit_scene
from visql_lib.photometry.scene_model import Scene, SceneFrame, SceneResult, check_places
from visql_lib.pipelines.lightcurves.scene_file import NamedScene
from visql_lib.pipelines.lightcurves.scene_inputs import (
    SceneTables,
    SetPlaces,
    refused,
    scene_input,
    some_frames,
)
from visql_lib.pipelines.lightcurves.scene_variants import SceneVariant, variants_of
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

MOST_FRAMES = 60  # of which the choice is made: more tell nothing new about it


@dataclass(frozen=True)
class SceneInputs:
    """Tables of the set."""

    tables: SceneTables


@dataclass(frozen=True)
class SceneOutputs:
    """The choices, the target's own first."""

    scenes: tuple[NamedScene, ...]


def run(context: Context[LightCurveSettings], inputs: SceneInputs) -> SceneOutputs:
    """Choose the scene of each decomposition; one besides the target's own that fails is left out.

    Raises
    ------
    TargetError
        If the target cannot be fitted: too few frames, point sources on top of each other, outside all
        frames.
    ConfigError
        If the target's file asks for what there is not.
    """
    tables = inputs.tables
    places = SetPlaces(tables)
    variants = variants_of(tables.target, context.settings.scene)
    found = scene_input(tables, "lc_scene", places.masks)
    frames = some_frames(found.frames, MOST_FRAMES)
    scenes = []
    with context.progress("scene", len(variants)) as advance:
        for variant in variants:
            try:
                scenes.append(_chosen(variant, places, frames))
            except TargetError as error:
                if not variant.name:
                    raise refused(tables, error) from error
                log.warning(
                    "%s, set %s: fit %s is left out: %s", tables.target.name, tables.set, variant.name, error
                )
            advance()
    return SceneOutputs(tuple(scenes))


def _chosen(variant: SceneVariant, places: SetPlaces, frames: list[SceneFrame]) -> NamedScene:
    """Fit one decomposition, and keep what was chosen."""
    sources = places.sources(variant.sources)
    check_places(sources, variant.sources)
    options = variant.options(places.core(variant))
    half = Scene.start(sources, options).half
    start = Scene.start(sources, options, places.neighbours(sources, half, frames))
    result = fit_scene(frames, start, options)
    for note in result.notes:
        log.info("%s", note)
    return named_scene(variant, result, frames)


def named_scene(variant: SceneVariant, result: SceneResult, frames: list[SceneFrame]) -> NamedScene:
    """Return a fitted scene as files keep it."""
    used = sum(not frame.reason for frame in result.frames)
    return NamedScene(
        variant.name,
        variant.sources,
        replace(result.scene),
        median_fluxes(result, frames),
        result.chi2,
        used,
        result.notes,
    )


def median_fluxes(result: SceneResult, frames: list[SceneFrame]) -> NDArray[np.float64]:
    """Return the median fluxes (K + N,) of a scene in the reference's electrons; of neighbours NaN."""
    out = np.full(len(result.scene.positions), np.nan)
    scaled = np.array(
        [f.flux * frame.coeff for f, frame in zip(result.frames, frames, strict=True) if not f.reason]
    )
    if len(scaled):
        out[: scaled.shape[1]] = np.median(scaled, axis=0)
    return out
