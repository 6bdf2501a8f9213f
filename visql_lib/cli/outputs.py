"""How commands write what they made: tables, pictures and texts, each with its provenance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visql_lib.pipelines.vis.registry import VERSIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def provenance(stage: str, inputs: list[Path], *settings: Any) -> dict[str, Any]:
    """Return the arguments of `write_table` that describe the provenance of a table."""
    from visql_lib.config.load import digest

    return {
        "stage": stage,
        "stage_version": VERSIONS[stage],
        "inputs": inputs,
        "settings_hash": digest(*settings),
    }


def save_picture(
    figure: Figure, path: Path, dpi: float | None, *stages: str, inputs: Sequence[Path] = ()
) -> None:
    """Write a figure as PNG, made by some stages; `dpi` None keeps its own resolution, as for zooms."""
    from visql_lib.pictures.save import save_picture as save

    save(figure, path, dpi, {stage: VERSIONS[stage] for stage in stages}, inputs)


def write_sidecars(stage: str, *paths: Path, inputs: Sequence[Path] = ()) -> None:
    """Write the provenance of finished text tables next to them."""
    from visql_lib.tables.provenance import write_sidecar

    for path in paths:
        write_sidecar(path, {stage: VERSIONS[stage]}, inputs)
