"""The state of a built site: fingerprints of all files, so that only changed ones are made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path
from visql_lib.config.load import digest
from visql_lib.products.fingerprints import Fingerprints
from visql_lib.sheets.grouping import Grouping
from visql_lib.site.render import style_digest

STATE = ".state.json"
_FORMAT = "2"


@dataclass
class BuildResult:
    """The outcome of a build: pages, data and small pictures by their paths in the site."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0


class Store:
    """The files of a site, with the fingerprint of the inputs of each.

    ``pages`` has the fingerprints by path; ``groups`` what the pages of all groups need to know of each.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.built = BuildResult()
        self._kept = _fingerprints(out)
        self.pages = self._kept.entries
        self.groups: dict[str, Any] = self._kept.notes.setdefault("groups", {})

    def write(self, path: str, content: bytes) -> None:
        """Write a file, even if it exists."""
        with atomic_path(self.out / path) as temporary:
            temporary.write_bytes(content)

    def renew(self, path: str, key: str, make: Callable[[], bytes | None]) -> None:
        """Write a file, unless it exists and was made from the same inputs; None: nothing to write."""
        if self._kept.holds(path, key) and (self.out / path).is_file():
            self.built.unchanged += 1
            return
        content = make()
        if content is None:
            return
        self.write(path, content)
        self.pages[path] = key
        self.built.written.append(path)

    def put(self, path: str, content: bytes) -> None:
        """Write a file that costs nothing to make, unless it exists with this content."""
        self.renew(path, digest(content.decode("utf-8", "replace")), lambda: content)

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self.out / path).unlink(missing_ok=True)
        self.pages.pop(path, None)
        self.built.removed.append(path)

    def save(self, style: str) -> None:
        """Save the state for the next build; `style` is `render.style_digest`."""
        self._kept.notes["style"] = style
        self._kept.save()


def _fingerprints(out: Path) -> Fingerprints:
    return Fingerprints(out / STATE, _FORMAT)


def known_groups(out: Path) -> dict[str, Any]:
    """Read the summaries of groups from the last build; none where they cannot be read."""
    return dict(_fingerprints(out).notes.get("groups", {}))


def groups_to_build(
    results: Path, wanted: Iterable[str], grouping: Grouping, site: Path | None = None
) -> list[str]:
    """Choose the groups to build: requested ones with a sheet, and all without pages of the current style."""
    notes = _fingerprints(results / "site" if site is None else site).notes
    old = notes.get("style") != style_digest()
    made = set(grouping.groups(results))
    stale = {group for group in made if old or group not in notes.get("groups", {})}
    return sorted((set(wanted) & made) | stale)
