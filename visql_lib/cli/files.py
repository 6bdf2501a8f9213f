"""Arguments and options of the commands that work on lists of files, and how they treat each file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from visql_lib import run_record
from visql_lib.cli.common import verbose_option
from visql_lib.errors import VisqlError

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

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
        option = click.option(
            "--allow-empty", is_flag=True, help="A part of the list may match nothing; else that is an error."
        )
        argument = click.argument("words", nargs=-1, required=required, metavar="LIST...")
        return argument(option(function))

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
    results, code = [], 0
    for path in paths:
        try:
            results.append(function(path))
        except VisqlError as error:
            click.echo(f"visql: {error}", err=True)
            code = 1
        except OSError as error:
            click.echo(f"visql: {error.filename or path}: {error.strerror or error}", err=True)
            code = 1
    return results, code
