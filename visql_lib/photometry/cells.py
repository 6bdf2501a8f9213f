"""Bins of time, focal plane and sky in which stars are gathered.

A bin is a whole number from 0 and a name; -1 stands for "in none".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.instruments.model import Instrument

TIMES = ("exposure", "day", "week", "month", "all")
SPACES = ("hexagon", "quadrant", "ccd", "block", "fpa")
FIELDS = ("all", "selfcal")

_CCDS_PER_BLOCK = 2  # along each axis


@dataclass(frozen=True)
class Bins:
    """Bins of one kind: the bin of every item, and the names of the bins."""

    code: NDArray[np.intp]  # (n,) index into `names`; -1: in none
    names: NDArray  # (m,) str

    @classmethod
    def of_names(cls, names: ArrayLike) -> Self:
        """Return a bin per distinct name, sorted; an empty name is in none."""
        found, code = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
        if len(found) and found[0] == "":
            return cls(code - 1, found[1:])
        return cls(code, found)


def time_bins(kind: str, names: ArrayLike, dates: ArrayLike) -> Bins:
    """Say in which bin of time exposures are.

    Parameters
    ----------
    kind : str
        One of `TIMES`. Days and months are those of UTC, weeks go from Thursday to
        Thursday.
    names : array_like of str, shape (n,)
        Of the exposures.
    dates : array_like of datetime64, shape (n,)
        DATE_OBS, UTC. One without date (NaT) is in no day, week or month.

    Returns
    -------
    Bins
        Named by the exposure, YYYY-MM-DD (of a week: its Thursday), YYYY-MM, or ``all``.
    """
    names, dates = np.asarray(names, dtype=np.str_), np.asarray(dates, dtype="datetime64[us]")
    if kind == "exposure":
        return Bins.of_names(names)
    if kind == "all":
        return Bins.of_names(np.full(len(names), "all"))
    if kind == "month":
        start = dates.astype("datetime64[M]")
    elif kind == "week":
        start = _thursday(dates)
    elif kind == "day":
        start = dates.astype("datetime64[D]")
    else:
        raise ValueError(f"{kind!r} is none of {', '.join(TIMES)}")
    return Bins.of_names(np.where(np.isnat(dates), "", np.datetime_as_string(start)))


def _thursday(dates: NDArray) -> NDArray:
    days = dates.astype("datetime64[D]")
    # Day 0 of the calendar, 1970-01-01, was a Thursday.
    into_week = np.where(np.isnat(days), 0, days.astype(np.int64) % 7)
    return days - into_week.astype("timedelta64[D]")


@dataclass(frozen=True)
class HexagonGrid:
    """A honeycomb over the focal plane, one hexagon centred at its middle, one corner up.

    A hexagon is named ``p,q``; its centre is at (p/2, q sqrt(3)/2) widths, and p + q
    is even.
    """

    width: float  # deg, between opposite sides; also the distance of neighbours' centres

    @property
    def row_height(self) -> float:
        """Distance [deg] of rows of hexagons."""
        return self.width * np.sqrt(3) / 2

    def indices(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (p, q) of the hexagon at each finite focal-plane position [deg]."""
        u = np.asarray(x, dtype=float) / (0.5 * self.width)
        v = np.asarray(y, dtype=float) / self.row_height
        # Centres form two rectangular lattices, of even and of odd numbers; the nearer centre counts.
        candidates = []
        for odd in (0, 1):
            p, q = (2 * np.round((w - odd) / 2) + odd for w in (u, v))
            candidates.append((p, q, (u - p) ** 2 + 3 * (v - q) ** 2))
        (p0, q0, d0), (p1, q1, d1) = candidates
        even = d0 <= d1
        return np.where(even, p0, p1).astype(np.int64), np.where(even, q0, q1).astype(np.int64)

    def bins(self, x: NDArray, y: NDArray) -> Bins:
        """Return the hexagon of each position [deg]; a position that is not finite is in none."""
        finite = np.isfinite(x) & np.isfinite(y)
        p, q = self.indices(x[finite], y[finite])
        # One number per hexagon, much faster to sort than names.
        span = 2 * int(np.abs(p).max(initial=0)) + 1
        keys, inverse = np.unique(q * span + p + span // 2, return_inverse=True)
        code = np.full(len(x), -1, dtype=np.intp)
        code[finite] = inverse
        rows = np.floor_divide(keys, span)
        names = [f"{key - row * span - span // 2},{row}" for key, row in zip(keys, rows, strict=True)]
        return Bins(code, np.array(names, dtype=np.str_))

    def centres(self, names: Sequence[str] | NDArray) -> tuple[NDArray, NDArray]:
        """Return x, y [deg] of the centres of hexagons, by name."""
        pq = np.array([str(name).split(",") for name in names], dtype=float).reshape(-1, 2)
        return pq[:, 0] * 0.5 * self.width, pq[:, 1] * self.row_height


@dataclass(frozen=True)
class FocalPlaneCells:
    """How the focal plane is divided: quadrants, CCDs, blocks of 2 x 2 CCDs, hexagons.

    A star is in the quadrant its frame says, hence in a CCD; its block and hexagon
    follow from its position. Blocks are named by the columns and then the rows of
    their CCDs, as the original does: 1234 is columns 1-2, rows 3-4.
    """

    ccd_of: Mapping[str, str]  # by quadrant
    cuts_x: tuple[float, ...]  # deg, ascending, between blocks
    cuts_y: tuple[float, ...]
    hexagons: HexagonGrid

    @classmethod
    def of(
        cls,
        instrument: Instrument,
        hexagons: int = 40,
        cuts_x: tuple[float, ...] | None = None,
        cuts_y: tuple[float, ...] | None = None,
    ) -> Self:
        """Return the cells of an instrument.

        Parameters
        ----------
        instrument : Instrument
            Names its quadrants and CCDs, and says how wide its focal plane is.
        hexagons : int, optional
            Hexagons across the focal plane.
        cuts_x, cuts_y : tuple of float, optional
            Cuts between blocks [deg]. By default the instrument's, else at the edge of
            every third, fifth, ... CCD.
        """
        g = instrument.geometry
        edges_x = _edges(g.ccd_columns, g.origin_x, g.ccd_pitch_x)
        edges_y = _edges(g.ccd_rows, g.origin_y, g.ccd_pitch_y)
        facts = instrument.photometry
        return cls(
            {name: quadrant.ccd for name, quadrant in instrument.quadrants.items()},
            cuts_x or facts.block_cuts_x or edges_x,
            cuts_y or facts.block_cuts_y or edges_y,
            HexagonGrid(g.ccd_columns * g.ccd_pitch_x / hexagons),
        )

    @cached_property
    def block_names(self) -> NDArray:
        """Names of the blocks, shape (blocks along x, blocks along y)."""
        columns, rows = ([_digits(i) for i in range(len(c) + 1)] for c in (self.cuts_x, self.cuts_y))
        return np.array([[column + row for row in rows] for column in columns])

    def bins(self, kind: str, ext: ArrayLike, x: ArrayLike, y: ArrayLike) -> Bins:
        """Say in which bin of space stars are.

        Parameters
        ----------
        kind : str
            One of `SPACES`.
        ext : array_like of str, shape (n,)
            Quadrant. One the instrument does not have is in no quadrant or CCD.
        x, y : array_like, shape (n,)
            Focal-plane position [deg]; where it is not finite, in no block or hexagon.
        """
        if kind == "fpa":
            return Bins(np.zeros(len(np.asarray(ext)), dtype=np.intp), np.array(["fpa"]))
        if kind in ("quadrant", "ccd"):
            by_name = Bins.of_names(ext)
            known = [self.ccd_of.get(str(name), "") for name in by_name.names]
            if kind == "quadrant":
                known = [str(n) if ccd else "" for n, ccd in zip(by_name.names, known, strict=True)]
            # Quadrants are few: bins of their names, then the stars' through them.
            names = Bins.of_names([*known, ""])
            return Bins(names.code[by_name.code], names.names)
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if kind == "hexagon":
            return self.hexagons.bins(x, y)
        if kind == "block":
            return self._blocks(x, y)
        raise ValueError(f"{kind!r} is none of {', '.join(SPACES)}")

    def _blocks(self, x: NDArray, y: NDArray) -> Bins:
        column, row = np.searchsorted(self.cuts_x, x), np.searchsorted(self.cuts_y, y)
        code = np.where(np.isfinite(x) & np.isfinite(y), column * len(self.block_names[0]) + row, -1)
        return Bins(code, self.block_names.ravel())


def _edges(n_ccds: int, origin: float, pitch: float) -> tuple[float, ...]:
    """Return where the first CCD of every block but the first begins [deg]."""
    return tuple(origin + i * pitch for i in range(_CCDS_PER_BLOCK, n_ccds, _CCDS_PER_BLOCK))


def _digits(block: int) -> str:
    first = block * _CCDS_PER_BLOCK + 1
    return "".join(str(first + i) for i in range(_CCDS_PER_BLOCK))
