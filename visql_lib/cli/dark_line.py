"""``visql dark-line``: the line of a camera's darks against exposure time, and what to scale a dark with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import step
from visql_lib.errors import FrameError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from visql_lib.ccd.dark import Line

Point = tuple[float, float, float]  # exposure time [s], level [ADU], its error [ADU]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POINT = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")
_TIMES = ("EXPTIME", "EXPOSURE")


@step(
    "dark-line",
    "Fit a line, level = offset + rate x time, to POINTS: TIME:LEVEL or TIME:LEVEL:ERROR [s, ADU], or files "
    "(names, globs, ranges), whose level is the clipped mean of their pixels. Printed are the errors by "
    "ERROR (1 ADU where none is given) and by the scatter about the line, and with --against the "
    "level at the times of --at in units of that at another time. A dark has a pedestal: never scale "
    "the whole of it by a ratio of times.",
    "visql dark-line 60:11.8 120:17.8 180:23.6 --at 1,10,60 --against 180",
)
@click.argument("points", nargs=-1, metavar="[POINTS]...")
@click.option("--bias", type=float, default=0.0, help="Level of the bias, taken off that of files [ADU].")
@click.option("--region", help="Region of the files that counts, such as '[x1:x2,y1:y2]'.")
@click.option("--line", metavar="OFFSET:RATE", help="A known line [ADU, ADU/s] instead of points.")
@click.option("--at", metavar="TIMES", help="Times, separated by commas, to give the level at [s].")
@click.option("--against", type=float, metavar="TIME", help="Give it in units of the level at this time [s].")
def command(
    points: tuple[str, ...],
    bias: float,
    region: str | None,
    line: str | None,
    at: str | None,
    against: float | None,
    config: Path | None,
) -> None:
    """Read points or files, fit, print."""
    from visql_lib.ccd.dark import fit_line

    if (line is None) == (not points):
        raise click.UsageError("give either points or files, or a known --line OFFSET:RATE")
    if against is not None and at is None:
        raise click.UsageError("--against: give the times with --at, too")
    times = _numbers(at, "--at") if at is not None else []
    if line is not None:
        found = _known(line)
    else:
        given = _points(points, bias, region)
        found = fit_line(*zip(*given, strict=True))
        _print_fit(found, given)
    for text in _levels(found, times, against):
        click.echo(text)


def _numbers(text: str, name: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise click.UsageError(f"{name} {text}: write numbers with commas between") from error


def _known(text: str) -> Line:
    from visql_lib.ccd.dark import Line

    match = _POINT.fullmatch(text.strip())
    if match is None or match[3] is not None:
        raise click.UsageError(f"--line {text}: write OFFSET:RATE, such as 5.9:0.098")
    return Line(float(match[1]), float(match[2]))


def _points(words: Sequence[str], bias: float, region: str | None) -> list[Point]:
    """Read points as they are written, all others as lists of files."""
    from visql_lib.images.lists import expand

    found: list[Point] = []
    files: list[str] = []
    for word in words:
        if match := _POINT.fullmatch(word.strip()):
            found.append((float(match[1]), float(match[2]), float(match[3] or 1)))
        else:
            files.append(word)
    return [*found, *(_of_file(path, bias, region) for path in (expand(files) if files else []))]


def _of_file(path: Path, bias: float, region: str | None) -> Point:
    """Measure the level of a dark; 1 ADU of error, as of a level that is given."""
    import numpy as np

    from visql_lib.ccd.clipping import clipped_mean
    from visql_lib.images.image import read_image
    from visql_lib.images.regions import Region
    from visql_lib.values import number

    image = read_image(path)
    values = np.where(image.valid, image.data, np.nan)
    if region is not None:
        values = values[Region.parse(region).slices(values.shape, path.name)]
    level = clipped_mean(values)
    if not level.n:
        raise FrameError(f"{path}: no pixel has a value there")
    time = next((t for key in _TIMES if (t := number(image.header.get(key))) >= 0), None)
    if time is None:
        raise RequestError(f"{path}: no {' or '.join(_TIMES)} in its header; give TIME:LEVEL instead")
    return time, level.mean - bias, 1.0


def _print_fit(line: Line, points: Sequence[Point]) -> None:
    assert line.residuals is not None
    click.echo("   time     level  level - line")
    for (time, level, _), residual in zip(points, line.residuals, strict=True):
        click.echo(f"{time:7g} {level:9.3f} {residual:+13.4f}")
    click.echo(f"offset {line.offset:.3f} +- {line.offset_err:.3f} ADU{_scatter(line.offset_scatter)}")
    click.echo(f"rate {line.rate:.5f} +- {line.rate_err:.5f} ADU/s{_scatter(line.rate_scatter)}")


def _scatter(err: float) -> str:
    return f"; by the scatter +- {err:.3g}" if err == err else "; two levels have no scatter"


def _levels(line: Line, times: Sequence[float], against: float | None) -> list[str]:
    """Write the level at some times, or its ratio to that at another time."""
    if against is None:
        found = [line.at(t) for t in times]
        errs = [f" +- {err:.3f}" if err == err else "" for _, err in found]
        return [
            f"level at {t:g} s: {level:.3f}{err} ADU"
            for t, (level, _), err in zip(times, found, errs, strict=True)
        ]
    ratios = line.factors(times, against)
    return [f"level at {t:g} s / at {against:g} s: {f:.4f}" for t, f in zip(times, ratios, strict=True)]
