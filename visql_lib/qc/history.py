"""Counts of exposures by day, metric and status, for trends of quality."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from visql_lib.qc.checks import Check
from visql_lib.qc.evaluate import OK
from visql_lib.qc.limits import LimitFile
from visql_lib.qc.summary import GroupSummary, Terms
from visql_lib.sheets.grouping import Grouping

STATUS = "status"  # the metric of a category as a whole
COUNTS = (OK, "warn", "error", "failed", "missing")
_HEAD = ("day", "category", "metric")
_VERSION = 1

Row = tuple[str, str, str, tuple[int, ...], str]  # day, category, metric, counts, epoch


def history(
    previous: Iterable[Row], groups: Sequence[GroupSummary], checks: Iterable[Check], terms: Terms
) -> list[Row]:
    """Count statuses by day (UTC), category and metric, in this order.

    Parameters
    ----------
    previous : iterable of Row
        What is known of other groups; what it has of `groups` is counted anew, but quantities
        of a group that was not evaluated yet.
    groups : sequence of GroupSummary
        What is counted.
    checks : iterable of Check
        See `visql_lib.qc.checks.checks_of`; only measured ones are counted: of the
        others, the metric ``status`` of their category holds their status.
    terms : Terms
        Those of the pipeline.

    Returns
    -------
    list of Row
        Where the day of an exposure is not known, the day is its group.
    """
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    epochs: dict[tuple[str, str, str], str] = {}
    for group in groups:
        for exposure in group.exposures:
            day = _day(exposure.date_obs, group.name, terms.grouping)
            for category, status in exposure.statuses.items():
                if status in COUNTS:
                    counts.setdefault((day, category, STATUS), Counter())[status] += 1
    for one in checks:
        if one.measured:
            key = (_day(one.date_obs, one.group, terms.grouping), one.category, one.metric)
            counts.setdefault(key, Counter())[one.status] += 1
            epochs[key] = max(one.epoch, epochs.get(key, ""))
    rows = [(*k, tuple(n[s] for s in COUNTS), epochs.get(k, "")) for k, n in counts.items()]
    days = {group.name: {e.date_obs[:10] for e in group.exposures} for group in groups}
    kept = [row for row in previous if not _is_counted(row, groups, days, terms)]
    return sorted([*kept, *rows])


def history_text(rows: Iterable[Row], limits: LimitFile) -> str:
    """Format the history as JSON, one line per day and metric."""
    columns = [*_HEAD, *COUNTS, "epoch"]
    lines = [json.dumps([*row[:3], *row[3], row[4]]) for row in rows]
    head = {
        "version": _VERSION,
        "thresholds": {"file": limits.name, "hash": limits.digest},
        "columns": columns,
    }
    return json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n' + ",\n".join(lines) + "\n]}\n"


def parse_history(text: str, terms: Terms) -> list[Row]:
    """Read the history back; former names of quantities are replaced by the current ones.

    Raises
    ------
    ValueError
        If it is no such text, or of another version.
    """
    values: Any = json.loads(text)
    if not isinstance(values, dict) or values.get("version") != _VERSION:
        raise ValueError("not a history of status of this version")
    first, last = len(_HEAD), len(_HEAD) + len(COUNTS)
    rows = values.get("rows")
    if not isinstance(rows, list) or any(not isinstance(r, list) or len(r) != last + 1 for r in rows):
        raise ValueError("a line of the history is broken")
    return [
        (
            str(r[0]),
            str(r[1]),
            terms.quantities.current_metric(str(r[2])),
            tuple(map(int, r[first:last])),
            str(r[last]),
        )
        for r in rows
    ]


def _is_counted(row: Row, groups: Sequence[GroupSummary], days: Mapping[str, set[str]], terms: Terms) -> bool:
    """Test whether a row is counted anew: its day is in a group whose table of the metric was evaluated."""
    day, table = row[0], terms.quantities.table_of(row[2])
    own = [g for g in groups if day.startswith(terms.grouping.shown(g.name)) or day in days[g.name]]
    return bool(own) and not any(table in group.unjudged for group in own)


def _day(date_obs: str, group: str, grouping: Grouping) -> str:
    return date_obs[:10] if date_obs else grouping.shown(group)
