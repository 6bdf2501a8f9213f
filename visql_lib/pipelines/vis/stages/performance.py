"""Pipeline performance of a month: when each product of its exposures was made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.vis.schemas.performance import (
    PERFORMANCE,
    RAW,
    CreationInfo,
    creation_of_picture,
    creation_of_table,
)
from visql_lib.sheets.exposures import start_of_row
from visql_lib.sheets.sheet import USABLE, WITHOUT_RAW, read_sheet

log = logging.getLogger(__name__)


def month_performance(sheet: Path, on_exposure: Callable[[], None] = lambda: None) -> dict[str, NDArray]:
    """Gather when the products of a month were made, from their metadata.

    Parameters
    ----------
    sheet : Path
        The exposure sheet; products are looked for beside it.
    on_exposure : callable, optional
        Called after each exposure.

    Returns
    -------
    dict of arrays, shape (n,)
        The columns of PERFORMANCE (docs/tables.md), by start, exposure and product:
        a row ``raw`` for every exposure of any type, one for every table, and one
        for every picture that tells when it was made. A table that only records
        why it failed is no product.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken product is left out with a warning.
    """
    rows = [row for row in read_sheet(sheet) if row.status in (*USABLE, *WITHOUT_RAW)]
    found: list[tuple[str, np.datetime64, str, np.datetime64]] = []
    for row in rows:
        start = start_of_row(row).astype("datetime64[us]")
        found.append((row.exposure, start, RAW, start))
        folder = sheet.parent / sheet.stem / row.exposure
        found += [(row.exposure, start, made.product, made.made) for made in _products(folder, row.exposure)]
        on_exposure()
    found.sort(key=lambda r: (str(r[1]), r[0], r[2] != RAW, r[2]))
    return _columns(found)


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
