"""Write a figure as a picture, with the record of how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib import __version__, run_record
from visql_lib.atomic import atomic_path
from visql_lib.tables.provenance import png_with_provenance, write_sidecar

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


def save_pages(
    figures: Iterable[Figure], path: Path, versions: Mapping[str, int], inputs: Sequence[Path] = ()
) -> bool:
    """Write figures as the pages of one PDF file; its record is in a hidden file beside it.

    Parameters
    ----------
    figures : iterable of Figure
        Drawn one at a time.
    path, versions, inputs
        See `save_picture`.

    Returns
    -------
    bool
        False if there was no figure; nothing is written then.
    """
    from visql_lib.pictures.style import render_pdf

    made = datetime.fromisoformat(run_record.now())
    content = render_pdf(figures, software=f"VISQL {__version__}", made=made)
    if not content:
        return False
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    write_sidecar(path, versions, inputs)
    return True
