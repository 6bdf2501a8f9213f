"""Expected products of a frame, of a group and of all groups, and which of them are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from visql_lib.products.registry import FieldValues, Per, Registry, Stage, filled


class Row(Protocol):
    """A row of the sheet, as far as expected products depend on it."""

    @property
    def exposure(self) -> str:
        """Its name."""

    @property
    def frame_type(self) -> str:
        """Its type."""


class GroupPlan(Protocol):
    """A pipeline's plan, as far as expected products depend on it."""

    @property
    def registry(self) -> Registry:
        """The registry of the pipeline's stages and products."""

    @property
    def results(self) -> str:
        """Folder of all products."""

    @property
    def parts(self) -> Sequence[str]:
        """The parts enabled by the settings."""

    def words_of(self, group: str) -> FieldValues:
        """Return the values of the fields of a group's paths ("": of those of all groups)."""

    def groups(self) -> Sequence[str]:
        """List the configured groups."""

    def rows(self, group: str) -> Sequence[Any]:
        """Select the rows of a group's sheet with a usable raw frame."""

    def files(self, group: str, exposure: str) -> frozenset[str]:
        """List the names of an exposure's files."""


class GroupJob(NamedTuple):
    """A job of a group, or of all groups: its expected products and required inputs.

    Parameters
    ----------
    rule : str
        The stage.
    paths : tuple of str
        Its files, as the workflow names them.
    log : str
        Its log, relative to the folder of results.
    needs : tuple of str
        Products of other groups' jobs that it reads.
    of_exposures : str
        Ending of the product that it reads of every exposure which should have one.
    folders : tuple of str
        The folders it fills.
    category : str
        The category of the site that reports it as missing.
    """

    rule: str
    paths: tuple[str, ...]
    log: str
    needs: tuple[str, ...] = ()
    of_exposures: str = ""
    folders: tuple[str, ...] = ()
    category: str = ""


class Expected:
    """The products requested by a plan's settings, or by some targets of the workflow.

    Parameters
    ----------
    plan : GroupPlan
        The plan, with its sheets.
    targets : collection of str, optional
        Targets of the registry; not given: everything that the parts request.
    parts : collection of str, optional
        Parts that are made; not given: those of the settings.
    """

    def __init__(
        self, plan: GroupPlan, targets: Collection[str] | None = None, parts: Collection[str] | None = None
    ) -> None:
        self.plan, self.registry = plan, plan.registry
        self._ends = self._asked_for(targets, plan.parts if parts is None else parts)
        self._with_ancestors = targets is not None
        self._needed: dict[frozenset[str], tuple[Stage, ...]] = {}
        self._ends_of: dict[tuple[tuple[Stage, ...], frozenset[str]], tuple[Stage, ...]] = {}

    def _asked_for(self, targets: Collection[str] | None, parts: Collection[str]) -> frozenset[str]:
        if targets is not None:
            return frozenset(name for target in targets for name in self.registry.targets[target])
        wanted = {"", *parts}
        return frozenset(s.name for s in self.registry.stages if s.part in wanted and s.per != Per.STORE)

    @cached_property
    def stages(self) -> frozenset[str]:
        """The names of all stages needed for at least some frames or groups."""
        # A part that the settings leave out is left out, though another's table could hang on it.
        return self.registry.with_ancestors(self._ends) if self._with_ancestors else self._ends

    def of_frame(self, row: Row) -> tuple[Stage, ...]:
        """List the stages needed for a frame, in the order of the data flow."""
        plan = self.plan
        names = frozenset(
            stage.name
            for stage in self.registry.of(Per.FRAME)
            if stage.name in self.stages
            and stage.needs_raw
            and (not stage.types or row.frame_type in stage.types)
            and stage.applies(plan, row)
        )
        if names not in self._needed:
            self._needed[names] = tuple(self._towards_ends(names))
        return self._needed[names]

    def _towards_ends(self, names: frozenset[str]) -> Iterator[Stage]:
        """Yield the stages of a frame that lead to a requested product."""
        needed = {name for name in self.stages if name in self._ends or self.registry[name].per != Per.FRAME}
        needed -= {stage.name for stage in self.registry.of(Per.FRAME)} - names
        before = 0
        while len(needed) != before:
            before = len(needed)
            for name in names - needed:
                if any(consumer.name in needed for consumer in self.registry.consumers(self.registry[name])):
                    needed.add(name)
        return (stage for stage in self.registry.of(Per.FRAME) if stage.name in needed & names)

    def endings(self, row: Row) -> tuple[str, ...]:
        """List the endings of the expected products of a frame."""
        return tuple(ending for stage in self.of_frame(row) for ending in stage.endings)

    def of_group(self, group: str, closing: bool = False) -> list[GroupJob]:
        """List the jobs of a group; with `closing`, also those that fail as long as a frame failed."""
        known = self.registry.grouping.fields(group)
        return [
            job
            for stage in self.registry.of(Per.GROUP)
            if stage.name in self.stages and closing >= stage.closing and stage.applies(self.plan, group)
            for job in self._jobs(stage, [group], known)
        ]

    def of_all(self) -> list[GroupJob]:
        """List the jobs over all groups to which the plan's groups contribute."""
        found: list[GroupJob] = []
        for stage in self.registry.of(Per.ALL):
            groups = stage.groups(self.plan) if stage.groups is not None else self.plan.groups()
            if stage.name in self.stages and groups:
                found += self._jobs(stage, groups, {})
        return found

    def _jobs(self, stage: Stage, groups: Sequence[str], known: Mapping[str, str]) -> Iterator[GroupJob]:
        words = self.plan.words_of(groups[0] if known else "")
        paths = self._below(self.registry.paths(stage, words, **known))
        needs = tuple(self._needs(stage, groups))
        gathered = next((p for p in map(self._ending_of, stage.inputs) if p), "")
        folders = tuple(self._below(self.registry.folders(stage, **known)))
        for some in [(path,) for path in paths] if stage.each else [tuple(paths)]:
            log = stage.log_pattern.format(
                group=groups[0],
                output=Path(some[0]).stem if some else "",
                parts=Path(some[0]).relative_to(self.plan.results).parts if some else (),
            )
            yield GroupJob(stage.name, some, log, needs, gathered, folders, stage.category)

    def inputs(self, stage: str, group: str) -> list[str]:
        """List the requested products of groups that a group's stage reads."""
        return list(self._needs(self.registry[stage], [group]))

    def _needs(self, stage: Stage, groups: Sequence[str]) -> Iterator[str]:
        for path in stage.inputs:
            if "/" not in path or self._ending_of(path):
                continue
            own = any("{" + name + "}" in path for name in self.registry.grouping.names)
            for group in groups if own else groups[:1]:
                if self._is_made(path, group):
                    known = self.registry.grouping.fields(group) if own else {}
                    yield from self._below(filled(path, self.plan.words_of(group), known))

    def _is_made(self, path: str, group: str) -> bool:
        """Test whether a requested stage makes a product of a group or of all groups."""
        for stage in self.registry.stages:
            if path in stage.writes and stage.name in self.stages:
                if stage.per == Per.ALL and stage.groups is not None:
                    return group in stage.groups(self.plan)
                return stage.applies(self.plan, group)
        return False

    @staticmethod
    def _ending_of(path: str) -> str:
        return path.rpartition("{exposure}")[2] if "{exposure}" in path else ""

    def _below(self, paths: Iterable[str]) -> list[str]:
        return [f"{self.plan.results}/{path}" for path in paths]

    def ends(self) -> Iterator[str]:
        """Yield one file of each job on which no other depends: requesting these requests everything.

        One product stands for all that are made with it: asking for every one would double the
        time of planning.
        """
        for group in self.plan.groups():
            known = self.registry.grouping.fields(group)
            jobs = self.of_group(group)
            readers = frozenset(job.rule for job in jobs)
            for row in self.plan.rows(group):
                stages = self.of_frame(row)
                for stage in self._unread(stages, readers):
                    (first, *_) = self.registry.paths(stage, {}, exposure=row.exposure, **known)
                    yield f"{self.plan.results}/{first}"
            for job in jobs:
                if not self._read_by(self.registry[job.rule]) & readers:
                    yield job.paths[0]
        for job in self.of_all():
            yield job.paths[0]

    def _unread(self, stages: tuple[Stage, ...], readers: frozenset[str]) -> tuple[Stage, ...]:
        """List the stages of a frame whose products neither another stage nor a job of its group reads."""
        key = (stages, readers)
        if key not in self._ends_of:
            others = readers | {stage.name for stage in stages}
            self._ends_of[key] = tuple(stage for stage in stages if not self._read_by(stage) & others)
        return self._ends_of[key]

    def _read_by(self, stage: Stage) -> set[str]:
        return {consumer.name for consumer in self.registry.consumers(stage)}

    def missing(self) -> Iterator[str]:
        """Yield one missing product per job that a run must request by name, so that nothing stays missing.

        Snakemake does not miss a file that stands only between others. Where a step failed, and
        Snakemake took away what it had made before, the tables of the group that hang on it would stay
        as they were, and the run would be called a success.
        """
        for group in self.plan.groups():
            yield from self._missing_frames(group)
            for job in self.of_group(group):
                yield from _first_missing([*job.paths, *job.folders])
        for job in self.of_all():
            yield from _first_missing(job.paths)

    def _missing_frames(self, group: str) -> Iterator[str]:
        """Yield a missing product of each job of a frame while something made from it exists."""
        made = self._made_groups(group)
        known = self.registry.grouping.fields(group)
        for row in self.plan.rows(group):
            have = {
                name.removeprefix(row.exposure)
                for name in self.plan.files(group, row.exposure)
                if name.startswith(row.exposure)
            }
            for stage in self.of_frame(row):
                lost = next((p for p in stage.outputs if p.ending and p.ending not in have), None)
                endings, groups = self._made_from[stage.name]
                if lost is not None and (groups & made or endings & have):
                    yield f"{self.plan.results}/{lost.path.format(exposure=row.exposure, **known)}"

    def _made_groups(self, group: str) -> set[str]:
        """List the stages of a group of which some product exists."""
        known, words = self.registry.grouping.fields(group), self.plan.words_of(group)
        return {
            stage.name
            for stage in self.registry.of(Per.GROUP)
            for paths in [self._below(self.registry.paths(stage, words, **known))]
            if any(Path(path).exists() for path in paths)
        }

    @cached_property
    def _made_from(self) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
        """Derived products of each stage of a frame: endings, and the stages of groups that read them."""
        found: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        for stage in self.registry.of(Per.FRAME):
            below = [self.registry[n] for n in self.registry.with_descendants([stage.name]) - {stage.name}]
            endings = frozenset(e for s in below if s.per == Per.FRAME for e in s.endings)
            found[stage.name] = (
                endings - set(stage.endings),
                frozenset(s.name for s in below if s.per == Per.GROUP),
            )
        return found


def _first_missing(paths: Iterable[str]) -> Iterator[str]:
    return islice((path for path in paths if not Path(path).exists()), 1)
