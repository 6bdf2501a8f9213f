"""A season of frames of one field with known truth: stars, and a target of blended images on a galaxy.

Coordinates of the plane of the sky are pixels of the nominal scale from the target, x and y as in a frame
that is not turned; `SeasonExposure.matrix` brings them to zero-based pixels of a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.season_curves import (
    SeasonExposure,
    SourceCurve,
    exposures_of_season,
    source_curve,
)
from visql_lib.simulate.season_frame import MadeSeasonFrame, make_frame
from visql_lib.simulate.season_galaxy import GaussianParts, galaxy_parts, no_light, ring_parts
from visql_lib.simulate.season_plan import SeasonOptions
from visql_lib.simulate.season_stars import SeasonStars, star_field


@dataclass(frozen=True)
class Season:
    """A season: the same options always give the same frames.

    Attributes
    ----------
    options : SeasonOptions
    frames : tuple of SeasonExposure
        In the order of time.
    stars : SeasonStars
        Of the field.
    curve : SourceCurve
        Light of the source behind the lens.
    extended : GaussianParts
        Galaxy and ring, in electrons of an exposure through clear air.
    """

    options: SeasonOptions
    frames: tuple[SeasonExposure, ...]
    stars: SeasonStars
    curve: SourceCurve
    extended: GaussianParts

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the point sources."""
        return tuple(self.options.target.images)

    @property
    def places(self) -> NDArray:
        """Where the point sources are in the plane of the sky [px], shape (n, 2)."""
        scale = self.options.camera.scale
        places = [(i.x / scale, i.y / scale) for i in self.options.target.images.values()]
        return np.array(places).reshape(-1, 2)

    def image_mags(self, mjd: NDArray) -> NDArray:
        """Return magnitudes of the point sources at times [MJD], shape (n times, n sources)."""
        images = self.options.target.images.values()
        columns = [self.curve.magnitude(np.asarray(mjd), image) for image in images]
        return np.stack(columns, axis=-1) if columns else np.empty((len(mjd), 0))

    def image_fluxes(self) -> NDArray:
        """Return the point sources' electrons in every frame, shape (n frames, n sources)."""
        mags = self.image_mags(np.array([f.mjd for f in self.frames]))
        return electrons(self.options, mags) * np.array([[f.transparency] for f in self.frames])

    def star_fluxes(self) -> NDArray:
        """Return the stars' electrons in every frame, shape (n frames, n stars)."""
        mags = np.array([self.stars.mags(frame.mjd) for frame in self.frames])
        return electrons(self.options, mags) * np.array([[f.transparency] for f in self.frames])

    def made(self, frames: Iterable[SeasonExposure] | None = None) -> Iterator[MadeSeasonFrame]:
        """Make frames one after the other; none: all of them."""
        for frame in self.frames if frames is None else frames:
            yield make_frame(self, frame)


def electrons(options: SeasonOptions, mags: NDArray) -> NDArray:
    """Return electrons of an exposure through clear air."""
    camera = options.camera
    return np.asarray(camera.exptime * 10 ** (0.4 * (camera.zero_point - np.asarray(mags))))


def make_season(options: SeasonOptions) -> Season:
    """Return a season: its truth at once, its frames from `Season.made`."""
    frames = exposures_of_season(options)
    curve = source_curve(options, np.array([frame.mjd for frame in frames]))
    scale, target, light = options.camera.scale, options.target, no_light()
    if (galaxy := target.galaxy) is not None:
        light += galaxy_parts(galaxy, float(electrons(options, np.array(galaxy.mag))), scale)
    if (ring := target.ring) is not None:
        light += ring_parts(ring, float(electrons(options, np.array(ring.mag))), scale)
    return Season(options, frames, star_field(options), curve, light)
