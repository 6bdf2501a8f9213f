"""The store of reference stars: one table per tile of the sky, shared by all exposures and months."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.stores.schemas import GAIA_TILE
from visql_lib.stores.versions import GAIA_TILE_VERSION
from visql_lib.tables.store import read_meta


def store_folder(settings: Settings) -> Path:
    """Compose the path of the folder of the tiles."""
    return Path(settings.gaia.store) if settings.gaia.store else Path(settings.results) / "gaia"


def tile_path(settings: Settings, tile: int) -> Path:
    """Compose the path of a tile: in a folder per query settings, so that several may share a store."""
    gaia, usual = settings.gaia, type(settings.gaia)()
    name = f"nside{gaia.nside}"
    if gaia.faintest != usual.faintest:
        name += f"_G{gaia.faintest:g}"
    tables = (gaia.vizier_catalogue, gaia.tap_table)
    if tables != (usual.vizier_catalogue, usual.tap_table):
        name += f"_{digest(*tables)}"
    return store_folder(settings) / name / f"{tile}.parquet"


def retry_stamp(settings: Settings, tile: int) -> Path:
    """Compose the path of a tile's retry stamp: its time is that of the last failed retry."""
    return tile_path(settings, tile).parent / "again" / f"{tile}.txt"


def has_failed(path: Path, settings: Settings) -> bool:
    """Test whether a tile records that its query of these sources, with these settings, failed."""
    try:
        meta = read_meta(path)
    except TableError:
        return False
    origin = query_of(settings)
    same = (meta.get("stage_version"), meta.get("settings")) == (
        origin["stage_version"],
        origin["settings_hash"],
    )
    return same and "failed" in meta and meta.get("origins") == source_names(settings)


def source_names(settings: Settings) -> list[str]:
    """List the names of the sources queried."""
    gaia = settings.gaia
    where = {"folder": gaia.folder, "vizier": gaia.vizier_url, "tap": gaia.tap_url}
    return [f"{source} {where[source]}" for source in gaia.sources]


def is_filled(path: Path, tile: int, settings: Settings) -> bool:
    """Test whether a tile holds the result of a query with these settings."""
    if not path.is_file():
        return False
    try:
        meta = read_meta(path)
    except TableError:
        return False  # not ours, or of a disk that was full
    origin = query_of(settings)
    wanted = {
        "product": GAIA_TILE.product,
        "tile": tile,
        "stage_version": origin["stage_version"],
        "settings": origin["settings_hash"],
    }
    return "failed" not in meta and all(meta.get(key) == value for key, value in wanted.items())


def query_of(settings: Settings) -> dict[str, Any]:
    """Compose the arguments of `write_table` that record the stage of a tile and its query."""
    names = {"nside", "faintest", "vizier_catalogue", "tap_table"}
    asked = settings.gaia.model_dump(mode="json", include=names)  # neither the services, nor retries
    return {
        "stage": "gaia_tile",
        "stage_version": GAIA_TILE_VERSION,
        "settings_hash": digest(asked),
    }
