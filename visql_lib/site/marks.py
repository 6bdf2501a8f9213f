"""Marks and notes of people on exposures: exported by a browser, merged, shown to all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from visql_lib.errors import ConfigError

_LONGEST = 2000  # characters of a note


def read_marks(path: str) -> dict[str, dict[str, Any]]:
    """Read the marks exported by a browser, by exposure; none if `path` is empty.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no marks.
    """
    if not path:
        return {}
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        found = values["marks"]
        return {str(name): _mark(mark) for name, mark in found.items()}
    except OSError as error:
        raise ConfigError(f"site.marks: {path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"site.marks: {path}: not a file of marks that a page exported") from error


def _mark(values: dict[str, Any]) -> dict[str, Any]:
    """Keep the known entries of a mark only."""
    note, at = str(values.get("note", ""))[:_LONGEST], str(values.get("at", ""))[:32]
    return {"seen": bool(values.get("seen")), "note": note, "at": at}
