"""The plan of a run of `pointing`: the hours of its nights, and what their frames are measured with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.pointing.frame import file_state, wcs_state
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.intervals import Interval, read_intervals
from visql_lib.pipelines.pointing.masters import master_paths, masters_folder
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.status import GuideStatus
from visql_lib.products.plan import Plan
from visql_lib.products.registry import FieldValues
from visql_lib.products.status import UNFINISHED, exposure_states, failure_summary
from visql_lib.sheets.sheet import GONE, SheetRow
from visql_lib.sheets.vetoes import VetoList
from visql_lib.tables.store import read_table

_CALIBRATIONS = ("BIAS", "DARK", "FLAT")  # are none of the sky


@dataclass(frozen=True)
class PointingPlan(Plan):
    """The frames of the configured nights, by the hour."""

    settings: PointingSettings

    @classmethod
    def check(cls, settings: PointingSettings, instrument: Instrument) -> None:  # type: ignore[override]
        """Check, before anything runs, that camera's file and masters have what is needed."""
        instrument.guide  # noqa: B018 - says what is missing
        master_paths(masters_folder(settings), flat_field=settings.exposure.flat_field)
        read_intervals(settings.movie.intervals)

    # --- hours ------------------------------------------------------------------------------------

    @cached_property
    def hours(self) -> Mapping[str, Mapping[str, list[SheetRow]]]:
        """The frames of each hour, by night and hour (UTC)."""
        return {night: hours_of(self.rows(night)) for night in self.groups()}

    def words_of(self, group: str) -> FieldValues:
        """Return the hours of a night, and the intervals that get a movie."""
        return {"hour": list(self.hours.get(group, {})), "interval": [i.label for i in self.intervals]}

    def frames(self, night: str, hour: str) -> list[str]:
        """List the raw files of an hour."""
        return [row.file for row in self.hours[night][hour]]

    def fingerprints(self, night: str, hour: str) -> str:
        """Hash the raw files of an hour and their WCS: changes when one is replaced, joins or leaves."""
        rows = self.hours[night][hour]
        states = (f"{r.exposure} {r.fingerprint} {wcs_state(Path(r.file))}" for r in rows)
        return digest(*states, *(f"without {r.exposure}" for r in rows if Path(r.file) in self.vetoes))

    @cached_property
    def vetoes(self) -> VetoList:
        """The frames that are left out."""
        path = self.settings.live.veto_list
        found = VetoList(Path(path) if path else None)
        found.refresh()
        return found

    @property
    def veto_option(self) -> list[str]:
        """The option that names the list of frames to leave out, if there is one."""
        path = self.settings.live.veto_list
        return ["--veto-list", path] if path else []

    def hour_table(self, night: str, exposure: str) -> str:
        """Compose the path of the table of a frame's hour."""
        hour = next(h for h, rows in self.hours[night].items() if any(r.exposure == exposure for r in rows))
        return self._hour_path(night, hour)

    def hour_tables(self, night: str) -> list[str]:
        """List the tables of a night's hours."""
        return [self._hour_path(night, hour) for hour in self.hours[night]]

    def _hour_path(self, night: str, hour: str) -> str:
        return f"{self.results}/{NIGHTS.folder.format(night=night)}/hours/{hour}.parquet"

    @cached_property
    def masters(self) -> list[str]:
        """The files of the master frames."""
        folder = masters_folder(self.settings)
        return [str(path) for path in master_paths(folder, flat_field=self.settings.exposure.flat_field)]

    @cached_property
    def masters_state(self) -> str:
        """A hash of the master frames: changes when one is replaced."""
        return digest(*(f"{path} {file_state(Path(path))}" for path in self.masters))

    # --- what stands ------------------------------------------------------------------------------

    def is_measured(self, row: SheetRow) -> bool:
        """Say whether a frame has been measured: the table of its hour stands and says so."""
        return row.exposure in self._measured

    @cached_property
    def _measured(self) -> frozenset[str]:
        return frozenset(
            name
            for night, hours in self.hours.items()
            for hour in hours
            for name, status in self._states(night, hour).items()
            if GuideStatus(status).is_measured
        )

    def _states(self, night: str, hour: str) -> dict[str, str]:
        """Return the status of each frame of an hour that was worked on."""
        path = Path(self._hour_path(night, hour))
        if not path.is_file():
            return {}
        try:
            table = read_table(path, ["EXPOSURE", "STATUS"])
        except TableError:  # damaged: made again
            return {}
        return dict(zip(map(str, table["EXPOSURE"]), map(str, table["STATUS"]), strict=True))

    def retry(self) -> None:
        """Let hours be made again whose reference stars could not be had, if that is long enough ago."""
        for night, hours in self.hours.items():
            for hour in hours:
                path = Path(self._hour_path(night, hour))
                if GuideStatus.NO_REFERENCE not in self._states(night, hour).values():
                    continue
                if time.time() - path.stat().st_mtime >= self.settings.gaia.rest:
                    path.unlink()

    # --- all nights -------------------------------------------------------------------------------

    @cached_property
    def intervals(self) -> list[Interval]:
        """The intervals that get a movie."""
        return read_intervals(self.settings.movie.intervals)

    @property
    def interval_file(self) -> list[str]:
        """The user's file of intervals, if there is one."""
        return [path for path in (self.settings.movie.intervals,) if path]

    def season_tables(self) -> list[str]:
        """List the tables of the configured nights, and of the others that have one."""
        results = Path(self.results)
        own = {night for night in self.groups() if self.hours[night] or self._has_gone(night)}
        made = {n for n in NIGHTS.groups(results) if NIGHTS.table_path(results, n, "night").is_file()}
        return [self._night_table(night) for night in sorted(own | made - set(self.groups()))]

    def _has_gone(self, night: str) -> bool:
        """Say whether a night has products of frames that are gone."""
        return any(row.status == GONE for row in self.sheets.get(night, []))

    def interval_tables(self, label: str) -> list[str]:
        """List the tables of the nights that may lie in an interval."""
        wanted = next(i for i in self.intervals if i.label == label)
        return [p for p in self.season_tables() if wanted.may_hold(Path(p).stem.rpartition("_")[2])]

    def _night_table(self, night: str) -> str:
        return f"{self.results}/{NIGHTS.folder.format(night=night)}/night_{night}.parquet"

    def run_messages(self) -> str:
        """Compose the messages after a successful run: frames that failed do not stop it."""
        results = Path(self.results)
        states = [s for group in self.groups() for s in exposure_states(self.registry, results, group)]
        failures = failure_summary(
            [state for state in states if state.status != UNFINISHED], self.registry.advice
        )
        return "\n".join(filter(None, (super().run_messages(), failures)))


def hours_of(rows: list[SheetRow]) -> dict[str, list[SheetRow]]:
    """Sort frames of the sky into hours (UTC), named such as 20210612T05, in the order of time."""
    found: dict[str, list[SheetRow]] = {}
    for row in sorted(rows, key=lambda r: (r.date_obs, r.exposure)):
        if row.frame_type not in _CALIBRATIONS:
            found.setdefault(f"{datetime.fromisoformat(row.date_obs):%Y%m%dT%H}", []).append(row)
    return found
