"""The raw frames there are: names, sizes and times of change; nothing is opened."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.errors import ConfigError, NameFormatError
from visql_lib.instruments.euclid_names import RawName

log = logging.getLogger(__name__)

Files = dict[Path, os.stat_result]


def raw_files(settings: Settings, months: Collection[str]) -> dict[str, Files]:
    """Return the raw files of months, in each raw folder.

    Every file counts, also where there are several of one exposure. The stat is
    that of the file itself where its name is a link.

    Raises
    ------
    ConfigError
        If a raw folder does not exist.
    """
    found: dict[str, Files] = {}
    for folder in settings.raw:
        if not Path(folder).is_dir():
            raise ConfigError(f"raw: folder {folder!r} does not exist; create it, or set raw=FOLDER")
        found[folder] = {
            path: stat
            for path, stat in _files(Path(folder), settings.index.suffixes)
            if _month(path.name) in months
        }
    return found


def _month(name: str) -> str:
    try:
        return RawName.parse(name).month
    except NameFormatError:
        return ""


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
        log.warning("%s: cannot be looked into (%s)", folder, error.strerror)
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _files(Path(entry.path), suffixes, (*above, real))
            elif entry.name.endswith(suffixes) and entry.is_file():
                yield Path(entry.path), entry.stat()
        except OSError as error:  # gone since it was listed, or a medium that fails
            log.info("%s: %s", entry.path, error.strerror)
