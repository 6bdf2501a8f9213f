"""The groups of VIS: months, by the UTC start of an exposure."""

from __future__ import annotations

from visql_lib.pipelines.vis.paths import SHEET, E, M
from visql_lib.sheets.grouping import Grouping

MONTHS = Grouping(
    "month",
    "YYYYMM",
    {"month": r"\d{6}"},
    sheet=SHEET,
    frame=E,
    folder=M,
    table=f"{M}/{{table}}_{{month}}.parquet",
    in_name=r"_(\d{6})\d\d_",
)
