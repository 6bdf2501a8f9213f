"""Processes killed at random, disks full, read-only, slow, clocks wrong, two runs at once: real runs of the workflow."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_month import ROOT, Month, stems

from visql_lib.tables import read_meta

pytestmark = [pytest.mark.heavy]

KILLS = 50
SEED = 20241107
LONGEST = 300  # s: no run of the small month takes nearly as long


def environment(**more):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONWARNINGS": ""} | more


def started(month, *arguments, cwd=None, before=(), cores=2, **more):
    """Start snakemake as the leader of a group of processes."""
    where = cwd or month.folder
    command = [*before, sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--configfile", month.config, "--quiet", "rules", "--cores", cores, *arguments]
    with (where / "said.txt").open("a") as said:
        return subprocess.Popen(
            list(map(str, command)),
            cwd=where,
            env=environment(**more),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finished(process, seconds=LONGEST):
    """Wait for a run; return its exit code."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def descendants(pid):
    """Return the processes below one, the nearest first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(c) for c in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def steps_of(pid):
    """Return the running `visql` commands of a run."""
    found = []
    for child in descendants(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"/visql") for word in words[:2]):
            found.append(child)
    return found


def products(month):
    """Return all files under their final names, relative to the results."""
    found = {}
    for path in sorted(month.results.rglob("*")):
        parts = path.relative_to(month.results).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and parts[0] not in ("logs", "benchmarks", "config", "up_to_date"):
            found["/".join(parts)] = path
    return found


def complete(path):
    """Open a product as its reader would; raises where it is cut short."""
    if path.suffix == ".parquet":
        pq.read_table(path)
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix in (".tsv", ".txt", ".csv"):
        assert path.read_text(encoding="utf-8").endswith("\n"), path


def contents(month):
    """Return what each product holds, but for when and where it was made."""
    found = {}
    for name, path in products(month).items():
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            meta = {
                k: v
                for k, v in read_meta(path).items()
                if k in ("product", "stage_version", "exposure", "failed")
            }
            sink = pa.BufferOutputStream()  # bytes: NaN is not NaN, but its bits are
            with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as stream:
                stream.write_table(table.replace_schema_metadata(None))
            found[name] = (sink.getvalue().to_pybytes(), json.dumps(meta, sort_keys=True))
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                found[name] = (picture.size, picture.tobytes())
        elif name.startswith("exposures/") and path.suffix == ".tsv":
            lines = [line.split("\t") for line in path.read_text().splitlines()]
            found[name] = [[line[0], *line[2:17]] for line in lines]  # not where the raw frame lies
        else:
            found[name] = path.read_text()
    return found


def same(one, other):
    """Assert that two months hold the same products."""
    assert list(one) == list(other)
    for name, content in one.items():
        assert content == other[name], name


@pytest.fixture(scope="module")
def small(toy_raw, tmp_path_factory):
    """A long, a short and a FLAT frame; not yet run."""
    made = Month(tmp_path_factory.mktemp("faults"))
    made.raw.mkdir()
    for path in sorted(toy_raw.glob("*.fits")):
        if path.name[2:17] in ("20240712_013000", "20240712_020000", "20240712_021200"):
            shutil.copy2(path, made.raw)
    made.configure()
    return made


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    """What a run that nobody disturbs makes of it."""
    calm = small.copy(tmp_path_factory.mktemp("calm"))
    assert finished(started(calm)) == 0, (calm.folder / "said.txt").read_text()
    assert len(stems(calm, "SCIENCE")) == 2
    return contents(calm)


def kill(process, whom, chance):
    """Kill a step, Snakemake, or everything; say whether there was something to kill."""
    if whom == "step":
        steps = steps_of(process.pid)
        if not steps:
            return False
        os.kill(chance.choice(steps), signal.SIGKILL)
    elif whom == "snakemake":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    return True


def no_orphans(process):
    """Wait until the steps that a killed Snakemake left behind have ended, as they do in the end."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        alive = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False)
        if not alive.stdout.strip():
            return
        time.sleep(0.1)


def test_fifty_kills_at_random_leave_the_products_of_a_calm_run(small, undisturbed, tmp_path):
    chance = random.Random(SEED)
    killed = dict.fromkeys(("step", "snakemake", "machine"), 0)
    rounds = 0
    while sum(killed.values()) < KILLS:
        month = small.copy(tmp_path / f"round{rounds}")
        rounds += 1
        while True:
            process = started(month)
            whom = chance.choice(list(killed))
            # Planning takes some 3 s; later kills meet jobs, now and then there is none left to meet.
            until = time.monotonic() + chance.uniform(1.0, 9.0)
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            if process.poll() is None and sum(killed.values()) < KILLS:
                killed[whom] += kill(process, whom, chance)
            code = finished(process)
            for path in products(month).values():
                complete(path)
            if code == 0:
                break
            if chance.random() < 0.5:  # orphans of a killed Snakemake may still be at work, or not
                no_orphans(process)
        no_orphans(process)
        same(undisturbed, contents(month))
        shutil.rmtree(month.folder)
    assert min(killed.values()) > 5, killed


def mounted(folder, size):
    """Mount a small disk, or skip where one may not."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small disk is not allowed here")


@pytest.fixture
def disk(tmp_path):
    """A folder that is unmounted at the end."""
    folder = tmp_path / "disk"
    yield folder
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def said(month):
    return (month.folder / "said.txt").read_text()


def logs(month):
    return "\n".join(path.read_text() for path in sorted((month.results / "logs").rglob("*.log")))


def test_a_full_disk_stops_what_does_not_fit_and_nothing_half_written_stays(
    small, undisturbed, tmp_path, disk
):
    mounted(disk, "700k")
    month = small.copy(tmp_path / "month")
    month.results = disk / "results"
    month.configure(results=str(month.results))
    assert finished(started(month)) != 0
    assert "No space left" in logs(month) + said(month)
    for path in products(month).values():
        if (
            path.stat().st_size
        ):  # Snakemake's own texts may be empty on a full disk; products are renamed when complete
            complete(path)
    tables = [p for p in products(month).values() if p.suffix == ".parquet"]
    assert not any(read_meta(p).get("failed") for p in tables), "a full disk is not the exposure's fault"
    subprocess.run(["mount", "-o", "remount,size=200M", str(disk)], check=True)
    assert finished(started(month)) == 0, said(month)
    same(undisturbed, contents(month))


def test_results_that_cannot_be_written_are_told_in_a_line(small, tmp_path, disk):
    mounted(disk, "10M")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    month = small.copy(tmp_path / "month")
    month.configure(results=str(disk / "results"))
    assert finished(started(month)) != 0
    lines = [line for line in said(month).splitlines() if "Read-only file system" in line]
    assert len(lines) >= 1, said(month)
    assert str(disk) in lines[0]
    assert "Traceback" not in said(month)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_slow_disk_only_takes_longer(small, undisturbed, tmp_path):
    month = small.copy(tmp_path / "month")
    tool = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2,fsync,mkdir"]
    tool += ["-e", "inject=rename,renameat,renameat2,fsync,mkdir:delay_enter=200000"]
    if subprocess.run([*tool, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    assert finished(started(month, before=tool)) == 0, said(month)
    same(undisturbed, contents(month))


def test_of_two_runs_on_one_folder_of_results_the_second_says_so(small, undisturbed, tmp_path):
    month = small.copy(tmp_path / "month")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    month.configure(raw=str(month.raw), results=str(month.results))
    first = started(month)
    until = time.monotonic() + 60
    while not (month.results / ".run.lock").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    second = started(month, cwd=elsewhere)
    assert finished(second) == 1
    told = (elsewhere / "said.txt").read_text()
    assert "another run is at work" in told
    assert "Traceback" not in told
    assert finished(started(month, "--dry-run", cwd=elsewhere)) == 0, "looking is allowed"
    assert finished(first) == 0, said(month)
    same(undisturbed, contents(month))
    # The lock is gone with its process, however that ended.
    assert finished(started(month, cwd=elsewhere)) == 0


def test_a_clock_that_steps_back_does_not_keep_a_new_frame_out(small, tmp_path):
    month = small.copy(tmp_path / "month")
    assert finished(started(month)) == 0
    tomorrow = time.time() + 86400
    for path in month.results.rglob("*"):  # all was made before the clock was set back by a day
        if path.is_file():
            os.utime(path, (tomorrow, tomorrow))
    assert month.missing() == {}
    frame = next(month.raw.glob("*_020000_*.fits"))
    data = bytearray(frame.read_bytes())
    data[-4000] ^= 1  # the same size, another pixel, an older clock
    frame.write_bytes(data)
    os.utime(frame, (time.time() - 86400,) * 2)
    jobs = month.missing()
    assert {"catalog": 1, "stars": 1, "moments": 1, "image_quality": 1}.items() <= jobs.items()
    assert finished(started(month)) == 0
    assert month.missing() == {}


def test_too_little_memory_fails_the_job_not_the_exposure(small, undisturbed, tmp_path):
    month = small.copy(tmp_path / "month")
    frame = next(month.raw.glob("*_020000_*.fits"))
    stem, folder = frame.stem, tmp_path / "one"
    command = ["visql", "catalog", frame, "-o", folder / f"{stem}.cat.parquet", "--record-failure"]
    failed = 0
    for limit in range(500, 300, -50):  # MB of addresses; how many suffice is up to the libraries
        done = subprocess.run(
            list(map(str, ["prlimit", f"--as={limit}000000", *command, "--config", month.config])),
            env=environment(OPENBLAS_NUM_THREADS="1"),
            capture_output=True,
            text=True,
            check=False,
        )
        failed += done.returncode != 0
        made = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
        assert not any("failed" in read_meta(path) for path in made), "no table says that the exposure is bad"
        assert bool(made) == (done.returncode == 0), done.stderr
        for path in made:
            path.unlink()
    assert failed
