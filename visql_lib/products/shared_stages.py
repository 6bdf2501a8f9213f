"""Stages that any pipeline may have: QC results of its groups, the site, alerts."""

from __future__ import annotations

from visql_lib.products.registry import LOCAL, Per, Product, Stage
from visql_lib.qc.group import KIND
from visql_lib.qc.quantity import Quantities
from visql_lib.sheets.grouping import Grouping


def qc_stage(
    grouping: Grouping,
    quantities: Quantities,
    category: str,
    settings: tuple[str, ...] = (),
    chunk: str = "",
    doc: str = "every quantity of every exposure and of the group: value, limit, status",
) -> Stage:
    """Make the stage that compares the quantities of a group's tables with their limits.

    Parameters
    ----------
    grouping : Grouping
        Where the tables are.
    quantities : Quantities
        Those of the pipeline.
    category : str
        The category of the site that reports its failure.
    settings : tuple of str, optional
        Sections that hold limits.
    chunk, doc : str, optional
        See `Stage` and `Product`.
    """
    names = {name: "{" + name + "}" for name in grouping.names}
    tables = (grouping.table.format(**names, table=kind) for kind in quantities.tables)
    return Stage(
        KIND,
        Per.GROUP,
        (Product(grouping.table.format(**names, table=KIND), doc),),
        {KIND: 1},
        inputs=(*tables, "sheet", "thresholds"),
        settings=settings,
        category=category,
        chunk=chunk,
    )


def site_stages() -> tuple[Stage, Stage]:
    """Make the stages of the pages, and of the alerts."""
    pages = Product("site", "pages, tiles, alerts; see [site](site.md)", folder=True)
    return (
        Stage("site", Per.STORE, (pages,), {"site": 1}, part="site"),
        Stage("alerts", Per.STORE, (), {"site": 1}, part="alerts", chunk=LOCAL),
    )
