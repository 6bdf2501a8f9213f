"""What became of each frame: a file of one line each, written anew as a whole, that outlives the process."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path

log = logging.getLogger(__name__)

_VERSION = 1


class FrameFate(StrEnum):
    """What became of a frame."""

    DONE = "done"
    AGAIN = "again"  # is tried again when it is due
    FAILED = "failed"  # given up


class Later(StrEnum):
    """What became of what comes after a frame's numbers."""

    NONE = ""  # nothing is made, or all of it is
    WAITS = "waits"
    MISSING = "missing"


@dataclass(frozen=True)
class Entry:
    """A frame in the ledger.

    Attributes
    ----------
    mark : str
        Sizes and times of change; a file with another mark is another frame.
    fate : FrameFate
        What became of it.
    changed, order : float
        When its file was changed, and when it was taken [s since 1970].
    reason : str
        Why it failed, or what is doubtful or missing.
    tries : int
        How often it failed.
    due : float
        It is not tried again before [s since 1970].
    told : bool
        False: it was measured, but could not be told.
    latency : float or None
        From its being complete on the disk to its being told [s].
    later : Later
        What becomes of what comes after its numbers.
    folder : str
        Where its products are.
    """

    mark: str
    fate: FrameFate
    changed: float
    order: float
    reason: str = ""
    tries: int = 0
    due: float = 0.0
    told: bool = True
    latency: float | None = None
    later: Later = Later.NONE
    folder: str = ""


class Ledger:
    """The frames that a watch has worked on.

    Parameters
    ----------
    path : Path
        Its file. One that cannot be understood is put aside.
    keep : float
        Frames whose file was changed longer ago [s] are dropped.
    """

    def __init__(self, path: Path, keep: float) -> None:
        self._path, self._keep = path, keep
        self._attempt = path.with_suffix(".attempt")
        self._entries: dict[str, Entry] = {}
        self._lines: dict[str, str] = {}
        self._waiting: set[str] = set()  # those of which more is to be made
        self.notes: dict[str, Any] = {}  # what others keep here, as plain values
        self.is_saved = True
        self._read()
        self._read_attempt()

    # --- entries ------------------------------------------------------------------------------------

    def __getitem__(self, path: Path) -> Entry:
        return self._entries[str(path)]

    def __iter__(self) -> Iterator[tuple[Path, Entry]]:
        return ((Path(path), entry) for path, entry in self._entries.items())

    def get(self, path: Path) -> Entry | None:
        """Return what is known of a path, whatever file it was."""
        return self._entries.get(str(path))

    def find(self, path: Path, mark: str) -> Entry | None:
        """Return the entry of a frame; None if there is none, or that of another file of this name."""
        entry = self._entries.get(str(path))
        return entry if entry is not None and entry.mark == mark else None

    def is_settled(self, path: Path, mark: str) -> bool:
        """Say whether nothing is to be done with a frame any more, but for what comes later."""
        entry = self.find(path, mark)
        return entry is not None and entry.fate is not FrameFate.AGAIN

    def put(self, path: Path, entry: Entry) -> None:
        """Enter a frame, in the place of what was known of it."""
        name = str(path)
        self._entries[name], self.is_saved = entry, False
        self._lines[name] = json.dumps({"frame": name} | asdict(entry))
        (self._waiting.add if entry.later is Later.WAITS else self._waiting.discard)(name)

    def newest_unfinished(self) -> Path | None:
        """Return the newest frame of which more is to be made, None if there is none."""
        if not self._waiting:
            return None
        return Path(max(self._waiting, key=lambda name: self._entries[name].order))

    @property
    def n_unfinished(self) -> int:
        """How many frames more is to be made of."""
        return len(self._waiting)

    def begin(self, path: Path, entry: Entry) -> None:
        """Note a frame before it is worked on: what becomes of it if that costs the process its life."""
        try:
            self._attempt.write_text(json.dumps({"frame": str(path)} | asdict(entry)), encoding="utf-8")
        except OSError as error:  # a full disk is told where it matters
            log.debug("%s: %s", self._attempt, error)

    # --- the file -----------------------------------------------------------------------------------

    def save(self, now: float | None = None) -> None:
        """Write it, without the frames of long ago.

        Raises
        ------
        OSError
            If it cannot be written; it is still right in memory.
        """
        oldest = (time.time() if now is None else now) - self._keep
        for name in [name for name, entry in self._entries.items() if entry.changed < oldest]:
            del self._entries[name], self._lines[name]
            self._waiting.discard(name)
        head = json.dumps({"version": _VERSION, "notes": self.notes})
        with atomic_path(self._path) as temporary:
            temporary.write_text("\n".join((head, *self._lines.values(), "")), encoding="utf-8")
        self._attempt.unlink(missing_ok=True)
        self.is_saved = True

    def _read(self) -> None:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            log.warning("%s: cannot be read (%s); frames may be measured once more", self._path, error)
            return
        try:
            head, *lines = (json.loads(line) for line in text.splitlines())
            if head["version"] != _VERSION:
                raise ValueError(f"version {head['version']}")
            self.notes = dict(head["notes"])
            for line in lines:
                self.put(Path(line.pop("frame")), _entry(line))
            self.is_saved = True
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            log.warning("%s: cannot be understood (%s); it is now %s", self._path, error, aside)
            self._path.replace(aside)
            self._entries, self._lines, self._waiting, self.notes = {}, {}, set(), {}

    def _read_attempt(self) -> None:
        """Take over the attempt that cost the last process its life, if it is not entered."""
        try:
            values = json.loads(self._attempt.read_text(encoding="utf-8"))
            path, entry = Path(values.pop("frame")), _entry(values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):  # there is none, or half of one
            return
        known = self.find(path, entry.mark)
        if known is None or (known.fate is FrameFate.AGAIN and known.tries < entry.tries):
            log.warning("%s: %s", path, entry.reason)
            self.put(path, entry)


def _entry(values: Mapping[str, Any]) -> Entry:
    return Entry(**{**values, "fate": FrameFate(values["fate"]), "later": Later(values["later"])})
