"""A night: its calibration sets and chunks of lights, and where their products are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from visql_lib.instruments.sets import SetRules
from visql_lib.pipelines.reduction.choice import NightSet, start_of_set
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.sets import CalibrationSet, calibration_sets
from visql_lib.sheets.sheet import USABLE, SheetRow


@dataclass(frozen=True)
class Night:
    """The frames of a night, as its sheet has them.

    Parameters
    ----------
    results : Path or str
        Folder of all products.
    date : str
        YYYYMMDD of its evening.
    rows : sequence of SheetRow
        The sheet.
    rules : SetRules
        Which frames belong together.
    chunk : int
        Lights that one job reduces.
    """

    results: Path | str
    date: str
    rows: Sequence[SheetRow]
    rules: SetRules
    chunk: int

    @cached_property
    def row_of(self) -> Mapping[str, SheetRow]:
        """The rows with a usable raw frame, by exposure."""
        return {row.exposure: row for row in self.rows if row.status in USABLE}

    @cached_property
    def sets(self) -> Mapping[str, NightSet]:
        """All calibration sets, and the sets of lights, by name."""
        found = calibration_sets(self.row_of.values(), self.rules)
        starts = {name: row.date_obs for name, row in self.row_of.items()}
        made = (NightSet(self.date, s, start_of_set([starts[name] for name in s.frames])) for s in found)
        return {s.name: s for s in made}

    def of_type(self, frame_type: str) -> list[NightSet]:
        """List the sets of a type."""
        return [s for s in self.sets.values() if s.members.frame_type == frame_type]

    @cached_property
    def chunks(self) -> Mapping[str, tuple[str, ...]]:
        """The exposures of each chunk of lights, by its name: that of the set, and a number."""
        found = {}
        for light in self.of_type("SCIENCE"):
            frames = light.members.frames
            for number, first in enumerate(range(0, len(frames), self.chunk), start=1):
                found[f"{light.name}.{number:02d}"] = frames[first : first + self.chunk]
        return found

    def set_of(self, name: str) -> NightSet:
        """Find a set by its name, or by that of one of its chunks."""
        return self.sets[name] if name in self.sets else self.sets[name.rpartition(".")[0]]

    def chunks_of(self, stack: str) -> list[str]:
        """List the chunks of a set of lights."""
        return [name for name in self.chunks if name.rpartition(".")[0] == stack]

    def chunk_with(self, exposure: str) -> str:
        """Return the name of a light's chunk."""
        return next(name for name, frames in self.chunks.items() if exposure in frames)

    def members(self, name: str) -> list[SheetRow]:
        """List the rows of a set, or of a chunk."""
        exposures = self.chunks.get(name) or self.set_of(name).members.frames
        return [self.row_of[exposure] for exposure in exposures]

    @cached_property
    def pixels(self) -> Mapping[str, NightSet]:
        """The flats of which a map of bad pixels is made, by its name; darks of a camera without flats.

        One for each set of flats: one more flat changes nothing for other filters.
        """
        flats = self.of_type("FLAT")
        lit = {self.state_of(flat.members) for flat in flats}
        dark = [s for s in self.of_type("DARK") if self.state_of(s.members) not in lit]
        return {f"bad_pixels_{s.name.partition('_')[2] or s.name}": s for s in (*flats, *dark)}

    def state_of(self, members: CalibrationSet) -> tuple[str, ...]:
        """Return what no two frames calibrated together may differ in: shape, binning, gain, ..."""
        return tuple(members.facts.get(column, "") for column in self.rules.always)

    def master(self, name: str, ending: str = ".fits") -> str:
        """Compose the path of the master of a set, or of a map of bad pixels."""
        return self._path("masters", name + ending)

    def chunk_table(self, name: str) -> str:
        """Compose the path of the table of a chunk."""
        return self._path("frames", f"{name}.parquet")

    def stack(self, name: str, ending: str = ".fits") -> str:
        """Compose the path of a product of a stack."""
        return self._path("stacks", name + ending)

    def _path(self, folder: str, name: str) -> str:
        return f"{self.results}/{NIGHTS.folder.format(night=self.date)}/{folder}/{name}"
