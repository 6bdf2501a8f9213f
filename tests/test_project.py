"""The project's own files agree with each other."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from visql_lib.cli import COMMANDS
from visql_lib.pipelines import make_plan
from visql_lib.pipelines.vis.settings import month_list

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*groups):
    texts = list(PROJECT["dependencies"])
    for group in groups:
        texts += PROJECT["optional-dependencies"][group]
    return {r.name.lower(): r for r in map(Requirement, texts) if r.name != PROJECT["name"]}


def test_conda_environment_is_in_sync():
    env = yaml.safe_load((ROOT / "envs" / "visql.yaml").read_text())
    conda = {r.name.lower(): str(r.specifier) for r in (Requirement(t) for t in env["dependencies"])}
    for name, wanted in requirements().items():
        # Where the bare name is that of a library in C, the Python package says so in its own.
        assert conda.get(f"python-{name}", conda.get(name)) == str(wanted.specifier), name
    assert conda["python"] == PROJECT["requires-python"]


def test_every_requirement_has_an_exact_version():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    for name, wanted in requirements("dev", "cluster").items():
        assert name in pinned
        assert wanted.specifier.contains(pinned[name]), name


ALWAYS = ("fetch", "site", "alerts")  # targets that are made whenever they are asked for


def test_every_rule_has_log_benchmark_resources_and_one_command():
    """Versions, settings and facts come from the registry: tests/test_registry.py."""
    paths = [path for path in (ROOT / "workflow" / "rules").rglob("*.smk") if path.name != "main.smk"]
    texts = [path.read_text() for path in paths]
    rules = [r for text in texts for r in re.findall(r"(?m)^rule (\w+):\n((?:(?: .*)?\n)+)", text)]
    assert len(rules) >= 10
    for name, rule in rules:
        for part in ("log:", "benchmark:", "runtime=", "params(", "conda:"):
            if name in ALWAYS and part == "benchmark:":  # its file would count as the result
                assert part not in rule, name
                continue
            assert part in rule, f"{name}: {part}"
        command = rule.split("shell:")[1]
        assert re.findall(r"visql ([a-z-]+)", command)[0] in COMMANDS, name
        assert command.count("visql ") == 1, name


def test_raw_frames_are_never_compared_by_time():
    for path in (ROOT / "workflow" / "rules").rglob("*.smk"):
        for line in re.findall(r".*raw_frame.*", path.read_text()):
            assert "ancient(raw_frame)" in line or "def raw_frame" in line


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        ("2024-07-15", ["202407"]),
        ("2024-07-01", ["202406", "202407"]),
        ("2024-07-03", ["202406", "202407"]),
        ("2024-07-04", ["202407"]),
        ("2024-01-02", ["202312", "202401"]),
    ],
)
def test_auto_is_this_month_and_for_three_days_the_last(today, expected):
    from datetime import datetime

    assert month_list(("auto",), datetime.fromisoformat(today)) == expected
    assert month_list(("202301", "auto"), datetime.fromisoformat(today)) == ["202301", *expected]


def test_a_job_does_not_look_at_raw_folders(tmp_path):
    from visql_lib.pipelines import settings_from_mapping

    settings = settings_from_mapping({"months": "202407", "raw": "nowhere", "results": str(tmp_path)})
    assert make_plan(settings, refresh=False).sheets == {"202407": []}


def test_the_project_speaks_of_itself_alone():
    """No absolute path of somebody's machine in code, rules or documentation."""
    pattern = re.compile(r"(?<![\w.])/(home|root|work|Users|mnt)/")
    for folder in ("visql_lib", "workflow", "docs", "config", "benchmarks", "envs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".smk", ".md", ".yaml", ".rst", ".json"):
                assert not pattern.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ("import os; os.abort()", ("-n", "1"), "crashed while running 'test_it.py::test_that_ends_badly'"),
        ("import time; time.sleep(60)", ("--timeout", "1"), "test_that_ends_badly - Failed: Timeout"),
    ],
    ids=["a crash", "a hang"],
)
def test_a_crash_or_a_hang_is_a_failure_that_names_its_test(tmp_path, body, options, said):
    """Once a worker that died was started again without a word, and the run waited for ever."""
    (tmp_path / "test_it.py").write_text(f"def test_that_ends_badly():\n    {body}\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    command = [sys.executable, "-m", "pytest", *options, "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout


def test_the_whole_of_the_checks_has_a_limit(tmp_path):
    folder = tmp_path / ".ci"
    folder.mkdir()
    text = (ROOT / ".ci" / "run").read_text()
    (folder / "run").write_text(text[: text.index("# SExtractor")] + "sleep 60\n")
    (folder / "run").chmod(0o755)
    limits = dict(os.environ) | {"VISQL_CI_LIMIT": "1s"}
    limits.pop("VISQL_CI_LIMITED", None)
    done = subprocess.run(
        [folder / "run"], env=limits, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "not done after 1s" in done.stderr) == (124, True)
