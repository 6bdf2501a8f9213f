"""The raw files in the raw folders: names, sizes and times of change; nothing is opened."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.instruments.model import load_instrument
from visql_lib.instruments.names import NamePattern

log = logging.getLogger(__name__)

Files = dict[Path, os.stat_result]


def raw_files(settings: Settings, months: Collection[str]) -> dict[str, Files]:
    """List the raw files of months, in each raw folder.

    Every file counts, also where there are several of one exposure. The stat is
    that of the file itself where its name is a link.

    Raises
    ------
    ConfigError
        If a raw folder does not exist.
    """
    found: dict[str, Files] = {}
    names, suffixes = load_instrument(settings.instrument).names, settings.index.suffixes
    for folder in settings.raw:
        if not Path(folder).is_dir():
            raise ConfigError(f"raw: folder {folder!r} does not exist; create it, or set raw=FOLDER")
        found[folder] = {
            path: stat
            for path, stat in _files(Path(folder), tuple(s.lower() for s in suffixes))
            if _may_be_of(path.name, months, names)
        }
    return found


def _may_be_of(name: str, months: Collection[str], names: NamePattern) -> bool:
    """Say whether a file may be of one of the months: where names do not tell, every file may."""
    try:
        month = names.parse(name).month
    except NameFormatError:
        return False
    return month in months if names.tell_start else True


def _files(
    folder: Path, suffixes: tuple[str, ...], above: tuple[Path, ...] = ()
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield files with the endings of frames; hidden files and folders are not ready yet."""
    real = folder.resolve()
    if real in above:  # a link that leads back
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda e: e.name)
    except OSError as error:
        log.warning("%s: cannot be read (%s)", folder, error.strerror)
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _files(Path(entry.path), suffixes, (*above, real))
            elif entry.name.lower().endswith(suffixes) and entry.is_file():
                yield Path(entry.path), entry.stat()
        except OSError as error:  # gone since it was listed, or a medium that fails
            log.info("%s: %s", entry.path, error.strerror)
