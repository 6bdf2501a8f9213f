"""The truth of a simulated season, as columns of its tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season import Season, electrons
from visql_lib.simulate.season_bound import star_bound, target_bound
from visql_lib.simulate.season_frame import MadeSeasonFrame, spoiled
from visql_lib.simulate.season_stars import BRIGHT, SATURATING, VARIABLE

_WITH_STARS = ("", "seeing", "twilight")  # faults in which places and light of stars are what they are


def frame_rows(season: Season, suffix: str = ".fits") -> dict[str, Any]:
    """Return the columns of the frames."""
    options = season.options
    frames = [spoiled(frame, options) for frame in season.frames]
    main = [frame.psf.parts[0] for frame in frames]
    share = [sum(part.weight for part in frame.psf.parts[1:]) for frame in frames]
    texts = {
        "FRAME": [f.name for f in frames],
        "FILE": [f"raw/{options.set}/{f.name}{suffix}" for f in frames],
        "NIGHT": [f.night for f in frames],
        "FAULT": [f.fault for f in frames],
    }
    numbers = {
        "MJD": [f.mjd for f in frames],
        "EXPTIME": [f.exptime for f in frames],
        "FWHM": [p.fwhm for p in main],
        "SEEING": [p.fwhm * options.camera.scale for p in main],
        "E1": [p.e1 for p in main],
        "E2": [p.e2 for p in main],
        "BETA": [p.beta for p in main],
        "ASYMMETRY": share,
        "TRANSPARENCY": [f.transparency for f in frames],
        "SKY": [f.sky for f in frames],
        "SLOPE_X": [f.slope[0] for f in frames],
        "SLOPE_Y": [f.slope[1] for f in frames],
        "MATRIX": [f.matrix.ravel() for f in frames],
        "ANGLE": [f.turn for f in frames],
        "SCALE": [f.scale for f in frames],
    }
    named: dict[str, Any] = {key: np.array(value, dtype=object) for key, value in texts.items()}
    return named | {key: np.array(value, float) for key, value in numbers.items()}


def star_rows(season: Season) -> dict[str, Any]:
    """Return the columns of the stars."""
    stars = season.stars
    return {
        "STAR": star_names(season),
        "KIND": stars.kind,
        "X": stars.x,
        "Y": stars.y,
        "MAG": stars.mag,
        "AMPLITUDE": stars.amplitude,
    }


def star_names(season: Season) -> NDArray:
    """Return the names of the stars: s1, s2 ..."""
    return np.array([f"s{k}" for k in range(1, len(season.stars.x) + 1)], dtype=object)


def source_rows(season: Season, made: MadeSeasonFrame) -> dict[str, Any]:
    """Return the columns of point sources and stars of a frame."""
    exposure, options = made.exposure, season.options
    places = np.vstack([season.places, np.column_stack([season.stars.x, season.stars.y])])
    x, y = exposure.place(*places.T)
    image_mags = season.image_mags(np.array([exposure.mjd]))[0]
    mags = np.concatenate([image_mags, season.stars.mags(exposure.mjd)])
    names = np.concatenate([np.array(season.images, dtype=object), star_names(season)])
    seen = exposure.fault in _WITH_STARS
    bound = np.full(len(names), np.nan)
    if seen:
        n = len(season.images)
        if n:
            bound[:n] = target_bound(season, made)
        chosen = np.flatnonzero(np.isin(season.stars.kind, (BRIGHT, VARIABLE, SATURATING)))
        bound[n + chosen] = star_bound(season, made, chosen)
    return {
        "FRAME": np.full(len(names), exposure.name, dtype=object),
        "SOURCE": names,
        "MAG": mags,
        "FLUX": electrons(options, mags) * exposure.transparency,
        "X": x + 1,
        "Y": y + 1,
        "BOUND": bound,
    }


def joined(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Put the columns of several frames one after the other."""
    rows = list(parts)
    return {key: np.concatenate([part[key] for part in rows]) for key in rows[0]} if rows else {}
