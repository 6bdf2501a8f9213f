"""Locks of runs: one at a time on a folder of results; what a killed run left does not stop the next."""

import os
import subprocess
import sys
import time

import pytest

from visql_lib.errors import ConfigError
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.workflow.run_lock import lock_results, remove_stale_lock


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The locks of a killed run on `results`, and of a run on `other`, as Snakemake writes them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".snakemake" / "locks"
    folder.mkdir(parents=True)
    (folder / "0.input.lock").write_text("raw/a.fits\nresults/exposures/202407.tsv\n")
    (folder / "0.output.lock").write_text("results/a.cat.parquet\nresults/b.cat.parquet\n")
    (folder / "1.output.lock").write_text("results2/a.cat.parquet\nother/a.cat.parquet\n")
    return folder


def test_what_killed_steps_left_is_removed_when_nobody_writes_it_any_more(tmp_path):
    folder = tmp_path / "exposures" / "202407" / "E"
    folder.mkdir(parents=True)
    for name in (".part-old-E.png", ".part-new-E.png", "E.png", ".E.txt.json"):
        (folder / name).touch()
        if "new" not in name:
            os.utime(folder / name, (time.time() - 3700,) * 2)
    lock_results(tmp_path, MONTHS.folders(tmp_path, "202407")).release()
    assert names(folder) == [".E.txt.json", ".part-new-E.png", "E.png"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_lock_of_a_killed_run_is_removed_that_of_other_results_stays(locks, tmp_path, caplog):
    remove_stale_lock(tmp_path / "results")
    assert names(locks) == ["1.output.lock"]
    assert "an earlier run was killed" in caplog.text
    caplog.clear()
    remove_stale_lock(tmp_path / "results")
    assert caplog.text == ""
    held = lock_results(tmp_path / "results")
    held.release()


def test_the_lock_of_a_run_at_work_stays(locks, tmp_path):
    code = (
        "import sys; from pathlib import Path; from visql_lib.workflow.run_lock import lock_results; "
        "held = lock_results(Path('results')); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        remove_stale_lock(tmp_path / "results")
        assert names(locks) == ["0.input.lock", "0.output.lock", "1.output.lock"]
        with pytest.raises(ConfigError, match="another run is at work"):
            lock_results(tmp_path / "results")
        other.kill()
    remove_stale_lock(tmp_path / "results")
    assert names(locks) == ["1.output.lock"]
