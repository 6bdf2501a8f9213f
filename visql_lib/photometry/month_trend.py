"""The trend of the flux ratios in one month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.photometry.trend_records import COLOURS, TrendLimits
from visql_lib.photometry.trend_status import LOSS, RATE, deciding_limit

_UNITS = {LOSS: "mmag", RATE: "mmag/d"}
_KEYS = ("SPACE", "SPACE_BIN", "CLASS", "FIELD")


def month_trend(
    trend: Mapping[str, NDArray],
    steps: Sequence[Mapping[str, Any]],
    forecast: Sequence[Mapping[str, Any]],
    month: str,
    *,
    limits: TrendLimits,
) -> dict[str, NDArray]:
    """Gather what the trend holds of one month: the columns of MONTH_TREND.

    Parameters
    ----------
    trend : mapping of arrays
        The columns of TREND, all months.
    steps, forecast : sequences of mappings
        The records of TREND's metadata (`trend_records`).
    month : str
        YYYYMM.
    limits : TrendLimits
        What the status of TREND was judged by.

    Returns
    -------
    dict of arrays
        A row per place, class, field and colour that has a time bin in the month,
        in the order of TREND.
    """
    start = np.datetime64(f"{month[:4]}-{month[4:]}", "M")
    dates = np.asarray(trend["DATE"], dtype="datetime64[us]")
    inside = (dates >= start.astype(dates.dtype)) & (dates < (start + 1).astype(dates.dtype))
    rows = [
        _row(trend, of_cell, steps, forecast, start, limits)
        for of_cell in _cells(trend, inside)
        if len(of_cell)
    ]
    names = rows[0] if rows else _row_names()
    return {name: np.array([row[name] for row in rows]) for name in names}


def _cells(trend: Mapping[str, NDArray], inside: NDArray[np.bool_]) -> Iterator[NDArray]:
    """Yield the rows inside the month of each place and colour, in order of time."""
    chosen = np.flatnonzero(inside)
    found: dict[tuple[Any, ...], list[int]] = {}
    for row, key in zip(
        chosen, zip(*(trend[k][chosen] for k in (*_KEYS, "COLOUR")), strict=True), strict=True
    ):
        found.setdefault(key, []).append(int(row))
    for rows in found.values():
        yield np.array(rows)[np.argsort(trend["DATE"][rows], kind="stable")]


def _row(
    trend: Mapping[str, NDArray],
    rows: NDArray,
    steps: Sequence[Mapping[str, Any]],
    forecast: Sequence[Mapping[str, Any]],
    start: np.datetime64,
    limits: TrendLimits,
) -> dict[str, Any]:
    place = {key: str(trend[key][rows[0]]) for key in _KEYS}
    colour = float(trend["COLOUR"][rows[0]])
    known = rows[np.isfinite(trend["LOSS"][rows])]
    last = known[-1] if len(known) else rows[-1]
    loss, error = _mean(trend["LOSS"][known], trend["LOSS_ERR"][known])
    values = {"MODEL": float(trend["MODEL"][last]), "RATE": float(trend["RATE"][last])}
    status = str(trend["STATUS"][last])
    here = [s for s in steps if _is_of(s, place) and np.datetime64(s["date"], "M") == start]
    which = COLOURS.index(colour)
    sizes = [s["size"][which] for s in here if s["size"][which] is not None]
    ahead = next((f for f in forecast if _is_of(f, place) and f["colour"] == colour), {})
    return {
        **place,
        "COLOUR": colour,
        "N": len(known),
        "LOSS": loss,
        "LOSS_ERR": error,
        "LOSS_END": values["MODEL"],
        "RATE": values["RATE"],
        "RATE_ERR": float(trend["RATE_ERR"][last]),
        "N_STEPS": len(here),
        "STEP": float(sum(sizes)),
        **{key: _time(ahead.get(name)) for key, name in _DATES.items()},
        "STATUS": status,
        "REASON": _reason(status, values["MODEL"], values["RATE"], limits),
    }


_DATES = {"FORECAST": "date", "EARLY": "early", "LATE": "late"}


def _row_names() -> tuple[str, ...]:
    numbers = ("N", "LOSS", "LOSS_ERR", "LOSS_END", "RATE", "RATE_ERR", "N_STEPS", "STEP")
    return (*_KEYS, "COLOUR", *numbers, *_DATES, "STATUS", "REASON")


def _is_of(record: Mapping[str, Any], place: Mapping[str, str]) -> bool:
    return all(record[key] == value for key, value in place.items())


def _mean(loss: NDArray, error: NDArray) -> tuple[float, float]:
    """Average with weights, with its error; unweighted, by the scatter, where an error is not known."""
    if not len(loss):
        return np.nan, np.nan
    if np.isfinite(error).all() and (error > 0).all():
        weight = error**-2.0
        return float(loss @ weight / weight.sum()), float(weight.sum() ** -0.5)
    scatter = np.std(loss, ddof=1) / np.sqrt(len(loss)) if len(loss) > 1 else np.nan
    return float(loss.mean()), float(scatter)


def _time(text: str | None) -> np.datetime64:
    return np.datetime64(text if text else "NaT", "us")


def _reason(status: str, loss: float, rate: float, limits: TrendLimits) -> str:
    """Name the limit that a warning or an error comes from."""
    found = deciding_limit(status, loss, rate, limits)
    if found is None:
        return ""
    return f"{found.quantity} {found.value:.3g} {_UNITS[found.quantity]} reaches {found.limit:g}"
