"""The tables of nights as records for pages, and how what became of a frame is shown."""

from __future__ import annotations

from pathlib import Path

from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS, SEASON
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.products.page_records import Record, records
from visql_lib.sheets.sheet import UNREADABLE

# STATUS of a frame -> of the pages. What was left out on purpose is nothing to judge.
_STATUS_OF: dict[str, str] = {
    GuideStatus.OK: "ok",
    GuideStatus.NO_ZERO_POINT: "warn",
    GuideStatus.NO_REFERENCE: "error",
    GuideStatus.FAILED: "failed",
    UNREADABLE: "failed",
}


def frames_of(results: Path, night: str) -> list[Record]:
    """Read the frames of a night; none if their table is not there or cannot be read."""
    return records(NIGHTS.table_path(results, night, "night"), NIGHT.names)


def streaks_of(results: Path, night: str) -> list[Record]:
    """Read the streaks of a night."""
    return records(NIGHTS.table_path(results, night, "streaks"), NIGHT_STREAKS.names)


def season_path(results: Path) -> Path:
    """Return where the table of all nights is."""
    return results / "timeline" / "season.parquet"


def season_of(results: Path) -> list[Record]:
    """Read the nights, a record each."""
    return records(season_path(results), SEASON.names)


def is_measured(frame: Record) -> bool:
    """Say whether a frame was measured."""
    status = str(frame["STATUS"])
    return status in list(GuideStatus) and GuideStatus(status).is_measured


def status_of(frame: Record) -> str:
    """Return the status of a frame on the pages: one that is measured, but doubtful, is a warning."""
    shown = _STATUS_OF.get(str(frame["STATUS"]), "none")
    return "warn" if shown == "ok" and frame["REASON"] else shown


def said(frame: Record) -> str:
    """Say in words what became of a frame, and why; "" of one that is fine."""
    status = str(frame["STATUS"])
    word = "" if status == GuideStatus.OK else status.replace("_", " ")
    return ": ".join(filter(None, (word, str(frame["REASON"]))))
