"""The groups of the guide camera: nights, by the local date of their evening."""

from __future__ import annotations

from visql_lib.sheets.grouping import Grouping

N = "nights/{night}"
SHEET = "exposures/{night}.tsv"
FRAME = "exposures/{night}/{exposure}/{exposure}"

NIGHTS = Grouping(
    "night",
    "YYYYMMDD",
    {"night": r"\d{8}"},
    sheet=SHEET,
    frame=FRAME,
    folder=N,
    table=f"{N}/{{table}}_{{night}}.parquet",
)
