"""A small season with the workflow: light curves, nothing to do, new frames, kicked ones, lost files, thawing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.test_toy import jobs
from visql_lib.pipelines.lightcurves.frozen import FROZEN, frozen_path
from visql_lib.tables.store import read_table

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SET = "J1206/R_sim"
PER_FRAME = ("_cat.parquet", "_sky.fits", "_apertures.parquet", "_stamps.fits", "_psf.fits")
NIGHTS = ("--nights", "4", "--frames", "3", "--size", "224")


class SeasonFolder:
    """A folder with a season, and what one does in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.results = path, path / "results"
        self.raw, self.away = path / "season/raw/R_sim", path / "away"
        self.target, self.set = self.results / "targets/J1206", self.results / "targets" / SET
        self.file = path / "season/targets/J1206.yaml"

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command; return what it says."""
        command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said

    def snakemake(self, *words: str, code: int = 0) -> str:
        """Run the workflow."""
        given = {"pipeline": "lightcurves", "targets": "season/targets/J1206.yaml", "results": "results"}
        given |= {"index": "{growing_age: 0}"} | dict(w.split("=", 1) for w in words if "=" in w)
        options = [f"{key}={value}" for key, value in given.items()]
        others = [w for w in words if "=" not in w]
        snakefile = str(ROOT / "Snakefile")
        return self.run("snakemake", "-s", snakefile, "-c2", *others, "--config", *options, code=code)

    def planned(self, *words: str) -> dict[str, int]:
        """The jobs of a dry-run."""
        return jobs(self.snakemake("-n", *words))

    def change(self, **values: object) -> None:
        """Change the target's file."""
        self.file.write_text(yaml.safe_dump(yaml.safe_load(self.file.read_text()) | values))

    def times(self) -> dict[str, int]:
        """When each file of the set was made."""
        return {
            path.relative_to(self.set).as_posix(): path.stat().st_mtime_ns
            for path in self.set.rglob("*")
            if path.is_file()
        }

    def frozen(self) -> dict[str, bytes]:
        """The frozen choices."""
        return {name: frozen_path(self.results, SET, name).read_bytes() for name in FROZEN}

    def statuses(self) -> dict[str, str]:
        """What became of each frame."""
        table = read_table(self.set / "frames_R_sim.parquet")
        return dict(zip(map(str, table["FRAME"]), map(str, table["STATUS"]), strict=True))

    def fluxes(self) -> dict[tuple[str, str], float]:
        """FLUX times C of each frame and source."""
        table = read_table(self.set / "fluxes_R_sim.parquet")
        keys = zip(map(str, table["FRAME"]), map(str, table["SOURCE"]), strict=True)
        return dict(zip(keys, (table["FLUX"] * table["C"]).tolist(), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A season of four nights, of which four frames come later, and its light curve."""
    folder = SeasonFolder(tmp_path_factory.mktemp("light"))
    folder.run("visql", "simulate-season", "-o", "season", "--seed", "1", *NIGHTS)
    folder.away.mkdir()
    for path in sorted(folder.raw.iterdir())[-4:]:
        path.rename(folder.away / path.name)
    folder.snakemake()
    return folder


@pytest.fixture
def season(whole, tmp_path):
    """A copy of it, as a run left it."""
    shutil.copytree(whole.path, tmp_path / "light", symlinks=True)
    return SeasonFolder(tmp_path / "light")


def test_everything_is_made_and_then_nothing_is_to_be_done(whole):
    folders = list((whole.set / "frames").iterdir())
    assert len(folders) == 8
    for folder in folders:
        assert {folder.name + ending for ending in PER_FRAME} <= {path.name for path in folder.iterdir()}
    names = ("J1206.rdb", "J1206.ecsv", "J1206.parquet", "README.md", "decisions.parquet", "J1206_R_sim.rdb")
    for name in names:
        assert (whole.target / name).is_file(), name
    assert "Nothing to be done" in whole.snakemake("-n")
    (whole.path / "light.yaml").write_text(
        "pipeline: lightcurves\ntargets: season/targets/J1206.yaml\nindex: {growing_age: 0}\n"
    )
    said = whole.run("visql", "verify", SET, "--config", "light.yaml")
    assert said.endswith(f"products of {SET}, all well\n")


def test_new_frames_are_measured_alone_and_nothing_is_chosen_anew(season):
    before, frozen = season.times(), season.frozen()
    new = sorted(path.stem for path in season.away.iterdir())
    for path in season.away.iterdir():
        path.rename(season.raw / path.name)
    planned = season.planned()
    # Their two nights, of which one has other frames, too.
    assert [planned.get(name) for name in ("lc_frame", "lc_measure", "lc_psf")] == [2, 2, 2]
    assert not {choice.stage for choice in FROZEN.values()} & set(planned)
    season.snakemake()
    after = season.times()
    made = {name for name in after if name.startswith("frames/") and after[name] != before.get(name)}
    assert made == {f"frames/{frame}/{frame}{ending}" for frame in new for ending in PER_FRAME}
    assert season.frozen() == frozen
    assert {frame for frame, _ in season.fluxes()} == {path.stem for path in season.raw.iterdir()}


def test_all_frames_anew_give_the_same_curve_as_frames_that_came_later(season):
    """With the same frozen choices."""
    for path in season.away.iterdir():
        path.rename(season.raw / path.name)
    season.snakemake("--until", "lc_nights")
    curve, frozen = season.fluxes(), season.frozen()
    kept = {frozen_path(season.results, SET, name) for name in FROZEN}
    for folder in ("chunks", "frames"):
        shutil.rmtree(season.set / folder)
    for path in [p for p in season.set.iterdir() if p.is_file() and p not in kept]:
        path.unlink()
    for until in ("lc_apertures", "lc_renorm", "lc_nights"):
        season.snakemake("--until", until)
        for name, content in frozen.items():
            frozen_path(season.results, SET, name).write_bytes(content)
    again = season.fluxes()
    assert again.keys() == curve.keys()
    assert max(abs(2.5 * np.log10(again[key] / curve[key])) for key in curve) < 1e-6


def test_a_kicked_frame_reaches_no_product(season):
    reference = str(read_table(season.target / "reference.parquet").meta["reference"])
    kicked = next(path.stem for path in sorted(season.raw.iterdir()) if path.stem != reference)
    (season.path / "kick.txt").write_text(f"{kicked} trailed\n")
    season.change(kick="kick.txt")
    planned = season.planned()
    assert (planned["lc_frames"], planned["lc_measure"]) == (1, 1)
    assert "lc_frame" not in planned
    said = season.snakemake()
    assert f"{SET}: kicked: {kicked}: trailed" in said
    assert season.statuses()[kicked] == "kicked"
    for kind in ("transforms", "apertures", "medcoeff", "psf", "starfluxes", "renorm", "target", "fluxes"):
        table = read_table(season.set / f"{kind}_R_sim.parquet")
        assert kicked not in set(map(str, table["FRAME"])), kind
    (season.path / "kick.txt").write_text(f"{kicked}x trailed\n{reference} why not\n")
    said = season.snakemake("-n", code=1)
    assert f"kick.txt: no such frame of J1206: {kicked}x" in said
    assert f"kick.txt: {reference!r} is the reference of J1206 and cannot be kicked" in said


def test_lost_files_of_a_frame_are_made_again(season):
    frame = sorted(season.raw.iterdir())[3].stem
    folder = season.set / "frames" / frame
    for ending in ("_cat.parquet", "_stamps.fits", "_psf.fits"):
        (folder / f"{frame}{ending}").unlink()
    planned = season.planned()
    assert {"lc_frame_lost": 1, "lc_measure_lost": 1, "lc_psf_lost": 1}.items() <= planned.items()
    season.snakemake()
    assert {f"{frame}{ending}" for ending in PER_FRAME} <= {path.name for path in folder.iterdir()}
    assert len(read_table(folder / f"{frame}_cat.parquet")["X_IMAGE"]) > 5
    assert "Nothing to be done" in season.snakemake("-n")


def test_another_cut_of_the_stars_makes_all_that_hangs_on_them(season):
    planned = set(season.planned("stars={psf_stars: 5}"))
    assert {"lc_stars", "lc_medcoeff", "lc_psf_model", "lc_psf", "lc_renorm", "lc_target"} <= planned
    assert "lc_export" in planned
    assert not {"lc_frame", "lc_measure"} & planned


def test_a_change_of_the_file_makes_what_uses_it(season):
    season.change(galaxy={"image": True, "core": "none"})
    planned = set(season.planned())
    assert {"lc_scene", "lc_target", "lc_nights", "lc_export"} <= planned
    assert not {"lc_frame", "lc_reference", "lc_measure", "lc_stars", "lc_psf"} & planned


def test_thawed_choices_are_made_anew(season):
    said = season.run("visql", "lc-thaw", SET, "psf", "--results", "results")
    assert said == f"removed results/targets/{SET}/psfmodel_R_sim.parquet\n"
    planned = season.planned()
    assert {"lc_psf_model": 1, "lc_psf": 3}.items() <= planned.items()
    assert not {"lc_stars", "lc_reference", "lc_scene"} & set(planned)


def test_the_frames_of_the_test_list_are_measured_apart(season):
    on = yaml.safe_load(season.file.read_text())["on"]
    named = [*dict.fromkeys((on, *(path.stem for path in sorted(season.raw.iterdir())[:4])))]
    (season.path / "test.txt").write_text("\n".join(named))
    season.change(test="test.txt")
    before = season.times()
    season.snakemake("lightcurve_test")
    table = read_table(season.results / "targets/J1206.test/R_sim/fluxes_R_sim.parquet")
    assert set(map(str, table["FRAME"])) == set(named)
    assert (season.results / "targets/J1206.test/J1206.test.rdb").is_file()
    assert season.times() == before
    assert "Nothing to be done" in season.snakemake("-n")


OTHER = f"""
configfile: "light.yaml"


module light:
    snakefile:
        "{ROOT}/workflow/rules/lightcurves/main.smk"
    config:
        config


use rule * from light as light_*


rule paper:
    default_target: True
    input:
        "results/targets/J1206/J1206.rdb",
    output:
        "paper.txt",
    shell:
        "wc -l {{input}} >{{output}}"
"""


def test_the_rules_are_a_module_of_another_workflow(season):
    (season.path / "Snakefile").write_text(OTHER)
    (season.path / "light.yaml").write_text(
        "pipeline: lightcurves\ntargets: season/targets/J1206.yaml\nresults: results\nindex: {growing_age: 0}\n"
    )
    shutil.rmtree(season.results)
    planned = jobs(season.run("snakemake", "-n", "-c1"))
    assert planned["paper"] == planned["light_lc_export"] == 1
    assert planned["light_lc_measure"] == 3


def test_a_target_that_cannot_be_measured_does_not_stop_another(season):
    (season.path / "few").mkdir()
    for path in sorted(season.raw.iterdir())[:2]:
        shutil.copy(path, season.path / "few" / path.name)
    other = yaml.safe_load(season.file.read_text())
    other |= {"name": "FEW", "sets": {"R": {"camera": "generic", "raw": "few"}}, "on": "auto"}
    (season.path / "few.yaml").write_text(yaml.safe_dump(other))
    (season.target / "README.md").unlink()
    said = season.snakemake("targets=[few.yaml, season/targets/J1206.yaml]", code=1)
    (line,) = [line for line in said.splitlines() if line.startswith("FEW: stopped by lc_reference: ")]
    assert "2 frames can be used, at least 3 are needed" in line
    assert line in said.splitlines()[-10:]
    assert (season.target / "README.md").is_file()
    assert not (season.results / "targets/FEW/FEW.rdb").exists()
