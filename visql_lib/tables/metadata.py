"""What a table says of itself beside its columns: typed values in its metadata, with unit and meaning.

They stand in the Parquet file as plain JSON, None for a number that is not known; here they are
models, with NaN. A key that a model does not have is left alone: versions before and after may know
others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from visql_lib.errors import TableError

# A number, NaN where it is not known.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Metadata(BaseModel):
    """Values that a table holds beside its columns; each has a default: older tables may lack it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=Metadata)


def value(default: Any, unit: str, doc: str) -> Any:
    """Declare a value of the metadata: its default, unit and meaning."""
    return Field(default=default, description=doc, json_schema_extra={"unit": unit})


def number(unit: str, doc: str) -> Any:
    """Declare a number that is NaN where it is not known."""
    return value(math.nan, unit, doc)


class FrameMetadata(Metadata):
    """The frame that a table was made from."""

    exposure: str = value("", "", "name of the exposure")
    instrument: str = value("", "", "instrument")
    frame_type: str = value("", "", "SCIENCE, DARK, ...; empty if not known")
    exptime: Number = number("s", "exposure time")
    date_obs: str | None = value(None, "", "start, UTC, ISO 8601")
    pixels: str = value("", "", "checksum of the frame's pixels")
    overscan_subtracted: tuple[str, ...] = value((), "", "quadrants less the level of their overscan")
    failed: str = value("", "", "why the exposure failed; the table is empty then")


class Selection(Metadata):
    """Where the stars of an exposure stand in the radius-flux diagram."""

    kind: str = value("", "", "chimney, or fixed where fixed limits were used")
    r_c: Number = number("pix", "radius where the plume of saturated stars leaves the stack")
    f_c: Number = number("adu", "flux there")
    n_region: int = value(0, "", "detections in stack and plume")
    r_median: Number = number("pix", "median radius of the stars")
    r_min: Number = number("pix", "smallest radius of a star")
    r_max: Number = number("pix", "largest radius of a star")
    f_min: Number = number("adu", "smallest flux of a star")
    f_max: Number = number("adu", "largest flux of a star")
    flags: int = value(0, "", "SelectionFlag bits")


class StarMetadata(FrameMetadata):
    """The frame, and how its stars were selected."""

    selection: Selection | None = value(None, "", "how the stars were selected")


def facts_in(meta: Mapping[str, Any], model: type[M], path: Path | str) -> M:
    """Take the values of a model from the metadata of a table.

    Parameters
    ----------
    meta : mapping
        As in `visql_lib.tables.Table.meta`.
    model : type
        Which values.
    path : Path or str
        The table, for messages.

    Raises
    ------
    TableError
        If a value is of another kind.
    """
    try:
        return model.model_validate(dict(meta))
    except ValidationError as error:
        wrong = error.errors()[0]
        key = ".".join(map(str, wrong["loc"]))
        raise TableError(f"{path}: wrong {key!r} in its metadata ({wrong['msg']}); make it again") from error


def described(model: type[Metadata], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key, unit and meaning of all values of a model, those within values as ``key.key``."""
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        yield prefix + name, str(extra["unit"]) if isinstance(extra, dict) else "", field.description or ""
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Metadata):
                yield from described(kind, f"{prefix}{name}.")
