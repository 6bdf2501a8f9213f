"""The sections of a night's page: what became of its frames, and its streaks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from visql_lib.pipelines.pointing.pages.records import said, status_of
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.products.page_parts import Cell, PageSection, PageTable, Remark
from visql_lib.products.page_records import Record, number_text, table_of
from visql_lib.qc.summary import GroupSummary

_REASONS = 50  # that are listed, the most frequent ones
_STREAKS = 300  # that are listed, the most significant ones


def sections_of(
    group: GroupSummary, frames: Sequence[Record], streaks: Sequence[Record]
) -> list[PageSection]:
    """Compose the sections of a night's page; none where its table is not there."""
    if not frames:
        return []
    found = [_frames(group, frames)]
    if streaks:
        found.append(_streaks(group, streaks))
    return found


def _frames(group: GroupSummary, frames: Sequence[Record]) -> PageSection:
    """Count what became of the frames, and list the reasons; the picture of the night."""
    counts = Counter(str(f["STATUS"]) for f in frames)
    measured = counts.pop(GuideStatus.OK, 0)
    words = [f"{measured} of {len(frames)} frames have a zero point"]
    words += [f"{n} {status.replace('_', ' ')}" for status, n in counts.most_common()]
    dome = sum(bool(f["DOME"]) for f in frames)
    words += [f"the dome in the way of {dome}"] if dome else []
    bad = any(status_of(f) in ("failed", "error") for f in frames)
    remark = Remark("warn" if bad else "ok", ", ".join(words))
    tables = tuple(_reasons(group, frames))
    pictures = tuple(p for p in group.pictures if p.rpartition("/")[2] == f"night_{group.name}.png")
    return PageSection("Night", "night", (remark,), tables, pictures, broad=True)


def _reasons(group: GroupSummary, frames: Sequence[Record]) -> list[PageTable]:
    """List why frames were not measured, or are doubtful: a row a reason, the most frequent first."""
    alike: dict[tuple[str, str], list[Record]] = {}
    for frame in frames:
        if said(frame):
            # Frames that failed alike have their own names in the reason.
            reason = str(frame["REASON"]).replace(str(frame["EXPOSURE"]), "…")
            alike.setdefault((str(frame["STATUS"]), reason), []).append(frame)
    if not alike:
        return []
    rows = sorted(({"WHY": why, "FRAMES": some} for why, some in alike.items()), key=_number, reverse=True)
    columns: dict[str, Callable[[Record], Cell]] = {
        "Status": lambda r: Cell(status=status_of(r["FRAMES"][0]), text=r["WHY"][0].replace("_", " ")),
        "Frames": lambda r: Cell(str(len(r["FRAMES"]))),
        "Reason": lambda r: Cell(r["WHY"][1]),
        "First": lambda r: _frame(group, r["FRAMES"][0]),
        "Last": lambda r: _frame(group, r["FRAMES"][-1]) if len(r["FRAMES"]) > 1 else Cell(),
    }
    shown = rows[:_REASONS]
    title = f"Reasons: the {len(shown)} most frequent of {len(rows)}" if len(shown) < len(rows) else "Reasons"
    return [table_of(columns, shown, title, ("Frames",), folded=len(shown) > 8)]


def _number(row: Record) -> int:
    return len(row["FRAMES"])


def _frame(group: GroupSummary, frame: Record) -> Cell:
    name = str(frame["EXPOSURE"])
    there = any(e.name == name for e in group.exposures)
    return Cell(name, page=f"exposures/{group.name}/{name}.html" if there else "")


def _streaks(group: GroupSummary, streaks: Sequence[Record]) -> PageSection:
    """List the streaks in order of time; of very many the most significant ones."""
    best = sorted(streaks, key=lambda s: -s["SIGNIFICANCE"])[:_STREAKS]
    shown = sorted(best, key=lambda s: (s["MJD_OBS"], str(s["EXPOSURE"]), -s["SIGNIFICANCE"]))
    names = {e.name for e in group.exposures}
    columns: dict[str, Callable[[Record], Cell]] = {
        "Frame": lambda s: Cell(
            str(s["EXPOSURE"]),
            page=f"exposures/{group.name}/{s['EXPOSURE']}.html" if s["EXPOSURE"] in names else "",
        ),
        "Length [px]": lambda s: Cell(number_text(s["LENGTH"])),
        "Angle [deg]": lambda s: Cell(number_text(s["ANGLE"])),
        "Width [px]": lambda s: Cell(number_text(s["WIDTH"], digits=3)),
        "Peak [adu]": lambda s: Cell(number_text(s["PEAK"], s["PEAK_ERR"])),
        "Flux [adu]": lambda s: Cell(number_text(s["FLUX"], s["FLUX_ERR"])),
        "Significance": lambda s: Cell(number_text(s["SIGNIFICANCE"], digits=3)),
        "From RA, Dec [deg]": lambda s: Cell(_place(s, "1")),
        "To RA, Dec [deg]": lambda s: Cell(_place(s, "2")),
        "Leaves the frame": lambda s: Cell("yes" if s["LEAVES_FRAME"] else ""),
    }
    n, in_frames = len(streaks), len({str(s["EXPOSURE"]) for s in streaks})
    text = f"{n} streak{'s' * (n > 1)} in {in_frames} frame{'s' * (in_frames > 1)}"
    if n > len(shown):
        text += (
            f"; the {len(shown)} most significant ones are listed, all are in streaks_{group.name}.parquet"
        )
    numbers = tuple(head for head in columns if head not in ("Frame", "Leaves the frame"))
    table = table_of(columns, shown, "List of streaks", numbers, folded=True)
    return PageSection("Streaks", "streaks", (Remark("none", text),), (table,))


def _place(streak: Record, end: str) -> str:
    ra, dec = (float(streak[f"{name}{end}"]) for name in ("RA", "DEC"))
    return f"{ra:.3f} {dec:+.3f}".replace("-", "−") if math.isfinite(ra + dec) else ""
