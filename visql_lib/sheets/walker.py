"""The search for raw frames in the raw folders: names, sizes and times of change; nothing is opened.

The index of the sheets, the watch and the search for what is to be fetched use it: all find the same files.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from visql_lib.config import Settings
from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.frames.names import is_fits_like
from visql_lib.instruments.names import NamePattern
from visql_lib.sheets.rules import SheetRules

log = logging.getLogger(__name__)

Files = dict[Path, os.stat_result]

SHOWN = 3  # files or frames named in a warning


class RawEntry(NamedTuple):
    """Something in a raw folder that is named like a raw frame of a wanted group."""

    folder: str  # the raw folder, as the settings have it
    path: Path
    state: os.stat_result  # of the file a link leads to; of the link itself if that leads nowhere
    exposure: str
    group: str  # "" where names do not tell it


@dataclass
class IgnoredFiles:
    """The files that look like FITS by their name, but are not listed."""

    misnamed: list[str] = field(default_factory=list)
    other_endings: list[str] = field(default_factory=list)

    def warn(self, suffixes: Sequence[str]) -> None:
        """Log how many files are ignored, and the first of them."""
        _warn_ignored(self.misnamed, "are not named like raw frames")
        _warn_ignored(self.other_endings, f"have none of the endings {' '.join(suffixes)}")


def _warn_ignored(paths: Sequence[str], what: str) -> None:
    if paths:
        shown = ", ".join(map(repr, paths[:SHOWN])) + ", ..." * (len(paths) > SHOWN)
        log.warning("%d FITS files %s and are left alone: %s", len(paths), what, shown)


def check_folders(folders: Sequence[str]) -> None:
    """Check that all raw folders exist.

    Raises
    ------
    ConfigError
        If one does not.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"raw: folder {folder!r} does not exist; create it, or set raw=FOLDER")


def suffixes_of(settings: Settings) -> tuple[str, ...]:
    """Return the endings of raw files, in lower case, the preferred ones first."""
    return tuple(suffix.lower() for suffix in settings.index.suffixes)


def find_entries(
    settings: Settings,
    names: NamePattern,
    rules: SheetRules,
    groups: Collection[str] | None,
    ignored: IgnoredFiles | None = None,
) -> Iterator[RawEntry]:
    """Search all raw folders for what is named like a raw frame of some groups.

    What is no plain file is found as well: a link that leads nowhere, a FIFO, where names
    tell the group also a folder.

    Parameters
    ----------
    settings : Settings
        The raw folders, and the endings of raw files.
    names : NamePattern
        How raw files are named.
    rules : SheetRules
        Tell the group of a frame by its name.
    groups : collection of str or None
        The wanted groups, None: all; where names do not tell the start, all files are found, in the group "".
    ignored : IgnoredFiles, optional
        Collects the FITS files that are not listed.
    """
    suffixes, ignored = suffixes_of(settings), IgnoredFiles() if ignored is None else ignored
    wanted = set(groups or ()) if names.tell_start else {""}
    all_told = groups is None and names.tell_start
    for folder in settings.raw:
        for entry, state in walk(Path(folder)):
            if not entry.name.lower().endswith(suffixes):
                if is_fits_like(entry.name) and not stat.S_ISDIR(state.st_mode):
                    ignored.other_endings.append(entry.path)
                continue
            try:
                name = names.parse(entry.name)
            except NameFormatError:
                ignored.misnamed += [entry.path] * (not stat.S_ISDIR(state.st_mode))
                continue
            group = rules.group_of_name(name)
            if (group in wanted or (all_told and group)) and (group or not stat.S_ISDIR(state.st_mode)):
                yield RawEntry(folder, Path(entry.path), state, name.exposure, group)


def raw_files(
    settings: Settings, names: NamePattern, rules: SheetRules, groups: Collection[str]
) -> dict[str, Files]:
    """List the raw files of some groups, in each raw folder.

    Every plain file counts, also where there are several of one exposure. The stat is
    that of the file itself where its name is a link. Parameters are those of `find_entries`.

    Raises
    ------
    ConfigError
        If a raw folder does not exist.
    """
    check_folders(settings.raw)
    found: dict[str, Files] = {folder: {} for folder in settings.raw}
    for entry in find_entries(settings, names, rules, groups):
        if stat.S_ISREG(entry.state.st_mode):
            found[entry.folder][entry.path] = entry.state
    return found


def walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Walk through a raw folder: yield what is below it in order of name, a folder after what is in it.

    What may not be looked into is skipped with a warning. Links are followed, those
    that lead nowhere are yielded as links. A file that vanishes meanwhile is skipped.
    """
    try:
        real = folder.resolve()
        if real in above:  # a link that leads back
            return
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda e: e.name)
    except OSError as error:
        log.warning("%s: cannot be looked into (%s)", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith("."):  # not ready yet: rsync's half files, and the folders it keeps them in
            continue
        state = _state(entry)
        if state is None:
            continue
        if stat.S_ISDIR(state.st_mode):
            yield from walk(Path(entry.path), (*above, real))
        yield entry, state


def _state(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the stat of an entry, of a link that leads nowhere its own; None if the entry is gone."""
    try:
        return entry.stat()
    except OSError:  # gone since it was listed, or a link to what is away
        try:
            return entry.stat(follow_symlinks=False)
        except OSError as error:
            log.info("%s: %s", entry.path, error.strerror)
            return None
