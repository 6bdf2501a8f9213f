"""Where the products of a night are, seen from its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visql_lib.errors import TableError
from visql_lib.pipelines.pointing.grouping import NIGHTS


@dataclass(frozen=True)
class NightFiles:
    """A night and the folder of all results it lies in."""

    results: Path
    night: str

    @classmethod
    def of_table(cls, path: Path) -> NightFiles:
        """Find the night of a table at its usual place, RESULTS/nights/NIGHT/night_NIGHT.parquet.

        Raises
        ------
        TableError
            If it lies elsewhere.
        """
        night = path.absolute().parent.name
        results = path.absolute().parents[2] if len(path.absolute().parents) > 2 else path.absolute()
        if not NIGHTS.is_key(night) or NIGHTS.table_path(results, night, "night") != path.absolute():
            place = NIGHTS.table.format(night="NIGHT", table="night")
            raise TableError(f"{path}: not where tables of nights are: RESULTS/{place}")
        return cls(results, night)

    def frame_file(self, exposure: str, ending: str) -> Path:
        """Return the path of a product of a frame."""
        return Path(NIGHTS.stem(self.results, self.night, exposure) + ending)


def night_of_table(path: Path, meta: Mapping[str, Any]) -> str:
    """Return the night that a table is of, by its metadata.

    Raises
    ------
    TableError
        If they do not say.
    """
    night = str(meta.get("night", ""))
    if not NIGHTS.is_key(night):
        raise TableError(f"{path}: does not say of which night it is; make it again")
    return night
