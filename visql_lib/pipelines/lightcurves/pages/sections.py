"""The sections of the pages of sets and targets: frames that are left out and why, stars, decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.pages.records import is_kept, said, seeing_of, sources_of, status_of
from visql_lib.pipelines.lightcurves.set_tables import SetTables
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.products.page_parts import Cell, PageSection, PageTable, Remark
from visql_lib.products.page_records import Record, number_text, table_of
from visql_lib.qc.summary import GroupSummary

_FEW = 8  # frames of one state that are shown at once; more are folded
_ORDER = ("failed", "error", "warn", "none", "ok")


def set_sections(group: GroupSummary, frames: Sequence[Record], tables: SetTables) -> list[PageSection]:
    """Compose the sections of a set's page; none where its tables are not there."""
    if not frames:
        return []
    found = [left_out(group.name, frames)]
    if tables.stars.n_rows:
        found.append(_stars(tables))
    top = f"{SETS.folder.format(**SETS.fields(group.name))}/pictures/"
    pictures = tuple(p for p in group.pictures if p.startswith(top))
    if pictures:
        found.append(PageSection("Pictures of the set", "set-pictures", (), (), pictures, broad=True))
    return found


def left_out(group: str, frames: Sequence[Record], anchor: str = "left-out") -> PageSection:
    """Show how many frames count, and those that do not, with their reasons; many of one state are folded."""
    others = [f for f in frames if not is_kept(f)]
    counts = Counter(_word(f) for f in others)
    words = ", ".join(f"{n} {word}" for word, n in counts.items())
    text = f"{len(frames) - len(others)} of {len(frames)} frames count" + (f"; {words}" if words else "")
    alike = {word: [f for f in others if _word(f) == word] for word in counts}
    few = [f for some in alike.values() if len(some) <= _FEW for f in some]
    few += [f for f in frames if is_kept(f) and f["REASON"]]
    few.sort(key=lambda f: _ORDER.index(status_of(f)))
    tables = [_frame_table(group, few)] if few else []
    tables += [_frame_table(group, some, word) for word, some in alike.items() if len(some) > _FEW]
    status = "ok" if not any(status_of(f) in ("error", "failed") for f in others) else "warn"
    return PageSection(f"Left out: {len(others)}", anchor, (Remark(status, text),), tuple(tables))


def _word(frame: Record) -> str:
    return said(frame).partition(":")[0]


def frame_cell(group: str, frame: Record) -> Cell:
    """Link a frame to its page."""
    return Cell(str(frame["FRAME"]), page=f"exposures/{group}/{frame['FRAME']}.html")


def number_cell(key: str, digits: int = 3) -> Callable[[Record], Cell]:
    """Return how a number of a frame is shown; of the seeing, in px where no pixel scale is known."""
    return lambda f: Cell(number_text(seeing_of(f) if key == "SEEING" else f[key], digits=digits))


def _frame_table(group: str, frames: Sequence[Record], word: str = "") -> PageTable:
    columns: dict[str, Callable[[Record], Cell]] = {
        "Status": lambda f: Cell(status=status_of(f), text=_word(f) or "counts"),
        "Frame": lambda f: frame_cell(group, f),
        "Reason": lambda f: Cell(str(f["REASON"])),
        "Said by": lambda f: Cell(str(f["STAGE"]).replace("_", "-")),
        "Middle (UTC)": lambda f: Cell(str(f["START"])),
        "Seeing": number_cell("SEEING"),
        "Ellipticity": number_cell("ELLIPTICITY"),
        "Sky [electron]": number_cell("SKY"),
        "C": number_cell("C", 4),
    }
    numbers = ("Seeing", "Ellipticity", "Sky [electron]", "C")
    title = f"{len(frames)} {word}" if word else ""
    return table_of(columns, frames, title, numbers, folded=bool(word))


def _stars(tables: SetTables) -> PageSection:
    """Show the comparison stars of a set: which make the PSF, which serve the normalisation, why not."""
    from visql_lib.pipelines.lightcurves.pictures.stars import star_curves

    curves = {curve.name: curve for curve in star_curves(tables)}
    table = tables.stars
    rows: list[Record] = []
    for i, name in enumerate(map(str, table["STAR"])):
        curve = curves.get(name)
        row = {k: table[k][i] for k in ("X", "Y", "SNR", "PEAK", "NEIGHBOUR", "DISTANCE", "PSF", "NORM")}
        row |= {"STAR": name, "REASON": curve.note if curve is not None else str(table["REASON"][i])}
        row["SCATTER"] = curve.scatter if curve is not None else float("nan")
        row["EXPECTED"] = curve.expected if curve is not None else float("nan")
        row["FLAGGED"] = int(np.sum(curve.rejected)) if curve is not None else 0
        rows.append(row)
    columns: dict[str, Callable[[Record], Cell]] = {
        "Star": lambda r: Cell(str(r["STAR"])),
        "PSF": lambda r: Cell("yes" if r["PSF"] else "no"),
        "Normalisation": lambda r: Cell("yes" if r["NORM"] and not r["REASON"] else "no"),
        "Scatter [mmag]": lambda r: Cell(number_text(r["SCATTER"], digits=3)),
        "Errors [mmag]": lambda r: Cell(number_text(r["EXPECTED"], digits=3)),
        "Flagged frames": lambda r: Cell(str(r["FLAGGED"]) if r["FLAGGED"] else ""),
        "S/N": lambda r: Cell(number_text(r["SNR"], digits=3)),
        "x [px]": lambda r: Cell(f"{r['X']:.1f}"),
        "y [px]": lambda r: Cell(f"{r['Y']:.1f}"),
        "Distance [px]": lambda r: Cell(number_text(r["DISTANCE"], digits=3)),
        "Peak / saturation": lambda r: Cell(number_text(r["PEAK"], digits=2)),
        "Neighbour": lambda r: Cell(number_text(r["NEIGHBOUR"], digits=2)),
        "Remark": lambda r: Cell(str(r["REASON"])),
    }
    words = tuple(c for c in columns if c not in ("Star", "PSF", "Normalisation", "Remark"))
    n = sum(bool(r["NORM"]) and not r["REASON"] for r in rows)
    text = (
        f"{n} of {len(rows)} stars serve the normalisation, {sum(bool(r['PSF']) for r in rows)} make the PSF"
    )
    return PageSection(
        "Stars", "stars", (Remark("ok" if n >= 3 else "warn", text),), (table_of(columns, rows, "", words),)
    )


def decision_section(decisions: Sequence[Record]) -> PageSection | None:
    """Show what was decided, the user's decisions first; None where nothing was."""
    if not decisions:
        return None
    mine = [d for d in decisions if d["BY"] != "auto"]
    tables = [decision_table(mine, f"{len(mine)} by the user")] if mine else []
    auto = [d for d in decisions if d["BY"] == "auto" and not d["KEPT"]]
    for stage in dict.fromkeys(str(d["STAGE"]) for d in auto):
        some = [d for d in auto if d["STAGE"] == stage]
        tables.append(
            decision_table(some, f"{len(some)} by {stage.replace('_', '-')}", folded=len(some) > _FEW)
        )
    text = f"{len(mine)} decisions of the user, {len(auto)} automatic ones against a frame or a star"
    remark = Remark("ok", text + ". The user's file wins." if mine else text)
    return PageSection("Decisions", "decisions", (remark,), tuple(tables))


def decision_table(decisions: Sequence[Record], title: str = "", folded: bool = False) -> PageTable:
    """List decisions: who decided what about a frame or star, and why."""
    columns: dict[str, Callable[[Record], Cell]] = {
        "Frame or star": lambda d: Cell(str(d["FRAME"])),
        "Set": lambda d: Cell(str(d["SET"])),
        "Stage": lambda d: Cell(str(d["STAGE"]).replace("_", "-")),
        "Decision": lambda d: Cell("kept" if d["KEPT"] else "left out"),
        "Reason": lambda d: Cell(str(d["REASON"])),
        "Value": lambda d: Cell(number_text(d["VALUE"])),
        "Limit": lambda d: Cell(number_text(d["LIMIT"])),
        "By": lambda d: Cell(str(d["BY"])),
    }
    return table_of(columns, decisions, title, ("Value", "Limit"), folded=folded)


def source_table(frames: dict[str, Sequence[Record]], nights: Sequence[SetTables]) -> PageTable:
    """Summarise each source in each set: frames and nights that count, median magnitude, scatter, errors."""
    rows: list[Record] = []
    for tables in nights:
        mine = frames.get(tables.name, ())
        for source in sources_of(mine):
            points = [f["POINTS"][source] for f in mine if source in f["POINTS"]]
            kept = [p for p in points if p["KEPT"]]
            rows.append(_summary(source, tables, len(points), kept))
    columns: dict[str, Callable[[Record], Cell]] = {
        "Source": lambda r: Cell(str(r["SOURCE"])),
        "Set": lambda r: Cell(str(r["SET"])),
        "Frames": lambda r: Cell(f"{r['KEPT']}\u00a0of\u00a0{r['N']}"),
        "Good nights": lambda r: Cell(f"{r['GOOD']}\u00a0of\u00a0{r['NIGHTS']}"),
        "Median [mag]": lambda r: Cell(number_text(r["MAG"], digits=5)),
        "Error of a frame [mmag]": lambda r: Cell(number_text(r["ERR"], digits=3)),
        "Error of a night [mmag]": lambda r: Cell(number_text(r["NIGHT_ERR"], digits=3)),
    }
    numbers = ("Frames", "Good nights", "Median [mag]", "Error of a frame [mmag]", "Error of a night [mmag]")
    return table_of(columns, rows, "", numbers)


def _summary(source: str, tables: SetTables, n: int, kept: Sequence[Record]) -> Record:
    nights = tables.nights
    mine = nights["SOURCE"] == source
    flags = np.asarray(nights["FLAG"], dtype=bool)[mine]
    errors = np.asarray(nights["MAG_ERR"], dtype=float).reshape(nights.n_rows, -1)[mine]
    night_error = 1000 * _median(errors[:, -1]) if errors.size else float("nan")
    row = {"SOURCE": source, "SET": tables.name, "N": n, "KEPT": len(kept), "NIGHTS": len(flags)}
    row |= {"GOOD": int(flags.sum()), "NIGHT_ERR": night_error}
    mags, errors_of = (np.array([p[k] for p in kept], dtype=float) for k in ("MAG", "MAG_ERR"))
    return row | {"MAG": _median(mags), "ERR": 1000 * _median(errors_of)}


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def below(results: Path, folder: str, endings: Sequence[str]) -> tuple[str, ...]:
    """List files of a folder below the results that have one of some endings, sorted."""
    top = results / folder
    names = sorted(p.name for p in top.iterdir() if p.is_file()) if top.is_dir() else []
    return tuple(f"{folder}/{n}" for n in names if n.endswith(tuple(endings)) and not n.startswith("."))


def kicked(frame: Record) -> bool:
    """Say whether the user took a frame out."""
    return str(frame["STATE"]) == LightStatus.KICKED
