"""`visql lc-measure`: frames -> where they lie on the reference, aperture photometry, stamps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import FOLDER, INPUT, OUTPUT, output_option, progress, step
from visql_lib.cli.lightcurves import SET, light_settings_of, set_of

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.stages.lc_measure import MeasuredFrame


@step(
    "lc-measure",
    """Align frames with the reference of their target, measure their stars in apertures, cut stamps.

FRAMES are raw frames, or the tables of nights that `visql lc-frame --table` wrote (.parquet). The products of
`visql lc-frame` lie in the folder, and those of this step go beside them: FRAME/FRAME_apertures.parquet and
FRAME/FRAME_stamps.fits; frames that stand are not measured again. A frame that does not fit the reference is
`not_aligned`, with the reason. Without a table the exit code is 1 if a frame is.""",
    "visql lc-measure chunks/20240220_frame.parquet -o frames --reference reference.parquet --target J1206 "
    "--set R --table chunks/20240220_measure.parquet",
)
@click.argument("frames", nargs=-1, required=True, type=INPUT)
@output_option("Folder of the frames' products.", FOLDER, "FOLDER")
@click.option(
    "--reference", required=True, type=INPUT, metavar="FILE", help="Table made by `visql lc-reference`."
)
@click.option("--target", required=True, metavar="NAME", help="The target's file, or its name.")
@SET
@click.option(
    "--frames",
    "of_set",
    type=INPUT,
    metavar="FILE",
    help="Table of the set's frames: kicked ones are left out.",
)
@click.option("--fringes", type=INPUT, metavar="FILE", help="Map of fringes of the night.")
@click.option("--table", type=OUTPUT, metavar="FILE", help="Table of the frames (Parquet).")
@click.option(
    "--record-failure",
    is_flag=True,
    help="A frame that fails is a row of the table, and the exit code is 0 [so with --table, too].",
)
def command(
    frames: tuple[Path, ...],
    output: Path,
    reference: Path,
    target: str,
    set_name: str | None,
    of_set: Path | None,
    fringes: Path | None,
    table: Path | None,
    record_failure: bool,
    config: Path | None,
) -> int:
    """Measure one frame after the other; write apertures, stamps and the table."""
    from visql_lib.pipelines.lightcurves.context import camera_context
    from visql_lib.pipelines.lightcurves.reference_file import read_reference
    from visql_lib.pipelines.lightcurves.stages.lc_measure import SECTIONS, MeasureInputs, run
    from visql_lib.pipelines.lightcurves.target_file import load_target

    aim = load_target(target)
    name = set_of(list(aim.sets), set_name, target)
    context = camera_context(light_settings_of(config), aim.camera(name), SECTIONS, progress)
    rows = [row for path in frames for row in _rows(path, output, of_set)]
    inputs = MeasureInputs(rows, output, read_reference(reference), name, fringes)
    found = []
    for made in run(context, inputs):
        found.append(made.row)
        if not made.stands:
            _write(made, name)
    if table is not None:
        _write_table(table, found, name, aim.name, (*frames, reference))
    failed = any(row["STATUS"] != "ok" for row in found)
    return int(failed and table is None and not record_failure)


def _rows(path: Path, folder: Path, of_set: Path | None) -> list[dict[str, Any]]:
    """Return the rows of the frames that a word of the command line stands for.

    Raises
    ------
    RequestError
        If a frame was not measured by lc-frame, or could not be used.
    """
    from visql_lib.errors import RequestError
    from visql_lib.instruments.names import stem_of
    from visql_lib.pipelines.lightcurves.field_frames import catalogue_path
    from visql_lib.pipelines.lightcurves.frame_row import LightRow
    from visql_lib.pipelines.lightcurves.schemas import FRAMES
    from visql_lib.pipelines.lightcurves.stages.lc_measure import rows_of_chunk
    from visql_lib.tables.store import read_meta, read_table

    if path.suffix == ".parquet":
        return rows_of_chunk(read_table(path, FRAMES.names), None if of_set is None else read_table(of_set))
    frame = stem_of(path.name)
    catalogue = catalogue_path(folder / frame / frame)
    row = LightRow.from_meta(path, read_meta(catalogue)) if catalogue.is_file() else None
    if row is None:
        raise RequestError(
            f"{path}: has no products of `visql lc-frame` in {folder / frame}; make them first"
        )
    if not row.status.is_used:
        raise RequestError(f"{path}: cannot be used: {row.status}: {row.values['REASON']}")
    return [row.values]


def _write(made: MeasuredFrame, name: str) -> None:
    """Write apertures and stamps of a frame, within the record of its own run."""
    from visql_lib.pipelines.lightcurves.schemas import APERTURES
    from visql_lib.pipelines.lightcurves.stages.lc_measure import STAGE, STAGES
    from visql_lib.tables import write_table

    if made.measures is not None:
        made.measures.stamps.write(made.stamps, STAGES)
    else:  # of an earlier run
        made.stamps.unlink(missing_ok=True)
    meta = {"set": name, **made.meta()}
    write_table(
        made.apertures, made.columns(), APERTURES, stage=STAGE, stage_version=STAGES[STAGE], meta=meta
    )


def _write_table(
    table: Path, rows: list[Mapping[str, Any]] | Any, name: str, target: str, inputs: tuple[Path, ...]
) -> None:
    from visql_lib.pipelines.lightcurves.schemas import TRANSFORMS
    from visql_lib.pipelines.lightcurves.stages.lc_measure import STAGE, STAGES, ChunkTable
    from visql_lib.tables import write_table

    made = ChunkTable(rows, name, target)
    write_table(
        table,
        made.columns,
        TRANSFORMS,
        stage=STAGE,
        stage_version=STAGES[STAGE],
        inputs=inputs,
        meta=made.meta,
    )
