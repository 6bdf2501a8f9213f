"""The tables of a set or target, for pictures and pages: what is missing is empty."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.pipelines.lightcurves import schemas
from visql_lib.tables.schema import TableSchema
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

_MJD = np.datetime64("1858-11-17", "us")


@dataclass(frozen=True)
class SetTables:
    """The tables of a set, read when they are asked for; one that is missing or broken has no rows.

    Parameters
    ----------
    folder : Path
        Of the set's products, ``.../TARGET/SET``.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The set."""
        return self.folder.absolute().name

    @property
    def target(self) -> str:
        """The target."""
        return self.folder.absolute().parent.name

    @property
    def title(self) -> str:
        """Target and set, for the title of a picture."""
        return f"{self.target}, {self.name}"

    def path(self, kind: str) -> Path:
        """Return where a table is."""
        return self.folder / f"{kind}_{self.name}.parquet"

    def _read(self, schema: TableSchema) -> Table:
        return read_or_empty(self.path(schema.product), schema)

    @cached_property
    def frames(self) -> Table:
        """FRAMES."""
        return self._read(schemas.FRAMES)

    @cached_property
    def transforms(self) -> Table:
        """TRANSFORMS."""
        return self._read(schemas.TRANSFORMS)

    @cached_property
    def stars(self) -> Table:
        """STARS."""
        return self._read(schemas.STARS)

    @cached_property
    def medcoeff(self) -> Table:
        """MEDCOEFF."""
        return self._read(schemas.MEDCOEFF)

    @cached_property
    def psf(self) -> Table:
        """PSF."""
        return self._read(schemas.PSF)

    @cached_property
    def star_fluxes(self) -> Table:
        """STAR_FLUXES."""
        return self._read(schemas.STAR_FLUXES)

    @cached_property
    def renorm(self) -> Table:
        """RENORM."""
        return self._read(schemas.RENORM)

    @cached_property
    def scene(self) -> Table:
        """SCENE."""
        return self._read(schemas.SCENE)

    @cached_property
    def fluxes(self) -> Table:
        """FLUXES."""
        return self._read(schemas.FLUXES)

    @cached_property
    def nights(self) -> Table:
        """NIGHTS."""
        return self._read(schemas.NIGHTS)

    @property
    def sources(self) -> list[str]:
        """The point sources and sums of them, in the table's order."""
        return list(dict.fromkeys(str(s) for s in self.fluxes["SOURCE"]))


def read_or_empty(path: Path, schema: TableSchema) -> Table:
    """Read a table; one that is missing, broken, or lacks columns has no rows, and a warning says so."""
    if path.is_file():
        try:
            table = read_table(path)
            lost = set(schema.names) - set(table)
            if not lost:
                return table
            log.warning("%s: without the columns %s", path, ", ".join(sorted(lost)))
        except TableError as error:
            log.warning("%s", error)
    return Table(schema.empty(), {})


def sets_of(target: Path) -> list[SetTables]:
    """List the sets of a target that have products: folders with a table of frames, or of fluxes."""
    folders = sorted(p for p in target.iterdir() if p.is_dir()) if target.is_dir() else []
    tables = [SetTables(folder) for folder in folders]
    return [t for t in tables if t.path("frames").is_file() or t.path("fluxes").is_file()]


def rows_at(frames: Sequence[str] | NDArray, table: Table) -> NDArray[np.intp]:
    """Find the row of each frame in another table; -1: not there. Of several the last one counts."""
    where = {str(name): i for i, name in enumerate(table["FRAME"])}
    return np.array([where.get(str(name), -1) for name in frames], dtype=np.intp)


def column_at(frames: Sequence[str] | NDArray, table: Table, column: str) -> NDArray[np.float64]:
    """Return a column of another table at some frames, NaN where that has none."""
    rows = rows_at(frames, table)
    found = np.full(len(rows), np.nan)
    found[rows >= 0] = np.asarray(table[column], dtype=float)[rows[rows >= 0]]
    return found


def time_text(mjd: float) -> str:
    """Format a time, UTC, to the second; "" where it is not known."""
    return "" if not np.isfinite(mjd) else str(times_of([mjd])[0])[:19].replace("T", " ")


def times_of(mjd: Any) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Convert MJD to dates, NaT where not known."""
    days = np.asarray(mjd, dtype=float)
    known = np.isfinite(days)
    found = np.full(len(days), np.datetime64("NaT"), dtype="datetime64[us]")
    found[known] = _MJD + np.round(days[known] * 86400e6).astype("timedelta64[us]")
    return found
