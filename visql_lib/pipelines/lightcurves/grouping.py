"""The groups of the light curves: a set (one camera, one filter) of a target."""

from __future__ import annotations

from visql_lib.sheets.grouping import Grouping

T = "targets/{target}"
S = f"{T}/{{set}}"
SHEET = "exposures/{target}/{set}.tsv"
FRAME = f"{S}/frames/{{exposure}}/{{exposure}}"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"

SETS = Grouping(
    "target",
    "TARGET/SET",
    {"target": NAME, "set": NAME},
    sheet=SHEET,
    frame=FRAME,
    folder=S,
    table=f"{S}/{{table}}_{{set}}.parquet",
)
