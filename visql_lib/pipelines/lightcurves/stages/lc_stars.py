"""Stage `lc_stars`: which stars of a set serve for comparison, and which make the PSF."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.flags import StarFlag
from visql_lib.photometry.star_choice import (
    StarChoice,
    StarFacts,
    StarLimitsOfChoice,
    choose_stars,
    high_peak,
)
from visql_lib.photometry.star_shapes import excess_of_companions
from visql_lib.pipelines.lightcurves.decisions import AUTO, USER, Decision, to_meta
from visql_lib.pipelines.lightcurves.reference_file import TargetReference, read_reference
from visql_lib.pipelines.lightcurves.schemas import STARS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import Target
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

STAGE = "lc_stars"
NEEDED = ("frames", "transforms", "apertures")
_AWAY = 3.0  # seeings, from the outermost point source
_FEW = 3  # stars


@dataclass(frozen=True)
class StarsInputs:
    """Tables of a set by kind (see `NEEDED`), the reference, the target and the set."""

    tables: Mapping[str, Path]
    reference: Path
    target: Target
    set: str


@dataclass(frozen=True)
class StarsOutputs:
    """Columns of STARS and their metadata."""

    columns: dict[str, NDArray]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Measured:
    """Stars in frames, arrays of shape (stars, frames); NaN where not measured."""

    flux: NDArray
    snr: NDArray
    peak: NDArray  # over saturation
    inside: NDArray[np.bool_]
    concentration: NDArray


def run(context: Context[LightCurveSettings], inputs: StarsInputs) -> StarsOutputs:
    """Choose the stars.

    Raises
    ------
    TargetError
        If no frame is aligned, or no star serves.
    """
    settings = context.settings.stars
    reference = read_reference(inputs.reference)
    names = reference.names
    measured = _measured(inputs.tables, names)
    if not measured.flux.shape[1]:
        raise TargetError(
            f"{inputs.set}: no frame is aligned with {reference.frame}; see transforms_{inputs.set}"
        )
    rows = reference.named
    seeing = reference.fwhm if np.isfinite(reference.fwhm) else 0.0
    facts = StarFacts(
        _median(measured.snr),
        high_peak(measured.peak),
        measured.inside.mean(axis=1),
        np.asarray(reference.stars["NEIGHBOUR"])[rows],
        np.asarray(reference.stars["DISTANCE"])[rows],
        *excess_of_companions(measured.concentration, reference.x[rows], reference.y[rows]),
    )
    limits = StarLimitsOfChoice(
        settings.min_snr,
        settings.max_peak,
        settings.min_inside,
        settings.max_neighbour,
        reference.extent + _AWAY * seeing,
    )
    own = inputs.target.stars != AUTO
    choice = choose_stars(facts, limits, best=settings.psf_stars, most=settings.most_psf_stars, all_serve=own)
    if not choice.norm.any():
        told = "; ".join(f"{n}: {r}" for n, r in zip(names, choice.reasons, strict=True)) or "there is none"
        raise TargetError(f"{inputs.set}: no star can serve for comparison ({told}); see the settings stars")
    serving = int(choice.norm.sum())
    if serving < _FEW:
        log.warning("%s: only %d comparison stars", inputs.set, serving)
    columns = _columns(reference, names, measured, facts, choice)
    decisions = [
        Decision(f"star {name}", inputs.set, STAGE, not reason, reason or "serves", by=USER if own else AUTO)
        for name, reason in zip(names, choice.reasons, strict=True)
    ]
    meta = {"set": inputs.set, "frames": measured.flux.shape[1], **to_meta(decisions)}
    return StarsOutputs(columns, meta)


def _measured(tables: Mapping[str, Path], names: list[str]) -> _Measured:
    """Sort the aperture photometry by star and frame."""
    frames = read_table(tables["frames"], ["FRAME", "STATUS", "SATURATION"])
    ok = frames["STATUS"] == LightStatus.OK
    saturation = dict(zip(map(str, frames["FRAME"][ok]), frames["SATURATION"][ok], strict=True))
    transforms = read_table(tables["transforms"], ["FRAME", "STATUS"])
    aligned = [
        str(name)
        for name in transforms["FRAME"][transforms["STATUS"] == LightStatus.OK]
        if str(name) in saturation
    ]
    table = read_table(tables["apertures"])
    row_of, column_of = ({name: i for i, name in enumerate(some)} for some in (names, aligned))
    shape = (len(names), len(aligned))
    flux, snr, peak, concentration = (np.full(shape, np.nan) for _ in range(4))
    inside = np.zeros(shape, bool)
    for i, (star, frame) in enumerate(zip(table["STAR"], table["FRAME"], strict=True)):
        row, column = row_of.get(str(star)), column_of.get(str(frame))
        if row is None or column is None:
            continue
        flags = int(table["FLAGS"][i])
        inside[row, column] = not flags & StarFlag.OUTSIDE
        peak[row, column] = table["PEAK"][i] / saturation[str(frame)]
        if not flags & ~int(StarFlag.NEIGHBOUR):
            concentration[row, column] = table["CONCENTRATION"][i]
        if not flags & (StarFlag.OUTSIDE | StarFlag.BAD_PIXELS) and table["FLUXERR_AUTO"][i] > 0:
            flux[row, column] = table["FLUX_AUTO"][i]
            snr[row, column] = table["FLUX_AUTO"][i] / table["FLUXERR_AUTO"][i]
    return _Measured(flux, snr, peak, inside, concentration)


def _median(values: NDArray) -> NDArray[np.float64]:
    """Return the median of each row; NaN where nothing is known."""
    found = np.full(len(values), np.nan)
    known = np.isfinite(values).any(axis=1)
    found[known] = np.nanmedian(values[known], axis=1)
    return found


def _columns(
    reference: TargetReference, names: list[str], measured: _Measured, facts: StarFacts, choice: StarChoice
) -> dict[str, NDArray]:
    rows = reference.named
    return STARS.cast(
        {
            "STAR": np.array(names, dtype=np.str_),
            "X": np.asarray(reference.stars["X"])[rows],
            "Y": np.asarray(reference.stars["Y"])[rows],
            "FLUX": _median(measured.flux),
            "SNR": facts.snr,
            "PEAK": facts.peak,
            "INSIDE": facts.inside,
            "NEIGHBOUR": facts.neighbour,
            "DISTANCE": facts.distance,
            "PSF": choice.psf,
            "NORM": choice.norm,
            "REASON": np.array(choice.reasons, dtype=np.str_),
        }
    )
