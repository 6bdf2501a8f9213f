"""The sheets of a month's flux ratios: stars and fits by CCD, a sheet for each class of exposures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.instruments.model import Instrument
from visql_lib.photometry.aggregate import select
from visql_lib.photometry.ratios import gain_factors, gain_table
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.ratio_sheet import ratio_sheet
from visql_lib.pipelines.vis.schemas.gaia import FRAT, RATIOS
from visql_lib.pipelines.vis.settings import RatioSettings, VisSettings
from visql_lib.pipelines.vis.stages.ratios import FRAT_ENDING, match_of
from visql_lib.products.context import Context
from visql_lib.sheets.exposures import science_exposures
from visql_lib.tables.store import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RatioSheetsInputs:
    """The month whose stars are drawn, and the table of its fits by CCD without gains."""

    month: MonthFiles
    by_ccd: Path


def run(context: Context[VisSettings], inputs: RatioSheetsInputs) -> Iterator[tuple[str, Figure]]:
    """Draw the sheets one after the other, each with the name of its file without its ending.

    Raises
    ------
    TableError
        If the sheet or a table cannot be read.
    """
    settings, instrument = context.settings, context.instrument
    fits = read_table(inputs.by_ccd, RATIOS.names)
    month = str(fits.meta["month"])
    for cls, stars in stars_by_class(inputs.month, settings.ratios, instrument):
        rows = select(fits, time="month", space="ccd", cls=cls)
        title = f"VIS/Gaia, {month[:4]}-{month[4:]}, {cls} exposures"
        figure = ratio_sheet(stars, rows, instrument, gain="none", title=title)
        yield f"VISGaia_FPA_{cls.upper()}_{month}", figure


def stars_by_class(
    month: MonthFiles, settings: RatioSettings, instrument: Instrument
) -> Iterator[tuple[str, dict[str, NDArray]]]:
    """Yield each class with the stars of its accepted exposures, without any gain, for the sheet of CCDs.

    Yields
    ------
    (class, dict of arrays, shape (n,))
        EXT, BpRp [mag], VFLUX, GFLUX, FLAGS.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    names = ("EXT", "BpRp", "VFLUX", "GFLUX", "FLAGS")
    accepted: dict[str, list[Path]] = {cls: [] for cls in instrument.exposure_classes}
    for row in science_exposures(month.sheet):
        match = match_of(row, month.frame_file(row.exposure, FRAT_ENDING))
        cls = instrument.exposure_class(row.exptime)
        if match.path is not None and match.facts.accepted and cls in accepted:
            accepted[cls].append(match.path)
    gains = gain_table(instrument, settings.gain)
    for cls, paths in accepted.items():
        parts: list[Mapping[str, NDArray]] = [FRAT.empty()]
        for path in paths:
            part = read_table(path, names)
            parts.append(part | {"VFLUX": part["VFLUX"] / gain_factors(part["EXT"], gains)})
        yield cls, {name: np.concatenate([part[name] for part in parts]) for name in names}
