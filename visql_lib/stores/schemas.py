"""The tables of the stores, and what tables made from them have in common with them."""

from __future__ import annotations

from visql_lib.tables.schema import Column, TableSchema

SOURCE = (
    Column("SOURCE_ID", "int64", "", "number in Gaia DR3"),
    Column("RA", "float64", "deg", "right ascension"),
    Column("DEC", "float64", "deg", "declination"),
)
PHOTOMETRY = (
    Column("G", "float64", "mag", "G magnitude"),
    Column("G_ERR", "float64", "mag", "its error, 1.086 e_FG / FG; NaN where not known"),
    Column("BP_RP", "float64", "mag", "colour; NaN where not known"),
)

GAIA_TILE = TableSchema(
    "gaia_tile",
    "Reference stars of one HEALPix tile of the sky, positions at epoch 2016.0.",
    (
        *SOURCE,
        Column("PMRA", "float64", "mas / yr", "proper motion in RA, times cos(Dec); NaN where not known"),
        Column("PMDEC", "float64", "mas / yr", "proper motion in Dec; NaN where not known"),
        *PHOTOMETRY,
    ),
)

GOES_SERIES = TableSchema(
    "goes_series",
    "X-ray flux of the Sun as a GOES satellite measured it, at the file's cadence.",
    (
        Column("TIME", "time", "", "start of the sample, UTC without leap seconds"),
        Column("XRSA", "float32", "W / m2", "0.05-0.4 nm; NaN where there is none"),
        Column("XRSB", "float32", "W / m2", "0.1-0.8 nm; NaN where there is none"),
        Column("GOOD", "bool", "", "the file calls XRSA good_data"),
        Column("SATELLITE", "str", "", "such as GOES-16"),
    ),
)
