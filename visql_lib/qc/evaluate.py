"""Values against their limits: each becomes one QC result, judged once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from visql_lib.qc.limits import Limits, Thresholds
from visql_lib.qc.quantity import Quantities

OK, WARN, ERROR, NOT_JUDGED = "ok", "warn", "error", "not judged"
BAD_STATUSES = (ERROR, WARN)  # worst first
ABOVE, BELOW = "above", "below"
NO_VALUE, NO_LIMITS, NO_DATE = "no value", "no limits", "no date"
_RANK = {ERROR: 0, WARN: 1, OK: 2, NOT_JUDGED: 3}


@dataclass(frozen=True, slots=True)
class QCResult:
    """One quantity of one frame, or of a group as a whole, against its limits.

    Attributes
    ----------
    quantity : str
        Qualified name.
    value, error : float
        In the quantity's unit, NaN where not known.
    status : str
        ok, warn, error or not judged.
    limit : float
        The limit that was passed, NaN if none was.
    side : str
        ``above`` or ``below``, "" if no limit was passed.
    reason : str
        Why it was not judged, "" if it was.
    epoch : str
        First day (ISO 8601) of the epoch of limits in force, "" if there was none.
    frame : str
        Name of the frame, "" of the group as a whole.
    date_obs : str
        Start of the frame (ISO 8601, UTC), "" where not known.
    cls, part : str
        Of which class of frames, and which part of the group; "" where that says nothing.
    """

    quantity: str
    value: float
    status: str
    error: float = math.nan
    limit: float = math.nan
    side: str = ""
    reason: str = ""
    epoch: str = ""
    frame: str = ""
    date_obs: str = ""
    cls: str = ""
    part: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether a limit was passed."""
        return self.status in BAD_STATUSES


class Passed(NamedTuple):
    """What a value is against limits: the status, and the limit that was passed (NaN and "" if none was)."""

    status: str
    limit: float = math.nan
    side: str = ""


def check(value: float, limits: Limits, *, reaching: bool = False) -> Passed:
    """Compare a value with limits.

    Parameters
    ----------
    value : float
        Not NaN.
    limits : Limits
    reaching : bool, optional
        A value exactly at a limit is beyond it.
    """
    for status in BAD_STATUSES:
        above, below = getattr(limits, f"{status}_above"), getattr(limits, f"{status}_below")
        if above is not None and (value > above or (reaching and value == above)):
            return Passed(status, above, ABOVE)
        if below is not None and (value < below or (reaching and value == below)):
            return Passed(status, below, BELOW)
    return Passed(OK)


def worst_status(results: Iterable[QCResult]) -> str:
    """Return the worst status; not judged if nothing was."""
    return min((r.status for r in results), key=_RANK.__getitem__, default=NOT_JUDGED)


@dataclass(frozen=True)
class Evaluation:
    """The QC results of one frame.

    ``note`` says why nothing could be judged, "" if something could.
    """

    results: tuple[QCResult, ...]
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The worst status; warn if nothing could be judged, ok where there was nothing to judge."""
        worst = worst_status(self.results)
        return WARN if self.note else OK if worst == NOT_JUDGED else worst

    @property
    def bad(self) -> tuple[QCResult, ...]:
        """Results that are not ok, worst first."""
        return tuple(sorted((r for r in self.results if r.is_bad), key=lambda r: _RANK[r.status]))

    @property
    def reason(self) -> str:
        """What raised the status, for the table that holds the values: they have the names of its columns."""
        if self.note:
            return f"not judged: {self.note}"
        texts = (f"{self.columns[r.quantity]} {r.value:.6g} {r.side} {r.limit:g}" for r in self.bad)
        return "; ".join(texts)

    def of(self, name: str) -> QCResult | None:
        """Return the result of a quantity, None if it was not given."""
        return next((r for r in self.results if r.quantity == name), None)


def evaluate(
    values: Mapping[str, float],
    thresholds: Thresholds,
    day: date | None,
    quantities: Quantities,
    *,
    errors: Mapping[str, float] | None = None,
) -> Evaluation:
    """Judge a set of values on a day.

    Parameters
    ----------
    values : mapping
        Values by qualified name, each in the quantity's unit; NaN is not judged.
    thresholds : Thresholds
        Dated limits.
    day : date or None
        UTC. Where it is not known, or before the first epoch, nothing is judged.
    quantities : Quantities
        The pipeline's table.
    errors : mapping, optional
        Standard errors by name.

    Returns
    -------
    Evaluation
        A QC result for every value that was given, in the same order.
    """
    epoch = thresholds.epoch(day)
    note = ""
    if epoch is None:
        first = thresholds.epochs[0].start
        note = NO_DATE if day is None else f"no thresholds in force before {first}"
    start = epoch.start.isoformat() if epoch is not None else ""
    results = []
    for name, given in values.items():
        value, error = float(given), float((errors or {}).get(name, math.nan))
        limits = epoch.limits.get(name) if epoch is not None else None
        why = NO_VALUE if math.isnan(value) else note or ("" if limits else NO_LIMITS)
        if why or limits is None:
            results.append(QCResult(name, value, NOT_JUDGED, error, reason=why, epoch=start))
            continue
        status, limit, side = check(value, limits, reaching=quantities[name].reaching)
        results.append(QCResult(name, value, status, error, limit, side, epoch=start))
    return Evaluation(tuple(results), note, {name: quantities[name].column for name in values})
