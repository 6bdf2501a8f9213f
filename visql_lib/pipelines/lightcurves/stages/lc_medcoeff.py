"""Stage `lc_medcoeff`: coefficients of the frames of a set by aperture photometry of its stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import RequestError, TargetError
from visql_lib.photometry.medcoeff import median_coefficients
from visql_lib.pipelines.lightcurves.decisions import Decision, to_meta
from visql_lib.pipelines.lightcurves.reference_file import read_reference
from visql_lib.pipelines.lightcurves.schemas import MEDCOEFF
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.tables.store import Table, read_table

STAGE = "lc_medcoeff"
NEEDED = ("frames", "transforms", "apertures", "stars")
AUTO = "auto"


@dataclass(frozen=True)
class MedcoeffInputs:
    """Tables of a set by kind (see `NEEDED`), the reference, and the set."""

    tables: Mapping[str, Path]
    reference: Path
    set: str


@dataclass(frozen=True)
class MedcoeffOutputs:
    """Columns of MEDCOEFF and their metadata."""

    columns: dict[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[LightCurveSettings], inputs: MedcoeffInputs) -> MedcoeffOutputs:
    """Compute the coefficients of all frames that are aligned.

    Raises
    ------
    TargetError
        If no star is measured in the photometric reference of the set.
    RequestError
        If the wanted aperture does not exist.
    """
    transforms = read_table(inputs.tables["transforms"], ["FRAME", "STATUS"])
    wanted = _wanted(inputs.tables["frames"])
    frames = [
        str(name)
        for name, status in zip(transforms["FRAME"], transforms["STATUS"], strict=True)
        if status == LightStatus.OK and str(name) in wanted
    ]
    stars = read_table(inputs.tables["stars"])
    names = [str(name) for name in stars["STAR"][stars["NORM"]]]
    flux = _fluxes(inputs.tables["apertures"], frames, names, context.settings.medcoeff.flux)
    reference = read_reference(inputs.reference).photometric.get(inputs.set, "")
    if reference not in frames:
        raise TargetError(
            f"{inputs.set}: its photometric reference {reference or '(none)'} is not among the aligned "
            "frames; let it be chosen anew by visql lc-thaw"
        )
    at = frames.index(reference)
    known = np.isfinite(flux[:, at])
    if not known.any():
        raise TargetError(f"{inputs.set}: no comparison star is measured in the reference frame {reference}")
    made = median_coefficients(flux, flux[:, at])
    lost = [frames[i] for i in np.flatnonzero(made.stars == 0)]
    decisions = [Decision(name, inputs.set, STAGE, False, "no comparison star is measured") for name in lost]
    columns = {
        "FRAME": np.array(frames, dtype=np.str_),
        "MEDCOEFF": made.median,
        "SIGCOEFF": made.scatter,
        "SPANCOEFF": made.span,
        "N": made.stars,
    }
    meta = {
        "set": inputs.set,
        "reference": reference,
        "stars": [name for name, use in zip(names, known, strict=True) if use],
        "flux": context.settings.medcoeff.flux,
        **to_meta(decisions),
    }
    return MedcoeffOutputs(MEDCOEFF.cast(columns), meta)


def _wanted(path: Path) -> set[str]:
    table = read_table(path, ["FRAME", "STATUS"])
    return {str(name) for name in table["FRAME"][table["STATUS"] == LightStatus.OK]}


def _fluxes(path: Path, frames: list[str], stars: list[str], flux: str) -> NDArray[np.float64]:
    """Return the fluxes of stars in frames, shape (stars, frames); NaN where not measured without flags."""
    table = read_table(path)
    values = table["FLUX_AUTO"] if flux == AUTO else _aperture(table, int(flux), path)
    found = np.full((len(stars), len(frames)), np.nan)
    row_of, column_of = ({name: i for i, name in enumerate(names)} for names in (stars, frames))
    for i in np.flatnonzero(table["FLAGS"] == 0):
        row, column = row_of.get(str(table["STAR"][i])), column_of.get(str(table["FRAME"][i]))
        if row is not None and column is not None:
            found[row, column] = values[i]
    return found


def _aperture(table: Table, number: int, path: Path) -> NDArray:
    """Return the fluxes in an aperture, numbered from 1."""
    fluxes: NDArray = table["FLUX_APER"]
    if fluxes.ndim != 2 or number > fluxes.shape[1]:
        count = fluxes.shape[1] if fluxes.ndim == 2 else 0
        raise RequestError(f"medcoeff.flux: there is no aperture {number} in {path}, which has {count}")
    column: NDArray = fluxes[:, number - 1]
    return column
