"""Reading and writing tables: ours (Parquet with units), the original's text."""

from visql_lib.atomic import atomic_path
from visql_lib.tables.products import (
    CATALOGUE,
    MOMENTS,
    PSFMOMENTS,
    QUADRANTS,
    SKY_CATALOGUE,
    STAMPS,
    STARS,
)
from visql_lib.tables.schema import Column, TableSchema
from visql_lib.tables.store import Table, read_facts, read_meta, read_table, write_table

__all__ = [
    "CATALOGUE",
    "MOMENTS",
    "PSFMOMENTS",
    "QUADRANTS",
    "SKY_CATALOGUE",
    "STAMPS",
    "STARS",
    "Column",
    "Table",
    "TableSchema",
    "atomic_path",
    "read_facts",
    "read_meta",
    "read_table",
    "write_table",
]
