"""Stage `lc_psf_model`: which stars make the PSF of a set, and whether it changes over the frame; frozen."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.psf_stars import fit_star
from visql_lib.photometry.renormalise import MAD_SIGMA
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.psf_stars import psf_set_stars, star_of, stars_of, surface_options
from visql_lib.pipelines.lightcurves.schemas import PSF_MODEL
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings, PSFSettings
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.products.context import Context
from visql_lib.psf.effective_fit import FEWEST_GRADIENT, fit_effective, gradient_gain
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

STAGE = "lc_psf_model"
NEEDED = ("frames", "transforms", "stars")
MOST_FRAMES = 12  # on which a PSF is tried, from the best to the worst seeing
_BEST = 6  # stars that are filled up to, where some are dropped
_KEPT = 5  # stars of which none is dropped
_ODD_SIGMA, _ODD_LEAST = 5.0, 0.1  # chi^2 of a star above that of the others


@dataclass(frozen=True)
class PSFModelInputs:
    """Tables of a set, and its target; the stamps of frames lie in ``frames/FRAME`` beside the tables.

    Parameters
    ----------
    frames, transforms, stars : Path
    target : Target
    set : str
    """

    frames: Path
    transforms: Path
    stars: Path
    target: Target
    set: str


@dataclass(frozen=True)
class PSFModelOutputs:
    """Columns of PSF_MODEL, and metadata."""

    columns: Mapping[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[LightCurveSettings], inputs: PSFModelInputs) -> PSFModelOutputs:
    """Choose the stars of each PSF set of a target, and whether their PSF changes over the frame.

    Raises
    ------
    ConfigError
        If the target's file names a star that there is not.
    """
    stars = read_table(inputs.stars)
    frames = [_stamps(inputs, name) for name in _sample(inputs)]
    settings = context.settings.psf
    rows: list[dict[str, Any]] = []
    decisions: list[Decision] = []
    for name, own in psf_set_stars(inputs.target, stars, inputs.stars).items():
        auto = inputs.target.psf_sets[name] == AUTO
        more = _more_stars(stars, own, settings.gradient_stars) if auto else own
        trial = _Trial(frames, settings)
        dropped = trial.drop_odd(more) if auto else {}
        row = _row(name, _chosen(own, more, dropped), trial)
        rows.append(row)
        what = f"PSF set {name}: {row['REASON']}"
        log.info("%s, set %s: %s", inputs.target.name, inputs.set, what)
        decisions.append(Decision("", inputs.set, STAGE, True, what, row["GAIN"], row["LIMIT"]))
        for star, (chi2, limit) in dropped.items():
            why = f"does not make the PSF {name}: it fits worse than the other stars: a close neighbour?"
            log.info("%s, set %s: star %s %s", inputs.target.name, inputs.set, star, why)
            decisions.append(Decision(f"star {star}", inputs.set, STAGE, False, why, chi2, limit))
    meta = {"target": inputs.target.name, "set": inputs.set, **to_meta(decisions)}
    return PSFModelOutputs(PSF_MODEL.of_rows(rows), meta)


def _more_stars(stars: Table, own: Sequence[str], most: int) -> tuple[str, ...]:
    """Add the best of the other comparison stars."""
    order = np.argsort(-np.nan_to_num(np.asarray(stars["SNR"], float)), kind="stable")
    others = [str(stars["STAR"][i]) for i in order if stars["NORM"][i] and str(stars["STAR"][i]) not in own]
    return (*own, *others[: max(most - len(own), 0)])


def _chosen(own: Sequence[str], more: Sequence[str], dropped: Collection[str]) -> _Stars:
    """Leave out the stars that were dropped; the next best take their places."""
    left = tuple(star for star in more if star not in dropped)
    few = [star for star in own if star not in dropped]
    others = [star for star in left if star not in few]
    return _Stars((*few, *others[: max(min(len(own), _BEST) - len(few), 0)]), left)


def _sample(inputs: PSFModelInputs) -> list[str]:
    """Return the names of some frames that are aligned, spread evenly from the best to the worst seeing."""
    frames = read_table(inputs.frames, ["FRAME", "STATUS", "SEEING_PX"])
    transforms = read_table(inputs.transforms, ["FRAME", "STATUS"])
    aligned = {
        str(name)
        for name, status in zip(transforms["FRAME"], transforms["STATUS"], strict=True)
        if status == LightStatus.OK
    }
    seeing = np.asarray(frames["SEEING_PX"], float)
    good = [
        i
        for i, (name, status) in enumerate(zip(frames["FRAME"], frames["STATUS"], strict=True))
        if status == LightStatus.OK and str(name) in aligned
    ]
    good.sort(key=lambda i: (math.inf if math.isnan(seeing[i]) else seeing[i], str(frames["FRAME"][i])))
    if len(good) > MOST_FRAMES:
        good = [good[k] for k in np.linspace(0, len(good) - 1, MOST_FRAMES).round().astype(int)]
    return [str(frames["FRAME"][i]) for i in good]


def _stamps(inputs: PSFModelInputs, name: str) -> Stamps:
    return Stamps.read(inputs.frames.parent / "frames" / name / f"{name}_stamps.fits")


@dataclass(frozen=True)
class _Stars:
    """The stars of a PSF that is the same over the frame, and those of one that changes."""

    plain: tuple[str, ...]
    sloped: tuple[str, ...]


class _Trial:
    """Tries PSFs on some frames of a set."""

    def __init__(self, frames: Sequence[Stamps], settings: PSFSettings) -> None:
        self.frames, self.settings = frames, settings

    def gradient(self, names: Sequence[str]) -> _Gradient:
        """Tell whether a gradient pays."""
        wanted = self.settings.gradient
        if wanted == "off":
            return _Gradient(False, "the same over the frame: by the settings")
        if len(names) < FEWEST_GRADIENT:
            few = f"the same over the frame: {len(names)} stars, a gradient needs {FEWEST_GRADIENT}"
            return _Gradient(False, few)
        if wanted == "on":
            return _Gradient(True, "changes over the frame: by the settings")
        trials = (gradient_gain(stars_of(stamps, names), stamps.fwhm) for stamps in self.frames)
        found = [trial for trial in trials if trial is not None]
        if not found:
            return _Gradient(False, f"the same over the frame: no frame has {FEWEST_GRADIENT} PSF stars")
        gain, limit = (float(v) for v in np.median(np.array(found), axis=0))
        verb = "pays" if gain > limit else "does not pay"
        reason = f"a gradient {verb}: chi^2 falls by {gain:.0f}, {limit:.0f} are needed"
        return _Gradient(gain > limit, reason, gain, limit, len(found))

    def drop_odd(self, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Find stars that no PSF of the others fits; return their chi^2 and its limit.

        The worst one goes and the rest are tried again: it makes the others look odd, and a gradient pay.
        """
        dropped: dict[str, tuple[float, float]] = {}
        left = list(names)
        while len(left) > _KEPT:
            chi2 = self._chi2(left, self.gradient(left).pays)
            known = np.isfinite(chi2)
            if known.sum() <= _KEPT:
                break
            middle = float(np.median(chi2[known]))
            spread = MAD_SIGMA * float(np.median(np.abs(chi2[known] - middle)))
            limit = middle + max(_ODD_SIGMA * spread, _ODD_LEAST)
            worst = int(np.argmax(np.where(known, chi2, -np.inf)))
            if not chi2[worst] > limit:
                break
            dropped[left.pop(worst)] = (float(chi2[worst]), limit)
        return dropped

    def _chi2(self, names: Sequence[str], gradient: bool) -> NDArray[np.float64]:
        """Return the median chi^2 of each star over the frames; NaN: never measured."""
        options = surface_options(self.settings)
        chi2 = np.full((len(self.frames), len(names)), np.nan)
        for i, stamps in enumerate(self.frames):
            fit = fit_effective(stars_of(stamps, names), options, gradient=gradient, fwhm=stamps.fwhm)
            if fit.psf is None:
                continue
            for k, name in enumerate(names):
                star = star_of(stamps, name)
                if star is not None:
                    chi2[i, k] = fit_star(star, fit.psf).chi2
        some = np.isfinite(chi2).any(axis=0)
        out = np.full(len(names), np.nan)
        out[some] = np.nanmedian(chi2[:, some], axis=0)
        return out


@dataclass(frozen=True)
class _Gradient:
    """Whether a gradient pays, and why."""

    pays: bool
    reason: str
    gain: float = math.nan
    limit: float = math.nan
    tried: int = 0


def _row(name: str, stars: _Stars, trial: _Trial) -> dict[str, Any]:
    """Decide on one PSF set."""
    found = trial.gradient(stars.sloped)
    chosen = stars.sloped if found.pays else stars.plain
    return {
        "PSF_SET": name,
        "STARS": " ".join(chosen),
        "N": len(chosen),
        "GRADIENT": found.pays,
        "GAIN": found.gain,
        "LIMIT": found.limit,
        "N_FRAMES": found.tried,
        "REASON": found.reason,
    }
