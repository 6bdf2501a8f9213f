"""What a download into a store came to, and the note of one that was retried."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from visql_lib.atomic import atomic_path


class Download(NamedTuple):
    """Whether the table was written, and why it holds nothing ("" if it does)."""

    changed: bool
    reason: str = ""


def write_note(path: Path, table: Path, found: Download) -> None:
    """Write the outcome of a retried download to a file."""
    said = "changed" if found.changed else "the same"
    with atomic_path(path) as temporary:
        temporary.write_text(f"{said}\t{table}\t{found.reason}\n", encoding="utf-8")
