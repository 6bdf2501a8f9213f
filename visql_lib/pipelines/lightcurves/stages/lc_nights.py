"""Stage `lc_nights`: the light curve of a set by frame and by night, and which frames count."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.photometry.night_means import (
    FrameFluxes,
    automatic_limit,
    mean_of_nights,
    nights_by_gap,
)
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.night_curves import (
    CurveFrames,
    FrameCurve,
    aperture_curves,
    scene_curves,
)
from visql_lib.pipelines.lightcurves.schemas import FLUXES, NIGHTS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.settings.curves import NightSettings
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

STAGE = "lc_nights"
NEEDED, OPTIONAL = ("frames", "transforms", "medcoeff", "renorm", "target"), ("apertures", "stars", "psf")
_LEAST = 3  # frames of a night that may be flagged true


@dataclass(frozen=True)
class NightInputs:
    """Paths of the tables of a set, by kind; see `NEEDED` and `OPTIONAL`."""

    tables: Mapping[str, Path]
    set: str


@dataclass(frozen=True)
class NightOutputs:
    """Columns of the tables FLUXES and NIGHTS, and their metadata."""

    fluxes: dict[str, NDArray]
    nights: dict[str, NDArray]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Limit:
    """A quantity of frames with its limit, as messages name it."""

    name: str
    values: NDArray
    limit: float
    unit: str = ""


def run(context: Context[LightCurveSettings], inputs: NightInputs) -> NightOutputs:
    """Compute the light curve of a set.

    Raises
    ------
    TargetError
        If no frame can be used.
    """
    settings, zero = context.settings.nights, context.settings.export.zero_point
    frames = CurveFrames(inputs.tables, settings)
    if not len(frames):
        raise TargetError(
            f"{inputs.set}: no usable frame; see STATUS and REASON in {inputs.tables['frames']}"
        )
    curves = [*scene_curves(frames, inputs.tables["target"], context.settings.export.sums)]
    apertures = aperture_curves(frames, inputs.tables)
    curves += apertures
    decisions = _Decisions(inputs.set)
    limits = _limits(frames, settings)
    left_out = [_first_beyond(frames, i, limits, decisions) for i in range(len(frames))]
    night_of = _numbers_of_nights(frames.time, np.array([not why for why in left_out]), settings.gap)
    flux_rows: list[dict[str, Any]] = []
    night_rows: list[dict[str, Any]] = []
    for curve in curves:
        reasons = [left_out[i] or _no_flux(frames, curve, i, decisions) for i in range(len(frames))]
        flux_rows += (_flux_row(frames, curve, i, reasons[i], zero) for i in range(len(frames)))
        kept = np.array([not reason for reason in reasons])
        night_rows += _night_rows(frames, curve, np.where(kept, night_of, -1), settings, zero)
    for said in decisions.found:
        log.info("%s: %s", said.frame, said.reason)
    meta = {"set": inputs.set, "sources": [curve.name for curve in curves], **to_meta(decisions.found)}
    meta["apertures"] = {curve.name: size for curve, size in apertures.items() if math.isfinite(size)}
    meta["limits"] = {limit.name: limit.limit for limit in limits}
    return NightOutputs(FLUXES.of_rows(flux_rows), NIGHTS.of_rows(night_rows), meta)


# --- which frames count ---------------------------------------------------------------------------


class _Decisions:
    """What was decided, each frame and reason once."""

    def __init__(self, name: str) -> None:
        self.set, self.found = name, list[Decision]()
        self._told = set[tuple[str, str]]()

    def leave_out(self, frame: str, reason: str, value: float = math.nan, limit: float = math.nan) -> str:
        """Note that a frame is left out, and return the reason."""
        if (frame, reason) not in self._told:
            self._told.add((frame, reason))
            self.found.append(Decision(frame, self.set, STAGE, False, reason, value, limit))
        return reason


def _limits(frames: CurveFrames, settings: NightSettings) -> list[_Limit]:
    """Return the limits of frames, automatic ones never below the fixed values."""
    told = [
        _Limit("seeing", frames.seeing, settings.max_seeing * frames.per_unit, frames.unit),
        _Limit("ellipticity", frames.table["ELLIPTICITY"], settings.max_ellipticity),
        _Limit("sky x coefficient", frames.sky, settings.max_sky, "e-"),
        _Limit("coefficient", frames.coeff, settings.max_coeff),
    ]
    if not settings.auto:
        return told
    return [_Limit(one.name, one.values, automatic_limit(one.values, one.limit), one.unit) for one in told]


def _first_beyond(frames: CurveFrames, i: int, limits: Sequence[_Limit], decisions: _Decisions) -> str:
    """Return why a frame is beyond a limit, "" if it is beyond none; what is not known is beyond none."""
    if why := frames.not_aligned.get(frames.names[i]):
        return decisions.leave_out(frames.names[i], why)
    for limit in limits:
        value = float(limit.values[i])
        if value > limit.limit:
            reason = f"{limit.name} {value:.4g} above {limit.limit:.4g} {limit.unit}".rstrip()
            return decisions.leave_out(frames.names[i], reason, value, limit.limit)
    return ""


def _no_flux(frames: CurveFrames, curve: FrameCurve, i: int, decisions: _Decisions) -> str:
    """Return why a source has no usable flux in a frame, "" if it has."""
    name, flux, coeff = frames.names[i], float(curve.flux[i]), float(curve.coeff[i])
    why = ""
    if not (math.isfinite(flux) and curve.err[i] > 0):
        why = curve.lost.get(name) or f"{curve.name} was not measured"
    elif not math.isfinite(coeff):
        why = "no coefficient: no comparison star was measured"
    if why:
        return decisions.leave_out(name, why)
    if flux <= 0:
        return decisions.leave_out(name, f"flux of {curve.name} is not positive", flux, 0.0)
    return ""


# --- rows -----------------------------------------------------------------------------------------


def _known(errors: NDArray) -> NDArray:
    """Return errors of coefficients, 0 where they are not known: of a single star."""
    return np.where(np.isfinite(errors), errors, 0.0)


def _quality(frames: CurveFrames, some: NDArray) -> dict[str, float]:
    """Return medians of the quality of some frames; NaN where nothing is known."""
    columns = {"SEEING": frames.seeing, "SKY": frames.table["SKY"]}
    columns |= {name: frames.table[name] for name in ("ELLIPTICITY", "AIRMASS")}
    return {name: _median(values[some]) for name, values in columns.items()}


def _median(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _flux_row(frames: CurveFrames, curve: FrameCurve, i: int, reason: str, zero: float) -> dict[str, Any]:
    flux, coeff = float(curve.flux[i]), float(curve.coeff[i])
    mag = mag_err = math.nan
    if flux > 0 and coeff > 0:
        mag = -2.5 * math.log10(flux * coeff) + zero
        relative = math.hypot(float(curve.err[i]) / flux, float(_known(curve.coeff_err)[i]))
        mag_err = 2.5 / math.log(10) * relative
    told = {name: frames.table[name][i] for name in ("NIGHT", "MJD", "MHJD", "BJD_TDB")}
    return {
        "FRAME": frames.names[i],
        "SOURCE": curve.name,
        **told,
        "FLUX": flux,
        "ERR": curve.err[i],
        "ERR_COMMON": curve.err_common[i],
        "C": coeff,
        "C_ERR": curve.coeff_err[i],
        "MAG": mag,
        "MAG_ERR": mag_err,
        "CHI2": curve.chi2[i],
        "KEPT": not reason,
        "REASON": reason,
        **_quality(frames, np.array([i])),
    }


def _numbers_of_nights(time: NDArray, used: NDArray[np.bool_], gap: float) -> NDArray[np.intp]:
    """Return the number of the night of each frame, the same for all sources; -1: left out."""
    found = np.full(len(time), -1)
    frames = np.flatnonzero(used)
    for n, members in enumerate(nights_by_gap(time[frames], gap)):
        found[frames[members]] = n
    return found


def _night_rows(
    frames: CurveFrames, curve: FrameCurve, night_of: NDArray[np.intp], settings: NightSettings, zero: float
) -> Iterator[dict[str, Any]]:
    """Yield the nights of a source, from the number of the night of each frame (-1: does not count)."""
    used = np.flatnonzero(night_of >= 0)
    numbers = night_of[used]
    means = mean_of_nights(
        FrameFluxes(
            frames.time[used],
            curve.flux[used],
            curve.err[used],
            curve.coeff[used],
            _known(curve.coeff_err[used]),
        ),
        settings.gap,
        [np.flatnonzero(numbers == night) for night in np.unique(numbers)],
    )
    for n, members in enumerate(means.members):
        some = used[members]
        quality, coeff = _quality(frames, some), _median(curve.coeff[some])
        level = quality["SKY"] * coeff
        limits = (
            (quality["SEEING"], settings.night_seeing * frames.per_unit),
            (quality["ELLIPTICITY"], settings.night_ellipticity),
            (level, settings.night_sky),
            (coeff, settings.night_coeff),
        )
        yield {
            "SOURCE": curve.name,
            "NIGHT": frames.table["NIGHT"][some[0]],
            "MHJD": float(frames.time[some].mean()),
            "BJD_TDB": float(frames.table["BJD_TDB"][some].mean()),
            "N": len(some),
            "FLUX": means.flux[n],
            "MAG": means.mag[n] + zero,
            "MAG_ERR": means.mag_err[n],
            "MEAN_MAG": means.mean_mag[n] + zero,
            "MEAN_ERR": means.mean_err[n],
            "COEFF": coeff,
            "SKY_LEVEL": level,
            "FLAG": len(some) >= _LEAST and not any(value > limit for value, limit in limits),
            **quality,
        }
