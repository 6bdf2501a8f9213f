"""`visql site`: products and tables -> the pages people open every morning."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, settings_of_any, step


@step(
    "site",
    """Write the pages of the groups, or bring them up to date.

    Works from the exposure sheets and tables in the results folder of the settings;
    what is missing is shown as missing. Only what changed is made again. Groups that
    have a sheet but no pages yet are made too.
    --bundle writes the chosen groups or exposures to a folder of their own, with their pictures, to
    zip and send.""",
    "visql site --config config/config.yaml --months 202407",
)
@click.option(
    "--groups",
    "--months",
    "groups",
    metavar="GROUP[,...]",
    help="Groups to look at, such as months YYYYMM; default those of the settings.",
)
@click.option("-o", "--output", type=FOLDER, metavar="FOLDER", help="The site; default results/site.")
@click.option("--bundle", type=FOLDER, metavar="FOLDER", help="Write a self-contained folder instead.")
@click.option("--exposure", "names", multiple=True, metavar="E", help="Bundle only this; may be given again.")
def command(
    groups: str | None, output: Path | None, bundle: Path | None, names: tuple[str, ...], config: Path | None
) -> None:
    """Read, gather, write."""
    from visql_lib.config.units import names_in
    from visql_lib.errors import ConfigError
    from visql_lib.live.alerts import refresh
    from visql_lib.pipelines import registry_of
    from visql_lib.qc.limits import LimitFile
    from visql_lib.site.build import build
    from visql_lib.site.bundle import bundle as write_bundle
    from visql_lib.site.bundle import chosen
    from visql_lib.site.groups import gathered, missing_of_all, recent_groups
    from visql_lib.site.links import Links
    from visql_lib.site.neighbours import groups_beside
    from visql_lib.site.state import groups_to_build

    if names and bundle is None:
        raise click.UsageError("--exposure goes with --bundle")
    settings = settings_of_any(config)
    results = Path(settings.results)
    if not results.is_dir():
        raise ConfigError(f"results: folder {settings.results!r} does not exist")
    registry = registry_of(settings)
    grouping = registry.grouping
    if groups:
        settings = settings.model_copy(update={settings.group_key: tuple(names_in(groups))})
    asked = settings.groups_at() or grouping.groups(results)  # none named: all there are
    wanted = grouping.expanded(results, asked)
    if groups or bundle:
        lost = [m for m in wanted if not grouping.sheet_path(results, m).is_file()]
        if lost and groups:
            raise ConfigError(f"--groups: there is no exposure sheet of {', '.join(lost)}; run `visql index`")
    if bundle is None:
        wanted = groups_to_build(results, wanted, grouping, output)
    found, expected = gathered(results, settings, wanted)
    if bundle is None:  # pages at the ends of other groups may lead to what is not there any more
        while beside := groups_beside(found, results, grouping, output):
            more, of_more = gathered(results, settings, beside)
            found, expected = [*found, *more], expected | of_more
    name = str(config) if config is not None else ""
    if bundle is not None:
        built = write_bundle(results, bundle, chosen(found, names), expected, settings, config=name)
        click.echo(f"{bundle}: {len(built.written)} files")
        return
    links = Links(results, output, grouping.frame) if output is not None else None
    file = LimitFile.load(settings.thresholds, registry.quantities)
    if output is None:  # the front page shows the alerts; who is told is up to `visql alerts --send`
        groups_now = recent_groups(results, settings)
        refresh(groups_now, results, settings, file, registry.terms, datetime.now(UTC), send=False)
    of_all = missing_of_all(results, settings, wanted)
    built = build(
        results,
        found,
        expected,
        settings,
        thresholds=file.thresholds,
        config=name,
        links=links,
        of_all=of_all,
    )
    where = (output or results / "site") / "index.html"
    click.echo(
        f"{where}: {len(built.written)} written, {built.unchanged} unchanged, {len(built.removed)} removed"
    )
