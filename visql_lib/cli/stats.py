"""`visql stats`: statistics of images, or of a region of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import OUTPUT
from visql_lib.cli.files import LIST_HELP, file_step, for_each, list_argument, region_of, region_options

if TYPE_CHECKING:
    from visql_lib.ccd.statistics import Counted
    from visql_lib.images.image import Image
    from visql_lib.images.listing import Value
    from visql_lib.images.regions import Region

_VERSION = 1
_USUAL = "num,sum,mean,median,mode,std,mad,min,max"
_DIGITS = 9  # of a number on the terminal


@file_step(
    "stats",
    f"""Compute statistics of images, or of a region of each.

{LIST_HELP}

STATISTICS are num, sum, mean, median, mode, std, mad, min, max, var and quantile:Q, separated by
commas; rms is std. They are computed in float64 from the pixels that are neither masked nor NaN; LEFTOUT
tells how many are. std and var are those of the population; mad is not scaled; mode is the most frequent
value of whole numbers, the half-sample mode of others. The table is text, or what the ending of FILE
says: .tsv, .ecsv, .html or .parquet.""",
    "visql stats 'bias*.fit' --region '[101:200,1:50]' -s median,std,quantile:0.9 --clip 5",
)
@list_argument()
@region_options
@click.option("-s", "--statistics", "names", default=_USUAL, show_default=True, metavar="STATISTICS")
@click.option(
    "--clip",
    type=float,
    metavar="S",
    help="Leave out what is farther than S standard deviations from the median, until no more goes.",
)
@click.option("-t", "--planes", is_flag=True, help="A row for each plane of a cube.")
@click.option(
    "-u",
    "--update",
    is_flag=True,
    help="Write the numbers into the header of each image: STATREG, STATMEAN and so on.",
)
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Default: text to standard output.")
@click.option("--overwrite", is_flag=True, help="Replace FILE, if it is there.")
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    region: str | None,
    box: tuple[int, ...] | None,
    cube: tuple[int, ...] | None,
    names: str,
    clip: float | None,
    planes: bool,
    update: bool,
    output: Path | None,
    overwrite: bool,
) -> int:
    """Read the images, measure, write the table."""
    from visql_lib.ccd.statistics import label, parse_statistics
    from visql_lib.images.listing import Listing, as_text, write_listing
    from visql_lib.images.lists import expand
    from visql_lib.images.names import refuse_existing

    try:
        wanted = parse_statistics(names)
    except ValueError as error:
        raise click.UsageError(f"-s {error}") from error
    if clip is not None and not 0 < clip < math.inf:
        raise click.UsageError(f"--clip {clip:g}: give a positive number")
    if update and planes:
        raise click.UsageError("-u writes one number of each kind: choose a plane with -B instead of -t")
    if output is not None:
        refuse_existing([output], overwrite)
    measuring = _Measuring(region_of(region, box, cube), wanted, clip, planes, update)
    found, code = for_each(expand(words, allow_empty=allow_empty), measuring.rows)
    columns = ["Filename", "REGION", *(["PLANE"] if planes else []), *(label(*w) for w in wanted), "LEFTOUT"]
    columns += ["CLIPPED"] if clip is not None else []
    rows = [row for rows in found for row in rows]
    if output is None:
        click.echo(as_text(Listing(columns, [[_short(value) for value in row] for row in rows])), nl=False)
    else:
        write_listing(output, Listing(columns, rows), "stats", _VERSION)
    return code


def _short(value: Value) -> Value:
    """Round a number to what is worth reading."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if abs(value) < 10**_DIGITS else round(value, 1)


class _Measuring:
    """What is to be measured of each file."""

    def __init__(
        self,
        region: Region | None,
        wanted: list[tuple[str, float]],
        clip: float | None,
        planes: bool,
        update: bool,
    ) -> None:
        self.region, self.wanted, self.clip, self.planes, self.update = region, wanted, clip, planes, update

    def rows(self, path: Path) -> list[list[Value]]:
        """Measure one file; its header is changed only if all of it could be measured."""
        import numpy as np

        from visql_lib.ccd.statistics import counted, measure
        from visql_lib.images.headers import set_cards
        from visql_lib.images.image import read_image

        image = read_image(path, np.float64)
        rows: list[list[Value]] = []
        for region, plane in self._parts(image):
            where = region.slices(image.data.shape, image.name)
            mask = None if image.mask is None else image.mask[where]
            found = counted(image.data[where], mask, self.clip)
            values = measure(found, self.wanted)
            if self.update:
                set_cards(path, self._cards(region, found, list(values.values())))
            row: list[Value] = [path.name, str(region), *([plane] if self.planes else [])]
            row += [int(v) if name == "num" else v for name, v in values.items()]
            row += [found.left_out, *([found.clipped] if self.clip is not None else [])]
            rows.append(row)
        return rows

    def _parts(self, image: Image) -> Iterator[tuple[Region, int]]:
        """Yield the region, or its parts in each plane, with the number of the plane, from 1."""
        from dataclasses import replace

        from visql_lib.images.regions import Region

        shape = image.data.shape
        whole = Region((0, shape[-1]), (0, shape[-2]), (0, shape[0]) if len(shape) == 3 else None)
        region = self.region or whole
        region.slices(shape, image.name)  # beyond the edge: refused before anything is measured
        planes = region.z or whole.z
        if not self.planes or planes is None:
            yield region, 1
            return
        for z in range(*planes):
            yield replace(region, z=(z, z + 1)), z + 1

    def _cards(self, region: Region, found: Counted, values: list[float]) -> dict[str, tuple[Any, str]]:
        """Return the cards of one region: names of at most eight letters."""
        cards: dict[str, tuple[Any, str]] = {"STATREG": (str(region), "region of the statistics")}
        for (name, q), value in zip(self.wanted, values, strict=True):
            keyword = f"STATQ{round(q * 1000):03d}"[:8] if name == "quantile" else f"STAT{name[:4].upper()}"
            said = f"quantile {q:g}" if name == "quantile" else name
            number = int(value) if name == "num" else value if math.isfinite(value) else None
            cards[keyword] = (number, f"{said} of STATREG")
        cards["STATOUT"] = (found.left_out, "pixels left out: masked or NaN")
        if self.clip is not None:
            cards["STATCLIP"] = (self.clip, "clipped at so many standard deviations")
            cards["STATCUT"] = (found.clipped, "pixels clipped")
        return cards
