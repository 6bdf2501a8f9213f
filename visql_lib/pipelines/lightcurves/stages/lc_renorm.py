"""Stage `lc_renorm`: PSF fluxes of the stars of a set -> coefficients of its frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import StarFlag
from visql_lib.photometry.renormalise import Renormalised, RenormOptions, renormalise
from visql_lib.pipelines.lightcurves.decisions import Decision, from_meta, to_meta
from visql_lib.pipelines.lightcurves.schemas import PSF, PSF_CHUNK, RENORM, STAR_FLUXES
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings, RenormSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.context import Context
from visql_lib.tables.store import Table, read_meta, read_table

log = logging.getLogger(__name__)

STAGE = "lc_renorm"
FEWEST = 3  # stars below which the coefficients are flagged
_STAR_COLUMNS = ("FLUX", "ERR", "X", "Y", "CHI2", "FLAGS")


@dataclass(frozen=True)
class RenormInputs:
    """Tables of a set.

    Parameters
    ----------
    chunks : sequence of Path
        PSF_CHUNK of all its nights.
    frames, stars, reference : Path
    set : str
    """

    chunks: Sequence[Path]
    frames: Path
    stars: Path
    reference: Path
    set: str


@dataclass(frozen=True)
class RenormOutputs:
    """Columns of RENORM, PSF, STAR_FLUXES, and the metadata of the first."""

    renorm: Mapping[str, NDArray]
    psf: Mapping[str, NDArray]
    fluxes: Mapping[str, NDArray]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Gathered:
    """The nights of a set together: rows of PSF by time, fluxes of all stars (n frames, n stars)."""

    rows: list[dict[str, Any]]
    stars: list[str]
    measured: dict[str, NDArray]
    decisions: list[Decision]

    @property
    def names(self) -> list[str]:
        return [str(row["FRAME"]) for row in self.rows]


def run(context: Context[LightCurveSettings], inputs: RenormInputs) -> RenormOutputs:
    """Gather the nights, drop stars that vary, compute the coefficients.

    Raises
    ------
    TableError
        If the nights were measured with different stars.
    """
    settings = context.settings.renorm
    gathered = _gather(inputs)
    serving = _serving(gathered, read_table(inputs.stars, ["STAR", "NORM"]))
    flux, err = (np.where(serving, gathered.measured[c], math.nan) for c in ("FLUX", "ERR"))
    wanted = str(read_meta(inputs.reference).get("photometric", {}).get(inputs.set, ""))
    reference = gathered.names.index(wanted) if wanted in gathered.names else None
    options = RenormOptions(settings.drop, settings.drop_least / 1000, settings.min_stars)
    found = renormalise(flux, err, reference, options)
    decisions = [*gathered.decisions, *_decisions(found, gathered, inputs, settings)]
    if wanted and (reference is None or not np.isfinite(found.coeff[reference])):
        why = f"its photometric reference {wanted} has no PSF: the median coefficient is 1"
        log.warning("set %s: %s", inputs.set, why)
        decisions.append(Decision(wanted, inputs.set, STAGE, True, why))
    return RenormOutputs(
        _renorm_columns(gathered, found),
        PSF.of_rows(gathered.rows),
        _flux_columns(gathered),
        _meta(gathered, found, inputs, wanted, decisions),
    )


def _gather(inputs: RenormInputs) -> _Gathered:
    """Read the nights; frames that are not `ok` in the table of frames are left out."""
    frames = read_table(inputs.frames, ["FRAME", "STATUS", "MJD"])
    order = {
        str(name): (float(mjd), str(name))
        for name, status, mjd in zip(frames["FRAME"], frames["STATUS"], frames["MJD"], strict=True)
        if status == LightStatus.OK
    }
    found: dict[str, tuple[dict[str, Any], dict[str, NDArray]]] = {}
    stars: list[str] | None = None
    decisions = []
    for path in inputs.chunks:
        chunk = read_table(path, PSF_CHUNK.names)
        names = [str(name) for name in chunk.meta.get("stars", [])]
        if stars is not None and names != stars:
            raise TableError(f"{path}: was measured with other stars than the nights before; make it again")
        stars = names
        decisions += [d for d in from_meta(chunk.meta) if d.frame in order]
        for i, name in enumerate(map(str, chunk["FRAME"])):
            if name in order:
                found[name] = _row_of(chunk, i)
    kept = sorted(found, key=lambda name: order[name])
    width = len(stars or [])
    measured = {
        column: np.array([found[name][1][column] for name in kept]).reshape(len(kept), width)
        for column in _STAR_COLUMNS
    }
    return _Gathered([found[name][0] for name in kept], stars or [], measured, decisions)


def _row_of(chunk: Table, i: int) -> tuple[dict[str, Any], dict[str, NDArray]]:
    row = {column: chunk[column][i] for column in PSF.names}
    return row, {column: np.asarray(chunk[f"STAR_{column}"][i]) for column in _STAR_COLUMNS}


def _serving(gathered: _Gathered, stars: Table) -> NDArray[np.bool_]:
    """Tell which fluxes serve: of comparison stars, without a saturated pixel."""
    norm = {str(name) for name, serves in zip(stars["STAR"], stars["NORM"], strict=True) if serves}
    serves = np.array([name in norm for name in gathered.stars], bool)
    flags = gathered.measured["FLAGS"].astype(int)
    return np.asarray(serves[None, :] & ((flags & int(StarFlag.SATURATED)) == 0))


def _decisions(
    found: Renormalised, gathered: _Gathered, inputs: RenormInputs, settings: RenormSettings
) -> list[Decision]:
    """Tell which stars were dropped, and what is doubtful."""
    out = []
    for star in found.dropped:
        name = gathered.stars[star.star]
        reason = (
            f"star {name} varies: it scatters by {1000 * star.scatter:.1f} mmag against the others, "
            f"{1000 * star.expected:.1f} expected"
        )
        log.info("set %s: %s", inputs.set, reason)
        out.append(
            Decision(f"star {name}", inputs.set, STAGE, False, reason, 1000 * star.scatter, 1000 * star.limit)
        )
    n = int(found.kept.sum())
    if n < max(FEWEST, settings.min_stars) and gathered.rows:
        least = max(FEWEST, settings.min_stars)
        reason = f"only {n} comparison stars: none can be dropped, and errors of coefficients are unsure"
        log.warning("set %s: %s", inputs.set, reason)
        out.append(Decision("", inputs.set, STAGE, True, reason, n, least))
    for name, row, coeff in zip(gathered.names, gathered.rows, found.coeff, strict=True):
        if row["STATUS"] == LightStatus.OK and not np.isfinite(coeff):
            out.append(Decision(name, inputs.set, STAGE, False, "no coefficient: no comparison star"))
    return out


def _renorm_columns(gathered: _Gathered, found: Renormalised) -> dict[str, NDArray]:
    rows = [
        {"FRAME": row["FRAME"], "C": c, "C_ERR": err, "N": n, "PSF_SET": row["PSF_SET"]}
        for row, c, err, n in zip(gathered.rows, found.coeff, found.err, found.n, strict=True)
    ]
    return RENORM.of_rows(rows)


def _flux_columns(gathered: _Gathered) -> dict[str, NDArray]:
    rows = []
    for i, row in enumerate(gathered.rows):
        if row["STATUS"] != LightStatus.OK:
            continue
        for s, star in enumerate(gathered.stars):
            own = {column: gathered.measured[column][i, s] for column in _STAR_COLUMNS}
            rows.append({"FRAME": row["FRAME"], "PSF_SET": row["PSF_SET"], "STAR": star, **own})
    return STAR_FLUXES.of_rows(rows)


def _meta(
    gathered: _Gathered, found: Renormalised, inputs: RenormInputs, reference: str, decisions: list[Decision]
) -> dict[str, Any]:
    """Return the metadata of RENORM: levels of the stars tie several sets to each other."""
    pairs = list(zip(gathered.stars, found.level.tolist(), found.kept.tolist(), strict=True))
    return {
        "set": inputs.set,
        "photometric": reference,
        "levels": {name: level for name, level, kept in pairs if kept and math.isfinite(level)},
        "dropped": [gathered.stars[star.star] for star in found.dropped],
        "few_stars": int(found.kept.sum()) < FEWEST,
        **to_meta(decisions),
    }
