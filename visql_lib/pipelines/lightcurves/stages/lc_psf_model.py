"""Stage `lc_psf_model`: which stars make the PSF of a set, and whether it changes over the frame; frozen."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.psf_stars import psf_set_stars, stars_of
from visql_lib.pipelines.lightcurves.schemas import PSF_MODEL
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.products.context import Context
from visql_lib.psf.effective_fit import FEWEST_GRADIENT, gradient_gain
from visql_lib.psf.star_stamps import StarStamp
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

STAGE = "lc_psf_model"
NEEDED = ("frames", "transforms", "stars")
MOST_FRAMES = 12  # on which a gradient is tried, from the best to the worst seeing


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
    rows, decisions = [], []
    wanted = context.settings.psf.gradient
    for name, own in psf_set_stars(inputs.target, stars, inputs.stars).items():
        more = own
        if inputs.target.psf_sets[name] == AUTO:
            more = _more_stars(stars, own, context.settings.psf.gradient_stars)
        row = _row(name, own, more, wanted, frames)
        rows.append(row)
        what = f"PSF set {name}: {row['REASON']}"
        log.info("%s, set %s: %s", inputs.target.name, inputs.set, what)
        decisions.append(Decision("", inputs.set, STAGE, True, what, row["GAIN"], row["LIMIT"]))
    meta = {"target": inputs.target.name, "set": inputs.set, **to_meta(decisions)}
    return PSFModelOutputs(PSF_MODEL.of_rows(rows), meta)


def _more_stars(stars: Table, own: Sequence[str], most: int) -> tuple[str, ...]:
    """Add the best of the other comparison stars."""
    order = np.argsort(-np.nan_to_num(np.asarray(stars["SNR"], float)), kind="stable")
    others = [str(stars["STAR"][i]) for i in order if stars["NORM"][i] and str(stars["STAR"][i]) not in own]
    return (*own, *others[: max(most - len(own), 0)])


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


def _row(
    name: str, own: tuple[str, ...], more: tuple[str, ...], wanted: str, frames: Sequence[Stamps]
) -> dict[str, Any]:
    """Decide on one PSF set."""
    gain, limit, tried = math.nan, math.nan, 0
    if wanted == "off":
        gradient, reason = False, "the same over the frame: by the settings"
    elif len(more) < FEWEST_GRADIENT:
        gradient = False
        reason = f"the same over the frame: {len(more)} stars, {FEWEST_GRADIENT} are needed for a gradient"
    elif wanted == "on":
        gradient, reason = True, "changes over the frame: by the settings"
    else:
        gain, limit, tried = _gain([(stars_of(stamps, more), stamps.fwhm) for stamps in frames])
        gradient = bool(gain > limit)
        verb = "pays" if gradient else "does not pay"
        reason = f"a gradient {verb}: chi^2 falls by {gain:.0f}, {limit:.0f} are needed"
        if not tried:
            reason = f"the same over the frame: no frame has {FEWEST_GRADIENT} PSF stars"
    stars = more if gradient else own
    return {
        "PSF_SET": name,
        "STARS": " ".join(stars),
        "N": len(stars),
        "GRADIENT": gradient,
        "GAIN": gain,
        "LIMIT": limit,
        "N_FRAMES": tried,
        "REASON": reason,
    }


def _gain(frames: Sequence[tuple[list[StarStamp], float]]) -> tuple[float, float, int]:
    """Return the median gain of frames, its limit, and the number of frames it could be tried on."""
    found = [gain for stars, fwhm in frames if (gain := gradient_gain(stars, fwhm)) is not None]
    if not found:
        return math.nan, math.nan, 0
    gains, limits = np.array(found).T
    return float(np.median(gains)), float(np.median(limits)), len(found)
