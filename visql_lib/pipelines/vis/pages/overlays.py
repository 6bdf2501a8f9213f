"""Overlays of the viewer: stars of the frame, reference stars, and the density of particles."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.schemas.gaia_metadata import MatchMetadata, Reference
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.products.page_parts import viewer_script as script
from visql_lib.radiation.maps import Grid
from visql_lib.tables.metadata import M
from visql_lib.tables.store import Table, read_facts, read_table

if TYPE_CHECKING:
    from visql_lib.frames.pyramid import ViewerFrame

log = logging.getLogger(__name__)

_TABLES = ("_stars2.parquet", "_stars2_gaia.parquet", "_radmaps.parquet", "_frat.parquet")
MOST = 1500  # marks of each kind: two kinds and two maps stay below 60 kB
_BASELINE = 0.75  # deg, of the terms of the reference solution
_FINEST = 72  # bins along an axis of a map
# A digit of base 36 for every bin: 0 none, 35 the largest number.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
MAPS: dict[str, str] = {"cosmic": "cosmic rays", "xray": "X-rays"}


def overlay_sources(names: Iterable[str], exposure: str) -> list[str]:
    """Select an exposure's files from which overlays are made."""
    return [name for name in names if name.removeprefix(exposure) in _TABLES]


def overlay_script(stem: str, pa: float | None, instrument: Instrument) -> bytes | None:
    """Compose the overlays of an exposure as a script, None if no table can be read.

    Parameters
    ----------
    stem : str
        The path of its products without their endings.
    pa : float or None
        Its position angle [deg].
    instrument : Instrument
        Its quadrants.
    """
    from visql_lib.frames.pyramid import ViewerFrame

    stars = _read(stem + "_stars2.parquet", ("X_WORLD", "Y_WORLD", "FLUX_AUTO"))
    gaia = _read(stem + "_stars2_gaia.parquet", ("RAV", "DECV", "G"))
    maps = _read(stem + "_radmaps.parquet", ("MAP", "IX", "IY", "N"))
    if stars is None and gaia is None and maps is None:
        return None
    data = overlay_data(
        ViewerFrame.of(list(instrument.quadrants.values())),
        stars,
        gaia,
        maps,
        _metadata(Path(stem + "_radmaps.parquet"), RadiationMetadata).grids,
        offset=_metadata(Path(stem + "_frat.parquet"), MatchMetadata).reference,
        pixel=instrument.nominal_pixel / 3600 if instrument.has("nominal_pixel") else np.nan,
        pa=pa,
    )
    return script("visqlOverlays", data).encode()


def _read(path: str, columns: Sequence[str]) -> Table | None:
    if not Path(path).is_file():
        return None
    try:
        return read_table(Path(path), columns)
    except TableError as error:
        log.warning("%s", error)
        return None


def _metadata(path: Path, model: type[M]) -> M:
    """Read the metadata of a table, nothing known where there is none."""
    try:
        return read_facts(path, model) if path.is_file() else model()
    except TableError:
        return model()


def overlay_data(
    frame: ViewerFrame,
    stars: Mapping[str, NDArray] | None = None,
    gaia: Mapping[str, NDArray] | None = None,
    maps: Mapping[str, NDArray] | None = None,
    grids: Mapping[str, Grid] | None = None,
    *,
    offset: Reference | None = None,
    pixel: float = np.nan,
    pa: float | None = None,
    most: int = MOST,
) -> dict[str, Any]:
    """Compose the overlays of an exposure, in viewer coordinates, as values for JSON.

    Parameters
    ----------
    frame : ViewerFrame
        Of any quadrants: the overlays name their coordinates.
    stars : mapping, optional
        X_WORLD, Y_WORLD [deg] and FLUX_AUTO of the selected stars.
    gaia : mapping, optional
        RAV, DECV [deg] and G [mag] of the reference stars.
    maps, grids : mappings, optional
        Table of radiation maps, and its grids.
    offset : Reference, optional
        What the header's boresight is off, taken from RAV and DECV.
    pixel : float, optional
        The pixel of `offset` [deg].
    pa : float, optional
        Position angle [deg].
    most : int
        The brightest so many stars of each kind are shown.

    Returns
    -------
    dict
        ``left``, ``top``: the frame's; ``pa``; ``marks``: of each kind label, ``total``
        and ``uv``, whole numbers u, v, u, v ...; ``maps``: of each label, place of the
        first bin's upper left corner, size of the bins [px], columns, the largest number
        per bin, and ``cells``, a digit of base 36 for each bin, row by row downwards.
        A table that is not there leaves its overlay out.
    """
    marks = []
    if stars is not None:
        bright = -np.asarray(stars["FLUX_AUTO"], dtype=float)
        place = (stars["X_WORLD"], stars["Y_WORLD"])
        marks.append(_marks("stars", "detected stars", frame, place, bright, most))
    if gaia is not None:
        place = _corrected(gaia["RAV"], gaia["DECV"], offset or Reference(), pixel)
        bright = np.asarray(gaia["G"], dtype=float)
        marks.append(_marks("gaia", "Gaia stars", frame, place, bright, most))
    densities = []
    if maps is not None and grids is not None:
        densities = [_density(name, frame, maps, grids[name]) for name in MAPS if name in grids]
    known = pa is not None and np.isfinite(pa)
    return {
        "left": frame.left,
        "top": frame.top,
        "pa": pa if known else None,
        "marks": marks,
        "maps": [density for density in densities if density["largest"]],
    }


def _marks(
    kind: str, label: str, frame: ViewerFrame, place: tuple[NDArray, NDArray], order: NDArray, most: int
) -> dict[str, Any]:
    """Compose the marks of sources in the frame, the first `most` by `order`."""
    u, v = frame.to_viewer(*place)
    inside = np.flatnonzero((u >= 0) & (u < frame.width) & (v >= 0) & (v < frame.height))
    chosen = inside[np.argsort(order[inside], kind="stable")[:most]]  # NaN come last
    uv = np.rint(np.stack([u[chosen], v[chosen]], axis=-1)).astype(int)
    return {"kind": kind, "label": label, "total": len(inside), "uv": uv.ravel().tolist()}


def _corrected(x: NDArray, y: NDArray, offset: Reference, pixel: float) -> tuple[NDArray, NDArray]:
    """Correct positions of reference stars [deg] for the offset found; unchanged where it is not known."""
    names = ("dx", "ddx_dx", "ddx_dy", "dy", "ddy_dx", "ddy_dy")
    terms = [value if np.isfinite(value := getattr(offset, name)) else 0.0 for name in names]
    if not any(terms):
        return x, y
    px, py = x / _BASELINE, y / _BASELINE
    dx, dy = (c + cx * px + cy * py for c, cx, cy in (terms[:3], terms[3:]))
    return x - dx * pixel, y - dy * pixel


def _density(name: str, frame: ViewerFrame, maps: Mapping[str, NDArray], grid: Grid) -> dict[str, Any]:
    """Rebin a map until it has few enough bins."""
    rows = maps["MAP"] == name
    number = grid.fill(maps["IX"][rows], maps["IY"][rows], maps["N"][rows])
    side = max(1, -(-max(grid.nx, grid.ny) // _FINEST))
    number = np.pad(number, [(0, -n % side) for n in number.shape])
    ny, nx = (n // side for n in number.shape)
    number = number.reshape(ny, side, nx, side).sum(axis=(1, 3))[::-1]
    largest = int(number.max(initial=0))
    digits = np.ceil(number * (35 / max(largest, 1))).astype(int)
    u, v = frame.to_viewer(grid.x0, grid.y0 + ny * side * grid.dy)
    return {
        "kind": name,
        "label": MAPS[name],
        "u": round(float(u), 1),
        "v": round(float(v), 1),
        "du": side * grid.dx / frame.scale,
        "dv": side * grid.dy / frame.scale,
        "columns": nx,
        "largest": largest,
        "cells": "".join(_DIGITS[d] for d in digits.ravel()),
    }
