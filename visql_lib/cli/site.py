"""`visql site`: products and tables -> the pages people open every morning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, settings_of, step

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.qc.summary import MissingProducts, Month


@step(
    "site",
    """Write the pages of the months, or bring them up to date.

    Works from the exposure sheets and tables in the results folder of the settings;
    what is missing is shown as missing. Only what changed is made again. Months that
    have a sheet but no pages yet are made too.
    --bundle writes the chosen months or exposures to a folder of their own, with their pictures, to
    zip and send.""",
    "visql site --config config/config.yaml --months 202407",
)
@click.option("--months", metavar="YYYYMM[,...]", help="Months to look at; default those of the settings.")
@click.option("-o", "--output", type=FOLDER, metavar="FOLDER", help="The site; default results/site.")
@click.option("--bundle", type=FOLDER, metavar="FOLDER", help="Write a self-contained folder instead.")
@click.option("--exposure", "names", multiple=True, metavar="E", help="Bundle only this; may be given again.")
def command(
    months: str | None, output: Path | None, bundle: Path | None, names: tuple[str, ...], config: Path | None
) -> None:
    """Read, gather, write."""
    from visql_lib.cli.alerts import known_months, limit_file, refresh
    from visql_lib.config.units import names_in
    from visql_lib.errors import ConfigError
    from visql_lib.pipelines.vis.settings import month_list
    from visql_lib.sheets.sheet import sheet_path
    from visql_lib.site.build import build
    from visql_lib.site.bundle import bundle as write_bundle
    from visql_lib.site.bundle import chosen
    from visql_lib.site.links import Links
    from visql_lib.site.neighbours import months_beside
    from visql_lib.site.state import months_to_build

    if names and bundle is None:
        raise click.UsageError("--exposure goes with --bundle")
    settings = settings_of(config)
    results = Path(settings.results)
    if not results.is_dir():
        raise ConfigError(f"results: folder {settings.results!r} does not exist")
    wanted = month_list(names_in(months) if months else settings.months)
    if months or bundle:
        lost = [m for m in wanted if not sheet_path(results, m).is_file()]
        if lost and months:
            raise ConfigError(f"--months: there is no exposure sheet of {', '.join(lost)}; run `visql index`")
    if bundle is None:
        wanted = months_to_build(results, wanted, output)
    found, expected = gathered(results, settings, wanted)
    if bundle is None:  # pages at the ends of other months may lead to what is not there any more
        while beside := months_beside(found, results, output):
            more, of_more = gathered(results, settings, beside)
            found, expected = [*found, *more], expected | of_more
    name = str(config) if config is not None else ""
    if bundle is not None:
        built = write_bundle(results, bundle, chosen(found, names), expected, settings, config=name)
        click.echo(f"{bundle}: {len(built.written)} files")
        return
    links = Links(results, output) if output is not None else None
    file = limit_file(settings.thresholds)
    if output is None:  # the front page shows the alerts; who is told is up to `visql alerts --send`
        refresh(known_months(results, settings), results, settings, file, datetime.now(UTC), send=False)
    of_all = _lost_of_all(results, settings, wanted)
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


def gathered(
    results: Path, settings: VisSettings, months: Sequence[str]
) -> tuple[list[Month], dict[str, list[str]]]:
    """Return months, and the endings of the products that each of their exposures should have."""
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.plan import Plan
    from visql_lib.products.expected import Expected
    from visql_lib.site.gather import gather

    given = {"results": str(results), "months": tuple(months) or settings.months}
    plan = Plan.make(settings.model_copy(update=given), refresh=False)
    asked_for = Expected(plan)
    expected: dict[str, list[str]] = {}
    for month, rows in plan.sheets.items():
        usable = {row.exposure for row in plan.rows(month)}
        expected |= {r.exposure: list(asked_for.endings(r)) if r.exposure in usable else [] for r in rows}
    instrument = load_instrument(settings.instrument)
    found = [gather(results, m, expected, instrument, plan.registry, asked_for.of_group(m)) for m in months]
    return found, expected


def _lost_of_all(results: Path, settings: VisSettings, months: Sequence[str]) -> list[MissingProducts]:
    """Find missing products of all months, the newest ones and `months` among them."""
    from visql_lib.pipelines.vis.plan import Plan
    from visql_lib.products.expected import Expected
    from visql_lib.site.steps import missing_products

    known = sorted(p.stem for p in (results / "exposures").glob("[0-9]" * 6 + ".tsv"))
    wanted = tuple(sorted({*months, *known[-2:]}))
    if not wanted:
        return []
    plan = Plan.make(settings.model_copy(update={"months": wanted}), refresh=False)
    return missing_products(results, (), Expected(plan).of_all())
