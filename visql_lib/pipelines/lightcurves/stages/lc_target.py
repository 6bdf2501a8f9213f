"""Stage `lc_target`: the fluxes of a target's point sources in all frames of a set, fitted together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError, TargetError
from visql_lib.photometry.scene import fit_frame, fit_scene
from visql_lib.photometry.scene_model import SceneFluxes, SceneFrame, SceneOptions, SceneResult
from visql_lib.photometry.scene_pictures import PITCH, deconvolved_field, median_residual
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.scene_file import (
    DECONVOLVED,
    RESIDUAL,
    NamedScene,
    ScenePlane,
    read_scenes,
)
from visql_lib.pipelines.lightcurves.scene_inputs import SceneTables, SetPlaces, refused, scene_input
from visql_lib.pipelines.lightcurves.scene_variants import SceneVariant, variants_of
from visql_lib.pipelines.lightcurves.schemas import SCENE
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.stages.lc_scene import named_scene
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

STAGE = "lc_target"


@dataclass(frozen=True)
class TargetInputs:
    """Tables of the set, and the scene to begin with.

    Parameters
    ----------
    tables : SceneTables
    scene : Path
        ``scene_SET.fits``; or ``target_SET.fits`` of an earlier fit.
    frozen : bool
        Keep positions, image and core of `scene`; only fluxes, constants and shifts of the frames are fitted.
    """

    tables: SceneTables
    scene: Path
    frozen: bool = False


@dataclass(frozen=True)
class TargetOutputs:
    """Columns of the table SCENE, its metadata, and the scenes with their pictures."""

    columns: Mapping[str, NDArray]
    meta: dict[str, Any]
    scenes: tuple[NamedScene, ...]


@dataclass(frozen=True)
class _Fitted:
    """A decomposition and its result."""

    variant: SceneVariant
    named: NamedScene
    result: SceneResult


def run(context: Context[LightCurveSettings], inputs: TargetInputs) -> TargetOutputs:
    """Fit a target in all frames of a set; frames in which a source is outside or masked have no flux.

    Raises
    ------
    TargetError
        If the target cannot be fitted, see `lc_scene`.
    TableError
        If the scene is of other point sources than the target's file names.
    """
    tables = inputs.tables
    places = SetPlaces(tables)
    variants = {v.name: v for v in variants_of(tables.target, context.settings.scene)}
    found = scene_input(tables, STAGE, places.masks)
    fits = []
    for named in read_scenes(inputs.scene):
        variant = variants.get(named.name)
        if variant is None:
            continue  # the user's file asks for it no more
        if named.sources != variant.sources:
            raise TableError(
                f"{inputs.scene}: was chosen for the point sources {' '.join(named.sources)}, the target's "
                f"file has {' '.join(variant.sources)}; let it be chosen anew by visql lc-thaw"
            )
        fits.append(_fitted(context, variant, named, found.frames, inputs))
    return TargetOutputs(
        SCENE.of_rows(_rows(found.names, fits)),
        _meta(tables, fits, [*found.decisions, *_decisions(tables, found.names, fits)]),
        tuple(fit.named for fit in fits),
    )


def _fitted(
    context: Context[LightCurveSettings],
    variant: SceneVariant,
    named: NamedScene,
    frames: list[SceneFrame],
    inputs: TargetInputs,
) -> _Fitted:
    """Fit a decomposition, with what was chosen for it."""
    scene = named.scene
    options = _options(variant, named)
    if inputs.frozen:
        with context.progress(STAGE, len(frames)) as advance:
            result = SceneResult(scene, tuple(_advanced(advance, f, named, options) for f in frames), 0)
    else:
        try:
            result = fit_scene(frames, scene, options)
        except TargetError as error:
            raise refused(inputs.tables, error) from error
    made = named_scene(variant, result, frames)
    field = deconvolved_field(result.scene, made.flux)
    (cx, cy), half = result.scene.grid.centre, result.scene.half
    corner = (cx - half + 1.0, cy - half + 1.0)
    planes = {
        DECONVOLVED: ScenePlane(field, corner, PITCH, "electron"),
        RESIDUAL: ScenePlane(median_residual(frames, result), corner, 1.0, ""),
    }
    return _Fitted(variant, replace(made, planes=planes), result)


def _advanced(advance: Any, frame: SceneFrame, named: NamedScene, options: SceneOptions) -> SceneFluxes:
    fluxes = fit_frame(frame, named.scene, options)
    advance()
    return fluxes


def _options(variant: SceneVariant, named: NamedScene) -> SceneOptions:
    """Return the options of a fit with the frozen choices."""
    scene = named.scene
    smoothness = scene.smoothness if len(scene.nodes) else None
    options = variant.options(None)
    return replace(options, core=scene.core if scene.core is not None else "none", smoothness=smoothness)


def _rows(names: Sequence[str], fits: Sequence[_Fitted]) -> list[dict[str, Any]]:
    """Make the rows of SCENE: frame by frame, of each decomposition its sources."""
    count = sum(len(fit.variant.sources) for fit in fits)
    rows = []
    for i, name in enumerate(names):
        first = 0
        for fit in fits:
            found, k = fit.result.frames[i], len(fit.variant.sources)
            for n, source in enumerate(fit.variant.sources):
                own, common = np.full(count, np.nan), np.full(count, np.nan)
                own[first : first + k] = found.covariance[n]
                common[first : first + k] = found.covariance_common[n]
                rows.append(
                    {
                        "FRAME": name,
                        "SOURCE": fit.variant.label(source),
                        "FLUX": found.flux[n],
                        "ERR": found.err[n],
                        "ERR_COMMON": found.err_common[n],
                        "COVARIANCE": own,
                        "COVARIANCE_COMMON": common,
                        "DX": found.shift[0],
                        "DY": found.shift[1],
                        "BACKGROUND": found.background,
                        "CHI2": found.chi2,
                    }
                )
            first += k
    return rows


def _decisions(tables: SceneTables, names: Sequence[str], fits: Sequence[_Fitted]) -> list[Decision]:
    """Tell which frames could not be fitted, and what was decided about cores."""
    out = []
    for fit in fits:
        where = f"fit {fit.variant.name}: " if fit.variant.name else ""
        for name, found in zip(names, fit.result.frames, strict=True):
            if found.reason:
                log.warning("%s: %s%s", name, where, found.reason)
                out.append(Decision(name, tables.set, STAGE, False, where + _named(found.reason, fit)))
        out += [Decision("", tables.set, STAGE, True, where + note) for note in fit.named.notes]
    return out


def _named(reason: str, fit: _Fitted) -> str:
    """Put the name of a point source in the place of its number."""
    for n, source in enumerate(fit.variant.sources, start=1):
        reason = reason.replace(f"point source {n} ", f"point source {source} ")
    return reason


def _meta(tables: SceneTables, fits: Sequence[_Fitted], decisions: Sequence[Decision]) -> dict[str, Any]:
    sources = [fit.variant.label(source) for fit in fits for source in fit.variant.sources]
    facts = {
        fit.variant.name or "own": {
            "smoothness": fit.result.scene.smoothness if len(fit.result.scene.nodes) else None,
            "core": fit.result.scene.core is not None,
            "chi2": fit.result.chi2,
            "rounds": fit.result.rounds,
        }
        for fit in fits
    }
    return {
        "target": tables.target.name,
        "set": tables.set,
        "sources": sources,
        "fits": facts,
        **to_meta(decisions),
    }
