"""Which pipeline a folder of results belongs to, and which there are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from visql_lib.cli import COMMANDS, HEADINGS, cli
from visql_lib.config import settings_from_mapping
from visql_lib.config.settings import PIPELINES
from visql_lib.errors import ConfigError
from visql_lib.pipelines import claim_results, make_plan, pipeline_of, registry_of, sheet_rules_of

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
    with pytest.raises(ConfigError, match=r"^pipeline: 'viz' is none of vis"):
        pipeline_of({"pipeline": "viz"})
    with pytest.raises(ConfigError, match=r"pipeline: .*'viz' is none of vis"):
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
    assert "\npipeline: 'viz' is none of vis\n" in said
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
