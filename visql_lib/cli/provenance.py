"""`visql provenance`: show how a product was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from visql_lib.cli.common import verbose_option

_INPUTS = 20  # shown; --json has all


@click.command(
    "provenance",
    help="""Show how the product FILE was made: its inputs with checksums, the versions of VISQL and of
its stages, settings, libraries, date, host and duration.

FILE is a table, a picture, a movie or a text table. The output is described in docs/provenance.md.""",
    epilog="\b\nExample:\n  visql provenance results/months/202407/psfmoments_202407.parquet",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the full record as JSON.")
@verbose_option
def command(file: Path, as_json: bool) -> None:
    """Read the record, show it."""
    from visql_lib.tables.provenance import read_record

    record = read_record(file)
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    for name, value in _lines(record):
        click.echo(f"{name:<12}{value}".rstrip())


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values to show; a name is given only with its first value."""
    yield "product", record["product"]
    yield "made", f"{record['made']}, in {record['duration']:g} s, on {record['host'] or 'an unknown host'}"
    stages = ", ".join(f"{name} {version}" for name, version in record["stages"].items())
    yield "by", f"VISQL {record['visql']}, stage {stages}"
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    yield "with", f"Python {record['python']}, {libraries}; {record['machine']}"
    yield "checksum", record["checksum"]
    inputs = [f"{_checksum_text(what)}  {name}" for name, what in record["inputs"].items()]
    shown = inputs if len(inputs) <= _INPUTS else inputs[: _INPUTS - 1]
    yield from _listed("from", shown or ["no file"])
    if len(shown) < len(inputs):
        yield "", f"and {len(inputs) - len(shown)} more; use --json to show all"
    yield from _listed("settings", [f"{n}: {v}" for n, v in _flat(record["settings"])] or ["none"])
    yield from _listed("facts", [f"{digest}  {name}" for name, digest in record["facts"].items()])


def _listed(name: str, values: list[str]) -> Iterator[tuple[str, str]]:
    yield from ((name if i == 0 else "", value) for i, value in enumerate(values))


def _flat(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for section, values in settings.items():
        for name, value in values.items():
            yield f"{section}.{name}", value


def _checksum_text(what: str | Mapping[str, Any]) -> str:
    """Return the checksum of an input; of a raw frame that of its pixels, or else of its header."""
    if isinstance(what, str):
        return what
    part = "pixels" if "pixels" in what else "header"
    return f"{what[part]} ({part}, {what['size']} bytes)"
