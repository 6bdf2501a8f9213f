"""The words that the commands of one exposure's stages are filled with, for pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.sheets.sheet import SheetRow


class Frame(Protocol):
    """What is known of the exposure whose commands are shown."""

    @property
    def row(self) -> SheetRow:
        """Its row of the sheet."""

    @property
    def group(self) -> str:
        """Its month, YYYYMM."""

    @property
    def settings(self) -> VisSettings:
        """The settings of the site."""

    @property
    def stem(self) -> str:
        """The path of its products without their endings."""

    @property
    def metas(self) -> Mapping[str, Mapping[str, Any]]:
        """The metadata of its tables by ending."""


def command_words(frame: Frame) -> Mapping[str, str | list[str]]:
    """Return the words of an exposure's commands: text, or a list of words."""
    row, settings = frame.row, frame.settings
    tiles = _tiles(frame)
    return {
        "raw": row.file or "RAW",
        "stem": frame.stem,
        "exposure": row.exposure,
        "ra": repr(row.ra),
        "dec": repr(row.dec),
        "pa": repr(row.pa),
        "date": row.date_obs,
        "sheet": f"{settings.results}/exposures/{frame.group}.tsv",
        "hours": f"{settings.goes.hours:g}",
        "tiles": tiles,
        "plate_tiles": [f"--tiles={tile}" for tile in tiles],
        "goes": [
            f"--goes={Path(settings.results) / 'goes' / name}"
            for name in _inputs(frame, "_radiation.parquet", r"goes_\d{8}\.parquet")
        ],
    }


def _inputs(frame: Frame, ending: str, pattern: str) -> list[str]:
    """Return the names of the inputs that a table was made from."""
    inputs: Any = frame.metas.get(ending, {}).get("inputs", [])
    return [str(name) for name in inputs if re.fullmatch(pattern, str(name))]


def _tiles(frame: Frame) -> list[str]:
    from visql_lib.stores.gaia import tile_path

    folder = tile_path(frame.settings.gaia, frame.settings.results, 0).parent
    names = _inputs(frame, "_stars2_gaia.parquet", r"\d+\.parquet")
    return [str(folder / name) for name in names] or ["TILES"]
