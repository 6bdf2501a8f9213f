"""The tables of a night: what became of each frame, its masters, its stacks."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.ccd.flat import change_of_flat
from visql_lib.errors import FrameError, NoMasterError
from visql_lib.images.headers import read_header, value_of
from visql_lib.images.masters import BAD_PIXELS, FAILED, FLAT, REASON, STATUS, require_master
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.night import Night
from visql_lib.pipelines.reduction.schemas import FRAMES, MASTERS, REGISTRATION, STACKS
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import SheetRow, read_sheet
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import read_table

# Columns of the tables of masters and stacks -> the cards of their headers.
_MASTER_CARDS = {
    "N_FRAMES": "N_FRAMES",
    "N_USED": "NCOMBINE",
    "LEVEL": "LEVEL",
    "BIAS_LEVEL": "BIASLVL",
    "READ_NOISE": "RDNOISE",
    "READ_NOISE_ERR": "RDNERR",
    "GAIN": "MGAIN",
    "GAIN_ERR": "MGAINERR",
    "DARK_OFFSET": "DARKOFF",
    "DARK_OFFSET_ERR": "DARKOFFE",
    "DARK_RATE": "DARKRATE",
    "DARK_RATE_ERR": "DARKRTE",
    "RESIDUAL": "RESIDUAL",
    "N_BAD": "N_BAD",
}

_FACTS = ("TYPE", "DATE_OBS", "EXPTIME", "FILTER", "OBJECT")

log = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class NightInputs:
    """The night; by the name of a set: which masters it lacks, in words; its flat of an earlier night."""

    night: Night
    lacking: Mapping[str, Sequence[str]]
    earlier: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class NightOutputs:
    """The columns of the tables FRAMES, MASTERS and STACKS."""

    frames: dict[str, Any]
    masters: dict[str, Any]
    stacks: dict[str, Any]


def run(context: Context[ReductionSettings], inputs: NightInputs) -> NightOutputs:
    """Gather what became of the frames of a night.

    Raises
    ------
    TableError, FrameError
        If a table or a header cannot be read.
    """
    night = inputs.night
    return NightOutputs(
        FRAMES.of_rows(_frames(night, inputs.lacking)),
        MASTERS.of_rows(_masters(night, inputs.earlier)),
        STACKS.of_rows(_stacks(night)),
    )


def night_of_sheet(context: Context[ReductionSettings], sheet: Path) -> Night:
    """Return the night of a sheet, as the plan sees it."""
    results, date = NIGHTS.locate(sheet)
    return Night(results, date, read_sheet(sheet), context.instrument.sets, context.settings.reduce.chunk)


def tables_of(night: Night) -> list[Path]:
    """List the tables of the frames of a night, as far as they are there: of sets, then of chunks."""
    names = [night.master(s.name, ".parquet") for s in night.sets.values()]
    chunks = [night.chunk_table(name) for name in night.chunks]
    return [path for path in map(Path, (*names, *chunks)) if path.is_file()]


def _frames(night: Night, lacking: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return a row for each frame of the sheet: as its set or chunk tells, else as the sheet does."""
    found: dict[str, Row] = {}
    for path in tables_of(night):
        found |= {row["EXPOSURE"]: row for row in _rows(path, FRAMES)}
    for row in found.values():
        if row["STATUS"] == FrameStatus.UNCALIBRATED and lacking.get(row["SET"]):
            row["REASON"] = "; ".join(lacking[row["SET"]])
    for name in (s.name for s in night.of_type("SCIENCE")):
        path = Path(night.stack(name, "_registration.parquet"))
        for row in _rows(path, REGISTRATION) if path.is_file() else ():
            light = found.get(row["EXPOSURE"])
            if light is not None and light["STATUS"] == FrameStatus.OK and row["STATUS"] != FrameStatus.OK:
                light |= {"STATUS": row["STATUS"], "REASON": row["REASON"]}
    return [_with_facts(found.get(row.exposure, {}), _of_sheet(row)) for row in night.rows]


def _with_facts(row: Row, known: Row) -> Row:
    """Return the row of a frame with what only the sheet knows: facts of one not read, its doubts."""
    if not row:
        return known
    if row["TYPE"] == "UNKNOWN":
        row |= {name: known[name] for name in _FACTS}
    said = known["DOUBT"]
    if said and row["STATUS"] == FrameStatus.UNCALIBRATED and said not in row["REASON"]:
        row["REASON"] = f"{said}; {row['REASON']}"
    return row


def _of_sheet(row: SheetRow) -> Row:
    """Return the row of a frame that is in no set."""
    usable = row.exposure and row.status in ("ok", "incomplete")
    why = row.reason or ("no calibration frame and no light: its type is not known" if usable else row.status)
    return {
        "EXPOSURE": row.exposure,
        "FILE": Path(row.file).name,
        "TYPE": row.frame_type,
        "DATE_OBS": np.datetime64(row.date_obs or "NaT", "us"),
        "EXPTIME": row.exptime,
        "FILTER": row.extra.get("FILTER", ""),
        "OBJECT": row.extra.get("OBJECT", ""),
        "STATUS": str(FrameStatus.LEFT_OUT if usable else row.status),
        "REASON": why,
        "N_COSMIC": -1,
        "DOUBT": row.reason,
    }


def _masters(night: Night, earlier: Mapping[str, Path]) -> list[Row]:
    """Return a row for each master of the night that was tried."""
    made = []
    for kind in ("BIAS", "DARK", "FLAT"):
        for s in night.of_type(kind):
            common: Row = {"PART": s.name, "TYPE": kind, "FILTER": s.members.facts.get("FILTER", "")}
            common["DATE_OBS"] = np.datetime64(s.start.replace(tzinfo=None), "us")
            if s.name in earlier:
                common["CHANGE"] = _change(Path(night.master(s.name)), earlier[s.name])
            made += _of_header(Path(night.master(s.name)), common, _MASTER_CARDS)
    for name, s in night.pixels.items():
        common = {"PART": name, "TYPE": BAD_PIXELS, "FILTER": s.members.facts.get("FILTER", "")}
        common["DATE_OBS"] = np.datetime64(s.start.replace(tzinfo=None), "us")
        made += _of_header(Path(night.master(name)), common, {"N_BAD": "N_BAD"})
    return made


def _change(flat: Path, earlier: Path) -> float:
    """Compare a flat with an earlier one; NaN where one of them failed or cannot be read."""
    try:
        one, other = (require_master(path, FLAT) for path in (flat, earlier))
    except (NoMasterError, FrameError) as error:
        log.info("%s is not compared with %s: %s", flat, earlier, error)
        return math.nan
    return change_of_flat(np.where(one.valid, one.data, np.nan), np.where(other.valid, other.data, np.nan))


def _stacks(night: Night) -> list[Row]:
    """Return a row for each stack of the night that was tried."""
    made = []
    cards = {c.name: c.name[:8] for c in STACKS.columns}
    for s in night.of_type("SCIENCE"):
        facts = s.members.facts
        common: Row = {"SET": s.name, "FILTER": facts.get("FILTER", ""), "OBJECT": facts.get("OBJECT", "")}
        common["DATE_OBS"] = np.datetime64(s.start.replace(tzinfo=None), "us")
        made += _of_header(
            Path(night.stack(s.name)), common, {k: v for k, v in cards.items() if k not in common}
        )
    return made


def _of_header(path: Path, common: Row, cards: Mapping[str, str]) -> list[Row]:
    """Return the row of a product by the cards of its header; none if there is no such product."""
    if not path.is_file():
        return []
    try:
        header = read_header(path)
    except FrameError as error:
        return [common | {"STATUS": FAILED, "REASON": str(error)}]
    values = {name: value_of(header, card) for name, card in cards.items()}
    known = {name: value for name, value in values.items() if value is not None}
    state = {"STATUS": str(value_of(header, STATUS) or "ok"), "REASON": str(value_of(header, REASON) or "")}
    return [common | known | state]


def _rows(path: Path, schema: TableSchema) -> list[Row]:
    """Read a table as rows."""
    table = read_table(path, list(schema.names))
    columns = {
        c.name: [str(v) for v in table[c.name]] if c.dtype == "str" else table[c.name] for c in schema.columns
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
