"""A night with the workflow: raw frames to stacks, nothing to do, one more frame, a lost one, bad ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from tests.test_toy import jobs
from visql_lib.pipelines.reduction.registry import REGISTRY
from visql_lib.tables.store import read_table

ROOT = Path(__file__).parents[1]
NIGHT = "20210227"
SMALL = (
    "camera.columns=256",
    "camera.rows=192",
    "frames.biases=5",
    "frames.dark_times=[60, 120]",
    "frames.darks=4",
    "frames.filters=[V, R]",
    "frames.flats=4",
    "frames.lights=3",
    "sky.targets=[M67]",
    "sky.stars=60",
    "sky.flip=false",
)


class Folder:
    """A folder with a raw night, and what one does in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.results = path, path / "results"
        self.night = self.results / "nights" / NIGHT

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
        given = ("--config", "pipeline=reduction", "raw=raw", "results=results")
        options = ("index={growing_age: 0}", "reduce={chunk: 2}", *(w for w in words if "=" in w))
        targets = [w for w in words if "=" not in w]
        return self.run(
            "snakemake", "-s", str(ROOT / "Snakefile"), "-c2", *targets, *given, *options, code=code
        )

    def frames(self) -> dict[str, dict[str, str]]:
        """What became of each frame."""
        table = read_table(self.night / f"frames_{NIGHT}.parquet", ["EXPOSURE", "TYPE", "STATUS", "REASON"])
        rows = zip(*(map(str, column) for column in table.values()), strict=True)
        return {name: {"type": kind, "status": status, "reason": why} for name, kind, status, why in rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A night that was simulated and reduced."""
    folder = Folder(tmp_path_factory.mktemp("night"))
    options = [word for option in SMALL for word in ("--set", option)]
    folder.run("visql", "simulate-night", "-o", ".", "--dialect", "observatory", "--seed", "3", *options)
    folder.snakemake("night")
    return folder


@pytest.fixture
def copy(made: Folder, tmp_path: Path) -> Folder:
    """The same, to be changed."""
    shutil.copytree(made.path, tmp_path / "copy")
    return Folder(tmp_path / "copy")


def test_all_that_the_registry_says_is_there(made: Folder) -> None:
    names = {path.relative_to(made.night).as_posix() for path in made.night.rglob("*.fits")}
    lights = [name for name, row in made.frames().items() if row["type"] == "SCIENCE"]
    assert {f"frames/{name}.fits" for name in lights} <= names
    masters = sorted(name for name in names if name.startswith("masters/"))
    assert [name.partition("/")[2].partition("_")[0] for name in masters] == [
        "bad",
        "bad",
        "bias",
        "dark",
        "flat",
        "flat",
    ]
    assert sum(name.startswith("stacks/") for name in names) == 2
    assert all((made.night / name).with_suffix(".png").is_file() for name in names if "frames/" not in name)


def test_every_frame_has_a_status_and_the_odd_dark_is_left_out(made: Folder) -> None:
    rows = made.frames()
    assert len(rows) == len(list((made.path / "raw").iterdir()))
    left = {name: row for name, row in rows.items() if row["status"] != "ok"}
    assert [(row["type"], row["status"]) for row in left.values()] == [("DARK", "odd")]
    (row,) = left.values()
    assert row["reason"]


def test_the_command_that_a_page_shows_makes_the_same_light(made: Folder, tmp_path: Path) -> None:
    name = next(name for name, row in made.frames().items() if row["type"] == "SCIENCE")
    light, raw = made.night / "frames" / f"{name}.fits", next((made.path / "raw").glob(f"{name}.*"))
    words = REGISTRY.values(
        SimpleNamespace(row=SimpleNamespace(file=str(raw)), stem=str(light.with_suffix("")))
    )
    assert words["masters"][::2] == ["--bad-pixels", "--bias", "--dark", "--flat"]
    made.run("visql", "reduce", str(raw), "-o", str(tmp_path), *words["masters"])
    np.testing.assert_array_equal(fits.getdata(tmp_path / f"{name}.fits"), fits.getdata(light))


def test_a_second_run_has_nothing_to_do_and_all_is_well(made: Folder) -> None:
    assert "Nothing to be done" in made.snakemake("night")
    config = made.path / "c.yaml"
    config.write_text("pipeline: reduction\nresults: results\nraw: raw\nreduce: {chunk: 2}\n")
    assert "all well" in made.run("visql", "verify", NIGHT, "--config", str(config))


def test_one_more_light_reduces_only_its_chunk_and_its_stack(copy: Folder) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (copy.night / "frames").glob("*.fits")}
    lights = [name for name, row in copy.frames().items() if row["type"] == "SCIENCE"]
    source = next(path for path in (copy.path / "raw").iterdir() if path.stem == lights[-1])
    with fits.open(source) as hdus:
        hdus[0].header["UT"] = "23:59:00"
        hdus[0].data = hdus[0].data + np.uint16(1)
        hdus.writeto(source.with_name("one-more.fit"))
    plan = jobs(copy.snakemake("night", "-n"))
    assert {k: plan.get(k) for k in ("master_flat", "reduce", "register", "stack")} == {
        "master_flat": None,
        "reduce": 1,
        "register": 1,
        "stack": 1,
    }
    copy.snakemake("night")
    after = {path.name: path.stat().st_mtime_ns for path in (copy.night / "frames").glob("*.fits")}
    assert after.keys() - before.keys() == {"one-more.fits"}
    assert {name for name in before if before[name] != after[name]} == set()


def test_a_flat_that_goes_makes_that_filters_lights_again(copy: Folder) -> None:
    flat = next(name for name, row in copy.frames().items() if row["type"] == "FLAT")
    next(path for path in (copy.path / "raw").iterdir() if path.stem == flat).unlink()
    plan = jobs(copy.snakemake("night", "-n"))
    assert (plan["master_flat"], plan["stack"]) == (1, 1)
    assert "master_dark" not in plan


def test_a_lost_reduced_light_is_missed_and_made_again(copy: Folder) -> None:
    lost = next((copy.night / "frames").glob("*.fits"))
    before = fits.getdata(lost)
    lost.unlink()
    plan = jobs(copy.snakemake("night", "-n"))
    assert plan.pop("reduce_lost") == 1
    assert "reduce" not in plan
    copy.snakemake("night")
    np.testing.assert_array_equal(fits.getdata(lost), before)


def test_what_is_no_good_costs_itself(copy: Folder) -> None:
    """A cut file, a master among the raw frames, a light of another filter, one of another size."""
    raw = copy.path / "raw"
    rows = copy.frames()
    of_type = {kind: [n for n, row in rows.items() if row["type"] == kind] for kind in ("BIAS", "SCIENCE")}
    path_of = {path.stem: path for path in raw.iterdir()}
    bias, light = path_of[of_type["BIAS"][0]], path_of[of_type["SCIENCE"][0]]
    whole = bias.read_bytes()
    bias.write_bytes(whole[: len(whole) // 2])
    shutil.copy(next((copy.night / "masters").glob("flat*.fits")), raw / "old-flat.fits")
    with fits.open(light) as hdus:
        for key in ("FILTER", "FILTERS"):
            if key in hdus[0].header:
                hdus[0].header[key] = "Halpha"
        hdus.writeto(raw / "halpha.fit")
    copy.snakemake("night")
    found = copy.frames()
    assert found["halpha"]["status"] == "uncalibrated"
    assert "no flat with FILTER Halpha" in found["halpha"]["reason"]
    assert found[bias.stem]["status"] != "ok"
    assert found["old-flat"]["status"] != "ok"
    assert found[of_type["SCIENCE"][1]]["status"] == "ok"


def test_wrong_words_are_told_in_a_line(made: Folder) -> None:
    assert "is no night: write YYYYMMDD" in made.snakemake("night", "-n", "nights=2021", code=1)
    assert "No products of 20210301" in made.snakemake("night", "nights=20210301", "results=other")
