"""`visql archive-month`: move or remove the raw frames of a month."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, settings_of, step

if TYPE_CHECKING:
    from visql_lib.live.space import RawFile
    from visql_lib.pipelines.vis.settings import VisSettings

log = logging.getLogger(__name__)


@step(
    "archive-month",
    """Free disk space: move the raw frames of MONTH (YYYYMM) to --to FOLDER, or --drop them.

    Moving: each frame is copied to FOLDER/MONTH, compared by checksum, and
    replaced by a link with the same time of change, so that no product becomes
    stale. Start it again after a break. Dropping removes, with --yes only,
    frames whose products are all there and readable, without failure, in a
    month that is complete; products stay valid. Frames younger than
    fetch.raw_age [d] stay. Exit 1 if a frame could not be moved or removed.""",
    "visql archive-month 202407 --to /tape/vis --dry-run",
)
@click.argument("month", metavar="MONTH")
@click.option("--to", "target", type=FOLDER, metavar="FOLDER", help="The second location.")
@click.option("--drop", is_flag=True, help="Remove raw frames instead.")
@click.option("--yes", is_flag=True, help="Confirm --drop.")
@click.option("--dry-run", "-n", is_flag=True, help="Only print what would be done.")
def command(
    month: str, target: Path | None, drop: bool, yes: bool, dry_run: bool, config: Path | None
) -> int:
    """List the frames, then move or remove them."""
    from filelock import FileLock, Timeout

    from visql_lib.config.load import validated
    from visql_lib.live.errors import BusyError
    from visql_lib.pipelines.vis.settings import VisSettings

    if (target is None) != drop:
        raise click.UsageError("give either --to FOLDER or --drop")
    if drop and not (yes or dry_run):
        raise click.UsageError("--drop removes raw frames for good: check with --dry-run, then add --yes")
    given = settings_of(config)
    settings = validated(VisSettings, given.model_dump() | {"months": month}, "settings")
    guard = Path(settings.results) / "watch" / ".space"
    guard.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(guard, timeout=0):
            return (
                _drop(settings, month, dry_run) if target is None else _move(settings, month, target, dry_run)
            )
    except Timeout as error:
        raise BusyError(f"{guard}: another archive-month is at work on these results") from error


def _move(settings: VisSettings, month: str, target: Path, dry_run: bool) -> int:
    from visql_lib.live.errors import FrameMoveError
    from visql_lib.live.space import frames_to_move, move

    frames = frames_to_move(settings, month, target)
    chosen = [frame for frame in frames if not frame.obstacle]
    _print_summary(frames, f"to {target / month}", dry_run)
    failed = 0
    for frame in [] if dry_run else chosen:
        try:
            move(frame, target / month)
        except (FrameMoveError, OSError) as error:
            failed += 1
            log.error("%s: not moved: %s", frame.path, error)
    if not dry_run:
        click.echo(f"{len(chosen) - failed} moved, {failed} failed")
    return 1 if failed else 0


def _drop(settings: VisSettings, month: str, dry_run: bool) -> int:
    from visql_lib.frames import load_instrument
    from visql_lib.live.errors import FrameMoveError
    from visql_lib.live.space import drop, frames_to_drop
    from visql_lib.pipelines import make_plan, sheet_rules_of
    from visql_lib.sheets.index import refresh_sheets

    refresh_sheets(settings, load_instrument(settings.instrument), sheet_rules_of(settings), [month])
    frames = frames_to_drop(settings, make_plan(settings, refresh=False), month)
    chosen = [frame for frame in frames if not frame.obstacle]
    _print_summary(frames, "removed", dry_run)
    failed = 0
    for frame in [] if dry_run else chosen:
        try:
            drop(frame)
            log.info("%s: removed", frame.path)
        except (FrameMoveError, OSError) as error:
            failed += 1
            log.error("%s: not removed: %s", frame.path, error)
    if not dry_run:
        click.echo(f"{len(chosen) - failed} removed, {failed} failed")
    return 1 if failed else 0


def _print_summary(frames: list[RawFile], what: str, dry_run: bool) -> None:
    """Print which frames are moved or removed, their size, and why others stay."""
    chosen = [frame for frame in frames if not frame.obstacle]
    for frame in chosen if dry_run else ():
        click.echo(f"would be {'' if what == 'removed' else 'moved '}{what}: {frame.path}")
    size = sum(frame.size for frame in chosen) / 1e9
    click.echo(f"{len(chosen)} of {len(frames)} frames {'would go' if dry_run else 'go'}, {size:.2f} GB")
    for obstacle, number in Counter(frame.obstacle for frame in frames if frame.obstacle).most_common():
        click.echo(f"  {number} stay: {obstacle}")
