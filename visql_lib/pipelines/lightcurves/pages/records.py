"""The frames of a set as records for the pages: what became of each, its numbers, its points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at, rows_at, time_text
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.page_records import Record
from visql_lib.tables.store import Table

NOT_KEPT = "not_kept"  # measured, and left out of its night by a limit
NOT_MEASURED = "not_measured"  # the joint fit has not come to it, or could not
# What became of a frame -> its status on the pages. Frames that the user took out are nothing to judge.
STATUS_OF: Mapping[str, str] = {
    LightStatus.OK: "ok",
    LightStatus.KICKED: "none",
    LightStatus.LEFT_OUT: "warn",
    LightStatus.UNUSABLE: "error",
    LightStatus.FAILED: "failed",
    LightStatus.NO_STARS: "warn",
    LightStatus.NOT_ALIGNED: "warn",
    LightStatus.NO_PSF: "warn",
    NOT_KEPT: "warn",
    NOT_MEASURED: "warn",
}
_NUMBERS = ("MJD", "MHJD", "SEEING", "SEEING_PX", "ELLIPTICITY", "AIRMASS", "SKY", "MOON_DIST", "EXPTIME")
_TEXTS = ("FRAME", "FILE", "NIGHT")


def frames_of(tables: SetTables) -> list[Record]:
    """Return the frames of a set in order of time, those without a time last.

    Each has STATE (a `LightStatus`, or one of this module), REASON and STAGE, where the reason is from;
    NUMBER, from 1 in order of time; numbers of its tables, NaN where not known; SET; and POINTS: source ->
    row of FLUXES.
    """
    table = tables.frames
    names = table["FRAME"]
    found: list[dict[str, Any]] = []
    columns: dict[str, Any] = {k: np.asarray(table[k], dtype=float) for k in _NUMBERS}
    columns |= {"C": column_at(names, tables.renorm, "C"), "C_ERR": column_at(names, tables.renorm, "C_ERR")}
    columns |= {k: column_at(names, tables.transforms, k) for k in ("DX", "DY", "RMS", "ANGLE")}
    columns |= {f"PSF_{k}": column_at(names, tables.psf, k) for k in ("CHI2", "FWHM", "N_STARS")}
    points = _points(tables.fluxes)
    for i, name in enumerate(map(str, names)):
        row: dict[str, Any] = {k: str(table[k][i]) for k in _TEXTS} | {"SET": tables.name}
        row |= {k: float(v[i]) for k, v in columns.items()}
        found.append(row | {"POINTS": points.get(name, {}), "START": time_text(row["MJD"])})
    for row, state in zip(found, _states(tables, found), strict=True):
        row |= state
    found.sort(key=lambda r: (not np.isfinite(r["MJD"]), r["MJD"], r["FRAME"]))
    for number, row in enumerate(found, 1):
        row["NUMBER"] = number
    return list(found)


def _points(fluxes: Table) -> dict[str, dict[str, Record]]:
    keys = ("FLUX", "ERR", "MAG", "MAG_ERR", "CHI2")
    columns = {k: np.asarray(fluxes[k], dtype=float) for k in keys}
    found: dict[str, dict[str, Record]] = {}
    for i, (name, source) in enumerate(zip(fluxes["FRAME"], fluxes["SOURCE"], strict=True)):
        row: dict[str, Any] = {k: float(v[i]) for k, v in columns.items()}
        row |= {"KEPT": bool(fluxes["KEPT"][i]), "REASON": str(fluxes["REASON"][i])}
        found.setdefault(str(name), {})[str(source)] = row
    return found


def _states(tables: SetTables, frames: Iterable[Record]) -> list[dict[str, str]]:
    """Tell of each frame how far it came, and why not further."""
    first = dict(zip(map(str, tables.frames["FRAME"]), range(tables.frames.n_rows), strict=True))
    found = []
    for frame in frames:
        i = first[frame["FRAME"]]
        state = _state("lc_frames", tables.frames, i)
        for stage, table in (("lc_measure", tables.transforms), ("lc_psf", _best(tables.psf))):
            row = int(rows_at([frame["FRAME"]], table)[0]) if state["STATE"] == LightStatus.OK else -1
            if row >= 0:
                state = _state(stage, table, row) | ({"NOTE": state["REASON"]} if state["REASON"] else {})
        found.append(_of_points(state, frame, tables))
    return found


def _best(psf: Table) -> Table:
    """Sort the rows of several PSF sets so that one that is ok counts before one that is not."""
    order = np.argsort([str(s) == LightStatus.OK for s in psf["STATUS"]], kind="stable")
    return Table({k: v[order] for k, v in psf.items()}, psf.meta)


def _state(stage: str, table: Table, row: int) -> dict[str, str]:
    return {"STATE": str(table["STATUS"][row]), "REASON": str(table["REASON"][row]), "STAGE": stage}


def _of_points(state: dict[str, str], frame: Record, tables: SetTables) -> dict[str, str]:
    """Tell whether a frame that is ok counts for its night."""
    if state["STATE"] != LightStatus.OK or not tables.fluxes.n_rows:
        return state
    points = frame["POINTS"].values()
    if not points:
        return {"STATE": NOT_MEASURED, "REASON": "no flux of the target", "STAGE": "lc_target"}
    if not any(p["KEPT"] for p in points):
        reasons = dict.fromkeys(p["REASON"] for p in points if p["REASON"])
        return {"STATE": NOT_KEPT, "REASON": "; ".join(reasons), "STAGE": "lc_nights"}
    return state


def is_kept(frame: Record) -> bool:
    """Say whether a frame counts for the light curve, or, before there is one, nothing is against it."""
    return str(frame["STATE"]) == LightStatus.OK


def status_of(frame: Record) -> str:
    """Return the status of a frame on the pages: what is used, but has a remark, is still ok."""
    return STATUS_OF.get(str(frame["STATE"]), "error")


def said(frame: Record) -> str:
    """Say in words what became of a frame, and why; "" of one that is fine."""
    words = {NOT_KEPT: "left out of its night", NOT_MEASURED: "not measured"}
    state = str(frame["STATE"])
    word = "" if is_kept(frame) else words.get(state, state.replace("_", " "))
    return ": ".join(filter(None, (word, str(frame["REASON"]))))


def sources_of(frames: Iterable[Record]) -> list[str]:
    """List the sources that frames have points of, in their order."""
    return list(dict.fromkeys(source for frame in frames for source in frame["POINTS"]))


def seeing_of(frame: Record) -> float:
    """Return the seeing of a frame [arcsec], in px where no pixel scale is known."""
    return float(frame["SEEING"] if np.isfinite(frame["SEEING"]) else frame["SEEING_PX"])


def seeing_unit(frames: Iterable[Record]) -> str:
    """Return the unit of `seeing_of`."""
    return "arcsec" if any(np.isfinite(f["SEEING"]) for f in frames) else "px"
