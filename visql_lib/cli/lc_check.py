"""`visql lc-check`: what a frame is read as, line by line, with who says so, and what is missing."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, step


@step(
    "lc-check",
    """Tell what a pre-reduced frame is read as: each fact, its value, and where it comes from.

Nothing is measured. What is missing, or cannot be, is told at the end, with what to write where; then,
or if a file cannot be read, the exit code is 1.""",
    "visql lc-check raw/WFI2033_0001.fits --camera ecam",
)
@click.argument("frames", type=INPUT, nargs=-1, required=True, metavar="FRAME...")
@click.option("--camera", metavar="NAME", help="Camera file: a name or a path [generic].")
@click.option(
    "--target", metavar="NAME", help="Target whose camera is meant: a name, or the path of its file."
)
@click.option("--set", "set_name", metavar="SET", help="Set of the target [the only one].")
def command(
    frames: tuple[Path, ...],
    camera: str | None,
    target: str | None,
    set_name: str | None,
    config: Path | None,
) -> int:
    """Read the facts of each frame and print them."""
    from visql_lib.errors import FrameError
    from visql_lib.images.light_check import checked_light
    from visql_lib.pipelines.lightcurves.chosen_set import chosen_camera

    chosen = chosen_camera(target, set_name, camera)
    wrong = False
    for path in frames:
        try:
            check = checked_light(path, chosen.camera)
        except FrameError as error:
            click.echo(f"visql: {error}", err=True)
            wrong = True
            continue
        click.echo(f"{check.path}: as a frame of {chosen.camera.name}")
        widths = [max(len(line[i]) for line in check.lines) for i in (0, 1)]
        for name, value, source in check.lines:
            click.echo(f"  {name:{widths[0]}}  {value:{widths[1]}}  {source}".rstrip())
        for text in check.notes:
            click.echo(f"  note: {text}")
        for text in check.missing:
            click.echo(f"  missing: {text}")
        wrong |= bool(check.missing)
    return int(wrong)
