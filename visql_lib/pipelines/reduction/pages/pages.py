"""What the pages of the reduction show: what became of each frame, the night, masters of all nights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.reduction.pages.night_page import NightPage, master_text
from visql_lib.pipelines.reduction.pages.records import (
    frames_of,
    masters_of,
    registrations_of,
    said,
    stacks_of,
    status_of,
)
from visql_lib.pipelines.reduction.pages.sections import images_of, sections_of
from visql_lib.products.page_parts import PageSection, ShownImage
from visql_lib.products.page_records import Record
from visql_lib.products.pages import (
    Facts,
    GroupPlots,
    GroupTables,
    Pages,
    Plots,
    bad_results,
)
from visql_lib.products.registry import Registry
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason, Terms
from visql_lib.sheets.sheet import USABLE, SheetRow

_CALIBRATIONS = ("BIAS", "DARK", "FLAT")


@dataclass
class NightTables(GroupTables):
    """The tables of a night: QC results, what became of each frame, the names of its masters."""

    frames: dict[str, Record] = field(default_factory=dict)
    masters: frozenset[str] = frozenset()


class ReductionPages(Pages):
    """The pages of the reduction."""

    trends = ("calibration",)
    frame_image = ".fits"  # a reduced light

    def tables(
        self, results: Path, group: str, rows: Sequence[SheetRow], terms: Terms, instrument: Instrument
    ) -> GroupTables:
        """Read the tables of a night."""
        found = super().tables(results, group, rows, terms, instrument)
        frames = {str(f["EXPOSURE"]): f for f in frames_of(results, group)}
        masters = frozenset(str(m["PART"]) for m in masters_of(results, group))
        return NightTables(group, found.results, found.unjudged, frames, masters)

    def findings(
        self, row: SheetRow, tables: GroupTables, endings: Sequence[str], terms: Terms
    ) -> list[StatusReason]:
        """Derive the status of a frame from what became of it, and from its QC results."""
        assert isinstance(tables, NightTables)
        category = _category(row)
        if row.status not in USABLE or not category:
            return []  # the sheet says why
        record = tables.frames.get(row.exposure)
        if record is None:
            return [StatusReason(category, "missing", f"not in frames_{tables.group}.parquet")]
        found = [StatusReason(category, status_of(record), said(record))]
        return found + bad_results(category, tables.results_of(row.exposure, category, terms), terms)

    def frame_class(self, row: SheetRow, instrument: Instrument) -> str:
        """Return what a frame is of: target and filter, or the exposure time of a dark."""
        target, name = (row.extra.get(column, "").strip() for column in ("OBJECT", "FILTER"))
        if row.frame_type == "DARK":
            return f"{row.exptime:g} s" if row.exptime == row.exptime else ""
        words = {"SCIENCE": (target, name), "FLAT": (name,)}.get(row.frame_type, ())
        return " ".join(filter(None, words))

    def facts(self, row: SheetRow, tables: GroupTables) -> Facts:
        """Return the set of a frame, its masters and its counts of pixels."""
        assert isinstance(tables, NightTables)
        record = tables.frames.get(row.exposure)
        if record is None:
            return []
        named = [(f"Master {k.lower()}", str(record.get(f"MASTER_{k}", ""))) for k in _CALIBRATIONS]
        masters = [(label, master_text(name, tables.masters)) for label, name in named]
        counts = [
            (label, str(record[key]))
            for label, key in (("Saturated pixels", "N_SATURATED"), ("Masked pixels", "N_MASKED"))
        ]
        cosmics = int(record.get("N_COSMIC", -1))
        return [
            ("What became of it", said(record) or "used"),
            ("Set", str(record["SET"])),
            *masters,
            *counts,
            ("Pixels hit by cosmic rays", str(cosmics) if cosmics >= 0 else ""),
        ]

    def missing_category(self, registry: Registry, ending: str, row: SheetRow, category: str) -> str:
        """Return the category whose status a missing product changes."""
        return category or _category(row) or "acquisition"

    def header_facts(self, exposure: ExposureSummary, row: SheetRow) -> Facts:
        """Return further facts of the header."""
        return [(label, text) for label, text in super().header_facts(exposure, row) if text]

    def sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> list[PageSection]:
        """Compose the sections of a night's page."""
        return sections_of(NightPage.read(results, group, settings.results, config))

    def images(self, results: Path, group: GroupSummary) -> list[ShownImage]:
        """List the stacks that the viewer shows."""
        return images_of(results, group.name, stacks_of(results, group.name))

    def plot_files(self) -> dict[str, bytes]:
        """List the scripts that pages with plots load, by name."""
        from visql_lib.plots.markup import bokeh_files

        return bokeh_files()

    def group_plots(self, group: GroupSummary, thresholds: Thresholds, settings: Settings) -> GroupPlots:
        """Prepare the plots of a night; its tables, which the page depends on anyway, tell all."""
        return GroupPlots(make=lambda: _night_plots(group, thresholds, settings), heading="Plots")

    def trend_digest(self, results: Path, settings: Settings) -> str:
        """Return a digest of the masters of all nights."""
        from visql_lib.pipelines.reduction.pages.calibration_plots import tables_of

        stats = {str(path): path.stat() for path in tables_of(results)}
        return digest({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})

    def calibration_plots(self, results: Path, thresholds: Thresholds, held: Collection[str] | None) -> Plots:
        """Make the plots of the masters of all nights."""
        from visql_lib.pipelines.reduction.pages.calibration_plots import calibration_plots

        return calibration_plots(results, thresholds, held)


def _category(row: SheetRow) -> str:
    if row.frame_type == "SCIENCE":
        return "lights"
    return "calibration" if row.frame_type in _CALIBRATIONS else ""


def _night_plots(group: GroupSummary, thresholds: Thresholds, settings: Settings) -> Plots:
    from visql_lib.pipelines.reduction.pages.night_plots import night_plots

    results, night = Path(settings.results), group.name
    frames, masters = frames_of(results, night), masters_of(results, night)
    if not frames:
        return "", ""
    return night_plots(night, frames, masters, registrations_of(results, night), thresholds)
