"""Calibration sets: which frames of a night belong together."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from visql_lib.config.load import digest
from visql_lib.instruments.sets import TIME, SetRules
from visql_lib.sheets.sheet import USABLE, SheetRow

_UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")
_LONGEST, _LONGEST_MARK = 40, 60  # letters of a word, and of a mark: names of files have 255 at most
_SHORT = 24  # letters of a value in a mark


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
    mark : str
        What tells it from another set of the night that else had the same name; usually "".
    """

    frame_type: str
    facts: Mapping[str, str]
    frames: tuple[str, ...]
    mark: str = ""

    @cached_property
    def name(self) -> str:
        """A readable name, such as ``flat_R_1x1_m20``: type, filter, time, binning, temperature, target.

        Fit for a file's name: letters, digits and ``. + - _``.
        """
        words = [self.frame_type.lower(), self.facts.get("FILTER", "")]
        if seconds := self.facts.get(TIME, ""):
            words.append(f"{float(seconds):g}s")
        words.append(self.facts.get("BINNING", "").replace(" ", "x"))
        if celsius := self.facts.get("CCD-TEMP", ""):
            words.append(_signed(f"{round(float(celsius)):+d}"))
        words.append(self.facts.get("OBJECT", ""))
        return "_".join(filter(None, (*map(_fit, words), self.mark))) or "set"

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
        No two have the same name, also where capitals do not matter.
    """
    chosen = rules or SetRules()
    usable = sorted((row for row in rows if row.status in USABLE), key=_by_time)
    found: list[CalibrationSet] = []
    for frame_type in chosen.keys:
        mine = [row for row in usable if row.frame_type == frame_type]
        columns = chosen.columns(frame_type)
        found += [_set_of(frame_type, columns, some, chosen) for some in _sets_in(mine, columns, chosen)]
    order = {frame_type: i for i, frame_type in enumerate(chosen.keys)}
    return sorted(_told_apart(found), key=lambda s: (order[s.frame_type], s.name))


def _told_apart(sets: Sequence[CalibrationSet]) -> list[CalibrationSet]:
    """Mark sets of the same name by the facts in which they differ, by a digest where those do not show."""
    found: list[CalibrationSet] = []
    for same in _by_name(sets):
        columns = same[0].facts if len(same) > 1 else ()
        differing = [c for c in columns if len({_fit(s.facts.get(c, "")).lower() for s in same}) > 1]
        words = ([_said(s, c) for c in differing] for s in same)
        marks = (_at_most("_".join(filter(None, some)), _LONGEST_MARK) for some in words)
        found += [replace(s, mark=mark) for s, mark in zip(same, marks, strict=True)]
    return [
        replace(s, mark="_".join(filter(None, (s.mark, digest(s.facts, s.frames[0])[:6]))))
        if len(same) > 1
        else s
        for same in _by_name(found)
        for s in same
    ]


def _by_name(sets: Iterable[CalibrationSet]) -> list[list[CalibrationSet]]:
    names: dict[str, list[CalibrationSet]] = {}
    for one in sets:
        names.setdefault(one.name.lower(), []).append(one)
    return list(names.values())


def _said(one: CalibrationSet, column: str) -> str:
    """Return a fact as a word of the set's name, "" where it is not known."""
    value = one.facts.get(column, "")
    text = _at_most(_fit(_signed(value) if column == "CCD-TEMP" else value), _SHORT)
    return f"{column.lower()}{text}" if text and column != "CCD-TEMP" else text


def _signed(number: str) -> str:
    """Return a number with letters for its signs: p for plus, m for minus."""
    return number.replace("+", "p").replace("-", "m")


def _fit(text: str) -> str:
    """Return a text as a part of a file's name: Greek letters written out, anything else unfit a hyphen."""
    plain = "".join(
        unicodedata.name(c).rpartition(" ")[2].lower() if "GREEK" in unicodedata.name(c, "") else c
        for c in text
    )
    return _at_most(re.sub(r"\.{2,}", ".", _UNFIT.sub("-", plain)).strip(".-"), _LONGEST)


def _at_most(text: str, longest: int) -> str:
    """Return a text, the end of a long one replaced by a digest."""
    return text if len(text) <= longest else f"{text[: longest - 7].rstrip('._-')}-{digest(text)[:6]}"


def _sets_in(
    rows: Sequence[SheetRow], columns: Sequence[str], rules: SetRules
) -> Sequence[Sequence[SheetRow]]:
    """Split frames by all columns; numbers last, and again where one breaks the chain of another."""
    sets: list[Sequence[SheetRow]] = [rows] if rows else []
    for column in columns:
        if column not in rules.tolerances:
            sets = [part for some in sets for part in _split(some, column, rules)]
    before = -1
    while len(sets) != before:
        before = len(sets)
        for column in columns:
            if column in rules.tolerances:
                sets = [part for some in sets for part in _split(some, column, rules)]
    return sets


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
        if chains and value - _number(chains[-1][-1], column) <= tolerance.reach(value):
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
            facts[column] = f"{math.fsum(values) / len(values):.6g}" if values else ""
        else:
            facts[column] = _text(rows[0], column)
    ordered = sorted(rows, key=_by_time)
    return CalibrationSet(frame_type, facts, tuple(row.exposure for row in ordered))


def _by_time(row: SheetRow) -> tuple[str, str]:
    return row.date_obs, row.exposure


def _text(row: SheetRow, column: str) -> str:
    return row.extra.get(column, "").strip()


def _number(row: SheetRow, column: str) -> float:
    if column == TIME:
        return row.exptime
    try:
        return float(_text(row, column) or "nan")
    except ValueError:
        return math.nan
