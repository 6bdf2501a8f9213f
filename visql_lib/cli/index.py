"""`visql index`: folders of raw frames -> exposure sheets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, settings_of_any, step


@step(
    "index",
    """List the raw frames in the folders RAW (default: those of the settings).

    Writes the sheet of each group, such as {results}/exposures/{month}.tsv, with one row
    per raw file: type, DATE-OBS (UTC), EXPTIME [s], angles [deg], status, and the columns
    that the instrument file asks for. Headers are read only for files
    that are new or changed. The workflow does this itself whenever it starts.""",
    "visql index raw --results results --months 202407",
)
@click.argument("raw", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--results", type=FOLDER, metavar="DIR", help="Folder of all products.")
@click.option(
    "--groups",
    "--months",
    "groups",
    metavar="GROUP[,GROUP...]|auto",
    help="Groups to list, such as months YYYYMM; cameras whose files' names tell no date: all.",
)
def command(raw: tuple[Path, ...], results: Path | None, groups: str | None, config: Path | None) -> None:
    """Scan folders, read headers where needed, write sheets."""
    from visql_lib.cli.common import progress_count
    from visql_lib.frames import load_instrument
    from visql_lib.pipelines import check_results, claim_results, settings_from_mapping, sheet_rules_of

    settings = settings_of_any(config)
    rules = sheet_rules_of(settings)
    given = {"raw": [str(r) for r in raw], "results": results and str(results), settings.group_key: groups}
    settings = settings_from_mapping(settings.model_dump() | {k: v for k, v in given.items() if v})
    check_results(settings)
    with progress_count("headers read") as advance:
        instrument = load_instrument(settings.instrument)
        undated = not instrument.names.tell_start and settings.groups == type(settings)().groups
        wanted = None if undated else settings.groups_at() or None
        sheets = rules.refresh(settings, instrument, wanted, on_read=advance)
    claim_results(settings)
    if not sheets:
        click.echo(f"{', '.join(settings.raw)}: no exposures")
    for group, rows in sheets.items():
        kinds = Counter(f"{r.frame_type} {r.status}" for r in rows)
        text = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "no exposures"
        click.echo(f"{rules.grouping.sheet_path(Path(settings.results), group)}: {text}")
