"""`visql schema`: settings, tables and flags -> schema and documentation."""

from __future__ import annotations

import json
from pathlib import Path

import click

from visql_lib.cli.common import FOLDER


def generated() -> dict[str, str]:
    """Return the text of every generated file, by its path in the project."""
    from visql_lib import flags
    from visql_lib.config.document import json_schema, markdown
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.lightcurves import registry as lightcurves
    from visql_lib.pipelines.lightcurves.schemas import ALL as LIGHT_TABLES
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.pointing import registry as pointing
    from visql_lib.pipelines.pointing.schemas import ALL as POINTING_TABLES
    from visql_lib.pipelines.pointing.settings import PointingSettings
    from visql_lib.pipelines.reduction import registry as reduction
    from visql_lib.pipelines.reduction.schemas import ALL as REDUCTION_TABLES
    from visql_lib.pipelines.reduction.settings import ReductionSettings
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.pipelines.vis.schemas.all import ALL
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.products.document import markdown as products
    from visql_lib.tables.document import markdown as tables

    night = reduction.REGISTRY

    return {
        "workflow/schemas/config.schema.json": json.dumps(json_schema(VisSettings), indent=1) + "\n",
        "docs/configuration.md": markdown(VisSettings),
        "docs/tables.md": tables(ALL),
        "docs/flags.md": flags.markdown(),
        "docs/products.md": products(REGISTRY, REGISTRY.words(load_instrument(VisSettings().instrument))),
        "workflow/schemas/reduction.schema.json": json.dumps(json_schema(ReductionSettings), indent=1) + "\n",
        "docs/reduction_settings.md": markdown(ReductionSettings, "reduction", "configuration.md"),
        "docs/reduction_tables.md": tables(REDUCTION_TABLES, "Tables of `reduction`"),
        "docs/reduction_products.md": products(night, {}, ("reduction_tables.md", "reduction.md")),
        "workflow/schemas/pointing.schema.json": json.dumps(json_schema(PointingSettings), indent=1) + "\n",
        "docs/pointing_settings.md": markdown(PointingSettings, "pointing", "configuration.md"),
        "docs/pointing_tables.md": tables(POINTING_TABLES, "Tables of `pointing`"),
        "docs/pointing_products.md": products(pointing.REGISTRY, {}, ("pointing_tables.md", "pointing.md")),
        "workflow/schemas/lightcurves.schema.json": json.dumps(json_schema(LightCurveSettings), indent=1)
        + "\n",
        "docs/lightcurves_settings.md": markdown(LightCurveSettings, "lightcurves", "configuration.md"),
        "docs/lightcurves_tables.md": tables(LIGHT_TABLES, "Tables of `lightcurves`"),
        "docs/lightcurves_products.md": products(
            lightcurves.REGISTRY, {}, ("lightcurves_tables.md", "lightcurves.md")
        ),
    }


def profiles(folder: Path) -> dict[str, str]:
    """Return the profiles for clusters with the groups of the registry, by their paths in the project."""
    from visql_lib.pipelines.vis.registry import REGISTRY
    from visql_lib.products.document import with_groups

    names = [f"workflow/profiles/{name}/config.yaml" for name in ("slurm", "cluster-generic")]
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names if (folder / name).is_file()}
    return {name: with_groups(text, REGISTRY) for name, text in texts.items()}


@click.command(
    "schema",
    help="Generate the schema and the documentation of settings, tables, flags and products, and the groups"
    " of the cluster profiles, of the project in FOLDER.",
)
@click.argument("folder", type=FOLDER, default=".")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file is out of date.")
def command(folder: Path, check: bool) -> None:
    """Generate, then compare or write."""
    stale = []
    for name, text in (generated() | profiles(folder)).items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        click.echo(f"{name}: {'out of date; run `visql schema`' if check else 'written'}")
    if check and stale:
        raise click.exceptions.Exit(1)
