"""Places that a target's file tells, brought to the reference: point sources, stars, masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visql_lib.errors import TargetError
from visql_lib.pipelines.lightcurves.reference_file import Box
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.sky.alignment import Alignment, moved
from visql_lib.sky.header_wcs import HeaderWCS

_CLOSEST = 0.4  # px, between point sources
Place = tuple[float, float]


@dataclass(frozen=True)
class ReferencePlaces:
    """How places come to the reference.

    Parameters
    ----------
    target : Target
    reference : str
        The reference frame.
    shape : (int, int)
        Its rows and columns.
    aligned : mapping
        Frame -> its alignment with the reference, of all frames that are used.
    wcs : mapping
        Cards of the WCS of the reference; empty: none.
    """

    target: Target
    reference: str
    shape: tuple[int, int]
    aligned: Mapping[str, Alignment]
    wcs: Mapping[str, Any]

    def point_sources(self) -> dict[str, Place]:
        """Return where the point sources are in the reference, zero-based.

        Raises
        ------
        TargetError
            If a frame that is named does not fit the reference, the reference has no WCS where one is
            needed, or two of them are closer than 0.4 px.
        """
        found: dict[str, Place] = {}
        for name, source in self.target.point_sources.items():
            if source.on_sky:
                found[name] = self._from_sky(name, float(source.east or 0), float(source.north or 0))
            else:
                found[name] = self.carried(float(source.x or 0), float(source.y or 0), "")
        names = list(found)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                apart = math.dist(found[first], found[second])
                if apart < _CLOSEST:
                    raise TargetError(
                        f"{self.target.name}: point sources {first} and {second} are {apart:.2f} px apart, "
                        f"at least {_CLOSEST} are needed: no fit can tell them apart; see point_sources"
                    )
        return found

    def _from_sky(self, name: str, east: float, north: float) -> Place:
        if not self.wcs:
            raise TargetError(
                f"{self.target.name}: point source {name} is told on the sky, but the reference "
                f"{self.reference} has no WCS; give x and y in px, with on: FRAME"
            )
        from astropy import units
        from astropy.coordinates import SkyCoord

        centre = SkyCoord(self.target.ra, self.target.dec, unit="deg")
        at = centre.spherical_offsets_by(east * units.arcsec, north * units.arcsec)
        try:
            wcs = HeaderWCS.from_header(self.wcs, self.shape)
        except ValueError as error:
            raise TargetError(
                f"{self.target.name}: the WCS of the reference {self.reference} cannot be used ({error}); "
                "give x and y in px, with on: FRAME"
            ) from error
        x, y = wcs.to_pixel(at.ra.deg, at.dec.deg)
        if not (np.isfinite(x) and np.isfinite(y)):
            raise TargetError(
                f"{self.target.name}: point source {name} is outside of the reference {self.reference} by "
                "its WCS; check ra and dec"
            )
        return float(x), float(y)

    def carried(self, x: float, y: float, on: str) -> Place:
        """Bring a one-based place of a frame ("": that of the target's file) to the reference, zero-based.

        Raises
        ------
        TargetError
            If that frame is none that is used, or does not fit the reference.
        """
        frame = on or self.target.on
        if frame in (AUTO, self.reference):
            return x - 1, y - 1
        to_x, to_y = moved(self._alignment(frame).matrix, x - 1, y - 1)
        return float(to_x), float(to_y)

    def masks(self) -> tuple[Box, ...]:
        """Return the user's masks in the reference: x, y, radius; see `carried`."""
        found = []
        for mask in self.target.masks:
            x, y = self.carried(mask.x, mask.y, mask.on)
            frame = mask.on or self.target.on
            same = frame in (AUTO, self.reference)
            found.append((x, y, mask.radius * (1.0 if same else self._alignment(frame).scale)))
        return tuple(found)

    def _alignment(self, frame: str) -> Alignment:
        if frame not in self.aligned:
            raise TargetError(
                f"{self.target.name}: on: {frame!r} is no frame that can be used; give places in another one"
            )
        alignment = self.aligned[frame]
        if not alignment:
            raise TargetError(
                f"{self.target.name}: on: {frame!r} does not fit the reference {self.reference} "
                f"({alignment.reason}); give places in another frame"
            )
        return alignment
