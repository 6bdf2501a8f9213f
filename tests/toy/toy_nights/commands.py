from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from toy_nights.registry import LEVEL, LEVELS, NIGHTS
from visql_lib.cli.common import INPUT, PREFIX, output_option, settings_of_any, step
from visql_lib.frames import open_exposure
from visql_lib.pictures.save import save_picture
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import read_sheet
from visql_lib.tables import Column, TableSchema, read_table, write_table

TABLE = TableSchema(
    "levels",
    "Levels of frames.",
    (
        Column("EXPOSURE", "str", "", "exposure"),
        Column("DATE_OBS", "time", "", "start, UTC"),
        Column("LEVEL", "float64", "adu", "median of its pixels"),
    ),
)


def write(path, columns, stage, inputs):
    write_table(path, columns, TABLE, stage=stage.name, stage_version=1, inputs=inputs, settings_hash="")


@step("toy-level", "Measure the level of the frame RAW.", "visql toy-level F.fits -o F")
@click.argument("raw", type=INPUT)
@output_option("Table and picture.", PREFIX, "PREFIX")
def level(raw, output, config):
    context = Context.of(LEVEL, settings_of_any(config))
    with open_exposure(raw, context.instrument) as frame:
        start = np.datetime64(frame.header.start.replace(tzinfo=None), "us")
        pixels = np.concatenate([part.pixels.ravel() for part in frame]).astype(float)
    row = {"EXPOSURE": np.array([output.name]), "DATE_OBS": np.array([start]), "LEVEL": [np.median(pixels)]}
    write(output.with_name(f"{output.name}_level.parquet"), row, LEVEL, [raw])
    figure = Figure(figsize=(4, 3))
    figure.subplots().hist(pixels, 50)
    save_picture(figure, output.with_name(f"{output.name}_histogram.png"), 80, {"level": 1}, inputs=[raw])


@step("toy-levels", "Join the levels of a night, of its SHEET.", "visql toy-levels S.tsv -o L")
@click.argument("sheet", type=INPUT)
@output_option("Levels (Parquet).")
def levels(sheet, output, config):
    results, night = NIGHTS.locate(sheet)
    stems = [NIGHTS.stem(results, night, row.exposure) for row in read_sheet(sheet)]
    tables = [read_table(Path(f"{stem}_level.parquet")) for stem in stems]
    write(output, {n: np.concatenate([t[n] for t in tables]) for n in TABLE.names}, LEVELS, [sheet])
