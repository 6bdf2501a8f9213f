"""The position of a spacecraft: a table, interpolated in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DAY = np.timedelta64(86_400_000_000, "us")
_LARGEST_GAP = 7.0  # d: an orbit about L2 bends little in so long, and a longer gap is a hole in the table


@dataclass(frozen=True)
class Ephemeris:
    """Positions of a spacecraft at some times.

    ``time`` (UTC, ascending, shape (n,)), ``position`` (barycentric ICRS, km,
    shape (n, 3)); ``source`` says where they come from.
    """

    time: NDArray[np.datetime64]
    position: NDArray[np.float64]
    source: str = "ephemeris"

    @classmethod
    def of(cls, time: ArrayLike, position: ArrayLike, source: str = "ephemeris") -> Ephemeris:
        """Make an ephemeris of positions in any order; unknown ones and repeated times are left out."""
        moments = np.asarray(time, dtype="datetime64[us]").ravel()
        places = np.asarray(position, dtype=float).reshape(-1, 3)
        if len(moments) != len(places):
            raise ValueError(f"{len(moments)} times for {len(places)} positions")
        keep = ~np.isnat(moments) & np.isfinite(places).all(axis=1)
        unique, first = np.unique(moments[keep], return_index=True)
        return cls(unique, places[keep][first], source)

    @property
    def span(self) -> str:
        """First and last time, in words."""
        if not len(self.time):
            return "no time"
        first, last = (np.datetime_as_string(t, unit="s") for t in (self.time[0], self.time[-1]))
        return f"{first} to {last}"

    def at(self, time: ArrayLike) -> NDArray[np.float64]:
        """Interpolate positions at times.

        Parameters
        ----------
        time : array_like of datetime64, shape (m,)
            UTC.

        Returns
        -------
        array, shape (m, 3)
            Barycentric ICRS [km], interpolated by cubics through the four nearest rows; NaN
            outside the table's span, in its gaps of more than a week, and for NaT.
        """
        wanted = np.atleast_1d(np.asarray(time, dtype="datetime64[us]"))
        found = np.full((len(wanted), 3), np.nan)
        if len(self.time):
            inside = (wanted >= self.time[0]) & (wanted <= self.time[-1])
            found[inside] = self._between(wanted[inside])
        return found

    def _between(self, wanted: NDArray) -> NDArray[np.float64]:
        known = (self.time - self.time[0]) / _DAY
        when = (wanted - self.time[0]) / _DAY
        n = len(known)
        if n == 1:
            return np.broadcast_to(self.position[0], (len(when), 3)).copy()
        right = np.clip(np.searchsorted(known, when, side="left"), 1, n - 1)
        used = min(4, n)
        first = np.clip(right - used // 2, 0, n - used)
        rows = first[:, np.newaxis] + np.arange(used)
        x = known[rows]
        weights = np.ones_like(x)
        for i in range(used):
            for j in range(used):
                if i != j:
                    weights[:, i] *= (when - x[:, j]) / (x[:, i] - x[:, j])
        found = (weights[..., np.newaxis] * self.position[rows]).sum(axis=1)
        exact = (known[right] == when) | (known[right - 1] == when)
        gap = (known[right] - known[right - 1] > _LARGEST_GAP) & ~exact
        found[gap] = np.nan
        return found
