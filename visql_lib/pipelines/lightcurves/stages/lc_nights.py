"""Stage `lc_nights`: the light curve of a set by frame and by night, and which frames count."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TargetError
from visql_lib.photometry.aperture_curve import aperture_curve
from visql_lib.photometry.night_means import FrameFluxes, automatic_limit, mean_of_nights
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.exporting import APERTURE
from visql_lib.pipelines.lightcurves.schemas import APERTURES, FLUXES, NIGHTS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.settings.curves import NightSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.tables.store import Table, read_meta, read_table

log = logging.getLogger(__name__)

STAGE = "lc_nights"
NEEDED, OPTIONAL = ("frames", "transforms", "medcoeff", "renorm", "target"), ("apertures", "stars")
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
class _Curve:
    """One source in all frames of a set, by the number of the frame; NaN where it was not measured."""

    name: str
    flux: NDArray
    err: NDArray
    err_common: NDArray
    chi2: NDArray
    coeff: NDArray
    coeff_err: NDArray


@dataclass(frozen=True)
class _Limit:
    """A quantity of frames with its limit, as messages name it."""

    name: str
    values: NDArray
    limit: float
    unit: str = ""


class _Frames:
    """The frames of a set that can be measured, with their coefficients and quality."""

    def __init__(self, tables: Mapping[str, Path], settings: NightSettings) -> None:
        everything = read_table(tables["frames"])
        ok = np.flatnonzero(everything["STATUS"] == LightStatus.OK)
        order = ok[np.argsort(everything["MJD"][ok], kind="stable")]
        self.table = {name: values[order] for name, values in everything.items()}
        self.names = [str(name) for name in self.table["FRAME"]]
        self.number = {name: i for i, name in enumerate(self.names)}
        renorm = read_table(tables["renorm"])
        self.coeff = self.spread(renorm["FRAME"], renorm["C"])
        self.coeff_err = self.spread(renorm["FRAME"], renorm["C_ERR"])
        scale = self.table["SEEING"]
        self.in_px = not np.isfinite(scale).any()
        self.seeing = self.table["SEEING_PX"] if self.in_px else scale
        self.unit = "px" if self.in_px else "arcsec"
        self.per_unit = 1 / settings.pixel if self.in_px else 1.0
        self.sky = self.table["SKY"] * self.coeff

    def __len__(self) -> int:
        return len(self.names)

    def spread(self, frames: NDArray, values: NDArray) -> NDArray[np.float64]:
        """Return values by the number of their frame; NaN for frames without one."""
        found = np.full(len(self), np.nan)
        for name, value in zip(frames, values, strict=True):
            if (i := self.number.get(str(name))) is not None:
                found[i] = value
        return found

    @cached_property
    def time(self) -> NDArray:
        """MHJD, or MJD where the place of the target is not known [d]."""
        heliocentric: NDArray = self.table["MHJD"]
        return np.where(np.isfinite(heliocentric), heliocentric, self.table["MJD"])


def run(context: Context[LightCurveSettings], inputs: NightInputs) -> NightOutputs:
    """Compute the light curve of a set.

    Raises
    ------
    TargetError
        If no frame can be used.
    """
    settings, zero = context.settings.nights, context.settings.export.zero_point
    frames = _Frames(inputs.tables, settings)
    if not len(frames):
        raise TargetError(
            f"{inputs.set}: no usable frame; see STATUS and REASON in {inputs.tables['frames']}"
        )
    curves = [*_scene_curves(frames, inputs.tables["target"], context.settings.export.sums)]
    curves += _aperture_curves(frames, inputs.tables)
    decisions = _Decisions(inputs.set)
    limits = _limits(frames, settings)
    left_out = {i: _first_beyond(frames, i, limits, decisions) for i in range(len(frames))}
    flux_rows: list[dict[str, Any]] = []
    night_rows: list[dict[str, Any]] = []
    for curve in curves:
        reasons = [left_out[i] or _no_flux(frames, curve, i, decisions) for i in range(len(frames))]
        flux_rows += (_flux_row(frames, curve, i, reasons[i], zero) for i in range(len(frames)))
        night_rows += _night_rows(frames, curve, np.array([not r for r in reasons]), settings, zero)
    for said in decisions.found:
        log.info("%s: %s", said.frame, said.reason)
    meta = {"set": inputs.set, "sources": [curve.name for curve in curves], **to_meta(decisions.found)}
    meta["limits"] = {limit.name: limit.limit for limit in limits}
    return NightOutputs(FLUXES.of_rows(flux_rows), NIGHTS.of_rows(night_rows), meta)


# --- curves ---------------------------------------------------------------------------------------


def _scene_curves(frames: _Frames, path: Path, sums: Mapping[str, Sequence[str]]) -> Iterator[_Curve]:
    """Yield the curves of the point sources and of sums of them, with their full covariance."""
    table = read_table(path)
    names = [str(n) for n in read_meta(path).get("sources") or dict.fromkeys(map(str, table["SOURCE"]))]
    shape = (len(frames), len(names))
    flux, err, common, chi2 = (np.full(shape, np.nan) for _ in range(4))
    own, shared = (np.full((*shape, len(names)), np.nan) for _ in range(2))
    column = {name: k for k, name in enumerate(names)}
    together = "COVARIANCE_COMMON" if "COVARIANCE_COMMON" in table else ""
    for row, (frame, source) in enumerate(zip(table["FRAME"], table["SOURCE"], strict=True)):
        i, k = frames.number.get(str(frame)), column[str(source)]
        if i is None:
            continue
        flux[i, k], err[i, k] = table["FLUX"][row], table["ERR"][row]
        common[i, k], chi2[i, k] = table["ERR_COMMON"][row], table["CHI2"][row]
        own[i, k] = table["COVARIANCE"][row]
        if together:
            shared[i, k] = table[together][row]
    for name, k in column.items():
        yield _Curve(name, flux[:, k], err[:, k], common[:, k], chi2[:, k], frames.coeff, frames.coeff_err)
    for name, parts in sums.items():
        if set(parts) <= set(names):
            ks = [column[part] for part in parts]
            every = np.ix_(range(len(frames)), ks, ks)
            variance, of_zero = own[every].sum((1, 2)), shared[every].sum((1, 2))
            yield _Curve(
                name,
                flux[:, ks].sum(1),
                np.sqrt(variance),
                np.sqrt(of_zero),
                chi2[:, ks[0]],
                frames.coeff,
                frames.coeff_err,
            )
        else:
            log.warning(
                "sum %s: no source %s; it is left out", name, " ".join(sorted(set(parts) - set(names)))
            )


def _aperture_curves(frames: _Frames, tables: Mapping[str, Path]) -> list[_Curve]:
    """Return the curve of a single source from an aperture, where its apertures were measured."""
    if not {"apertures", "stars"} <= set(tables):
        return []
    table, stars = read_table(tables["apertures"], list(APERTURES.names)), read_table(tables["stars"])
    serving = [str(name) for name in stars["STAR"][stars["NORM"]]]
    known = {str(name) for name in stars["STAR"]}
    targets = [name for name in dict.fromkeys(map(str, table["STAR"])) if name not in known]
    found = []
    for name in targets:
        flux, err = _fluxes_of(frames, table, name)
        if not np.isfinite(flux).any() or not serving:
            continue
        of_stars = np.stack([_fluxes_of(frames, table, star)[0] for star in serving])
        made = aperture_curve(flux, err, of_stars)
        if made.aperture >= 0:
            nothing = np.full(len(frames), np.nan)
            found.append(
                _Curve(f"{name}{APERTURE}", made.flux, made.err, nothing, nothing, made.coeff, made.coeff_err)
            )
    return found


def _fluxes_of(frames: _Frames, table: Table, star: str) -> tuple[NDArray, NDArray]:
    """Return the fluxes of a star in all apertures, and their errors; shapes (frames, apertures)."""
    count = table["FLUX_APER"].shape[1] if table["FLUX_APER"].ndim == 2 else 0
    flux, err = (np.full((len(frames), count), np.nan) for _ in range(2))
    for row in np.flatnonzero(table["STAR"] == star):
        if (i := frames.number.get(str(table["FRAME"][row]))) is not None:
            flux[i], err[i] = table["FLUX_APER"][row], table["FLUXERR_APER"][row]
    return flux, err


# --- which frames count ---------------------------------------------------------------------------


class _Decisions:
    """What was decided, each frame and reason once."""

    def __init__(self, name: str) -> None:
        self.set, self.found = name, list[Decision]()

    def leave_out(self, frame: str, reason: str, value: float = math.nan, limit: float = math.nan) -> str:
        """Note that a frame is left out, and return the reason."""
        self.found.append(Decision(frame, self.set, STAGE, False, reason, value, limit))
        return reason


def _limits(frames: _Frames, settings: NightSettings) -> list[_Limit]:
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


def _first_beyond(frames: _Frames, i: int, limits: Sequence[_Limit], decisions: _Decisions) -> str:
    """Return why a frame is beyond a limit, "" if it is beyond none; what is not known is beyond none."""
    if not np.isfinite(frames.coeff[i]):
        return decisions.leave_out(frames.names[i], "no coefficient: no comparison star was measured")
    for limit in limits:
        value = float(limit.values[i])
        if value > limit.limit:
            reason = f"{limit.name} {value:.4g} above {limit.limit:.4g} {limit.unit}".rstrip()
            return decisions.leave_out(frames.names[i], reason, value, limit.limit)
    return ""


def _no_flux(frames: _Frames, curve: _Curve, i: int, decisions: _Decisions) -> str:
    """Return why a source has no usable flux in a frame, "" if it has."""
    flux, coeff = float(curve.flux[i]), float(curve.coeff[i])
    if not math.isfinite(flux) or not curve.err[i] > 0:
        return decisions.leave_out(frames.names[i], f"{curve.name} was not measured")
    if not math.isfinite(coeff):
        return decisions.leave_out(frames.names[i], f"{curve.name}: no coefficient")
    if flux <= 0:
        return decisions.leave_out(frames.names[i], f"flux of {curve.name} is not positive", flux, 0.0)
    return ""


# --- rows -----------------------------------------------------------------------------------------


def _known(errors: NDArray) -> NDArray:
    """Return errors of coefficients, 0 where they are not known: of a single star."""
    return np.where(np.isfinite(errors), errors, 0.0)


def _quality(frames: _Frames, some: NDArray) -> dict[str, float]:
    """Return medians of the quality of some frames; NaN where nothing is known."""
    columns = {"SEEING": frames.seeing, "SKY": frames.table["SKY"]}
    columns |= {name: frames.table[name] for name in ("ELLIPTICITY", "AIRMASS")}
    return {name: _median(values[some]) for name, values in columns.items()}


def _median(values: NDArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _flux_row(frames: _Frames, curve: _Curve, i: int, reason: str, zero: float) -> dict[str, Any]:
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


def _night_rows(
    frames: _Frames, curve: _Curve, kept: NDArray[np.bool_], settings: NightSettings, zero: float
) -> Iterator[dict[str, Any]]:
    """Yield the nights of a source."""
    used = np.flatnonzero(kept)
    means = mean_of_nights(
        FrameFluxes(
            frames.time[used],
            curve.flux[used],
            curve.err[used],
            curve.coeff[used],
            _known(curve.coeff_err[used]),
        ),
        settings.gap,
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
