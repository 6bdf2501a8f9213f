"""Flux ratios of a month: its exposures gathered in the matrix, with imported ratios."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import SolutionFlag
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.aggregate import Stars, aggregate, gather_stars, reference_rule, sheet_rule
from visql_lib.photometry.cells import FocalPlaneCells
from visql_lib.photometry.ratios import gain_table
from visql_lib.pipelines.vis.legacy.imported import imported_ratios
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.gaia import RATIOS
from visql_lib.pipelines.vis.schemas.gaia_metadata import MatchMetadata, Relation
from visql_lib.pipelines.vis.settings import RatioSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.sheets.exposures import science_exposures, start_of_row
from visql_lib.sheets.sheet import SheetRow
from visql_lib.tables.store import read_facts, read_table

log = logging.getLogger(__name__)

FRAT_ENDING = "_frat.parquet"
_FRAT_COLUMNS = ("EXT", "XWORLD", "YWORLD", "G", "BpRp", "VFLUX", "GFLUX", "FRAT")
_NAN3 = (np.nan, np.nan, np.nan)  # of a relation that is not known
_CELL = ("TIME", "TIME_BIN", "SPACE", "SPACE_BIN", "CLASS", "FIELD")


@dataclass(frozen=True)
class MonthRatios:
    """Flux ratios of one month or several.

    ``matrix`` holds the columns of RATIOS (docs/tables.md) of every cell of time,
    space, class and field; ``sheet`` those of the monthly sheet of CCDs and
    quadrants, which has its own choice of stars and no gains.
    """

    matrix: dict[str, NDArray]
    sheet: dict[str, NDArray]


@dataclass(frozen=True)
class FrameMatch:
    """The match of one exposure with Gaia, from the metadata of its flux ratios.

    ``path`` is the table, None where there is none that can be used, for the ``reason``.
    """

    path: Path | None
    facts: MatchMetadata
    reason: str
    flags: int


def match_of(row: SheetRow, path: Path) -> FrameMatch:
    """Read how one exposure was matched, or why it was not.

    Parameters
    ----------
    row : SheetRow
        The exposure.
    path : Path
        Its table of flux ratios, if there is one.
    """
    if not path.is_file():
        lost = np.isnan([row.ra, row.dec]).any()
        reason = "no boresight in the header" if lost else "not matched with Gaia"
        return FrameMatch(None, MatchMetadata(), f"{path.name}: {reason}", int(SolutionFlag.NOT_TRIED))
    try:
        facts = read_facts(path, MatchMetadata)
    except TableError as error:  # costs this exposure, not the month
        return FrameMatch(None, MatchMetadata(), str(error), int(SolutionFlag.NOT_TRIED))
    if facts.failed:
        flags = facts.flags if "flags" in facts.model_fields_set else int(SolutionFlag.NOT_TRIED)
        return FrameMatch(None, MatchMetadata(), facts.failed, flags)
    return FrameMatch(path, facts, "", facts.flags)


@dataclass(frozen=True)
class RatiosInputs:
    """The month or months whose flux ratios are gathered."""

    months: tuple[MonthFiles, ...]


def run(context: Context[VisSettings], inputs: RatiosInputs) -> MonthRatios:
    """Gather the flux ratios of a month, or of several.

    Raises
    ------
    TableError
        If a sheet cannot be read; a broken table costs its exposure only.
    """
    ratios, instrument = context.settings.ratios, context.instrument
    found = [
        (row, match_of(row, month.frame_file(row.exposure, FRAT_ENDING)))
        for month in inputs.months
        for row in science_exposures(month.sheet)
    ]
    used = [(row, match) for row, match in found if match.path is not None]
    exposures = _exposures(used, instrument)
    with context.progress(",".join(month.month for month in inputs.months), len(used)) as advance:
        stars = gather_stars(_tables([match.path for _, match in used if match.path is not None], advance))
    cells = focal_plane_cells(instrument, ratios.hexagons)
    matrix = _aggregated(stars, exposures, ratios, cells, instrument)
    by_ccd = aggregate(
        stars,
        exposures,
        cells,
        sheet_rule(faintest_fit=ratios.faintest_fit, gain=gain_table(instrument, ratios.gain)),
        min_stars=ratios.min_stars,
        times=("month",),
        spaces=("ccd", "quadrant"),
        sky_fields=("all",),
    )
    for month in inputs.months:
        matrix = with_imported(matrix, imported_ratios(month.results, month.month))
    return MonthRatios(matrix, by_ccd)


def _aggregated(
    stars: Stars,
    exposures: Mapping[str, NDArray],
    settings: RatioSettings,
    cells: FocalPlaneCells,
    instrument: Instrument,
) -> dict[str, NDArray]:
    rule = reference_rule(
        instrument.quadrants,
        faintest_fit=settings.faintest_fit,
        gain=gain_table(instrument, settings.gain),
        fit_gain=gain_table(instrument, settings.fit_gain, optional=True),
    )
    field = instrument.photometry.selfcal
    return aggregate(
        stars,
        exposures,
        cells,
        rule,
        min_stars=settings.min_stars,
        left_out=[("exposure", "hexagon")],
        in_selfcal=None if field is None else field.contains(exposures["RA"], exposures["DEC"]),
    )


def focal_plane_cells(instrument: Instrument, hexagons: int) -> FocalPlaneCells:
    """Divide the focal plane of an instrument, with `hexagons` across it."""
    geometry, facts = instrument.geometry, instrument.photometry
    return FocalPlaneCells.of(
        {name: quadrant.ccd for name, quadrant in instrument.quadrants.items()},
        ccds=(geometry.ccd_columns, geometry.ccd_rows),
        origin=(geometry.origin_x, geometry.origin_y),
        pitch=(geometry.ccd_pitch_x, geometry.ccd_pitch_y),
        hexagons=hexagons,
        cuts_x=facts.block_cuts_x,
        cuts_y=facts.block_cuts_y,
    )


def with_imported(
    matrix: Mapping[str, NDArray], imported: Mapping[str, NDArray] | None
) -> dict[str, NDArray]:
    """Add imported cells to the matrix where it has none itself."""
    columns = {name: np.asarray(matrix[name]) for name in RATIOS.names}
    if imported is None:
        return columns
    own = set(zip(*(columns[name].tolist() for name in _CELL), strict=True))
    cells = zip(*(np.asarray(imported[name]).tolist() for name in _CELL), strict=True)
    new = np.array([cell not in own for cell in cells], dtype=bool)
    return {name: np.concatenate([columns[name], np.asarray(imported[name])[new]]) for name in columns}


def _tables(
    paths: Sequence[Path], on_exposure: Callable[[], None]
) -> Iterator[tuple[int, Mapping[str, NDArray]]]:
    for number, path in enumerate(paths):
        yield number, read_table(path, _FRAT_COLUMNS)
        on_exposure()


def _exposures(used: list[tuple[SheetRow, FrameMatch]], instrument: Instrument) -> dict[str, NDArray]:
    """Compose the table of exposures for `aggregate`, with their own relations."""
    rows = [row for row, _ in used]
    relations = [match.facts.relation or Relation() for _, match in used]
    columns: dict[str, NDArray] = {
        "EXPOSURE": np.array([row.exposure for row in rows], dtype=np.str_),
        "DATE_OBS": np.array([start_of_row(row) for row in rows], dtype="datetime64[us]"),
        "CLASS": np.array([instrument.exposure_class(row.exptime) for row in rows], dtype=np.str_),
        "RA": np.array([row.ra for row in rows], dtype=float),
        "DEC": np.array([row.dec for row in rows], dtype=float),
        "ACCEPTED": np.array([match.facts.accepted for _, match in used], dtype=bool),
        "N_FIT": np.array([r.n_fit for r in relations], dtype=np.int32),
        "N_CLIPPED": np.array([r.n_clipped for r in relations], dtype=np.int32),
        "RMS": np.array([r.rms for r in relations], dtype=float),
    }
    for i in range(3):
        columns[f"R{i + 1}"] = np.array([(r.ratios or _NAN3)[i] for r in relations], dtype=float)
    for i in range(3):
        columns[f"R{i + 1}_ERR"] = np.array([(r.errors or _NAN3)[i] for r in relations], dtype=float)
    return columns
