"""The light curves of a target in one table: a row per night and set, columns per source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.night_means import nights_by_gap
from visql_lib.tables.rdb import COMMON, ERRORS, names_of
from visql_lib.tables.schema import Column, TableSchema

BARYCENTRIC = "bjd_tdb"  # a column that an .rdb does not have
_DOCS = {
    "mhjd": ("d", "heliocentric MJD, UTC: mean of the frames"),
    "datetime": ("", "the same as date and time"),
    "telescope": ("", "camera of the set"),
    "setname": ("", "set"),
    "nbimg": ("", "frames"),
    "fwhm": ("arcsec", "median seeing; in px where no pixel scale is known"),
    "ellipticity": ("", "median ellipticity of the stars"),
    "airmass": ("", "median airmass"),
    "relskylevel": ("electron", "median sky times median coefficient"),
    "normcoeff": ("", "median coefficient"),
    "flag": ("", "all limits of nights hold and there are 3 frames"),
    BARYCENTRIC: ("d", "barycentric Julian date, TDB: mean of the frames"),
}
_TEXTS = ("datetime", "telescope", "setname")


@dataclass(frozen=True)
class SetCurve:
    """The nights of a set: columns of `NIGHTS`, the set's name, and its camera."""

    name: str
    camera: str
    nights: Mapping[str, NDArray]


def sources_of(curves: Iterable[SetCurve]) -> list[str]:
    """List the sources of all sets, in the order in which they come."""
    return list(dict.fromkeys(str(name) for curve in curves for name in curve.nights["SOURCE"]))


def export_columns(curves: Sequence[SetCurve], gap: float) -> dict[str, NDArray]:
    """Put the nights of some sets into one table, in the order of time.

    A source without the night has NaN; ``flag`` is true if it is for all sources of the night.

    Parameters
    ----------
    curves : sequence of SetCurve
    gap : float
        d, of nights: see `visql_lib.photometry.night_means.nights_by_gap`.
    """
    sources = sources_of(curves)
    rows = [row for curve in curves for row in _rows(curve, gap)]
    rows.sort(key=lambda row: (row["mhjd"], row["setname"]))
    schema = export_schema(sources)
    found: dict[str, NDArray] = schema.of_rows(rows) if rows else schema.empty()
    return found


def _rows(curve: SetCurve, gap: float) -> Iterable[dict[str, Any]]:
    nights = curve.nights
    for members in nights_by_gap(nights["MHJD"], gap):
        fullest = members[np.argmax(nights["N"][members])]
        row: dict[str, Any] = {
            "mhjd": nights["MHJD"][fullest],
            "datetime": _date(float(nights["MHJD"][fullest])),
            "telescope": curve.camera,
            "setname": curve.name,
            "nbimg": nights["N"][fullest],
            "fwhm": nights["SEEING"][fullest],
            "ellipticity": nights["ELLIPTICITY"][fullest],
            "airmass": nights["AIRMASS"][fullest],
            "relskylevel": nights["SKY_LEVEL"][fullest],
            "normcoeff": nights["COEFF"][fullest],
            "flag": bool(nights["FLAG"][members].all()),
            BARYCENTRIC: nights["BJD_TDB"][fullest],
        }
        for i in members:
            source = str(nights["SOURCE"][i])
            row[f"mag_{source}"] = nights["MAG"][i]
            row |= {f"magerr_{source}_{k}": nights["MAG_ERR"][i][k] for k in range(ERRORS)}
        yield row


def _date(mjd: float) -> str:
    """Return a day number as date and time, to the second."""
    moment = np.datetime64("1858-11-17T00:00:00", "s") + np.timedelta64(round(mjd * 86400), "s")
    return str(moment)


def export_schema(sources: Sequence[str]) -> TableSchema:
    """Return the columns of the exported table for some sources."""
    columns = [_column(name) for name in (*COMMON, BARYCENTRIC)]
    for name in names_of(sources)[len(COMMON) :]:
        doc = f"magnitude of {name[4:]}" if name.startswith("mag_") else "its errors: docs/measurements.md 10"
        columns.append(Column(name, "float64", "mag", doc))
    return TableSchema("light curve", "The light curves of a target by night.", tuple(columns))


def _column(name: str) -> Column:
    unit, doc = _DOCS[name]
    kinds = {"flag": "bool", "nbimg": "int32"} | dict.fromkeys(_TEXTS, "str")
    return Column(name, kinds.get(name, "float64"), unit, doc)
