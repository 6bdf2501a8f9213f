"""The tables of a night as records for its pages, and how the statuses of its frames are shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.schemas import FRAMES, MASTERS, REGISTRATION, STACKS
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.page_records import Record, records
from visql_lib.sheets.sheet import UNREADABLE

# STATUS of a frame -> of the pages.
STATUS_OF: dict[str, str] = {
    FrameStatus.OK: "ok",
    FrameStatus.ODD: "warn",
    FrameStatus.OUT_OF_LIMITS: "warn",
    FrameStatus.SATURATED: "warn",
    FrameStatus.LEFT_OUT: "warn",
    FrameStatus.NOT_REGISTERED: "warn",
    FrameStatus.UNCALIBRATED: "error",
    FrameStatus.FAILED: "failed",
    UNREADABLE: "failed",  # of the sheet, as are known_bad, superseded, ...: nothing to judge
}
_RANK = ("failed", "error", "warn", "ok", "none")


def frames_of(results: Path, night: str) -> list[Record]:
    """Read what became of each frame of a night."""
    return records(NIGHTS.table_path(results, night, "frames"), FRAMES.names)


def masters_of(results: Path, night: str) -> list[Record]:
    """Read the masters of a night."""
    return records(NIGHTS.table_path(results, night, "masters"), MASTERS.names)


def stacks_of(results: Path, night: str) -> list[Record]:
    """Read the stacks of a night."""
    return records(NIGHTS.table_path(results, night, "stacks"), STACKS.names)


def registrations_of(results: Path, night: str) -> dict[str, list[Record]]:
    """Read where the lights of each stack of a night lie, by the stack's name."""
    ending = "_registration.parquet"
    paths = sorted((NIGHTS.group_folder(results, night) / "stacks").glob(f"*{ending}"))
    return {path.name.removesuffix(ending): records(path, REGISTRATION.names) for path in paths}


def status_of(frame: Record) -> str:
    """Return the status of a frame on the pages: what is used, but doubtful, is a warning."""
    shown = STATUS_OF.get(str(frame["STATUS"]), "none")
    return "warn" if shown == "ok" and frame["REASON"] else shown


def is_used(frame: Record) -> bool:
    """Say whether a frame was used."""
    return str(frame["STATUS"]) == FrameStatus.OK


def said(frame: Record) -> str:
    """Say in words what became of a frame, and why; "" of one that is fine."""
    word = "" if is_used(frame) else str(frame["STATUS"]).replace("_", " ")
    return ": ".join(filter(None, (word, str(frame["REASON"]))))


def worst_first(frames: Iterable[Record]) -> list[Record]:
    """Sort frames: those that were left out first, then by time."""
    return sorted(frames, key=lambda f: (is_used(f), _RANK.index(status_of(f)), f["START"], f["EXPOSURE"]))


def by_set(frames: Iterable[Record]) -> dict[str, list[Record]]:
    """Sort frames by their set."""
    found: dict[str, list[Record]] = {}
    for frame in frames:
        found.setdefault(str(frame["SET"]), []).append(frame)
    return found
