"""A night on its page: its tables, and how its frames are listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.pages.records import (
    frames_of,
    masters_of,
    stacks_of,
    status_of,
    worst_first,
)
from visql_lib.pipelines.reduction.settings import CALIBRATIONS
from visql_lib.products.page_parts import Cell, PageTable, workflow_command
from visql_lib.products.page_records import Record, number_text, table_of
from visql_lib.qc.summary import GroupSummary


@dataclass(frozen=True)
class NightPage:
    """What the sections of a night's page are made from."""

    results: Path
    group: GroupSummary
    frames: Sequence[Record]
    masters: Sequence[Record]
    stacks: Sequence[Record]
    settings_results: str
    config: str

    @classmethod
    def read(cls, results: Path, group: GroupSummary, settings_results: str, config: str) -> NightPage:
        """Read the tables of a night."""
        night = group.name
        frames, masters, stacks = (f(results, night) for f in (frames_of, masters_of, stacks_of))
        return cls(results, group, frames, masters, stacks, settings_results, config)

    @property
    def night(self) -> str:
        """Its key."""
        return self.group.name

    @property
    def shown(self) -> frozenset[str]:
        """The exposures that have a page."""
        return frozenset(e.name for e in self.group.exposures)

    @property
    def parts(self) -> frozenset[str]:
        """The names of the night's masters."""
        return frozenset(str(master["PART"]) for master in self.masters)

    def product(self, folder: str, name: str) -> str:
        """Return the path of a product of the night that exists, "" if it does not."""
        path = f"{NIGHTS.folder.format(night=self.night)}/{folder}/{name}"
        return path if (self.results / path).is_file() else ""

    def pictures(self, folder: str) -> tuple[str, ...]:
        """List the pictures in a folder of the night."""
        top = f"{NIGHTS.folder.format(night=self.night)}/{folder}/"
        return tuple(p for p in self.group.pictures if p.startswith(top))

    def command(self, *more: str) -> str:
        """Compose the command that runs the workflow for the night."""
        return workflow_command([], NIGHTS.plural, self.night, self.settings_results, self.config, *more)


def frame_table(page: NightPage, frames: Sequence[Record], title: str, with_set: bool = False) -> PageTable:
    """List frames, those that were left out first."""
    ordered = worst_first(frames)
    reasons = {str(f["EXPOSURE"]): str(f["REASON"]) for f in ordered}
    for before, frame in pairwise(ordered):  # a set without its flat says it once
        if frame["REASON"] and frame["REASON"] == before["REASON"]:
            reasons[str(frame["EXPOSURE"])] = "the same"
    columns: dict[str, Callable[[Record], Cell]] = {
        "Status": lambda f: Cell(status=status_of(f), text=str(f["STATUS"]).replace("_", " ")),
        "Frame": lambda f: _frame_cell(page, str(f["EXPOSURE"])),
        "Reason": lambda f: Cell(reasons[str(f["EXPOSURE"])]),
    }
    if with_set:
        columns |= {"Type": lambda f: Cell(str(f["TYPE"])), "Set": lambda f: Cell(str(f["SET"]))}
    columns["Start (UTC)"] = lambda f: Cell(f["START"][11:19])
    columns |= {head: _of_number(key) for head, key in _FRAME_NUMBERS.items()}
    columns["Masters"] = lambda f: Cell(masters_text(f, page.parts))
    return table_of(columns, ordered, title, tuple(_FRAME_NUMBERS), folded=bool(title))


_FRAME_NUMBERS = {
    "Exposure [s]": "EXPTIME",
    "Level [adu]": "LEVEL",
    "Noise [adu]": "NOISE",
    "Sky [adu]": "SKY",
    "FWHM [px]": "FWHM",
    "Stars": "N_STARS",
    "Saturated px": "N_SATURATED",
    "Cosmic px": "N_COSMIC",
}
_COUNTS = ("N_SATURATED", "N_COSMIC")  # -1 or 0: nothing to tell


def _of_number(key: str) -> Callable[[Record], Cell]:
    def cell(frame: Record) -> Cell:
        value = frame.get(key)
        return Cell("" if key in _COUNTS and (value is None or value <= 0) else number_text(value))

    return cell


def _frame_cell(page: NightPage, exposure: str) -> Cell:
    there = exposure in page.shown
    return Cell(exposure, page=f"exposures/{page.night}/{exposure}.html" if there else "")


def masters_text(frame: Record, parts: Collection[str]) -> str:
    """List the masters of a frame; `parts` are the names of those of its own night."""
    names = (str(frame.get(f"MASTER_{kind.upper()}", "")) for kind in CALIBRATIONS)
    return ", ".join(master_text(name, parts) for name in names if name)


def master_text(name: str, parts: Collection[str]) -> str:
    """Return the name of a master, and whether it is one of another night."""
    own = stem_of(name)
    return f"{own} of another night" if own and own not in parts else own
