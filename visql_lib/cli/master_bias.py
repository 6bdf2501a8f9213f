"""`visql master-bias`: raw biases -> their mean, with errors and read noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.cli.files import LIST_HELP
from visql_lib.cli.reduction import context_of, master_options, reduction_step, write_master

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.reduction.stages.master_outputs import MasterOutputs


@reduction_step(
    "master-bias",
    f"""Combine raw biases: overscan off, trimmed, amplifiers put together, odd frames left out, mean.

{LIST_HELP}

Cosmic rays are rejected (5 sigma of the noise of a pixel, which is measured from pairs of the frames). Frames
of unlike sizes, binnings or gains are refused. See docs/reduction.md.""",
    "visql master-bias '20210227.{0001..0020}.fit' -o bias.fits --table bias.parquet --picture bias.png",
)
@master_options
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    output: Path,
    table: Path | None,
    picture: Path | None,
    record_failure: bool,
    config: Path | None,
    instrument: str | None,
) -> None:
    """Combine, write."""
    from visql_lib.images.lists import expand
    from visql_lib.pipelines.reduction.stages.master_bias import BiasInputs, run

    context = context_of("master_bias", config, instrument, record_failure)
    paths = expand(words, allow_empty=allow_empty)
    made = run(context, BiasInputs(paths, output.stem, output.parent))
    write_master(made, "master_bias", output, table, picture, _drawn)


def _drawn(made: MasterOutputs) -> Figure:
    """Draw the master."""
    from visql_lib.pipelines.reduction.pictures.masters import bias_picture, title_of

    assert made.image is not None
    header = made.image.header
    noise = f"read noise {header['RDNOISE']:.3g} electrons" if "RDNOISE" in header else ""
    title = title_of(made.kind, made.name, [f"{header['NCOMBINE']} frames", noise])
    reason = str(made.meta.get("reason", ""))
    return bias_picture(made.image.data, made.image.mask, made.columns, title, reason)
