"""Stage `particles`: counts, rates and maps of the particles of one exposure, and its illuminated part."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import TableError
from visql_lib.flags import QuadrantFlag, RadiationFlag
from visql_lib.instruments.model import Instrument
from visql_lib.pipelines.vis.schemas.radiation import RADIATION, RADIATION_MAPS
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.pipelines.vis.settings import RadiationSettings, VisSettings
from visql_lib.products.context import Context
from visql_lib.radiation.illuminated import illuminated_part
from visql_lib.radiation.maps import bin_area, excess, exposed_area, map_grids, radius_flux
from visql_lib.radiation.particles import (
    COLUMNS,
    KINDS,
    quadrant_area,
    rates,
    select_particles,
    sensitive_time,
)
from visql_lib.steps.frame import carried_meta
from visql_lib.tables.metadata import facts_in
from visql_lib.tables.store import read_parts, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

# Kind of map -> ending of its picture, as users know it.
_PICTURES = {"xray": "cosmiX", "cosmic": "cosmics", "proton": "protons"}
_UNSEEN = QuadrantFlag.CONSTANT | QuadrantFlag.OVERFLOW


@dataclass(frozen=True)
class ParticleInputs:
    """What particles are counted in: a catalogue, and the table of the exposure's quadrants, if given."""

    catalogue: Path
    quadrants: Path | None = None


@dataclass(frozen=True)
class ParticleOutputs:
    """Columns of the tables RADIATION and RADIATION_MAPS, and their metadata."""

    quadrants: Mapping[str, NDArray]
    maps: Mapping[str, NDArray]
    meta: dict[str, Any]


def run(context: Context[VisSettings], inputs: ParticleInputs) -> ParticleOutputs:
    """Count the cosmic rays, X-rays and protons of an exposure.

    Raises
    ------
    VisqlError
        If a table cannot be used, and failures are not recorded.
    """
    meta: dict[str, Any] = {"exposure": inputs.catalogue.name.removesuffix(".cat.parquet")}
    found = None
    with context.failures(meta):
        found = _counted(context, inputs, meta)
    if found is None:
        return ParticleOutputs(RADIATION.empty(), RADIATION_MAPS.empty(), meta)
    meta |= {"grids": found.grids, "radiation": {n: _known(v) for n, v in found.summary.items()}}
    return ParticleOutputs(found.quadrants, found.maps, meta)


def _counted(
    context: Context[VisSettings], inputs: ParticleInputs, meta: dict[str, Any]
) -> ExposureRadiation | None:
    """Count the particles; None, with the reason in `meta`, if the catalogue failed."""
    count = RadiationCount(context.settings.radiation, context.instrument)
    for part in read_parts(inputs.catalogue, COLUMNS):
        facts = part.meta
        count.add(part)
    meta |= carried_meta(facts, inputs.catalogue)
    if "failed" in facts:
        meta["failed"] = facts["failed"]
        return None
    table = read_table(inputs.quadrants, ("EXT", "FLAGS")) if inputs.quadrants is not None else None
    if table is not None and table.meta.get("exposure", meta["exposure"]) != meta["exposure"]:
        raise TableError(
            f"{inputs.quadrants}: quadrants of {table.meta['exposure']}, not of {inputs.catalogue.name}"
        )
    exptime = facts.get("exptime")
    return count.result(math.nan if exptime is None else float(exptime), table)


def _known(value: Any) -> Any:
    """Return None for an unknown number, because JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures(context: Context[VisSettings], outputs: ParticleOutputs) -> Iterator[tuple[str, Figure]]:
    """Draw the maps and the radius-flux diagram of an exposure, one after the other.

    Yields
    ------
    ending : str
        Of the picture's name, such as ``_cosmiX.png``.
    figure : Figure
    """
    from visql_lib.pipelines.vis.pictures.radiation import particle_map, radius_flux_diagram

    facts = facts_in(outputs.meta, RadiationMetadata, "table of maps")
    kind = facts.frame_type or "SCIENCE"
    title = facts.exposure + (f" ({kind})" if kind != "SCIENCE" else "")
    for name, ending in _PICTURES.items():
        yield f"_{ending}.png", particle_map(outputs.maps, name, facts, context.instrument, title=title)
    yield "_rf.png", radius_flux_diagram(outputs.maps, facts, context.settings.radiation, title=title)


@dataclass(frozen=True)
class ExposureRadiation:
    """Particles of an exposure.

    ``quadrants`` and ``maps`` are columns of the tables RADIATION and
    RADIATION_MAPS (docs/tables.md); ``grids`` gives the edges of the bins of the maps;
    ``summary`` is the whole exposure: the columns of MONTH_RADIATION but those of
    the exposure itself, and XRAY_DARK_RATE and COSMIC_DARK_RATE,
    the rates where no X-rays from the Sun arrive [cm-2 s-1].
    Unknown numbers are NaN.
    """

    quadrants: dict[str, NDArray]
    maps: dict[str, NDArray]
    grids: dict[str, dict[str, Any]]
    summary: dict[str, Any]


class RadiationCount:
    """Counts the particles of a catalogue in parts, to limit memory for many millions of detections."""

    def __init__(self, settings: RadiationSettings, instrument: Instrument) -> None:
        self._settings, self._instrument = settings, instrument
        self._names = [*instrument.quadrants]
        self._grids = map_grids(settings.bins, settings.extent, instrument.nominal_pixel)
        self._maps = {
            name: np.zeros((grid.ny, grid.nx), dtype=np.int64) for name, grid in self._grids.items()
        }
        # On the grid of X-rays, for its unilluminated part.
        self._cosmics = np.zeros_like(self._maps["xray"])
        self._seen: set[str] = set()
        self._numbers = {kind: np.zeros(len(self._names), dtype=np.int64) for kind in KINDS}

    def add(self, catalogue: Mapping[str, NDArray]) -> None:
        """Count some rows of a catalogue: FLUX_AUTO, FLUX_RADIUS, X_WORLD, Y_WORLD, EXT."""
        flux, radius = catalogue["FLUX_AUTO"], catalogue["FLUX_RADIUS"]
        self._maps["rf"] += radius_flux(flux, radius, self._grids["rf"])
        quadrant = self._quadrants(catalogue["EXT"])
        x, y, extent = catalogue["X_WORLD"], catalogue["Y_WORLD"], self._settings.extent
        found = select_particles(
            flux,
            radius,
            flux_ranges=self._settings.flux_ranges,
            max_flux_radius=self._settings.max_flux_radius,
        )
        for kind, rows in found.items():
            known = quadrant[rows]
            self._numbers[kind] += np.bincount(known[known >= 0], minlength=len(self._names))
            px, py = x[rows], y[rows]
            inside = (np.abs(px) < extent) & (np.abs(py) < extent)
            self._maps[kind] += self._grids[kind].count(px[inside], py[inside])
            if kind == "cosmic":
                self._cosmics += self._grids["xray"].count(px[inside], py[inside])

    def _quadrants(self, names: NDArray) -> NDArray[np.int32]:
        """Find the number of each row's quadrant, -1 for one the instrument does not have."""
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]][: len(names)])  # names come in runs
        order = {name: i for i, name in enumerate(self._names)}
        found = [str(name) for name in names[starts]]
        if unknown := set(found) - set(order):
            log.warning("no quadrant of %s: %s", self._instrument.name, ", ".join(sorted(unknown)))
        self._seen |= set(found) & set(order)
        codes = np.array([order.get(name, -1) for name in found], dtype=np.int32)
        return np.repeat(codes, np.diff(starts, append=len(names)))

    def result(self, exptime: float, quadrants: Mapping[str, NDArray] | None = None) -> ExposureRadiation:
        """Complete the counts.

        Parameters
        ----------
        exptime : float
            Exposure time [s]; NaN if unknown, which gives no rates.
        quadrants : mapping of arrays, optional
            EXT and FLAGS of the table of quadrants: existing quadrants, and those without
            possible detections. Default: the quadrants with detections.
        """
        present, unseen = self._present(quadrants)
        time = sensitive_time(exptime, self._instrument.detector.readout_time)
        table = self._rows(present, unseen, time)
        seen = [name for name in present if name not in unseen]
        return ExposureRadiation(
            table,
            self._map_rows(),
            {name: grid.meta for name, grid in self._grids.items()},
            self._summary(table, seen, time),
        )

    def _present(self, quadrants: Mapping[str, NDArray] | None) -> tuple[list[str], set[str]]:
        """Find the existing quadrants, and those in which detection was not possible."""
        present, unseen = set(self._seen), set()
        if quadrants is not None:
            names = [str(name) for name in quadrants["EXT"]]
            present |= set(names)
            flags = np.asarray(quadrants["FLAGS"])
            unseen = {name for name, bits in zip(names, flags, strict=True) if bits & _UNSEEN}
        return [name for name in self._names if name in present], unseen

    def _rows(self, present: list[str], unseen: set[str], time: float) -> dict[str, NDArray]:
        layouts, number = self._instrument.quadrants, [self._names.index(name) for name in present]
        side = self._instrument.geometry.pixel_size
        area = np.array([quadrant_area(layouts[name], side) for name in present], dtype=float)
        counts = {kind: self._numbers[kind][number] for kind in KINDS}
        blind = np.array([name in unseen for name in present], dtype=bool)
        flags = np.where(blind, int(RadiationFlag.NO_DETECTION), 0)
        flags |= 0 if math.isfinite(time) else int(RadiationFlag.NO_TIME)
        columns: dict[str, NDArray] = {"EXT": np.array(present, dtype=np.str_), "AREA": area}
        columns |= {f"N_{kind.upper()}": values for kind, values in counts.items()}
        columns |= rates(counts, np.where(blind, np.nan, area), time)
        return columns | {"FLAGS": flags}

    def _light(self, seen: list[str], time: float) -> dict[str, float]:
        """Compute the results for the illuminated and unilluminated parts of the detectors."""
        grid, layouts, geometry = self._grids["xray"], self._instrument.quadrants, self._instrument.geometry
        pixel = {"pixel_size": geometry.pixel_size, "scale": geometry.scale}
        area = exposed_area(grid, [layouts[name] for name in seen], **pixel)
        found = illuminated_part(
            self._maps["xray"], area, bin_area(grid, **pixel), time, self._settings.lit_sigma
        )
        unilluminated_area = float(area[found.unilluminated_bins].sum())
        cosmics = float(self._cosmics[found.unilluminated_bins].sum())
        return {
            "LIT_AREA": found.area,
            "LIT_RATE": found.rate,
            "LIT_RATE_ERR": found.rate_err,
            "XRAY_DARK_RATE": found.unilluminated_rate,
            "COSMIC_DARK_RATE": (cosmics / (unilluminated_area * time) if unilluminated_area else math.nan),
        }

    def _map_rows(self) -> dict[str, NDArray]:
        parts = []
        for name, number in self._maps.items():
            iy, ix = np.nonzero(number)
            parts.append({"MAP": np.full(len(ix), name), "IX": ix, "IY": iy, "N": number[iy, ix]})
        return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}

    def _summary(self, table: Mapping[str, NDArray], seen: list[str], time: float) -> dict[str, Any]:
        used = np.isin(table["EXT"], seen)
        area = float(table["AREA"][used].sum())
        numbers = {kind: int(table[f"N_{kind.upper()}"][used].sum()) for kind in KINDS}
        light = self._light(seen, time)
        flags = RadiationFlag(0) if math.isfinite(time) else RadiationFlag.NO_TIME
        flags |= RadiationFlag(0) if seen else RadiationFlag.NO_DETECTION
        flags |= RadiationFlag.LIT if light["LIT_AREA"] > 0 else RadiationFlag(0)
        values: dict[str, Any] = {"AREA": area}
        values |= {f"N_{kind.upper()}": number for kind, number in numbers.items()}
        values |= {name: float(rate) for name, rate in rates(numbers, area, time).items()}
        for kind in KINDS:
            values[f"{kind.upper()}_EXCESS"] = excess(self._maps[kind]) if seen else math.nan
        return values | light | {"FLAGS": int(flags)}
