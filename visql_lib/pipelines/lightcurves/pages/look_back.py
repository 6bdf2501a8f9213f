"""The look-back on a frame's page: its points, the frames around, why it is left out, what to copy."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import numpy as np

from visql_lib.pipelines.lightcurves.grouping import FRAME, SETS, S, T
from visql_lib.pipelines.lightcurves.pages.records import (
    NOT_KEPT,
    is_kept,
    said,
    sources_of,
    status_of,
)
from visql_lib.pipelines.lightcurves.pages.sections import decision_table, frame_cell, kicked, number_cell
from visql_lib.products.page_parts import Cell, PageSection, PageTable, Remark
from visql_lib.products.page_records import Record, number_text, table_of

REACH = 10  # frames before and after


def look_back(
    group: str,
    at: int,
    frames: Sequence[Record],
    decisions: Sequence[Record],
    results: str,
    target_file: str,
    config: str = "",
) -> list[PageSection]:
    """Compose the sections of a frame's page.

    Parameters
    ----------
    group : str
        TARGET/SET.
    at : int
        Its place among the frames.
    frames : sequence of records
        The frames of the set in order of time; see `records.frames_of`.
    decisions : sequence of records
        Rows of DECISIONS of the target.
    results, target_file, config : str
        Folder of results, file of the target and file of settings as the commands name them.
    """
    frame = frames[at]
    mine = [d for d in decisions if d["FRAME"] == frame["FRAME"] and d["SET"] == frame["SET"]]
    tables = [_points(frame)] if frame["POINTS"] else []
    if mine:
        tables.append(decision_table(mine, "Decisions"))
    remarks = (_became(frame), *_decision_line(frame))
    around = frames[max(0, at - REACH) : at + REACH + 1]
    return [
        PageSection("Look-back", "look-back", remarks, tuple(tables)),
        PageSection("Frames around", "around", (), (_around(group, frame, around),)),
        PageSection("By hand", "by-hand", tuple(_commands(group, frame, results, target_file, config))),
    ]


def _became(frame: Record) -> Remark:
    if is_kept(frame):
        note = f": {frame['REASON']}" if frame["REASON"] else ""
        return Remark(status_of(frame), f"It counts for the light curve{note}.")
    return Remark(status_of(frame), f"{said(frame)} (said by {str(frame['STAGE']).replace('_', '-')})")


def _decision_line(frame: Record) -> list[Remark]:
    """Give the line of the user's file that takes a frame out, or say how to take it back."""
    target_file = "the kick file of the target"
    if kicked(frame):
        text = f"Taken out by the user. To take it back, remove this line from {target_file}:"
        return [Remark("", text, f"{frame['FRAME']} {frame['REASON']}".strip())]
    reason = str(frame["REASON"]) if frame["STATE"] == NOT_KEPT else "reason"
    text = f"To leave it out whatever the limits say, add this line to {target_file}:"
    return [Remark("", text, f"{frame['FRAME']} {reason}")]


def _points(frame: Record) -> PageTable:
    rows: list[Record] = [{"SOURCE": s} | dict(p) for s, p in frame["POINTS"].items()]
    columns: dict[str, Callable[[Record], Cell]] = {
        "Source": lambda r: Cell(str(r["SOURCE"])),
        "Magnitude": lambda r: Cell(number_text(r["MAG"], r["MAG_ERR"])),
        "Flux [electron]": lambda r: Cell(number_text(r["FLUX"], r["ERR"])),
        "C": lambda r: Cell(number_text(frame["C"], frame["C"] * frame["C_ERR"])),
        "χ² per pixel": lambda r: Cell(number_text(r["CHI2"], digits=3)),
        "Counts": lambda r: Cell("yes" if r["KEPT"] else "no"),
        "Reason": lambda r: Cell(str(r["REASON"])),
    }
    return table_of(columns, rows, "Its points", ("Magnitude", "Flux [electron]", "C", "χ² per pixel"))


def _around(group: str, frame: Record, around: Sequence[Record]) -> PageTable:
    """List the frames before and after, with links, the frame itself in the middle."""

    def name(f: Record) -> Cell:
        return Cell(f"{f['FRAME']} (this one)") if f is frame else frame_cell(group, f)

    def mag(source: str) -> Callable[[Record], Cell]:
        def cell(f: Record) -> Cell:
            point = f["POINTS"].get(source)
            return Cell("" if point is None or not np.isfinite(point["MAG"]) else f"{point['MAG']:.3f}")

        return cell

    columns: dict[str, Callable[[Record], Cell]] = {
        "Number": lambda f: Cell(str(f["NUMBER"])),
        "Frame": name,
        "Middle (UTC)": lambda f: Cell(str(f["START"])),
        "Seeing": number_cell("SEEING"),
        "C": number_cell("C", 4),
    }
    columns |= {f"{source} [mag]": mag(source) for source in sources_of(around)}
    columns["What became of it"] = lambda f: Cell(said(f) or "counts")
    numbers = tuple(c for c in columns if c not in ("Frame", "Middle (UTC)", "What became of it"))
    return table_of(columns, around, "", numbers)


def _commands(group: str, frame: Record, results: str, target_file: str, config: str) -> list[Remark]:
    """Give the three commands that measure the frame by hand, and the one that draws it."""
    fields = SETS.fields(group) | {"exposure": str(frame["FRAME"])}
    name = fields["set"]
    top, above = f"{results}/{S.format(**fields)}", f"{results}/{T.format(**fields)}"
    stem = f"{results}/{FRAME.format(**fields)}"
    common = ["--target", target_file, "--set", name, *(["--config", config] if config else [])]
    raw, out = str(frame["FILE"]), ["-o", f"{top}/frames"]
    reference = ["--reference", f"{above}/reference.parquet"]
    model = ["--stars", f"{top}/stars_{name}.parquet", "--model", f"{top}/psfmodel_{name}.parquet"]
    steps = (
        ("Time, sky, sources, seeing:", ["lc-frame", raw, *out, *common]),
        ("Alignment, apertures, stamps:", ["lc-measure", raw, *out, *reference, *common]),
        ("PSF and fluxes of the stars:", ["lc-psf", f"{stem}_stamps.fits", *out, *model, *common]),
        ("Its pictures:", ["lc-pictures", "frame", f"{stem}_stamps.fits", *out]),
    )
    return [Remark("", text, shlex.join(["visql", *words])) for text, words in steps]


def place_of(frames: Sequence[Record]) -> dict[str, int]:
    """Return the place of each frame among those of its set."""
    return {str(frame["FRAME"]): i for i, frame in enumerate(frames)}
