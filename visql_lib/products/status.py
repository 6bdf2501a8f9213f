"""The status of every exposure, and the summary of failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visql_lib.errors import TableError
from visql_lib.products.registry import Registry
from visql_lib.sheets.sheet import UNREADABLE, USABLE, SheetRow, read_sheet
from visql_lib.tables.store import read_meta, read_table

UNFINISHED = "unfinished"
_DAMAGED = "make it again"  # in the message about every product table that cannot be read
_MEND = "Fetch or mend the file, or list the exposure in known_bad."
_NAMED = 5  # exposures of a message; status.tsv has all


@dataclass(frozen=True)
class ExposureState:
    """The processing status of one frame."""

    exposure: str
    frame_type: str
    status: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether somebody should look at it."""
        return self.status in (UNREADABLE, "failed", UNFINISHED)


def failure_summary(states: Sequence[ExposureState], advice: str = "") -> str:
    """List the failed exposures with their reasons, those of one reason together; "" if none failed.

    Parameters
    ----------
    states : sequence of ExposureState
    advice : str, optional
        What to do about frames that failed; by default about their files.
    """
    bad = [state for state in states if state.failed and state.status != UNFINISHED]
    unfinished = [state for state in states if state.status == UNFINISHED]
    said = []
    if bad:
        head = f"{len(bad)} of {len(states)} exposures failed:"
        said.append("\n  ".join([head, *_by_reason(bad), *_advice(bad, advice or _MEND)]))
    if unfinished:
        head = f"{len(unfinished)} of {len(states)} exposures are not finished: run again."
        names = [s.exposure for s in unfinished[:_NAMED]] + ["..."] * (len(unfinished) > _NAMED)
        said.append("\n  ".join([head, *names, "If a step failed on one, its log in results/logs says why."]))
    return "\n".join(said)


def _by_reason(bad: Sequence[ExposureState]) -> list[str]:
    """Write a line for each reason, with the exposures it is of."""
    names: dict[str, list[str]] = {}
    for state in bad:
        names.setdefault(state.reason, []).append(state.exposure)
    return [
        f"{', '.join(some[:_NAMED])}{f' and {len(some) - _NAMED} more' * (len(some) > _NAMED)}: {reason}"
        for reason, some in names.items()
    ]


def _advice(bad: Sequence[ExposureState], advice: str) -> list[str]:
    """Advise what to do: a damaged product table is not the frame's fault."""
    ours = [_DAMAGED in state.reason for state in bad]
    found = []
    if any(ours):
        found.append("Make a damaged table again: snakemake --force TABLE. Then run again.")
    if not all(ours):
        found.append(advice)
    return found


def exposure_states(registry: Registry, results: Path, group: str) -> list[ExposureState]:
    """Determine the processing status of every exposure of a group, from its sheet and the products.

    Parameters
    ----------
    registry : Registry
        Defines which tables record why a frame failed.
    results : Path
        Folder of all products.
    group : str
        The key of the group; without a sheet it has no exposures.
    """
    states: list[ExposureState] = []
    sheet = registry.grouping.sheet_path(results, group)
    told = _told(registry, results, group)
    for row in read_sheet(sheet) if sheet.is_file() else ():
        status, reason = row.status, row.reason
        if status in USABLE:
            failure = _failure(registry, results, group, row) if told is None else told.get(row.exposure)
            if failure is None:
                status, reason = UNFINISHED, "steps are missing; run the workflow"
            elif failure:
                status, reason = "failed", failure
        states.append(ExposureState(row.exposure, row.frame_type, status, reason))
    return states


def _failure(registry: Registry, results: Path, group: str, row: SheetRow) -> str | None:
    """Read from its tables why a frame failed; "" if it did not, None if there are none yet."""
    known = registry.grouping.fields(group) | {"exposure": row.exposure}
    for path in registry.reports(row.frame_type):
        try:
            failure = read_meta(results / path.format(**known)).get("failed")
        except TableError:
            return None
        if failure:
            return str(failure)
    return ""


def _told(registry: Registry, results: Path, group: str) -> dict[str, str] | None:
    """Read from the group's table why frames failed, "" of those that did not; None if there is no such."""
    if not registry.states:
        return None
    try:
        path = results / registry.states.format(**registry.grouping.fields(group))
        table = read_table(path, [registry.frame_column, "STATUS", "REASON"])
    except TableError:  # the group is not done
        return {}
    rows = zip(*(table[name].tolist() for name in (registry.frame_column, "STATUS", "REASON")), strict=True)
    return {name: (why or status) if status in registry.failed else "" for name, status, why in rows}
