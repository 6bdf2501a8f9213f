"""Stage `lc_frames`: the frames of all nights of a set; copies, other sizes and kicked ones are left out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError
from visql_lib.pipelines.lightcurves.decisions import USER, Decision, from_meta, to_meta
from visql_lib.pipelines.lightcurves.schemas import FRAMES
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

STAGE = "lc_frames"
_SAME_TIME = 0.5 / 86400  # d: frames of one camera cannot begin closer together
_ROUNDED = 2 / 86400  # d by which headers may be off

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FramesInputs:
    """The tables of a set's nights, and the user's list of frames to be left out.

    Parameters
    ----------
    chunks : sequence of Path
        FRAMES tables of the nights.
    set : str
        Name of the set.
    kicks : mapping
        Frame -> reason, "" where none is given; names of other sets' frames are ignored.
    """

    chunks: Sequence[Path]
    set: str
    kicks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FramesOutputs:
    """The columns of FRAMES, in the order of time, and the metadata of the table."""

    columns: Columns
    meta: dict[str, Any]


def run(context: Context[LightCurveSettings], inputs: FramesInputs) -> FramesOutputs:
    """Gather the frames of a set.

    Of the same frame twice (by the checksum of the pixels) the first one in the order of time and name is
    kept. Kicked frames have the status `kicked`, whatever else is wrong with them.

    Raises
    ------
    RequestError
        If a frame is in two tables.
    TableError
        If a table cannot be read.
    """
    tables = [read_table(path, FRAMES.names) for path in inputs.chunks]
    columns = in_order(gathered(inputs.chunks, tables))
    told = [decision for table in tables for decision in from_meta(table.meta)]
    mine = _Marks(columns, inputs.set)
    mine.kick(inputs.kicks)
    mine.leave_out_copies()
    mine.leave_out_sizes()
    mine.warn_of_times()
    kept = [d for d in told if d.frame not in mine.kicked]
    usable = int((columns["STATUS"] == str(LightStatus.OK)).sum())
    log.info("%s: %d frames, %d of them usable", inputs.set, len(columns["FRAME"]), usable)
    return FramesOutputs(columns, {"set": inputs.set, **to_meta(kept + mine.decisions)})


def gathered(paths: Sequence[Path], tables: Sequence[Mapping[str, NDArray[Any]]]) -> Columns:
    """Join the tables of nights.

    Raises
    ------
    RequestError
        If a frame is in two of them.
    """
    if not tables:
        return FRAMES.empty()
    where: dict[str, Path] = {}
    for path, table in zip(paths, tables, strict=True):
        for name in map(str, table["FRAME"]):
            if name in where:
                raise RequestError(f"{path}: has {name}, which {where[name]} has, too; give one of them")
            where[name] = path
    return {name: np.concatenate([table[name] for table in tables]) for name in FRAMES.names}


def in_order(columns: Columns) -> Columns:
    """Return the frames in the order of time (those without one last) and name; texts may grow."""
    order = np.lexsort((columns["FRAME"], columns["MJD"]))
    found = {name: values[order] for name, values in columns.items()}
    return found | {name: found[name].astype(object) for name in ("STATUS", "REASON")}


@dataclass
class _Marks:
    """Marks the frames of a set in place, and keeps what was decided."""

    columns: Columns
    set: str
    decisions: list[Decision] = field(default_factory=list)
    kicked: list[str] = field(default_factory=list)

    @property
    def _names(self) -> list[str]:
        return [str(name) for name in self.columns["FRAME"]]

    def _mark(self, row: int, status: LightStatus, reason: str, by: str = "auto") -> None:
        self.columns["STATUS"][row], self.columns["REASON"][row] = str(status), reason
        self.decisions.append(
            Decision(self._names[row], self.set, STAGE, False, f"{status}: {reason}", by=by)
        )

    def _usable(self) -> list[int]:
        return [i for i, status in enumerate(self.columns["STATUS"]) if status == LightStatus.OK]

    def kick(self, kicks: Mapping[str, str]) -> None:
        for row, name in enumerate(self._names):
            if name in kicks:
                self._mark(row, LightStatus.KICKED, kicks[name] or "in the kick list", USER)
                self.kicked.append(name)

    def leave_out_copies(self) -> None:
        seen: dict[str, str] = {}
        for row in self._usable():
            checksum, name = str(self.columns["CHECKSUM"][row]), self._names[row]
            first = seen.setdefault(checksum, name) if checksum else name
            if first != name:
                self._mark(row, LightStatus.LEFT_OUT, f"the same frame as {first}")

    def leave_out_sizes(self) -> None:
        sizes = {row: (int(self.columns["NX"][row]), int(self.columns["NY"][row])) for row in self._usable()}
        if not sizes:
            return
        (usual, _), *_ = Counter(sizes.values()).most_common(1)
        for row, size in sizes.items():
            if size != usual:
                reason = f"{size[0]} x {size[1]} px, not {usual[0]} x {usual[1]} as most frames of the set"
                self._mark(row, LightStatus.LEFT_OUT, reason)

    def warn_of_times(self) -> None:
        """Note frames that begin before the one before ends, which a wrong clock makes; they are kept."""
        rows = self._usable()
        times, exposures = self.columns["MJD"][rows], self.columns["EXPTIME"][rows] / 86400
        apart, least = np.diff(times), (exposures[1:] + exposures[:-1]) / 2 - _ROUNDED
        for i in np.flatnonzero((apart < _SAME_TIME) | (apart < least)):
            first, second = self._names[rows[i]], self._names[rows[i + 1]]
            what = "the same time as" if apart[i] < _SAME_TIME else "begins before the end of"
            reason = f"{what} {first}: another frame, the clock may be wrong"
            log.warning("%s: %s", second, reason)
            known = str(self.columns["REASON"][rows[i + 1]])
            self.columns["REASON"][rows[i + 1]] = "; ".join(filter(None, (known, reason)))
            self.decisions.append(Decision(second, self.set, STAGE, True, reason))
