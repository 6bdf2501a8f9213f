"""Fluxes of single stars with a known PSF: free place and constant, one clip, the model's own variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import StarFlag
from visql_lib.psf.effective import EffectivePSF
from visql_lib.psf.star_stamps import LEAST_CORE, StarStamp, smoothed

_ROUNDS = 12
_STEP, _FARTHEST = 0.5, 3.0  # px, longest step, and farthest from where the star should be
_DONE = 1e-3  # of the errors, a step at which the rounds end


@dataclass(frozen=True)
class StarFit:
    """A star's flux in a frame.

    Attributes
    ----------
    flux, err : float
        electron; NaN: not measured, see `flags`.
    x, y : float
        Zero-based px of the frame.
    constant : float
        Under the star [electron/px].
    chi2 : float
        Per degree of freedom.
    flags : int
        `StarFlag` bits.
    """

    flux: float
    err: float
    x: float
    y: float
    constant: float
    chi2: float
    flags: int


@dataclass
class _State:
    """Parameters of the fit, and its last linearisation."""

    offset: NDArray[np.float64]
    flux: float = 0.0
    constant: float = 0.0
    moved: float = np.inf  # last step, in errors


def fit_star(star: StarStamp, psf: EffectivePSF, *, clip: float = 5.0, clip_share: float = 0.02) -> StarFit:
    """Measure the flux of a star.

    Free are flux, constant, x and y. The variance of a pixel is max(model, 0) + rms^2, the model without
    sky and constant. After convergence pixels that the model misses by `clip` sigma and `clip_share` of it
    lose their weight, once, and the fit goes on.

    Parameters
    ----------
    star : StarStamp
        Of a larger one 3.5 FWHM on each side are used: what is beyond only tells the constant.
    psf : EffectivePSF
        Of the frame.
    clip, clip_share : float

    Returns
    -------
    StarFit
        Not measured (NaN) where most of the core is masked (BAD_PIXELS), outside (OUTSIDE) or saturated
        (SATURATED), or the fit does not converge (NO_FIT).
    """
    star = star.within(psf.fwhm)
    local = psf.at(star.x, star.y)
    flags = _core_flags(star, local)
    if flags & (StarFlag.OUTSIDE | StarFlag.BAD_PIXELS | StarFlag.SATURATED | StarFlag.NO_FIT):
        return _not_measured(star, flags)
    good = star.good()
    data = np.where(good, star.data, 0.0)
    state = _State(np.array(star.offset, float))
    image = _image(local, star.offset, star.half)
    weight = np.where(good, 1 / star.variance(smoothed(star.data, good)), 0.0)
    state.flux, state.constant = _linear_fit(data, image, weight)
    covariance = _descend(star, local, state, data, good)
    if covariance is not None:
        model = state.flux * _image(local, state.offset, star.half)
        limit = clip * np.sqrt(star.variance(model)) + clip_share * np.abs(model)
        kept = good & (np.abs(data - model - state.constant) <= limit)
        if not np.array_equal(kept, good):
            good = kept
            covariance = _descend(star, local, state, data, good)
    if covariance is None or not state.flux > 0:
        return _not_measured(star, flags | StarFlag.NO_FIT)
    model = state.flux * _image(local, state.offset, star.half)
    weight = np.where(good, 1 / star.variance(model), 0.0)
    chi2 = float((weight * (data - model - state.constant) ** 2).sum())
    return StarFit(
        flux=state.flux,
        err=float(np.sqrt(covariance[0, 0])),
        x=star.x0 + star.half + float(state.offset[0]),
        y=star.y0 + star.half + float(state.offset[1]),
        constant=state.constant,
        chi2=chi2 / max(int(good.sum()) - 4, 1),
        flags=int(flags),
    )


def _image(
    psf: EffectivePSF, offset: tuple[float, float] | NDArray[np.float64], half: int
) -> NDArray[np.float64]:
    return psf.stamp(float(offset[0]), float(offset[1]), half)


def _core_flags(star: StarStamp, psf: EffectivePSF) -> StarFlag:
    """Tell whether a star can be measured at all."""
    flags = StarFlag(0)
    dx, dy = star.offset
    if not (np.isfinite(star.rms) and star.rms > 0):
        return StarFlag.NO_FIT
    if not max(abs(dx), abs(dy)) < star.half:
        return StarFlag.OUTSIDE
    part, saturated = star.core(psf.stamp(dx, dy, star.half))
    if saturated:
        flags |= StarFlag.SATURATED
    if part < LEAST_CORE:
        flags |= StarFlag.BAD_PIXELS
    return flags


def _not_measured(star: StarStamp, flags: StarFlag) -> StarFit:
    nan = float("nan")
    return StarFit(nan, nan, star.x, star.y, nan, nan, int(flags))


def _linear_fit(
    data: NDArray[np.float64], image: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return flux and constant at a given place."""
    design = np.stack([image.ravel(), np.ones(image.size)])
    weighted = design * weight.ravel()
    flux, constant = np.linalg.lstsq(weighted @ design.T, weighted @ data.ravel(), rcond=None)[0]
    return float(flux), float(constant)


def _descend(
    star: StarStamp,
    psf: EffectivePSF,
    state: _State,
    data: NDArray[np.float64],
    good: NDArray[np.bool_],
) -> NDArray[np.float64] | None:
    """Iterate, the variance from the model; return the covariance of the parameters, None: no convergence."""
    start = np.array(star.offset)
    for _ in range(_ROUNDS):
        dx, dy = float(state.offset[0]), float(state.offset[1])
        image, by_x, by_y = psf.stamp_with_slopes(dx, dy, star.half)
        model = state.flux * image
        weight = np.where(good, 1 / star.variance(model), 0.0).ravel()
        design = np.stack([image, np.ones_like(image), state.flux * by_x, state.flux * by_y]).reshape(4, -1)
        scale = np.sqrt((weight * design**2).sum(1))
        if not (scale > 0).all():
            return None
        design /= scale[:, None]
        weighted = design * weight
        inverse = np.linalg.pinv(weighted @ design.T, rcond=1e-12, hermitian=True)
        covariance = inverse / np.outer(scale, scale)
        step = inverse @ (weighted @ (data - model - state.constant).ravel()) / scale
        state.flux += float(step[0])
        state.constant += float(step[1])
        state.offset = state.offset + np.clip(step[2:], -_STEP, _STEP)
        if not state.flux > 0 or np.abs(state.offset - start).max() > _FARTHEST:
            return None
        if np.all(np.abs(step) < _DONE * np.sqrt(np.diag(covariance))):
            return np.asarray(covariance)
    return None
