from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from toy_nights.registry import NIGHTS, REGISTRY
from visql_lib.cli.common import INPUT, PREFIX, output_option, settings_of_any, step
from visql_lib.frames import open_exposure
from visql_lib.pictures.save import save_picture
from visql_lib.products.context import Context
from visql_lib.sheets.sheet import read_sheet
from visql_lib.tables import Column, TableSchema, read_table, write_table

LEVEL = Column("LEVEL", "float64", "adu", "median of its pixels")
NAME, START = Column("EXPOSURE", "str", "", "exposure"), Column("DATE_OBS", "time", "", "start, UTC")
TABLE = TableSchema("levels", "Levels of frames.", (NAME, START, LEVEL))


def made_by(stage, source):
    return {"stage": stage, "stage_version": REGISTRY[stage].version, "inputs": [source]}


@step("toy-level", "Measure the level of the frame RAW.", "visql toy-level F.fits -o F")
@click.argument("raw", type=INPUT)
@output_option("Table and picture.", PREFIX, "PREFIX")
def level(raw, output, config):
    context = Context.of(REGISTRY["toy_level"], settings_of_any(config))
    with open_exposure(raw, context.instrument) as frame:
        start = np.datetime64(frame.header.start.replace(tzinfo=None), "us")
        pixels = np.concatenate([part.pixels.ravel() for part in frame]).astype(float)
    row = {"EXPOSURE": [output.name], "DATE_OBS": np.array([start]), "LEVEL": [np.median(pixels)]}
    write_table(Path(f"{output}_level.parquet"), row, TABLE, **made_by("toy_level", raw))
    figure = Figure(figsize=(4, 3))
    figure.subplots().hist(pixels, 50)
    save_picture(figure, Path(f"{output}_histogram.png"), 80, {"toy_level": 1}, [raw])


@step("toy-levels", "Join the levels of a night, of its SHEET.", "visql toy-levels S.tsv -o L")
@click.argument("sheet", type=INPUT)
@output_option("Levels (Parquet).")
def levels(sheet, output, config):
    results, night = NIGHTS.locate(sheet)
    stems = [NIGHTS.stem(results, night, row.exposure) for row in read_sheet(sheet)]
    tables = [read_table(Path(f"{stem}_level.parquet")) for stem in stems]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in TABLE.names}
    write_table(output, columns, TABLE, **made_by("toy_levels", sheet))
