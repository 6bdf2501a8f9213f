"""Calibration sets: which frames of a night belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from visql_lib.config.load import digest
from visql_lib.sheets.sheet import USABLE, SheetRow

_UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")
ALWAYS = ("SHAPE", "BINNING", "GAIN", "OFFSET", "READOUT")  # what no two frames of a set may differ in


@dataclass(frozen=True)
class SetRules:
    """Which facts count for the frames of each type, and how far numbers may differ.

    Parameters
    ----------
    keys : mapping
        Frame type -> columns of the sheet that count besides shape, binning, gain, offset and readout mode;
        ``EXPTIME`` is the exposure time. Types that are not named are no calibration frames.
    tolerances : mapping
        Column -> largest distance of neighbours in one set, in the column's unit; of `relative` ones it is
        a fraction of the value. Columns without one are compared as text.
    relative : tuple of str
        Columns whose tolerance is a fraction.
    """

    keys: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "BIAS": ("CCD-TEMP",),
            "DARK": ("CCD-TEMP", "EXPTIME"),
            "FLAT": ("CCD-TEMP", "FILTER"),
            "SCIENCE": ("CCD-TEMP", "FILTER", "EXPTIME", "OBJECT"),
        }
    )
    tolerances: Mapping[str, float] = field(default_factory=lambda: {"CCD-TEMP": 1.0, "EXPTIME": 0.01})
    relative: tuple[str, ...] = ("EXPTIME",)


@dataclass(frozen=True)
class CalibrationSet:
    """Frames of one type that may be combined.

    Parameters
    ----------
    frame_type : str
        Such as FLAT.
    facts : mapping
        Column -> text that all have in common; of numbers with a tolerance, their mean. "": not known.
    frames : tuple of str
        Their exposures, in order of time.
    """

    frame_type: str
    facts: Mapping[str, str]
    frames: tuple[str, ...]

    @property
    def name(self) -> str:
        """A readable name, such as ``flat_R_1x1_m20``: type, filter, time, binning, temperature, target."""
        words = [self.frame_type.lower(), self.facts.get("FILTER", "")]
        if seconds := self.facts.get("EXPTIME", ""):
            words.append(f"{float(seconds):g}s")
        words.append(self.facts.get("BINNING", "").replace(" ", "x"))
        if celsius := self.facts.get("CCD-TEMP", ""):
            words.append(f"{float(celsius):+.0f}".replace("+", "p").replace("-", "m"))
        words.append(self.facts.get("OBJECT", ""))
        return "_".join(filter(None, (_UNFIT.sub("", word) for word in words)))

    @property
    def members(self) -> str:
        """A digest of its members: changes when a frame joins or leaves."""
        return digest(*self.frames)


def calibration_sets(rows: Iterable[SheetRow], rules: SetRules | None = None) -> list[CalibrationSet]:
    """Group the usable frames of a night into calibration sets.

    Parameters
    ----------
    rows : iterable of SheetRow
        The sheet.
    rules : SetRules, optional
        Which facts count.

    Returns
    -------
    list of CalibrationSet
        By type in the order of the rules, then by name. Numbers of one set form a chain: neighbours in order
        of value are no farther apart than the tolerance. What is not known equals only what is not known.
    """
    chosen = rules or SetRules()
    usable = [row for row in rows if row.status in USABLE]
    found: list[CalibrationSet] = []
    for frame_type, keys in chosen.keys.items():
        mine = [row for row in usable if row.frame_type == frame_type]
        sets = [mine] if mine else []
        for column in (*ALWAYS, *keys):
            sets = [part for some in sets for part in _split(some, column, chosen)]
        own = [_set_of(frame_type, (*ALWAYS, *keys), some, chosen) for some in sets]
        found += sorted(own, key=lambda s: (s.name, s.frames))
    return found


def _split(rows: Sequence[SheetRow], column: str, rules: SetRules) -> list[list[SheetRow]]:
    """Split frames where a fact differs."""
    tolerance = rules.tolerances.get(column)
    if tolerance is None:
        parts: dict[str, list[SheetRow]] = {}
        for row in rows:
            parts.setdefault(_text(row, column), []).append(row)
        return list(parts.values())
    finite = (row for row in rows if math.isfinite(_number(row, column)))
    known = sorted(finite, key=lambda row: _number(row, column))
    unknown = [row for row in rows if not math.isfinite(_number(row, column))]
    chains: list[list[SheetRow]] = []
    for row in known:
        value = _number(row, column)
        reach = tolerance * abs(value) if column in rules.relative else tolerance
        if chains and value - _number(chains[-1][-1], column) <= reach:
            chains[-1].append(row)
        else:
            chains.append([row])
    return chains + ([unknown] if unknown else [])


def _set_of(
    frame_type: str, columns: Sequence[str], rows: Sequence[SheetRow], rules: SetRules
) -> CalibrationSet:
    facts = {}
    for column in columns:
        if column in rules.tolerances:
            values = [v for row in rows if math.isfinite(v := _number(row, column))]
            facts[column] = f"{sum(values) / len(values):.6g}" if values else ""
        else:
            facts[column] = _text(rows[0], column)
    ordered = sorted(rows, key=lambda row: (row.date_obs, row.exposure))
    return CalibrationSet(frame_type, facts, tuple(row.exposure for row in ordered))


def _text(row: SheetRow, column: str) -> str:
    return row.extra.get(column, "").strip()


def _number(row: SheetRow, column: str) -> float:
    if column == "EXPTIME":
        return row.exptime
    try:
        return float(_text(row, column) or "nan")
    except ValueError:
        return math.nan
