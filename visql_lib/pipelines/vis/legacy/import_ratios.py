"""Import of the flux ratios of the original scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visql_lib import run_record
from visql_lib.errors import NameFormatError
from visql_lib.instruments.euclid_names import RawName
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.ratios import is_accepted
from visql_lib.pipelines.vis.legacy.gaia import ratios_of_lines, read_frat, read_ratio_lines, read_solution
from visql_lib.pipelines.vis.legacy.imported import merge_imported_ratios, store_imported
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.gaia import FRAT, RATIOS
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.products.context import Context, note_used

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.pipelines.vis.legacy.importing import Report

_LINES = "flux ratios of exposures and CCDs (vis-over-gaia-*.txt)"
_STARS = "flux ratios of stars (*_frat.txt)"
_SOLUTION_END = "_x_gaia_dxdy.txt"


def import_ratios(paths: Iterable[Path], results: Path, instrument: Instrument, report: Report) -> None:
    """Add the lines of vis-over-gaia tables to the imported flux ratios of their months."""
    parts = []
    for path in paths:
        if not path.name.startswith("vis-over-gaia"):
            continue
        lines = report.attempt(read_ratio_lines, path)
        rows = report.attempt(ratios_of_lines, path, lines, instrument) if lines else None
        if rows:
            parts.append(rows)
            report.counts[_LINES].update({"files": 1, "rows": len(rows["R1"])})
    if not parts:
        return
    run_record.current().use_fact("exposure_classes", instrument.exposure_classes)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in RATIOS.names}
    months = np.datetime_as_string(rows["DATE"].astype("datetime64[M]"))
    for month in np.unique(months[months != "NaT"]).tolist():
        chosen = {name: values[months == month] for name, values in rows.items()}
        merge = report.attempt(merge_imported_ratios, results, month.replace("-", ""), chosen)
        if merge is not None:
            found = {"new": merge.new, "changed": merge.changed, "unchanged": merge.unchanged}
            report.counts[f"month {month}, flux ratios"].update(found)


def import_frats(
    context: Context[VisSettings],
    paths: list[Path],
    solutions: Iterable[Path],
    results: Path,
    report: Report,
) -> None:
    """Store the flux ratios of stars as tables of their exposures, with their solutions as metadata."""
    solved = {p.name.removesuffix(_SOLUTION_END): p for p in solutions if p.name.endswith(_SOLUTION_END)}
    for path in paths:
        exposure = re.sub(r"_frat\.txt$", "", path.name)
        try:
            month = RawName.parse(exposure).month
        except NameFormatError as error:
            report.notes.append(f"skipped: {path}: {error}")
            continue
        table = MonthFiles(results, month).frame_file(exposure, "_frat.parquet")
        _store_ratios(context, path, exposure, table, solved.get(exposure), report)


@run_record.recording("import-legacy")
def _store_ratios(
    context: Context[VisSettings],
    path: Path,
    exposure: str,
    table: Path,
    solution: Path | None,
    report: Report,
) -> None:
    """Store the flux ratios of one exposure, with its solution as metadata."""
    columns = report.attempt(read_frat, path)
    if columns is None:
        return
    meta = {"exposure": exposure, "exptime": _first(columns["TEXP"]), "n_matched": len(columns["EXT"])}
    if solution is not None:
        meta |= report.attempt(_solution, solution, context) or {}
    outcome = report.attempt(store_imported, table, columns, FRAT, meta)
    if outcome == "measured":
        report.notes.append(f"skipped: {path}: VISQL matched this exposure itself")
    elif outcome is not None:
        report.counts[_STARS][outcome] += 1


def _first(values: NDArray) -> float | None:
    return float(values[0]) if len(values) else None


def _solution(path: Path, context: Context[VisSettings]) -> Mapping[str, Any]:
    """Return the metadata of a match from the original solution."""
    solution, line = read_solution(path)
    names = ("n_kept", "sigma", "dx", "dy", "ddx_dx", "ddy_dx", "ddx_dy", "ddy_dy")
    meta: dict[str, Any] = {"reference": {name: getattr(solution, name) for name in names}, "flags": 0}
    if line is not None:
        meta["relation"] = {"colours": list(line.colours), "ratios": list(line.ratios), "errors": [None] * 3}
        note_used(context.settings, context.instrument, ("ratios",))
        cuts = context.settings.ratios
        meta["accepted"] = is_accepted(
            solution.sigma, line.ratios, max_sigma=cuts.max_sigma, curvature=cuts.curvature
        )
    return meta
