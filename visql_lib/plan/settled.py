"""Exposures that a run left complete: until something changes, no job is planned for them.

Snakemake looks at every product of a job to find that there is nothing to do, which is
most of what planning a month costs. After a run, a mark of each exposure whose jobs are all
done is kept: what its products are (names, sizes, times), and what they were made from. The next
plan leaves out the jobs of exposures whose marks still hold; Snakemake takes their products
for files that are there. Anything else, and Snakemake judges for itself: other settings,
stage versions or rules, a changed, new or missing file, a target that was not yet made, a
run that is asked for more than to make what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from visql_lib import __version__
from visql_lib.atomic import atomic_path
from visql_lib.config.load import digest
from visql_lib.plan.core import Plan
from visql_lib.tables.sheet import USABLE, SheetRow

log = logging.getLogger(__name__)

# Options of snakemake that say how to run, not what.
_HOW = frozenset(
    """
    targets dryrun profile workflow_profile snakefile configfile config cores jobs local_cores resources
    set_threads max_threads set_resources default_resources keep_going executor rerun_incomplete scheduler
    groups group_components printshellcmds nocolor quiet verbose latency_wait max_jobs_per_timespan
    max_jobs_per_second max_status_checks_per_second seconds_between_status_checks retries show_failed_logs
    logger jobname software_deployment_method use_conda conda_prefix conda_frontend
    """.split()  # noqa: SIM905
)
_OF_CLUSTERS = ("slurm_", "cluster_generic_")


def targets_of(arguments: Sequence[str], default: str) -> frozenset[str] | None:
    """Return the targets of a command of snakemake that only makes, or shows, what is missing.

    Parameters
    ----------
    arguments : sequence of str
        The command, its name first.
    default : str
        What it makes where no target is named.

    Returns
    -------
    frozenset of str or None
        None if it is no such command: one that forces, reports, lists, deletes.
    """
    from snakemake.cli import get_argument_parser, parse_args
    from snakemake.exceptions import CliException

    if Path(arguments[0]).name not in ("snakemake", "__main__.py"):
        return None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            given = vars(parse_args(list(arguments[1:]))[1])
            usual = vars(get_argument_parser().parse_args([]))
    except (SystemExit, CliException, OSError, ValueError):  # a command that snakemake took otherwise
        return None
    asked = {name for name, value in given.items() if value != usual.get(name)}
    if any(name not in _HOW and not name.startswith(_OF_CLUSTERS) for name in asked):
        return None
    return frozenset(given["targets"] or (default,))


def told_apart(some: Collection[str], others: Collection[str]) -> str:
    """Return a regular expression that matches some names, whole, and none of others.

    Where all names that begin alike are wanted, or none is, their beginning says so: the
    expression is short where neighbours in time are of one kind. Snakemake reads all of it
    for every file of every job.
    """
    if not some:
        return "(?!)"
    return _branches(sorted(set(some)), sorted(set(others) - set(some)))


def _branches(some: list[str], others: list[str]) -> str:
    """Return the expression of sorted names, of which there is one at least."""
    if not others:
        return "[^/]*"
    # Of sorted names, all others begin with what the first and the last have in common.
    first, last = min(some[0], others[0]), max(some[-1], others[-1])
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    shared = "".join(letter for letter, _ in pairs)
    rivals = {letter: list(group) for letter, group in groupby(others, lambda name: name[: len(shared) + 1])}
    found = []
    for begin, group in groupby(some, lambda name: name[: len(shared) + 1]):
        letter = begin[len(shared) :]
        rest = [name[len(begin) :] for name in group]
        other = [name[len(begin) :] for name in rivals.get(begin, ())] if letter else []
        found.append(re.escape(letter) + _branches(rest, other) if letter else "")
    return f"{re.escape(shared)}(?:{'|'.join(found)})"


class Settled:
    """The marks of a plan's exposures.

    Parameters
    ----------
    plan : Plan
        The plan, made just now.
    targets : collection of str or None
        What is to be made; None: nothing is left out and nothing kept.
    rules : iterable of Path
        The files of the workflow: where they change, no mark holds.
    """

    def __init__(self, plan: Plan, targets: Collection[str] | None, rules: Iterable[Path]) -> None:
        # A path among the targets is for Snakemake: it must find the rule that makes it.
        by_name = targets is not None and not any("/" in t or "." in t for t in targets)
        self._plan, self._targets = plan, frozenset(targets or ()) if by_name else frozenset()
        self._key = self._common(rules) if self._targets else ""
        self._sources = dict(self._outside()) if self._targets else {}
        self._known = {month: self._read(month) for month in plan.months} if self._targets else {}

    @cached_property
    def exposures(self) -> frozenset[str]:
        """The exposures that need no jobs."""
        return frozenset(
            exposure
            for month, known in self._known.items()
            for exposure, (mark, targets) in known.items()
            if self._targets <= set(targets) and mark == self._mark(month, exposure)
        )

    def keep(self, unfinished: Collection[str] = ()) -> None:
        """Keep the marks of the exposures that are complete, at the end of a run.

        Parameters
        ----------
        unfinished : collection of str
            Exposures with jobs that failed, or were not begun.
        """
        for month, known in self._known.items():
            marks = {}
            for row in self._rows(month):
                mark, targets = self._mark(month, row.exposure), set(self._targets)
                if mark is not None and row.exposure not in unfinished:
                    before = known.get(row.exposure, ("", ()))
                    targets |= set(before[1]) if mark == before[0] else set()
                    marks[row.exposure] = [mark, sorted(targets)]
            self._write(month, marks)

    def _common(self, rules: Iterable[Path]) -> str:
        """Return what changes with anything that all exposures have in common."""
        plan = self._plan
        texts = [Path(path).read_text(encoding="utf-8") for path in sorted(rules)]
        settings = plan.settings.model_dump(mode="json", exclude={"months"})
        installed = str(plan.radiation.installed)
        return digest(settings, plan.instrument, plan.registry.versions, __version__, installed, *texts)

    def _rows(self, month: str) -> Iterator[SheetRow]:
        return (row for row in self._plan.sheets[month] if row.status in USABLE)

    def _outside(self) -> Iterator[tuple[tuple[str, str], tuple[str, dict[str, str]]]]:
        """Yield, for each exposure, its row and the state of the other files it is made from, as of now."""
        plan = self._plan
        for month in plan.months:
            pointed = set(plan.gaia.pointed(month))
            for row in self._rows(month):
                others = plan.radiation.goes_days(month, row.exposure)
                if row.exposure in pointed:
                    others = [*others, *plan.gaia.tiles(month, row.exposure)]
                yield (month, row.exposure), (str(row), {path: _stat(path) for path in others})

    def _mark(self, month: str, exposure: str) -> str | None:
        """Return what changes with anything an exposure is, or is made from; None if it is not there."""
        folder = Path(self._plan.stem(month, exposure)).parent
        if (month, exposure) not in self._sources or not folder.is_dir():
            return None
        row, others = self._sources[month, exposure]
        found = hashlib.sha256(row.encode())
        for path, state in others.items():
            # One that came since the plan was made came before the products it was made for.
            found.update(f"{path} {state or _stat(path)}\n".encode())
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                found.update(f"{entry.name} {_stat(entry.path)}\n".encode())
        found.update(_stat(self._plan.tiles_of(month, exposure)).encode())
        return found.hexdigest()[:20]

    def _path(self, month: str) -> Path:
        return Path(self._plan.settings.results) / "settled" / f"{month}.json"

    def _write(self, month: str, marks: Mapping[str, Any]) -> None:
        try:
            with atomic_path(self._path(month)) as temporary:
                temporary.write_text(json.dumps({"key": self._key, "exposures": marks}), encoding="utf-8")
        except OSError as error:  # a full disk: the run itself has ended well
            log.warning(
                "%s: cannot be written (%s); everything is looked at", self._path(month), error.strerror
            )

    def _read(self, month: str) -> dict[str, tuple[str, list[str]]]:
        try:
            found = json.loads(self._path(month).read_text(encoding="utf-8"))
            if found["key"] != self._key:
                return {}
            return {name: (mark, list(targets)) for name, (mark, targets) in found["exposures"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s: cannot be used (%s); everything is looked at", self._path(month), error)
            return {}


def _stat(path: str) -> str:
    """Return size and time of a file; "" if it is not there."""
    try:
        stat = Path(path).stat()
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns}"
