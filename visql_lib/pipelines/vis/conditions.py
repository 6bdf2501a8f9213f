"""When stages of months are there to be done, and which months stages of all months take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def has_frames(plan: Any, month: str) -> bool:
    """Say whether a month has frames."""
    return bool(plan.exposures(month))


def has_particles(plan: Any, month: str) -> bool:
    """Say whether particles are counted in frames of a month."""
    return bool(plan.radiation.tables(month))


def has_ratios(plan: Any, month: str) -> bool:
    """Say whether a month has flux ratios."""
    return bool(plan.gaia.month(month))


def newest_months(plan: Any) -> Sequence[str]:
    """Return those of the newest two months that are configured."""
    return [month for month in plan.newest_months if month in plan.groups()]


def months_with_ratios(plan: Any) -> Sequence[str]:
    """List the months with flux ratios."""
    return [month for month in plan.groups() if has_ratios(plan, month)]


def months_with_movies(plan: Any) -> Sequence[str]:
    """List those of the newest two months that have movies."""
    return [month for month in newest_months(plan) if has_particles(plan, month)]
