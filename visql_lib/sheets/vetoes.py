"""Frames to leave out: a file of names, one a line, that may be changed at any time."""

from __future__ import annotations

from pathlib import Path

from visql_lib.instruments.names import stem_of


class VetoList:
    """Names of frames, with or without their endings; what follows a # is a remark.

    Parameters
    ----------
    path : Path or None
        The file; it need not be there yet.

    Attributes
    ----------
    trouble : str
        Why it cannot be read, "" if it can; the names that were read last count on.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self._stems: frozenset[str] = frozenset()
        self.trouble = ""

    def refresh(self) -> None:
        """Read the file again if it changed."""
        if self._path is None:
            return
        try:
            state = self._path.stat()
            mark = (state.st_ino, state.st_size, state.st_mtime_ns)
            if mark != self._mark:
                lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
                names = (line.partition("#")[0].strip() for line in lines)
                self._stems, self._mark = frozenset(stem_of(Path(n).name) for n in names if n), mark
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._path}: cannot be read ({error.strerror})"

    def __contains__(self, frame: Path) -> bool:
        return stem_of(frame.name) in self._stems
