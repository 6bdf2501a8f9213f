"""`visql angles`: a month's exposures and the Sun's X-ray flux -> pointings, solar angles, flux."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, OUTPUT, output_option, progress, settings_of, step
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.sheets.sheet import SheetRow
    from visql_lib.sky.ephemeris import Ephemeris

log = logging.getLogger(__name__)

HORIZONS = "horizons"


@step(
    "angles",
    """Collect pointing, angles to the Sun and solar X-ray flux for all exposures of SHEET.

    Angles [deg] are taken from the header if possible. Otherwise they are computed from
    the pointing in the header or in the plate solution next to the sheet
    (YYYYMM/E/E.wcs), as seen from the spacecraft (sun.ephemeris) or else from the
    Earth; every row gives its source. SERIES are tables made by `visql goes-day` or
    `visql goes`. Flux is in W/m2, fluence in J/m2.""",
    "visql angles results/exposures/202407.tsv goes_202407*.parquet -o angles_202407.parquet"
    " --text All_Angles_and_GOES_202407.txt",
)
@click.argument("sheet", type=INPUT)
@click.argument("series", type=INPUT, nargs=-1)
@output_option("Angles (Parquet).")
@click.option("--text", type=OUTPUT, metavar="TXT", help="Also write a text table.")
def command(
    sheet: Path, series: tuple[Path, ...], output: Path, text: Path | None, config: Path | None
) -> None:
    """Read the sheet and the series, collect the angles, write the tables."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.legacy.angles_text import write_angles_text
    from visql_lib.pipelines.vis.schemas.radiation import ANGLES
    from visql_lib.pipelines.vis.stages.angles import month_angles
    from visql_lib.sheets.sheet import read_sheet
    from visql_lib.stores.goes import read_series
    from visql_lib.tables import write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    rows = read_sheet(sheet)
    flux, provisional, missing = read_series(series, settings.goes)
    ephemeris, notes = _ephemeris(settings, rows)
    with progress(sheet.stem, len(rows)) as advance:
        folder = sheet.parent / sheet.stem
        found = month_angles(rows, folder, flux, instrument, ephemeris, provisional, advance)
    for note in found.notes:
        log.warning("%s: %s", sheet.stem, note)
    meta = {
        "month": sheet.stem,
        "instrument": instrument.name,
        "ephemeris": ephemeris.source if ephemeris else "",
        "notes": [*notes, *found.notes],
        "goes_missing": missing,
    }
    origin = provenance("angles", [sheet, *series], settings.sun, instrument.detector)
    write_table(output, found.columns, ANGLES, meta=meta, **origin)
    if text is not None:
        write_angles_text(text, found.columns)
        write_sidecars("angles", text, inputs=origin["inputs"])


def _ephemeris(settings: VisSettings, rows: Sequence[SheetRow]) -> tuple[Ephemeris | None, list[str]]:
    """Return the positions of the spacecraft, if configured and available, and messages about them."""
    from visql_lib.archives.errors import SourceError
    from visql_lib.tables.ephemeris import read_ephemeris

    wanted = settings.sun.ephemeris.strip()
    if not wanted:
        return None, []
    if wanted.lower() != HORIZONS:
        return read_ephemeris(Path(wanted)), []
    try:
        return _ask_horizons(settings, rows), []
    except SourceError as error:  # the Earth's position is a good approximation, and is named in the table
        log.warning("%s; the Earth's place is used", error)
        return None, [str(error)]


def _ask_horizons(settings: VisSettings, rows: Sequence[SheetRow]) -> Ephemeris | None:
    """Query the days of exposures without angles in the header; None if there are none."""
    import numpy as np

    from visql_lib.archives.horizons import spacecraft_positions
    from visql_lib.sheets.exposures import start_of_row
    from visql_lib.sky.ephemeris import Ephemeris

    needed = [row for row in rows if not np.isfinite([row.saa, row.alpha]).all()]
    times = np.array([start_of_row(row) for row in needed], dtype="datetime64[us]")
    times = times[~np.isnat(times)]
    if not len(times):
        return None
    found = spacecraft_positions(settings.sun.horizons_id, times.min(), times.max(), settings.network.proxy)
    return Ephemeris.of(*found, source="Horizons")
