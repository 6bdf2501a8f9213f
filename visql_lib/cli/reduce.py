"""`visql reduce`: raw lights and masters -> reduced lights, and a table of what became of each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, INPUT, output_option, progress
from visql_lib.cli.files import LIST_HELP, list_argument
from visql_lib.cli.reduction import TABLE, reduction_settings_of, reduction_step

if TYPE_CHECKING:
    from visql_lib.pipelines.reduction.reduced_header import LightRow
    from visql_lib.pipelines.reduction.settings import ReductionSettings
    from visql_lib.pipelines.reduction.stages.reduce import ReduceInputs
    from visql_lib.products.context import Context


@reduction_step(
    "reduce",
    f"""Reduce lights: overscan, bias, dark and flat in one pass, with error and mask.

{LIST_HELP}

The dark is that for each light's own exposure time. Each reduced light is FOLDER/EXPOSURE.fits: the
image in the primary, 1 sigma in ERR, PixelFlag bits in MASK; those that stand are not made again. A
light that lacks a master is `uncalibrated`, and nothing is written for it, unless
reduce.allow_missing names that master. One that fails costs itself: --table has a row for each,
with the reason. Without a table the exit code is 1 if a light could not be reduced.""",
    "visql reduce 'raw/m67-*.fit' -o frames --bias bias.fits --dark dark.fits --flat flat_R.fits",
)
@list_argument()
@output_option("Folder of the reduced lights.", FOLDER, "FOLDER")
@click.option("--bias", type=INPUT, metavar="B", help="Master bias.")
@click.option("--dark", type=INPUT, metavar="D", help="Master dark.")
@click.option("--flat", type=INPUT, metavar="F", help="Master flat of the lights' filter.")
@click.option("--bad-pixels", "bad", type=INPUT, metavar="P", help="Mask of the bad pixels.")
@TABLE
@click.option("--gain", "electrons", is_flag=True, help="Give the lights in electrons (reduce.electrons).")
def command(
    words: tuple[str, ...],
    output: Path,
    bias: Path | None,
    dark: Path | None,
    flat: Path | None,
    bad: Path | None,
    table: Path | None,
    electrons: bool,
    instrument: str | None,
    allow_empty: bool,
    config: Path | None,
) -> int:
    """Reduce one light after the other; write the table."""
    from visql_lib.images.lists import expand
    from visql_lib.images.writing import write_image
    from visql_lib.pipelines.reduction.stages.reduce import STAGE, ReduceInputs, run
    from visql_lib.products.context import Context

    settings = _settings(config, instrument, electrons)
    context = Context.of(STAGE, settings, progress)
    lights = tuple(expand(words, allow_empty=allow_empty))
    inputs = ReduceInputs(lights, output, bias, dark, flat, bad)
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for made in run(context, inputs):
        rows.append(made.row)
        if made.image is not None:
            write_image(made.path, made.image, STAGE.versions, made.inputs)
            made.image = None  # not kept while the next one is reduced
        elif made.row.status != "ok":  # what an earlier run made of it counts no more
            made.path.unlink(missing_ok=True)
    if table is not None:
        _write(table, rows, inputs, context)
        return 0
    return int(any(row.status != "ok" for row in rows))


def _settings(config: Path | None, instrument: str | None, electrons: bool) -> ReductionSettings:
    """Read the settings, and put the options in their place.

    Raises
    ------
    ConfigError
        If they are another pipeline's.
    """
    settings = reduction_settings_of(config, instrument)
    if electrons:
        changed = settings.reduce.model_copy(update={"electrons": True})
        settings = settings.model_copy(update={"reduce": changed})
    return settings


def _write(
    table: Path, rows: list[LightRow], inputs: ReduceInputs, context: Context[ReductionSettings]
) -> None:
    """Write the table; the set is named by the table's own name, without the number of the chunk."""
    from visql_lib.config.load import digest
    from visql_lib.pipelines.reduction.schemas import FRAMES
    from visql_lib.pipelines.reduction.stages.reduce import frames_columns
    from visql_lib.pipelines.reduction.versions import VERSIONS
    from visql_lib.tables import write_table

    for row in rows:
        row.set = re.sub(r"\.\d+$", "", table.stem)
    made = [inputs.product(Path(row.file)) if row.status == "ok" else Path(row.file) for row in rows]
    masters = [path for path in inputs.masters.values() if path is not None]
    settings = context.settings
    write_table(
        table,
        frames_columns(rows),
        FRAMES,
        stage="reduce",
        stage_version=VERSIONS["reduce"],
        inputs=[*made, *masters],
        settings_hash=digest(settings.overscan, settings.reduce),
    )
