"""The names in raw folders, listed again and again, cheaply.

A folder is listed anew when its time of change is another one, for some seconds after that, and now and then
in any case. The time is asked of the opened folder: on a network disk, opening it asks the server, while the
time of a path may be remembered for half a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_UNSURE = 3.0  # s after a change within which another one may bear the same time
LISTED_ANYWAY = 30.0  # s after which a folder is listed though nothing seems to have changed


class FolderListing:
    """The files of a folder and of those below it that are wanted.

    Parameters
    ----------
    root : Path
        The folder. Links to folders are followed; what begins with a dot is not looked at.
    choose : callable
        Gets the names of the files of a folder, returns those that are wanted.

    Attributes
    ----------
    files : dict
        Path and number (inode) of each wanted file. A file that was replaced has another number.
    trouble : str
        Why the folder, or one below it, cannot be looked into, "" if all can; what was known of it stays.
    """

    def __init__(self, root: Path, choose: Callable[[list[str]], list[str]]) -> None:
        self._root, self._choose = root, choose
        self._folders: dict[str, _Folder] = {}
        self.files: dict[str, int] = {}
        self.trouble = ""

    def refresh(self, now: float | None = None) -> bool:
        """Look again; `now`: s of a clock that only counts. Returns whether anything was listed anew."""
        moment = time.monotonic() if now is None else now
        found: dict[str, _Folder] = {}
        self.trouble = ""
        self._walk(str(self._root), (), moment, found)
        if found.keys() == self._folders.keys() and all(f.listed != moment for f in found.values()):
            return False
        self._folders = found
        self.files = {path: number for folder in found.values() for path, number in folder.files.items()}
        return True

    def _walk(
        self, path: str, above: tuple[tuple[int, int], ...], now: float, found: dict[str, _Folder]
    ) -> None:
        """Bring a folder and those below it up to date."""
        folder = self._folders.get(path) or _Folder(path)
        try:
            folder.refresh(self._choose, now)
        except OSError as error:
            if above and isinstance(error, FileNotFoundError):  # removed since its name was listed
                return
            self.trouble = self.trouble or f"{path}: cannot be looked into ({error.strerror or error})"
            self._keep(path, found)
            return
        if folder.ident in above:  # a link that leads back
            return
        found[path] = folder
        for inner in folder.inner:
            self._walk(inner, (*above, folder.ident), now, found)

    def _keep(self, path: str, found: dict[str, _Folder]) -> None:
        """Let a folder, and those below it, be as they were."""
        if (folder := self._folders.get(path)) is not None and path not in found:
            found[path] = folder
            for inner in folder.inner:
                self._keep(inner, found)


class _Folder:
    """What one folder held when it was listed."""

    __slots__ = ("changed", "files", "ident", "inner", "listed", "mtime", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.mtime = -1
        self.changed = self.listed = -LISTED_ANYWAY
        self.ident = (0, 0)
        self.inner: list[str] = []
        self.files: dict[str, int] = {}

    def refresh(self, choose: Callable[[list[str]], list[str]], now: float) -> None:
        """List it if that may be needed."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            state = os.fstat(handle)
            self.ident = (state.st_dev, state.st_ino)
            if state.st_mtime_ns != self.mtime:
                self.mtime, self.changed = state.st_mtime_ns, now
            if now - self.changed <= _UNSURE or now - self.listed >= LISTED_ANYWAY:
                self._list(handle, choose)
                self.listed = now
        finally:
            os.close(handle)

    def _list(self, handle: int, choose: Callable[[list[str]], list[str]]) -> None:
        numbers, inner = {}, []
        with os.scandir(handle) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    inner.append(entry.name)
                else:
                    numbers[entry.name] = entry.inode()
        self.inner = [os.path.join(self.path, name) for name in sorted(inner)]  # noqa: PTH118 - many, cheaply
        self.files = {os.path.join(self.path, name): numbers[name] for name in choose(list(numbers))}  # noqa: PTH118


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link whose end is away
        return False
