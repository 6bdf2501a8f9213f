"""The plan of a run of the reduction: which masters each set of frames of its nights is calibrated with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from visql_lib.config.load import digest
from visql_lib.errors import FrameError, TableError
from visql_lib.pipelines.reduction.choice import MasterPool, NightSet
from visql_lib.pipelines.reduction.grouping import NIGHTS
from visql_lib.pipelines.reduction.night import Night
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.reduction.status import FrameStatus
from visql_lib.products.plan import Plan
from visql_lib.products.registry import FieldValues
from visql_lib.products.status import UNFINISHED, exposure_states, failure_summary
from visql_lib.sheets.sheet import SheetRow, read_sheet
from visql_lib.tables.store import read_table

_FIELDS = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "stack": "SCIENCE"}  # of paths -> frame type
_NEEDS = {"BIAS": (), "DARK": ("BIAS",), "FLAT": ("BIAS", "DARK"), "SCIENCE": ("BIAS", "DARK", "FLAT")}


@dataclass(frozen=True)
class ReductionPlan(Plan):
    """The frames of the configured nights, and which of them belong together."""

    settings: ReductionSettings

    @cached_property
    def nights(self) -> dict[str, Night]:
        """The configured nights."""
        return {date: self._night(date, rows) for date, rows in self.sheets.items()}

    def _night(self, date: str, rows: list[SheetRow]) -> Night:
        return Night(self.results, date, rows, self.instrument.sets, self.settings.reduce.chunk)

    @cached_property
    def _known(self) -> dict[str, Night]:
        """All nights that have a sheet."""
        results = Path(self.results)
        others = set(NIGHTS.groups(results)) - set(self.sheets)
        return self.nights | {n: self._night(n, read_sheet(NIGHTS.sheet_path(results, n))) for n in others}

    def words_of(self, group: str) -> FieldValues:
        """Return the names of the night's sets, chunks of lights and maps of bad pixels."""
        if group not in self.nights:
            return dict.fromkeys((*_FIELDS, "chunk", "pixels"), ())
        night = self.nights[group]
        names = {field: [s.name for s in night.of_type(kind)] for field, kind in _FIELDS.items()}
        return names | {"chunk": list(night.chunks), "pixels": list(night.pixels)}

    # --- which frames -----------------------------------------------------------------------------

    def frames(self, night: str, name: str) -> list[str]:
        """List the raw files of a set or of a chunk."""
        return [row.file for row in self.nights[night].members(name)]

    def fingerprints(self, night: str, name: str) -> str:
        """Hash the raw files of a set or chunk: changes when one is replaced, joins or leaves."""
        return digest(*(f"{row.exposure} {row.fingerprint}" for row in self.nights[night].members(name)))

    def chunk_tables(self, night: str, stack: str) -> list[str]:
        """List the tables of the chunks of a set of lights."""
        own = self.nights[night]
        return [own.chunk_table(name) for name in own.chunks_of(stack)]

    def chunk_table(self, night: str, exposure: str) -> str:
        """Compose the path of the table of a light's chunk."""
        own = self.nights[night]
        return own.chunk_table(own.chunk_with(exposure))

    # --- which masters ----------------------------------------------------------------------------

    @cached_property
    def _pool(self) -> MasterPool:
        """All sets that have a master or will have one: of these nights, and of others in the results."""
        known = (
            s
            for date, night in self._known.items()
            for name, s in night.sets.items()
            if date in self.nights or Path(night.master(name)).is_file()
        )
        return MasterPool(known, self.instrument.sets, self.settings.masters.max_age)

    def _master(self, made: NightSet) -> str:
        return self._known[made.night].master(made.name)

    def _choices(self, wanted: NightSet) -> dict[str, NightSet | None]:
        """Choose the masters for the frames of a set, by their type; None: there is none."""
        key = wanted.night, wanted.name
        if key not in self._chosen:
            self._chosen[key] = {
                kind: next((s for s in self._pool.fitting(kind, wanted) if not self._has_failed(s)), None)
                for kind in _NEEDS[wanted.members.frame_type]
            }
        return self._chosen[key]

    @cached_property
    def _chosen(self) -> dict[tuple[str, str], dict[str, NightSet | None]]:
        return {}

    def _has_failed(self, made: NightSet) -> bool:
        """Say whether the master of another night, which this run does not make, is none."""
        if made.night in self.nights:
            return False
        path = Path(self._master(made))
        if path not in self._failed:
            self._failed[path] = _is_failed(path)
        return self._failed[path]

    @cached_property
    def _failed(self) -> dict[Path, bool]:
        return {}

    def masters(self, night: str, name: str) -> list[str]:
        """List the masters for a set or chunk, with the map of bad pixels for lights."""
        return self.master_options(night, name)[1::2]

    def master_options(self, night: str, name: str) -> list[str]:
        """Compose the options that hand its masters to the command of a set or chunk."""
        wanted = self.nights[night].set_of(name)
        words = []
        for kind, chosen in self._choices(wanted).items():
            words += [f"--{kind.lower()}", self._master(chosen)] if chosen is not None else []
        return words + [word for path in self._pixels_for(wanted) for word in ("--bad-pixels", path)]

    def light_options(self, night: str, exposure: str) -> list[str]:
        """Compose the options that hand its masters to the command of a light."""
        return self.master_options(night, self.nights[night].chunk_with(exposure))

    def lacking_options(self, night: str) -> list[str]:
        """Compose the options that say which masters the sets of a night lack, but for those that may be."""
        allowed = self.settings.reduce.allow_missing
        texts = (
            f"{s.name}={self._pool.lacking(kind, s)}"
            for s in self.nights[night].sets.values()
            for kind, chosen in self._choices(s).items()
            if chosen is None and kind.lower() not in allowed
        )
        return [word for text in texts for word in ("--lacking", text)]

    def _pixels_for(self, wanted: NightSet) -> list[str]:
        """List the map of bad pixels for a set of lights: of its flat or dark, else one of its camera."""
        if wanted.members.frame_type != "SCIENCE":
            return []
        choices = self._choices(wanted)
        nights = dict.fromkeys((wanted.night, *(s.night for s in choices.values() if s is not None)))
        fitting = [
            (made, night.master(name))
            for night in (self._known[date] for date in nights)
            for name, made in night.pixels.items()
            if night.state_of(made.members) == night.state_of(wanted.members)
            and (night.date in self.nights or Path(night.master(name)).is_file())
        ]
        own = [path for made, path in fitting if made in (choices["FLAT"], choices["DARK"])]
        return (own or [path for _, path in fitting])[:1]

    def pixel_options(self, night: str, name: str) -> list[str]:
        """Compose the options that hand masters to the command of a map of bad pixels."""
        made = self.nights[night].pixels[name]
        if made.members.frame_type == "DARK":
            return ["--dark", self._master(made)]
        dark = self._choices(made)["DARK"]
        return ["--flat", self._master(made), *(["--dark", self._master(dark)] if dark is not None else [])]

    def pixel_masters(self, night: str, name: str) -> list[str]:
        """List the masters that a map of bad pixels is made from."""
        return self.pixel_options(night, name)[1::2]

    def earlier_options(self, night: str) -> list[str]:
        """Compose the options that name, for each flat, that of the nearest earlier night."""
        words = []
        for flat in self.nights[night].of_type("FLAT"):
            before = [s for s in self._pool.fitting("FLAT", flat) if s.night < night]
            words += ["--earlier", f"{flat.name}={self._master(before[0])}"] if before else []
        return words

    def earlier_flats(self, night: str) -> list[str]:
        """List the flats of earlier nights with which those of a night are compared."""
        return [word.partition("=")[2] for word in self.earlier_options(night)[1::2]]

    # --- what is said at the end ------------------------------------------------------------------

    def run_messages(self) -> str:
        """Compose the messages after a successful run: frames that failed do not stop it."""
        results = Path(self.results)
        states = [s for group in self.groups() for s in exposure_states(self.registry, results, group)]
        failures = failure_summary(
            [state for state in states if state.status != UNFINISHED], self.registry.advice
        )
        return "\n".join(filter(None, (super().run_messages(), failures)))

    # --- what stands ------------------------------------------------------------------------------

    def is_reduced(self, row: SheetRow) -> bool:
        """Say whether a light has been reduced: the table of its chunk stands and says so."""
        return row.exposure in self._reduced

    @cached_property
    def _reduced(self) -> frozenset[str]:
        return frozenset(name for night in self.nights.values() for name in _reduced_in(night))


def _is_failed(master: Path) -> bool:
    """Say whether a master is the record of one that could not be made, or cannot be read."""
    from visql_lib.images.headers import read_header, value_of  # astropy: only where it is needed
    from visql_lib.images.masters import FAILED, STATUS

    try:
        return bool(value_of(read_header(master), STATUS) == FAILED)
    except FrameError:
        return True


def _reduced_in(night: Night) -> Iterator[str]:
    for name in night.chunks:
        path = Path(night.chunk_table(name))
        if not path.is_file():
            continue
        try:
            table = read_table(path, ["EXPOSURE", "STATUS"])
        except TableError:  # damaged: made again
            continue
        yield from map(str, table["EXPOSURE"][table["STATUS"] == FrameStatus.OK])
