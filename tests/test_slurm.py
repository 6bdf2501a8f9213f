"""A month on a real cluster: a Slurm that these tests start, by the README's and the docs' own words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import slurm_cluster
from test_docs import blocks
from toy_month import ROOT, Month

from visql_lib.frames import Instrument
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate.plan import exposures_of

pytestmark = [pytest.mark.heavy]

LIMIT = 600  # s: no run may hang; on a quiet machine one takes about a minute


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm of one node."""
    if reason := slurm_cluster.obstacle():
        pytest.skip(reason)
    with slurm_cluster.cluster():
        yield


@pytest.fixture
def queue(slurm: None) -> Iterator[None]:
    """The Slurm with an empty queue."""
    yield
    slurm_cluster.clear()


@pytest.fixture(scope="module")
def frames(toy: Instrument, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a long and a short exposure of the toy camera."""
    common = {"seed": 7, "sky": {"stars": 12.0}, "radiation": {"cosmics": 0.3}}
    exposures = [
        {"type": "long", "date": "2024-07-12T02:00:00"},
        {"type": "short", "date": "2024-07-12T02:12:00"},
    ]
    folder = tmp_path_factory.mktemp("frames")
    make_frames(exposures_of({"common": common, "exposures": exposures}, "toy"), toy, folder)
    return folder


@pytest.fixture(scope="module")
def here(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """Their month, run on this machine."""
    made = new_month(frames, tmp_path_factory.mktemp("here"))
    code, said = made.run("--quiet", "rules")
    assert code == 0, said
    return made


def new_month(frames: Path, folder: Path) -> Month:
    """Return a month of some frames, not yet run."""
    month = Month(folder)
    shutil.copytree(frames, month.raw)
    month.configure()
    return month


def files_of(page: str, month: Month, heading: str) -> None:
    """Write the files that a section of a page tells to write."""
    text = (ROOT / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    for block in blocks(text):
        if block.mark.startswith("file: "):
            (month.folder / block.mark.removeprefix("file: ")).write_text(block.text)


class Run:
    """Snakemake at work on a cluster, ended with all it started when it takes too long."""

    def __init__(self, month: Month, profile: str, *arguments: str):
        command = ["timeout", "-k", "10", str(LIMIT), sys.executable, "-m", "snakemake", *arguments]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(month.config)]
        command += ["--profile", "cluster.yaml", "--workflow-profile", profile]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._said = month.folder / "said.txt"
        with self._said.open("w") as out:
            self._process = subprocess.Popen(
                command,
                cwd=month.folder,
                env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """What it said so far."""
        return self._said.read_text()

    def wait_for(self, there: Callable[[], object]) -> object:
        """Wait until something is there; return it."""
        while not (found := there()):
            assert self._process.poll() is None, self.said
            time.sleep(0.5)
        return found

    def end(self) -> str:
        """Wait for its end, which must be a good one; return what it said."""
        assert self._process.wait(LIMIT + 30) == 0, self.said
        return self.said

    def kill(self) -> None:
        """End it, if it is not at its end."""
        self._process.terminate()  # `timeout` passes it on, and kills ten seconds later
        self._process.wait(30)


@contextmanager
def running(month: Month, profile: str, *arguments: str) -> Iterator[Run]:
    """Have Snakemake run, and not for longer than the test."""
    run = Run(month, profile, *arguments)
    try:
        yield run
    finally:
        run.kill()


SLURM = ("slurm", "--slurm-init-seconds-before-status-checks", "5")


@pytest.fixture
def month(queue: None, frames: Path, tmp_path: Path) -> Month:
    """The same month, not yet run, with the README's file for a cluster."""
    made = new_month(frames, tmp_path / "there")
    files_of("README.md", made, "Run a month on a cluster")
    return made


def tables(month: Month) -> dict[str, bytes]:
    """Return the content of all tables: their data without what tells when and by whom they were made."""
    content = {}
    for path in sorted(month.results.rglob("*")):
        name = str(path.relative_to(month.results))
        if path.name.startswith(".part-"):  # what a killed job was just writing: under no product's name
            continue
        if path.suffix == ".parquet":
            table = pq.read_table(path).replace_schema_metadata(None).combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            content[name] = sink.getvalue().to_pybytes()
        elif path.suffix == ".tsv" and "benchmarks" not in path.parts:
            content[name] = path.read_bytes()
    return content


def assert_same_tables(here: Month, there: Month, part: str = "") -> None:
    """Check that tables made here and there hold the same data, bit for bit."""
    expected, found = tables(here), tables(there)
    assert set(found) <= set(expected)
    if not part:
        assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert "months/202407/psfmoments_202407.parquet" in found


def test_a_month_on_slurm_gives_the_same_tables(here, month):
    with running(month, *SLURM) as run:
        (first,) = run.wait_for(lambda: slurm_cluster.jobs("running"))
        chunk = slurm_cluster.job(first)
        said = run.end()
    assert_same_tables(here, month)
    assert month.missing() == {}
    # Two exposures travelled in one job: one core, the memory of one step, the time of all of them.
    assert said.count("Submitted") + said.count("has been submitted") == 3  # exposures, month, last days
    assert (chunk["Partition"], chunk["NumCPUs"]) == ("main", "1")
    assert "mem=1500M" in chunk["TRES"]
    hours, minutes, _ = map(int, chunk["TimeLimit"].split(":"))
    assert 2 * 5 <= 60 * hours + minutes <= 2 * 10


def test_a_killed_job_is_tried_again_with_more_memory(here, month):
    with running(month, *SLURM, "quality") as run:
        run.wait_for(lambda: list(month.results.rglob("*.cat.parquet")))
        (first,) = slurm_cluster.jobs("running")
        slurm_cluster.command("scancel", first)
        said = run.end()
    assert slurm_cluster.job(first)["JobState"] == "CANCELLED"
    assert "Trying to restart job" in said
    # What the killed job said is kept where the README says.
    assert list((month.results / "logs" / "slurm").rglob(f"{first}.log"))
    second = slurm_cluster.job(first + 1)
    assert (second["JobState"], second["Comment"]) == ("COMPLETED", slurm_cluster.job(first)["Comment"])
    assert "mem=3000M" in second["TRES"]
    assert_same_tables(here, month, "quality")


def test_a_drained_node_delays_the_month_only(here, month):
    with running(month, *SLURM, "quality") as run:
        (first,) = run.wait_for(lambda: slurm_cluster.jobs("running"))
        slurm_cluster.node_is("drain")
        # The job that runs comes to its end; the next has nowhere to run.
        (second,) = run.wait_for(lambda: slurm_cluster.jobs("pending"))
        assert slurm_cluster.job(first)["JobState"] == "COMPLETED"
        time.sleep(6)
        assert slurm_cluster.jobs("pending") == [second]
        slurm_cluster.node_is("resume")
        run.end()
    assert_same_tables(here, month, "quality")


def test_a_month_on_any_cluster(here, month):
    """With commands for submitting and asking instead of an executor that knows Slurm."""
    files_of("docs/workflow.md", month, "Profiles")
    with running(month, "cluster-generic", "quality") as run:
        run.wait_for(lambda: list(month.results.rglob("*.cat.parquet")))
        (first,) = slurm_cluster.jobs("running")
        slurm_cluster.command("scancel", first)
        said = run.end()
    assert "Trying to restart job" in said
    assert "mem=3000M" in slurm_cluster.job(first + 1)["TRES"]
    assert list((month.results / "logs" / "jobs").glob(f"{first}.log"))
    assert_same_tables(here, month, "quality")
