"""`visql rename`: one sequence in time."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT
from visql_lib.cli.files import LIST_HELP, file_step, for_each, list_argument


@file_step(
    "rename",
    f"""Rename frames to one sequence in time, ROOT.0001.TAIL, each in its own folder.

{LIST_HELP}

Frames that begin at the same time stay in the order of the list; those that do not tell when they
began come last. If a name is taken, nothing is renamed. A plan, rename.NNNN.json beside the files,
leads back: --undo.""",
    "visql rename '*.fit,!flat*' -o 20210227",
)
@list_argument(required=False)
@click.option("-o", "--output", "root", metavar="ROOT", help="Default: date (UTC) of the earliest frame.")
@click.option(
    "-t",
    "--tail",
    default="",
    metavar="TAIL",
    help="Default: the ending of each file. .gz and .fz always stay; a tail that is no FITS ending comes "
    "before the file's own.",
)
@click.option(
    "-s", "--sort", "keys", default="", metavar="KEY,...", help="Sort by these keywords instead of by time."
)
@click.option("--dry-run", is_flag=True, help="Show what would be renamed.")
@click.option("--undo", type=INPUT, metavar="PLAN", help="Take a renaming back; without LIST.")
def command(
    words: tuple[str, ...],
    allow_empty: bool,
    root: str | None,
    tail: str,
    keys: str,
    dry_run: bool,
    undo: Path | None,
) -> int:
    """Read the headers, plan, rename; or take back."""
    if (undo is None) != bool(words):
        raise click.UsageError("give a LIST, or --undo PLAN")
    if undo is not None:
        return _undo(undo, dry_run)
    return _rename(words, allow_empty, root, tail, keys, dry_run)


def _rename(
    words: tuple[str, ...], allow_empty: bool, root: str | None, tail: str, keys: str, dry_run: bool
) -> int:
    from visql_lib.images.headers import read_header
    from visql_lib.images.lists import expand
    from visql_lib.images.rename_plan import RenamePlan
    from visql_lib.images.renaming import date_of_earliest, in_sequence, plan_moves

    wanted = [key.strip() for key in keys.split(",") if key.strip()]
    paths = expand(words, allow_empty=allow_empty)
    frames, code = for_each(paths, lambda path: (path, read_header(path)))
    if not frames:
        return code
    ordered, last = in_sequence(frames, wanted)
    if last:
        what = wanted[0] if wanted else "time of its beginning"
        click.echo(f"visql: {', '.join(p.name for p in last)}: no {what}; put last", err=True)
    name = root if root is not None else date_of_earliest(frames)
    moves = plan_moves([path for path, _ in ordered], name, tail)
    if dry_run or not moves:
        for move in moves:
            click.echo(f"{move.old} -> {move.new.name}")
        click.echo(f"{len(moves)} of {len(ordered)} files would be renamed" if moves else "nothing to rename")
        return code
    plan = RenamePlan.new(moves)
    plan.carry_out()
    click.echo(f"{len(moves)} files renamed; the way back: visql rename --undo {plan.path}")
    return code


def _undo(path: Path, dry_run: bool) -> int:
    from visql_lib.images.rename_plan import RenamePlan

    plan = RenamePlan.read(path)
    if dry_run:
        for move in plan.moves:
            click.echo(f"{move.new} -> {move.old.name}")
        return 0
    missing = plan.undo()
    for lost in missing:
        click.echo(f"visql: {lost}: not there any more; it has no way back", err=True)
    click.echo(f"{len(plan.moves) - len(missing)} files have their old names again")
    return int(bool(missing))
