"""What a pipeline adds to the pages of the site; this class is what pages show without any additions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.instruments.model import Instrument
from visql_lib.products.page_parts import PageSection, ShownImage
from visql_lib.products.registry import Registry
from visql_lib.qc.evaluate import NOT_JUDGED, OK, QCResult, worst_status
from visql_lib.qc.group import Readers, current_results
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.sentences import sentence, why_not_judged
from visql_lib.qc.summary import STATUSES, UNJUDGED, ExposureSummary, GroupSummary, StatusReason, Terms
from visql_lib.qc.table import by_frame
from visql_lib.sheets.sheet import SheetRow

Facts = list[tuple[str, str]]  # label and text
Plots = tuple[str, str]  # a script without its tags, and the HTML it fills
NO_PLOTS: Plots = ("", "")


@dataclass
class GroupTables:
    """The existing tables of a group: QC results, and what else a pipeline reads.

    ``results`` are by exposure, "" has those of the group; ``unjudged`` are kinds of tables whose
    quantities have none.
    """

    group: str
    results: dict[str, list[QCResult]] = field(default_factory=dict)
    unjudged: tuple[str, ...] = ()

    def results_of(self, exposure: str, category: str, terms: Terms) -> list[QCResult]:
        """Select the QC results of an exposure in a category."""
        mine = self.results.get(exposure, ())
        return [r for r in mine if terms.quantities[r.quantity].category == category]


@dataclass(frozen=True)
class GroupPlots:
    """The plots of a group's page: a digest of what they are made from besides the group, and their maker."""

    digest: str = ""
    make: Callable[[], Plots] = lambda: NO_PLOTS
    heading: str = "Timelines"


@dataclass(frozen=True)
class ParentPage:
    """The page of what several groups belong to, such as a target of several cameras.

    ``pictures`` and ``files`` are products below the results; ``files`` are listed with their sizes.
    """

    digest: str
    sections: tuple[PageSection, ...] = ()
    plots: GroupPlots = GroupPlots()
    pictures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Pages:
    """What the pages show of any pipeline."""

    trends: tuple[str, ...] = ()  # further pages of all groups: ``trends``, ``calibration``
    frame_picture: str = ".png"  # ending of the picture that stands for a frame
    frame_image: str = ""  # ending of a frame's FITS image that the site cuts into tiles for the viewer
    shown: tuple[str, ...] = ()  # quantities that the table of a group shows at first; none named: all

    def readers(self, settings: Settings) -> Readers:
        """Return how QC results are read from tables whose rows are not frames."""
        return {}

    def tables(
        self, results: Path, group: str, rows: Sequence[SheetRow], terms: Terms, instrument: Instrument
    ) -> GroupTables:
        """Read the tables of a group."""
        judged, unjudged = current_results(results, group, terms.grouping, terms.quantities, rows)
        return GroupTables(group, by_frame(judged), unjudged)

    def findings(
        self, row: SheetRow, tables: GroupTables, endings: Sequence[str], terms: Terms
    ) -> list[StatusReason]:
        """Derive the statuses of an exposure from the group's tables: those of its QC results."""
        found: list[StatusReason] = []
        for category in terms.categories:
            results = tables.results_of(row.exposure, category, terms)
            if not results:
                continue
            found += bad_results(category, results, terms)
            worst = worst_status(results)
            if worst == NOT_JUDGED:
                found.append(StatusReason(category, UNJUDGED, why_not_judged(results)))
            elif worst == OK:
                found.append(StatusReason(category, OK, ""))
        return found

    def place(self, row: SheetRow, tables: GroupTables) -> dict[str, float | None]:
        """Return where an exposure points [deg], None where not known."""
        return {key: number(getattr(row, key)) for key in ("ra", "dec", "pa", "saa", "alpha")}

    def frame_class(self, row: SheetRow, instrument: Instrument) -> str:
        """Return the class of an exposure, "" where there are none."""
        return ""

    def facts(self, row: SheetRow, tables: GroupTables) -> Facts:
        """Return what the group's tables say of an exposure besides numbers, for its page."""
        return []

    def missing_category(self, registry: Registry, ending: str, row: SheetRow, category: str) -> str:
        """Return the category whose status a missing product changes; `category`: its stage's, or ""."""
        return category or next(iter(registry.quantities.categories))

    def header_facts(self, exposure: ExposureSummary, row: SheetRow) -> Facts:
        """Return further facts of the header for an exposure's page."""
        return list(row.extra.items())

    def overlay_sources(self, names: Iterable[str], exposure: str) -> list[str]:
        """Select an exposure's files from which overlays of the viewer are made."""
        return []

    def overlay_script(self, stem: str, exposure: ExposureSummary, instrument: Instrument) -> bytes | None:
        """Compose the overlays of an exposure as a script, None if there are none."""
        return None

    def tiles_command(self, row: SheetRow, folder: str, config: str) -> str:
        """Compose the command that makes the tiles of an exposure, "" if there is none."""
        return ""

    def plot_files(self) -> dict[str, bytes]:
        """List the scripts that pages with plots load, by name."""
        return {}

    def group_plots(self, group: GroupSummary, thresholds: Thresholds, settings: Settings) -> GroupPlots:
        """Prepare the plots of a group's page."""
        return GroupPlots()

    def sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> list[PageSection]:
        """Compose further sections of a group's page; commands on it name `config`, "" for none."""
        return []

    def frame_sections(
        self, results: Path, group: GroupSummary, settings: Settings, config: str
    ) -> Mapping[str, Sequence[PageSection]]:
        """Compose further sections of the pages of a group's frames, by frame."""
        return {}

    def frame_plots(self, group: GroupSummary, settings: Settings) -> GroupPlots:
        """Prepare plots that the pages of all frames of a group share; each page marks its own points.

        They stand behind the first of its sections.
        """
        return GroupPlots()

    def parent_page(
        self, results: Path, parent: str, groups: Sequence[str], settings: Settings, config: str
    ) -> ParentPage:
        """Compose the page of what some groups belong to; `Grouping.parent` tells what that is."""
        return ParentPage("")

    def images(self, results: Path, group: GroupSummary) -> list[ShownImage]:
        """List the images of a group that have a page with the viewer."""
        return []

    def trend_digest(self, results: Path, settings: Settings) -> str:
        """Return a digest of what the plots of all groups are made from."""
        return ""

    def trend_plots(
        self, results: Path, thresholds: Thresholds, settings: Settings, held: Collection[str] | None
    ) -> Plots:
        """Make the plots of all groups; points link to pages that exist (None: all do)."""
        return NO_PLOTS

    def calibration_plots(self, results: Path, thresholds: Thresholds, held: Collection[str] | None) -> Plots:
        """Make the plots of calibration frames of all groups; `held` as for `trend_plots`."""
        return NO_PLOTS

    def timeline(self, files: Sequence[Any]) -> list[tuple[str, list[Any]]]:
        """Sort the files of all groups, each with a name and an ending, under headings."""
        return [("Files", list(files))]


def pages_of(registry: Registry) -> Pages:
    """Return what the pipeline of a registry adds to the pages."""
    module, _, name = registry.pages.partition(":")
    pages: Pages = getattr(import_module(module), name)()
    return pages


def bad_results(category: str, results: Sequence[QCResult], terms: Terms) -> list[StatusReason]:
    """List a status reason for each QC result that is not ok."""
    bad = [r for r in results if r.is_bad]
    return [StatusReason(category, r.status, sentence(r, terms.quantities), of_qc=True) for r in bad]


def rank(status: str) -> int:
    """Return the place of a status, the worst first."""
    return STATUSES.index(status)


def number(value: Any) -> float | None:
    """Return a finite number, None for what is none."""
    return None if value is None or not math.isfinite(value) else float(value)
