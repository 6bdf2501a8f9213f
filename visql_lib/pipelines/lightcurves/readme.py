"""The README of the reduction of a target: frames, sets, stars, limits, what was left out and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib import __version__
from visql_lib.pipelines.lightcurves.decisions import Decision
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import Target
from visql_lib.tables.store import read_meta, read_table


@dataclass(frozen=True)
class SetFacts:
    """What the README says of a set."""

    name: str
    camera: str
    filter: str
    frames: int
    used: int
    nights: int
    span: tuple[str, str]
    stars: Mapping[str, str]  # star -> what it serves, or why not
    limits: Mapping[str, float]
    references: tuple[str, str]  # frame that gives the places, frame in which the coefficient is 1
    apertures: Mapping[str, float]  # source -> diameter of its aperture [px]
    reasons: Mapping[str, int]  # why frames were left out -> how many


def set_facts(folder: Path, name: str, target: Target, decisions: Sequence[Decision]) -> SetFacts:
    """Gather what the README says of a set from its tables.

    Raises
    ------
    TableError
        If one of them cannot be read.
    """
    frames = read_table(folder / f"frames_{name}.parquet")
    fluxes = folder / f"fluxes_{name}.parquet"
    curve = read_table(fluxes)
    stars = folder / f"stars_{name}.parquet"
    times = frames["MJD"][np.isfinite(frames["MJD"]) & (frames["STATUS"] == LightStatus.OK)]
    span = (_day(times.min()), _day(times.max())) if len(times) else ("", "")
    known = {str(frame) for frame in frames["FRAME"]}
    left_out = {d.frame: d for d in decisions if not d.kept and d.frame in known}
    return SetFacts(
        name,
        target.camera(name).title,
        target.sets[name].filter,
        len(frames["FRAME"]),
        len(set(curve["FRAME"][curve["KEPT"]])),
        len(set(curve["NIGHT"][curve["KEPT"]])),
        span,
        _serving(read_table(stars)) if stars.is_file() else {},
        curve.meta.get("limits") or {},
        _references(folder.parent / "reference.parquet", name),
        curve.meta.get("apertures") or {},
        Counter(map(_kind_of, left_out.values())),
    )


def _references(path: Path, name: str) -> tuple[str, str]:
    """Return the geometric reference, and the photometric one of a set; "" where they are not known."""
    meta = read_meta(path) if path.is_file() else {}
    return str(meta.get("reference") or ""), str((meta.get("photometric") or {}).get(name) or "")


def _day(mjd: float) -> str:
    return str(np.datetime64("1858-11-17") + np.timedelta64(int(mjd), "D"))


def _kind_of(decision: Decision) -> str:
    """Return what a reason says before its first number, so that like ones are counted together."""
    words = decision.reason.split()
    first = next((i for i, word in enumerate(words) if any(letter.isdigit() for letter in word)), len(words))
    said = " ".join(words[:first]).rstrip(" ,:;(-") or decision.reason
    return f"{said} beyond its limit" if math.isfinite(decision.limit) and first < len(words) else said


def _serving(table: Mapping[str, Any]) -> dict[str, str]:
    served = {}
    for i, star in enumerate(table["STAR"]):
        uses = [use for use, column in (("PSF", "PSF"), ("normalisation", "NORM")) if table[column][i]]
        served[str(star)] = " and ".join(uses) or f"not used: {table['REASON'][i]}"
    return served


def readme(
    target: Target,
    sets: Sequence[SetFacts],
    decisions: Sequence[Decision],
    settings: LightCurveSettings,
    star: str = "",
) -> str:
    """Write the README of the reduction, as Markdown; `star` has one flux in all sets, "": none has."""
    lines = [
        f"# Light curves of {target.name}",
        "",
        f"Made by VISQL {__version__}. RA {target.ra:.5f}, Dec {target.dec:+.5f} deg (ICRS). "
        f"Point sources: {', '.join(target.point_sources)}.",
        "",
        f"- `{target.name}.rdb`: all sets by night; `{target.name}_SET.rdb`: one set. Times are MHJD (UTC).",
        f"- `{target.name}.parquet`, `.ecsv`: the same with BJD_TDB.",
        "- `decisions.parquet`: what was decided about frames and stars.",
        "- Errors 0 to 5 of magnitudes: photon noise; with the coefficient's error; two other sums of both; "
        "scatter of the night's frames; the larger of 1 and 4.",
        f"- Magnitudes are -2.5 log10(electrons) + {settings.export.zero_point:g}."
        + f" In the table of all sets those of a set are moved so that star {star} has one flux in all."
        * bool(star),
        "",
    ]
    for one in sets:
        lines += _about(one)
    kicked = [d for d in decisions if d.by == "user"]
    if kicked:
        lines += ["## By the user's lists", ""]
        lines += [f"- {d.frame} ({d.set}): {d.reason}" for d in kicked] + [""]
    return "\n".join(lines)


def _about(one: SetFacts) -> list[str]:
    """Return the paragraphs of a set."""
    lines = [
        f"## {one.name}",
        "",
        f"{one.camera}, filter {one.filter or 'any'}, {one.span[0]} to {one.span[1]}: {one.used} of "
        f"{one.frames} frames are in the curve, in {one.nights} night{'s' * (one.nights != 1)}.",
        "",
    ]
    where, level = one.references
    if where:
        lines += [f"Places are those of {where}; fluxes those of {level or 'the median frame'}.", ""]
    for source, size in one.apertures.items():
        lines += [f"{source}: from an aperture of {size:.3g} px diameter.", ""]
    if one.limits:
        told = ", ".join(f"{name} {value:.4g}" for name, value in one.limits.items())
        lines += [f"Limits of frames: {told}.", ""]
    if one.stars:
        lines += ["Stars: " + "; ".join(f"{star}: {use}" for star, use in one.stars.items()) + ".", ""]
    if one.reasons:
        lines += ["Left out:", ""]
        lines += [f"- {n} frame{'s' * (n > 1)}: {reason}" for reason, n in one.reasons.items()] + [""]
    return lines
