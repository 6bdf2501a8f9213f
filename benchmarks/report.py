"""The figures as a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

CHAIN = ("catalog", "stars", "moments", "pictures")


def page(result: dict[str, Any]) -> str:
    """Return the whole result as a page; parts that were not measured are left out."""
    facts = ", ".join(f"{k} {v}" for k, v in result["machine"].items())
    lines = [f"# Benchmark of {result['date']}", ""]
    lines += [f"{facts}; medians of {result['runs']} runs.", "", *goal_section(result)]
    sections: dict[str, Callable[[Any], list[str]]] = {
        "exposure": exposure_section,
        "parity": parity_section,
        "scaling": scaling_section,
        "month": month_section,
    }
    for name, section in sections.items():
        if name in result:
            lines += section(result[name])
    return "\n".join(lines)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of a table."""
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(r)} |" for r in rows),
        "",
    ]


def cost_rows(steps: dict[str, dict[str, float]]) -> list[list[str]]:
    """Return name, CPU, wall and peak of every step."""
    return [
        [name, f"{row['cpu_s']:.2f}", f"{row['wall_s']:.2f}", f"{row['peak_MB']:.0f}"]
        for name, row in steps.items()
    ]


COSTS = ["what", "CPU s", "wall s", "peak MB"]


def goal_section(result: dict[str, Any]) -> list[str]:
    """Return the figures of issue 3 beside what was measured; engine ``fast``."""
    rows = [*_exposure_goals(result.get("exposure")), *_parity_goals(result.get("parity"))]
    rows += _scaling_goals(result.get("scaling"))
    note = "Engine `fast`; several figures: " + "; ".join(
        result.get("parity", {}).get("inputs", ("exposure", "storm", "stars", "galaxies"))
    )
    return [
        "## Goals",
        "",
        f"{note}.",
        "",
        *table(["", "goal", "good enough", "measured", "verdict"], rows),
    ]


def _row(
    what: str, unit: str, goal: float, enough: float, values: list[float] | None, digits: int = 1
) -> list[str]:
    """Return a row of the table of goals; large values are good if the goal is above `enough`."""
    show = lambda value: f"{value:.{digits}f}{unit}"  # noqa: E731
    limits = [f"{goal:.3g}{unit}", f"{enough:.3g}{unit}"]
    if not values or any(math.isnan(value) for value in values):
        return [what, *limits, "", "not measured"]
    sign = -1 if goal > enough else 1
    worst = max(sign * value for value in values)
    verdict = "goal" if worst <= sign * goal else "good enough" if worst <= sign * enough else "missed"
    return [what, *limits, " / ".join(map(show, values)), verdict]


def _exposure_goals(part: dict[str, Any] | None) -> list[list[str]]:
    def got(get: Callable[[dict[str, Any]], float | None]) -> list[float] | None:
        value = get(part) if part is not None else None
        return None if value is None else [value]

    plain, pictured = got(lambda p: p["ratio"]["fast"]), got(lambda p: p["ratio"]["fast, previews"])
    rows = [
        _row("catalogue step (read to Parquet), CPU over SExtractor's", "", 0.1, 1 / 6, plain, 3),
        _row("the same and previews, CPU over SExtractor's", "", 0.1, 1 / 6, pictured, 3),
        _row("whole chain, CPU", " s", 15, 25, got(lambda p: p["chain"]["cpu_s"])),
        _row("whole chain, wall, 2 threads", " s", 9, 14, got(lambda p: p["chain"]["wall_s"])),
        _row("peak memory of any process", " MB", 400, 500, got(lambda p: p["chain"]["peak_MB"]), 0),
        _row("catalogue on disk", " MB", 16, 20, got(lambda p: p["catalogue"]["MB"])),
    ]
    if part is not None and part["quadrants"] != 144:
        rows = [[*row[:-1], f"only {part['quadrants']} of 144 quadrants"] for row in rows]
    start = got(lambda p: p["start"]["fast"]["cpu_s"])
    return [*rows, _row("start of a fresh process, CPU", " s", 1, 1, start, 2)]


def _parity_goals(part: dict[str, Any] | None) -> list[list[str]]:
    def got(get: Callable[[dict[str, Any]], float]) -> list[float] | None:
        return None if part is None else [get(engines["fast"]) for engines in part["agreement"].values()]

    chosen = "stars (bright galaxies)"
    return [
        _row("SExtractor's objects matched", " %", 99.5, 99, got(lambda a: a["matched"]), 2),
        _row("ours matched by SExtractor", " %", 99.5, 99, got(lambda a: a["ours_matched"]), 2),
        _row("FLUX_AUTO within 1 %: all", " %", 97, 93, got(lambda a: a["within"]["FLUX_AUTO"]), 2),
        _row(f"FLUX_AUTO: {chosen}", " %", 99.5, 99, got(lambda a: a["within_chosen"]["FLUX_AUTO"]), 2),
        _row("FLUX_RADIUS within 1 %: all", " %", 95, 90, got(lambda a: a["within"]["FLUX_RADIUS"]), 2),
        _row(f"FLUX_RADIUS: {chosen}", " %", 99, 98, got(lambda a: a["within_chosen"]["FLUX_RADIUS"]), 2),
        _row(
            "A, B: medians off by, in 1e-4",
            "",
            0.5,
            1,
            got(lambda a: 1e4 * max(abs(a["median"][n] - 1) for n in ("A_IMAGE", "B_IMAGE"))),
            2,
        ),
    ]


def _scaling_goals(part: dict[str, Any] | None) -> list[list[str]]:
    numbers = ("pixels", "detections", "particles")
    slopes = {name: None if part is None else [part["slopes"][name]] for name in numbers}
    return [_row(f"cost grows as {n} to the power", "", 1.05, 1.15, slopes[n], 2) for n in numbers]


def exposure_section(part: dict[str, Any]) -> list[str]:
    """Return the cost of one exposure."""
    chain, catalogue = part["chain"], part["catalogue"]
    ratios = ", ".join(f"`{k}` {v:.3f} (1/{1 / v:.1f})" for k, v in part["ratio"].items() if v)
    starts = {f"start, {engine}": row for engine, row in part["start"].items()}
    return [
        f"## One long exposure, {part['quadrants']} quadrants, engine fast",
        "",
        f"Whole chain ({', '.join(CHAIN)}): {chain['cpu_s']:.1f} s CPU; {chain['wall_s']:.1f} s wall with "
        f"two threads in the catalogue step; peak {chain['peak_MB']:.0f} MB. Radiation maps are not in it.",
        f"Catalogue: {catalogue['MB']:.1f} MB, {catalogue['detections']} detections, "
        f"{catalogue['bytes_per_detection']:.1f} bytes each.",
        f"CPU of the catalogue step over SExtractor's in the same run (median): {ratios or 'no SExtractor'}. "
        "SExtractor only detects and measures; our step also measures levels and collects the thumbnail.",
        "",
        *table(COSTS, cost_rows(part["steps"] | starts)),
    ]


def parity_section(part: dict[str, Any]) -> list[str]:
    """Return how far the engines agree with SExtractor."""
    lines = ["## Agreement with SExtractor", ""]
    lines += [
        f"- {kind}: {text}; chosen are {part['chosen'][kind]}." for kind, text in part["inputs"].items()
    ]
    cells = [(k, e, a) for k, engines in part["agreement"].items() for e, a in engines.items()]
    head = ["per cent, where nothing else is said", *(f"{kind}, {engine}" for kind, engine, _ in cells)]
    rows = [[what, *(get(a) for _, _, a in cells)] for what, get in _parity_rows()]
    return [*lines, "", *table(head, rows)]


def _parity_rows() -> list[tuple[str, Callable[[dict[str, Any]], str]]]:
    """Return name and content of the rows of the table of agreement."""
    rows: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("SExtractor's objects", lambda a: str(a["objects"])),
        ("our objects", lambda a: str(a["ours"])),
        ("chosen objects", lambda a: str(a["chosen"])),
        ("SExtractor's matched within 1 px", lambda a: f"{a['matched']:.2f}"),
        ("ours matched within 1 px", lambda a: f"{a['ours_matched']:.2f}"),
    ]
    for name in ("FLUX_AUTO", "FLUX_RADIUS", "FLUXERR_AUTO", "A_IMAGE", "B_IMAGE"):
        rows.append((f"{name} within 1 %: all", partial(_entry, "within", name, 2)))
        rows.append((f"{name} within 1 %: chosen", partial(_entry, "within_chosen", name, 2)))
    for name in ("FLUX_AUTO", "FLUX_RADIUS", "A_IMAGE", "B_IMAGE"):
        rows.append((f"{name}, median ratio", partial(_entry, "median", name, 5)))
    rows.append(("THETA_IMAGE within 1 deg", lambda a: f"{a['angles']:.2f}"))
    for bit in ("NEIGHBOURS", "BLENDED", "SATURATED", "TRUNCATED", "APERTURE_INCOMPLETE"):
        rows.append((f"{bit} agrees (both / ours only / SExtractor's only)", partial(_bit, bit)))
    return [
        *rows,
        ("background, ours less SExtractor's, worst [ADU]", lambda a: f"{a['background_difference']:.4f}"),
        ("threshold, ratio, worst", lambda a: f"{a['threshold_ratio']:.6f}"),
    ]


def _entry(group: str, name: str, digits: int, figures: dict[str, Any]) -> str:
    return f"{figures[group][name]:.{digits}f}"


def _bit(name: str, figures: dict[str, Any]) -> str:
    bit = figures["flags"][name]
    return f"{bit['agree']:.2f} ({bit['both']} / {bit['ours_only']} / {bit['theirs_only']})"


def scaling_section(part: dict[str, Any]) -> list[str]:
    """Return how the catalogue step grows."""
    slopes = part["slopes"]
    lines = [
        "## Growth of the catalogue step",
        "",
        f"Engine {part['engine']}; less the start of a process ({part['start']['cpu_s']:.2f} s), CPU grows "
        f"as pixels^{slopes['pixels']:.2f}; less the cost of a frame without cosmic rays, as "
        f"detections^{slopes['detections']:.2f} and as particles^{slopes['particles']:.2f}. A million pixels "
        f"without cosmic rays cost {part['ms_per_Mpx']:.1f} ms, a detection of the storm "
        f"{part['us_per_detection']:.1f} us.",
        "",
    ]
    head = ["frame", "quadrants", "detections", *COSTS[1:], "CPU ms per quadrant", "CPU us per detection"]
    return [*lines, *table(head, [_scaling_row(row, part["start"]["cpu_s"]) for row in part["rows"]])]


def _scaling_row(row: dict[str, Any], start: float) -> list[str]:
    net = row["cpu_s"] - start
    return [
        row["frame"],
        str(row["quadrants"]),
        str(row["detections"]),
        *cost_rows({"": row})[0][1:],
        f"{1e3 * net / row['quadrants']:.0f}",
        f"{1e6 * net / row['detections']:.1f}" if row["detections"] else "",
    ]


def month_section(part: dict[str, dict[str, float]]) -> list[str]:
    """Return the cost of a month."""
    return ["## A month", "", *table(COSTS, cost_rows(part))]
