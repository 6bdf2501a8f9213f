"""What there is to make: months, exposures and their products, as the workflow needs to know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from visql_lib.config import Settings, find_data_file
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.frames.instrument import Instrument, load_instrument
from visql_lib.frames.mosaic import ZOOM_POSITIONS
from visql_lib.tables.sheet import (
    UNREADABLE,
    USABLE,
    WITHOUT_RAW,
    SheetRow,
    read_sheet,
    refresh_sheets,
    sheet_path,
)
from visql_lib.tables.store import atomic_path, read_meta

CATALOGUED = ("SCIENCE", "DARK", "FLAT")  # frame types that get a catalogue
AUTO_DAYS = 3  # last month is still worked on during the first days of this one

SCIENCE_PICTURES = ("chimney", "chimney2", "chimney4", "stars2", "stars2_mom", "stars2_mom_map3", "iq")
UNFINISHED = "unfinished"
_NAMED = 5  # exposures of a message; status.tsv has all

# The original's text tables of a month's image quality, and of an exposure.
QUALITY_TEXTS = (".txt", "_score.txt", "_score.csv", "_le1_score.txt", "_le1_score.csv")
MOMENT_PICTURES = ("stars2_mom", "stars2_mom_map3")  # all that moments alone can show


def month_list(months: Sequence[str], today: datetime | None = None) -> list[str]:
    """Return months YYYYMM, sorted; ``auto`` is this month, and last month during its first three days."""
    today = today or datetime.now(UTC)
    found = set()
    for month in months:
        if month == "auto":
            found |= {f"{day:%Y%m}" for day in (today, today - timedelta(days=AUTO_DAYS))}
        else:
            found.add(month)
    return sorted(found)


def _with_missing(stem: str, first: str, others: Sequence[str]) -> list[str]:
    """Return the first file, and those of the others that are missing although the first is there."""
    lost = [o for o in others if not Path(stem + o).is_file()] if Path(stem + first).is_file() else []
    return [stem + ending for ending in (first, *lost)]


@dataclass(frozen=True)
class Plan:
    """The exposures of the configured months and where their products go."""

    settings: Settings
    instrument: Instrument
    sheets: dict[str, list[SheetRow]]

    @classmethod
    def make(cls, settings: Settings, *, refresh: bool) -> Plan:
        """Look at the raw folders (`refresh`), or take the sheets as they are, as a job does.

        Raises
        ------
        ConfigError
            If a raw folder does not exist.
        """
        instrument = load_instrument(settings.instrument)
        months = month_list(settings.months)
        if not refresh:
            paths = {month: sheet_path(Path(settings.results), month) for month in months}
            return cls(
                settings, instrument, {m: read_sheet(p) if p.is_file() else [] for m, p in paths.items()}
            )
        return cls(settings, instrument, refresh_sheets(settings, instrument, months))

    @property
    def months(self) -> list[str]:
        """The months, YYYYMM."""
        return list(self.sheets)

    @cached_property
    def _rows(self) -> dict[tuple[str, str], SheetRow]:
        return {(month, row.exposure): row for month, rows in self.sheets.items() for row in rows}

    def row(self, month: str, exposure: str) -> SheetRow | None:
        """Return the sheet's row of an exposure, None if it has none."""
        return self._rows.get((month, exposure))

    def exposures(self, month: str, *types: str) -> list[str]:
        """Return the exposures of a month worth processing, of some types (none named: of all)."""
        rows = self.sheets.get(month, [])
        return [r.exposure for r in rows if r.status in USABLE and (not types or r.frame_type in types)]

    def of_type(self, *types: str) -> list[str]:
        """Return the exposures of all months that have a raw frame of some types."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type in types]

    def others(self, *types: str) -> list[str]:
        """Return the exposures of all months that have a raw frame of none of some types."""
        return [
            r.exposure for rows in self.sheets.values() for r in rows if r.file and r.frame_type not in types
        ]

    def without_raw(self) -> list[str]:
        """Return the exposures of all months of which there are tables but no raw frame."""
        return [r.exposure for rows in self.sheets.values() for r in rows if r.status in WITHOUT_RAW]

    def stem(self, month: str, exposure: str) -> str:
        """Return the path of an exposure's products, without their endings."""
        return f"{self.settings.results}/exposures/{month}/{exposure}/{exposure}"

    def moments(self, month: str) -> list[str]:
        """Return the moments tables of a month, measured now, before, and imported."""
        found = [f"{self.stem(month, e)}_stars2_mom.parquet" for e in self.exposures(month, "SCIENCE")]
        return found + self.kept(month, "_stars2_mom.parquet")

    def kept(self, month: str, ending: str) -> list[str]:
        """Return the tables of one kind that exposures without raw frame have."""
        rows = [r for r in self.sheets.get(month, []) if r.status in WITHOUT_RAW]
        paths = [self.stem(month, r.exposure) + ending for r in rows]
        return [path for path in paths if Path(path).is_file()]

    def levels(self, month: str) -> list[str]:
        """Return the tables of quadrants of a month: what every readable frame has."""
        return [f"{self.stem(month, e)}_quadrants.parquet" for e in self.exposures(month)]

    def pictures(self, month: str) -> list[str]:
        """Return pictures to ask for, so that all pictures of single exposures of a month are made.

        One picture stands for all that are made with it: asking for every one
        would double the time of planning. A missing companion is asked for.
        """
        groups: tuple[tuple[list[str], str, list[str]], ...] = (
            (self.exposures(month), ".png", [f"_{zoom}.png" for zoom in ZOOM_POSITIONS]),
            (self.exposures(month, "SCIENCE"), "_iq.png", [f"_{name}.png" for name in SCIENCE_PICTURES]),
            (self.exposures(month, "FLAT"), "_chimney2.png", []),
        )
        found = []
        for exposures, first, others in groups:
            for exposure in exposures:
                found += _with_missing(self.stem(month, exposure), first, others)
        for table in self.kept(month, "_stars2_mom.parquet"):
            wanted = [f"{table.removesuffix('_stars2_mom.parquet')}_{name}.png" for name in MOMENT_PICTURES]
            found += [path for path in wanted if not Path(path).is_file()]
        return found

    def imported(self, month: str) -> list[str]:
        """Return the table of what was imported for a month, if there is one."""
        path = Path(self.settings.results) / "imported" / f"{month}.parquet"
        return [str(path)] if path.is_file() else []

    @cached_property
    def newest_months(self) -> list[str]:
        """The newest two months that were ever worked on or are configured."""
        folder = Path(self.settings.results) / "months"
        made = {p.parent.name for p in folder.glob("*/psfmoments_*.parquet")}
        return sorted(made | set(self.months))[-2:]

    def newest_tables(self, *, configured: bool) -> list[str]:
        """Return the image-quality tables of the newest months: those of configured months, or the others."""
        return [self.quality(m)[0] for m in self.newest_months if (m in self.months) == configured]

    def last_month(self) -> list[str]:
        """Return the timeline of the last month, where a configured month has a part in it."""
        path = f"{self.settings.results}/timeline/IQ_timeline_lastmonth.png"
        return [path] if self.newest_tables(configured=True) else []

    def archive_names(self) -> list[str]:
        """Return the configured table of archive names, if there is one."""
        return [self.settings.legacy.archive_names] if self.settings.legacy.archive_names else []

    def quality(self, month: str) -> list[str]:
        """Return the products of a month's image quality."""
        names = (f"psfmoments_{month}.parquet", f"psfmoments_{month}.png", f"IQ_timeline_{month}.png")
        return [f"{self.settings.results}/months/{month}/{name}" for name in names]

    def legacy(self, month: str) -> list[str]:
        """Return all text tables of the original for a month and its exposures."""
        root = self.quality(month)[0].removesuffix(".parquet")
        found = [f"{root}{ending}" for ending in QUALITY_TEXTS]
        found += [f"{self.stem(month, e)}.cat.gz" for e in self.exposures(month, *CATALOGUED)]
        found += [f"{self.stem(month, e)}_stars2.cat" for e in self.exposures(month, "SCIENCE", "FLAT")]
        found += [path.replace(".parquet", ".cat") for path in self.moments(month)]
        return found + [path.replace(".parquet", ".cat") for path in self.kept(month, "_stars2.parquet")]

    def config_of(self, *sections: str) -> str:
        """Return a file with the settings of some sections, which is all that a rule's command sees.

        The name changes with the content, so that a rule that carries it in its
        ``params`` runs again exactly when one of its own settings changed.
        """
        import yaml

        kept = {"instrument", *sections}
        values = self.settings.model_dump(mode="json", include=kept)
        name = "-".join((*sections, digest(values)))
        path = Path(self.settings.results) / "config" / f"{name}.yaml"
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(yaml.safe_dump(values), encoding="utf-8")
        return str(path)

    def complaint(self) -> str:
        """Return what failed in the configured months, one exposure a line; "" if nothing did."""
        paths = [sheet_path(Path(self.settings.results), month) for month in self.months]
        return complaint([state for path in paths if path.is_file() for state in exposure_states(path)])

    def facts(self, *names: str) -> str:
        """Return a hash that changes with some of the instrument's facts."""
        return digest(self.instrument.model_dump(mode="json", include=set(names)))

    @property
    def threshold_file(self) -> str:
        """The file of dated limits."""
        return str(find_data_file("thresholds", self.settings.quality.thresholds))


@dataclass(frozen=True)
class ExposureState:
    """What became of one frame."""

    exposure: str
    frame_type: str
    status: str
    reason: str

    @property
    def failed(self) -> bool:
        """Whether somebody should look at it."""
        return self.status in (UNREADABLE, "failed", UNFINISHED)


def complaint(states: Sequence[ExposureState]) -> str:
    """Return the failed exposures with their reasons, one a line, and advice; "" if none failed."""
    bad = [state for state in states if state.failed and state.status != UNFINISHED]
    unfinished = [state for state in states if state.status == UNFINISHED]
    said = []
    if bad:
        head = f"{len(bad)} of {len(states)} exposures failed:"
        advice = "Fetch or mend the file, or list the exposure in known_bad."
        said.append("\n  ".join([head, *(f"{s.exposure}: {s.reason}" for s in bad), advice]))
    if unfinished:
        head = f"{len(unfinished)} of {len(states)} exposures are not finished: run again."
        names = [s.exposure for s in unfinished[:_NAMED]] + ["..."] * (len(unfinished) > _NAMED)
        said.append("\n  ".join([head, *names, "If a step failed on one, its log in results/logs says why."]))
    return "\n".join(said)


def exposure_states(sheet: Path) -> list[ExposureState]:
    """Return what became of every exposure of a sheet, from it and from what the products say."""
    states = []
    for row in read_sheet(sheet):
        status, reason = row.status, row.reason
        if status in USABLE:
            failure = _failure(sheet.with_suffix("") / row.exposure / row.exposure, row.frame_type)
            if failure is None:
                status, reason = UNFINISHED, "steps are missing; run the workflow"
            elif failure:
                status, reason = "failed", failure
        states.append(ExposureState(row.exposure, row.frame_type, status, reason))
    return states


def _failure(stem: Path, frame_type: str) -> str | None:
    """Return why a frame failed, as its tables say; "" if it did not, None if there are none yet."""
    last = "_stars2_mom.parquet" if frame_type == "SCIENCE" else "_quadrants.parquet"
    for ending in dict.fromkeys(("_quadrants.parquet", last)):
        table = stem.with_name(stem.name + ending)
        try:
            failure = read_meta(table).get("failed")
        except TableError:
            return None
        if failure:
            return str(failure)
    return ""
