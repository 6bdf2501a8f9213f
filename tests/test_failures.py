"""A failed step leaves no old number standing: the next run makes what is missing and stale, and no other number.

Real runs of the workflow, whose commands fail one after the other: exit code 1, a full disk, a kill.
"""

import base64
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from failing_visql import HOW, install
from toy_month import Month

from visql_lib.simulate.goes import Flare, GoesDay, write_goes_day
from visql_lib.tables import read_table

# Steps by what they wait for: those of one line can fail in one run.
STEPS = (
    ("catalog", "preview", "gaia-tile", "goes-day"),
    ("stars", "detector", "radiation"),
    ("moments", "plate-solve"),
    ("quality", "gaia-match", "pictures", "angles"),
    ("quality-pictures", "geometry", "status", "month-radiation"),
    ("ratios", "movie", "performance"),
    ("trend", "ratio-pictures", "ratio-sheets"),
    ("month-trend",),
    ("qc",),
)
ALL_PARTS = {
    "parts": ["gaia", "radiation", "movies", "performance"],
    "gaia": {"sources": "folder", "folder": "raw/truth"},
    "goes": {"sources": "folder", "folder": "goes", "refresh": 1, "final_after": 1e5},
}
# Every step has other numbers, or pictures, under the other settings.
OTHER = {
    "catalog": {"threshold": 3.0},
    "preview": {"zscale_contrast": 0.3},
    "moments": {"iterations": 6},
    "pictures": {"dpi": 80},
}
# When something was made, and where it lies, differs from run to run.
DATED = ("MADE", "LATENCY")


def run(month, *targets, faults=(), before=()):
    """Run the workflow, steps failing as told; return its exit code, what it said, and the steps that did fail."""
    failed = month.folder / "failed.txt"
    failed.write_text("")
    told = {"VISQL_FAULTS": ",".join(faults), "VISQL_FAILED": str(failed)}
    code, said = month.run(
        *targets, "--quiet", "rules", before=before, path=[install(month.folder / "bin")], **told
    )
    return code, said, set(failed.read_text().split())


def verified(month):
    """Return what `visql verify` says."""
    command = [Path(sys.executable).parent / "visql", "verify", "202407", "--config", month.config]
    done = subprocess.run(
        list(map(str, command)), cwd=month.folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def tables(month):
    """Return the columns of all tables, as bytes: NaN is not NaN, but its bits are."""
    found = {}
    for path in sorted(month.results.rglob("*.parquet")):
        if not path.name.startswith("."):
            table = read_table(path)
            columns = {n: np.ascontiguousarray(c).tobytes() for n, c in table.items() if n not in DATED}
            found[str(path.relative_to(month.results))] = columns
    return found


def same_tables(month, wanted):
    """Check that a month's tables are those of another, in every value."""
    found = tables(month)
    assert list(found) == list(wanted)
    for name, columns in wanted.items():
        assert found[name] == columns, name


def fail_all(month, seed, idle=()):
    """Let every step fail once, in one way or another, one line of STEPS after the other; then run to the end.

    Those that are `idle` have nothing to do.
    """
    chance = random.Random(seed)
    for line in STEPS:
        faults = {f"{step}:{chance.choice(HOW)}" for step in line if step not in idle}
        targets = ("month", "site") if line == STEPS[-1] else ()
        code, said, failed = run(month, *targets, faults=faults)
        assert code != 0, (line, said)
        assert failed == faults, said
    # Pages that were asked for are there although a step failed, and say so.
    assert "qc_202407" in (month.results / "site" / "missing.html").read_text()
    left = list(month.results.rglob(".part-*"))
    assert left, "no step was killed while it wrote"
    for path in left:
        os.utime(path, (path.stat().st_mtime - 7200,) * 2)
    code, said, _ = run(month, "month", "site")
    assert code == 0, said
    pages = (month.results / "site" / "index.html").stat().st_mtime
    late = [p for p in month.results.rglob("*.p*") if p.stat().st_mtime > pages and "site" not in p.parts]
    assert late == [], "the pages were made before the products"
    alerts = json.loads((month.results / "site" / "alerts.json").read_text())["alerts"]
    # It was opened when pages were written after a failure, and is over.
    assert [a["state"] for a in alerts if a["metric"] == "month_missing"] == ["closed"]
    assert "all well" in verified(month), verified(month)


@pytest.fixture(scope="module")
def small(toy_raw, tmp_path_factory):
    """A long, a FLAT and a BIAS frame; not yet run."""
    if shutil.which("solve-field") is None:
        pytest.skip("astrometry.net is not installed")
    made = Month(tmp_path_factory.mktemp("failures"))
    made.raw.mkdir()
    for path in sorted(toy_raw.glob("*.fits")):
        if path.name[2:17] in ("20240712_010000", "20240712_013000", "20240713_020000"):
            shutil.copy2(path, made.raw)
    shutil.copytree(toy_raw / "truth", made.raw / "truth")
    write_goes_day(GoesDay(date(2024, 7, 13), flares=[Flare(3.6, "M5.3")]), made.folder / "goes")
    made.configure(**ALL_PARTS, ratios={"gain": "none"})
    return made


@pytest.fixture(scope="module")
def calm(small, tmp_path_factory):
    """The month as runs that nobody disturbs make it: with the settings as they are, then with the others."""
    month = small.copy(tmp_path_factory.mktemp("calm"))
    assert run(month)[0] == 0
    first = month.copy(tmp_path_factory.mktemp("first"))
    other = small.copy(tmp_path_factory.mktemp("other"))
    other.configure(**ALL_PARTS, ratios={"gain": "none"}, **OTHER)
    assert run(other)[0] == 0
    return first, other


@pytest.mark.heavy
def test_from_scratch_every_step_may_fail_once(small, calm, tmp_path):
    month = small.copy(tmp_path / "m")
    fail_all(month, 1)
    same_tables(month, tables(calm[0]))


@pytest.mark.heavy
def test_from_a_finished_month_every_step_may_fail_once(small, calm, tmp_path):
    month = calm[0].copy(tmp_path / "m")
    month.configure(**ALL_PARTS, ratios={"gain": "none"}, **OTHER)
    fail_all(month, 2, idle=("gaia-tile", "goes-day"))  # their questions stay the same
    same_tables(month, tables(calm[1]))
    assert tables(calm[0]) != tables(calm[1])


# Every rule waits for all it reads.


class Traced:
    """What the commands of a run opened, as strace noted it: a file for each process."""

    def __init__(self, folder):
        self.opened, self.children, self.commands = {}, {}, {}
        for path in folder.glob("trace.*"):
            pid = int(path.suffix[1:])
            text = path.read_text(errors="replace")
            # Only what was opened to be read, and was there.
            found = re.findall(r'^open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", ([A-Z_|]+)[^)]*\) = \d', text, re.M)
            self.opened[pid] = {name for name, how in found if "O_RDONLY" in how and "O_DIRECTORY" not in how}
            self.children[pid] = [int(n) for n in re.findall(r"^(?:v?fork|clone3?)\(.* = (\d+)$", text, re.M)]
            for words in re.findall(r"^execve\(\"[^\"]*\", \[(.*)\], .*\) = 0$", text, re.M):
                argv = json.loads(f"[{words}]")
                place = next((i for i, word in enumerate(argv[:3]) if word.endswith("visql")), None)
                if place is not None:
                    self.commands[pid] = tuple(argv[place + 1 :])

    def read_by(self, pid):
        """Return what a process and those it started opened."""
        found = set(self.opened.get(pid, ()))
        for child in self.children.get(pid, ()):
            found |= self.read_by(child)
        return found


def jobs_of(month):
    """Return what Snakemake noted of each job: command -> (products, inputs)."""
    found = {}
    for path in (month.folder / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            product = base64.b64decode(
                str(path.relative_to(month.folder / ".snakemake" / "metadata"))
            ).decode()
            command = shlex.split(record["shellcmd"].split(" >")[0])
            products, _ = found.setdefault(tuple(command[1:]), (set(), record["input"]))
            products.add(product)
    return found


def waited_for(inputs, makers):
    """Return all files that are there when some inputs are: they, what is made with them, and what those wait for."""
    found, new = set(), list(inputs)
    while new:
        path = new.pop()
        if path not in found:
            found.add(path)
            products, others = makers.get(path, ((), ()))
            new += [*products, *others]
    return found


def is_product(name):
    """Say whether a file is one that a rule makes, or a raw frame."""
    parts = Path(name).parts
    kept = ("config", "logs", "benchmarks", "movies", "watch", "up_to_date", "site")
    if parts[0] != "results" or parts[1] in kept or (parts[1] == "exposures" and len(parts) == 3):
        return parts[0] == "raw" and name.endswith(".fits")
    return not parts[-1].startswith((".part-", ".run")) and not parts[-1].endswith((".lock", ".down"))


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_rule_waits_for_all_it_reads(small, tmp_path):
    month = small.copy(tmp_path / "m")
    notes = tmp_path / "notes"
    notes.mkdir()
    tool = ["strace", "-f", "-ff", "-qq", "-s", "4000", "-o", str(notes / "trace")]
    tool += ["-e", "trace=open,openat,execve,clone,clone3,fork,vfork"]
    if subprocess.run([*tool, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    code, said, _ = run(month, "month", "legacy", before=tool)
    assert code == 0, said
    traced, jobs = Traced(notes), jobs_of(month)
    makers = {path: job for job in jobs.values() for path in job[0]}
    seen, unasked = set(), {}
    for pid, command in traced.commands.items():
        if command not in jobs:  # a shell that looks for it
            continue
        seen.add(command[0])
        products, inputs = jobs[command]
        allowed = waited_for(inputs, makers) | products
        names = {
            os.path.normpath(os.path.relpath(name, month.folder) if name[0] == "/" else name)
            for name in traced.read_by(pid)
        }
        # A record beside a product is part of it.
        read = {re.sub(r"/\.([^/]+)\.json$", r"/\1", name) for name in names if is_product(name)}
        assert read or command[0] in ("gaia-tile", "goes-day"), command
        for name in read - allowed:
            own = any(name.startswith(f"{product}/") for product in products)  # in a folder that it fills
            if not own and not (month.folder / name).is_dir():
                unasked.setdefault(command[0], set()).add(name)
    assert unasked == {}
    assert seen >= {step for line in STEPS for step in line} - {"gaia-tile", "goes-day"}
