"""`visql radiation`: catalogue -> counts, rates and maps of cosmics, X-rays and protons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    INPUT,
    OUTPUT,
    PREFIX,
    RECORD_FAILURE,
    output_option,
    recorded,
    settings_of,
    step,
)
from visql_lib.errors import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.instruments.model import Instrument
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.particles import ExposureRadiation

# Kind of map -> ending of its picture, as users know it.
PICTURES = {"xray": "cosmiX", "cosmic": "cosmics", "proton": "protons"}


@step(
    "radiation",
    """Count the cosmic rays, X-rays and protons of the catalogue CATALOGUE.

    Writes numbers and rates [cm-2 s-1] per quadrant with Poisson errors. The metadata
    contain the rates of the exposure, the area illuminated by X-rays [cm2], and the count
    of the tenth-fullest bin minus that of the median bin. --quadrants tells which quadrants
    were read, and in which of them nothing could be detected. Definitions:
    docs/measurements.md.""",
    "visql radiation E.cat.parquet --quadrants E_quadrants.parquet -o E_radiation.parquet"
    " --maps E_radmaps.parquet --pictures E",
)
@click.argument("catalogue", type=INPUT)
@output_option("Particles per quadrant (Parquet).")
@click.option("--quadrants", type=INPUT, metavar="TABLE", help="Table of quadrants of the exposure.")
@click.option("--maps", type=OUTPUT, metavar="FILE", help="Also write the maps and the radius-flux diagram.")
@click.option(
    "--pictures",
    type=PREFIX,
    metavar="PREFIX",
    help="Also draw PREFIX_{cosmiX,cosmics,protons,rf}.png.",
)
@click.option("--sheet", type=INPUT, metavar="TSV", help="Exposure sheet: also draw PREFIX_goes.png.")
@click.option(
    "--goes",
    type=INPUT,
    multiple=True,
    metavar="SERIES",
    help="Solar X-ray flux for PREFIX_goes.png, one day per file.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0, 24, min_open=True),
    help="Time shown in PREFIX_goes.png before and after the exposure.",
)
@RECORD_FAILURE
def command(
    catalogue: Path,
    output: Path,
    quadrants: Path | None,
    maps: Path | None,
    pictures: Path | None,
    sheet: Path | None,
    goes: tuple[Path, ...],
    hours: float | None,
    record_failure: bool,
    config: Path | None,
) -> None:
    """Read, count, write, draw."""
    if sheet is not None and pictures is None:
        raise click.UsageError("--sheet needs --pictures")
    from visql_lib.cli.outputs import provenance
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.schemas.radiation import RADIATION, RADIATION_MAPS
    from visql_lib.tables import write_table

    settings = settings_of(config)
    instrument = load_instrument(settings.instrument)
    meta: dict[str, Any] = {"exposure": catalogue.name.removesuffix(".cat.parquet")}
    found = None
    with recorded(record_failure, meta):
        found = _count(catalogue, quadrants, settings, instrument, meta)
    if found is not None:
        meta |= {"grids": found.grids, "radiation": {n: _known(v) for n, v in found.summary.items()}}
    rows = found.quadrants if found else RADIATION.empty()
    bins: Mapping[str, NDArray] = found.maps if found else RADIATION_MAPS.empty()
    inputs = [catalogue, *([quadrants] if quadrants else [])]
    readout = instrument.detector.readout_time
    origin = provenance("radiation", inputs, settings.radiation, instrument.geometry, {"readout": readout})
    write_table(output, rows, RADIATION, meta=meta, **origin)
    if maps is not None:
        write_table(maps, bins, RADIATION_MAPS, meta=meta, **origin)
    if pictures is not None:
        draw(bins, meta, pictures, settings)
    if sheet is not None and pictures is not None:
        from visql_lib.cli.goes_picture import draw_goes

        path = pictures.with_name(f"{pictures.name}_goes.png")
        draw_goes(sheet, str(meta["exposure"]), goes, path, settings, hours)


def _count(
    catalogue: Path,
    quadrants: Path | None,
    settings: VisSettings,
    instrument: Instrument,
    meta: dict[str, Any],
) -> ExposureRadiation | None:
    """Count the particles; None, with the reason in `meta`, if the catalogue failed."""
    from visql_lib.pipelines.vis.stages.particles import RadiationCount
    from visql_lib.radiation.particles import COLUMNS
    from visql_lib.tables.store import read_parts, read_table

    count = RadiationCount(settings.radiation, instrument)
    for part in read_parts(catalogue, COLUMNS):
        facts = part.meta
        count.add(part)
    meta |= {
        n: facts[n] for n in ("exposure", "instrument", "frame_type", "exptime", "date_obs") if n in facts
    }
    if "failed" in facts:
        meta["failed"] = facts["failed"]
        return None
    table = read_table(quadrants, ("EXT", "FLAGS")) if quadrants is not None else None
    if table is not None and table.meta.get("exposure", meta["exposure"]) != meta["exposure"]:
        raise TableError(f"{quadrants}: quadrants of {table.meta['exposure']}, not of {catalogue.name}")
    exptime = facts.get("exptime")
    return count.result(math.nan if exptime is None else float(exptime), table)


def _known(value: Any) -> Any:
    """Return None for an unknown number, because JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(bins: Mapping[str, NDArray], meta: Mapping[str, Any], prefix: Path, settings: VisSettings) -> None:
    """Draw the maps and the diagram of an exposure from its table of maps."""
    from visql_lib.cli.outputs import save_picture
    from visql_lib.instruments.model import load_instrument
    from visql_lib.pipelines.vis.pictures.radiation import particle_map, radius_flux_diagram

    instrument, dpi = load_instrument(settings.instrument), settings.pictures.dpi
    kind = meta.get("frame_type") or "SCIENCE"
    title = str(meta["exposure"]) + (f" ({kind})" if kind != "SCIENCE" else "")
    for name, ending in PICTURES.items():
        figure = particle_map(bins, name, meta, instrument, title=title)
        save_picture(
            figure, prefix.with_name(f"{prefix.name}_{ending}.png"), dpi, "radiation_pictures", "radiation"
        )
    figure = radius_flux_diagram(bins, meta, settings.radiation, title=title)
    save_picture(figure, prefix.with_name(f"{prefix.name}_rf.png"), dpi, "radiation_pictures", "radiation")
