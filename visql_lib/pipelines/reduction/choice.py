"""Which master a frame is calibrated with: of its own night, else the nearest one in time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from visql_lib.pipelines.reduction.sets import CalibrationSet, SetRules

# What a set must share with the frames it is for, besides shape, binning and settings of the camera.
SHARED = {"BIAS": ("CCD-TEMP",), "DARK": ("CCD-TEMP",), "FLAT": ("FILTER",)}
_DAY = 86400.0


@dataclass(frozen=True)
class NightSet:
    """A calibration set of a night, and the start of its first frame."""

    night: str
    members: CalibrationSet
    start: datetime

    @property
    def name(self) -> str:
        """Its name, unique in its night."""
        return self.members.name


class MasterPool:
    """The sets that have a master or will have one, and which of them fit other frames.

    Parameters
    ----------
    known : iterable of NightSet
        All of them.
    rules : SetRules
        How far numbers may differ.
    max_age : float
        How far away in time [d] one of another night may be.
    """

    def __init__(self, known: Iterable[NightSet], rules: SetRules, max_age: float) -> None:
        self.rules, self.max_age = rules, max_age
        self._kinds: dict[str, list[NightSet]] = {}
        self._alike: dict[
            tuple[str, ...], list[NightSet]
        ] = {}  # years of nights: only those alike are looked at
        for s in sorted(known, key=lambda s: (s.start, s.name)):
            kind = s.members.frame_type
            self._kinds.setdefault(kind, []).append(s)
            if kind in SHARED:
                self._alike.setdefault(self._key(kind, s.members), []).append(s)

    def fitting(self, kind: str, wanted: NightSet) -> list[NightSet]:
        """List the sets whose master may calibrate the frames of a set, the best one first.

        Parameters
        ----------
        kind : str
            BIAS, DARK or FLAT.
        wanted : NightSet
            The frames to calibrate.

        Returns
        -------
        list of NightSet
            Those of the same night by the distance in temperature, then those of others by that in time.
        """
        near = _around(self._alike.get(self._key(kind, wanted.members), []), wanted, self.max_age)
        fitting = [s for s in near if not self._differing(kind, wanted, s)]

        def order(s: NightSet) -> tuple[bool, float, float, str]:
            other = s.night != wanted.night
            warmer = _distance(wanted.members, s.members, "CCD-TEMP")
            return other, _days(wanted, s) if other else warmer, warmer, s.name

        return sorted(fitting, key=order)

    def lacking(self, kind: str, wanted: NightSet) -> str:
        """Say which frames are missing for a set without a master, and how the nearest ones differ.

        Such as ``no flat with FILTER V in this night or within 30 d of it (flat_R_1x1_m20 has FILTER R)``.
        """
        where = f"in this night or within {self.max_age:g} d of it"
        kinds = self._kinds.get(kind, [])
        if not kinds:
            return f"no {kind.lower()} {where}"
        near = _around(kinds, wanted, self.max_age) or kinds
        nearest = min(near, key=lambda s: (len(self._differing(kind, wanted, s)), _days(wanted, s), s.name))
        differing = self._differing(kind, wanted, nearest)
        if "SHAPE" in differing:  # what is of another shape has other sections
            differing = [c for c in differing if c != "SECTIONS"]
        needed = ", ".join(f"{c} {wanted.members.facts.get(c) or 'not known'}" for c in differing)
        said = "; ".join(f"{c} {nearest.members.facts.get(c) or 'not known'}" for c in differing)
        of = f" of {nearest.night}" if nearest.night != wanted.night else ""
        told = f"has {said}" if said else "fits, but is farther away in time, or failed"
        return f"no {kind.lower()}{' with ' * bool(needed)}{needed} {where} ({nearest.name}{of} {told})"

    def _columns(self, kind: str) -> tuple[str, ...]:
        return (*SHARED[kind], *self.rules.always)

    def _key(self, kind: str, members: CalibrationSet) -> tuple[str, ...]:
        """Return what must be equal, beside numbers with a tolerance."""
        exact = (c for c in self._columns(kind) if c not in self.rules.tolerances)
        return kind, *(members.facts.get(c, "") for c in exact)

    def _differing(self, kind: str, a: NightSet, b: NightSet) -> list[str]:
        """List the facts in which two sets differ."""
        return [c for c in self._columns(kind) if not _is_alike(a.members, b.members, c, self.rules)]


def _around(ordered: Sequence[NightSet], wanted: NightSet, max_age: float) -> list[NightSet]:
    """Select, of sets in order of time, those of the same night or near enough."""
    reach = timedelta(days=max(max_age, 1.0))  # a night is no longer than a day
    first = bisect_left(ordered, wanted.start - reach, key=lambda s: s.start)
    last = bisect_right(ordered, wanted.start + reach, key=lambda s: s.start)
    return [s for s in ordered[first:last] if s.night == wanted.night or _days(wanted, s) <= max_age]


def start_of_set(starts: Sequence[str]) -> datetime:
    """Return the start of the first frame of a set (UTC), of those of all."""
    return min(datetime.fromisoformat(text) for text in starts)


def _days(a: NightSet, b: NightSet) -> float:
    return abs((a.start - b.start).total_seconds()) / _DAY


def _is_alike(a: CalibrationSet, b: CalibrationSet, column: str, rules: SetRules) -> bool:
    """Say whether two sets agree in a fact; what is not known equals only what is not known."""
    one, other = a.facts.get(column, ""), b.facts.get(column, "")
    tolerance = rules.tolerances.get(column)
    if tolerance is None or not one or not other:
        return one == other
    return _distance(a, b, column) <= tolerance.reach(float(one))


def _distance(a: CalibrationSet, b: CalibrationSet, column: str) -> float:
    one, other = a.facts.get(column, ""), b.facts.get(column, "")
    return abs(float(one) - float(other)) if one and other else 0.0 if one == other else math.inf
