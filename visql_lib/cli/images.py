"""What the commands for images of any camera share: many files in one run, and their options."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from visql_lib import run_record
from visql_lib.cli.common import progress
from visql_lib.errors import FrameError, VisqlError

if TYPE_CHECKING:
    from visql_lib.images.regions import Region

log = logging.getLogger(__name__)

T = TypeVar("T")

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace results that are already there.")
ALLOW_EMPTY = click.option("--allow-empty", is_flag=True, help="A part of a list may match no file.")
REGION = click.option(
    "--region", metavar="'[X1:X2,Y1:Y2]'", help="Only this part; from 1, both ends included."
)
BOUNDS = click.option(
    "-b",
    "--bounds",
    type=int,
    nargs=4,
    metavar="XMIN XMAX YMIN YMAX",
    help="The same, from 0, half open, in any order.",
)
BOUNDS_OF_CUBE = click.option(
    "-B",
    "--bounds-of-cube",
    type=int,
    nargs=6,
    metavar="XMIN XMAX YMIN YMAX ZMIN ZMAX",
    help="The same, with planes.",
)


def region_of(text: str | None, bounds: Sequence[int] | None, of_cube: Sequence[int] | None) -> Region | None:
    """Read the region of the options; None without.

    Raises
    ------
    UsageError
        If there is more than one.
    """
    from visql_lib.images.regions import Region

    if sum(bool(given) for given in (text, bounds, of_cube)) > 1:
        raise click.UsageError("give one of --region, -b and -B")
    if text:
        return Region.parse(text)
    numbers = bounds or of_cube
    return Region.of_bounds(numbers) if numbers else None


def one_by_one(name: str, items: Iterable[tuple[str, T]], work: Callable[[T], None], total: int) -> None:
    """Do something for each of some files: one that fails does not stop the others.

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
    failed: list[VisqlError] = []
    with progress(name, total) as advance:
        for called, item in items:
            try:
                with run_record.recording(name):
                    work(item)
            except VisqlError as error:
                failed.append(error)
                if total > 1:
                    log.error("%s: %s", called, str(error).removeprefix(f"{called}: "))
            advance()
    if failed and total == 1:
        raise failed[0]
    if failed:
        raise FrameError(f"{len(failed)} of {total} failed")
