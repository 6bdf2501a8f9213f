"""The rules of the reduction as a module of another workflow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions

RULES = Path(__file__).parents[1] / "workflow/rules/reduction/main.smk"
NIGHT = "results/nights/20210227"
OTHER = f"""
configfile: "night.yaml"


module night:
    snakefile:
        "{RULES}"
    config:
        config


use rule * from night as night_*


rule paper:
    default_target: True
    input:
        "{NIGHT}/stacks_20210227.parquet",
    output:
        "paper.txt",
    shell:
        "wc -c {{input}} >{{output}}"
"""
SMALL = {
    "camera": {"columns": 128, "rows": 96},
    "sky": {"stars": 20, "targets": ["M67"]},
    "frames": {"biases": 2, "dark_times": [60, 120], "darks": 2, "filters": ["R"], "flats": 3, "lights": 2},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A raw night, and a workflow of somebody else."""
    (tmp_path / "raw").mkdir()
    for made in SimulatedNight(NightOptions.model_validate(SMALL)).made():
        made.hdus.writeto(tmp_path / "raw" / made.name)
    (tmp_path / "night.yaml").write_text(
        "pipeline: reduction\nraw: raw\nresults: results\nindex: {growing_age: 0 s}\n"
    )
    (tmp_path / "Snakefile").write_text(OTHER)
    return tmp_path


def snakemake(folder: Path, *words: str) -> str:
    tools = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [tools / "snakemake", "-c1", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_another_workflow_asks_for_a_night(folder: Path) -> None:
    said = snakemake(folder, "-n", "--quiet", "rules")
    jobs = {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    expected = {"master_bias", "master_dark", "master_flat", "bad_pixels", "reduce", "register", "stack"}
    assert {f"night_{name}" for name in (*expected, "night_tables")} | {"paper"} <= jobs.keys()
    assert jobs["night_master_bias"] == jobs["paper"] == 1
    assert "night_qc" not in jobs
    wanted = f"{NIGHT}/masters/bias_1x1_m20.fits"
    snakemake(folder, wanted)
    assert fits.getheader(folder / wanted)["STATUS"] == "ok"
    assert "Nothing to be done" in snakemake(folder, wanted)
