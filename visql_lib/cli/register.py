"""`visql register`: reduced frames -> where each lies relative to the best of them."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option
from visql_lib.cli.files import LIST_HELP, list_argument
from visql_lib.cli.reduction import RECORD_FAILURE, context_of, reduction_step


@reduction_step(
    "register",
    f"""Register images of one field by their stars.

{LIST_HELP} A table (.parquet) made by `visql reduce` stands for the reduced frames it lists,
which lie beside it.

Any shift up to the size of the frame and any turn is found. The table has matrix, shift (of the middle),
turn, scale and their errors, and the transparency of each frame relative to the reference. A
frame that does not fit is `not_registered`, with the reason; the others are done.""",
    "visql register 'frames/m67-R-*.fits' -o m67_R_registration.parquet",
)
@list_argument()
@output_option("Table of the registration (Parquet).")
@click.option(
    "--reference", type=INPUT, metavar="F", help="One of the frames [the best: stars / (FWHM x sky noise)]."
)
@RECORD_FAILURE
def command(
    words: tuple[str, ...],
    output: Path,
    reference: Path | None,
    instrument: str | None,
    record_failure: bool,
    allow_empty: bool,
    config: Path | None,
) -> None:
    """Measure the stars of all frames, register them, write the table."""
    from visql_lib.config.load import digest
    from visql_lib.images.lists import expand
    from visql_lib.pipelines.reduction.listed import listed_frames
    from visql_lib.pipelines.reduction.schemas import REGISTRATION
    from visql_lib.pipelines.reduction.stages.register import RegisterInputs, run
    from visql_lib.pipelines.reduction.versions import VERSIONS
    from visql_lib.tables import write_table

    context = context_of("register", config, instrument, record_failure)
    frames = listed_frames(expand(words, allow_empty=allow_empty))
    made = run(context, RegisterInputs(frames, reference))
    write_table(
        output,
        made.columns,
        REGISTRATION,
        stage="register",
        stage_version=VERSIONS["register"],
        inputs=frames,
        settings_hash=digest(context.settings.registration),
        meta=made.meta,
    )
