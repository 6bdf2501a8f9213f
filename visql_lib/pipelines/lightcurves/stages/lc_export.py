"""Stage `lc_export`: the light curves of a target in one table, what was decided, a README."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from visql_lib.errors import TableError, TargetError
from visql_lib.pipelines.lightcurves.colour_reference import star_levels, tied_curves
from visql_lib.pipelines.lightcurves.decisions import Decision, from_meta
from visql_lib.pipelines.lightcurves.export_table import SetCurve, export_columns, sources_of
from visql_lib.pipelines.lightcurves.exporting import lacking
from visql_lib.pipelines.lightcurves.readme import SetFacts, readme, set_facts
from visql_lib.pipelines.lightcurves.settings import LightCurveSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import Target
from visql_lib.products.context import Context
from visql_lib.tables.store import read_meta, read_table

log = logging.getLogger(__name__)

STAGE = "lc_export"
KINDS = (
    "frames",
    "transforms",
    "apertures",
    "stars",
    "medcoeff",
    "psfmodel",
    "psf",
    "renorm",
    "target",
    "fluxes",
)
_STATES = (("frames", "lc_frames"), ("transforms", "lc_measure"), ("psf", "lc_psf"))  # tables with STATUS
_UNTIED = "no comparison star is in all sets: their magnitudes are not tied to each other"


@dataclass(frozen=True)
class ExportInputs:
    """The folders of a target's sets, and the target."""

    folders: Sequence[Path]
    target: Target


@dataclass(frozen=True)
class ExportOutputs:
    """The table of all sets, that of each set, the decisions, the README, and what was read."""

    columns: dict[str, NDArray]
    sources: list[str]
    of_sets: dict[str, tuple[dict[str, NDArray], list[str]]]
    decisions: list[Decision]
    text: str
    inputs: list[Path]


def run(context: Context[LightCurveSettings], inputs: ExportInputs) -> ExportOutputs:
    """Gather the curves of all sets of a target.

    Raises
    ------
    TargetError
        If there is no curve of any set.
    TableError
        If a table cannot be read.
    """
    curves, facts, decisions, read = [], list[SetFacts](), list[Decision](), list[Path]()
    for folder in inputs.folders:
        name = folder.absolute().name
        nights = folder / f"nights_{name}.parquet"
        curves.append(SetCurve(name, inputs.target.camera(name).name, read_table(nights)))
        own = _decisions_of(folder, name)
        decisions += own
        facts.append(set_facts(folder, name, inputs.target, own))
        read.append(nights)
    if not any(len(curve.nights["SOURCE"]) for curve in curves):
        raise TargetError(f"{inputs.target.name}: no set has a night with a flux; see decisions and REASON")
    gap = context.settings.nights.gap
    of_sets = {curve.name: (export_columns([curve], gap), sources_of([curve])) for curve in curves}
    levels = {
        f.absolute().name: star_levels(f / f"renorm_{f.absolute().name}.parquet") for f in inputs.folders
    }
    tied, star, moved = tied_curves(curves, levels)
    columns = export_columns(tied, gap)
    if len(curves) > 1 and not star:
        log.warning("%s: %s", inputs.target.name, _UNTIED)
        decisions.append(Decision("", "", STAGE, True, _UNTIED))
    for name, by in moved.items():
        reason = (
            f"magnitudes in the table of all sets are moved by {by:+.4f}: star {star} has one flux in all"
        )
        decisions.append(Decision("", name, STAGE, True, reason, by))
    for name, (table, sources) in of_sets.items():
        for date, lost in lacking(table, sources):
            reason = f"the night of {date} has no flux of {lost}: not in the .rdb"
            decisions.append(Decision("", name, STAGE, False, reason))
    text = readme(inputs.target, facts, decisions, context.settings, star)
    return ExportOutputs(columns, sources_of(curves), of_sets, decisions, text, read)


def _decisions_of(folder: Path, name: str) -> list[Decision]:
    """Gather what the stages of a set decided; each reason against a frame once, of the first stage."""
    found: dict[tuple[str, str, str], Decision] = {}
    for decision in (*_told(folder, name), *_states(folder, name)):
        stage = decision.stage if decision.kept or not decision.frame else ""
        found.setdefault((decision.frame, stage, decision.reason), decision)
    return list(found.values())


def _told(folder: Path, name: str) -> Iterator[Decision]:
    """Yield the decisions that stand in the metadata of the tables of a set, and of its target."""
    paths = [folder / f"{kind}_{name}.parquet" for kind in KINDS]
    for path in (folder.parent / "reference.parquet", *paths):
        if path.is_file():
            yield from (d for d in from_meta(read_meta(path)) if d.set in ("", name))


def _states(folder: Path, name: str) -> Iterator[Decision]:
    """Yield the frames that a table calls other than ok."""
    known: set[str] = set()
    for kind, stage in _STATES:
        path = folder / f"{kind}_{name}.parquet"
        if not path.is_file():
            continue
        try:
            table: Mapping[str, Any] = read_table(path, ["FRAME", "STATUS", "REASON"])
        except TableError as error:
            log.warning("%s", error)
            continue
        for frame, status, reason in zip(table["FRAME"], table["STATUS"], table["REASON"], strict=True):
            if status == LightStatus.OK or frame in known:
                continue
            known.add(str(frame))
            by = "user" if status == LightStatus.KICKED else "auto"
            yield Decision(str(frame), name, stage, False, f"{status}: {reason}", by=by)
