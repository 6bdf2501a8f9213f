"""Pipeline performance of a month: when each product of its exposures was made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.performance import (
    PERFORMANCE,
    RAW,
    CreationInfo,
    creation_of_picture,
    creation_of_table,
)
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, read_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PerformanceInputs:
    """The month whose products are listed."""

    month: MonthFiles


@dataclass(frozen=True)
class Performance:
    """The columns of PERFORMANCE (docs/tables.md), by start, exposure and product.

    A row ``raw`` for every exposure of any type, one for every table, and one
    for every picture that tells when it was made. A table that only records
    why it failed is no product.
    """

    columns: dict[str, NDArray]


def run(context: Context[VisSettings], inputs: PerformanceInputs) -> Performance:
    """Gather when the products of a month were made, from their metadata.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken product is left out with a warning.
    """
    month = inputs.month
    rows = [row for row in read_sheet(month.sheet) if row.status in (*USABLE, *WITHOUT_RAW)]
    found: list[tuple[str, np.datetime64, str, np.datetime64]] = []
    with context.progress(month.month, len(rows)) as advance:
        for row in rows:
            start, name = start_of_row(row), row.exposure
            found.append((name, start, RAW, start))
            folder = month.frame_file(name, "").parent
            found += [(name, start, made.product, made.made) for made in _products(folder, name)]
            advance()
    found.sort(key=lambda r: (str(r[1]), r[0], r[2] != RAW, r[2]))
    return Performance(_columns(found))


def pictures(context: Context[VisSettings], found: Performance, month: str) -> Iterator[tuple[str, Figure]]:
    """Draw the days of the month one after the other, each with its name YYYYMMDD."""
    from visql_lib.pipelines.vis.pictures.performance import observing_days, pipeline_performance

    days = observing_days(found.columns)
    with context.progress(f"{month}: pictures", len(days)) as advance:
        for day in days:
            yield str(day).replace("-", ""), pipeline_performance(found.columns, day)
            advance()


def _products(folder: Path, exposure: str) -> Iterator[CreationInfo]:
    """Yield when the products of an exposure were made."""
    try:
        paths = list(folder.iterdir()) if folder.is_dir() else []
    except PermissionError as error:  # costs this exposure, not the month
        log.warning("%s: cannot be read (%s)", folder, error.strerror)
        return
    for path in sorted((p for p in paths if p.name.startswith(exposure)), key=lambda p: p.name):
        try:
            if path.suffix == ".parquet":
                made = creation_of_table(path)
                if made.product and not made.failed:
                    yield made
            elif path.suffix == ".png":
                made = creation_of_picture(path, exposure)
                if not np.isnat(made.made):
                    yield made
        except TableError as error:  # costs this product, not the month
            log.warning("%s", error)


def _columns(found: list[tuple[str, np.datetime64, str, np.datetime64]]) -> dict[str, NDArray]:
    if not found:
        return PERFORMANCE.empty()
    exposure, start, product, made = (list(column) for column in zip(*found, strict=True))
    starts, times = np.array(start, dtype="datetime64[us]"), np.array(made, dtype="datetime64[us]")
    hours = (times - starts).astype(float) / 3600e6
    hours[np.isnat(times) | np.isnat(starts)] = np.nan
    return {
        "EXPOSURE": np.array(exposure, dtype=np.str_),
        "DATE_OBS": starts,
        "PRODUCT": np.array(product, dtype=np.str_),
        "MADE": times,
        "LATENCY": hours,
    }
