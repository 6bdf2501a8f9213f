"""The documentation: its examples run, its links lead somewhere, its names exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel

from visql_lib.cli import COMMANDS, cli
from visql_lib.errors import ConfigError
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate.guide_plan import GuideNightOptions
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.simulate.plan import ExposureOptions, exposures_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = {"configuration.md", "tables.md", "flags.md", "reduction_settings.md", "reduction_tables.md"} | {
    *("pointing_settings.md", "pointing_tables.md"),
    *("lightcurves_settings.md", "lightcurves_tables.md"),
}
WRITTEN = [page for page in PAGES if page.name not in GENERATED]
SETTINGS = {
    "vis": VisSettings,
    "reduction": ReductionSettings,
    "pointing": PointingSettings,
    "lightcurves": LightCurveSettings,
}


def sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the sections of settings or options by their names."""
    fields = model.model_fields.items()
    return {name: f.annotation for name, f in fields if hasattr(f.annotation, "model_fields")}


SECTIONS = [
    sections(model) for model in (*SETTINGS.values(), ExposureOptions, NightOptions, GuideNightOptions)
]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with what the comment before it says."""

    line: int
    mark: str  # "run", "file: NAME", "settings" or ""
    language: str
    text: str


_FENCE = re.compile(r"(?:<!-- (?P<mark>[^>]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


def blocks(text: str) -> list[Block]:
    """Return all fenced blocks of a page."""
    return [
        Block(text[: m.start("text")].count("\n"), m["mark"] or "", m["language"], m["text"])
        for m in _FENCE.finditer(text)
    ]


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def run_block(block: Block, folder: Path) -> None:
    """Run one block in a folder; fail with what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = {
        "sh": ["bash", "-euo", "pipefail", "-c", block.text],
        # Arrow's threads sometimes abort a short process at its very end: leave before that.
        "python": [
            sys.executable,
            "-W",
            "error",
            "-c",
            f"{block.text}\nimport os\nprint(flush=True)\nos._exit(0)",
        ],
    }[block.language]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}:\n{block.text}\n{done.stdout[-3000:]}"


def run_page(page: Path, folder: Path) -> int:
    """Run the marked blocks of a page, in order; return how many there were."""
    found = blocks(page.read_text(encoding="utf-8"))
    for block in found:
        if block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.text)
        elif block.mark == "run":
            run_block(block, folder)
    return sum(block.mark == "run" for block in found)


def make_clone(folder: Path) -> Path:
    """Make what a user has after cloning: Snakefile, rules, profiles, settings."""
    for name in ("Snakefile", "config", "envs", "workflow"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "profiles").symlink_to("workflow/profiles")
    with (folder / "config" / "config.yaml").open("a") as settings:  # no test asks a service of the world
        settings.write("gaia: {sources: folder, folder: raw/truth}\ngoes: {sources: []}\n")
        settings.write("plate: {solve: 'no'}\n")
    return folder


@pytest.fixture(scope="module")
def readme_folder(vis, tmp_path_factory):
    """A clone with one raw frame, small to be quick, in which the README was followed."""
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    small = {"ccds": ["3-3"], "damage": {"drop": ["3-3.G", "3-3.H"]}}
    plan = {"exposures": [{"type": "short", "seed": 1, **small}]}
    (frame,) = make_frames(exposures_of(plan, "docs"), vis, folder / "raw")
    os.utime(frame, (1.72e9, 1.72e9))  # long ago: it does not grow any more
    assert run_page(ROOT / "README.md", folder) >= 6
    return folder


@pytest.mark.slow
def test_the_readme_can_be_followed(readme_folder):
    """Its examples leave what docs/products.md promises."""
    (folder,) = (readme_folder / "results" / "exposures" / "202407").iterdir()
    found = {p.name.removeprefix(folder.name) for p in folder.glob("[!.]*")}
    assert set(REGISTRY["pictures"].endings) <= found
    promised = (ROOT / "docs" / "products.md").read_text(encoding="utf-8")
    for ending in found:
        zoom = re.fullmatch(r"_[tcl][lcr]\.png", ending)
        assert zoom or f"`E{ending}`" in promised, ending
    months = {p.name for p in (readme_folder / "results" / "months" / "202407").glob("[!.]*")}
    assert months == {
        "psfmoments_202407.parquet",
        "qc_202407.parquet",
        "psfmoments_202407.png",
        "IQ_timeline_202407.png",
        "complete.tsv",
        "status.tsv",
        "astrometry_202407.parquet",
        "geometry_202407.parquet",
        "ratios_202407.parquet",
        "ratios_ccd_202407.parquet",
        "iceplots",
        *(
            f"{name}_202407.parquet"
            for name in ("angles", "radiation", "leak", "detector", "detector_frames")
        ),
        *("hot_pixels_202407.parquet", "performance_202407.parquet", "pipelineperf"),
        *("All_Angles_and_GOES_202407.txt", "radiation_202407.png", "leak_202407.png"),
        *(f"detector_202407_{name}.png" for name in ("timeline", "map", "hot")),
        *("XCOSMIX202407.mp4", "PROTONS202407.mp4", "trend_202407.parquet", "trend_202407.txt"),
        *(f"iceplot_FPA_202407_{exptime}.png" for exptime in ("560.52", "89.52")),
        *(f"VISGaia_FPA_{cls}_202407.png" for cls in ("LONG", "SHORT")),
    }
    by_hand = {p.name.removeprefix(folder.name) for p in (readme_folder / "one").iterdir()}
    assert {".cat.parquet", "_stars2.parquet", "_stars2_mom.parquet", "_iq.png", ".png"} <= by_hand
    assert {"_frat.parquet", "_x_gaia_dxdy.txt"} <= by_hand


@pytest.mark.slow
@pytest.mark.parametrize("name", ["legacy.md", "acquisition.md", "site.md"])
def test_examples_on_results_run(name, readme_folder):
    assert run_page(ROOT / "docs" / name, readme_folder) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simulator.md"])
def test_examples_run(name, tmp_path):
    assert run_page(ROOT / "docs" / name, tmp_path) >= 1


def test_every_example_is_run_somewhere():
    """A page with marked blocks that no test runs would rot."""
    pages = {
        page.name
        for page in WRITTEN
        if any(b.mark == "run" for b in blocks(page.read_text(encoding="utf-8")))
    }
    assert pages == {"README.md", "legacy.md", "simulator.md", "acquisition.md", "site.md"}


def test_marks_are_known():
    for page in WRITTEN:
        for block in blocks(page.read_text(encoding="utf-8")):
            assert re.fullmatch(r"run|settings|file: [\w.]+|", block.mark), (page.name, block.mark)
            if block.mark == "run":
                assert block.language in ("sh", "python"), (page.name, block.line)


# What is wrong in a page, as lines: empty if nothing is.


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> list[str]:
    """Return the anchors of a page's headings."""
    return [anchor(heading) for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)]


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, section = target.partition("#")
        file = page.parent / name if name else page
        if not file.is_file() or (section and section not in anchors(file)):
            yield target


def unknown_keys(text: str) -> Iterator[str]:
    """Yield `section.key` in a page that is neither a setting nor an option of the simulator."""
    for section, key in re.findall(r"`(\w+)\.(\w+)`", text):
        models = [known[section] for known in SECTIONS if section in known]
        if (
            models
            and key not in {"md", "py", "smk", "png", "parquet", "fits"}
            and key == key.lower()  # else a quantity, such as psf.R2
            and not any(key in m.model_fields for m in models)
        ):
            yield f"{section}.{key}"


def shell_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every command line in a page's shell blocks and inline code."""
    lines = [line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines()]
    lines += re.findall(r"`((?:visql|snakemake) [^`]*)`", prose(text))
    for line in lines:
        yield shlex.split(line, comments=True)


def wrong_commands(text: str) -> Iterator[str]:
    """Yield visql commands and options, and snakemake --config keys, that do not exist."""
    for words in shell_lines(text):
        if words[:1] == ["visql"] and not words[1].startswith("-") and words[1] != "STEP":
            command = cli.get_command(click.Context(cli), words[1])
            if command is None:
                yield f"visql {words[1]}"
                continue
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            yield from (
                f"visql {words[1]} {w}"
                for w in words[2:]
                if re.match(r"-[-A-Za-z]", w) and w.partition("=")[0] not in known  # not a minus, nor -5
            )
        if words[:1] == ["snakemake"]:
            given = dict(w.split("=", 1) for w in words[1:] if re.match(r"\w+=", w))
            known = SETTINGS[given.get("pipeline", "vis")].model_fields
            yield from (f"--config {key}" for key in given if key not in known)


def wrong_settings(text: str) -> Iterator[str]:
    """Yield the complaints about YAML blocks marked as settings."""
    for block in blocks(text):
        if block.mark == "settings":
            try:
                settings_from_mapping(yaml.safe_load(block.text))
            except ConfigError as error:
                yield str(error)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: p.name)
def test_a_page_is_right(page):
    text = page.read_text(encoding="utf-8")
    wrong = [*broken_links(page, text), *unknown_keys(text), *wrong_commands(text), *wrong_settings(text)]
    assert wrong == []


def test_the_checks_find_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title, here\n")
    assert list(
        broken_links(page, "[a](b.md) [c](#a-title-here) [d](#no) [e](https://x.y) [f](page.md)")
    ) == [
        "b.md",
        "#no",
    ]
    assert list(unknown_keys("`catalog.mesh` `catalog.mash` `sky.ice` `sky.fire` `stars.py` `os.path`")) == [
        "catalog.mash",
        "sky.fire",
    ]
    text = "```sh\nvisql stars a --ouput b\nvisql strs a\nsnakemake month --config mnths=1 raw=x\n```\n`visql index -v`"
    assert list(wrong_commands(text)) == ["visql stars --ouput", "visql strs", "--config mnths"]
    assert len(list(wrong_settings("<!-- settings -->\n```yaml\ncatalog: {mesh: 1}\n```\n"))) == 1
    (found,) = blocks("x\n<!-- run -->\n```sh\nfalse | cat\n```\n")
    assert (found.mark, found.language, found.line) == ("run", "sh", 3)
    with pytest.raises(AssertionError, match="line 3"):
        run_block(found, tmp_path)
    with pytest.raises(AssertionError, match="deprecated"):
        run_block(Block(1, "run", "python", "import warnings; warnings.warn('deprecated')"), tmp_path)


def test_every_command_is_mentioned():
    text = "\n".join(page.read_text(encoding="utf-8") for page in WRITTEN)
    assert [name for name in COMMANDS if f"visql {name}" not in text] == []


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if page.name not in text] == []


def test_sections_named_in_the_code_exist():
    text = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    numbered = dict(re.findall(r"^## (\d)\. (.*)$", text, re.M))
    assert numbered["2"] == "Source catalogue"
    assert numbered["3"] == "Stars and PSF moments"
    for path in [*(ROOT / "visql_lib").rglob("*.py"), *(ROOT / "config").rglob("*.yaml")]:
        code = path.read_text(encoding="utf-8")
        for number in re.findall(r"docs/measurements\.md, section (\d)", code):
            assert number in numbered, path
        for name in re.findall(r"\bdocs/(\w+\.md)\b", code):
            assert (ROOT / "docs" / name).is_file(), (path, name)


def test_pictures_are_small_and_used():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size <= 300_000, picture.name
        assert f"docs/pictures/{picture.name}" in text
