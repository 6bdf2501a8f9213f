"""Parse the targets of a snakemake command; build regular expressions that match some of many names."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Collection, Sequence
from itertools import groupby, takewhile
from pathlib import Path

# Options of snakemake that define how to run, not what.
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


def requested_targets(arguments: Sequence[str], default: str) -> frozenset[str] | None:
    """Parse the targets of a snakemake command that only makes, or lists, missing products.

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


def prefix_regex(some: Collection[str], others: Collection[str]) -> str:
    """Build a regular expression that matches some names, whole, and none of others.

    Where all names that begin alike are wanted, or none is, their beginning says so: the
    expression is short where neighbours in time are of one kind. Snakemake reads all of it
    for every file of every job.
    """
    if not some:
        return "(?!)"
    return _branches(sorted(set(some)), sorted(set(others) - set(some)))


def _branches(some: list[str], others: list[str]) -> str:
    """Build the expression of sorted names, at least one."""
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
