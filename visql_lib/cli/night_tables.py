"""`visql night-tables`: what became of each frame of a night, its masters and stacks."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, OUTPUT, step


@step(
    "night-tables",
    """Gather the tables of a night from its sheet SHEET: of its frames, masters and stacks.

    What was not made yet is left out; a frame that is in no calibration set is listed with the reason.""",
    "visql night-tables results/exposures/20210227.tsv --frames frames.parquet",
)
@click.argument("sheet", type=INPUT)
@click.option("--frames", type=OUTPUT, required=True, metavar="FILE", help="What became of each frame.")
@click.option("--masters", type=OUTPUT, metavar="FILE", help="Levels, noise, gain, dark rate of the masters.")
@click.option("--stacks", type=OUTPUT, metavar="FILE", help="Exposure time, FWHM, depth of the stacks.")
@click.option("--lacking", multiple=True, metavar="SET=TEXT", help="Which master a set of frames lacks.")
@click.option(
    "--earlier", multiple=True, metavar="SET=FLAT", help="Flat of an earlier night to compare with."
)
def command(
    sheet: Path,
    frames: Path,
    masters: Path | None,
    stacks: Path | None,
    lacking: tuple[str, ...],
    earlier: tuple[str, ...],
    config: Path | None,
) -> None:
    """Read, gather, write."""
    from visql_lib.cli.reduction import context_of
    from visql_lib.pipelines.reduction.schemas import FRAMES, MASTERS, STACKS
    from visql_lib.pipelines.reduction.stages.night_tables import NightInputs, night_of_sheet, run, tables_of
    from visql_lib.pipelines.reduction.versions import VERSIONS
    from visql_lib.tables import write_table

    context = context_of("night_tables", config)
    night = night_of_sheet(context, sheet)
    said: dict[str, list[str]] = {}
    for name, _, text in (words.partition("=") for words in lacking):
        said.setdefault(name, []).append(text)
    flats = {name: Path(path) for name, _, path in (words.partition("=") for words in earlier)}
    made = run(context, NightInputs(night, said, flats))
    version = VERSIONS["night_tables"]
    for path, columns, schema in (
        (frames, made.frames, FRAMES),
        (masters, made.masters, MASTERS),
        (stacks, made.stacks, STACKS),
    ):
        if path is not None:
            meta, inputs = {"night": night.date}, [sheet, *tables_of(night), *flats.values()]
            write_table(
                path, columns, schema, meta=meta, stage="night_tables", stage_version=version, inputs=inputs
            )
