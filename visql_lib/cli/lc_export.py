"""`visql lc-export`: the sets of a target -> .rdb, ECSV, Parquet, README; or a table -> .rdb."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import output_option, step

if TYPE_CHECKING:
    from visql_lib.pipelines.lightcurves.stages.lc_export import ExportOutputs

PLACE = click.Path(exists=True, path_type=Path)


@step(
    "lc-export",
    """Write the light curves of a target for the programs that go on with them.

SOURCES are the folders of the target's sets. Beside the table of -o (Parquet) come its .rdb and .ecsv, those
of each set, decisions.parquet and README.md.

With a single table of an earlier export (.parquet) and -o FILE.rdb, only that .rdb is written.""",
    "visql lc-export results/targets/J1206/R_* -o results/targets/J1206/J1206.parquet --target J1206",
)
@click.argument("sources", nargs=-1, required=True, type=PLACE)
@output_option("Table of all sets (.parquet); of a table: its .rdb.")
@click.option("--target", metavar="FILE", help="The target's file, or its name.")
def command(sources: tuple[Path, ...], output: Path, target: str | None, config: Path | None) -> None:
    """Gather the sets, write all files."""
    from typing import cast

    from visql_lib.cli.common import progress, settings_of_pipeline
    from visql_lib.errors import RequestError

    if output.suffix == ".rdb":
        _convert(sources, output)
        return
    if target is None:
        raise RequestError("--target is needed: the target's file, or its name")
    if wrong := [path for path in sources if not path.is_dir()]:
        raise RequestError(f"{wrong[0]}: is no folder of a set")
    from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
    from visql_lib.pipelines.lightcurves.stages.lc_export import ExportInputs, run
    from visql_lib.pipelines.lightcurves.target_file import load_target
    from visql_lib.products.context import Context

    settings = cast("LightCurveSettings", settings_of_pipeline("lightcurves", config, None))
    context = Context.using(settings, ("nights", "export"), (), progress)
    made = run(context, ExportInputs(sources, load_target(target)))
    _write(output, made)


def _write(output: Path, made: ExportOutputs) -> None:
    from visql_lib.atomic import atomic_path
    from visql_lib.pipelines.lightcurves.decisions import columns_of
    from visql_lib.pipelines.lightcurves.exporting import write_curve, write_product
    from visql_lib.pipelines.lightcurves.schemas import DECISIONS
    from visql_lib.pipelines.lightcurves.stages.lc_export import STAGE
    from visql_lib.pipelines.lightcurves.versions import VERSIONS
    from visql_lib.tables.provenance import write_sidecar

    folder, stem = output.parent, output.stem
    for name, (columns, sources) in made.of_sets.items():
        write_curve(folder / f"{stem}_{name}", columns, sources)
    write_curve(folder / stem, made.columns, made.sources)
    write_product(folder / "decisions.parquet", columns_of(made.decisions), DECISIONS, made.inputs)
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(made.text, encoding="utf-8")
    from visql_lib.pipelines.lightcurves.export_table import export_schema

    write_product(output, made.columns, export_schema(made.sources), made.inputs)
    stems = [stem, *(f"{stem}_{name}" for name in made.of_sets)]
    texts = [folder / f"{name}{ending}" for name in stems for ending in (".rdb", ".ecsv")]
    for path in (*texts, folder / "README.md"):
        write_sidecar(path, {STAGE: VERSIONS[STAGE]}, made.inputs)


def _convert(sources: tuple[Path, ...], output: Path) -> None:
    """Write the .rdb of one table."""
    from visql_lib.errors import RequestError
    from visql_lib.pipelines.lightcurves.exporting import rdb_columns
    from visql_lib.tables import read_table
    from visql_lib.tables.rdb import write_rdb

    if len(sources) != 1 or not sources[0].is_file():
        raise RequestError(f"{output}: an .rdb is made of one table (.parquet); for a target name a .parquet")
    table = read_table(sources[0])
    names = [name.removeprefix("mag_") for name in table if name.startswith("mag_")]
    if "mhjd" not in table or not names:
        raise RequestError(f"{sources[0]}: has no columns mhjd and mag_X: it is no light curve by night")
    write_rdb(output, rdb_columns(table, names))
