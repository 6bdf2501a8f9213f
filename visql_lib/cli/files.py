"""Arguments and options of the commands that work on lists of files, and how they treat each file."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from visql_lib import run_record
from visql_lib.cli.common import progress, verbose_option
from visql_lib.errors import FrameError, VisqlError

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
T = TypeVar("T")

log = logging.getLogger(__name__)

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace results that are already there.")
ALLOW_EMPTY = click.option(
    "--allow-empty", is_flag=True, help="A part of the list may match nothing; else that is an error."
)

LIST_HELP = """LIST is one or several words, each of one or several parts with commas between: a name, a
glob, a range such as b.{0041..0050}.fit, @list.txt (a file with one part per line), or !part, which is
taken out again."""


def file_step(name: str, help_text: str, example: str) -> Callable[[F], click.Command]:
    """Make a function a subcommand that needs no settings: help with an example, and ``--verbose``."""

    def decorate(function: F) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            with run_record.recording(name):
                return function(*args, **options)

        return click.command(name, help=help_text, epilog=f"\b\nExample:\n  {example}")(verbose_option(run))

    return decorate


def list_argument(*, required: bool = True) -> Callable[[F], F]:
    """Add the list of files, and ``--allow-empty``."""

    def decorate(function: F) -> F:
        argument = click.argument("words", nargs=-1, required=required, metavar="LIST...")
        return argument(ALLOW_EMPTY(function))

    return decorate


def region_options(function: F) -> F:
    """Add ``--region``, ``-b`` and ``-B``; see `region_of`."""
    text = click.option(
        "--region", metavar="'[x1:x2,y1:y2]'", help="Region: from 1, both ends included; perhaps with ,z1:z2."
    )
    flat = click.option(
        "-b", "box", type=int, nargs=4, metavar="XMIN XMAX YMIN YMAX", help="Region: from 0, half open."
    )
    cube = click.option(
        "-B",
        "cube",
        type=int,
        nargs=6,
        metavar="XMIN XMAX YMIN YMAX ZMIN ZMAX",
        help="Region of a cube: from 0, half open.",
    )
    return text(flat(cube(function)))


def region_of(region: str | None, box: tuple[int, ...] | None, cube: tuple[int, ...] | None) -> Any:
    """Return the `Region` that the options name, None for the whole image.

    Raises
    ------
    click.UsageError
        If more than one is named.
    """
    from visql_lib.images.regions import Region

    if sum(value is not None for value in (region, box, cube)) > 1:
        raise click.UsageError("give one of --region, -b and -B")
    if region is not None:
        return Region.parse(region)
    bounds = box or cube
    return Region.of_bounds(bounds) if bounds else None


def for_each(paths: Iterable[Path], function: Callable[[Path], R]) -> tuple[list[R], int]:
    """Work on each file; one that fails is told, and the others are done.

    Returns
    -------
    results, code : list, int
        Of those that did not fail; and 1 if one did, else 0.
    """
    results, failed = _done(((str(path), path) for path in paths), function)
    for _, error in failed:
        click.echo(f"visql: {error}", err=True)
    return results, int(bool(failed))


def one_by_one(name: str, items: Iterable[tuple[str, T]], work: Callable[[T], None], total: int) -> None:
    """Make something of each of some files: one that fails does not stop the others.

    Parameters
    ----------
    name : str
        Of the command; each file's work is recorded as a run of its own.
    items : iterable of (str, object)
        What messages call it, and what is handed to `work`.
    work : callable
    total : int
        How many there are.

    Raises
    ------
    VisqlError
        The only one; or, after all others are done, how many failed.
    """
    with progress(name, total) as advance:

        def recorded(item: T) -> None:
            try:
                with run_record.recording(name):
                    work(item)
            finally:
                advance()

        _, failed = _done(items, recorded)
    if failed and total == 1:
        raise failed[0][1]
    for called, error in failed:
        log.error("%s: %s", called, str(error).removeprefix(f"{called}: "))
    if failed:
        raise FrameError(f"{len(failed)} of {total} failed")


def _done(
    items: Iterable[tuple[str, T]], function: Callable[[T], R]
) -> tuple[list[R], list[tuple[str, VisqlError]]]:
    """Call a function for each of some files; return results and errors, each by the name of its file."""
    results: list[R] = []
    failed: list[tuple[str, VisqlError]] = []
    for called, item in items:
        try:
            results.append(function(item))
        except VisqlError as error:
            failed.append((called, error))
        except OSError as error:  # such as of a folder that may not be written
            failed.append((called, FrameError(f"{error.filename or called}: {error.strerror or error}")))
    return results, failed
