"""What was decided about frames and stars, why, and by whom: kept in the metadata of the tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from visql_lib.pipelines.lightcurves.schemas import DECISIONS

AUTO, USER = "auto", "user"  # by whom
KEY = "decisions"  # of a table's metadata


@dataclass(frozen=True)
class Decision:
    """A frame, or a star of a set, that was kept or left out by a stage.

    Parameters
    ----------
    frame : str
        Frame; of a star: ``star NAME``.
    set : str
        Set.
    stage : str
        Such as ``lc_nights``.
    kept : bool
        Whether it goes on.
    reason : str
        In words.
    value, limit : float
        What was compared; NaN: nothing was.
    by : str
        `AUTO`, or `USER`: the user's file.
    """

    frame: str
    set: str
    stage: str
    kept: bool
    reason: str
    value: float = math.nan
    limit: float = math.nan
    by: str = AUTO


def _number(value: float) -> float | None:
    """Return a number as JSON can hold it: None where it is not known."""
    return float(value) if math.isfinite(value) else None


def to_meta(decisions: Iterable[Decision]) -> str:
    """Return decisions as text for the metadata of a table, under `KEY`."""
    rows = [
        asdict(d) | {"value": _number(d.value), "limit": _number(d.limit), "kept": bool(d.kept)}
        for d in decisions
    ]
    return json.dumps(rows)


def from_meta(meta: Mapping[str, Any]) -> list[Decision]:
    """Return the decisions that the metadata of a table hold; none where there is no such key."""
    text = meta.get(KEY)
    rows: list[dict[str, Any]] = json.loads(text) if isinstance(text, str) and text else (text or [])
    numbers = ("value", "limit")
    return [Decision(**(row | {n: math.nan if row[n] is None else row[n] for n in numbers})) for row in rows]


def columns_of(decisions: Iterable[Decision]) -> dict[str, NDArray]:
    """Return decisions as columns of `DECISIONS`."""
    return DECISIONS.of_rows({name.upper(): value for name, value in asdict(d).items()} for d in decisions)
