"""`visql master-dark`: raw darks of all times -> offset and rate of each pixel, with errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT
from visql_lib.cli.files import LIST_HELP
from visql_lib.cli.reduction import context_of, master_options, reduction_step, write_master

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs


@reduction_step(
    "master-dark",
    f"""Combine raw darks of all exposure times: a line per pixel, offset + rate x time.

{LIST_HELP}

The bias is taken off, if one is given; odd frames of each time are left out; the primary image is the dark
at the longest time, the extensions OFFSET, RATE, VAROFF, VARRATE and COVAR hold the line. Of darks of one
time there is no line, and it is told. Nothing is ever scaled by a ratio of times. See docs/reduction.md.""",
    "visql master-dark '20210227.{0021..0035}.fit' -o dark.fits --bias bias.fits --picture dark.png",
)
@master_options
@click.option("--bias", type=INPUT, metavar="FILE", help="Master bias; without it the dark holds the bias.")
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    output: Path,
    table: Path | None,
    picture: Path | None,
    record_failure: bool,
    bias: Path | None,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Combine, write."""
    from visql_lib.images.lists import expand
    from visql_lib.pipelines.reduction.stages.master_dark import DarkInputs, run

    context = context_of("master_dark", config, instrument, record_failure)
    paths = expand(words, allow_empty=allow_empty)
    made = run(context, DarkInputs(paths, bias, output.stem, output.parent))
    write_master(made, "master_dark", output, table, picture, _drawn)


def _drawn(made: MasterOutputs) -> Figure:
    """Draw the master."""
    from visql_lib.pipelines.reduction.pictures.masters import dark_picture, title_of

    assert made.image is not None
    header, meta = made.image.header, made.meta
    facts = [f"{header['NCOMBINE']} frames of {header['DARKTIME']} s", f"shown at {header['EXPTIME']:g} s"]
    title = title_of(made.kind, made.name, facts)
    return dark_picture(
        made.image.data,
        made.image.mask,
        made.columns,
        meta["points"],
        meta["line"],
        title,
        str(meta.get("reason", "")),
    )
