"""Data for the viewer of an exposure: tiles, overlays, the command that makes tiles, neighbours."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from visql_lib.errors import TableError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.schemas.gaia_metadata import MatchMetadata
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.qc.summary import ExposureSummary
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables.metadata import M
from visql_lib.tables.store import Table, read_facts, read_table

log = logging.getLogger(__name__)

TILES = "tiles.js"  # the index in a folder of tiles
_TABLES = ("_stars2.parquet", "_stars2_gaia.parquet", "_radmaps.parquet", "_frat.parquet")


def tiles_path(month: str, name: str) -> str:
    """Compose the folder of an exposure's tiles in the site."""
    return f"tiles/{month}/{name}"


def overlay_path(month: str, name: str) -> str:
    """Compose the path of the script of an exposure's overlays in the site."""
    return f"data/overlays/{month}/{name}.js"


def overlay_sources(names: Iterable[str], exposure: str) -> list[str]:
    """Select an exposure's files from which overlays are made."""
    return [name for name in names if name.removeprefix(exposure) in _TABLES]


def overlay_script(folder: Path, exposure: ExposureSummary, instrument: Instrument) -> bytes | None:
    """Compose the overlays of an exposure as a script, None if no table can be read."""
    from visql_lib.frames.pyramid import ViewerFrame
    from visql_lib.pipelines.vis.pages.overlays import overlay_data, script

    stars = _read(folder, exposure.name + "_stars2.parquet", ("X_WORLD", "Y_WORLD", "FLUX_AUTO"))
    gaia = _read(folder, exposure.name + "_stars2_gaia.parquet", ("RAV", "DECV", "G"))
    maps = _read(folder, exposure.name + "_radmaps.parquet", ("MAP", "IX", "IY", "N"))
    if stars is None and gaia is None and maps is None:
        return None
    grids = _facts(folder / (exposure.name + "_radmaps.parquet"), RadiationMetadata).grids
    data = overlay_data(
        ViewerFrame.of(list(instrument.quadrants.values())),
        stars,
        gaia,
        maps,
        grids,
        offset=_facts(folder / (exposure.name + "_frat.parquet"), MatchMetadata).reference,
        pa=exposure.pa,
    )
    return script("visqlOverlays", data).encode()


def _read(folder: Path, name: str, columns: Sequence[str]) -> Table | None:
    if not (folder / name).is_file():
        return None
    try:
        return read_table(folder / name, columns)
    except TableError as error:
        log.warning("%s", error)
        return None


def _facts(path: Path, model: type[M]) -> M:
    """Read the metadata of a table, nothing known where there is none."""
    try:
        return read_facts(path, model) if path.is_file() else model()
    except TableError:
        return model()


def pyramid_command(row: SheetRow, month: str, results: str, config: str) -> str:
    """Compose the command that makes the tiles of an exposure in full, "" without a raw frame."""
    if not row.file:
        return ""
    words = [
        "visql",
        "pyramid",
        row.file,
        "--full",
        "-o",
        f"{results}/site/{tiles_path(month, row.exposure)}",
    ]
    return shlex.join([*words, "--config", config] if config else words)


def others(places: Iterable[tuple[str, str]], up: str) -> str:
    """Format exposures with tiles, given as month and name, for the viewer; "" if none."""
    found = [
        {"label": n, "tiles": f"{up}{tiles_path(m, n)}/{TILES}", "overlays": up + overlay_path(m, n)}
        for m, n in dict.fromkeys(places)
    ]
    return json.dumps(found) if found else ""
