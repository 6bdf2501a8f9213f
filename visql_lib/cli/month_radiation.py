"""`visql month-radiation`: the particles of a month's exposures -> rates, status, light leaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import FOLDER, INPUT, OUTPUT, output_option, progress, settings_of, step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.qc.limits import Thresholds
    from visql_lib.radiation.leak import Leakage

_ANGLES = ("EXPOSURE", "SAA", "ALPHA", "GOES_FLUX")


@step(
    "month-radiation",
    """Gather the particles of the exposures of a month from its exposure sheet SHEET.

    Rates of X-rays, cosmics and protons [cm-2 s-1] of every SCIENCE and DARK
    exposure, the area lit by X-rays [cm2], flags and status against dated
    thresholds. Tables are looked for beside the sheet
    (YYYYMM/E/E_radiation.parquet). With --angles, X-rays are compared with
    those of the Sun: at which SAA and ALPHA [deg] does light leak in?""",
    "visql month-radiation results/exposures/202407.tsv --angles angles_202407.parquet"
    " -o radiation_202407.parquet --leak leak_202407.parquet --pictures results/months/202407",
)
@click.argument("sheet", type=INPUT)
@output_option("Particles of the month (Parquet).")
@click.option("--angles", type=INPUT, metavar="TABLE", help="The month's angles and X-ray flux of the Sun.")
@click.option("--leak", type=OUTPUT, metavar="FILE", help="Also write X-rays by SAA, ALPHA and GOES flux.")
@click.option(
    "--pictures", type=FOLDER, metavar="FOLDER", help="Also draw radiation_YYYYMM.png and leak_YYYYMM.png."
)
def command(
    sheet: Path,
    output: Path,
    angles: Path | None,
    leak: Path | None,
    pictures: Path | None,
    config: Path | None,
) -> None:
    """Read, gather, judge, write, draw."""
    from visql_lib.cli.outputs import provenance
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.quantities import QUANTITIES
    from visql_lib.pipelines.vis.schemas.leak import LEAK
    from visql_lib.pipelines.vis.schemas.radiation import MONTH_RADIATION
    from visql_lib.pipelines.vis.stages.month_radiation import month_radiation, radiation_exposures
    from visql_lib.qc.limits import load_thresholds
    from visql_lib.radiation.leak import leak_table, leakage, with_angles
    from visql_lib.radiation.maps import Grid, bin_area
    from visql_lib.tables import read_table, write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    thresholds = load_thresholds(settings.quality.thresholds, QUANTITIES)
    with progress(sheet.stem, len(radiation_exposures(sheet))) as advance:
        table = month_radiation(sheet, instrument, thresholds, advance)
    meta = {"month": sheet.stem, "instrument": instrument.name, "thresholds": settings.quality.thresholds}
    inputs = [sheet, *([angles] if angles else [])]
    facts = (instrument.geometry, instrument.detector)
    origin = provenance("month_radiation", inputs, settings.radiation, thresholds, *facts)
    write_table(output, table, MONTH_RADIATION, meta=meta, **origin)
    joined = with_angles(table, read_table(angles, _ANGLES) if angles else None)
    detector, geometry, radiation = instrument.detector, instrument.geometry, settings.radiation
    grid = Grid.of_bins(radiation.xray_bin, radiation.extent, instrument.nominal_pixel)
    found = leakage(
        joined,
        readout_time=detector.readout_time,
        bin_area=bin_area(grid, pixel_size=geometry.pixel_size, scale=geometry.scale),
        sigma=radiation.lit_sigma,
    )
    rows = leak_table(joined, found)
    if leak is not None:
        write_table(leak, rows, LEAK, meta=meta, **origin)
    if pictures is not None:
        _draw(joined, found, rows, pictures, sheet.stem, settings, thresholds)


def _draw(
    joined: dict[str, NDArray],
    found: Leakage,
    rows: dict[str, NDArray],
    folder: Path,
    month: str,
    settings: VisSettings,
    thresholds: Thresholds,
) -> None:
    """Draw the month."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.pipelines.vis.pictures.leak import leak_picture
    from visql_lib.pipelines.vis.pictures.radiation_month import radiation_timeline

    dpi, when = settings.pictures.dpi, f"{month[:4]}-{month[4:]}"
    figure = radiation_timeline(joined, thresholds, title=f"particles and X-rays, {when}")
    save_picture(figure, folder / f"radiation_{month}.png", dpi, "month_radiation")
    figure = leak_picture(joined, found, rows, title=f"solar X-rays on the detectors, {when}")
    save_picture(figure, folder / f"leak_{month}.png", dpi, "month_radiation")
