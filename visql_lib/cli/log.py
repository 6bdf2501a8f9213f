"""`visql log`: a table of header values."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import OUTPUT
from visql_lib.cli.files import LIST_HELP, file_step, for_each, list_argument

_VERSION = 1
_USUAL = "Filename,DATE-OBS,EXPTIME,IMAGETYP,FILTER,OBJECT"


@file_step(
    "log",
    f"""Tabulate values of headers: one row per file, all with the same columns.

{LIST_HELP}

KEYS are keywords, separated by commas; NAME=KEY or NAME=KEY|KEY gives the first of these that has a
value under another name; Filename, Path, Start (begin of the exposure, UTC) and All (every keyword,
also comments and history) are columns, too.

The table is text (names in a line #1, their numbers in #1N, blanks as _, missing values as ....), or
what the ending of FILE says: .tsv, .ecsv, .html or .parquet.""",
    "visql log '20210227.*.fit' -k Filename,Start,EXPTIME,T=CCD-TEMP|TEMP -o night.tsv",
)
@list_argument()
@click.option("-k", "--keys", default=_USUAL, show_default=True, metavar="KEYS", help="Columns.")
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Default: text to standard output.")
@click.option("-a", "--append", is_flag=True, help="Append to FILE, if it is there; heads are not repeated.")
@click.option("--overwrite", is_flag=True, help="Replace FILE, if it is there.")
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    keys: str,
    output: Path | None,
    append: bool,
    overwrite: bool,
) -> int:
    """Read the headers, write the table."""
    from visql_lib.images.header_log import Key, make_log, parse_keys
    from visql_lib.images.headers import read_header
    from visql_lib.images.listing import as_text, write_listing
    from visql_lib.images.lists import expand
    from visql_lib.images.names import refuse_existing

    if (append and overwrite) or (append and output is None):
        raise click.UsageError("--append needs -o FILE, and no --overwrite")
    wanted: list[Key] = parse_keys(keys)
    if output is not None and not append:
        refuse_existing([output], overwrite)
    frames, code = for_each(expand(words, allow_empty=allow_empty), lambda path: (path, read_header(path)))
    table = make_log(frames, wanted)
    if output is None:
        click.echo(as_text(table), nl=False)
    elif frames or not code:
        write_listing(output, table, "log", _VERSION, append=append)
    return code
