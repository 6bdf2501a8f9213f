"""The stars of a simulated season's field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season_plan import SeasonOptions

BRIGHT, FAINT, VARIABLE, COMPANION, SATURATING = "bright", "faint", "variable", "companion", "saturating"
_APART, _APART_FROM_BRIGHTEST = 26.0, 48.0  # px between bright stars, and from one that saturates
_CLEAR = 17.0  # px around the target, without any star
_BORDER = 38.0  # px within the frame, where bright stars end
_SATURATING = 13.0  # mag
_PERIOD = 17.0  # d, of variable stars
_TRIES = 4000


@dataclass(frozen=True)
class SeasonStars:
    """Stars in the plane of the sky.

    Attributes
    ----------
    x, y : array, shape (n,)
        From the target [px].
    mag : array, shape (n,)
        Mean magnitude.
    amplitude : array, shape (n,)
        Half the range of a sine [mag]; 0: constant.
    phase : array, shape (n,)
        Of it, at MJD 0 [rad].
    kind : array of str, shape (n,)
        bright, faint, variable, companion (a faint one, beside a bright one), saturating.
    """

    x: NDArray
    y: NDArray
    mag: NDArray
    amplitude: NDArray
    phase: NDArray
    kind: NDArray

    def mags(self, mjd: float) -> NDArray:
        """Return the magnitudes at a time [MJD]."""
        return np.asarray(self.mag + self.amplitude * np.sin(2 * np.pi * mjd / _PERIOD + self.phase))


def star_field(options: SeasonOptions, number: int = 0) -> SeasonStars:
    """Draw the stars; another `number` is another field, without the bright stars' order."""
    rng = np.random.default_rng([options.seed, 53, number])
    stars = options.stars
    brightest = _far_apart(options, stars.saturating, np.empty((0, 2)), rng)
    others = _far_apart(options, stars.bright, brightest, rng)
    n, places = len(others), np.vstack([others, brightest])
    mag = np.sort(rng.uniform(stars.brightest, stars.faintest, n))
    kinds = [BRIGHT] * n
    for k in rng.permutation(n)[: stars.variable]:
        kinds[k] = VARIABLE
    # A star that is seen to have a companion must be bright enough for it to be seen.
    constant = [k for k in range(n) if kinds[k] == BRIGHT]
    doubles = np.array(constant[1 : 1 + stars.companions], int)
    angle = rng.uniform(0, 2 * np.pi, len(doubles))
    away = stars.companion / options.camera.scale
    beside = places[doubles] + away * np.column_stack([np.cos(angle), np.sin(angle)])
    ratio = max(stars.ratio, 1e-9)
    reach = 0.5 * np.hypot(options.camera.columns, options.camera.rows)
    # Numbers grow by 0.3 dex per magnitude.
    low = 10 ** (0.3 * (stars.faintest - stars.limit))
    faint = stars.limit + np.log10(rng.uniform(low, 1, stars.faint)) / 0.3
    away_from_target = _ring(rng, stars.faint, _CLEAR, reach)
    kinds += [SATURATING] * (len(places) - n) + [COMPANION] * len(doubles) + [FAINT] * stars.faint
    x, y = np.concatenate([places, beside, away_from_target]).T
    kind = np.array(kinds, dtype=object)
    return SeasonStars(
        x=x,
        y=y,
        mag=np.concatenate(
            [mag, np.full(len(places) - n, _SATURATING), mag[doubles] - 2.5 * np.log10(ratio), faint]
        ),
        amplitude=np.where(kind == VARIABLE, stars.amplitude, 0.0),
        phase=rng.uniform(0, 2 * np.pi, len(kind)),
        kind=kind,
    )


def _far_apart(options: SeasonOptions, n: int, brightest: NDArray, rng: np.random.Generator) -> NDArray:
    """Draw places within the frame, far from each other, the target and the brightest, shape (up to n, 2)."""
    half = np.array([options.camera.columns, options.camera.rows]) / 2 - _BORDER
    found: list[NDArray] = []
    for _ in range(_TRIES):
        if len(found) == n:
            break
        place = rng.uniform(-half, half)
        near = any(np.hypot(*(other - place)) < _APART for other in found)
        near |= any(np.hypot(*(other - place)) < _APART_FROM_BRIGHTEST for other in brightest)
        if not near and np.hypot(*place) > options.stars.clear:
            found.append(place)
    return np.array(found).reshape(-1, 2)


def _ring(rng: np.random.Generator, n: int, inner: float, outer: float) -> NDArray:
    """Draw places evenly between two circles about the target, shape (n, 2)."""
    radius = np.sqrt(rng.uniform(inner**2, outer**2, n))
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
