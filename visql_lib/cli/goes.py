"""`visql goes`: netCDF files of the GOES satellites -> one series of the Sun's X-ray flux."""

from __future__ import annotations

from pathlib import Path

import click

from visql_lib.cli.common import INPUT, output_option, step


@step(
    "goes",
    """Combine the X-ray flux of GOES netCDF files FILE into one time series.

    Reads one-minute averages (avg1m) or one-second samples (flx1s) of GOES-15 to 19
    and keeps their cadence. Columns: TIME (UTC, start of the sample), XRSA
    (0.05-0.4 nm) and XRSB (0.1-0.8 nm) [W/m2], NaN where a file has no value, GOOD
    (XRSA is good_data according to the file), SATELLITE. Of several samples at the
    same time, the first good one is used, in the order of the files; gaps are not
    filled.""",
    "visql goes sci_xrsf-l2-avg1m_g16_d2024071*.nc -o goes.parquet",
)
@click.argument("files", metavar="FILE...", type=INPUT, nargs=-1, required=True)
@output_option("Series (Parquet).")
def command(files: tuple[Path, ...], output: Path, config: Path | None) -> None:
    """Read, join, write."""
    from visql_lib.archives.goes_files import read_goes
    from visql_lib.cli.outputs import provenance
    from visql_lib.pipelines.vis.schemas.radiation import GOES_SERIES
    from visql_lib.radiation.goes import join_series
    from visql_lib.tables import write_table

    series = join_series(read_goes(path) for path in files)
    write_table(output, series, GOES_SERIES, **provenance("goes", list(files)))
