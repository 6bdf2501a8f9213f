"""Whether a reduced light stands: made of the same files, with the same settings, by the same version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.reduction.settings import ReductionSettings
from visql_lib.tables.provenance import fact_digest, read_record

_NO_MATTER = {"reduce": {"chunk"}}  # settings that change no frame


def stands(
    product: Path,
    light: Path,
    masters: Sequence[str],
    settings: ReductionSettings,
    instrument: Instrument,
    sections: Sequence[str],
    stages: Mapping[str, int],
) -> bool:
    """Say whether a product need not be made again, by its record.

    Parameters
    ----------
    product : Path
        The reduced light; it need not be there.
    light : Path
        The raw frame: compared by name, size and time of change.
    masters : sequence of str
        Checksums of all masters.
    settings, instrument
        With which it would be made.
    sections : sequence of str
        Sections of the settings that count.
    stages : mapping
        The stages that make it, with their versions.
    """
    try:
        entry = read_record(product)
    except TableError:
        return False
    made, inputs = entry.get("settings", {}), entry.get("inputs", {})
    if entry.get("stages") != dict(stages) or set(made) != set(sections):
        return False
    if any(_matters(n, made[n]) != _matters(n, getattr(settings, n).model_dump(mode="json")) for n in made):
        return False
    for name, known in entry.get("facts", {}).items():
        if not instrument.has(name) or fact_digest(getattr(instrument, name)) != known:
            return False
    frames = {Path(name).name: told for name, told in inputs.items() if isinstance(told, dict)}
    others = sorted(told for told in inputs.values() if not isinstance(told, dict))
    return others == sorted(masters) and list(frames) == [light.name] and _same(frames[light.name], light)


def _matters(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a section that change a reduced light."""
    return {key: value for key, value in values.items() if key not in _NO_MATTER.get(name, ())}


def _same(told: Mapping[str, Any], light: Path) -> bool:
    stat = light.stat()
    return (told.get("size"), told.get("mtime")) == (stat.st_size, stat.st_mtime_ns)
