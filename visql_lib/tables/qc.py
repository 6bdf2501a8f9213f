"""The table of QC results of a group of exposures."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

QC = TableSchema(
    "qc",
    "Every quantity of every exposure of a group, and of the group as a whole, against the limits in force: "
    "judged once, read by pages, alerts and their history.",
    (
        Column("EXPOSURE", "str", "", "exposure; empty of the group as a whole"),
        Column("DATE_OBS", "time", "", "start, UTC; no time of the group as a whole, or where not known"),
        Column("CLASS", "str", "", "exposure class; empty where the quantity's table has none"),
        Column("PART", "str", "", "part of the group, such as BP-RP 0.75; empty of an exposure"),
        Column("QUANTITY", "str", "", "qualified name, such as psf.R2"),
        Column("UNIT", "str", "", "unit of VALUE, ERROR and LIMIT; empty of a pure number"),
        Column("VALUE", "float64", "", "value in UNIT; NaN where there should be one and is none"),
        Column("ERROR", "float64", "", "its standard error in UNIT; NaN where not known"),
        Column("LIMIT", "float64", "", "the limit in UNIT that was passed; NaN if none was"),
        Column("SIDE", "str", "", "above or below it; empty if no limit was passed"),
        Column("STATUS", "str", "", "ok, warn, error or not judged"),
        Column("REASON", "str", "", "why it was not judged; empty if it was"),
        Column("EPOCH", "str", "", "first day of the epoch of limits in force; empty where there was none"),
    ),
)
