"""The header of a combined image: the first frame's, with what was combined, how, and when it was seen."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.ccd.combine import Recipe
from visql_lib.errors import RequestError
from visql_lib.images.headers import start_of
from visql_lib.values import MJD_ZERO, moment, number

log = logging.getLogger(__name__)

EXPTIMES = ("mean", "sum", "first")
_OLD = re.compile(r"IMC[_DS]\w+")
_CLOCKS = ("UT", "TIME-OBS", "UTC-OBS", "UTSTART")
_START = ("DATE-OBS", "MJD-OBS", "JD", *_CLOCKS)
_EXPOSURE = ("EXPTIME", "EXPOSURE")
_MOST_NAMED = 9999  # frames that have a number of four digits
_DAY = 86400.0


@dataclass(frozen=True)
class CombinationFacts:
    """What was done: recipe, statistics, policy of EXPTIME ("": by method), the mean divided by, factors."""

    recipe: Recipe
    normalise: str
    weights: str
    exptime: str
    mean: float | None
    factors: NDArray
    propagated: bool


def exposure_of(header: fits.Header) -> float:
    """Find the exposure time [s], NaN where none is said that can be."""
    found = next((number(header[key]) for key in _EXPOSURE if key in header), math.nan)
    return found if found >= 0 else math.nan


def _end_of(header: fits.Header) -> datetime | None:
    """Find the end of an exposure."""
    start, exposure = start_of(header), exposure_of(header)
    found = moment(header.get("DATE-END"))
    if found is None and start is not None and not math.isnan(exposure):
        found = start + timedelta(seconds=exposure)
    return found


def combined_header(
    frames: Sequence[tuple[Path, fits.Header]], facts: CombinationFacts, region: str, bits: int
) -> fits.Header:
    """Compose the header of a combined image.

    Parameters
    ----------
    frames : sequence of (Path, Header)
        In the order of the list.
    facts : CombinationFacts
        What was done.
    region : str
        Where statistics were taken, in FITS notation; "": everywhere.
    bits : int
        Of the shift.

    Returns
    -------
    Header
        ``IMC_NFIL`` frames, ``IMC_MTHD``, ``IMC_CLIP``, ``IMC_NORM``, ``IMC_UNIT``, ``IMC_ERR`` as
        docs/images.md says; ``IMC_nnnn``, ``IMCDnnnn``, ``IMCSnnnn`` name, date and factor of
        each; EXPTIME by policy, TEXPTIME [s] of all; NCOMBINE; DATE-OBS, DATE-END, MJD-AVG.
    """
    header = frames[0][1].copy()
    for key in [key for key in header if _OLD.fullmatch(key)]:
        header.remove(key, ignore_missing=True, remove_all=True)
    _set_times(header, [h for _, h in frames])
    _set_exposures(header, [h for _, h in frames], facts)
    recipe = facts.recipe
    if facts.mean is not None or recipe.method == "var":
        header.remove("BUNIT", ignore_missing=True)  # it is no longer that of the pixels
    header["IMC_NFIL"] = (len(frames), "frames combined")
    header["IMC_MTHD"] = (_method(recipe, facts.weights), "of the combination")
    header["IMC_CLIP"] = (_clip(recipe), "values that do not count")
    header["IMC_NORM"] = (
        " ".join([facts.normalise or "none", region]).strip(),
        "level brought to that of first",
    )
    header["IMC_UNIT"] = (facts.mean is not None, "divided by the mean of the result")
    if facts.mean is not None:
        header["IMC_MEAN"] = (facts.mean, "that mean")
    if bits:
        header["IMC_BITS"] = (bits, "shift of bits to the right")
    header["IMC_ERR"] = ("propagated" if facts.propagated else "scatter", "origin of ERR")
    for i, (path, other) in enumerate(frames[:_MOST_NAMED]):
        header[f"IMC_{i + 1:04d}"] = path.name.encode("ascii", "replace").decode()
        header[f"IMCD{i + 1:04d}"] = _date(other)
        header[f"IMCS{i + 1:04d}"] = float(facts.factors[i])
    return header


def _method(recipe: Recipe, weights: str) -> str:
    if recipe.method == "quantile":
        return f"quantile {recipe.quantile:g}"
    return f"average {weights or 'none'}" if recipe.method == "average" else recipe.method


def _clip(recipe: Recipe) -> str:
    """Describe what was left out: ``max 1``, ``minmax 1,2``, ``sigma 3,inf``, ``none``."""
    low, high = recipe.clip
    parts = []
    if low and high:
        parts.append(f"minmax {low},{high}")
    elif low or high:
        parts.append(f"min {low}" if low else f"max {high}")
    if recipe.rejects:
        parts.append(f"sigma {recipe.sigma[0]:g},{recipe.sigma[1]:g}")
    return " ".join(parts) or "none"


def _date(header: fits.Header) -> str:
    """Return the date of a frame: DATE-OBS as it stands, with the time of day where that is apart."""
    said = str(header.get("DATE-OBS", "")).strip()
    start = start_of(header)
    return said if moment(said) is not None or start is None else _iso(start)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _set_times(header: fits.Header, others: Sequence[fits.Header]) -> None:
    """Set the start of the first frame in time, the end of the last, and the mean of the middles."""
    for key in ("DATE-END", "MJD-AVG", "DATE-AVG", "MJD-END"):
        header.remove(key, ignore_missing=True)
    starts, ends = [start_of(h) for h in others], [_end_of(h) for h in others]
    known = [(s, i) for i, s in enumerate(starts) if s is not None]
    if known:
        earliest = others[min(known)[1]]
        for key in _START:
            if key in earliest:
                header[key] = earliest[key]
            else:
                header.remove(key, ignore_missing=True)
    pairs = [(s, e) for s, e in zip(starts, ends, strict=True) if s is not None and e is not None]
    if len(pairs) < len(others):
        log.warning("%d of %d frames do not say when: no DATE-END", len(others) - len(pairs), len(others))
        return
    header["DATE-END"] = (_iso(max(e for _, e in pairs)), "end of the last exposure")
    averages = [number(h.get("MJD-AVG")) for h in others]
    days = [
        average if not math.isnan(average) else (s + (e - s) / 2 - MJD_ZERO).total_seconds() / _DAY
        for (s, e), average in zip(pairs, averages, strict=True)
    ]
    header["MJD-AVG"] = (sum(days) / len(days), "mean of the middles of exposures [d]")


def _set_exposures(header: fits.Header, others: Sequence[fits.Header], facts: CombinationFacts) -> None:
    """Set EXPTIME by policy, TEXPTIME and NCOMBINE, which count what combined frames were made of."""
    times = [exposure_of(h) for h in others]
    totals = [x if (x := number(h.get("TEXPTIME"))) > 0 else t for h, t in zip(others, times, strict=True)]
    counts = [int(x) if (x := number(h.get("NCOMBINE"))) >= 1 else 1 for h in others]
    policy = facts.exptime or ("sum" if facts.recipe.method == "sum" else "mean")
    if policy not in EXPTIMES:
        raise RequestError(f"exposure time {policy!r}; there are {', '.join(EXPTIMES)}")
    total = sum(times)
    value = {"mean": total / len(times), "sum": total, "first": times[0]}[policy]
    header["NCOMBINE"] = (sum(counts), "frames, those of combined ones counted")
    for key in ("TEXPTIME", *_EXPOSURE):
        if key != "EXPTIME" and key not in header:
            continue
        header.remove(key, ignore_missing=True)
        if key != "TEXPTIME" and not math.isnan(value):
            header[key] = (value, f"[s] {policy} of the frames")
    if not math.isnan(sum(totals)):
        header["TEXPTIME"] = (sum(totals), "[s] of all frames together")
    else:
        log.warning("not all frames have an exposure time: no TEXPTIME")
