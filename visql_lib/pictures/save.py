"""Write a figure as a picture, with the record of how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib import __version__, run_record
from visql_lib.atomic import atomic_path
from visql_lib.tables.provenance import png_with_provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_picture(
    figure: Figure, path: Path, dpi: float | None, versions: Mapping[str, int], inputs: Sequence[Path] = ()
) -> None:
    """Write a figure as PNG.

    Parameters
    ----------
    figure : Figure
    path : Path
        Written under a temporary name and renamed.
    dpi : float or None
        Resolution; None keeps the figure's own, as for zooms.
    versions : mapping
        Versions of the stages that made it.
    inputs : sequence of Path, optional
        What it was made from, besides what the current run has read.
    """
    from visql_lib.pictures.style import render_png

    content = render_png(figure, dpi, software=f"VISQL {__version__}", made=run_record.now())
    content = png_with_provenance(path, content, versions, inputs)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
