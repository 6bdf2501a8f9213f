"""`visql lc-thaw`: let references, stars and models of a target be chosen anew."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import FOLDER, step
from visql_lib.cli.lightcurves import light_settings_of

_CHOICES = ("reference", "stars", "psf", "scene", "all")


@step(
    "lc-thaw",
    """Let choices of TARGET, or of one set of it (TARGET/SET), be made anew by the next run of the workflow.

The reference frame, the comparison stars, the model of the PSF (whether it changes over the frame) and that
of the target (smoothness of the galaxy, its core) are chosen once and kept when frames are added. This
removes the files of those that are named [all], and says which; what hangs on them is made again.""",
    "visql lc-thaw J1206/R_ecam stars scene --config config/lightcurves.yaml",
)
@click.argument("target")
@click.argument("choices", nargs=-1, type=click.Choice(_CHOICES))
@click.option("--results", type=FOLDER, metavar="DIR", help="Folder of all products [of the settings].")
def command(target: str, choices: tuple[str, ...], results: Path | None, config: Path | None) -> None:
    """Remove the files, say which."""
    from visql_lib.errors import RequestError
    from visql_lib.pipelines.lightcurves.frozen import FROZEN, thaw
    from visql_lib.pipelines.lightcurves.grouping import SETS

    folder = results or Path(light_settings_of(config).results)
    known = SETS.groups(folder)
    groups = [key for key in known if target in (key, key.partition("/")[0])]
    if not groups:
        there = ", ".join(dict.fromkeys(key.partition("/")[0] for key in known)) or "none"
        raise RequestError(f"{folder}: no target or set {target!r}; there are {there}")
    wanted = FROZEN if not choices or "all" in choices else choices
    removed = list(thaw(folder, groups, list(wanted)))
    for path in removed:
        click.echo(f"removed {path}")
    if not removed:
        click.echo(f"{target}: nothing of {', '.join(wanted)} was chosen yet")
