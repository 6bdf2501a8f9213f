"""Whether a reduced light stands: made of the same files, with the same settings, by the same version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visql_lib.products.registry import Stage
from visql_lib.products.standing import product_stands

_NO_MATTER = {"reduce": ("chunk",)}  # settings that change no frame


def stands(product: Path, light: Path, masters: Sequence[str], stage: Stage) -> bool:
    """Say whether a product need not be made again, by its record; see `products.standing`.

    Parameters
    ----------
    product : Path
        The reduced light; it need not be there.
    light : Path
        The raw frame.
    masters : sequence of str
        Checksums of all masters.
    stage : Stage
        What makes it.
    """
    return product_stands(product, light, stage.versions, stage.facts, masters, _NO_MATTER)
