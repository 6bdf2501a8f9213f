"""The pictures of the image quality of exposures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.pictures.timeline import timeline
from visql_lib.pipelines.vis.pictures.month import quality_diagrams
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.tables.store import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOMENTS = ("R2", "e1", "e2", "tr1", "tr2", "com1", "com2")
_COLUMNS = ("DATE_OBS", "EXPTIME", "STATUS", *_MOMENTS, *(f"{m}_ERR" for m in _MOMENTS))


@dataclass(frozen=True)
class QualityPicturesInputs:
    """What is drawn of the image quality.

    Parameters
    ----------
    tables : tuple of Path
        Tables PSFMOMENTS.
    pictures : tuple of str
        ``diagrams``, ``timeline``, or both.
    last_days : float, optional
        Only exposures of so many days before the newest one.
    """

    tables: tuple[Path, ...]
    pictures: tuple[str, ...]
    last_days: float | None = None


def run(context: Context[VisSettings], inputs: QualityPicturesInputs) -> Iterator[tuple[str, Figure]]:
    """Draw the pictures one after the other, each with its name.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    table = _last(_read(inputs.tables), inputs.last_days)
    title = _title(table)
    if "diagrams" in inputs.pictures:
        yield "diagrams", quality_diagrams(table, title=title)
    if "timeline" in inputs.pictures:
        start = np.datetime64(context.instrument.mission_epoch.replace(tzinfo=None), "us")
        yield "timeline", timeline(table, start, title=title)


def _read(paths: tuple[Path, ...]) -> dict[str, NDArray]:
    """Read the columns needed of all tables, one after the other."""
    tables = [read_table(path, _COLUMNS) for path in paths]
    return {name: np.concatenate([table[name] for table in tables]) for name in _COLUMNS}


def _last(table: dict[str, NDArray], days: float | None) -> dict[str, NDArray]:
    """Keep the exposures of the last `days` days before the newest; those without a date are dropped.

    Dates in the future, as in some imported tables, are ignored.
    """
    dates = table["DATE_OBS"]
    known = ~np.isnat(dates)
    if days is None or not known.any():
        return table
    past = dates[known & (dates <= np.datetime64("now") + np.timedelta64(1, "D"))]
    oldest = (past if len(past) else dates[known]).max() - np.timedelta64(round(days * 86400e6), "us")
    recent = known & (dates >= oldest) & (dates <= max(past, default=dates[known].max()))
    return {name: column[recent] for name, column in table.items()}


def _title(table: dict[str, NDArray]) -> str:
    """Return for example ``image quality, 2024-07-01 to 2024-07-16``."""
    dates = table["DATE_OBS"][~np.isnat(table["DATE_OBS"])]
    if len(dates) == 0:
        return "image quality"
    first, last = (str(np.datetime_as_string(d, "D")) for d in (dates.min(), dates.max()))
    return f"image quality, {first}" + (f" to {last}" if last != first else "")
