"""Import of the text tables of the original scripts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from visql_lib import run_record
from visql_lib.errors import NameFormatError, TableError
from visql_lib.instruments.euclid_names import RawName
from visql_lib.pipelines.vis.legacy import read as legacy
from visql_lib.pipelines.vis.legacy.gaia import read_frat
from visql_lib.pipelines.vis.legacy.import_ratios import import_frats, import_ratios
from visql_lib.pipelines.vis.legacy.imported import (
    ImportedRow,
    imported_rows,
    merge_imported,
    store_imported,
)
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, note_used
from visql_lib.tables import MOMENTS as MOMENTS_TABLE
from visql_lib.tables import STARS as STARS_TABLE

T = TypeVar("T")


class Kind(NamedTuple):
    """A kind of original file: its name, and why it is not imported ("": it is)."""

    name: str
    pattern: str
    skipped: str = ""


_LATER = "known, but not imported yet"
_AGAIN = "VISQL makes its own from the tables"

# Searched in this order; the first that matches the whole name counts.
KINDS = (
    Kind("stars (*_stars2.cat)", r"C_.+_stars2\.cat"),
    Kind("moments (*_stars2_mom.cat)", r"C_.+_stars2_mom\.cat"),
    Kind("medians (psfmoments_YYYYMM.txt)", r"psfmoments_\d{6}\.txt"),
    Kind("scores (psfmoments_YYYYMM*_score.*)", r"psfmoments_\d{6}(_le1)?_score\.(txt|csv)"),
    Kind(
        "exposure times and ratios (vis-over-gaia-YYYYMM_*.txt, *_x_gaia_dxdy.txt)",
        r"vis-over-gaia-\d{6}(-3x3)?_(long|short)\.txt|C_.+_x_gaia_dxdy\.txt",
    ),
    Kind("ratios per CCD (vis-over-gaia-YYYYMMDD-ccd_*.txt)", r"vis-over-gaia-\d{8}-ccd_\w+\.txt"),
    Kind("moments with colours (*_stars2_mom_col.cat)", r"C_.+_stars2_mom_col\.cat", _AGAIN),
    Kind("flux ratios (*_frat.txt)", r"C_.+_frat\.txt"),
    Kind("Gaia stars (*_gaia.cat)", r"C_.+_gaia\.cat", _AGAIN),
    Kind("plate solutions (*.wcs)", r"C_.+\.wcs", _LATER),
    Kind("colour fits (visgaiacolour_*.txt)", r"visgaiacolour_\w+\.txt", _AGAIN),
    Kind("angles (All_Angles_and_GOES_*.txt)", r"All_Angles_and_GOES_\d{6}\.txt", _LATER),
    Kind("catalogues (*.cat.gz)", r"C_.+\.cat\.gz", _LATER),
    Kind("header lists (fitslist*.txt)", r"fitslist\d{6}\.txt", _AGAIN),
    Kind("pictures and movies", r".+\.(png|jpg|mp4)", _AGAIN),
)
STARS, MOMENTS, MEDIANS, SCORES, TIMES, DAYS = (kind.name for kind in KINDS[:6])
FRATS = next(kind.name for kind in KINDS if "_frat" in kind.pattern)


@dataclass
class Report:
    """Outcome for all files."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def attempt(self, function: Callable[..., T], *arguments: Any) -> T | None:
        """Read or store a table; record a broken one and continue."""
        try:
            return function(*arguments)
        except TableError as error:  # a broken text table, or a broken table of VISQL that it would replace
            line = f"broken: {error}"
        except OSError as error:
            line = f"broken: {error.filename}: cannot be read ({error.strerror})"
        if line not in self.broken:
            self.broken.append(line)
        return None

    def lines(self) -> Iterator[str]:
        """Yield one line per kind, note and broken table."""
        for kind, counter in self.counts.items():
            yield f"{kind}: " + ", ".join(f"{number} {what}" for what, number in counter.items())
        yield from self.notes
        yield from self.broken


SETTINGS, FACTS = ("ratios",), ("geometry", "exposure_classes", "class_tolerance")


@dataclass(frozen=True)
class ImportInputs:
    """The folder of the text tables, and the results they are imported into."""

    folder: Path
    results: Path


def run(context: Context[VisSettings], inputs: ImportInputs) -> Report:
    """Import the text tables of the original scripts.

    Returns
    -------
    Report
        What was imported, skipped and broken.
    """
    results, report = inputs.results, Report()
    files = find_files(inputs.folder, results, report)
    rows = read_month_tables(files, report)
    convert_exposures(context, files, rows, results, report)
    add_exposure_times(files.get(FRATS, []), rows, results, report)
    merge_rows(rows, results, report)
    import_ratios([*files.get(TIMES, ()), *files.get(DAYS, ())], results, context.instrument, report)
    import_frats(context, files.get(FRATS, []), files.get(TIMES, []), results, report)
    return report


def find_files(folder: Path, results: Path, report: Report) -> dict[str, list[Path]]:
    """Return the files to import by kind, in order of name; record skipped ones."""
    found: dict[str, list[Path]] = defaultdict(list)
    skipped: Counter[Kind] = Counter()
    own = results.resolve()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.resolve().is_relative_to(own):
            continue
        kind = next((k for k in KINDS if re.fullmatch(k.pattern, path.name)), None)
        if kind is None:
            report.notes.append(f"skipped: {path}: unknown file")
        elif kind.skipped:
            skipped[kind] += 1
        else:
            found[kind.name].append(path)
    report.notes += [
        f"skipped: {kind.name}, {n} file{'s' * (n > 1)}: {kind.skipped}" for kind, n in skipped.items()
    ]
    return found


def read_month_tables(files: dict[str, list[Path]], report: Report) -> dict[str, ImportedRow]:
    """Return the values in tables of many exposures, by exposure."""
    rows: dict[str, ImportedRow] = {}

    def add(exposure: str, **facts: Any) -> None:
        rows[exposure] = rows.get(exposure, ImportedRow(exposure)).merged(ImportedRow(exposure, **facts))

    for path in files.get(SCORES, ()):
        scores = report.attempt(legacy.read_scores, path) or {}
        report.counts[SCORES].update({"files": 1, "rows": len(scores)})
        for exposure, score in scores.items():
            medians = {"R2": score.R2, "e1": score.e1, "e2": score.e2}
            add(exposure, medians=medians, archive_name=score.archive_name or None)
    for path in files.get(MEDIANS, ()):  # after the scores: these medians are complete
        medians_of = report.attempt(legacy.read_psfmoments, path) or {}
        report.counts[MEDIANS].update({"files": 1, "rows": len(medians_of)})
        for exposure, medians in medians_of.items():
            add(exposure, medians=medians)
    for path in files.get(TIMES, ()):
        times = report.attempt(legacy.read_exposure_times, path) or {}
        report.counts[TIMES].update({"files": 1, "rows": len(times)})
        for exposure, exptime in times.items():
            add(exposure, exptime=exptime)
    return rows


def convert_exposures(
    context: Context[VisSettings],
    files: dict[str, list[Path]],
    rows: dict[str, ImportedRow],
    results: Path,
    report: Report,
) -> None:
    """Write the tables of stars and moments; mark their exposures in `rows`."""
    wanted = [(kind, path) for kind in (STARS, MOMENTS) for path in files.get(kind, ())]
    known = _Known(results, report)
    seen: dict[tuple[str, str], Path] = {}
    with context.progress("importing", len(wanted)) as advance:
        for kind, path in wanted:
            advance()
            exposure = _exposure_of(kind, path, report)
            if exposure is None:
                continue
            first = seen.setdefault((kind, exposure), path)
            if first != path:
                report.notes.append(f"skipped: {path}: {first} is the same table of the same exposure")
                continue
            row = rows.get(exposure, ImportedRow(exposure))
            if (before := known.rows(row.month)) is None:
                continue
            earlier = before.get(exposure)
            exptime = row.exptime if row.exptime is not None or earlier is None else earlier.exptime
            if _convert(kind, path, exposure, exptime, results, context, report):
                found = ImportedRow(exposure, has_stars=kind == STARS, has_moments=kind == MOMENTS)
                rows[exposure] = row.merged(found)


def add_exposure_times(
    frats: list[Path], rows: dict[str, ImportedRow], results: Path, report: Report
) -> None:
    """Take exposure times that no other table tells from the flux ratios: stages know only the sheet's."""
    known = _Known(results, report)
    for path in frats:
        try:
            name = RawName.parse(path.name.removesuffix("_frat.txt"))
        except NameFormatError:  # `import_frats` reports it
            continue
        earlier = (known.rows(name.month) or {}).get(name.stem)
        found = [row for row in (rows.get(name.stem), earlier) if row is not None]
        if not found or any(row.exptime is not None for row in found):
            continue
        columns = report.attempt(read_frat, path)
        if columns is not None and len(columns["TEXP"]):
            rows[name.stem] = found[0].merged(ImportedRow(name.stem, exptime=float(columns["TEXP"][0])))


def _exposure_of(kind: str, path: Path, report: Report) -> str | None:
    ending = "_stars2.cat" if kind == STARS else "_stars2_mom.cat"
    try:
        return RawName.parse(path.name.removesuffix(ending)).stem
    except NameFormatError as error:
        report.notes.append(f"skipped: {path}: {error}")
        return None


class _Known:
    """Values of earlier imports, read once per month."""

    def __init__(self, results: Path, report: Report) -> None:
        self._results, self._report = results, report
        self._months: dict[str, dict[str, ImportedRow] | None] = {}

    def rows(self, month: str) -> dict[str, ImportedRow] | None:
        """Return the rows of a month by exposure, None if their table is broken."""
        if month not in self._months:
            self._months[month] = self._report.attempt(imported_rows, self._results, month)
        return self._months[month]


@run_record.recording("import-legacy")
def _convert(
    kind: str,
    path: Path,
    exposure: str,
    exptime: float | None,
    results: Path,
    context: Context[VisSettings],
    report: Report,
) -> bool:
    """Convert one table; return whether the exposure now has an imported table."""
    instrument = context.instrument
    if kind == STARS:
        note_used(context.settings, instrument, (), ("geometry",))
        columns = report.attempt(legacy.read_stars2, path, instrument)
        schema, ending = STARS_TABLE, "_stars2.parquet"
    else:
        columns = report.attempt(legacy.read_flagged_moments, path)
        schema, ending = MOMENTS_TABLE, "_stars2_mom.parquet"
    if columns is None:
        return False
    meta = {
        "exposure": exposure,
        "frame_type": "SCIENCE" if kind == MOMENTS else "UNKNOWN",  # FLATs have stars, too
        "exptime": exptime,
        "instrument": instrument.name,
    }
    table = MonthFiles(results, RawName.parse(exposure).month).frame_file(exposure, ending)
    outcome = report.attempt(store_imported, table, columns, schema, meta)
    if outcome is None:
        return False
    if outcome == "measured":
        report.notes.append(f"skipped: {path}: VISQL measured this exposure itself")
        return False
    report.counts[kind][outcome] += 1
    return True


@run_record.recording("import-legacy")
def _merge_month(month: str, found: list[ImportedRow], results: Path, report: Report) -> None:
    """Add rows to the imported table of a month."""
    known = report.attempt(imported_rows, results, month)
    if known is None:
        return
    useful = [r for r in found if r.medians or r.has_stars or r.has_moments or r.exposure in known]
    if len(useful) < len(found):
        report.notes.append(
            f"skipped: {len(found) - len(useful)} exposures of {month}: only their exposure time is known"
        )
    merge = report.attempt(merge_imported, results, month, useful) if useful else None
    if merge is not None:
        report.counts[f"month {month}, exposures"].update(
            {"new": merge.new, "changed": merge.changed, "unchanged": merge.unchanged}
        )


def merge_rows(rows: dict[str, ImportedRow], results: Path, report: Report) -> None:
    """Add the rows to the imported tables of their months."""
    by_month: dict[str, list[ImportedRow]] = defaultdict(list)
    for row in rows.values():
        by_month[row.month].append(row)
    for month, found in sorted(by_month.items()):
        _merge_month(month, found, results, report)
