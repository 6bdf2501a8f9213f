"""What the pages of VIS show: the status of exposures, plots, overlays of the viewer, facts of the header."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from visql_lib.config import Settings
from visql_lib.config.load import digest
from visql_lib.errors import TableError
from visql_lib.flags import SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.pages import overlays, plots
from visql_lib.pipelines.vis.quantities import QUANTITIES, TABLE_OF_CATEGORY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.qc import TREND, read_trend
from visql_lib.products.pages import (
    Facts,
    GroupPlots,
    GroupTables,
    Pages,
    Plots,
    bad_results,
    number,
    rank,
)
from visql_lib.products.registry import Registry
from visql_lib.qc.evaluate import BAD_STATUSES, NOT_JUDGED, OK, QCResult, worst_status
from visql_lib.qc.group import Readers, current_results
from visql_lib.qc.limits import Thresholds
from visql_lib.qc.sentences import sentence, why_not_judged
from visql_lib.qc.summary import STATUSES, UNJUDGED, ExposureSummary, GroupSummary, StatusReason, Terms
from visql_lib.qc.table import by_frame
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables.store import read_table

log = logging.getLogger(__name__)

Record = dict[str, Any]

# Category -> the product of an exposure that makes us expect a row of it in the group's table.
_ENDINGS = {
    "quality": "_stars2_mom.parquet",
    "radiation": "_radiation.parquet",
    "calibration": "_quadrants.parquet",
    "photometry": "_frat.parquet",
}
_COLUMNS = {  # table -> columns beside EXPOSURE with the state of an exposure
    "psfmoments": ("STATUS", "REASON"),
    "astrometry": ("CLASS", "ACCEPTED", "REASON", "FLAGS"),
    "radiation": ("STATUS", "REASON"),
    "angles": ("RA", "DEC", "PA", "SAA", "ALPHA"),
    "detector_frames": ("STATUS", "REASON"),
}
_SOLUTION_PROBLEMS = {
    SolutionFlag.NO_REFERENCE: ("warn", "no reference star in the field"),
    SolutionFlag.NO_STARS: ("error", "no star to match"),
    SolutionFlag.FEW_MATCHES: ("error", "too few matched stars: no astrometric solution"),
    SolutionFlag.NOT_FOUND: ("error", "stars and reference do not match near the boresight"),
    SolutionFlag.BORESIGHT_WRONG: ("warn", "boresight of the header wrong; corrected"),
    SolutionFlag.ROLL_WRONG: ("warn", "roll of the header wrong or missing; corrected"),
    SolutionFlag.REFERENCE_FAILED: ("warn", "the reference stars could not be had"),
    SolutionFlag.NOT_TRIED: ("warn", "not matched"),
}
_STATUS_OF = {NOT_JUDGED: UNJUDGED}  # status of a QC result -> of the pages, where it has another name


_GROUPS = (
    ("Flux loss", ("loss_",)),
    ("Image quality", ("IQ_",)),
    ("VIS/Gaia at three colours", ("iceplot_long", "iceplot_short")),
    ("VIS/Gaia, self-calibration field", ("iceplot_selfcal",)),
    ("VIS/Gaia along the diagonals", ("iceplot_diag", "iceplot_xdiag")),
)


@dataclass
class MonthTables(GroupTables):
    """The existing tables of a month: rows by exposure, QC results, and the trend by class."""

    rows: dict[str, dict[str, Record]] = field(default_factory=dict)
    trend: dict[str, StatusReason] = field(default_factory=dict)

    def of(self, table: str, exposure: str) -> Record | None:
        """Return the row of an exposure in a table, None if there is none."""
        return self.rows.get(table, {}).get(exposure)


class VisPages(Pages):
    """The pages of VIS."""

    trends = ("trends", "calibration")
    shown = (
        *("psf.R2", "psf.e1", "psf.e2", "psf.SCORE", "ratio.R2"),
        *("radiation.COSMIC_DARK_RATE", "radiation.LIT_AREA"),
    )

    def readers(self, settings: Settings) -> Readers:
        """Return how the QC results of the trend are read."""
        return {TREND: partial(read_trend, settings=_own(settings).trend)}

    def tables(
        self, results: Path, group: str, rows: Sequence[SheetRow], terms: Terms, instrument: Instrument
    ) -> GroupTables:
        """Read the tables of a month."""
        readers = {TREND: read_trend}
        judged, unjudged = current_results(results, group, terms.grouping, terms.quantities, rows, readers)
        found = MonthTables(group, by_frame(judged), unjudged)
        for table, columns in _COLUMNS.items():
            path = terms.grouping.table_path(results, group, table)
            if path.is_file():
                found.rows[table] = _records(path, ["EXPOSURE", *columns])
        found.trend = _worst_trend(found.results.get("", ()), instrument)
        return found

    def findings(
        self, row: SheetRow, tables: GroupTables, endings: Sequence[str], terms: Terms
    ) -> list[StatusReason]:
        """Derive the statuses of an exposure from the month's tables and QC results."""
        assert isinstance(tables, MonthTables)
        return [*_judged(row, tables, endings, terms), *_photometry(row, tables, endings, terms)]

    def place(self, row: SheetRow, tables: GroupTables) -> dict[str, float | None]:
        """Return where an exposure points [deg]: as fitted, else as the header says."""
        assert isinstance(tables, MonthTables)
        angles = tables.of("angles", row.exposure) or {}
        header = super().place(row, tables)
        fitted = {key: number(angles.get(key.upper())) for key in header}
        return {key: header[key] if value is None else value for key, value in fitted.items()}

    def frame_class(self, row: SheetRow, instrument: Instrument) -> str:
        """Return the class of a SCIENCE exposure by its exposure time."""
        if row.frame_type != "SCIENCE" or not math.isfinite(row.exptime):
            return ""
        return instrument.exposure_class(row.exptime)

    def missing_category(self, registry: Registry, ending: str, row: SheetRow, category: str) -> str:
        """Return the category whose status a missing product changes."""
        if row.frame_type == "SCIENCE":
            return category or "quality"
        return "radiation" if category == "radiation" else "calibration"

    def header_facts(self, exposure: ExposureSummary, row: SheetRow) -> Facts:
        """Return the facts of the header that only VIS has."""
        return [
            ("OBS_ID", exposure.obs_id),
            ("DITHOBS", row.dithobs),
            ("CALBLKID", " ".join(t for t in (row.calblkid, row.calblkvr) if t)),
            *super().header_facts(exposure, row),
        ]

    def overlay_sources(self, names: Iterable[str], exposure: str) -> list[str]:
        """Select an exposure's tables of stars, matches and particles."""
        return overlays.overlay_sources(names, exposure)

    def overlay_script(self, stem: str, exposure: ExposureSummary, instrument: Instrument) -> bytes | None:
        """Compose the overlays of an exposure as a script, None if no table can be read."""
        return overlays.overlay_script(stem, exposure.pa, instrument)

    def tiles_command(self, row: SheetRow, folder: str, config: str) -> str:
        """Compose the command that makes the tiles of an exposure in full, "" without a raw frame."""
        if not row.file:
            return ""
        words = ["visql", "pyramid", row.file, "--full", "-o", folder]
        return shlex.join([*words, "--config", config] if config else words)

    def plot_files(self) -> dict[str, bytes]:
        """List the scripts that pages with plots load, by name."""
        return plots.plot_files()

    def group_plots(self, group: GroupSummary, thresholds: Thresholds, settings: Settings) -> GroupPlots:
        """Prepare the timelines of a month."""
        goes = plots.goes_of(_own(settings), group.name)
        return GroupPlots(goes.digest, partial(plots.month_plots, group, thresholds, goes))

    def trend_digest(self, results: Path, settings: Settings) -> str:
        """Return a digest of the tables and settings that the plots of all months are made from."""
        return digest(
            {"trend": _own(settings).trend.model_dump(mode="json")}, plots.tables_of(results).digest
        )

    def trend_plots(
        self, results: Path, thresholds: Thresholds, settings: Settings, held: Collection[str] | None
    ) -> Plots:
        """Make the plots of all months."""
        return plots.trend_plots(results, thresholds, _own(settings), held)

    def calibration_plots(self, results: Path, thresholds: Thresholds, held: Collection[str] | None) -> Plots:
        """Make the plots of the calibration frames of all months."""
        return plots.calibration_plots(results, thresholds, held)

    def timeline(self, files: Sequence[Any]) -> list[tuple[str, list[Any]]]:
        """Sort the files of all months under headings; those of no heading come last."""
        left = list(files)
        found = []
        for label, starts in _GROUPS:
            found.append((label, [f for f in left if f.ending == ".png" and f.name.startswith(starts)]))
            left = [f for f in left if f not in found[-1][1]]
        found += [
            ("Movies", [f for f in left if f.ending == ".mp4"]),
            ("More pictures", [f for f in left if f.ending == ".png"]),
        ]
        return [*found, ("Files", [f for f in left if f.ending not in (".mp4", ".png")])]


def _own(settings: Settings) -> VisSettings:
    assert isinstance(settings, VisSettings)
    return settings


def _records(path: Path, columns: Sequence[str]) -> dict[str, Record]:
    """Read rows by exposure; an unreadable table is logged and counts as missing."""
    try:
        table = read_table(path, columns)
    except TableError as error:
        log.warning("%s", error)
        return {}
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    return {str(row[0]): dict(zip(columns, row, strict=True)) for row in rows}


def _worst_trend(results: Sequence[QCResult], instrument: Instrument) -> dict[str, StatusReason]:
    """Select the trend status of each class: the worst colour, and loss before rate."""
    found: dict[str, StatusReason] = {}
    ranked = ((_STATUS_OF.get(r.status, r.status), r) for r in results)
    for status, result in sorted(ranked, key=lambda pair: rank(pair[0])):
        if result.cls in instrument.exposure_classes and status != UNJUDGED:
            text = f"trend: {sentence(result, QUANTITIES)}"
            reason = StatusReason("photometry", status, text, of_group=True, of_qc=True)
            found.setdefault(result.cls, reason)
    return found


def _judged(row: SheetRow, tables: MonthTables, endings: Sequence[str], terms: Terms) -> list[StatusReason]:
    """Derive the statuses of an exposure from the month's tables and QC results, without photometry."""
    found: list[StatusReason] = []
    for category, ending in _ENDINGS.items():
        if category == "photometry" or (category == "calibration" and row.frame_type == "SCIENCE"):
            continue
        table = TABLE_OF_CATEGORY[category]
        record = tables.of(table, row.exposure)
        if record is not None and record["STATUS"] in STATUSES:
            found += _of_category(category, row.exposure, tables, record, terms)
        elif ending in endings and (category != "quality" or row.frame_type == "SCIENCE"):
            found.append(_not_yet(category, table, tables.group))
    return found


def _not_yet(category: str, table: str, month: str) -> StatusReason:
    return StatusReason(category, "missing", f"not in {table}_{month}.parquet")


def _of_category(
    category: str, exposure: str, tables: MonthTables, record: Record, terms: Terms
) -> Iterator[StatusReason]:
    """Yield status reasons of a category: from its QC results, and from the status of its table."""
    results, status = tables.results_of(exposure, category, terms), str(record["STATUS"])
    worst = worst_status(results)
    judged = TABLE_OF_CATEGORY[category] not in tables.unjudged
    told = status == "failed" or (judged and status in BAD_STATUSES and _is_worse(status, worst))
    if told:
        yield StatusReason(category, status, str(record["REASON"]))
    yield from bad_results(category, results, terms)
    if worst == NOT_JUDGED and not told:
        yield StatusReason(category, UNJUDGED, why_not_judged(results))
    elif worst == OK:
        yield StatusReason(category, OK, "")


def _is_worse(status: str, worst: str) -> bool:
    return rank(status) < rank(_STATUS_OF.get(worst, worst))


def _photometry(
    row: SheetRow, tables: MonthTables, endings: Sequence[str], terms: Terms
) -> list[StatusReason]:
    """Derive the photometric status from the match with the reference stars, its QC results and the trend."""
    table, ending = TABLE_OF_CATEGORY["photometry"], _ENDINGS["photometry"]
    record = tables.of(table, row.exposure)
    if record is None:
        return [_not_yet("photometry", table, tables.group)] if ending in endings else []
    found = []
    reason = f" ({record['REASON']})" if record["REASON"] else ""
    for flag, (status, text) in _SOLUTION_PROBLEMS.items():
        if record["FLAGS"] & flag:
            found.append(StatusReason("photometry", status, text + reason))
    if found:
        return found
    if not record["ACCEPTED"]:
        return [StatusReason("photometry", "warn", "does not meet the cuts of the trends" + reason)]
    results = tables.results_of(row.exposure, "photometry", terms)
    judged = table not in tables.unjudged
    met, text = (OK, "") if judged else (UNJUDGED, why_not_judged(results))  # the cuts of the trends are met
    of_cuts = StatusReason("photometry", met, text)
    return [*bad_results("photometry", results, terms), tables.trend.get(str(record["CLASS"]), of_cuts)]
