"""The effective PSF of a frame from stamps of its stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from visql_lib.psf.effective import EffectivePSF
from visql_lib.psf.moffat_fit import MoffatFit, fit_moffat
from visql_lib.psf.star_stamps import LEAST_CORE, StarStamp, width_of
from visql_lib.psf.surface_fit import SurfaceOptions, fit_surface

FEWEST, FEWEST_GRADIENT = 3, 8
SHARP = 2.5  # px, FWHM below which nodes are finer and the Moffat is integrated over pixels
_FINE = 0.5  # px

__all__ = ["FEWEST", "FEWEST_GRADIENT", "EffectiveFit", "fit_effective", "gradient_gain", "usable_stars"]


@dataclass(frozen=True)
class EffectiveFit:
    """The PSF of a frame, or why it has none.

    Attributes
    ----------
    psf : EffectivePSF or None
    reason : str
        Why there is none; "": there is one.
    chi2 : float
        Per pixel of the PSF stars; NaN without PSF.
    used : tuple of str
        The stars it is made of.
    left_out : dict of str to str
        The others, with the reason.
    """

    psf: EffectivePSF | None
    reason: str = ""
    chi2: float = float("nan")
    used: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def usable_stars(stars: Sequence[StarStamp], fwhm: float) -> tuple[list[StarStamp], dict[str, str]]:
    """Leave out stars of which most of the core is masked or saturated, or that are outside.

    Parameters
    ----------
    stars : sequence of StarStamp
    fwhm : float
        Seeing [px].

    Returns
    -------
    kept : list of StarStamp
    left_out : dict of str to str
        Names of the others, with the reason.
    """
    kept, left_out = [], {}
    star_like = EffectivePSF(fwhm, 0.0, 0.0, 3.0)
    for star in stars:
        dx, dy = star.offset
        if not (np.isfinite(star.rms) and star.rms > 0):
            left_out[star.name] = "the noise of the background is not known"
        elif not max(abs(dx), abs(dy)) < star.half:
            left_out[star.name] = "outside its stamp"
        else:
            part, saturated = star.core(star_like.stamp(dx, dy, star.half))
            if saturated:
                left_out[star.name] = "saturated"
            elif part < LEAST_CORE:
                left_out[star.name] = f"only {100 * part:.0f} % of its core can be used"
            else:
                kept.append(star)
    return kept, left_out


def first_width(stars: Sequence[StarStamp]) -> float:
    """Guess the seeing from the stars [px]; NaN: none has a peak."""
    widths = np.array([width_of(star) for star in stars])
    widths = widths[np.isfinite(widths)]
    return float(np.median(widths)) if len(widths) else float("nan")


def fit_effective(
    stars: Sequence[StarStamp],
    options: SurfaceOptions | None = None,
    *,
    gradient: bool = False,
    fwhm: float | None = None,
) -> EffectiveFit:
    """Fit the PSF of a frame: a Moffat, then a surface.

    Parameters
    ----------
    stars : sequence of StarStamp
        The PSF stars, also those that may not serve in this frame.
    options : SurfaceOptions, optional
    gradient : bool
        Let width and shape change linearly over the frame, if eight stars or more serve.
    fwhm : float, optional
        First guess of the seeing [px]; else from the stars.

    Returns
    -------
    EffectiveFit
        Fewer than three stars, or no Moffat that fits them: no PSF, and the reason.
    """
    guess = first_width(stars) if fwhm is None or not fwhm > 0 else fwhm
    if not np.isfinite(guess):
        return EffectiveFit(None, "no PSF star has a peak" if len(stars) else "no PSF star is in the frame")
    kept, left_out = usable_stars(stars, guess)
    if len(kept) < FEWEST:
        return EffectiveFit(None, _too_few(kept, left_out), left_out=left_out)
    sloped = gradient and len(kept) >= FEWEST_GRADIENT
    moffat = fit_moffat(kept, guess, sloped, guess < SHARP)
    sharp = bool(moffat.shape[0] < SHARP)
    if moffat.converged and sharp != (guess < SHARP):
        moffat = fit_moffat(kept, float(moffat.shape[0]), sloped, sharp)
    if reason := _unfit(moffat, min(star.half for star in kept)):
        return EffectiveFit(None, reason, left_out=left_out)
    fwhm, e1, e2, beta = (float(v) for v in moffat.shape)
    psf = EffectivePSF(
        fwhm,
        e1,
        e2,
        beta,
        pitch=_FINE if sharp else 1.0,
        integrated=sharp,
        gradient=moffat.slopes if sloped else None,
        centre=moffat.centre,
    )
    near = [star.within(fwhm) for star in kept]
    found = fit_surface(psf, near, moffat.offsets, options or SurfaceOptions())
    return EffectiveFit(
        found.psf,
        chi2=found.chi2 / max(found.n_pixels, 1),
        used=tuple(star.name for star in kept),
        left_out=left_out,
    )


def gradient_gain(stars: Sequence[StarStamp], fwhm: float | None = None) -> tuple[float, float] | None:
    """Tell what a gradient gains in a frame.

    Parameters
    ----------
    stars : sequence of StarStamp
    fwhm : float, optional
        First guess of the seeing [px].

    Returns
    -------
    gain : float
        Decrease of chi^2 of the Moffat by the six parameters of a gradient, over chi^2 per pixel.
    limit : float
        6 ln n, n the pixels: what the Bayesian information criterion asks for.

    None where it cannot be told: fewer than eight stars, or no Moffat fits.
    """
    guess = first_width(stars) if fwhm is None or not fwhm > 0 else fwhm
    if not np.isfinite(guess):
        return None
    kept, _ = usable_stars(stars, guess)
    if len(kept) < FEWEST_GRADIENT:
        return None
    plain, sloped = (fit_moffat(kept, guess, gradient, guess < SHARP) for gradient in (False, True))
    if not (plain.converged and sloped.converged):
        return None
    scale = max(sloped.chi2 / max(sloped.n_pixels, 1), 1e-9)
    return (plain.chi2 - sloped.chi2) / scale, 6 * float(np.log(max(sloped.n_pixels, 2)))


def _too_few(kept: Sequence[StarStamp], left_out: dict[str, str]) -> str:
    why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
    text = f"{len(kept)} PSF stars can be used, at least {FEWEST} are needed"
    return f"{text} ({why})" if why else text


def _unfit(moffat: MoffatFit, half: int) -> str:
    """Tell why a Moffat is no PSF; "": it is one."""
    fwhm = float(moffat.shape[0])
    if not moffat.converged:
        return "no Moffat fits the PSF stars: trailed, or not stars"
    if not 0.7 < fwhm < half:
        return f"the PSF stars have a FWHM of {fwhm:.1f} px, stamps of {2 * half + 1} px"
    if not (moffat.fluxes > 0).all():
        return "a PSF star has no positive flux"
    return ""
