"""What a camera that watches the sky adds to its file: quadrants, apertures, limits, its science field."""

from __future__ import annotations

import math

from pydantic import model_validator

from visql_lib.instruments.facts import Facts, fact


class GuideFacts(Facts):
    """A wide-field camera whose stars tell how clear and how bright the sky is.

    Positions are pixels, zero-based, from the centre of the first. Quadrants are numbered 1 upper right, 2
    upper left, 3 lower left, 4 lower right; 0 is the whole frame.
    """

    columns: int = fact("px", gt=0)
    rows: int = fact("px", gt=0)
    split_x: float = fact("px")  # a position exactly there belongs to the left quadrants
    split_y: float = fact("px")  # ... to the lower ones
    read_noise: tuple[float, float, float, float] = fact("adu")  # of quadrants 1 to 4
    raw_limit: float = fact("adu", gt=0)  # raw pixels from here on are saturated
    apertures: tuple[float, ...] = fact("px", min_length=1)  # radii
    standard_aperture: int = fact("", ge=0)  # its index; where only one is made, it is that one
    annulus: tuple[float, float] = fact("px")  # inner and outer radius
    aperture_correction: float = fact("mag")  # zero point of the largest aperture less the standard one's
    colour_coefficient: float = fact("")  # G' = G + coefficient (BP - RP)
    depth: float = fact("mag")  # faintest star [G] after depth_time
    depth_time: float = fact("s", gt=0)
    depth_slope: float = fact("mag")  # per factor of ten of the exposure time
    depth_limits: tuple[float, float] = fact("mag")  # [G]
    centroid_box: float = fact("px", gt=0)  # side of the box of the first moments
    centroid_sigma: float = fact("px", gt=0)  # of the Gaussian weight
    centroid_tolerance: float = fact("px", gt=0)  # the centroid has converged
    shift_limits: tuple[float, float] = fact("px")  # of the centroid along each axis: in the centre, at most
    shift_growth: float = fact("px")  # of that limit, at shift_radius from the frame's centre
    shift_radius: float = fact("px", gt=0)
    science_name: str = fact("", pattern="^[a-z][a-z0-9_]*$")
    science_radius: float = fact("px", gt=0)  # around the frame's centre
    dome_level: float = fact("adu/s")  # blocks below are dark
    dome_share: float = fact("", gt=0, lt=1)  # of the frame that must be dark for a dome
    dome_cell: int = fact("px", ge=1)
    standard_exposure: float = fact("s", gt=0)
    zero_point: float = fact("mag")  # nominal, for 1 ADU/s
    time_zone_name: str = fact("")  # as telemetry writes it

    @model_validator(mode="after")
    def _consistent(self) -> GuideFacts:
        if self.standard_aperture >= len(self.apertures):
            raise ValueError(f"standard_aperture: there are apertures 0 to {len(self.apertures) - 1}")
        if list(self.apertures) != sorted(set(self.apertures)) or self.apertures[0] <= 0:
            raise ValueError("apertures: write radii from the smallest to the largest")
        if not self.apertures[-1] <= self.annulus[0] < self.annulus[1]:
            raise ValueError("annulus: write an inner radius beyond all apertures, and a larger outer one")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns

    @property
    def centre(self) -> tuple[float, float]:
        """x, y of the frame's centre [px]."""
        return (self.columns - 1) / 2, (self.rows - 1) / 2

    def faintest(self, exptime: float) -> float:
        """Return the faintest star [G, mag] that is measured after an exposure time [s]."""
        low, high = self.depth_limits
        return min(max(self.depth + self.depth_slope * math.log10(exptime / self.depth_time), low), high)
