"""The sections of a night's page: what was left out and why, calibration sets, lights, stacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.pages.night_page import NightPage, frame_table, masters_text
from visql_lib.pipelines.reduction.pages.records import by_set, is_used, registrations_of
from visql_lib.pipelines.reduction.quantities import QUANTITIES
from visql_lib.pipelines.reduction.settings import CALIBRATIONS
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.page_parts import Cell, PageSection, PageTable, Remark, ShownImage
from visql_lib.products.page_records import Record, number_text, table_of
from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.sentences import sentence
from visql_lib.qc.summary import STATUSES

_FEW = 5  # frames of one reason that are shown each; more are folded
_LACKS = re.compile(rf"\b(?:no|master) ({'|'.join(CALIBRATIONS)})\b", re.IGNORECASE)


def sections_of(page: NightPage) -> list[PageSection]:
    """Compose the sections of a night's page; none where its tables are not there."""
    if not page.frames and not page.masters:
        return []
    found = [_left_out(page)]
    if remarks := tuple(_lacking(page)):
        found.append(PageSection("Missing calibrations", "missing-calibrations", remarks))
    calibrations = [f for f in page.frames if f["TYPE"] != "SCIENCE"]
    lights = [f for f in page.frames if f["TYPE"] == "SCIENCE"]
    if calibrations or page.masters:
        found.append(_masters(page, calibrations))
    if lights:
        found.append(_lights(page, lights))
    if page.stacks or page.pictures("stacks"):
        found.append(_stacks(page))
    return found


# --- frames ---------------------------------------------------------------------------------------


def _left_out(page: NightPage) -> PageSection:
    """Show the frames that were not used, and those of which something is doubtful."""
    frames = [f for f in page.frames if not is_used(f) or f["REASON"]]
    used = sum(is_used(f) for f in page.frames)
    counts = Counter(str(f["STATUS"]).replace("_", " ") for f in frames if not is_used(f))
    words = ", ".join(f"{n} {word}" for word, n in counts.items())
    text = f"{used} of {len(page.frames)} frames were used" + (f"; {words}" if words else "")
    remark = Remark("ok" if used == len(page.frames) else "warn", text)
    alike: dict[tuple[str, str], list[Record]] = {}
    for frame in frames:
        alike.setdefault((str(frame["STATUS"]), str(frame["REASON"])), []).append(frame)
    few = [f for some in alike.values() if len(some) <= _FEW for f in some]
    tables = [frame_table(page, few, "", True)] if few else []
    for (status, reason), some in alike.items():
        if len(some) > _FEW:
            title = f"{len(some)} {status.replace('_', ' ')}: {reason}"
            tables.append(frame_table(page, some, title, True))
    return PageSection("Left out", "left-out", (remark,), tuple(tables))


# --- what is missing ------------------------------------------------------------------------------


def _lacking(page: NightPage) -> Iterator[Remark]:
    """Say which masters are missing, why, for which frames, and what helps."""
    for master in page.masters:
        if master["STATUS"] == FrameStatus.FAILED:
            yield Remark("failed", f"{master['PART']} could not be made: {master['REASON']}")
    bare: dict[tuple[str, str], list[Record]] = {}
    for frame in page.frames:
        if frame["STATUS"] == FrameStatus.UNCALIBRATED:
            bare.setdefault((str(frame["SET"]), str(frame["REASON"])), []).append(frame)
    for (name, reason), frames in bare.items():
        lost = [kind.lower() for kind in _LACKS.findall(reason)] or _without(frames[0])
        setting = f"reduce={{allow_missing: [{', '.join(dict.fromkeys(lost))}]}}"
        n = f"{len(frames)} frame{'' if len(frames) == 1 else 's'} of {name}"
        text = f"{n}: {reason}. Put such frames into the raw folder, raise masters.max_age, or do without:"
        yield Remark("error", text, page.command(setting))


def _without(frame: Record) -> list[str]:
    return [kind for kind in CALIBRATIONS if not frame.get(f"MASTER_{kind.upper()}")]


# --- masters --------------------------------------------------------------------------------------


def _masters(page: NightPage, frames: Sequence[Record]) -> PageSection:
    """Show the calibration sets: their masters, and what became of each frame."""
    tables = [_master_table(page)] if page.masters else []
    tables += _tables_of_sets(page, frames)
    return PageSection("Calibration sets", "sets", (), tuple(tables), page.pictures("masters"))


def _tables_of_sets(page: NightPage, frames: Sequence[Record]) -> list[PageTable]:
    found = []
    for name, mine in by_set(frames).items():
        title = f"{name or 'in no set'}: {sum(map(is_used, mine))} of {len(mine)} frames used"
        found.append(frame_table(page, mine, title))
    return found


def _pair(key: str, measured: bool = False) -> Callable[[Record], Cell]:
    """Return how a number is shown with its error; with `measured`, only if it has one."""

    def cell(row: Record) -> Cell:
        error = row.get(f"{key}_ERR", float("nan"))
        return Cell("" if measured and not np.isfinite(error) else number_text(row.get(key), error))

    return cell


_MASTER_NUMBERS = {
    "Level [adu]": "LEVEL",
    "Overscan [adu]": "BIAS_LEVEL",
    "Read noise [electron]": "READ_NOISE",
    "Gain [electron/adu]": "GAIN",
    "Dark offset [adu]": "DARK_OFFSET",
    "Dark rate [adu/s]": "DARK_RATE",
    "Residual of single flats": "RESIDUAL",
    "Masked px": "N_BAD",
}


_MEASURED = ("READ_NOISE", "GAIN")  # else it is what the header says


def _master_table(page: NightPage) -> PageTable:
    judged = _judged(page)
    columns: dict[str, Callable[[Record], Cell]] = {
        "Status": lambda m: _master_status(m, judged.get(str(m["PART"]), [])),
        "Master": lambda m: Cell(str(m["PART"]), product=page.product("masters", f"{m['PART']}.fits")),
        "Frames used": lambda m: Cell(_of(m["N_USED"], m["N_FRAMES"]) if m["N_FRAMES"] else ""),
        **{head: _pair(key, key in _MEASURED) for head, key in _MASTER_NUMBERS.items()},
        "Remark": lambda m: Cell(_remark(m, judged.get(str(m["PART"]), []))),
    }
    return table_of(columns, page.masters, "", ("Frames used", *_MASTER_NUMBERS))


def _judged(page: NightPage) -> dict[str, list[QCResult]]:
    """Return the QC results of masters that are beyond a limit, by the master's name."""
    found: dict[str, list[QCResult]] = {}
    for result in page.group.results:
        if result.is_bad:
            found.setdefault(result.part, []).append(result)
    return found


def _master_status(master: Record, bad: Sequence[QCResult]) -> Cell:
    status = min((_of_master(master), *(r.status for r in bad)), key=STATUSES.index)
    return Cell(status=status, text="beyond limits" if bad else str(master["STATUS"]))


def _remark(master: Record, bad: Sequence[QCResult]) -> str:
    limits = (sentence(replace(r, part=""), QUANTITIES) for r in bad)
    return "; ".join(filter(None, (str(master["REASON"]), *limits)))


def _of_master(master: Record) -> str:
    if master["STATUS"] != FrameStatus.OK:
        return "failed"
    return "warn" if master["REASON"] else "ok"


# --- lights and stacks ----------------------------------------------------------------------------


def _lights(page: NightPage, lights: Sequence[Record]) -> PageSection:
    """Show the sets of lights: how many were reduced and registered, their sky and width, their masters."""
    shifts = registrations_of(page.results, page.night)
    sets = [
        {"SET": name, "FRAMES": mine, "SHIFTS": shifts.get(name, [])} for name, mine in by_set(lights).items()
    ]
    columns: dict[str, Callable[[Record], Cell]] = {
        "Set": lambda s: Cell(str(s["SET"]) or "in no set"),
        "Used": lambda s: Cell(_of(sum(map(is_used, s["FRAMES"])), len(s["FRAMES"]))),
        "Registered": lambda s: Cell(_registered(s["SHIFTS"])),
        "FWHM [px]": lambda s: Cell(_median(s["FRAMES"], "FWHM")),
        "Sky [adu]": lambda s: Cell(_median(s["FRAMES"], "SKY")),
        "Stars": lambda s: Cell(_median(s["FRAMES"], "N_STARS")),
        "Residual [px]": lambda s: Cell(_median(s["SHIFTS"], "RESIDUAL")),
        "Masters": lambda s: Cell("; ".join(_all_masters(s["FRAMES"], page.parts))),
    }
    numbers = ("Used", "Registered", "FWHM [px]", "Sky [adu]", "Stars", "Residual [px]")
    tables = (table_of(columns, sets, "", numbers), *_tables_of_sets(page, lights))
    return PageSection("Lights", "lights", (), tables)


def _all_masters(frames: Sequence[Record], parts: Collection[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, (masters_text(f, parts) for f in frames))))


def _registered(shifts: Sequence[Record]) -> str:
    return _of(sum(map(is_used, shifts)), len(shifts)) if shifts else ""


def _of(part: int, whole: int) -> str:
    return f"{part}\u00a0of\u00a0{whole}"


def _median(rows: Sequence[Record], key: str) -> str:
    values = np.array([r.get(key, np.nan) for r in rows if is_used(r)], dtype=float)
    known = values[np.isfinite(values)]
    return number_text(float(np.median(known))) if len(known) else ""


_STACK_NUMBERS = {  # column -> how it is called; others of the table are not shown
    "N_FRAMES": "Frames",
    "N_USED": "Combined",
    "EXPTIME": "Exposure [s]",
    "TEXPTIME": "Total exposure [s]",
    "FWHM": "FWHM [px]",
    "SKY": "Sky [adu]",
    "NOISE": "Noise [adu]",
    "DEPTH": "Depth [adu]",
    "N_STARS": "Stars",
    "COVERAGE": "Coverage",
}


def stack_name(stack: Record) -> str:
    """Return the name of a stack, whose files have it."""
    return str(stack["SET"])


def _stacks(page: NightPage) -> PageSection:
    """Show the stacks: their numbers, links to file and viewer, and pictures."""
    images = {shown.name: shown for shown in images_of(page.results, page.group.name, page.stacks)}

    def viewer(stack: Record) -> Cell:
        shown = images.get(stack_name(stack))
        return Cell("viewer", page=shown.page(page.night)) if shown else Cell()

    def file(stack: Record) -> Cell:
        path = page.product("stacks", f"{stack_name(stack)}.fits")
        return Cell("FITS" if path else "", product=path)

    columns: dict[str, Callable[[Record], Cell]] = {
        "Status": lambda s: Cell(status=_of_master(s), text=str(s["STATUS"])),
        "Stack": lambda s: Cell(stack_name(s)),
        "Look": viewer,
        "File": file,
        **{head: _pair(key) for key, head in _STACK_NUMBERS.items()},
        "Remark": lambda s: Cell(str(s["REASON"])),
    }
    rows = [{"STATUS": "ok", "REASON": ""} | s for s in map(dict, page.stacks)]
    tables = (table_of(columns, rows, "", tuple(_STACK_NUMBERS.values())),) if rows else ()
    return PageSection("Stacks", "stacks", (), tables, page.pictures("stacks"))


def images_of(results: Path, night: str, stacks: Sequence[Record]) -> list[ShownImage]:
    """List the stacks of a night that the viewer shows."""
    found = []
    for stack in stacks:
        name = stack_name(stack)
        path = f"{NIGHTS.folder.format(night=night)}/stacks/{name}.fits"
        if stack.get("STATUS", "ok") == FrameStatus.OK and (results / path).is_file():
            found.append(ShownImage(name, path, name.replace("_", " "), tuple(_facts(stack))))
    return found


def _facts(stack: Record) -> Iterator[tuple[str, str]]:
    texts: dict[str, Any] = {"Target": stack.get("OBJECT", ""), "Filter": stack.get("FILTER", "")}
    texts |= {
        head: number_text(stack.get(key), stack.get(f"{key}_ERR", float("nan")))
        for key, head in _STACK_NUMBERS.items()
    }
    texts["Remark"] = stack.get("REASON", "")
    return ((label, str(text)) for label, text in texts.items() if text)
