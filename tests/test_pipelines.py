"""Which pipeline a folder of results belongs to, and which there are."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from visql_lib.cli import COMMANDS, HEADINGS, cli
from visql_lib.cli.common import settings_of, settings_of_any
from visql_lib.config.settings import PIPELINES
from visql_lib.errors import ConfigError
from visql_lib.pipelines import (
    claim_results,
    make_plan,
    pipeline_of,
    registry_of,
    settings_class,
    settings_from_mapping,
    sheet_rules_of,
)

ROOT = Path(__file__).parents[1]


def settings(results, **values):
    return settings_from_mapping({"results": str(results), **values}, "test")


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_has_a_registry_and_rules(name):
    assert registry_of(settings("results", pipeline=name)).pipeline == name
    assert sheet_rules_of(settings("results", pipeline=name)).grouping.names
    assert (ROOT / "workflow" / "rules" / name / "main.smk").is_file()


def test_there_are_no_others():
    assert {path.name for path in (ROOT / "workflow" / "rules").iterdir()} == {"shared", *PIPELINES}


def test_an_unknown_pipeline_is_named_with_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=r"^pipeline: 'viz' is none of vis, reduction, pointing"):
        pipeline_of({"pipeline": "viz"})
    with pytest.raises(ConfigError, match=r"pipeline: .*'viz' is none of vis, reduction, pointing"):
        settings(tmp_path, pipeline="viz")


def test_snakemake_says_it_in_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "-n",
        "--config",
        "pipeline=viz",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "\npipeline: 'viz' is none of vis, reduction, pointing, lightcurves\n" in said
    assert "Traceback" not in said


def test_results_belong_to_one_pipeline(tmp_path):
    claim_results(settings(tmp_path))
    claim_results(settings(tmp_path))
    (tmp_path / ".pipeline").write_text("reduction\n")
    with pytest.raises(
        ConfigError, match=r"holds products of the pipeline 'reduction'; choose another folder for 'vis'"
    ):
        claim_results(settings(tmp_path))


def test_index_leaves_results_of_another_pipeline_alone(tmp_path, toy_raw):
    shutil.copytree(toy_raw, tmp_path / "raw")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / ".pipeline").write_text("reduction\n")
    arguments = ["index", str(tmp_path / "raw"), "--results", str(tmp_path / "results"), "--months", "202407"]
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, ConfigError)
    assert [path.name for path in (tmp_path / "results").iterdir()] == [".pipeline"]


def test_limits_from_before_names_were_qualified_are_refused_before_anything_runs(tmp_path, toy_raw):
    limits = tmp_path / "limits.yaml"
    limits.write_text("epochs: [{from: 2023-01-01, SCORE: {warn_above: 27}}]\n")
    values = {"raw": [str(toy_raw)], "months": "202407", "gaia": {"sources": []}}
    wrong = settings(tmp_path / "results", quality={"thresholds": str(limits)}, **values)
    with pytest.raises(ConfigError, match=r"limits.yaml: epoch 1 .*SCORE: write psf.SCORE"):
        make_plan(wrong, refresh=True)
    assert not (tmp_path / "results").exists()


def test_every_command_stands_under_one_heading():
    names = [name for group in HEADINGS.values() for name in group]
    assert len(names) == len(set(names)) == len(COMMANDS)
    text = CliRunner().invoke(cli, ["--help"]).output
    for heading in HEADINGS:
        assert f"\n{heading}:\n" in text


# --- Pipelines of other packages


PACKAGE = {
    "settings.py": """
        from typing import ClassVar
        from visql_lib.config import Settings
        from visql_lib.config.units import setting

        class NightSettings(Settings):
            order: ClassVar[tuple[str, ...]] = ("pipeline", "nights")
            group_key: ClassVar[str] = "nights"
            nights: tuple[str, ...] = setting((), None, "Nights to process.")

            @property
            def groups(self):
                return self.nights

        SETTINGS = NightSettings
        """,
    "registry.py": "REGISTRY = 'registry'",
    "sheet_rules.py": """
        class Rules:
            def for_instrument(self, instrument):
                return f"rules for {instrument.name}"

        RULES = Rules()
        """,
    "commands.py": """
        import click

        @click.command("night-summary")
        def summary():
            \"\"\"Summarise a night.\"\"\"
            click.echo("a summary")
        """,
}
ENTRY_POINTS = """
[visql.pipelines]
nights = visql_nights
[visql.commands]
night-summary = visql_nights.commands:summary
"""


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """Make an installed package with a pipeline and a command of its own."""
    package = tmp_path / "site" / "visql_nights"
    package.mkdir(parents=True)
    for name, text in {"__init__.py": "", **PACKAGE}.items():
        (package / name).write_text(textwrap.dedent(text))
    info = tmp_path / "site" / "visql_nights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: visql-nights\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "visql_nights"]:
        del sys.modules[name]


def test_a_pipeline_of_another_package_is_found(other_package, tmp_path):
    values = {"pipeline": "nights", "nights": ["20240101", "20240102"], "results": str(tmp_path / "results")}
    nights = settings_from_mapping(values, "test")
    assert type(nights) is settings_class("nights")
    assert nights.groups_at() == ["20240101", "20240102"]
    assert nights.names()[:2] == ["pipeline", "nights"]
    assert list(nights.in_order()) == nights.names()
    assert nights.only("index").keys() == {"pipeline", "instrument", "index"}
    assert registry_of(nights) == "registry"
    assert sheet_rules_of(nights) == "rules for generic_ccd"
    claim_results(nights)
    with pytest.raises(
        ConfigError, match=r"products of the pipeline 'nights'; choose another folder for 'vis'"
    ):
        claim_results(settings(tmp_path / "results"))
    with pytest.raises(
        ConfigError,
        match=r"^test: pipeline: 'knights' is none of vis, reduction, pointing, lightcurves, nights$",
    ):
        settings_from_mapping(values | {"pipeline": "knights"}, "test")
    with pytest.raises(ConfigError, match=r"^test: unknown key 'gaia'"):
        settings_from_mapping(values | {"gaia": {}}, "test")


def test_commands_of_another_package_are_found(other_package):
    runner = CliRunner()
    assert runner.invoke(cli, ["night-summary"]).output == "a summary\n"
    text = runner.invoke(cli, ["--help"]).output
    assert "\nOther pipelines:\n  night-summary  See visql_nights.commands.\n" in text
    assert "did you mean 'night-summary'?" in runner.invoke(cli, ["night-sumary"]).output


def test_a_command_of_vis_refuses_settings_of_another_pipeline(other_package, tmp_path):
    config = tmp_path / "nights.yaml"
    config.write_text("pipeline: nights\n")
    with pytest.raises(
        ConfigError, match=r"nights.yaml: pipeline: this is a command of 'vis', not of 'nights'"
    ):
        settings_of(config)
    assert settings_of_any(config).pipeline == "nights"


def test_what_is_built_in_is_not_looked_up(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **group: pytest.fail(f"{group} looked up"))
    assert registry_of(settings_from_mapping({})).pipeline == "vis"
    assert CliRunner().invoke(cli, ["goes", "--help"]).exit_code == 0


def test_without_other_packages_help_does_not_speak_of_them():
    assert "Other pipelines" not in CliRunner().invoke(cli, ["--help"]).output


def test_commands_for_any_frame_take_settings_of_another_package(other_package, toy_raw, tmp_path):
    config = tmp_path / "nights.yaml"
    camera = ROOT / "tests" / "toy_camera.yaml"
    config.write_text(f"pipeline: nights\ninstrument: {camera}\npreview: {{zoom_size: 60}}\n")
    frame = next(iter(sorted(toy_raw.glob("*.fits"))))
    for command in (["catalog", "-o", "E.cat.parquet"], ["preview", "-o", "E"]):
        words = [command[0], str(frame), "-o", str(tmp_path / command[2]), "--config", str(config)]
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "E.cat.parquet").is_file()
    assert (tmp_path / "E.png").is_file()
