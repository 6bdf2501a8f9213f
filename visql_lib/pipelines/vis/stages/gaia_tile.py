"""The Gaia stars of one tile of the sky, downloaded into the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context
from visql_lib.steps.gaia_tile import fill_tile
from visql_lib.stores.download import Download


@dataclass(frozen=True)
class GaiaTileInputs:
    """A tile's HEALPix number (nested, with gaia.nside), and its table in the store.

    ``keep``: a table that exists stays if the download fails.
    """

    tile: int
    table: Path
    keep: bool = False


def run(context: Context[VisSettings], inputs: GaiaTileInputs) -> Download | None:
    """Download a tile into its table; see `fill_tile`."""
    settings = context.settings
    return fill_tile(
        inputs.table,
        inputs.tile,
        settings.gaia,
        settings.results,
        settings.network.proxy,
        keep=inputs.keep,
        record_failure=context.record_failure,
    )
