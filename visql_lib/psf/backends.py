"""What fits the PSF of a frame: VISQL's own model, or another program behind the same interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from visql_lib.psf.effective_fit import EffectiveFit, fit_effective
from visql_lib.psf.star_stamps import StarStamp
from visql_lib.psf.surface_fit import SurfaceOptions


class PSFBackend(Protocol):
    """Fits the PSF of a frame from stamps of its stars."""

    def fit(self, stars: Sequence[StarStamp], gradient: bool, fwhm: float) -> EffectiveFit:
        """Fit the PSF of one frame.

        Parameters
        ----------
        stars : sequence of StarStamp
            The PSF stars, also those that may not serve in this frame.
        gradient : bool
            Let it change over the frame, where that is possible.
        fwhm : float
            Seeing [px]; NaN: not known.

        Returns
        -------
        EffectiveFit
            The PSF, or why there is none.
        """
        ...


@dataclass(frozen=True)
class OwnPSF:
    """A Moffat and a surface of B-splines; see `fit_effective`."""

    options: SurfaceOptions

    def fit(self, stars: Sequence[StarStamp], gradient: bool, fwhm: float) -> EffectiveFit:
        """Fit the PSF of one frame; see `PSFBackend`."""
        return fit_effective(stars, self.options, gradient=gradient, fwhm=fwhm)


def psf_backend(name: str, options: SurfaceOptions) -> PSFBackend:
    """Return a backend by its name: own, starred.

    Raises
    ------
    RequestError
        If it is not known, or what it needs is not installed.
    """
    from visql_lib.errors import RequestError

    if name == "own":
        return OwnPSF(options)
    if name == "starred":
        from visql_lib.psf.starred_backend import StarredPSF

        return StarredPSF.make(options)
    raise RequestError(f"no PSF backend {name!r}; there are own, starred")
