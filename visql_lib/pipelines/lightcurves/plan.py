"""The plan of a run of the light curves: sets of targets, their nights, and what each job is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from visql_lib.config.load import digest
from visql_lib.errors import ConfigError, TableError
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.pipelines.lightcurves.configured import is_key, load_targets
from visql_lib.pipelines.lightcurves.frozen import FROZEN, frozen_path
from visql_lib.pipelines.lightcurves.grouping import SETS
from visql_lib.pipelines.lightcurves.named_frames import name_problems
from visql_lib.pipelines.lightcurves.outcome import failed_jobs, frozen_notes, left_out
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.sheet_rules import is_test, noon_of, target_of
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import TEST, Target
from visql_lib.products.plan import Plan
from visql_lib.products.registry import FieldValues, Per, Registry
from visql_lib.qc.limits import load_thresholds
from visql_lib.sheets.nights import night_of
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import INCOMPLETE, OK, PRODUCT, UNREADABLE, SheetRow, read_sheet
from visql_lib.tables.store import read_table

TEST_TARGET = "lightcurve_test"  # of the workflow
_MEASURED = (OK, INCOMPLETE, UNREADABLE, PRODUCT)  # what cannot be read gets a row that says so
# What a stage takes of the target's file besides the camera: changing another part does not run it again.
_PARTS: Mapping[str, tuple[str, ...]] = {
    "lc_frame": ("ra", "dec", "set"),
    "lc_reference": ("ra", "dec", "reference", "point_sources", "on", "stars", "masks"),
    "lc_stars": ("stars",),
    "lc_psf_model": ("psf_sets",),
    "lc_psf": ("psf_sets",),
    "lc_scene": ("point_sources", "on", "galaxy", "masks", "fits"),
    "lc_target": ("point_sources", "on", "galaxy", "masks", "fits"),
    "lc_export": ("ra", "dec", "point_sources"),
}
# Where a chunk says which of its frames have products of a stage.
_TABLE_OF = {"lc_frame_lost": "frame", "lc_measure_lost": "measure", "lc_psf_lost": "psf"}


@dataclass(frozen=True)
class LightCurvePlan(Plan):
    """The sets of the configured targets."""

    settings: LightCurveSettings

    @classmethod
    def make(cls, settings: Any, registry: Registry, rules: SheetRules, *, refresh: bool) -> Self:
        """Make the plan, see `Plan.make`; a run of `lightcurve_test` has the frames of test lists alone.

        Raises
        ------
        ConfigError
            If a target's file, a camera, a list of frames or a folder is wrong or missing.
        """
        instrument = load_instrument(settings.instrument)
        wanted = settings.groups_at()
        if not refresh:
            return cls(settings, instrument, registry, dict(_known_sheets(settings, wanted)))
        load_thresholds(settings.thresholds, registry.quantities)
        if any(word.endswith(TEST_TARGET) for word in sys.argv[1:]):  # of a module, with a prefix
            wanted = _test_sets(settings, wanted)
        plan = cls(settings, instrument, registry, rules.refresh(settings, instrument, wanted))
        plan.check_names()
        return plan

    # --- targets and sets -------------------------------------------------------------------------

    @cached_property
    def targets(self) -> dict[str, Target]:
        """The configured targets, by name."""
        return load_targets(self.settings)

    def target_of(self, group: str) -> Target:
        """Return the target of a set."""
        return target_of(self.targets, group)

    def target_file(self, group: str) -> str:
        """Return the path of the file of a set's target."""
        return self.target_of(group).file

    def sets_of(self, name: str) -> list[str]:
        """List the sets of a target, as keys."""
        return [group for group in self.groups() if group.partition("/")[0] == name]

    def tables_of(self, name: str, *kinds: str) -> list[str]:
        """List the tables of some kinds of all sets of a target."""
        folder = Path(self.results)
        return [str(SETS.table_path(folder, group, kind)) for group in self.sets_of(name) for kind in kinds]

    def folders_of(self, name: str) -> list[str]:
        """List the folders of the sets of a target."""
        return [str(SETS.group_folder(Path(self.results), group)) for group in self.sets_of(name)]

    @cached_property
    def names(self) -> list[str]:
        """The names of targets, as folders of products."""
        return list(dict.fromkeys(group.partition("/")[0] for group in self.groups()))

    def camera_of(self, group: str) -> Instrument:
        """Return the camera of a set."""
        return self.target_of(group).camera(group.partition("/")[2])

    def instrument_of(self, group: str) -> Instrument:
        """Return the camera of a set."""
        return self.camera_of(group)

    def is_kept(self, path: Path) -> bool:
        """Say whether a product is a frozen choice."""
        results = Path(self.results)
        return any(path == frozen_path(results, group, name) for group in self.groups() for name in FROZEN)

    def camera(self, group: str) -> str:
        """Hash the file of a set's camera."""
        return digest(self.camera_of(group))

    def told(self, stage: str, group: str) -> str:
        """Hash what a stage takes of the file of a set's target."""
        target, parts = self.target_of(group), _PARTS.get(stage, ())
        own = target.sets[group.partition("/")[2]].model_dump(mode="json", include={"filter", "exptime"})
        return digest(target.state(*(p for p in parts if p != "set")), own if "set" in parts else {})

    def told_of(self, stage: str, name: str) -> str:
        """Hash what a stage takes of a target's file."""
        return self.told(stage, self.sets_of(name)[0])

    def check_names(self) -> None:
        """Check that all frames which the files of targets name are there.

        Raises
        ------
        ConfigError
            With one line for each name that is not, or a reference that is kicked.
        """
        problems: list[str] = []
        for name in self.names:
            groups = self.sets_of(name)
            frames = {row.exposure for group in groups for row in self.sheets[group]}
            reference = Path(self.results) / f"targets/{name}/reference.parquet"
            # A test run has few frames; what the file names must be among those of the whole run.
            found = name_problems(self.target_of(groups[0]), frames, reference, test=is_test(groups[0]))
            problems += found
        if problems:
            raise ConfigError("\n".join(problems))

    # --- nights -----------------------------------------------------------------------------------

    @cached_property
    def _chunks(self) -> dict[str, dict[str, list[SheetRow]]]:
        found: dict[str, dict[str, list[SheetRow]]] = {}
        for group, rows in self.sheets.items():
            noon, nights = noon_of(self.camera_of(group)), found.setdefault(group, {})
            for row in rows:
                if row.file and row.status in _MEASURED:
                    night = night_of(datetime.fromisoformat(row.date_obs), noon)
                    nights.setdefault(night, []).append(row)
        return {group: dict(sorted(nights.items())) for group, nights in found.items()}

    @cached_property
    def _night_of(self) -> dict[tuple[str, str], str]:
        return {
            (group, row.exposure): night
            for group, nights in self._chunks.items()
            for night, rows in nights.items()
            for row in rows
        }

    def words_of(self, group: str) -> FieldValues:
        """Return the nights of a set; of no set, the names of targets."""
        return {"night": list(self._chunks[group])} if group in self._chunks else {"target": self.names}

    def frames(self, group: str, night: str) -> list[str]:
        """List the raw files of a night, in order of time."""
        rows = sorted(self._chunks[group][night], key=lambda row: (row.date_obs, row.exposure))
        return [row.file for row in rows]

    def fingerprints(self, group: str, night: str) -> str:
        """Hash the raw files of a night: changes when one is replaced, joins or leaves."""
        return digest(*sorted(f"{row.exposure} {row.fingerprint}" for row in self._chunks[group][night]))

    def kicked(self, group: str, night: str = "") -> list[str]:
        """List the kicked frames of a set, or of one of its nights, with their reasons."""
        kicks = self.target_of(group).kicks()
        names = [n for g, n in self._night_of if g == group and night in ("", self._night_of[g, n])]
        return [f"{name} {kicks[name]}" for name in sorted(names) if name in kicks]

    def chunk(self, group: str, night: str, kind: str) -> str:
        """Compose the path of a table of a night."""
        return f"{SETS.group_folder(Path(self.results), group)}/chunks/{night}_{kind}.parquet"

    def chunks(self, group: str, kind: str) -> list[str]:
        """List the tables of one kind of all nights of a set."""
        return [self.chunk(group, night, kind) for night in self._chunks[group]]

    def chunk_with(self, group: str, exposure: str, kind: str) -> str:
        """Compose the path of the table of a frame's night."""
        return self.chunk(group, self._night_of[group, exposure], kind)

    def fringes(self, group: str, night: str) -> list[str]:
        """List the map of fringes of a night, if there is one."""
        if not self.settings.defringe.on:
            return []
        return [f"{SETS.group_folder(Path(self.results), group)}/fringes/{night}.fits"]

    def fringes_with(self, group: str, exposure: str) -> list[str]:
        """List the map of fringes for a frame, if there is one."""
        return self.fringes(group, self._night_of[group, exposure])

    def fringe_options(self, group: str, night: str) -> list[str]:
        """Compose the options that hand the map of fringes of a night to a command."""
        return [word for path in self.fringes(group, night) for word in ("--fringes", path)]

    def fringe_options_with(self, group: str, exposure: str) -> list[str]:
        """Compose the options that hand the map of fringes for a frame to a command."""
        return self.fringe_options(group, self._night_of[group, exposure])

    # --- what stands ------------------------------------------------------------------------------

    def has_frame(self, stage: str, row: SheetRow) -> bool:
        """Say whether a stage of single frames has products of a frame: as the table of its night says."""
        group = next((g for g in self.groups() if self.row(g, row.exposure) is row), "")
        if (group, row.exposure) not in self._night_of:
            return False
        there = self.files(group, row.exposure)
        if all(row.exposure + ending in there for ending in self.registry[stage].endings):
            return True  # the table need not be asked
        return row.exposure in self._done(group, self._night_of[group, row.exposure], _TABLE_OF[stage])

    def _done(self, group: str, night: str, kind: str) -> frozenset[str]:
        key = group, night, kind
        if key not in self._known_done:
            self._known_done[key] = _frames_in(Path(self.chunk(*key)))
        return self._known_done[key]

    @cached_property
    def _known_done(self) -> dict[tuple[str, str, str], frozenset[str]]:
        return {}

    def folders(self) -> list[Path]:
        """List the folders of all that is made."""
        results = Path(self.results)
        found = dict.fromkeys(f for group in self.groups() for f in self.grouping.folders(results, group))
        for group in self.groups():
            found |= dict.fromkeys(
                SETS.group_folder(results, group) / n for n in ("chunks", "fringes", "pictures")
            )
        of_all = (product.path for stage in self.registry.of(Per.ALL) for product in stage.outputs)
        paths = (path.replace("{target}", name) for path in of_all for name in self.names)
        return [*found, *dict.fromkeys((results / path).parent for path in paths)]

    # --- what is said at the end ------------------------------------------------------------------

    def run_messages(self) -> str:
        """Compose the messages after a successful run: which frames were left out, what is frozen."""
        results = Path(self.results)
        lines = [line for group in self.groups() for line in left_out(results, group)]
        return "\n".join((*lines, *frozen_notes(results, self.groups(), self.registry)))

    def failure_summary(self) -> str:
        """Tell why targets stopped: what the jobs of their sets said last."""
        lines = [line for group in self.groups() for line in left_out(Path(self.results), group)]
        return "\n".join((*lines, *failed_jobs(Path(self.results), self.groups())))


def _known_sheets(settings: LightCurveSettings, wanted: list[str]) -> Iterator[tuple[str, list[SheetRow]]]:
    """Yield the sheets of sets as they are; where targets are named, also those of their test lists."""
    results = Path(settings.results)
    exact = {entry for entry in settings.targets if is_key(entry)}
    for key in wanted:
        yield key, _read_if_there(SETS.sheet_path(results, key))
    for key in _test_keys(key for key in wanted if key not in exact):
        if (path := SETS.sheet_path(results, key)).is_file():
            yield key, read_sheet(path)


def _read_if_there(path: Path) -> list[SheetRow]:
    return read_sheet(path) if path.is_file() else []


def _test_keys(keys: Any) -> Iterator[str]:
    for key in keys:
        name, _, part = key.partition("/")
        if not name.endswith(TEST):
            yield f"{name}{TEST}/{part}"


def _test_sets(settings: LightCurveSettings, wanted: list[str]) -> list[str]:
    """List the sets of the frames of test lists.

    Raises
    ------
    ConfigError
        If no target has such a list.
    """
    targets = load_targets(settings)
    found = [key for key in _test_keys(wanted) if target_of(targets, key).test]
    if not found:
        raise ConfigError(f"{TEST_TARGET}: no target names a list of frames, test: FILE")
    return found


def _frames_in(path: Path) -> frozenset[str]:
    """Return the frames that a chunk's table calls ok; none without a table."""
    if not path.is_file():
        return frozenset()
    try:
        table = read_table(path, ["FRAME", "STATUS"])
    except TableError:  # damaged: made again
        return frozenset()
    return frozenset(map(str, table["FRAME"][table["STATUS"] == str(LightStatus.OK)]))
