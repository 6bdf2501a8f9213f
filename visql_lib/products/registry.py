"""The registry of a pipeline: its stages, their products, and how they depend on each other.

Targets, missing products, verification, commands and titles on pages, needs of pictures, stage
versions, the groups of cluster profiles and docs/products.md are all derived from it. The rules of
the workflow are written out, and a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import product as combinations
from string import Formatter
from typing import Any

from visql_lib.qc.quantity import Quantities
from visql_lib.qc.summary import Terms
from visql_lib.sheets.grouping import Grouping

FieldValues = Mapping[
    str, Sequence[str]
]  # field of a path -> the words it stands for, such as exposure classes


class Per(StrEnum):
    """The unit that one job of a stage processes."""

    FRAME = "frame"
    GROUP = "group"  # a month, a night, a target
    ALL = "all"  # all groups together
    STORE = "store"  # downloaded once from an external service, such as a day of GOES


_LOGS = {
    Per.FRAME: "{stage}/{group}/{exposure}",
    Per.GROUP: "{stage}/{group}",
    Per.ALL: "{stage}",
    Per.STORE: "{stage}",
}


@dataclass(frozen=True)
class Drawing:
    """How a picture is drawn: a function, and what it is given.

    Parameters
    ----------
    function : str
        ``module:function``; it returns a matplotlib figure.
    columns : mapping
        Table (its schema's name) -> the columns that are read; none named: its metadata alone.
    arguments : tuple of str
        Names of what is given in turn: a table, or an attribute of the sources, as ``settings.stars``.
    keywords : mapping
        The same for keyword arguments.
    stage : str, optional
        The version that counts for this picture, where it is not its stage's own.
    """

    function: str
    columns: Mapping[str, tuple[str, ...]]
    arguments: tuple[str, ...]
    keywords: Mapping[str, str] = field(default_factory=dict)
    stage: str = ""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables the picture is made from."""
        return tuple(self.columns)


@dataclass(frozen=True)
class Product:
    """A file or folder that a stage writes.

    Parameters
    ----------
    path : str
        Below the results, with fields: the group's (such as ``{month}``), ``{exposure}``, and words of the
        instrument (such as ``{class}``), which stand for one file each.
    doc : str
        What it holds, for docs/products.md.
    title, section : str, optional
        Its name and its heading on the page of a frame.
    drawing : Drawing, optional
        How it is drawn, if `visql pictures` can draw it.
    folder : bool
        Whether it is a folder that the stage fills.
    command : str, optional
        The command that makes it alone, where that is not its stage's.
    """

    path: str
    doc: str
    title: str = ""
    section: str = ""
    drawing: Drawing | None = None
    folder: bool = False
    command: str = ""

    @cached_property
    def ending(self) -> str:
        """The part behind the exposure's name, such as ``.cat.parquet``; "" if this is no file of a frame."""
        ending = self.path.rpartition("{exposure}")[2]
        return "" if "/" in ending else ending

    @property
    def name(self) -> str:
        """The name of a picture: its ending without dot and underscore."""
        return self.ending.rpartition(".")[0].removeprefix("_")


def every_one(*_: Any) -> bool:
    """Apply to every frame or group."""
    return True


@dataclass(frozen=True, eq=False)
class Stage:
    """A rule of the workflow: one command, what it reads, what it writes, what changes its result.

    Parameters
    ----------
    name : str
        Also the rule's name.
    per : Per
        What one job is about.
    outputs : tuple of Product
        What it writes.
    versions : mapping
        Name -> version of each part of it whose numbers or pictures count, the main one first.
    inputs : tuple of str
        Paths of products it reads (of frames, if it is about a group: of all that have them), or words
        for what lies outside: ``raw``, ``sheet``, ``thresholds``.
    after : tuple of str
        Paths of products that stand for inputs in the rule, as a month's table for those of its frames.
    program : str
        The command of ``visql`` that its rule runs; by default its name with hyphens.
    command : str
        Its command line as shown on pages of frames; words in braces are filled in.
    settings, facts : tuple of str
        Sections of the settings and facts of the instrument that change its result.
    counted : mapping
        Of a section only these settings change the result; others choose services and retries.
    types : tuple of str
        Frame types it is for; none named: all.
    needs_raw : bool
        Whether a frame is there to be worked on; else it is for tables whose raw frame is gone.
    applies : callable
        Whether it is there to be done: called with the plan and a row of the sheet, a group's name, or
        the plan alone.
    groups : callable, optional
        The groups whose products a stage of all groups takes: called with the plan.
    each : bool
        Whether it has a job for each of its products.
    part : str
        The part of the settings' ``parts`` that asks for it; "": always made. One that no setting
        may name is for targets of their own.
    category : str
        The category of the site that reports its failure.
    log : str
        Its log below ``logs``, without ``.log``, with fields (``{output}``: the name of a job's product;
        ``{parts[1]}``: the second part of its path); by default its name, group and exposure.
    chunk : str
        With which jobs it travels on a cluster; "" for a job of its own, `LOCAL` for none.
    report : str
        The path of the table whose metadata give the reason why a frame failed, if it is one of those.
    function : str
        ``module:function`` of its work: called with a `Context` and its inputs, returns its outputs.
    closing : bool
        Whether it fails as long as a frame failed: requested by the default target only.
    """

    name: str
    per: Per
    outputs: tuple[Product, ...]
    versions: Mapping[str, int]
    inputs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    program: str = ""
    command: str = ""
    settings: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    counted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    needs_raw: bool = True
    applies: Callable[..., bool] = every_one
    groups: Callable[[Any], Sequence[str]] | None = None
    each: bool = False
    part: str = ""
    category: str = ""
    log: str = ""
    chunk: str = ""
    report: str = ""
    function: str = ""
    closing: bool = False

    @property
    def version(self) -> int | list[int]:
        """The version of the stage's results; a list where several parts count."""
        numbers = list(self.versions.values())
        return numbers[0] if len(numbers) == 1 else numbers

    @property
    def step(self) -> str:
        """The command that its rule runs, such as ``visql catalog``."""
        return f"visql {self.program or self.name.replace('_', '-')}"

    @property
    def log_pattern(self) -> str:
        """Its log below the results, with fields."""
        return f"logs/{(self.log or _LOGS[self.per]).replace('{stage}', self.name)}.log"

    @cached_property
    def endings(self) -> tuple[str, ...]:
        """The endings of what it writes of a frame."""
        return tuple(product.ending for product in self.outputs if product.ending)

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths of the tables that it cannot do without."""
        return tuple(path for path in self.inputs if path.endswith(".parquet"))

    @cached_property
    def reads(self) -> frozenset[str]:
        """Paths of products that must be there before it."""
        return frozenset(path for path in (*self.inputs, *self.after) if "/" in path)

    @cached_property
    def writes(self) -> frozenset[str]:
        """Paths of what it writes."""
        return frozenset(product.path for product in self.outputs)


LOCAL = "local"  # runs where Snakemake runs, on a cluster too


@dataclass(frozen=True)
class Registry:
    """All stages of a pipeline.

    Parameters
    ----------
    pipeline : str
        Its name.
    grouping : Grouping
        How frames are grouped, and where the products of groups and frames are.
    stages : tuple of Stage
        In the order of the data's way.
    quantities : Quantities
        What is measured and evaluated.
    default_target : str
        The target of the workflow that makes everything the settings request.
    targets : mapping
        Target of the workflow -> the stages whose products it makes, with all they need.
    words : callable
        Gives, of an instrument, the words of the other fields of paths.
    values : callable
        Gives the words of a frame's commands, see `visql_lib.site.products.Commands`; by default its raw
        file and the beginning of its products' paths.
    sections : tuple of str
        The headings of a frame's page, in order.
    plan : str
        ``module:class`` of its plan, a `visql_lib.products.plan.Plan`.
    pages : str
        ``module:class`` of what it adds to the pages, a `visql_lib.products.pages.Pages`.
    beside : tuple of Product
        What lies beside, of no stage's making or many stages', for docs/products.md.
    states : str
        The path of a group's table that says what became of each frame, by EXPOSURE, STATUS and REASON, where
        no table of the frame does.
    frame_column : str
        The column in it with the names of frames.
    failed : tuple of str
        The STATUS in it of frames that somebody should look at.
    advice : str
        What to do about frames that failed; by default about their files.
    """

    pipeline: str
    grouping: Grouping
    stages: tuple[Stage, ...]
    quantities: Quantities
    default_target: str
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: Callable[[Any], FieldValues] = lambda instrument: {}
    values: Callable[[Any], Mapping[str, Any]] = lambda frame: {"raw": frame.row.file, "stem": frame.stem}
    sections: tuple[str, ...] = ()
    plan: str = "visql_lib.products.plan:Plan"
    pages: str = "visql_lib.products.pages:Pages"
    beside: tuple[Product, ...] = ()
    states: str = ""
    frame_column: str = "EXPOSURE"
    failed: tuple[str, ...] = ("failed",)
    advice: str = ""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.pipeline}: two stages are called {', '.join(sorted(twice))}")
        made = {path for stage in self.stages for path in stage.writes}
        for stage in self.stages:
            if lost := stage.reads - made:
                raise ValueError(f"{self.pipeline}: {stage.name} reads {min(lost)}, which no stage writes")
            for name, version in stage.versions.items():
                if self.versions[name] != version:
                    raise ValueError(f"{self.pipeline}: {name} has two versions")
        if unknown := {name for target in self.targets.values() for name in target} - set(names):
            raise ValueError(f"{self.pipeline}: no stage is called {min(unknown)}")

    @cached_property
    def terms(self) -> Terms:
        """What it measures and how it groups frames."""
        return Terms(self.quantities, self.grouping)

    def __getitem__(self, name: str) -> Stage:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    def of(self, per: Per) -> tuple[Stage, ...]:
        """Return the stages of one kind, in the order of the data's way."""
        return self._of[per]

    @cached_property
    def _of(self) -> dict[Per, tuple[Stage, ...]]:
        return {per: tuple(stage for stage in self.stages if stage.per == per) for per in Per}

    @cached_property
    def versions(self) -> dict[str, int]:
        """The version of every stage and of the parts that stages share."""
        return {name: version for stage in self.stages for name, version in stage.versions.items()}

    def counted(self, version: str) -> Mapping[str, tuple[str, ...]]:
        """Return, of what carries a version, the settings that count of sections where not all of them do."""
        return self._counted.get(version, {})

    @cached_property
    def _counted(self) -> dict[str, Mapping[str, tuple[str, ...]]]:
        return {name: stage.counted for stage in self.stages for name in stage.versions}

    @cached_property
    def endings(self) -> frozenset[str]:
        """All endings that products of a frame may have."""
        return frozenset(ending for stage in self.of(Per.FRAME) for ending in stage.endings)

    @cached_property
    def frame_products(self) -> dict[str, Product]:
        """The products of a frame by their endings, in the order of the data's way; the first stage's."""
        found: dict[str, Product] = {}
        for stage in self.of(Per.FRAME):
            for product in stage.outputs:
                if product.ending:
                    found.setdefault(product.ending, product)
        return found

    @cached_property
    def drawings(self) -> dict[str, Drawing]:
        """The pictures of a frame that are drawn from its tables, by name."""
        return {p.name: p.drawing for p in self.frame_products.values() if p.drawing is not None}

    def reports(self, frame_type: str) -> tuple[str, ...]:
        """List the tables that record why a frame of a type failed."""
        if frame_type not in self._reports:
            stages = (s for s in self.of(Per.FRAME) if s.report and (not s.types or frame_type in s.types))
            self._reports[frame_type] = tuple(dict.fromkeys(stage.report for stage in stages))
        return self._reports[frame_type]

    @cached_property
    def _reports(self) -> dict[str, tuple[str, ...]]:
        return {}

    def consumers(self, stage: Stage) -> tuple[Stage, ...]:
        """Return the stages that read what a stage writes."""
        return self._consumers[stage.name]

    @cached_property
    def _consumers(self) -> dict[str, tuple[Stage, ...]]:
        return {s.name: tuple(c for c in self.stages if s.writes & c.reads) for s in self.stages}

    def with_ancestors(self, names: Collection[str]) -> frozenset[str]:
        """Return the names of stages and of all stages that they hang on."""
        readers = {s.name: {c.name for c in self.consumers(s)} for s in self.stages}
        return _closure(names, lambda found: {name for name, read in readers.items() if read & found})

    def with_descendants(self, names: Collection[str]) -> frozenset[str]:
        """Return the names of stages and of all stages that hang on them."""
        return _closure(names, lambda found: {c.name for name in found for c in self.consumers(self[name])})

    def paths(self, stage: Stage, words: FieldValues, **known: str) -> list[str]:
        """Return the paths of a stage's files, without folders it fills; `known`: fields that are."""
        return [path for p in stage.outputs if not p.folder for path in filled(p.path, words, known)]

    def folders(self, stage: Stage, **known: str) -> list[str]:
        """Return the paths of the folders a stage fills."""
        return [path for p in stage.outputs if p.folder for path in filled(p.path, {}, known)]


def filled(pattern: str, words: FieldValues, known: Mapping[str, str]) -> Iterator[str]:
    """Yield a path for all combinations of the words of its fields that are not known.

    Raises
    ------
    KeyError
        If a field is neither known nor has words.
    """
    fields = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(pattern) if name))
    lists = [[known[name]] if name in known else words[name] for name in fields]
    for combination in combinations(*lists):
        yield pattern.format(**dict(zip(fields, combination, strict=True)))


def _closure(names: Collection[str], more: Callable[[set[str]], set[str]]) -> frozenset[str]:
    found = set(names)
    while not (new := more(found)) <= found:
        found |= new
    return frozenset(found)
