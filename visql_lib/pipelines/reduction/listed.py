"""Lists of reduced frames: by name, or by the tables of the jobs that reduced them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.tables import read_table


def listed_frames(paths: Sequence[Path]) -> list[Path]:
    """List frames: those that are named, and of each FRAMES table the reduced ones, which lie beside it."""
    found: list[Path] = []
    for path in paths:
        if path.suffix != ".parquet":
            found.append(path)
            continue
        table = read_table(path, ("EXPOSURE", "STATUS"))
        rows = zip(table["EXPOSURE"], table["STATUS"], strict=True)
        found += [path.parent / f"{name}.fits" for name, status in rows if status == FrameStatus.OK]
    return list(dict.fromkeys(found))


def why_none(paths: Sequence[Path]) -> str:
    """Say why tables list no reduced frame: what became of the first; "" if they list nothing at all."""
    states: list[str] = []
    for path in paths:
        if path.suffix == ".parquet":
            table = read_table(path, ("EXPOSURE", "STATUS", "REASON"))
            rows = zip(table["EXPOSURE"], table["STATUS"], table["REASON"], strict=True)
            states += [f"{name}: {status}: {reason}" for name, status, reason in rows]
    return f"none of {len(states)} lights is reduced: {states[0]}" if states else ""
