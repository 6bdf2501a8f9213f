"""Image quality of a month: the moments of its exposures, summarised, scored and compared with limits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import ConfigError, TableError
from visql_lib.flags import ExposureFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.legacy.imported import imported_path, read_imported
from visql_lib.pipelines.vis.legacy.read import read_archive_names
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.schemas.archive_names import text_path
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.psf.score import image_quality_score
from visql_lib.psf.summary import SUMMARY, summarise_moments
from visql_lib.qc.evaluate import BELOW, ERROR, evaluate
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.table import day_of
from visql_lib.sheets.exposures import science_exposures, start_of_row
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables import PSFMOMENTS, Table, read_table

# Quantities compared with limits, in the order of the column REASON.
_ORDER = ("SCORE", "N_STARS", "R2", "com1", "com2", "e1", "e2", "tr1", "tr2")
_JUDGED = QUANTITIES.of_table("psfmoments", _ORDER)

MOMENTS_ENDING = "_stars2_mom.parquet"
MEASURED, IMPORTED_MOMENTS, IMPORTED_MEDIANS = "measured", "imported moments", "imported medians"


@dataclass(frozen=True)
class ImageQualityInputs:
    """The month whose exposures are summarised."""

    month: MonthFiles


@dataclass(frozen=True)
class ImageQuality:
    """The columns of PSFMOMENTS (docs/tables.md), sorted by start; their limits and sources."""

    columns: dict[str, NDArray]
    thresholds: Thresholds
    sources: tuple[Path, ...]


def run(context: Context[VisSettings], inputs: ImageQualityInputs) -> ImageQuality:
    """Make the image-quality table of a month.

    Our own moments count more than imported ones, and those more than imported medians.

    Raises
    ------
    TableError
        If the sheet cannot be read; a broken table of moments costs its exposure only.
    """
    month = inputs.month
    thresholds = load_thresholds(context.settings.quality.thresholds, QUANTITIES)
    imported = _by_exposure(read_imported(month.results, month.month))
    names = archive_names(context.settings, month.results)
    rows, exposures = [], science_exposures(month.sheet)
    with context.progress(month.month, len(exposures)) as advance:
        for row in exposures:
            known = imported.get(row.exposure, {})
            name = known.get("ARCHIVE_NAME") or names.get(row.exposure, "")
            moments = month.frame_file(row.exposure, MOMENTS_ENDING)
            rows.append(quality_row(row, moments, known) | {"ARCHIVE_NAME": name})
            advance()
    sources = (month.sheet, imported_path(month.results, month.month))
    columns = quality_table(rows, context.instrument, thresholds)
    return ImageQuality(columns, thresholds, tuple(path for path in sources if path.is_file()))


def quality_row(row: SheetRow, moments: Path, imported: dict[str, Any]) -> dict[str, Any]:
    """Compute one exposure's row, without score and status.

    Parameters
    ----------
    row : SheetRow
        The exposure.
    moments : Path
        Its table of moments, if there is one.
    imported : mapping
        The exposure's row of the imported table, empty if it has none.
    """
    values = {
        "EXPOSURE": row.exposure,
        "DATE_OBS": start_of_row(row),
        "EXPTIME": row.exptime,
        "REASON": "",
        "FLAGS": row.flags | (int(ExposureFlag.INCOMPLETE) if row.status == "incomplete" else 0),
        **_no_medians(),
    }
    if moments.is_file():
        found = _from_moments(moments)
    elif imported.get("HAS_MEDIANS"):
        found = _from_medians(imported)
    else:
        found = _failed(f"{moments.name}: no moments, neither measured nor imported", MEASURED)
    flags = values["FLAGS"] | found.pop("FLAGS", 0)
    values |= found
    if values["N_STARS"] == 0:
        flags |= ExposureFlag.NO_STARS
    return values | {"FLAGS": int(flags)}


def _from_moments(path: Path) -> dict[str, Any]:
    try:
        table = read_table(path, [*SUMMARY, "FLAGS"])
    except TableError as error:  # costs this exposure, not the month
        return _failed(str(error), MEASURED)
    source = IMPORTED_MOMENTS if table.meta.get("origin") == "imported" else MEASURED
    if "failed" in table.meta:
        return _failed(str(table.meta["failed"]), source)
    return {**summarise_moments(table), "SOURCE": source}


def _from_medians(imported: dict[str, Any]) -> dict[str, Any]:
    medians = {name: imported[name] for name in SUMMARY}
    n_stars = 0 if math.isnan(medians["R2"]) else math.nan
    flags = int(ExposureFlag.IMPORTED)
    return {**medians, "N_STARS": n_stars, "SOURCE": IMPORTED_MEDIANS, "FLAGS": flags}


def _failed(reason: str, source: str) -> dict[str, Any]:
    return {"SOURCE": source, "REASON": reason, "FLAGS": int(ExposureFlag.FAILED)}


def _no_medians() -> dict[str, Any]:
    return {"N_STARS": math.nan} | {n + end: math.nan for n in SUMMARY for end in ("", "_ERR")}


def quality_table(
    rows: list[dict[str, Any]], instrument: Instrument, thresholds: Thresholds
) -> dict[str, NDArray]:
    """Compute the columns of the quality table, sorted by start: adds class, score and status."""
    if not rows:
        return PSFMOMENTS.empty()
    rows = sorted(rows, key=lambda r: (str(r["DATE_OBS"]), r["EXPOSURE"]))
    r2, e1, e2 = (np.array([r[name] for r in rows]) for name in ("R2", "e1", "e2"))
    good = instrument.score
    scores = image_quality_score(
        r2,
        e1,
        e2,
        centre=(good.R2, good.e1, good.e2),
        covariance=(good.cov_R2_R2, good.cov_R2_e1, good.cov_e1_e1),
        var_e2=good.var_e2,
    ).tolist()
    for row, score in zip(rows, scores, strict=True):
        row["SCORE"] = score
        row["CLASS"] = "unknown" if math.isnan(row["EXPTIME"]) else instrument.exposure_class(row["EXPTIME"])
        row["STATUS"], row["REASON"] = _status(row, thresholds)
    return {name: np.array([r[name] for r in rows]) for name in PSFMOMENTS.names}


def _status(row: dict[str, Any], thresholds: Thresholds) -> tuple[str, str]:
    """Determine status and reason of a row; an exposure without stars is always an error."""
    if row["FLAGS"] & ExposureFlag.FAILED:
        return "failed", row["REASON"]
    if row["FLAGS"] & ExposureFlag.NO_STARS:
        return ERROR, ExposureFlag.NO_STARS.doc
    values = {q.name: float(row[q.column]) for q in _JUDGED}
    found = evaluate(values, thresholds, day_of(row["DATE_OBS"]), QUANTITIES)
    stars = found.of("psf.N_STARS")
    if stars is not None and stars.side == BELOW:
        row["FLAGS"] |= int(ExposureFlag.FEW_STARS)
    return found.status, found.reason


def _by_exposure(table: Table | None) -> dict[str, dict[str, Any]]:
    if table is None:
        return {}
    columns = {name: values.tolist() for name, values in table.items()}
    rows: Iterable[tuple] = zip(*columns.values(), strict=True)
    return {row["EXPOSURE"]: row for row in (dict(zip(columns, values, strict=True)) for values in rows)}


def archive_names(settings: VisSettings, results: Path) -> dict[str, str]:
    """Look up the archive names of exposures, in the configured table or that of `visql fetch`."""
    if not settings.legacy.archive_names:
        path = text_path(results)
        return read_archive_names(path) if path.is_file() else {}
    path = Path(settings.legacy.archive_names)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; correct or empty the setting legacy.archive_names")
    return read_archive_names(path)
