"""`visql plate-solve`: the stars of an exposure and reference stars -> plate solution of its thumbnail."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from visql_lib.cli.common import (
    FOLDER,
    INPUT,
    RECORD_FAILURE,
    output_option,
    recorded,
    settings_of,
    step,
)
from visql_lib.cli.outputs import write_sidecars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from visql_lib.frames import Instrument
    from visql_lib.pipelines.vis.settings import VisSettings
    from visql_lib.pipelines.vis.stages.plate_solve import ReferenceStars
    from visql_lib.sky.plate import PlateSolution
    from visql_lib.sky.thumbnail import ThumbnailFrame

log = logging.getLogger(__name__)

# The picture around the thumbnail, as visql_lib.pictures.preview draws it [px].
_LARGEST, _USUAL, _NARROWEST = 1200, 1000, 500
_HEAD, _FOOT, _SIDE = 32, 64, 20


@step(
    "plate-solve",
    """Make a plate solution of the thumbnail of an exposure from its table STARS.

    The brightest stars are matched with an index of the stars in --tiles around the
    boresight of the header [deg]; if this fails, with the installed indexes of the whole
    sky. Needs solve-field of astrometry.net. Writes a FITS header (TAN-SIP) for the
    pixels of the thumbnail E.png, with y downwards, and with boresight and position angle
    [deg]. Without a solution, the header says NOT SOLVED and gives the reason.""",
    "visql plate-solve E_stars2.parquet --ra 56.2457 --dec -55.7142 --tiles gaia/8123.parquet -o E.wcs",
)
@click.argument("stars", type=INPUT)
@click.option("--ra", type=float, default=math.nan, metavar="DEG", help="Right ascension, if known.")
@click.option("--dec", type=float, default=math.nan, metavar="DEG", help="Declination, if known.")
@click.argument("more", metavar="[TILE]...", type=INPUT, nargs=-1)
@click.option(
    "--tiles",
    type=INPUT,
    multiple=True,
    metavar="TILE...",
    help="Reference stars around the boresight, as made by `visql gaia-tile`; one or more files.",
)
@click.option(
    "--quadrants", type=INPUT, metavar="FILE", help="Table of the quadrants in the thumbnail; default: all."
)
@click.option(
    "--cache",
    type=FOLDER,
    metavar="FOLDER",
    help="Folder of the indexes; default: index next to the reference stars.",
)
@RECORD_FAILURE
@output_option("Plate solution (FITS header).")
def command(
    stars: Path,
    ra: float,
    dec: float,
    tiles: tuple[Path, ...],
    more: tuple[Path, ...],
    quadrants: Path | None,
    cache: Path | None,
    record_failure: bool,
    output: Path,
    config: Path | None,
) -> None:
    """Read, solve, write."""
    from visql_lib.archives.astrometry_net import PlateError
    from visql_lib.stores.gaia import store_folder
    from visql_lib.tables.plate import SOLVED, write_plate

    settings = settings_of(config)
    paths = [*tiles, *more]
    meta: dict[str, Any] = {"exposure": stars.stem.removesuffix("_stars2")}
    cards: dict[str, Any] = {"STATUS": "failed"}
    failure: PlateError | None = None
    with recorded(record_failure, meta):
        reference = _reference(paths, cache or store_folder(settings.gaia, settings.results) / "index")
        try:
            found, index = _solve(stars, (ra, dec), reference, quadrants, settings)
            cards = {"STATUS": SOLVED, "INDEX": index} | _facts(found) | found.cards
        except PlateError as error:  # a valid outcome, which is also written
            failure, cards = error, {"STATUS": error.kind}
    reason = str(failure) if failure else meta.get("failed", "")
    origin = _origin([stars, *paths], settings)
    write_plate(output, {"EXPOSURE": meta["exposure"]} | cards | origin, reason)
    write_sidecars("plate", output, inputs=[stars, *paths])
    if failure and not record_failure:
        raise failure
    if failure:
        log.warning("%s: %s: %s", meta["exposure"], failure.kind, failure)


def _solve(
    path: Path,
    position: tuple[float, float],
    reference: ReferenceStars | None,
    quadrants: Path | None,
    settings: VisSettings,
) -> tuple[PlateSolution, str]:
    from visql_lib.errors import TableError
    from visql_lib.frames import load_instrument
    from visql_lib.pipelines.vis.stages.plate_solve import solve_exposure
    from visql_lib.tables import read_table

    instrument = load_instrument(settings.instrument)
    stars = read_table(path, ("X_WORLD", "Y_WORLD", "FLUX_AUTO"))
    if cause := stars.meta.get("failed"):
        raise TableError(str(cause))
    shown = read_table(quadrants, ("EXT",))["EXT"].tolist() if quadrants is not None else []
    frame = thumbnail_frame(instrument, shown, settings.preview.thumbnail_binning)
    exptime, date = stars.meta.get("exptime"), stars.meta.get("date_obs")
    return solve_exposure(
        stars,
        math.nan if exptime is None else float(exptime),
        datetime.fromisoformat(date) if date else None,
        position,
        reference,
        frame,
        instrument,
        settings.plate,
    )


def thumbnail_frame(instrument: Instrument, quadrants: Sequence[str], binning: int) -> ThumbnailFrame:
    """Return the position of the focal plane in the picture E.png of an exposure.

    Parameters
    ----------
    instrument : Instrument
        The focal plane.
    quadrants : sequence of str
        Quadrants of the raw frame; empty: all. Names unknown to the instrument are ignored.
    binning : int
        Mosaic pixels per side of a block.
    """
    from visql_lib.frames.mosaic import bounding_box
    from visql_lib.sky.thumbnail import ThumbnailFrame

    known = instrument.quadrants
    layouts = [known[name] for name in quadrants if name in known] or list(known.values())
    x0, y0, x1, y1 = bounding_box(layouts)
    left, low = x0 // binning * binning, y0 // binning * binning
    nx, ny = -(-(x1 - left) // binning), -(-(y1 - low) // binning)
    largest = max(nx, ny)
    factor = 1.0 if _USUAL // 2 < largest <= _LARGEST else _USUAL / largest
    factor = math.floor(factor) if factor > 1 else factor
    wide, high = max(round(nx * factor), _NARROWEST), round(ny * factor)
    return ThumbnailFrame(
        scale=layouts[0].wcs.scale,
        origin=(left, low),
        step=(binning / factor, binning * ny / high),
        left=(wide - nx * factor) // 2 + _SIDE,
        bottom=_HEAD + high,
        width=wide + 2 * _SIDE,
        height=high + _HEAD + _FOOT,
    )


def _reference(paths: list[Path], cache: Path) -> ReferenceStars | None:
    """Return the stars of tiles, read when needed; None without tiles."""
    from visql_lib.config.load import digest
    from visql_lib.pipelines.vis.stages.plate_solve import ReferenceStars

    if not paths:
        return None
    seen = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(paths)]
    return ReferenceStars(lambda: _read(paths), digest(str(seen)), cache)


def _read(paths: list[Path]) -> Mapping[str, NDArray]:
    """Read the stars of all available tiles; a failed tile only lacks its own stars."""
    from visql_lib.archives.columns import joined
    from visql_lib.archives.files import read_stars
    from visql_lib.tables import read_meta

    failed = [p for p in paths if p.suffix == ".parquet" and read_meta(p).get("failed")]
    for path in failed:
        log.warning("%s: contains no stars: %s", path, read_meta(path)["failed"])
    return joined(read_stars(path) for path in paths if path not in failed)


def _origin(inputs: list[Path], settings: VisSettings) -> dict[str, Any]:
    from visql_lib import __version__
    from visql_lib.cli.outputs import provenance

    origin = provenance("plate", inputs, settings.plate, settings.preview.thumbnail_binning)
    return {
        "CREATOR": f"VISQL {__version__}",
        "STAGE": origin["stage"],
        "STAGEVER": origin["stage_version"],
        "SETTINGS": origin["settings_hash"],
    }


def _facts(found: PlateSolution) -> dict[str, Any]:
    return {
        "RA": found.boresight.ra,
        "DEC": found.boresight.dec,
        "PA": found.boresight.pa,
        "SKYSCALE": found.scale,
        "NSTARS": found.n,
        "NMATCHED": found.n_pairs,
        "RMS": found.rms,
    }
