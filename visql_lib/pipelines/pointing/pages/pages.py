"""What the pages of a guide camera show: each frame, its night, all nights."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.pointing.pages.records import (
    frames_of,
    is_measured,
    said,
    season_of,
    season_path,
    status_of,
    streaks_of,
)
from visql_lib.pipelines.pointing.pages.sections import sections_of
from visql_lib.products.page_parts import PageSection
from visql_lib.products.page_records import Record, number_text
from visql_lib.products.pages import Facts, GroupPlots, GroupTables, Pages, Plots, number
from visql_lib.products.registry import Registry
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason, Terms
from visql_lib.sheets.sheet import USABLE, SheetRow

_CATEGORY = "zeropoint"  # tells what became of a frame
_REGIONS = {"_SCI": "science field"} | {f"_Q{q}": f"quadrant {q}" for q in (1, 2, 3, 4)}


@dataclass
class GuideTables(GroupTables):
    """The tables of a night: QC results, and its frames by name."""

    frames: dict[str, Record] = field(default_factory=dict)


class PointingPages(Pages):
    """The pages of a guide camera."""

    trends = ("trends",)
    frame_image = "-thumbnail.fits"
    shown = (
        *("zeropoint.ZP", "zeropoint.ZP_ERR", "zeropoint.N_STARS", "zeropoint.SCATTER", "zeropoint.SHIFT"),
        *("sky.MU", "sky.SKY", "sky.DOME_SHARE", "sky.N_STREAKS", "sky.AIRMASS"),
    )

    def tables(
        self, results: Path, group: str, rows: Sequence[SheetRow], terms: Terms, instrument: Instrument
    ) -> GroupTables:
        """Read the tables of a night."""
        found = super().tables(results, group, rows, terms, instrument)
        frames = {str(f["EXPOSURE"]): f for f in frames_of(results, group)}
        return GuideTables(group, found.results, found.unjudged, frames)

    def findings(
        self, row: SheetRow, tables: GroupTables, endings: Sequence[str], terms: Terms
    ) -> list[StatusReason]:
        """Derive the status of a frame from what became of it, and, if it was measured, its QC results."""
        assert isinstance(tables, GuideTables)
        if row.status not in USABLE:
            return []  # the sheet says why
        frame = tables.frames.get(row.exposure)
        if frame is None:
            return [StatusReason(_CATEGORY, "missing", f"not in night_{tables.group}.parquet")]
        own = StatusReason(_CATEGORY, status_of(frame), said(frame))
        return [own, *(super().findings(row, tables, endings, terms) if is_measured(frame) else ())]

    def place(self, row: SheetRow, tables: GroupTables) -> dict[str, float | None]:
        """Return where a frame points, as the night's table tells, else its sheet."""
        assert isinstance(tables, GuideTables)
        frame, found = tables.frames.get(row.exposure), super().place(row, tables)
        if frame is None or not math.isfinite(frame["RA"]):
            return found
        return found | {"ra": number(frame["RA"]), "dec": number(frame["DEC"])}

    def frame_class(self, row: SheetRow, instrument: Instrument) -> str:
        """Return the exposure time, as numbers of stars and errors go with it."""
        return f"{row.exptime:g} s" if math.isfinite(row.exptime) else ""

    def facts(self, row: SheetRow, tables: GroupTables) -> Facts:
        """Return what became of a frame, and zero point and sky of its parts."""
        assert isinstance(tables, GuideTables)
        frame = tables.frames.get(row.exposure)
        if frame is None:
            return []
        found = [("What became of it", said(frame) or "measured")]
        for end, label in _REGIONS.items():
            zero = number_text(frame[f"ZP{end}"], frame[f"ZP_ERR{end}"], 5)
            sky = number_text(frame[f"MU{end}"])
            texts = (f"zero point {zero} mag" if zero else "", f"sky {sky} mag/arcsec²" if sky else "")
            found.append((label.capitalize(), ", ".join(filter(None, texts))))
        return found

    def missing_category(self, registry: Registry, ending: str, row: SheetRow, category: str) -> str:
        """Return the category whose status a missing product changes."""
        return category or _CATEGORY

    def header_facts(self, exposure: ExposureSummary, row: SheetRow) -> Facts:
        """Return further facts of the header."""
        return [(label, text) for label, text in super().header_facts(exposure, row) if text]

    def sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> list[PageSection]:
        """Compose the sections of a night's page."""
        return sections_of(group, frames_of(results, group.name), streaks_of(results, group.name))

    def plot_files(self) -> dict[str, bytes]:
        """List the scripts that pages with plots load, by name."""
        from visql_lib.plots.markup import bokeh_files

        return bokeh_files()

    def group_plots(self, group: GroupSummary, thresholds: Thresholds, settings: Settings) -> GroupPlots:
        """Prepare the plots of a night; its tables, which the page depends on anyway, tell all."""

        def make() -> Plots:
            from visql_lib.pipelines.pointing.pages.night_plots import night_plots

            return night_plots(group, frames_of(Path(settings.results), group.name), thresholds)

        return GroupPlots(make=make)

    def trend_digest(self, results: Path, settings: Settings) -> str:
        """Return a digest of the table of all nights."""
        path = season_path(results)
        stat = path.stat() if path.is_file() else None
        return digest({"season": [stat.st_size, stat.st_mtime_ns] if stat is not None else []})

    def trend_plots(
        self, results: Path, thresholds: Thresholds, settings: Settings, held: Collection[str] | None
    ) -> Plots:
        """Make the plots of all nights."""
        from visql_lib.pipelines.pointing.pages.season_plots import season_plots

        return season_plots(season_of(results), thresholds, held)

    def timeline(self, files: Sequence[Any]) -> list[tuple[str, list[Any]]]:
        """Sort the files of all nights under headings."""
        pictures, movies = ([f for f in files if f.ending == ending] for ending in (".png", ".mp4"))
        others = [f for f in files if f.ending not in (".png", ".mp4")]
        return [("Pictures", pictures), ("Movies of intervals", movies), ("Files", others)]
