"""The plan for particles, the Sun, the other frame types, and movies."""

from __future__ import annotations

import math
import shutil
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from visql_lib.pipelines.vis.frame_stages import RADIATED
from visql_lib.pipelines.vis.month_stages import MOVIES
from visql_lib.sheets.sheet import GONE, USABLE, SheetRow
from visql_lib.stores.goes import goes_path, must_query, retry_stamp
from visql_lib.values import duration

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.plan import VisPlan

_LONGEST = 86400.0  # s; whatever a sheet says, planning does not go through the days of a longer exposure


class RadiationPlan:
    """The part of a `VisPlan` for radiation, the Sun and products made from them."""

    def __init__(self, plan: VisPlan) -> None:
        self._plan = plan
        self._settings = plan.settings
        self.pending_queries: list[str] = []  # days, or their retry stamps, to query (again) now

    def retry_incomplete(self) -> None:
        """Remove the retry stamps of days that are not final and have waited, to query them again.

        Their tables stay until there is something new.
        """
        for day in sorted({day for month in self._plan.groups() for day in self.month_days(month)}):
            path = Path(day)
            if not path.is_file():
                self.pending_queries.append(day)
            elif must_query(path, self._settings.goes):
                retry_stamp(path).unlink(missing_ok=True)
                self.pending_queries.append(str(retry_stamp(path)))

    def tables(self, month: str, ending: str = "_radiation.parquet") -> list[str]:
        """List the tables of the particles of a month's exposures, made now and before."""
        found = [f"{self._plan.stem(month, e)}{ending}" for e in self._plan.exposures(month, *RADIATED)]
        return found + self._plan.existing_without_raw(month, ending)

    def goes_days(self, month: str, exposure: str) -> list[str]:
        """List the days of GOES in the picture of an exposure."""
        row = self._plan.row(month, exposure)
        return self._days([row] if row is not None else [])

    def month_days(self, month: str) -> list[str]:
        """List the days of GOES of a month's exposures."""
        rows = self._plan.sheets.get(month, [])
        return self._days([r for r in rows if r.status in (*USABLE, GONE) and r.frame_type in RADIATED])

    def _days(self, rows: list[SheetRow]) -> list[str]:
        if not self._settings.goes.sources:
            return []
        margin = timedelta(hours=self._settings.goes.hours)
        days: set[date] = set()
        for row in rows:
            if row.date_obs:
                start = datetime.fromisoformat(row.date_obs)
                exptime = duration(row.exptime, "EXPTIME", 0.0, _LONGEST).value
                end = start + timedelta(seconds=exptime if math.isfinite(exptime) else 0.0)
                first, last = (start - margin).date(), (end + margin).date()
                days |= {first + timedelta(days=i) for i in range((last - first).days + 1)}
        return [str(goes_path(self._settings.results, day)) for day in sorted(days)]

    @property
    def goes_pattern(self) -> str:
        """The path of a day of GOES, with the wildcard ``day`` in place of its date."""
        return str(goes_path(self._settings.results, date(2000, 1, 1)).with_name("goes_{day}.parquet"))

    @property
    def solves(self) -> bool:
        """Whether plates are solved."""
        wanted = self._settings.plate.solve
        return wanted == "yes" or (wanted == "auto" and self.installed)

    @cached_property
    def installed(self) -> bool:
        """Whether astrometry.net is installed where this runs."""
        return shutil.which("solve-field") is not None

    def plates(self, month: str) -> list[str]:
        """List the plate solutions of a month."""
        if not self.solves:
            return self._plan.existing_without_raw(month, ".wcs")
        exposures = self._plan.exposures(month, "SCIENCE")
        return [f"{self._plan.stem(month, e)}.wcs" for e in exposures] + self._plan.existing_without_raw(
            month, ".wcs"
        )

    def month(self, month: str) -> list[str]:
        """List the products of a month's radiation, angles and other frames."""
        folder = f"{self._plan.settings.results}/months/{month}"
        found = [f"{folder}/detector_{month}.parquet"] if self._plan.exposures(month) else []
        if self._plan.exposures(month):
            found.append(f"{folder}/angles_{month}.parquet")
        if self.tables(month):
            found.append(f"{folder}/radiation_{month}.parquet")
        return found

    def movies(self, month: str) -> list[str]:
        """List the movies of a month."""
        folder = f"{self._plan.settings.results}/months/{month}"
        return [f"{folder}/{name}{month}.mp4" for name in MOVIES] if self.tables(month) else []
