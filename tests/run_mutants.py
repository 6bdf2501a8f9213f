"""Change the code in one line after the other and see that a test fails each time: `make mutants`.

Every entry of ``tests/mutants.yaml`` names a file, what stands there (``before``, exactly
once), what stands there instead (``after``), what that would mean (``why``), and the test
that must fail. The changes are made in a copy of the project, one at a time. A test has
found a change if an assertion of its fails; where it ends in another way, such as an import
that fails, nothing is proved.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutants.yaml"
CAUGHT, SURVIVED, UNPROVED, STALE = "caught", "SURVIVED", "UNPROVED", "STALE"
_COPIED = ("visql_lib", "tests", "config", "workflow", "Snakefile", "pyproject.toml")
# This room is compiled and kept beside its files: what is compiled of a change is kept elsewhere.
_COMPILED = "visql_lib/sources/"
_PATIENCE = 600  # s, for one test


@dataclass(frozen=True)
class Mutant:
    """One change of the code, and the test that must fail with it."""

    name: str
    file: str
    before: str
    after: str
    why: str
    test: str

    def stale(self, root: Path) -> str:
        """Return why the change cannot be made, or its test not be run; "" if all is well."""
        path, (test_file, _, test) = root / self.file, self.test.partition("::")
        if not path.is_file():
            return f"there is no {self.file}"
        found = path.read_text(encoding="utf-8").count(self.before)
        if found != 1 or self.before == self.after:
            return f"{self.file}: {self.before!r} occurs {found} times"
        if not (root / test_file).is_file() or test.partition("[")[0] not in functions(root / test_file):
            return f"there is no test {self.test}"
        return ""


def functions(path: Path) -> set[str]:
    """Return the names of the functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def mutants_of(path: Path = LIST) -> list[Mutant]:
    """Read the list."""
    return [Mutant(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]


@contextmanager
def changed(root: Path, mutant: Mutant) -> Iterator[None]:
    """Make a change, and take it back with the file's time, so that what was compiled for it holds."""
    path = root / mutant.file
    stat, text = path.stat(), path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def run_tests(
    root: Path, tests: Iterable[str], more: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, str]:
    """Run tests of the copy; return the verdict on a change, and the message it rests on.

    `more` is added to the environment.
    """
    report = root / "report.xml"
    report.unlink(missing_ok=True)
    # What Python compiles must not be kept: a change within a second may have the old size. Plugins that
    # these tests do not need take as long to start as the tests themselves.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment |= {"PYTHONPATH": str(root), **more}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=", f"--junitxml={report}", *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return UNPROVED, f"not done after {_PATIENCE} s"
    if not report.is_file():
        return UNPROVED, done.stdout[-300:] + done.stderr[-300:]
    return verdict(report.read_text(encoding="utf-8"), done.returncode)


def verdict(report: str, code: int) -> tuple[str, str]:
    """Return what a report of pytest (JUnit) says about a change, and its message."""
    root = ET.fromstring(report)  # written by pytest, just now
    failures = [e.get("message", "") for e in root.iter("failure")]
    others = [e.get("message", "") for kind in ("error", "skipped") for e in root.iter(kind)]
    if failures and not others and failures[0].startswith(("assert", "AssertionError", "Failed: ")):
        return CAUGHT, " ".join(failures[0].split())[:100]
    if failures or others or code or not list(root.iter("testcase")):
        return UNPROVED, " ".join([*others, *failures, f"pytest ended with {code}"])[:300]
    return SURVIVED, ""


def copy_of(root: Path, folder: Path) -> Path:
    """Copy the project, compiled code and times of its files included."""
    copy = folder / "visql"
    copy.mkdir()
    for name in _COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        elif source.is_file():
            shutil.copy2(source, copy / name)
    return copy


def judge(root: Path, mutant: Mutant) -> tuple[str, str]:
    """Return the verdict on one change, made in the copy `root`, and a message."""
    if reason := mutant.stale(root):
        return STALE, reason
    with changed(root, mutant), tempfile.TemporaryDirectory(prefix="visql_compiled_") as folder:
        more = {"NUMBA_CACHE_DIR": folder} if mutant.file.startswith(_COMPILED) else {}
        return run_tests(root, [mutant.test], more)


def main(arguments: Sequence[str]) -> int:
    """Try all changes, or those named; return 1 if one is not caught."""
    chosen = [m for m in mutants_of() if not arguments or m.name in arguments]
    if unknown := sorted(set(arguments) - {m.name for m in chosen}):
        print(f"tests/mutants.yaml has no {', '.join(unknown)}")
        return 2
    began, found = time.monotonic(), dict.fromkeys((CAUGHT, SURVIVED, UNPROVED, STALE), 0)
    with tempfile.TemporaryDirectory(prefix="visql_mutants_") as name:
        root = copy_of(ROOT, Path(name))
        tests = sorted({m.test for m in chosen if not m.stale(root)})
        before, message = run_tests(root, tests) if tests else (SURVIVED, "")
        if before != SURVIVED:  # a test that fails anyway proves nothing
            print(f"without any change: {message}")
            return 1
        for mutant in chosen:
            what, message = judge(root, mutant)
            found[what] += 1
            print(f"{what:8}  {mutant.name}: {message if what != SURVIVED else mutant.test}", flush=True)
    told = ", ".join(f"{number} {what.lower()}" for what, number in found.items() if number)
    print(f"{len(chosen)} changes: {told}; {time.monotonic() - began:.0f} s")
    return int(found[CAUGHT] != len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
