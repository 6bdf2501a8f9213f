"""Stage `hour`: the frames of an hour, one after the other; those that stand are skipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visql_lib.pipelines.pointing.exposure import Worker
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.pipelines.pointing.summary import read_streaks
from visql_lib.products.context import Context
from visql_lib.products.failures import failure_recorded
from visql_lib.sheets.sheet import SheetRow
from visql_lib.sheets.vetoes import VetoList

log = logging.getLogger(__name__)

_VETOED = "named in live.veto_list"


@dataclass(frozen=True)
class HourInputs:
    """The rows of the sheet of an hour of a night, the folder of all products, and who is left out."""

    results: Path
    night: str
    rows: Sequence[SheetRow]
    threads: int = 1
    vetoes: VetoList | None = None


@dataclass(frozen=True)
class HourOutputs:
    """The columns of the tables NIGHT and NIGHT_STREAKS, and how many frames stood already."""

    frames: dict[str, Any]
    streaks: dict[str, Any]
    n_standing: int


def run(context: Context[PointingSettings], inputs: HourInputs) -> HourOutputs:
    """Measure the frames of an hour and write their products; a bad frame costs one frame."""
    worker = Worker(context.settings, threads=inputs.threads)
    rows, streaks, standing = [], [], 0
    with context.progress(f"{inputs.night}", len(inputs.rows)) as advance:
        for row in inputs.rows:
            path, folder = (
                Path(row.file),
                Path(NIGHTS.stem(inputs.results, inputs.night, row.exposure)).parent,
            )
            if inputs.vetoes is not None and path in inputs.vetoes:
                worker.remove(path, folder)
                rows.append(_from_sheet(row) | {"STATUS": GuideStatus.VETOED.value, "REASON": _VETOED})
                advance()
                continue
            made = worker.stands(path, folder)
            standing += made is not None
            found = made if made is not None else _measured(worker, path, folder)
            rows.append(_from_sheet(row) | found)
            if GuideStatus(found["STATUS"]).is_measured:
                streaks += _streaks_of(folder / f"{row.exposure}-streaks.fits", rows[-1])
            advance()
    return HourOutputs(NIGHT.of_rows(rows), NIGHT_STREAKS.of_rows(streaks), standing)


def _measured(worker: Worker, path: Path, folder: Path) -> dict[str, Any]:
    """Measure a frame and write its products; return its row."""
    meta: dict[str, Any] = {}
    found: dict[str, Any] = {}
    with failure_recorded(True, meta):
        outcome = worker.measure(path)
        folder.mkdir(parents=True, exist_ok=True)
        worker.write(outcome, folder)
        found = dict(outcome.row)
        if outcome.status.is_measured:
            worker.finish(path, folder, outcome)
            found["N_STREAKS"] = _count(worker, folder / f"{outcome.stem}-streaks.fits")
        elif outcome.status == GuideStatus.FAILED:
            log.warning("%s: %s", outcome.stem, outcome.reason)
    if "failed" in meta:
        worker.remove(path, folder)
        return {"STATUS": GuideStatus.FAILED.value, "REASON": str(meta["failed"])}
    return found


def _count(worker: Worker, path: Path) -> int:
    return read_streaks(path).count if worker.settings.exposure.streaks else -1


def _from_sheet(row: SheetRow) -> dict[str, Any]:
    """Return what the sheet knows of a frame that may fail before it is read."""
    from datetime import datetime

    return {
        "EXPOSURE": row.exposure,
        "FILE": Path(row.file).name,
        "DATE_OBS": datetime.fromisoformat(row.date_obs).replace(tzinfo=None),
        "EXPTIME": row.exptime,
        "RA": row.ra,
        "DEC": row.dec,
        "N_STREAKS": -1,
    }


def _streaks_of(path: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a frame's streaks for the table of the night."""
    columns = read_streaks(path).columns
    of_frame = {key: row[key] for key in ("EXPOSURE", "MJD_OBS", "EXPTIME")}
    return [
        of_frame | {name: values[k] for name, values in columns.items()} for k in range(len(columns["X1"]))
    ]
