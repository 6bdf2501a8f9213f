"""`visql master-flat`: raw flats of one filter -> response of each pixel, with errors."""

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
    "master-flat",
    f"""Combine raw flats of one filter: the response of each pixel, mean 1 over all amplifiers together.

{LIST_HELP}

Bias and the dark of its own exposure time are taken off each; all are brought to the level of the first; of
each pixel the highest value is dropped and the median of the others taken, so that trails of stars go (of
one or two frames the mean, and it is told). Flats that are too faint, too bright, saturated or unlike the
others are left out. Pixels below masters.lowest_response are masked. Gains measured from pairs are in the
header. See docs/reduction.md.""",
    "visql master-flat '20210227.{0036..0040}.fit' -o flat_V.fits --bias bias.fits --dark dark.fits",
)
@master_options
@click.option("--bias", type=INPUT, metavar="FILE", help="Master bias (see master-bias).")
@click.option("--dark", type=INPUT, metavar="FILE", help="Master dark (see master-dark).")
@click.option("--bad-pixels", type=INPUT, metavar="FILE", help="Bad pixels (see bad-pixels).")
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    output: Path,
    table: Path | None,
    picture: Path | None,
    record_failure: bool,
    bias: Path | None,
    dark: Path | None,
    bad_pixels: Path | None,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Combine, write."""
    from visql_lib.images.lists import expand
    from visql_lib.pipelines.reduction.stages.master_flat import FlatInputs, run

    context = context_of("master_flat", config, instrument, record_failure)
    paths = expand(words, allow_empty=allow_empty)
    made = run(context, FlatInputs(paths, output.stem, bias, dark, bad_pixels, output.parent))
    write_master(made, "master_flat", output, table, picture, _drawn)


def _drawn(made: MasterOutputs) -> Figure:
    """Draw the master."""
    from visql_lib.pipelines.reduction.pictures.flats import FlatFrame, flat_picture
    from visql_lib.pipelines.reduction.pictures.masters import title_of

    assert made.image is not None
    header = made.image.header
    frames = [
        FlatFrame(
            f.exposure, f.facts.start, f.level, f.status.is_used, f.residual, made.meta["off"].get(f.exposure)
        )
        for f in made.frames
    ]
    facts = [f"{header['NCOMBINE']} of {header['N_FRAMES']} frames", f"mean level {header['LEVEL']:.0f} adu"]
    if "MGAIN" in header:
        facts.append(f"gain {header['MGAIN']:.3f} ± {header['MGAINERR']:.3f} electron/adu")
    title = title_of(made.kind, made.name, facts)
    return flat_picture(made.image.data, made.image.mask, frames, title, str(made.meta.get("reason", "")))
