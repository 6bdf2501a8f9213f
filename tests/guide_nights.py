"""Made-up nights of a guide camera: their tables, sheets and small pictures, as the stages leave them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits

from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.sheets.sheet import empty_row, write_sheet
from visql_lib.tables import write_table
from visql_lib.values import MJD_ZERO

DATE = "20210611"
NOMINAL = 17.58
REGIONS = ("", "_SCI", "_Q1", "_Q2", "_Q3", "_Q4")


def frame(start: datetime, number: int = 0, exptime: float = 20.0, **values) -> dict:
    """Return the row of a frame, `start` in UTC; measured on a clear sky unless `values` say otherwise."""
    local = start - timedelta(hours=7)
    name = f"{local:%Y%m%d.%H%M%S}.{number:05d}_{round(1000 * exptime):05d}"
    row = {
        "EXPOSURE": name,
        "FILE": f"{name}.fits",
        "DATE_OBS": np.datetime64(start.replace(tzinfo=None), "us"),
        "MJD_OBS": (start - MJD_ZERO).total_seconds() / 86400,
        "EXPTIME": exptime,
        "STATUS": "ok",
        "KEY": f"k{number}",
    }
    return row | values


def measured(rng: np.random.Generator, cloud: float = 0.0, sky: float = 5.0, share: float = 0.0) -> dict:
    """Return what is measured of a frame: extinction by a cloud [mag], sky [adu/s], dark share."""
    found = {"SCATTER": 0.03 + 0.02 * cloud, "INTER_QUAD_RMS": 0.02 * sky, "SHIFT": rng.uniform(0.2, 0.4)}
    for i, end in enumerate(REGIONS):
        extinction = cloud * (1 + 0.15 * np.sin(i)) + rng.normal(0, 0.003)
        level = sky * (1 + 0.02 * i)
        found |= {
            f"ZP{end}": NOMINAL - extinction,
            f"ZP_ERR{end}": 0.003 * (1 if i == 0 else 2),
            f"N_STARS{end}": int(2400 * 10 ** (-0.4 * cloud)) // (1 if i == 0 else 4),
            f"SKY{end}": level,
            f"SKY_MASKED{end}": 0.98 * level,
            f"MU{end}": NOMINAL - extinction - 2.5 * np.log10(level) + 2.5 * np.log10(8.6**2),
        }
    return found | {"DOME_SHARE": share, "DOME": share >= 0.01, "N_STREAKS": 0, "FLAGS": int(share >= 0.01)}


def night(n: int, seed: int = 1, first: str = "2021-06-12T03:30:00+00:00", step: float = 21.0) -> list[dict]:
    """Return the rows of a night: two slews, a cloud passing, the dome for some frames, streaks, failures."""
    rng = np.random.default_rng(seed)
    start = datetime.fromisoformat(first)
    rows = []
    for i in range(n):
        at = i / max(n - 1, 1)
        common = {"AIRMASS": 1.05 + 0.9 * abs(at - 0.4), "RA": 200.0 + 30 * at, "DEC": 30.0}
        where = (start + timedelta(seconds=step * i), i)
        if n > 10 and 0.25 < at < 0.28:
            rows.append(frame(*where, STATUS="moved", REASON="ZPFLAG = 1: the telescope moves", **common))
            continue
        if n > 10 and 0.90 < at < 0.925:
            rows.append(frame(*where, STATUS="failed", REASON=f"f{i}.wcs: TAN-SIP expected", FLAGS=0))
            continue
        cloud = 1.6 * np.exp(-(((at - 0.55) / 0.06) ** 2))
        dome = 0.3 if n > 10 and 0.75 < at < 0.79 else 0.0
        sky = 5.0 + 10.0 * max(0.0, at - 0.8)
        row = common | measured(rng, cloud, sky, dome)
        row["N_STREAKS"] = int(rng.random() < 0.1)
        rows.append(frame(*where, **row))
    return rows


def columns(rows: list[dict]) -> dict:
    """Return rows as columns of NIGHT."""
    return NIGHT.of_rows(rows)


def streaks(rows: list[dict]) -> dict:
    """Return the streaks of rows, as columns of NIGHT_STREAKS."""
    found = []
    for row in rows:
        for k in range(max(row.get("N_STREAKS", 0), 0)):
            common = {key: row[key] for key in ("EXPOSURE", "MJD_OBS", "EXPTIME")}
            place = {"X1": 0.0, "Y1": 100.0 + k, "X2": 3000.0, "Y2": 900.0, "LENGTH": 3104.8, "ANGLE": 14.9}
            place |= {"RA1": 196.1, "DEC1": 31.5, "RA2": 203.9, "DEC2": 29.6}
            light = {"WIDTH": 2.1, "PEAK": 30.0, "PEAK_ERR": 0.4, "FLUX": 2.0e5, "FLUX_ERR": 900.0}
            found.append(common | place | light | {"SIGNIFICANCE": 75.0, "LEAVES_FRAME": True})
    return NIGHT_STREAKS.of_rows(found)


def write_night(results: Path, rows: list[dict], date: str = DATE) -> Path:
    """Write the sheet of a night and its tables; return the table of its frames."""
    table = NIGHTS.table_path(results, date, "night")
    write_table(table, columns(rows), NIGHT, meta={"night": date}, stage="night_table", stage_version=1)
    write_table(
        NIGHTS.table_path(results, date, "streaks"), streaks(rows), NIGHT_STREAKS, meta={"night": date}
    )
    write_rows(results, rows, date)
    return table


def write_rows(results: Path, rows: list[dict], date: str = DATE, **extra: dict) -> Path:
    """Write the sheet of some frames; `extra` has further columns by exposure."""
    listed = []
    for row in rows:
        status = row["STATUS"] if row["STATUS"] not in list(GuideStatus) else "ok"
        sheet_row = replace(
            empty_row(row["EXPOSURE"]), file=f"raw/{row['FILE']}", frame_type="SCIENCE", status=status
        )
        start = "" if np.isnat(row["DATE_OBS"]) else str(row["DATE_OBS"])
        more = {"MJD-OBS": "", "ZPFLAG": "", "HA": "", "MOUNT_DEC": "", "AIRMASS": ""}
        more |= extra.get(row["EXPOSURE"], {})
        reason = row.get("REASON", "") if status != "ok" else ""
        listed.append(replace(sheet_row, date_obs=start, exptime=row["EXPTIME"], reason=reason, extra=more))
    path = NIGHTS.sheet_path(results, date)
    write_sheet(path, listed)
    return path


def write_thumbnails(results: Path, rows: list[dict], date: str = DATE, shape: tuple = (309, 412)) -> None:
    """Write the means of blocks of each measured frame: sky with a slope, a star, a dark corner for a dome."""
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    for row in rows:
        if "SKY" not in row:
            continue
        image = (row["SKY"] * (1 + 0.1 * x - 0.05 * y)).astype(np.float32)
        image[4 * (shape[0] // 8), 4 * (shape[1] // 8)] += 200.0
        if row["DOME"]:
            image[x + y < 0.4] = 0.1
        path = Path(f"{NIGHTS.stem(results, date, row['EXPOSURE'])}-thumbnail.fits")
        path.parent.mkdir(parents=True, exist_ok=True)
        cards = fits.Header({"EXPTIME": row["EXPTIME"], "MJD": row["MJD_OBS"], "DOMEFLAG": row["DOME"]})
        cards["BUNIT"] = "adu/s"
        small = fits.CompImageHDU(
            image, cards, name="THUMBNAIL", compression_type="RICE_1", quantize_level=16
        )
        fits.HDUList([fits.PrimaryHDU(), small]).writeto(path, overwrite=True)
