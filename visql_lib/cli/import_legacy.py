"""`visql import-legacy`: text tables of the original system -> our tables."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, progress, settings_of, step


@step(
    "import-legacy",
    """Import the text tables of the original scripts from FOLDER and its subfolders.

    Tables of stars, moments and flux ratios become tables of their exposures. Medians,
    archive names, and ratios per exposure or CCD become rows of the imported tables
    of their month, which can then be processed without raw files. VISQL's own
    measurements are never overwritten, and importing a folder again changes nothing.
    The exit code is 1 if a table is broken; the others are still imported.""",
    "visql import-legacy old/products --results results",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--results", type=FOLDER, metavar="DIR", help="Results folder [default: from the settings].")
def command(folder: Path, results: Path | None, config: Path | None) -> None:
    """Import, report."""
    from visql_lib.pipelines.vis.legacy import importing
    from visql_lib.products.context import Context

    context = Context.using(settings_of(config), importing.SETTINGS, importing.FACTS, progress)
    results = results or Path(context.settings.results)
    report = importing.run(context, importing.ImportInputs(folder, results))
    for line in report.lines():
        click.echo(line)
    if not report.counts:
        click.echo(f"{folder}: contains no table of the original scripts")
    if report.broken:
        click.get_current_context().exit(1)
