"""What the stages decided about frames and stars: kept with the tables they write, gathered at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from visql_lib.pipelines.lightcurves.schemas import DECISIONS
from visql_lib.values import number

KEY = "decisions"  # in the metadata of tables
AUTO, USER = "auto", "user"


@dataclass(frozen=True)
class Decision:
    """A row of `schemas.DECISIONS`.

    Parameters
    ----------
    frame : str
        Frame, or star of a set; "": the set itself.
    set : str
    stage : str
        Stage that decided.
    kept : bool
        Whether it is kept.
    reason : str
        In words.
    value, limit : float
        What was compared; NaN: nothing.
    by : str
        AUTO, or USER for the user's file.
    """

    frame: str
    set: str
    stage: str
    kept: bool
    reason: str
    value: float = math.nan
    limit: float = math.nan
    by: str = AUTO

    def row(self) -> dict[str, Any]:
        """Return it with the names of the columns of `schemas.DECISIONS`."""
        return {name.upper(): value for name, value in asdict(self).items()}


def to_meta(decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the metadata that keeps decisions with a table: JSON has no NaN, so unknown numbers are null."""
    rows = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(d).items()}
        for d in decisions
    ]
    return {KEY: rows}


def from_meta(meta: Mapping[str, Any]) -> list[Decision]:
    """Return the decisions of a table's metadata; none: an empty list."""
    found = []
    for row in _rows(meta.get(KEY)):
        frame, of_set, stage, reason = (str(row.get(n, "")) for n in ("frame", "set", "stage", "reason"))
        value, limit = number(row.get("value")), number(row.get("limit"))
        by = str(row.get("by", AUTO))
        found.append(Decision(frame, of_set, stage, bool(row.get("kept")), reason, value, limit, by))
    return found


def _rows(value: Any) -> Iterable[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def columns_of(decisions: Iterable[Decision]) -> dict[str, NDArray]:
    """Return decisions as columns of `schemas.DECISIONS`."""
    return DECISIONS.of_rows(decision.row() for decision in decisions)
