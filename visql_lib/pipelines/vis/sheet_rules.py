"""The exposure sheets of VIS: months, versions of an exposure, and exposures from imported tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from visql_lib.instruments.names import FrameName, NamePattern
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.sheets.rules import SheetRules
from visql_lib.sheets.sheet import GONE, IMPORTED, KNOWN_BAD, SUPERSEDED, USABLE, SheetRow, empty_row
from visql_lib.values import duration

_LONGEST = 86400.0  # s, an exposure time of imported tables


class MonthSheets(SheetRules):
    """Sheets of months YYYYMM, by the UTC start of an exposure; of several versions the newest counts."""

    def __init__(self) -> None:
        super().__init__(MONTHS, "_quadrants.parquet")  # the first product of all

    def group_of_name(self, name: FrameName) -> str:
        """Return the month of the start in the name, "" where there is none."""
        return name.month

    def group_of_row(self, row: SheetRow) -> str:
        """Return the month of DATE-OBS."""
        return row.date_obs[:7].replace("-", "")

    def rows_without_files(self, results: Path, group: str) -> Iterator[SheetRow]:
        """Yield rows of exposures that are known from imported tables only."""
        if not (results / "imported" / f"{group}.parquet").is_file():
            return
        from visql_lib.pipelines.vis.legacy.imported import read_imported

        table = read_imported(results, group)
        if table is None:
            return
        for i, stem in enumerate(table["EXPOSURE"]):
            yield replace(
                empty_row(str(stem)),
                frame_type=str(table["FRAME_TYPE"][i]),
                date_obs=str(table["DATE_OBS"][i])[:23],
                date_source="name",
                exptime=duration(float(table["EXPTIME"][i]), "EXPTIME", 0.0, _LONGEST).value,
                status=IMPORTED,
                reason="from text tables of the original system",
            )

    def settle(
        self, rows: dict[str, SheetRow], names: NamePattern, rebuild: Callable[[str], SheetRow]
    ) -> None:
        """Mark versions of an exposure as superseded by the newest that can be used."""
        versions: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        for stem in rows:
            name = names.parse(stem)
            versions.setdefault(name.same, []).append((name.version, stem))
        for several in versions.values():
            newest = ""
            for version, stem in sorted(several, reverse=True):
                if not newest:
                    if rows[stem].status == SUPERSEDED:  # what superseded it is gone, or broken
                        rows[stem] = rebuild(stem)
                    if rows[stem].status in (*USABLE, GONE, IMPORTED):
                        newest, reason = stem, f"version {version:02d} of it is there: {stem}"
                elif rows[stem].status != KNOWN_BAD:
                    rows[stem] = replace(rows[stem], status=SUPERSEDED, reason=reason)


RULES: SheetRules = MonthSheets()
