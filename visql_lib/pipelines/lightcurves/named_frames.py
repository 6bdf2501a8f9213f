"""Frames that the file of a target names: whether they are there, before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.errors import ConfigError, TableError
from visql_lib.instruments.names import stem_of
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.sheets.walker import suffixes_of, walk
from visql_lib.tables.store import read_meta

_NAMED = 5  # unknown frames of a message


def named_frames(target: Target) -> dict[str, str]:
    """Return the frames whose pixels or which as reference a target's file names -> where it does."""
    found = {target.reference: "reference"}
    found.setdefault(target.on, "on")
    marked = () if isinstance(target.stars, str) else target.stars
    for star in marked:
        found.setdefault(star.on, f"stars: {star.name}")
    for mask in target.masks:
        found.setdefault(mask.on, "masks")
    return {name: where for name, where in found.items() if name not in ("", AUTO)}


def frozen_reference(table: Path) -> str:
    """Return the frame that was chosen as reference of a target, "" if none was yet."""
    try:
        return str(read_meta(table).get("reference", ""))
    except TableError:
        return ""


def name_problems(target: Target, frames: Collection[str], reference: Path, *, test: bool) -> Iterator[str]:
    """Yield what is wrong with the frames that a target's file, its kick list and its test list name.

    Parameters
    ----------
    target : Target
    frames : collection of str
        The frames of all its sets; in a run of the test list those of the list.
    reference : Path
        The table of the reference, if it is chosen already.
    test : bool
        Whether it is a run of the test list.
    """
    listed = target.path_of(target.test) if target.test else Path(target.file)
    for name, where in named_frames(target).items():
        if name not in frames and not test:
            yield f"{target.file}: {where}: there is no frame {name!r} in {target.name}"
        elif name not in frames:
            yield f"{listed}: {name!r}, which {target.file} names ({where}), is not in the list"
    try:
        kicks, tests = target.kicks(), target.test_frames()
    except ConfigError as error:
        yield str(error)
        return
    lists = {listed: tests} if test else {listed: tests, target.path_of(target.kick): tuple(kicks)}
    for path, names in lists.items():
        if unknown := [name for name in names if name not in frames]:
            yield f"{path}: {_unknown(target, unknown)}"
    chosen = target.reference if target.reference != AUTO else frozen_reference(reference)
    if chosen in kicks:
        yield (
            f"{target.path_of(target.kick)}: {chosen!r} is the reference of {target.name} and cannot be "
            f"kicked; name another one (reference: FRAME), or let it be chosen anew (visql lc-thaw "
            f"{target.name} reference)"
        )
    if target.reference not in (AUTO, *tests) and tests and not test:
        yield f"{listed}: {target.reference!r}, the reference of {target.name}, is not in the list"


def check_kicks(target: Target, name: str, frames: Collection[str], settings: Settings) -> None:
    """Check the kick list of a target where one set is looked at: other sets are known by their folders.

    Raises
    ------
    ConfigError
        If it names a frame that no set has.
    """
    unknown = [frame for frame in target.kicks() if frame not in frames]
    others = [other for other in target.sets if other != name]
    if unknown and others:
        suffixes = suffixes_of(settings)
        there = {
            stem_of(entry.name)
            for other in others
            for folder in target.raw_of(other)
            for entry, _ in walk(Path(folder))
            if entry.name.lower().endswith(suffixes)
        }
        unknown = [frame for frame in unknown if frame not in there]
    if unknown:
        raise ConfigError(f"{target.path_of(target.kick)}: {_unknown(target, unknown)}")


def _unknown(target: Target, names: Collection[str]) -> str:
    shown = list(names)[:_NAMED]
    more = f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)
    return f"no such frame of {target.name}: {', '.join(shown)}{more}"
