"""`visql pointing-index`: the raw frames of a night by their headers, as a FITS table."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option
from visql_lib.cli.pointing_common import pointing_step


@pointing_step(
    "pointing-index",
    """List the raw frames of a night, from its exposure sheet SHEET, in order of time.

    Columns: FNAME, MJD (start, UTC), HA and DEC [deg], EXPTIME_SECONDS, ZPFLAG (1: the telescope
    moves, -1: not known).""",
    "visql pointing-index results/exposures/20210611.tsv -o index_20210611.fits",
)
@click.argument("sheet", type=INPUT)
@output_option("The index (FITS).")
def command(sheet: Path, output: Path, config: Path | None, instrument: str | None) -> None:
    """Read, list, write."""
    from astropy.io import fits

    from visql_lib.cli.pointing_common import context_of
    from visql_lib.images.writing import write_hdus
    from visql_lib.pipelines.pointing.grouping import NIGHTS
    from visql_lib.pipelines.pointing.schemas import INDEX
    from visql_lib.pipelines.pointing.stages.night_index import NightIndexInputs, run
    from visql_lib.pipelines.pointing.versions import VERSIONS
    from visql_lib.tables.fits import table_bytes

    found = run(context_of("night_index", config, instrument), NightIndexInputs(sheet))
    primary = fits.PrimaryHDU()
    primary.header["NIGHT"] = NIGHTS.locate(sheet)[1], "YYYYMMDD of the evening"
    table = fits.BinTableHDU.fromstring(table_bytes(found.columns, INDEX, "INDEX"))
    write_hdus(output, fits.HDUList([primary, table]), {"night_index": VERSIONS["night_index"]}, [sheet])
