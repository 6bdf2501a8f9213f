"""Store fingerprints of inputs in a file, so that unchanged products are not made again."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path

log = logging.getLogger(__name__)


class Fingerprints:
    """Fingerprints by name, in a JSON file.

    A file that cannot be read, is of another format or was kept under another key counts as empty:
    everything is then checked again.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        What all of them have in common, such as a version; where it changed, none holds.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.entries: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}  # further values stored with them
        kept = _read(path)
        if kept.get("key") == key:
            self.entries, self.notes = kept["entries"], kept["notes"]

    def holds(self, name: str, fingerprint: Any) -> bool:
        """Test whether an entry has this fingerprint."""
        return name in self.entries and bool(self.entries[name] == fingerprint)

    def save(self) -> None:
        """Write the file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        content = {"key": self.key, "entries": self.entries, "notes": self.notes}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept["entries"], dict) and isinstance(kept["notes"], dict):
            return dict(kept)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: cannot be used (%s); everything is checked", path, error)
    return {}
