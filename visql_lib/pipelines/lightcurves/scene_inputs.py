"""What the joint fit of a target needs from the tables and files of a set."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import ConfigError, TableError, TargetError
from visql_lib.photometry.scene_model import Core, SceneFrame
from visql_lib.photometry.scene_neighbours import neighbours_of
from visql_lib.pipelines.lightcurves.decisions import Decision
from visql_lib.pipelines.lightcurves.scene_variants import SceneVariant, core_spot
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

TARGET = "target"  # its name among the stamps
_NEIGHBOUR_SNR = 20.0  # fainter sources beside the target are left to the image
_USUAL_FWHM = 4.0  # px, where no PSF tells it


@dataclass(frozen=True)
class SceneTables:
    """Tables of a set, and where its frames' files lie.

    Parameters
    ----------
    frames, transforms, psf, renorm, reference : Path
    target : Target
    set : str
    folder : Path
        Of the set's products: the frames' files are in ``frames/FRAME``.
    """

    frames: Path
    transforms: Path
    psf: Path
    renorm: Path
    reference: Path
    target: Target
    set: str
    folder: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All tables."""
        return self.frames, self.transforms, self.psf, self.renorm, self.reference


@dataclass
class SceneInput:
    """The frames of a set that can be fitted, and what was decided about the others."""

    frames: list[SceneFrame] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the frames."""
        return [frame.name for frame in self.frames]


class SetPlaces:
    """Places of a target: from pixels of named frames to zero-based ones of the reference."""

    def __init__(self, tables: SceneTables) -> None:
        self._tables, self._meta = tables, read_table(tables.reference)
        transforms = read_table(tables.transforms, ["FRAME", "STATUS", "MATRIX"])
        self._matrices = {
            str(name): np.asarray(matrix, float).reshape(2, 3)
            for name, status, matrix in zip(
                transforms["FRAME"], transforms["STATUS"], transforms["MATRIX"], strict=True
            )
            if status == LightStatus.OK
        }

    def sources(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the point sources' places (K, 2) in the reference, as lc-reference has them.

        Raises
        ------
        TableError
            If the reference has not all of them.
        """
        known = self._meta.meta.get("point_sources", {})
        if lacking := [name for name in names if name not in known]:
            raise TableError(
                f"{self._tables.reference}: has no place of point source {lacking[0]}; thaw the reference by "
                "visql lc-thaw"
            )
        return np.array([known[name] for name in names], float).reshape(-1, 2) - 1

    def place(self, x: float, y: float, on: str) -> NDArray[np.float64]:
        """Bring a one-based place in the frame `on` to the reference.

        Raises
        ------
        ConfigError
            If that frame is not one of the set, or not aligned.
        """
        here = np.array([x, y], float) - 1
        on = on or self._tables.target.on
        if on in (AUTO, self._meta.meta.get("reference")):
            return here
        if on not in self._matrices:
            raise ConfigError(
                f"{self._tables.target.file or self._tables.target.name}: on: {on!r} is no aligned frame of "
                f"the set {self._tables.set}; give the place in another frame"
            )
        matrix = self._matrices[on]
        return np.asarray(matrix[:, :2] @ here + matrix[:, 2])

    def core(self, variant: SceneVariant) -> Core | None:
        """Return where the user puts the core."""
        spot = core_spot(variant)
        return None if spot is None else Core(*map(float, self.place(spot.x, spot.y, "")))

    def masks(self) -> list[tuple[float, float, float]]:
        """Return the user's masks: x, y, radius in the reference."""
        masks = self._tables.target.masks
        places = [self.place(mask.x, mask.y, mask.on) for mask in masks]
        return [(float(x), float(y), mask.radius) for (x, y), mask in zip(places, masks, strict=True)]

    def neighbours(
        self, sources: NDArray[np.float64], half: int, frames: Sequence[SceneFrame]
    ) -> NDArray[np.float64]:
        """Return the places (N, 2) of stars beside the target whose light reaches it; see `neighbours_of`."""
        table = self._meta
        places = np.stack([np.asarray(table["X"], float), np.asarray(table["Y"], float)], 1) - 1
        fluxes = np.asarray(table["FLUX"], float)
        known = np.isfinite(places).all(1) & (fluxes > 0) & (np.asarray(table["SNR"], float) > _NEIGHBOUR_SNR)
        widths = [float(getattr(frame.psf, "fwhm", math.nan)) for frame in frames]
        widths = [width for width in widths if math.isfinite(width)] or [_USUAL_FWHM]
        fwhm = float(np.percentile(widths, 20)), float(np.percentile(widths, 80))
        rms = float(np.median([frame.rms for frame in frames])) if frames else math.inf
        return places[known][neighbours_of(places[known], fluxes[known], sources, half, fwhm, rms)]


def scene_input(tables: SceneTables, stage: str, masks: Sequence[tuple[float, float, float]]) -> SceneInput:
    """Read the frames of a set that have transform, PSF and coefficient.

    Parameters
    ----------
    tables : SceneTables
    stage : str
        Stage that decides, for the record.
    masks : sequence of (x, y, radius)
        Circles without weight, in the reference.

    Raises
    ------
    TableError
        If a table is broken, or a file of a frame that has one is missing.
    """
    renorm = _by_frame(read_table(tables.renorm), "FRAME")
    transforms = _by_frame(read_table(tables.transforms), "FRAME")
    psf = read_table(tables.psf, ["FRAME", "PSF_SET", "STATUS"])
    has_psf = {
        (str(f), str(p))
        for f, p, s in zip(psf["FRAME"], psf["PSF_SET"], psf["STATUS"], strict=True)
        if s == "ok"
    }
    out = SceneInput()
    frames = read_table(tables.frames, ["FRAME", "STATUS"])
    for name, status in zip(map(str, frames["FRAME"]), frames["STATUS"], strict=True):
        transform = transforms.get(name)
        if status != LightStatus.OK or transform is None or transform["STATUS"] != LightStatus.OK:
            continue  # decided before
        row = renorm.get(name, {})
        coeff = float(row.get("C", math.nan))
        psf_set = str(row.get("PSF_SET", ""))
        if (name, psf_set) not in has_psf or not coeff > 0:
            reason = "no PSF" if (name, psf_set) not in has_psf else "no coefficient"
            out.decisions.append(Decision(name, tables.set, stage, False, f"{reason}: not fitted"))
            continue
        out.frames.append(_frame(tables, name, psf_set, coeff, np.asarray(transform["MATRIX"], float), masks))
    return out


def _by_frame(table: Table, key: str) -> dict[str, dict[str, Any]]:
    return {str(name): {c: table[c][i] for c in table} for i, name in enumerate(table[key])}


def _frame(
    tables: SceneTables,
    name: str,
    psf_set: str,
    coeff: float,
    matrix: NDArray[np.float64],
    masks: Sequence[tuple[float, float, float]],
) -> SceneFrame:
    """Read the stamp and the PSF of a frame."""
    from visql_lib.pipelines.lightcurves.psf_file import read_psf
    from visql_lib.pipelines.lightcurves.stamps import Stamps

    stem = tables.folder / "frames" / name / name
    stamps, psf = Stamps.read(Path(f"{stem}_stamps.fits")), read_psf(Path(f"{stem}_psf.fits"))
    if TARGET not in stamps.names:
        raise TableError(f"{stem}_stamps.fits: has no stamp of the target; make it again by visql lc-measure")
    k = list(stamps.names).index(TARGET)
    there = _inverse(matrix)
    x0, y0 = int(stamps.x0[k]), int(stamps.y0[k])
    data, sigma = stamps.data[k], stamps.sigma[k]
    bad = (stamps.bad[k] != 0) | ~np.isfinite(data) | ~np.isfinite(sigma)
    for mx, my, radius in masks:
        px, py = there[:, :2] @ [mx, my] + there[:, 2]
        y, x = np.indices(data.shape)
        bad |= np.hypot(x + x0 - px, y + y0 - py) < radius
    return SceneFrame(data, bad, float(stamps.rms), there, psf, coeff, x0, y0, name)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transform (2, 3) from the reference to the frame of one the other way (6,)."""
    m = matrix.reshape(2, 3)
    turn = np.linalg.inv(m[:, :2])
    return np.column_stack([turn, -turn @ m[:, 2]])


def some_frames(frames: Sequence[SceneFrame], most: int) -> list[SceneFrame]:
    """Return at most so many frames, spread evenly over the season."""
    if len(frames) <= most:
        return list(frames)
    return [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]


def facts_of(tables: SceneTables) -> Mapping[str, str]:
    """Return the cards of the primary header of a file of scenes."""
    return {"TARGET": tables.target.name, "SET": tables.set}


def refused(tables: SceneTables, error: TargetError) -> TargetError:
    """Put target and set in front of the reason why a target stops."""
    return TargetError(f"{tables.target.name}, set {tables.set}: {error}")
