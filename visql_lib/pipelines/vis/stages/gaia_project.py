"""Reference stars of one exposure in focal-plane coordinates: the first part of stage `gaia_match`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.columns import joined
from visql_lib.archives.files import read_stars
from visql_lib.errors import TableError
from visql_lib.flags import SolutionFlag
from visql_lib.pipelines.vis.schemas.gaia import GAIA_STARS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import row_of
from visql_lib.sky.projection import Boresight
from visql_lib.sky.reference import reference_stars, years_since_epoch
from visql_lib.tables import read_meta


@dataclass(frozen=True)
class ProjectInputs:
    """What is projected: files of stars, onto the focal plane of an exposure.

    ``boresight`` [deg] and ``date`` (UTC, None if not known) are those of the exposure.
    """

    catalogues: tuple[Path, ...]
    boresight: Boresight
    date: datetime | None
    exposure: str


@dataclass(frozen=True)
class ProjectOutputs:
    """Columns of the table GAIA_STARS, and its metadata."""

    stars: Mapping[str, NDArray]
    meta: dict[str, Any]


def inputs_from_sheet(sheet: Path, exposure: str, catalogues: Sequence[Path]) -> ProjectInputs:
    """Look up in the exposure sheet where and when an exposure was taken.

    Raises
    ------
    TableError
        If the sheet does not say where it points.
    """
    row = row_of(sheet, exposure)
    if not (math.isfinite(row.ra) and math.isfinite(row.dec)):
        raise TableError(
            f"{sheet}: does not say where {exposure} points; use `visql gaia-project --ra --dec`"
        )
    date = datetime.fromisoformat(row.date_obs) if row.date_obs else None
    return ProjectInputs(tuple(catalogues), Boresight(row.ra, row.dec, row.pa), date, exposure)


def run(context: Context[VisSettings], inputs: ProjectInputs) -> ProjectOutputs:
    """Project the stars of one or more files onto the focal plane.

    Raises
    ------
    VisqlError
        If a file is missing or holds no stars, and failures are not recorded.
    """
    boresight, limits = inputs.boresight, context.settings.gaia
    years = years_since_epoch(inputs.date)
    pointing = {"ra": boresight.ra, "dec": boresight.dec, "pa": boresight.pa}
    meta: dict[str, Any] = {"exposure": inputs.exposure, **pointing, "years": years}
    columns, flags = GAIA_STARS.empty(), SolutionFlag.REFERENCE_FAILED
    with context.failures(meta):
        columns, flags = reference_stars(
            _read(inputs.catalogues),
            boresight,
            years,
            radius=limits.radius,
            faintest=limits.faintest,
            max_error=limits.max_error,
            proper_motions=limits.proper_motions,
        )
    meta["flags"] = int(flags)
    return ProjectOutputs(columns, meta)


def _read(paths: Sequence[Path]) -> dict[str, NDArray]:
    """Read the stars of all catalogues, without duplicates."""
    for path in paths:
        if path.suffix == ".parquet" and (cause := read_meta(path).get("failed")):
            raise TableError(str(cause))
    stars = joined(read_stars(path) for path in paths)
    _, first = np.unique(stars["SOURCE_ID"], return_index=True)
    return {name: values[first] for name, values in stars.items()}
