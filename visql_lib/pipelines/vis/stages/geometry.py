"""Astrometry of a month: the geometry of its focal plane, and the actual pointings of its exposures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.gaia import ASTROMETRY
from visql_lib.pipelines.vis.schemas.gaia_metadata import Reference, Relation, SolutionFacts
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.ratios import FRAT_ENDING, FrameMatch, match_of
from visql_lib.products.context import Context
from visql_lib.sheets.exposures import science_exposures, start_of_row
from visql_lib.sheets.sheet import SheetRow
from visql_lib.sky.fit import CLIP, Pairs
from visql_lib.sky.geometry import FocalPlaneGeometry
from visql_lib.sky.geometry_fit import GeometryFit, fit_geometry
from visql_lib.sky.projection import Boresight
from visql_lib.tables.store import read_table

REFERENCE_ENDING = "_stars2_gaia.parquet"
_NAN = float("nan")


@dataclass(frozen=True)
class MonthAstrometry:
    """Astrometry of a month.

    ``exposures`` holds the columns of ASTROMETRY, ``geometry`` the geometry fitted
    to all exposures at once.
    """

    exposures: dict[str, NDArray]
    geometry: GeometryFit

    def facts(self, version: str) -> dict[str, Any]:
        """Collect the numbers stored as metadata of the geometry's table."""
        fit, dates = self.geometry, self.exposures["DATE_OBS"]
        known = dates[~np.isnat(dates)]
        return {
            "version": version,
            "cubic_x": list(fit.cubic_x),
            "cubic_y": list(fit.cubic_y),
            "n_exposures": len(fit.used),
            "n_pairs": fit.n_pairs,
            "n_kept": fit.n_kept,
            "scatter": fit.scatter if np.isfinite(fit.scatter) else None,
            "first": str(known.min()) if len(known) else None,
            "last": str(known.max()) if len(known) else None,
            "flags": int(fit.flags),
        }


@dataclass(frozen=True)
class GeometryInputs:
    """The month whose matched stars are fitted."""

    month: MonthFiles


def run(context: Context[VisSettings], inputs: GeometryInputs) -> MonthAstrometry:
    """Fit the geometry of a month to the matched stars of all its exposures.

    Every exposure has a boresight, roll and scale of its own; the cubic and the
    terms of the CCDs are common. The fit starts from the instrument's distortion.

    Raises
    ------
    TableError
        If the sheet cannot be read.
    """
    instrument, month = context.instrument, inputs.month
    rows, pairs, numbers = [], [], []
    exposures = science_exposures(month.sheet)
    with context.progress(month.month, len(exposures)) as advance:
        for row in exposures:
            match = match_of(row, month.frame_file(row.exposure, FRAT_ENDING))
            rows.append(_row(row, match, instrument))
            found = _pairs(match, month.frame_file(row.exposure, REFERENCE_ENDING))
            if found is not None:
                numbers.append(len(rows) - 1)
                pairs.append(found)
            advance()
    astrometry = context.settings.astrometry
    fit = fit_geometry(
        pairs,
        FocalPlaneGeometry.of(instrument.sky_distortion),
        pixel=instrument.nominal_pixel / 3600,
        per_ccd="none" if astrometry.geometry == "reference" else astrometry.geometry,
        min_stars=astrometry.min_stars,
        min_stars_ccd=astrometry.min_stars_ccd,
    )
    columns = _columns(rows)
    for k, pointing, residuals in zip(fit.used, fit.pointings, fit.residuals, strict=True):
        line = numbers[k]
        place = vars(pointing.boresight).values()
        for name, value in zip(("RA", "DEC", "PA"), place, strict=True):
            columns[name][line] = value
        columns["SCALE"][line] = pointing.scale
        columns["SCATTER_MONTH"][line] = _scatter(*residuals)
    return MonthAstrometry(columns, fit)


def _pairs(match: FrameMatch, reference: Path) -> Pairs | None:
    """Select the matched stars of an exposure with a solution, None without one."""
    solution = match.facts.solution
    if match.path is None or solution is None or not np.isfinite([solution.pa, solution.ra]).all():
        return None
    frat = read_table(match.path, ("EXT", "XWORLD", "YWORLD", "SOURCE_ID"))
    gaia = read_table(reference, ("SOURCE_ID", "RA", "DEC"))
    order = np.argsort(gaia["SOURCE_ID"])
    place = order[np.searchsorted(gaia["SOURCE_ID"], frat["SOURCE_ID"], sorter=order)]
    ccd = np.array([name.partition(".")[0] for name in frat["EXT"]], dtype=np.str_)
    boresight = Boresight(solution.ra, solution.dec, solution.pa)
    return Pairs(ccd, frat["XWORLD"], frat["YWORLD"], gaia["RA"][place], gaia["DEC"][place], boresight)


def _row(row: SheetRow, match: FrameMatch, instrument: Instrument) -> dict[str, Any]:
    facts = match.facts
    solution, reference = facts.solution or SolutionFacts(), facts.reference or Reference()
    relation = facts.relation or Relation()
    names = ("RA", "DEC", "PA", "RA_ERR", "DEC_ERR", "PA_ERR", "SCALE", "SCALE_ERR", "SCATTER")
    ratios, errors = relation.ratios or 3 * (_NAN,), relation.errors or 3 * (_NAN,)
    return {
        "EXPOSURE": row.exposure,
        "DATE_OBS": start_of_row(row),
        "EXPTIME": row.exptime,
        "CLASS": instrument.exposure_class(row.exptime),
        **{"RA_HEADER": row.ra, "DEC_HEADER": row.dec, "PA_HEADER": row.pa},
        **{name: getattr(solution, name.lower()) for name in names},
        "SCATTER_MONTH": _NAN,
        "N": solution.n or 0,
        "N_OUTLIERS": solution.n_outliers or 0,
        "N_REFERENCE": reference.n_kept,
        "SIGMA_REFERENCE": reference.sigma,
        **{f"R{i + 1}": value for i, value in enumerate(ratios)},
        **{f"R{i + 1}_ERR": value for i, value in enumerate(errors)},
        "N_FIT": relation.n_fit,
        "N_CLIPPED": relation.n_clipped,
        "ACCEPTED": facts.accepted,
        "REASON": match.reason,
        "FLAGS": match.flags,
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, NDArray]:
    if not rows:
        return ASTROMETRY.empty()
    return ASTROMETRY.cast({name: np.array([row[name] for row in rows]) for name in ASTROMETRY.names})


def _scatter(dx: NDArray, dy: NDArray) -> float:
    """Compute the rms per axis of residuals that are no outliers."""
    r2 = dx**2 + dy**2
    spread = float(np.median(r2)) / (2 * np.log(2))  # variance of either of two Gaussian axes
    return float(np.sqrt(r2[r2 <= CLIP**2 * spread].mean() / 2))
