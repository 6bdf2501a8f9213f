"""What a site is made of so far: every file with what it was made of, so that only what changed is redone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visql_lib.atomic import atomic_path
from visql_lib.config.load import digest
from visql_lib.site.render import style_digest

STATE = ".state.json"
_FORMAT = 1


@dataclass
class Built:
    """What a build did: pages, data and small pictures by their paths in the site."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0


class Store:
    """The files of a site.

    ``pages`` has a digest of what each file was made of; ``months`` what the
    pages of all months need to know of each.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.built = Built()
        state = load_state(out)
        self.pages: dict[str, str] = state["pages"]
        self.months: dict[str, Any] = state["months"]

    def write(self, path: str, content: bytes) -> None:
        """Write a file whatever stands there."""
        with atomic_path(self.out / path) as temporary:
            temporary.write_bytes(content)

    def renew(self, path: str, key: str, make: Callable[[], bytes | None]) -> None:
        """Write a file, unless it is there and was made of the same; None: there is nothing to write."""
        if self.pages.get(path) == key and (self.out / path).is_file():
            self.built.unchanged += 1
            return
        content = make()
        if content is None:
            return
        self.write(path, content)
        self.pages[path] = key
        self.built.written.append(path)

    def put(self, path: str, content: bytes) -> None:
        """Write a file that costs nothing to make, unless it stands like that."""
        self.renew(path, digest(content.decode("utf-8", "replace")), lambda: content)

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self.out / path).unlink(missing_ok=True)
        self.pages.pop(path, None)
        self.built.removed.append(path)

    def save(self, style: str) -> None:
        """Keep what is known for the next build; `style` is `render.style_digest`."""
        state = {"format": _FORMAT, "style": style, "pages": self.pages, "months": self.months}
        self.write(STATE, json.dumps(state, separators=(",", ":")).encode())


def load_state(out: Path) -> dict[str, Any]:
    """Return what the last build left; nothing where it cannot be read: then all is made again."""
    try:
        state = json.loads((out / STATE).read_text(encoding="utf-8"))
        if state["format"] == _FORMAT and all(name in state for name in ("style", "pages", "months")):
            return dict(state)
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return {"format": _FORMAT, "style": "", "pages": {}, "months": {}}


def months_to_build(results: Path, wanted: Iterable[str], site: Path | None = None) -> list[str]:
    """Return the wanted months that have a sheet, and all whose pages are not there or of an old style."""
    state = load_state(results / "site" if site is None else site)
    old = state["style"] != style_digest()
    made = {path.stem for path in (results / "exposures").glob("*.tsv") if path.stem.isdecimal()}
    stale = {month for month in made if old or month not in state["months"]}
    return sorted((set(wanted) & made) | stale)
