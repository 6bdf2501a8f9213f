"""Whether a reduced light stands: made of the same files, with the same settings, by the same version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib import run_record
from visql_lib.errors import TableError
from visql_lib.products.registry import Stage
from visql_lib.tables.provenance import fact_digest, read_record

_NO_MATTER = {"reduce": {"chunk"}}  # settings that change no frame


def stands(product: Path, light: Path, masters: Sequence[str], stage: Stage) -> bool:
    """Say whether a product need not be made again, by its record.

    The settings and facts with which it would be made are those of the current run record.

    Parameters
    ----------
    product : Path
        The reduced light; it need not be there.
    light : Path
        The raw frame: compared by name, size and time of change.
    masters : sequence of str
        Checksums of all masters.
    stage : Stage
        What makes it.
    """
    try:
        entry = read_record(product)
    except TableError:
        return False
    wanted = run_record.current()
    settings = {name: _matters(name, s.model_dump(mode="json")) for name, s in wanted.settings.items()}
    made = {name: _matters(name, values) for name, values in entry.get("settings", {}).items()}
    facts = {name: fact_digest(value) for name, value in wanted.facts.items()}
    known = entry.get("facts", {})
    if any(known.get(name) != facts.get(name) for name in stage.facts):
        return False
    if entry.get("stages") != dict(stage.versions) or made != settings:
        return False
    inputs = entry.get("inputs", {})
    frames = {Path(name).name: told for name, told in inputs.items() if isinstance(told, dict)}
    others = sorted(told for told in inputs.values() if not isinstance(told, dict))
    return others == sorted(masters) and list(frames) == [light.name] and _same(frames[light.name], light)


def _matters(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a section that change a reduced light."""
    return {key: value for key, value in values.items() if key not in _NO_MATTER.get(name, ())}


def _same(told: Mapping[str, Any], light: Path) -> bool:
    stat = light.stat()
    return (told.get("size"), told.get("mtime")) == (stat.st_size, stat.st_mtime_ns)
