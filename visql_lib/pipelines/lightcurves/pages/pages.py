"""What the pages of light curves show: each frame among the others, each set, each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.lightcurves.configured import target_path
from visql_lib.pipelines.lightcurves.grouping import SETS, T
from visql_lib.pipelines.lightcurves.pages.look_back import look_back, place_of
from visql_lib.pipelines.lightcurves.pages.readers import readers_of
from visql_lib.pipelines.lightcurves.pages.records import frames_of, said, seeing_of, seeing_unit, status_of
from visql_lib.pipelines.lightcurves.pages.sections import (
    below,
    decision_section,
    left_out,
    set_sections,
    source_table,
)
from visql_lib.pipelines.lightcurves.schemas import DECISIONS
from visql_lib.pipelines.lightcurves.set_tables import SetTables
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.products.page_parts import PageSection, Remark
from visql_lib.products.page_records import Record, number_text, records
from visql_lib.products.pages import (
    Facts,
    GroupPlots,
    GroupTables,
    Pages,
    ParentPage,
    Plots,
    bad_results,
    number,
)
from visql_lib.products.registry import Registry
from visql_lib.qc.group import Readers, current_results
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason, Terms
from visql_lib.qc.table import by_frame
from visql_lib.sheets.sheet import USABLE, SheetRow

_FILES = (".rdb", ".ecsv", ".parquet", ".md", ".fits")
_TABLES = ("frames", "transforms", "psf", "renorm", "fluxes", "nights", "stars", "starfluxes")


@dataclass
class LightTables(GroupTables):
    """The tables of a set: QC results, and its frames by name."""

    frames: dict[str, Record] = field(default_factory=dict)


class LightCurvePages(Pages):
    """The pages of light curves."""

    frame_picture = "_stamp.png"

    def readers(self, settings: Settings) -> Readers:
        """Return how QC results are read: tables of light curves have FRAME and MJD."""
        from visql_lib.pipelines import registry_of

        quantities = registry_of(settings).quantities
        return readers_of(quantities, load_thresholds(settings.thresholds, quantities))

    def tables(
        self, results: Path, group: str, rows: Sequence[SheetRow], terms: Terms, instrument: Instrument
    ) -> GroupTables:
        """Read the tables of a set."""
        readers = readers_of(terms.quantities, None)
        judged, unjudged = current_results(results, group, terms.grouping, terms.quantities, rows, readers)
        frames = {str(f["FRAME"]): f for f in frames_of(set_of(results, group))}
        return LightTables(group, by_frame(judged), unjudged, frames)

    def findings(
        self, row: SheetRow, tables: GroupTables, endings: Sequence[str], terms: Terms
    ) -> list[StatusReason]:
        """Derive the status of a frame from what became of it, and from its QC results."""
        assert isinstance(tables, LightTables)
        if row.status not in USABLE:
            return []  # the sheet says why
        category = next(iter(terms.categories))
        frame = tables.frames.get(row.exposure)
        if frame is None:
            name = SETS.fields(tables.group)["set"]
            return [StatusReason(category, "missing", f"not in frames_{name}.parquet")]
        found = [StatusReason(category, status_of(frame), said(frame))]
        for other in terms.categories:
            found += bad_results(other, tables.results_of(row.exposure, other, terms), terms)
        return found

    def frame_class(self, row: SheetRow, instrument: Instrument) -> str:
        """Return the filter."""
        return row.extra.get("FILTER", "").strip()

    def facts(self, row: SheetRow, tables: GroupTables) -> Facts:
        """Return what became of a frame, when and how it was taken."""
        assert isinstance(tables, LightTables)
        frame = tables.frames.get(row.exposure)
        if frame is None:
            return []
        seeing = number_text(seeing_of(frame), digits=3)
        shift = (
            f"{frame['DX']:+.1f}, {frame['DY']:+.1f} px".replace("-", "−")
            if number(frame["DX"]) is not None
            else ""
        )
        told: list[tuple[str, Any]] = [
            ("What became of it", said(frame) or "counts"),
            ("Night", frame["NIGHT"]),
            ("Middle of the exposure", frame["START"]),
            ("MHJD", f"{frame['MHJD']:.6f}" if number(frame["MHJD"]) is not None else ""),
            ("Seeing", f"{seeing} {seeing_unit([frame])}" if seeing else ""),
            ("Ellipticity", number_text(frame["ELLIPTICITY"], digits=3)),
            ("Airmass", number_text(frame["AIRMASS"], digits=4)),
            ("Sky", _with(number_text(frame["SKY"]), "electron")),
            ("Coefficient C", number_text(frame["C"], frame["C"] * frame["C_ERR"])),
            ("Shift", shift),
            ("Residual of the alignment", _with(number_text(frame["RMS"], digits=3), "px")),
            ("χ² per pixel of the PSF", number_text(frame["PSF_CHI2"], digits=3)),
        ]
        return [(label, str(text)) for label, text in told if text]

    def missing_category(self, registry: Registry, ending: str, row: SheetRow, category: str) -> str:
        """Return the category whose status a missing product changes."""
        return category or next(iter(registry.terms.categories))

    def header_facts(self, exposure: ExposureSummary, row: SheetRow) -> Facts:
        """Return further facts of the header."""
        return [(label, text) for label, text in super().header_facts(exposure, row) if text]

    def plot_files(self) -> dict[str, bytes]:
        """List the scripts that pages with plots load, by name."""
        from visql_lib.plots.markup import bokeh_files

        return bokeh_files()

    def group_plots(self, group: GroupSummary, thresholds: Thresholds, settings: Settings) -> GroupPlots:
        """Prepare the plots of a set."""
        tables = set_of(Path(settings.results), group.name)

        def make() -> Plots:
            from visql_lib.pipelines.lightcurves.pages.curve_plots import set_plots

            return set_plots(group.name, frames_of(tables), tables)

        return GroupPlots(_digest([tables]), make, "Light curves")

    def sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> list[PageSection]:
        """Compose the sections of a set's page."""
        tables = set_of(results, group.name)
        return set_sections(group, frames_of(tables), tables)

    def frame_sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> Mapping[str, Sequence[PageSection]]:
        """Compose the look-back of each frame."""
        frames = frames_of(set_of(results, group.name))
        decisions = decisions_of(results, SETS.parent(group.name))
        assert isinstance(settings, LightCurveSettings)
        file = target_path(settings, SETS.parent(group.name))
        told = (frames, decisions, settings.results, file, config)
        return {name: look_back(group.name, at, *told) for name, at in place_of(frames).items()}

    def frame_plots(self, group: GroupSummary, settings: Settings) -> GroupPlots:
        """Prepare the plots in which each frame's page marks its own points."""
        tables = set_of(Path(settings.results), group.name)

        def make() -> Plots:
            from visql_lib.pipelines.lightcurves.pages.curve_plots import frame_plots

            return frame_plots(frames_of(tables))

        return GroupPlots(_digest([tables]), make, "This frame among the others")

    def parent_page(
        self, results: Path, parent: str, groups: Sequence[str], settings: Settings, config: str
    ) -> ParentPage:
        """Compose the page of a target: all its sets, what was decided, its products."""
        sets = [set_of(results, group) for group in groups]
        frames: dict[str, Sequence[Record]] = {t.name: frames_of(t) for t in sets}
        folder = T.format(target=parent)
        found = (
            [PageSection("Sources", "sources", (), (source_table(frames, sets),))]
            if any(frames.values())
            else []
        )
        for group, tables in zip(groups, sets, strict=True):
            part = left_out(group, frames[tables.name], f"left-out-{tables.name}")
            found.append(
                PageSection(f"{tables.name}: {part.heading.lower()}", part.anchor, part.remarks, part.tables)
            )
        decisions = decisions_of(results, parent)
        if (section := decision_section(decisions)) is not None:
            found.append(section)
        if not any(frames.values()):
            found.append(
                PageSection("Nothing yet", "nothing", (Remark("none", "no frame of it was measured yet"),))
            )

        def make() -> Plots:
            from visql_lib.pipelines.lightcurves.pages.curve_plots import target_plots

            return target_plots(parent, frames, sets)

        return ParentPage(
            _digest(sets),
            tuple(found),
            GroupPlots(make=make, heading="Light curves"),
            below(results, f"{folder}/pictures", (".png",)),
            below(results, folder, _FILES),
        )


def set_of(results: Path, group: str) -> SetTables:
    """Return the tables of a set."""
    return SetTables(SETS.group_folder(results, group))


def decisions_of(results: Path, target: str) -> list[Record]:
    """Read the decisions of a target."""
    return records(results / T.format(target=target) / "decisions.parquet", DECISIONS.names)


def _digest(sets: Sequence[SetTables]) -> str:
    """Hash sizes and times of the tables that plots are made from."""
    paths = [t.path(kind) for t in sets for kind in _TABLES]
    stats = {str(p): p.stat() for p in paths if p.is_file()}
    return digest({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})


def _with(text: str, unit: str) -> str:
    return f"{text} {unit}" if text else ""
