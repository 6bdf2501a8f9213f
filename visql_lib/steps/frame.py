"""What the stages of one frame have in common: the frame's facts, and whether a table belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.errors import FrameError
from visql_lib.frames import Exposure, Instrument
from visql_lib.tables.metadata import FrameMetadata, facts_in

# What tables made from a frame's tables carry on of their metadata.
_CARRIED = ("exposure", "instrument", "frame_type", "exptime", "date_obs")


def header_meta(exposure: Exposure) -> dict[str, Any]:
    """Collect the facts of an exposure that are stored with its tables."""
    header = exposure.header
    return {
        "frame_type": header.frame_type,
        "exptime": None if np.isnan(header.exptime) else header.exptime,
        "date_obs": header.start.isoformat(timespec="milliseconds") if header.start else None,
    }


def carried_meta(meta: Mapping[str, Any], table: Path) -> dict[str, Any]:
    """Select the facts of the frame in the metadata of one of its tables.

    Raises
    ------
    TableError
        If one is of another kind.
    """
    facts_in(meta, FrameMetadata, table)
    return {name: meta[name] for name in _CARRIED if name in meta}


def measuring_facts(instrument: Instrument) -> tuple[Any, ...]:
    """Collect the facts of an instrument that what is measured in a frame depends on."""
    if instrument.has_grid:
        return instrument.geometry, instrument.detector
    return instrument.header, instrument.amplifiers, {"pixel_scale": instrument.pixel_scale}


def check_same_frame(exposure: Exposure, meta: Mapping[str, Any], table: Path) -> None:
    """Check that a frame that was read completely is the one from which a table was made.

    Detects a frame that was replaced by another one with the same size and time.

    Raises
    ------
    FrameError
        If the pixels differ; tables of earlier versions without this record are accepted.
    """
    if exposure.pixels != meta.get("pixels", exposure.pixels):
        raise FrameError(
            f"{exposure.path}: its pixels are not those from which {table.name} was made; if its size and "
            "time are unchanged, touch the file, and the next run will remake all its products"
        )
