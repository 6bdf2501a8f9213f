"""`visql combine`: many frames -> one, pixel by pixel, with error, mask and number of values."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.files import (
    LIST_HELP,
    OVERWRITE,
    file_step,
    for_each,
    list_argument,
    region_of,
    region_options,
)
from visql_lib.errors import RequestError

if TYPE_CHECKING:
    from visql_lib.ccd.combine import Recipe
    from visql_lib.images.stacking import Wishes

log = logging.getLogger(__name__)

STAGES = {"combine": 1}
_METHODS = ("mean", "median", "average", "sum", "min", "max", "std", "rms", "var", "quantile")
_CLIPS = ("none", "min", "max", "minmax")
_LEVELS = ("none", "mean", "median", "sum", "mode")


@file_step(
    "combine",
    f"""Combine images pixel by pixel.

{LIST_HELP}

In this order: shift of bits (-s); masked and NaN pixels out; each frame times the level of the
first over its own (-n); weights (-m average -a); clip of the lowest and highest values (-c, -d),
then rejection (--sigma); the method; division by the mean of the result (-u). Nothing is
rejected unless it is asked for. The result has 1 sigma errors in ERR, PixelFlag bits in MASK, and
the number of values used in N. OUT is a file name with a FITS ending, or the root of its name.""",
    "visql combine 'flat.*.fit' -o flat.fits -m median -n mean -c max -d 1 -u",
)
@list_argument()
@region_options
@click.option("-o", "--output", metavar="OUT", required=True, help="Result, or root of its name.")
@click.option("-m", "--method", type=click.Choice(_METHODS), default="mean", show_default=True)
@click.option(
    "-a", "--amount", metavar="Q|STATISTIC", help="quantile: 0 to 1 [0.5]; average: the weight [none]."
)
@click.option("-n", "--normalise", type=click.Choice(_LEVELS), default="none", show_default=True)
@click.option("-c", "--clip", type=click.Choice(_CLIPS), default="none", show_default=True)
@click.option("-d", "--number", metavar="N[,M]", help="Values to clip (minmax: lowest, highest) [1].")
@click.option(
    "--sigma", metavar="LOW,HIGH", help="Reject beyond so many sigma of the median; empty: no limit."
)
@click.option("-u", "--unit", is_flag=True, help="Divide by the mean of the result.")
@click.option(
    "-s", "--shift", type=click.IntRange(0, 32), default=0, metavar="BITS", help="Shift bits right."
)
@click.option("--group", type=click.IntRange(1), metavar="N", help="Combine each N frames of the list.")
@click.option("--exptime", type=click.Choice(("mean", "sum", "first")), help="EXPTIME [sum: sum, else mean].")
@click.option("--gain", default="", metavar="NUMBER|KEYWORD", help="Electrons per unit; frames free of bias.")
@click.option("--read-noise", default="", metavar="NUMBER|KEYWORD", help="Electrons, with --gain.")
@OVERWRITE
def command(words: tuple[str, ...], output: str, **options: Any) -> int:
    """Read the options, combine group after group."""
    from visql_lib.images.lists import expand
    from visql_lib.images.names import output_paths, refuse_existing

    recipe, wishes = _recipe(options), _wishes(options)
    paths = expand(words, allow_empty=options["allow_empty"])
    if not paths:
        raise RequestError(f"{', '.join(words)}: no files to combine")
    size = options["group"] or len(paths)
    groups = [paths[i : i + size] for i in range(0, len(paths), size)]
    if len(groups[-1]) < size:
        log.warning("the last group has %d frames, not %d", len(groups[-1]), size)
    for group in groups:
        recipe.check(len(group))
    results = output_paths(output, [group[0] for group in groups])
    refuse_existing(results, options["overwrite"])
    named = dict(zip(results, groups, strict=True))
    if len(groups) == 1:
        _combine(results[0], groups[0], recipe, wishes)
        return 0
    return for_each(results, lambda result: _combine(result, named[result], recipe, wishes))[1]


def _combine(result: Path, group: list[Path], recipe: Recipe, wishes: Wishes) -> None:
    """Combine one group and write the result, with the record of its own frames."""
    from visql_lib import run_record
    from visql_lib.images.stacking import combine_files
    from visql_lib.images.writing import write_image

    with run_record.recording("combine"):
        write_image(result, combine_files(group, recipe, wishes), STAGES)


def _recipe(options: dict[str, Any]) -> Recipe:
    """Make the recipe of the options."""
    from visql_lib.ccd.combine import Recipe

    quantile = 0.5
    if options["method"] == "quantile" and options["amount"] is not None:
        quantile = _number(options["amount"], "-a")
    return Recipe(
        options["method"], quantile, _clip(options["clip"], options["number"]), _sigma(options["sigma"])
    )


def _number(text: str, option: str) -> float:
    """Read a number of an option."""
    try:
        return float(text)
    except ValueError:
        raise RequestError(f"{option} {text}: give a number") from None


def _clip(kind: str, text: str | None) -> tuple[int, int]:
    """Read how many of the lowest and of the highest values are clipped."""
    if kind == "none":
        if text is not None:
            raise RequestError(f"-d {text}: clips nothing without -c min, max or minmax")
        return 0, 0
    words = (text or "1").split(",")
    if len(words) > (2 if kind == "minmax" else 1) or not all(w.strip().isdecimal() for w in words):
        raise RequestError(f"-d {text}: give a whole number, for minmax one or two (N,M)")
    numbers = [int(word) for word in words]
    return (numbers[0] if "min" in kind else 0), (numbers[-1] if "max" in kind else 0)


def _sigma(text: str | None) -> tuple[float, float]:
    """Read the limits of the rejection; an empty side has none, a single number is for both."""
    if text is None:
        return math.inf, math.inf
    words = [word.strip() for word in text.split(",")]
    if len(words) > 2 or not any(words):
        raise RequestError(f"--sigma {text}: give LOW,HIGH; one may be empty")
    low, high = (math.inf if not w else _number(w, "--sigma") for w in (words[0], words[-1]))
    return low, high


def _wishes(options: dict[str, Any]) -> Wishes:
    """Make the rest of what is wanted of the options."""
    from visql_lib.images.stacking import Wishes

    weights, amount = "", options["amount"]
    if options["method"] == "average" and amount not in (None, "none"):
        if amount not in ("mean", "median", "sum"):
            raise RequestError(f"-a {amount}: the weight of average is mean, median, sum or none")
        weights = amount
    elif amount is not None and options["method"] not in ("average", "quantile"):
        raise RequestError(f"-a {amount}: is for -m quantile and -m average")
    if options["read_noise"] and not options["gain"]:
        raise RequestError("--read-noise: give --gain, too")
    return Wishes(
        normalise="" if options["normalise"] == "none" else options["normalise"],
        weights=weights,
        region=region_of(options["region"], options["box"], options["cube"]),
        unit=options["unit"],
        bits=options["shift"],
        exptime=options["exptime"] or "",
        gain=options["gain"],
        read_noise=options["read_noise"],
    )
