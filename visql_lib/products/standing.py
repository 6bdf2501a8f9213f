"""Whether the product of a raw frame stands: of the same files, settings, facts and version."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib import run_record
from visql_lib.errors import TableError
from visql_lib.tables.provenance import fact_digest, read_record


def product_stands(
    product: Path,
    frame: Path,
    versions: Mapping[str, int],
    facts: Collection[str] = (),
    others: Sequence[str] = (),
    no_matter: Mapping[str, Collection[str]] | None = None,
) -> bool:
    """Say whether a product need not be made again, by its record.

    The settings and facts with which it would be made are those of the current run record.

    Parameters
    ----------
    product : Path
        It need not be there.
    frame : Path
        The raw frame: compared by name, size and time of change.
    versions : mapping
        Stages that make it, with their versions.
    facts : collection of str
        Facts of the instrument, and others, that count.
    others : sequence of str
        Checksums of all other inputs.
    no_matter : mapping, optional
        Section of the settings -> settings that change no product.
    """
    try:
        entry = read_record(product)
    except TableError:
        return False
    wanted, left_out = run_record.current(), no_matter or {}
    settings = {
        n: _matters(s.model_dump(mode="json"), left_out.get(n, ())) for n, s in wanted.settings.items()
    }
    made = {n: _matters(values, left_out.get(n, ())) for n, values in entry.get("settings", {}).items()}
    now = {name: fact_digest(value) for name, value in wanted.facts.items()}
    known = entry.get("facts", {})
    if any(known.get(name) != now.get(name) for name in facts):
        return False
    if entry.get("stages") != dict(versions) or made != settings:
        return False
    inputs = entry.get("inputs", {})
    frames = {Path(name).name: told for name, told in inputs.items() if isinstance(told, dict)}
    rest = sorted(told for told in inputs.values() if not isinstance(told, dict))
    return rest == sorted(others) and list(frames) == [frame.name] and _same(frames[frame.name], frame)


def _matters(values: Mapping[str, Any], no_matter: Collection[str]) -> dict[str, Any]:
    """Return the settings of a section that change a product."""
    return {key: value for key, value in values.items() if key not in no_matter}


def _same(told: Mapping[str, Any], frame: Path) -> bool:
    stat = frame.stat()
    return (told.get("size"), told.get("mtime")) == (stat.st_size, stat.st_mtime_ns)
