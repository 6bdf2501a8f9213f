"""`visql status`: what failed in a month."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, settings_of_any, step
from visql_lib.cli.outputs import write_sidecars


@step(
    "status",
    """List the status of every frame of the month with the exposure sheet SHEET.

    Writes one line per exposure: type, status, reason. If a frame could not be read or a
    step failed on it, the command names the file and the exit code is 1, unless
    --tolerate is given. To accept a bad frame, list it as known_bad in the settings.""",
    "visql status results/exposures/202407.tsv -o status.tsv",
)
@click.argument("sheet", type=INPUT)
@output_option("Status of every exposure (text, tab-separated).")
@click.option("--tolerate", is_flag=True, help="Exit with 0 even if frames failed.")
def command(sheet: Path, output: Path, tolerate: bool, config: Path | None) -> None:
    """Read the sheet and the products, write the status, report failures."""
    from visql_lib.errors import FrameError
    from visql_lib.pipelines import registry_of
    from visql_lib.products.status import exposure_states, failure_summary
    from visql_lib.tables import atomic_path

    registry = registry_of(settings_of_any(config))
    states = exposure_states(registry, *registry.grouping.locate(sheet))
    lines = ["exposure\ttype\tstatus\treason"]
    lines += [f"{s.exposure}\t{s.frame_type}\t{s.status}\t{s.reason}" for s in states]
    with atomic_path(output) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_sidecars("status", output, inputs=[sheet])
    if (failures := failure_summary(states)) and not tolerate:
        raise FrameError(failures)
