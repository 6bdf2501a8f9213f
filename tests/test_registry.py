"""The registry: what is declared once, what is derived from it, and that the written rules agree with it."""

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

from visql_lib.cli import pictures
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.products.expected import Expected
from visql_lib.products.registry import Drawing, Per, Product, Registry, Stage, filled
from visql_lib.qc.quantity import Quantities
from visql_lib.sheets.grouping import Grouping
from visql_lib.site.products import Commands
from visql_lib.steps.pictures import sections_of
from visql_lib.tables import CATALOGUE, write_table
from visql_lib.tables.provenance import read_record

ROOT = Path(__file__).parents[1]
# The written rules by name, without those that are targets.
WRITTEN = {
    name: text
    for room in ("shared", "vis")
    for path in (ROOT / "workflow" / "rules" / room).rglob("*.smk")
    if path.name != "main.smk"
    for name, text in re.findall(r"(?m)^rule (\w+):\n((?:(?: .*)?\n)+)", path.read_text())
}
# Rules whose products are one job each, under a wildcard of their own, and what that stands for.
WILDCARDS = {"movie": {"name": "XCOSMIX|PROTONS"}, "legacy_stars": {"table": "stars2[a-z_]*"}}
# What a rule is given beside tables of the registry: raw frames, sheets, limits, imports, stores.
OUTSIDE = re.compile(r"(exposures/\d{6}\.tsv|imported/.*|le1-vs-iws\.txt|gaia/.*|goes/.*)")


# --- the written rules ------------------------------------------------------------------------------


class Rules:
    """The workflow as Snakemake reads it, for a month of a toy camera."""

    def __init__(self, folder, raw):
        self.results = folder / "results"
        values = {"months": "202407", "raw": str(raw), "results": str(self.results)}
        values |= {"instrument": str(ROOT / "tests" / "toy_camera.yaml"), "index": {"growing_age": 0}}
        values |= {
            "gaia": {"sources": ["folder"], "folder": str(raw)},
            "plate": {"solve": "yes"},
            "ratios": {"gain": "toy"},
        }
        values |= {"goes": {"sources": ["folder"], "folder": str(raw)}}
        self.settings = settings_from_mapping(values, "test")
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(config=values),
                snakefile=ROOT / "Snakefile",
            )._workflow
            self.rules = {rule.name: rule for rule in workflow.rules}
            self.plan = workflow.globals["PLAN"]

    def rows(self, stage):
        """The rows of the month that a stage is for."""
        expected = Expected(self.plan, parts={s.part for s in REGISTRY.stages})
        return [row for row in self.plan.rows("202407") if stage in expected.of_frame(row)]

    def below(self, path):
        """A path below the results; a raw frame as the word for it."""
        path = Path(path)
        if path.suffix == ".fits":
            return "raw"
        return str(path.relative_to(self.results)) if path.is_relative_to(self.results) else "outside"

    def inputs(self, stage, row):
        """The inputs of a job, below the results, and by name."""
        wildcards = SimpleNamespace(month="202407", exposure=row.exposure if row else "", table="stars2_mom")
        rule, found = self.rules[stage.name], []

        def value_of(item):
            inner = getattr(item, "_file", item)  # what ancient() is put around
            function = inner if callable(inner) else getattr(inner, "callable", None)
            return function(wildcards) if function else str(item).format(**vars(wildcards))

        for item in rule.input:
            value = value_of(item)
            found += [value] if isinstance(value, str) else list(value)
        named = {name: value_of(item) for name, item in rule.input.items()}
        return [self.below(path) for path in found], named

    def param(self, value, known, inputs):
        """A value of a rule's params, for one job."""
        if callable(value):
            arguments = (SimpleNamespace(**known), SimpleNamespace(**inputs))
            value = value(*arguments[: value.__code__.co_argcount])
        if isinstance(value, str):
            return value.format(**known)
        if isinstance(value, int | float):
            return f"{value:g}" if value == int(value) else repr(value)
        return value


@pytest.fixture(scope="module")
def rules(toy_raw, tmp_path_factory):
    return Rules(tmp_path_factory.mktemp("rules"), toy_raw)


def plain(path):
    """A path of a rule without the constraints of its wildcards."""
    return re.sub(r"\{(\w+),(?:[^{}]|\{\d+\})*\}", r"{\1}", str(path))


def test_every_stage_has_its_rule_and_every_rule_its_stage():
    assert WRITTEN.keys() == {stage.name for stage in REGISTRY.stages}


@pytest.mark.parametrize("stage", REGISTRY.stages, ids=lambda s: s.name)
def test_a_rule_takes_log_benchmark_and_params_of_its_own_stage(stage):
    rule = WRITTEN[stage.name]
    helpers = re.findall(r"(log_file|benchmark_file|stage_params)\(\s*\"(\w+)\"", rule)
    assert {name for _, name in helpers} == {stage.name}
    assert "stage_params" in dict(helpers)
    assert ("log_file" in dict(helpers)) == (not stage.each)
    assert re.findall(r"visql [a-z-]+", rule.split("shell:")[1]) == [stage.step]
    if "pictures_of(" in rule:
        assert re.findall(r"pictures_of\(\"(\w+)\"\)", rule) == [stage.name]


def test_folders_of_what_is_made_are_those_of_groups_and_of_all_of_them(rules):
    below = [path.relative_to(rules.results).as_posix() for path in rules.plan.folders()]
    assert below == ["exposures/202407", "months/202407", "timeline"]


# The fields of paths that are wildcards of rules; a site's many pages are no outputs of its rule.
FIELDS = {name: ["{" + name + "}"] for name in ("month", "exposure", "nside", "tile", "day")}
WRITING = [stage for stage in REGISTRY.stages if stage.outputs and stage.name != "site"]


@pytest.mark.parametrize("stage", WRITING, ids=lambda s: s.name)
def test_a_rule_writes_what_its_stage_writes(stage, rules):
    words = dict(rules.plan.words) | FIELDS | {"nside": [str(rules.settings.gaia.nside)]}
    wanted = {path for product in stage.outputs for path in filled(product.path, words, {})}
    written = {rules.below(plain(path)) for path in rules.rules[stage.name].output}
    for wildcard, one in WILDCARDS.get(stage.name, {}).items():
        (pattern,) = written
        shape = re.escape(pattern).replace(re.escape("{" + wildcard + "}"), f"({one})")
        assert [path for path in wanted if not re.fullmatch(shape, path)] == []
        return
    assert written == wanted


@pytest.mark.parametrize(
    "stage", [s for s in REGISTRY.stages if s.per in (Per.FRAME, Per.GROUP)], ids=lambda s: s.name
)
def test_a_rule_reads_what_its_stage_reads(stage, rules):
    """All that the registry names, itself or by what stands for it; and nothing else of the registry."""
    per_frame = stage.per == Per.FRAME
    rows = rules.rows(stage) if per_frame and stage.needs_raw else [rules.plan.rows("202407")[0]]
    if stage.name == "legacy_stars":
        rows = [row for row in rows if row.frame_type == "SCIENCE"]
    assert rows
    read, _ = rules.inputs(stage, rows[0])
    products = {path for path in read if path not in ("raw", "outside") and not OUTSIDE.fullmatch(path)}
    allowed = {name: by_frames(rules, name, rows[0] if per_frame else None) for name in stage.reads}
    unknown = products - set().union(*allowed.values(), set())
    assert not unknown
    for name in stage.inputs:
        if name in ("raw", "sheet"):
            assert ("raw" in read) == (name == "raw") or "exposures/202407.tsv" in read
        elif name == "thresholds":
            assert "outside" in read
        elif "/" in name and not (stage.after or stage.name == "legacy_stars"):
            assert allowed[name] & products, name


def by_frames(rules, pattern, row):
    """The paths that a pattern of the registry stands for: of one frame, or of all that should have it."""
    known = {"month": "202407"}
    if "{exposure}" in pattern:  # products of one job stand for each other
        (stage, *_) = (s for s in REGISTRY.stages if pattern in s.writes)
        rows = [row] if row is not None else rules.plan.sheets["202407"]
        return {
            path
            for r in rows
            for written in ({pattern} if row is not None else stage.writes)
            for path in filled(written, {}, known | {"exposure": r.exposure})
        }
    return set(filled(pattern, rules.plan.words, known))


class Quoted(str):
    """A value of a rule's command: formats itself as Snakemake does."""

    def __format__(self, spec):
        return shlex.join(self.split("\0")) if spec == "q" else " ".join(self.split("\0"))


def quoted(value):
    return Quoted(value if isinstance(value, str) else "\0".join(map(str, value)))


class Names:
    """Named values, which format as one if nobody names one."""

    def __init__(self, named, whole=()):
        self.__dict__.update({name: quoted(value) for name, value in named.items()})
        self._whole = quoted(list(whole))

    def __format__(self, spec):
        return format(self._whole, spec)


@pytest.mark.parametrize("stage", [s for s in REGISTRY.stages if s.command], ids=lambda s: s.name)
def test_a_page_shows_the_command_of_the_rule(stage, rules):
    row = rules.rows(stage)[0] if stage.needs_raw else rules.plan.rows("202407")[0]
    known = {"month": "202407", "exposure": row.exposure}
    rule, (_, inputs) = rules.rules[stage.name], rules.inputs(stage, row)
    outputs = {
        name: plain(path).format(**known) for name, path in rule.output.items() if isinstance(path, str)
    }
    params = {name: rules.param(value, known, inputs) for name, value in rule.params.items()}
    given = inputs.values() or [str(path).format(**known) for path in rule.input]
    text = rule.shellcmd.format(
        input=Names(inputs, given),
        output=Names(outputs, [plain(rule.output[0]).format(**known)]),
        params=Names(params),
        threads=1,
        log=quoted("L"),
    )
    command = text.partition(" --config ")[0].replace(" --record-failure", "").replace(" --threads 1", "")
    tiles = [Path(tile).name for tile in rules.plan.gaia.tiles("202407", row.exposure)]
    days = [Path(day).name for day in rules.plan.radiation.goes_days("202407", row.exposure)]
    metas = {"_stars2_gaia.parquet": {"inputs": tiles}, "_radiation.parquet": {"inputs": days}}
    shown = Commands(REGISTRY, row, "202407", rules.settings, "", metas).of(stage)
    assert sorted(shlex.split(shown)) == sorted(shlex.split(command))


# --- what the registry refuses -----------------------------------------------------------------------


NIGHTS = Grouping(
    "night",
    "YYYYMMDD",
    {"night": r"\d{8}"},
    sheet="nights/{night}.tsv",
    frame="nights/{night}/frames/{exposure}",
    folder="nights/{night}",
    table="nights/{night}/{table}.parquet",
)


def registry(*stages, **targets):
    return Registry("toy", NIGHTS, stages, Quantities([], {}), "night", targets, lambda _: {}, lambda _: {})


F, N = "nights/{night}/frames/{exposure}/{exposure}", "nights/{night}"
LEVELS = Stage("levels", Per.FRAME, (Product(f"{F}.levels", "levels"),), {"levels": 1}, inputs=("raw",))
PICTURE = Stage(
    "picture",
    Per.FRAME,
    (Product(f"{F}.png", "x"),),
    {"picture": 1},
    inputs=(f"{F}.levels",),
    types=("LIGHT",),
)
NIGHT = Stage(
    "night", Per.GROUP, (Product(f"{N}/night_{{night}}.table", "x"),), {"night": 1}, inputs=(f"{F}.levels",)
)
PLOT = Stage(
    "plot",
    Per.GROUP,
    (Product(f"{N}/a.png", "x"), Product(f"{N}/b.png", "x")),
    {"plot": 1},
    inputs=(f"{N}/night_{{night}}.table",),
    part="plots",
)


def test_two_stages_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two stages are called levels"):
        registry(LEVELS, LEVELS)


def test_an_input_that_nobody_writes_is_refused():
    with pytest.raises(ValueError, match=r"picture reads nights/.*levels, which no stage writes"):
        registry(PICTURE)


def test_one_name_with_two_versions_is_refused():
    other = Stage("other", Per.FRAME, (), {"levels": 2})
    with pytest.raises(ValueError, match="levels has two versions"):
        registry(LEVELS, other)


def test_a_target_of_unknown_stages_is_refused():
    with pytest.raises(ValueError, match="no stage is called moments"):
        registry(LEVELS, quick=("moments",))


# --- what is derived from it -------------------------------------------------------------------------


class Night:
    """A plan of one night, of a pipeline that is none of ours."""

    registry = registry(LEVELS, PICTURE, NIGHT, PLOT, pictures=("picture",), night=("plot",))

    def __init__(self, folder, parts=("plots",)):
        self.results, self.parts = str(folder), parts
        self.table = [
            SimpleNamespace(exposure=f"f{i}", frame_type=t) for i, t in enumerate(("LIGHT", "BIAS"))
        ]

    def groups(self):
        return ["20210227"]

    def words_of(self, group):
        return {}

    def rows(self, night):
        return self.table

    def files(self, night, exposure):
        folder = Path(self.results, "nights", night, "frames", exposure)
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    def make(self, *paths):
        for path in paths:
            full = Path(self.results, "nights/20210227", path)
            full.parent.mkdir(parents=True, exist_ok=True)
            full.touch()


ALL = (
    "frames/f0/f0.levels",
    "frames/f1/f1.levels",
    "frames/f0/f0.png",
    "night_20210227.table",
    "a.png",
    "b.png",
)


def below(folder, paths):
    return [str(Path(path).relative_to(folder / "nights/20210227")) for path in paths]


def test_who_asks_for_the_ends_is_given_all(tmp_path):
    plan = Night(tmp_path)
    assert below(tmp_path, Expected(plan).ends()) == ["frames/f0/f0.png", "a.png"]
    assert below(tmp_path, Expected(plan, ["pictures"]).ends()) == ["frames/f0/f0.png"]
    assert below(tmp_path, Expected(Night(tmp_path, parts=())).ends()) == [
        "frames/f0/f0.png",
        "night_20210227.table",
    ]


def test_a_frame_has_the_stages_of_its_type_that_lead_to_what_is_asked_for(tmp_path):
    plan = Night(tmp_path)
    light, bias = plan.table
    assert [s.name for s in Expected(plan).of_frame(light)] == ["levels", "picture"]
    assert Expected(plan).endings(bias) == (".levels",)
    assert Expected(plan, ["pictures"]).endings(bias) == ()


def test_nothing_is_asked_for_by_name_while_a_run_plans_it_by_itself(tmp_path):
    plan = Night(tmp_path)
    assert below(tmp_path, Expected(plan).missing()) == ["night_20210227.table", "a.png"]
    plan.make(*ALL)
    assert list(Expected(plan).missing()) == []


@pytest.mark.parametrize(
    ("gone", "asked"),
    [
        ("frames/f0/f0.levels", ["frames/f0/f0.levels"]),  # its picture and its night are there
        ("frames/f1/f1.levels", ["frames/f1/f1.levels"]),
        ("frames/f0/f0.png", []),  # nothing is made from it: it is an end, and asked for as such
        ("b.png", ["b.png"]),
    ],
)
def test_what_is_missing_between_others_is_asked_for(tmp_path, gone, asked):
    plan = Night(tmp_path)
    plan.make(*ALL)
    Path(tmp_path, "nights/20210227", gone).unlink()
    assert below(tmp_path, Expected(plan).missing()) == asked


def test_a_job_of_a_group_says_what_it_needs(tmp_path):
    table, plot = Expected(Night(tmp_path)).of_group("20210227")
    assert (table.rule, table.of_exposures, table.needs) == ("night", ".levels", ())
    assert below(tmp_path, plot.needs) == ["night_20210227.table"]
    assert below(tmp_path, plot.paths) == ["a.png", "b.png"]
    assert plot.log == "logs/plot/20210227.log"


def test_a_part_left_out_stays_out_though_something_waits_for_it(tmp_path):
    extra = Stage("extra", Per.GROUP, (Product(f"{N}/extra.table", "x"),), {"extra": 1}, part="extra")
    last = Stage("last", Per.GROUP, (Product(f"{N}/last", "x"),), {"last": 1}, after=(f"{N}/extra.table",))
    plan = Night(tmp_path, parts=())
    plan.registry = registry(extra, last, all=("last",))
    assert [job.rule for job in Expected(plan).of_group("20210227")] == ["last"]
    assert [job.rule for job in Expected(plan, ["all"]).of_group("20210227")] == ["extra", "last"]


# Shared by all pipelines: what they do stands in rooms of its own.
SHARED = {"site", "alerts", "month_status", "month_complete", "qc"}


@pytest.mark.parametrize("stage", [s for s in REGISTRY.stages if s.name not in SHARED], ids=lambda s: s.name)
def test_a_stage_names_its_function_of_context_and_inputs(stage):
    module, _, name = stage.function.partition(":")
    found = getattr(import_module(module), name)
    assert list(inspect.signature(found).parameters) == ["context", "inputs"]


# --- a picture ---------------------------------------------------------------------------------------


def brightest(catalogue, *, title):
    """A picture of an exposure, drawn from one column of its catalogue."""
    figure = Figure(figsize=(2, 2))
    figure.suptitle(f"{title}: {catalogue['FLUX_AUTO'].max():g}")
    return figure


def test_pictures_depend_on_settings_that_their_stages_declare():
    """The rule of a stage gives its command these settings alone; what another stage draws may need more."""
    for stage in REGISTRY.of(Per.FRAME):
        drawings = [product.drawing for product in stage.outputs if product.drawing is not None]
        assert set(sections_of(drawings)) <= {*stage.settings}, stage.name
        assert not drawings or "pictures" in stage.settings
    flat = [product.drawing for product in REGISTRY["pictures_flat"].outputs]
    assert sections_of(flat) == ["stars"]


def test_a_picture_needs_a_function_and_its_entry_alone(monkeypatch, tmp_path):
    columns = {c.name: np.zeros(3, dtype=c.dtype if c.dtype != "str" else "U1") for c in CATALOGUE.columns}
    columns["FLUX_AUTO"] = np.array([1.0, 7.0, 3.0])
    write_table(tmp_path / "E.cat.parquet", columns, CATALOGUE, meta={"exposure": "E"})
    drawing = Drawing(
        "test_registry:brightest", {"catalogue": ("FLUX_AUTO",)}, ("catalogue",), {"title": "title"}
    )
    monkeypatch.setitem(REGISTRY.drawings, "brightest", drawing)
    context = Context.of(REGISTRY["pictures"], VisSettings())
    pictures.draw(context, [tmp_path / "E.cat.parquet"], tmp_path / "E", ["brightest"])
    record = read_record(tmp_path / "E_brightest.png")
    assert list(record["inputs"]) == ["E.cat.parquet"]
    assert record["stages"] == {"pictures": REGISTRY.versions["pictures"]}
