"""The table of pipeline performance, and when a product was made, from its metadata.

Times of files change when these are copied or unpacked; what a product says of
itself stays.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visql_lib.errors import TableError
from visql_lib.tables.schema import Column, TableSchema
from visql_lib.tables.store import read_meta

MADE = "made"  # of the metadata of a table: ISO 8601, UTC
PNG_MADE = "Creation Time"  # the same in a PNG file, by the keyword the format has for it
RAW = "raw"  # the observation itself

PERFORMANCE = TableSchema(
    "performance",
    "When each product of the exposures of a month was made.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("DATE_OBS", "time", "", "start, UTC; NaT where not known"),
        Column(
            "PRODUCT", "str", "", "kind of table, ending of the name of a picture, or raw for the observation"
        ),
        Column(
            "MADE", "time", "", "time (UTC) in the record of the product; for raw the start; NaT if unknown"
        ),
        Column("LATENCY", "float64", "h", "MADE less DATE_OBS; NaN where either is not known"),
    ),
)

_PNG = b"\x89PNG\r\n\x1a\n"
_LONGEST = 1 << 16  # bytes of a text we look into
_HEAD = 1 << 12  # bytes read at once: most pictures have all texts there


class CreationInfo(NamedTuple):
    """The kind of a product, when it was made (UTC, NaT if unknown), and whether it failed."""

    product: str
    made: np.datetime64
    failed: bool = False


def creation_of_table(path: Path) -> CreationInfo:
    """Read kind and date of a table from its metadata; its rows are not read.

    Raises
    ------
    TableError
        If it is no table.
    """
    meta = read_meta(path)
    return CreationInfo(str(meta.get("product", "")), time_of(meta.get(MADE)), "failed" in meta)


def creation_of_picture(path: Path, exposure: str) -> CreationInfo:
    """Read kind and date of a PNG file from its texts; its pixels are not read.

    Raises
    ------
    TableError
        If it is no PNG file.
    """
    ending = path.name.removeprefix(exposure).removeprefix("_")
    product = "thumbnail.png" if ending == ".png" else ending
    return CreationInfo(product, time_of(_png_texts(path).get(PNG_MADE)))


def _png_texts(path: Path) -> dict[str, str]:
    """Read the texts before the pixels of a PNG file."""
    texts = {}
    try:
        with path.open("rb", buffering=_HEAD) as file:
            if file.read(8) != _PNG:
                raise TableError(f"{path}: not a picture; make it again")
            while len(head := file.read(8)) == 8:
                length, kind = struct.unpack(">I4s", head)
                if kind in (b"IDAT", b"IEND"):
                    break
                if kind == b"tEXt" and length < _LONGEST:
                    key, _, text = file.read(length).partition(b"\0")
                    texts[key.decode("latin-1")] = text.decode("latin-1")
                    file.seek(4, 1)
                else:
                    file.seek(length + 4, 1)
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from error
    return texts


def time_of(text: object) -> np.datetime64:
    """Parse a time written as ISO 8601 (UTC if it has no zone); NaT if it is none."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return np.datetime64("NaT", "us")
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time, "us")
