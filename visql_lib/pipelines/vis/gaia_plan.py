"""The plan for the match with reference stars: tiles, matches, flux ratios, trends."""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.pipelines.vis.legacy.imported import imported_ratios_path
from visql_lib.sheets.sheet import USABLE, SheetRow
from visql_lib.stores.gaia import has_failed, is_filled, retry_stamp, tile_path

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.plan import VisPlan


class GaiaPlan:
    """The part of a `VisPlan` for reference stars and products made from them."""

    def __init__(self, plan: VisPlan) -> None:
        self._plan = plan
        self._settings = plan.settings
        self.pending_queries: list[str] = []  # tiles, or their retry stamps, to query (again) now

    def matched_exposures(self, month: str) -> list[str]:
        """Select the SCIENCE exposures of a month to be matched: their header gives a pointing."""
        return [row.exposure for row in self._plan.sheets.get(month, []) if self.is_matched(row)]

    def is_matched(self, row: SheetRow) -> bool:
        """Test whether an exposure is to be matched: a SCIENCE frame whose header gives a pointing."""
        if not self._settings.gaia.sources or row.status not in USABLE:
            return False
        return row.frame_type == "SCIENCE" and _on_sky(row)

    def tiles(self, month: str, exposure: str) -> list[str]:
        """List the tiles of reference stars that an exposure needs."""
        row = self._plan.row(month, exposure)
        if row is None or not _on_sky(row):
            return []
        gaia = self._settings.gaia
        tiles = _tiles_around(row.ra, row.dec, gaia.radius, gaia.nside)
        return [str(self._tile_path(tile)) for tile in tiles]

    def _tile_path(self, tile: int) -> Path:
        return tile_path(self._settings.gaia, self._settings.results, tile)

    @property
    def tile_pattern(self) -> str:
        """The path of a tile, with the wildcard ``tile`` in place of its number."""
        return str(self._tile_path(0).with_name("{tile}.parquet"))

    def retry_failed(self) -> None:
        """Remove tiles of outdated queries, and the retry stamps of queries that failed long enough ago.

        A tile whose query failed stays until it is answered: else all exposures on it
        would be worked on again at each run while a service is down.
        """
        folder = self._tile_path(0).parent
        used = {
            tile
            for month in self._plan.groups()
            for e in self.matched_exposures(month)
            for tile in self.tiles(month, e)
        }
        for path in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
            if not path.stem.isdecimal() or is_filled(path, int(path.stem), self._settings.gaia):
                continue
            if not has_failed(path, self._settings.gaia):
                path.unlink()
            elif str(path) in used:
                asked = retry_stamp(self._settings.gaia, self._settings.results, int(path.stem))
                last = max(p.stat().st_mtime for p in (path, asked) if p.is_file())
                if time.time() - last >= self._settings.gaia.rest:
                    asked.unlink(missing_ok=True)
                    self.pending_queries.append(str(asked))
        # Snakemake does not miss a file between others that are there.
        self.pending_queries.extend(path for path in sorted(used) if not Path(path).is_file())

    def matched_tables(self, month: str, ending: str = "_frat.parquet") -> list[str]:
        """List the tables of one kind from the match with reference stars, made now and before."""
        found = [f"{self._plan.stem(month, e)}{ending}" for e in self.matched_exposures(month)]
        return found + self._plan.existing_without_raw(month, ending)

    def imported_ratios(self, month: str) -> list[str]:
        """List the table of flux ratios imported for a month, if there is one."""
        path = imported_ratios_path(Path(self._settings.results), month)
        return [str(path)] if path.is_file() else []

    def ratio_table(self, month: str) -> str:
        """Compose the path of a month's table of flux ratios."""
        return f"{self._settings.results}/months/{month}/ratios_{month}.parquet"

    def ratio_tables(self, *, configured: bool) -> list[str]:
        """List the tables of flux ratios of the configured months, or of the others that have one."""
        folder = Path(self._settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/ratios_*.parquet")}
        wanted = (
            {m for m in self._plan.groups() if self.month(m)}
            if configured
            else made - set(self._plan.groups())
        )
        return [self.ratio_table(month) for month in sorted(wanted)]

    def month(self, month: str) -> list[str]:
        """List the products of a month's match with the reference stars."""
        if not self.matched_tables(month) and not self.imported_ratios(month):
            return []
        made = [self._plan.paths(stage, month)[0] for stage in ("ratio_pictures", "ratio_sheets")]
        return [*self.geometry(month), *made]

    def geometry(self, month: str) -> list[str]:
        """List the geometry of a month, which represents all its matches; none where nothing is matched."""
        path = f"{self._settings.results}/months/{month}/geometry_{month}.parquet"
        return [path] if self.matched_tables(month) else []


def _on_sky(row: SheetRow) -> bool:
    """Test whether the header gives a position on the sky."""
    return math.isfinite(row.ra) and abs(row.ra) <= 360 and abs(row.dec) <= 90


@cache
def _tiles_around(ra: float, dec: float, radius: float, nside: int) -> tuple[int, ...]:
    from visql_lib.archives.tiles import tiles_of

    return tiles_of(ra, dec, radius, nside)
