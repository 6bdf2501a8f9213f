"""The demo's month: what a dry-run lists is what the README says. `.ci/run` runs the demo itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate.plan import exposures_of

ROOT = Path(__file__).parents[1]


def job_table(text):
    """Return rule -> number of the last table of jobs in a text."""
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", text.split("job  ")[-1], re.M))
    assert int(jobs.pop("total")) == sum(map(int, jobs.values()))
    return jobs


@pytest.mark.slow
def test_a_dry_run_of_the_demo_lists_the_expected_jobs(vis, tmp_path):
    """On one of its quadrants, which changes no job."""
    plan = yaml.safe_load((ROOT / "config" / "demo_plan.yaml").read_text())
    plan["common"] |= {"ccds": ["3-3"], "damage": {"drop": ["3-3.F", "3-3.G", "3-3.H"]}}
    frames = make_frames(exposures_of(plan, "demo"), vis, tmp_path / "raw")
    assert len(frames) == 13
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run"),
            *(
                "--configfile",
                ROOT / "config" / "demo.yaml",
                "--config",
                "raw=raw",
                "results=results",
                "plate={solve: 'no'}",
            ),
        ],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = job_table((done.stdout + done.stderr).split("Reasons:")[0])
    readme = (
        (ROOT / "README.md")
        .read_text()
        .split("For the thirteen frames of the demo, the dry run prints this list")[1]
    )
    assert listed == job_table(readme.split("```")[1])
