"""Which master a frame is calibrated with: of its own night, else the nearest one in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

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


def candidates(
    wanted: NightSet, kind: str, known: Iterable[NightSet], rules: SetRules, max_age: float
) -> list[NightSet]:
    """List the sets whose master may calibrate the frames of a set, the best one first.

    Parameters
    ----------
    wanted : NightSet
        The frames to calibrate.
    kind : str
        BIAS, DARK or FLAT.
    known : iterable of NightSet
        All sets that have a master or will have one.
    rules : SetRules
        How far numbers may differ.
    max_age : float
        How far away in time [d] one of another night may be.

    Returns
    -------
    list of NightSet
        Those of the same night by the distance in temperature, then those of other nights by that in time.
    """
    columns = (*rules.always, *SHARED[kind])
    fitting = [
        s
        for s in known
        if s.members.frame_type == kind
        and all(_is_alike(wanted.members, s.members, c, rules) for c in columns)
        and (s.night == wanted.night or _days(wanted, s) <= max_age)
    ]

    def order(s: NightSet) -> tuple[bool, float, float, str]:
        other = s.night != wanted.night
        warmer = _distance(wanted.members, s.members, "CCD-TEMP")
        return other, _days(wanted, s) if other else warmer, warmer, s.name

    return sorted(fitting, key=order)


def what_it_needs(
    kind: str, wanted: NightSet, known: Iterable[NightSet], rules: SetRules, max_age: float
) -> str:
    """Say which frames are missing for a set without a master, and how the nearest ones differ.

    Such as ``no flat with FILTER V in this night or within 30 d of it (flat_R_1x1_m20 has FILTER R)``.
    """
    nearest, differing = None, list[str]()
    for s in sorted(known, key=lambda s: (_days(wanted, s), s.name)):
        if s.members.frame_type == kind:
            columns = (*SHARED[kind], *rules.always)
            other = [c for c in columns if not _is_alike(wanted.members, s.members, c, rules)]
            if nearest is None or (_days(wanted, s) <= max_age and len(other) < len(differing)):
                nearest, differing = s, other
    if "SHAPE" in differing:  # what is of another shape has other sections
        differing = [c for c in differing if c != "SECTIONS"]
    where = f"in this night or within {max_age:g} d of it"
    if nearest is None:
        return f"no {kind.lower()} {where}"
    said = "; ".join(f"{c} {nearest.members.facts.get(c) or 'not known'}" for c in differing)
    of = f" of {nearest.night}" if nearest.night != wanted.night else ""
    needed = ", ".join(f"{c} {wanted.members.facts.get(c) or 'not known'}" for c in differing)
    alike = f" with {needed}" if needed else ""
    return f"no {kind.lower()}{alike} {where} ({nearest.name}{of} has {said or 'the same, but is older'})"


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
