"""A frame's row in the table of its night, and where its zero points stand."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.guide import GuideFacts
from visql_lib.pipelines.pointing.frame import GuideHeader
from visql_lib.pipelines.pointing.schemas import REGIONS


class FrameTables(Protocol):
    """The tables of a frame, just measured or read from its summary."""

    @property
    def catalog(self) -> dict[str, NDArray]:
        """Columns of CATALOG."""

    @property
    def zeropoints(self) -> dict[str, NDArray]:
        """Columns of ZEROPOINTS."""

    @property
    def sky(self) -> dict[str, NDArray]:
        """Columns of SKY."""


def row_of(zeropoints: dict[str, NDArray], guide: GuideFacts, region: int, *, largest: bool = False) -> int:
    """Return the row of ZEROPOINTS of a region in the standard aperture, or in the largest one.

    Regions are 0 the whole frame, 1 to 4 the quadrants, 5 the science circle.
    """
    n = len(zeropoints["quadrant"]) // 6
    return region * n + (n - 1 if largest else min(guide.standard_aperture, n - 1))


def night_row(header: GuideHeader, guide: GuideFacts, tables: FrameTables | None = None) -> dict[str, Any]:
    """Return a frame's numbers in the table NIGHT: all but what became of it and its streaks.

    Parameters
    ----------
    header : GuideHeader
    guide : GuideFacts
        Tell the standard aperture.
    tables : MeasuredFrame or FrameSummary, optional
        What was measured; None: nothing.
    """
    start = header.start
    row: dict[str, Any] = {
        "EXPOSURE": header.stem,
        "FILE": header.path.name,
        "DATE_OBS": np.datetime64("NaT" if start is None else start.replace(tzinfo=None), "us"),
        "MJD_OBS": header.mjd,
        "EXPTIME": header.exptime,
        "FLAGS": header.flags,
        "AIRMASS": header.airmass,
        "RA": header.radeg if math.isfinite(header.radeg) else header.real_ra,
        "DEC": header.decdeg if math.isfinite(header.decdeg) else header.real_dec,
    }
    return row if tables is None else row | measured_part(guide, tables)


def measured_part(guide: GuideFacts, tables: FrameTables) -> dict[str, Any]:
    """Return what of a frame's row was measured: zero points, sky, dome, shift; see `night_row`."""
    row: dict[str, Any] = {}
    points, sky, catalog = tables.zeropoints, tables.sky, tables.catalog
    ends = ("", "_Q1", "_Q2", "_Q3", "_Q4", "_SCI")
    regions = (REGIONS[0], *REGIONS[2:], REGIONS[1])
    for number, (end, region) in enumerate(zip(ends, regions, strict=True)):
        at = row_of(points, guide, number)
        row[f"ZP{end}"] = float(points["zp_adu_per_s"][at])
        row[f"ZP_ERR{end}"] = float(points["zp_err"][at])
        row[f"N_STARS{end}"] = int(points["n_sources_for_zp"][at])
        row[f"SKY{end}"] = float(sky[f"median_adu{region}_per_s"][0])
        row[f"SKY_MASKED{end}"] = float(sky[f"median_adu_masked{region}_per_s"][0])
        row[f"MU{end}"] = float(sky[f"sky_mag_arcsec2{region}"][0])
    moved = catalog["qmaxshift"] == 0
    return row | {
        "FLAGS": int(sky["flags"][0]),
        "SCATTER": float(points["robust_sigma_mag"][row_of(points, guide, 0)]),
        "INTER_QUAD_RMS": float(sky["inter_quad_rms_adu_per_s"][0]),
        "DOME": bool(sky["has_dome"][0]),
        "DOME_SHARE": float(sky["dome_share"][0]),
        "SHIFT": median_of(np.hypot(catalog["x_shift"], catalog["y_shift"])[moved]),
    }


def median_of(values: NDArray) -> float:
    """Return the median of the values that are known; NaN if none is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan
