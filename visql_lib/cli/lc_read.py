"""`visql lc-read`: an .rdb of any dialect -> a table."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, step


@step(
    "lc-read",
    """Read a light curve (.rdb) of any dialect, and write it as a table.

The second line may be underlines, tabs only, or missing; each magnitude may have one error (it becomes
number 5) or six. `visql lc-export TABLE -o FILE.rdb` goes the other way.""",
    "visql lc-read J1206.rdb -o J1206.parquet",
)
@click.argument("rdb", type=INPUT)
@output_option("Table (Parquet).")
def command(rdb: Path, output: Path, config: Path | None) -> None:
    """Read the .rdb, write the table."""
    from visql_lib.pipelines.lightcurves.export_table import export_schema
    from visql_lib.pipelines.lightcurves.exporting import other_columns, table_of, write_product
    from visql_lib.tables.rdb import read_rdb

    found = read_rdb(rdb)
    write_product(output, table_of(found), export_schema(found.sources), [rdb])
    text = f"{len(found)} nights of {', '.join(found.sources)}"
    if others := other_columns(found):
        text += f"; not kept: {', '.join(others)}"
    click.echo(text, err=True)
