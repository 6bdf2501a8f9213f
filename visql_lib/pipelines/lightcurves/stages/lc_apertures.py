"""Stage `lc_apertures`: transforms and aperture photometry of all frames of a set, in one table each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.schemas import APERTURES, TRANSFORMS
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

STAGE = "lc_apertures"


@dataclass(frozen=True)
class GatherInputs:
    """Tables of the chunks of a set, its table of frames, and the folder of its frames' products."""

    chunks: Sequence[Path]
    frames: Path
    folder: Path
    set: str


@dataclass(frozen=True)
class GatherOutputs:
    """Columns of TRANSFORMS and APERTURES, and metadata: the apertures' diameters, decisions."""

    transforms: dict[str, NDArray]
    apertures: dict[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[LightCurveSettings], inputs: GatherInputs) -> GatherOutputs:
    """Gather what was measured of the frames that are still wanted, in the order of time.

    Raises
    ------
    TableError
        If a table is missing or cannot be read, or frames were measured in other apertures than others.
    """
    frames = read_table(inputs.frames, ["FRAME", "STATUS", "MJD"])
    ok = np.flatnonzero(frames["STATUS"] == LightStatus.OK)
    wanted = [str(frames["FRAME"][i]) for i in ok[np.argsort(frames["MJD"][ok], kind="stable")]]
    found = dict(_rows(inputs.chunks))
    decisions = [
        Decision(name, inputs.set, "lc_measure", False, f"{row['STATUS']}: {row['REASON']}")
        for name in wanted
        if (row := found.get(name)) is not None and row["STATUS"] != LightStatus.OK
    ]
    measured = [n for n in wanted if n in found and found[n]["STATUS"] == LightStatus.OK]
    parts, diameters = list[Table](), list[float]()
    for name in measured:
        table = read_table(inputs.folder / name / f"{name}_apertures.parquet")
        own = [float(d) for d in table.meta.get("diameters") or ()]
        if parts and own != diameters:
            raise TableError(
                f"{name}: measured in apertures of {own} px, others in {diameters} px; remove its "
                f"{name}_apertures.parquet, then run again"
            )
        diameters = own
        parts.append(table)
    transforms = TRANSFORMS.of_rows(found[name] for name in wanted if name in found)
    meta = {"set": inputs.set, "diameters": diameters, **to_meta(decisions)}
    return GatherOutputs(transforms, joined(parts, APERTURES), meta)


def _rows(chunks: Sequence[Path]) -> list[tuple[str, Mapping[str, Any]]]:
    """List the rows of the tables of chunks with the names of their frames."""
    out = list[tuple[str, Mapping[str, Any]]]()
    for path in chunks:
        table = read_table(path, TRANSFORMS.names)
        for i, name in enumerate(table["FRAME"]):
            out.append((str(name), {column: table[column][i] for column in TRANSFORMS.names}))
    return out


def joined(parts: Sequence[Table], schema: TableSchema) -> dict[str, NDArray]:
    """Put tables of one schema behind each other; none give a table without rows."""
    full = [part for part in parts if schema.length(part)]
    if not full:
        return schema.empty()
    return {c.name: np.concatenate([part[c.name] for part in full]) for c in schema.columns}
