"""The store of reference stars: one table per tile of the sky, shared by all exposures and months."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visql_lib.config import GaiaSettings
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.stores.schemas import GAIA_TILE
from visql_lib.stores.versions import GAIA_TILE_VERSION
from visql_lib.tables.store import read_meta


def store_folder(gaia: GaiaSettings, results: str | Path) -> Path:
    """Compose the path of the folder of the tiles."""
    return Path(gaia.store) if gaia.store else Path(results) / "gaia"


def tile_path(gaia: GaiaSettings, results: str | Path, tile: int) -> Path:
    """Compose the path of a tile: in a folder per query settings, so that several may share a store.

    What is usual, and not in its name, is so for all pipelines, whatever their own defaults are.
    """
    usual = GaiaSettings()
    name = f"nside{gaia.nside}"
    if gaia.faintest != usual.faintest:
        name += f"_G{gaia.faintest:g}"
    tables = (gaia.vizier_catalogue, gaia.tap_table)
    if tables != (usual.vizier_catalogue, usual.tap_table):
        name += f"_{digest(*tables)}"
    return store_folder(gaia, results) / name / f"{tile}.parquet"


def retry_stamp(gaia: GaiaSettings, results: str | Path, tile: int) -> Path:
    """Compose the path of a tile's retry stamp: its time is that of the last failed retry."""
    return tile_path(gaia, results, tile).parent / "again" / f"{tile}.txt"


def has_failed(path: Path, gaia: GaiaSettings) -> bool:
    """Test whether a tile records that its query of these sources, with these settings, failed."""
    try:
        meta = read_meta(path)
    except TableError:
        return False
    origin = query_of(gaia)
    same = (meta.get("stage_version"), meta.get("settings")) == (
        origin["stage_version"],
        origin["settings_hash"],
    )
    return same and "failed" in meta and meta.get("origins") == source_names(gaia)


def source_names(gaia: GaiaSettings) -> list[str]:
    """List the names of the sources queried."""
    where = {"folder": gaia.folder, "vizier": gaia.vizier_url, "tap": gaia.tap_url}
    return [f"{source} {where[source]}" for source in gaia.sources]


def is_filled(path: Path, tile: int, gaia: GaiaSettings) -> bool:
    """Test whether a tile holds the result of a query with these settings."""
    if not path.is_file():
        return False
    try:
        meta = read_meta(path)
    except TableError:
        return False  # not ours, or of a disk that was full
    origin = query_of(gaia)
    wanted = {
        "product": GAIA_TILE.product,
        "tile": tile,
        "stage_version": origin["stage_version"],
        "settings": origin["settings_hash"],
    }
    return "failed" not in meta and all(meta.get(key) == value for key, value in wanted.items())


def query_of(gaia: GaiaSettings) -> dict[str, Any]:
    """Compose the arguments of `write_table` that record the stage of a tile and its query."""
    names = {"nside", "faintest", "vizier_catalogue", "tap_table"}
    asked = gaia.model_dump(mode="json", include=names)  # neither the services, nor retries
    return {
        "stage": "gaia_tile",
        "stage_version": GAIA_TILE_VERSION,
        "settings_hash": digest(asked),
    }
