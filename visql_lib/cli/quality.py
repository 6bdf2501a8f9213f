"""`visql quality`: the moments of a month -> medians, scores and status of its exposures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from visql_lib.cli.common import INPUT, output_option, progress, settings_of, step
from visql_lib.errors import TableError
from visql_lib.flags import ExposureFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.config import QualitySettings, Settings
    from visql_lib.config.thresholds import Thresholds
    from visql_lib.frames.instrument import Instrument
    from visql_lib.tables.sheet import SheetRow
    from visql_lib.tables.store import Table

MEASURED, IMPORTED_MOMENTS, IMPORTED_MEDIANS = "measured", "imported moments", "imported medians"
_UNKNOWN = -1  # N_STARS where only medians were imported


@step(
    "quality",
    """Make the image-quality table of a month from its exposure sheet SHEET.

    Medians of the PSF moments (R2 in px^2, the others without unit) with their
    standard errors, score (good below 27), flags and status of every SCIENCE
    exposure. Moments are looked for beside the sheet
    (YYYYMM/E/E_stars2_mom.parquet), imported medians in ../imported/YYYYMM.parquet.
    Our own moments count more than imported ones, and those more than imported medians.""",
    "visql quality results/exposures/202407.tsv -o psfmoments_202407.parquet",
)
@click.argument("sheet", type=INPUT)
@output_option("Image quality (Parquet).")
def command(sheet: Path, output: Path, config: Path | None) -> None:
    """Read, summarise, judge, write."""
    from visql_lib.config.thresholds import load_thresholds
    from visql_lib.frames.instrument import load_instrument
    from visql_lib.tables import PSFMOMENTS, write_table
    from visql_lib.tables.imported import imported_path, read_imported
    from visql_lib.tables.sheet import read_sheet

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    thresholds = load_thresholds(settings.quality.thresholds)
    month, results = sheet.stem, sheet.resolve().parent.parent
    exposures = [r for r in read_sheet(sheet) if r.frame_type == "SCIENCE" and r.status in _LISTED]
    imported = _by_exposure(read_imported(results, month))
    names = archive_names(settings)
    with progress(month, len(exposures)) as advance:
        rows = []
        for row in exposures:
            advance()
            rows.append(
                quality_row(row, sheet.parent / month, imported.get(row.exposure, {}), settings.quality)
                | {"ARCHIVE_NAME": _archive_name(row.exposure, imported, names)}
            )
    columns = quality_table(rows, instrument, thresholds)
    inputs = [p for p in (sheet, imported_path(results, month)) if p.is_file()]
    write_table(
        output,
        columns,
        PSFMOMENTS,
        meta={"month": month, "instrument": instrument.name, "thresholds": settings.quality.thresholds},
        **_provenance(settings, thresholds, inputs),
    )


_LISTED = ("ok", "incomplete", "imported")  # an unreadable frame is of unknown type: `visql status` tells


def quality_row(
    row: SheetRow, folder: Path, imported: dict[str, Any], settings: QualitySettings
) -> dict[str, Any]:
    """Return one exposure's row, without score and status.

    Parameters
    ----------
    row : SheetRow
        The exposure.
    folder : Path
        Holds the month's folders of exposures.
    imported : mapping
        The exposure's row of the imported table, empty if it has none.
    settings : QualitySettings
        How few stars are flagged.
    """
    exptime = imported.get("EXPTIME", math.nan) if math.isnan(row.exptime) else row.exptime
    values = {
        "EXPOSURE": row.exposure,
        "DATE_OBS": _start(row),
        "EXPTIME": exptime,
        "REASON": "",
        "FLAGS": int(ExposureFlag.INCOMPLETE) if row.status == "incomplete" else 0,
        **_no_medians(),
    }
    path = folder / row.exposure / f"{row.exposure}_stars2_mom.parquet"
    if path.is_file():
        found = _from_moments(path)
    elif imported.get("HAS_MEDIANS"):
        found = _from_medians(imported)
    else:
        found = _failed(f"{path.name}: no moments, neither measured nor imported", MEASURED)
    flags = values["FLAGS"] | found.pop("FLAGS", 0)
    values |= found
    if not flags & ExposureFlag.FAILED:
        if values["N_STARS"] == 0:
            flags |= ExposureFlag.NO_STARS
        elif values["N_STARS"] != _UNKNOWN and values["N_STARS"] < settings.min_stars:
            flags |= ExposureFlag.FEW_STARS
    return values | {"FLAGS": int(flags)}


def _from_moments(path: Path) -> dict[str, Any]:
    from visql_lib.psf.summary import SUMMARY, summarise_moments
    from visql_lib.tables import read_table

    try:
        table = read_table(path, [*SUMMARY, "FLAGS"])
    except TableError as error:  # costs this exposure, not the month
        return _failed(str(error), MEASURED)
    source = IMPORTED_MOMENTS if table.meta.get("origin") == "imported" else MEASURED
    if "failed" in table.meta:
        return _failed(str(table.meta["failed"]), source)
    return {**summarise_moments(table), "SOURCE": source}


def _from_medians(imported: dict[str, Any]) -> dict[str, Any]:
    from visql_lib.psf.summary import SUMMARY

    medians = {name: imported[name] for name in SUMMARY}
    n_stars = 0 if math.isnan(medians["R2"]) else _UNKNOWN
    flags = int(ExposureFlag.IMPORTED)
    return {**medians, "N_STARS": n_stars, "SOURCE": IMPORTED_MEDIANS, "FLAGS": flags}


def _failed(reason: str, source: str) -> dict[str, Any]:
    return {"SOURCE": source, "REASON": reason, "FLAGS": int(ExposureFlag.FAILED)}


def _no_medians() -> dict[str, Any]:
    from visql_lib.psf.summary import SUMMARY

    return {"N_STARS": 0} | {n + end: math.nan for n in SUMMARY for end in ("", "_ERR")}


def quality_table(
    rows: list[dict[str, Any]], instrument: Instrument, thresholds: Thresholds
) -> dict[str, NDArray]:
    """Return the columns of the quality table, sorted by start: adds class, score and status."""
    from visql_lib.psf.score import image_quality_score
    from visql_lib.tables import PSFMOMENTS

    if not rows:
        return PSFMOMENTS.empty()
    rows = sorted(rows, key=lambda r: (str(r["DATE_OBS"]), r["EXPOSURE"]))
    r2, e1, e2 = (np.array([r[name] for r in rows]) for name in ("R2", "e1", "e2"))
    scores = image_quality_score(r2, e1, e2, instrument.score).tolist()
    for row, score in zip(rows, scores, strict=True):
        row["SCORE"] = score
        row["CLASS"] = "unknown" if math.isnan(row["EXPTIME"]) else instrument.exposure_class(row["EXPTIME"])
        row["STATUS"], row["REASON"] = _status(row, thresholds)
    return {name: np.array([r[name] for r in rows]) for name in PSFMOMENTS.names}


def _status(row: dict[str, Any], thresholds: Thresholds) -> tuple[str, str]:
    """Return status and reason of a row; an exposure without stars is never better than an error."""
    from visql_lib.config.thresholds import ERROR, QUANTITIES

    if row["FLAGS"] & ExposureFlag.FAILED:
        return "failed", row["REASON"]
    if row["FLAGS"] & ExposureFlag.NO_STARS:
        return ERROR, ExposureFlag.NO_STARS.doc
    values = {name: float(row[name]) for name in QUANTITIES}
    if row["N_STARS"] == _UNKNOWN:
        values["N_STARS"] = math.nan
    judgement = thresholds.judge(values, _day(row["DATE_OBS"]))
    return judgement.status, judgement.reason


def _start(row: SheetRow) -> np.datetime64:
    """Return the start of an exposure, UTC; NaT if neither the sheet nor the name tells."""
    from visql_lib.tables.imported import start_of

    return np.datetime64(row.date_obs, "us") if row.date_obs else start_of(row.exposure)


def _day(start: np.datetime64) -> date | None:
    if np.isnat(start):
        return None
    return date.fromisoformat(str(start.astype("datetime64[D]")))


def _by_exposure(table: Table | None) -> dict[str, dict[str, Any]]:
    if table is None:
        return {}
    columns = {name: values.tolist() for name, values in table.items()}
    rows: Iterable[tuple] = zip(*columns.values(), strict=True)
    return {row["EXPOSURE"]: row for row in (dict(zip(columns, values, strict=True)) for values in rows)}


def archive_names(settings: Settings) -> dict[str, str]:
    """Return the configured archive names by exposure; empty if no table is configured."""
    from visql_lib.errors import ConfigError
    from visql_lib.tables.legacy_read import read_archive_names

    if not settings.legacy.archive_names:
        return {}
    path = Path(settings.legacy.archive_names)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; correct or empty the setting legacy.archive_names")
    return read_archive_names(path)


def _archive_name(exposure: str, imported: dict[str, dict[str, Any]], names: dict[str, str]) -> str:
    return imported.get(exposure, {}).get("ARCHIVE_NAME") or names.get(exposure, "")


def _provenance(settings: Settings, thresholds: Thresholds, inputs: list[Path]) -> dict[str, Any]:
    from visql_lib.config import STAGES
    from visql_lib.config.load import digest

    return {
        "stage": "quality",
        "stage_version": STAGES["quality"],
        "inputs": inputs,
        "settings_hash": digest(settings.quality, thresholds),
    }
