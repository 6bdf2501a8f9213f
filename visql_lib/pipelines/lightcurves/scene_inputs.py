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

from visql_lib.errors import ConfigError, FrameError, TableError, TargetError
from visql_lib.photometry.scene_model import Core, SceneFrame
from visql_lib.photometry.scene_neighbours import neighbours_of
from visql_lib.pipelines.lightcurves.decisions import Decision
from visql_lib.pipelines.lightcurves.psf_file import read_psf
from visql_lib.pipelines.lightcurves.reference_file import read_reference
from visql_lib.pipelines.lightcurves.scene_variants import SceneVariant, core_spot
from visql_lib.pipelines.lightcurves.stamps import TARGET, Stamps
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.pipelines.lightcurves.target_file import AUTO, Target
from visql_lib.tables.store import Table, read_table

log = logging.getLogger(__name__)

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
    """Places of a target in the reference; zero-based pixels (x, y)."""

    def __init__(self, tables: SceneTables) -> None:
        self._tables, self._reference = tables, read_reference(tables.reference)

    def sources(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the point sources' places (K, 2) in the reference, as lc-reference has them.

        Raises
        ------
        TableError
            If the reference has not all of them.
        """
        known = self._reference.points
        if lacking := [name for name in names if name not in known]:
            raise TableError(
                f"{self._tables.reference}: has no place of point source {lacking[0]}; make it again by "
                "visql lc-reference"
            )
        return np.array([known[name] for name in names], float).reshape(-1, 2)

    @property
    def masks(self) -> tuple[tuple[float, float, float], ...]:
        """The user's masks: x, y, radius in the reference."""
        return self._reference.masks

    def core(self, variant: SceneVariant) -> Core | None:
        """Return where the user puts the core, brought from the frame `Target.on`.

        Raises
        ------
        ConfigError
            If that frame is not aligned, in none of the target's sets.
        """
        spot = core_spot(variant)
        if spot is None:
            return None
        place, on = np.array([spot.x, spot.y], float) - 1, self._tables.target.on
        if on not in (AUTO, self._reference.frame):
            matrix = self._matrix(on)
            place = matrix[:, :2] @ place + matrix[:, 2]
        return Core(float(place[0]), float(place[1]))

    def _matrix(self, frame: str) -> NDArray[np.float64]:
        """Return the transform (2, 3) from a frame of any set of the target to the reference."""
        target, folder = self._tables.target, self._tables.folder.parent
        others = (folder / name / f"transforms_{name}.parquet" for name in target.sets)
        for path in (self._tables.transforms, *(path for path in others if path.is_file())):
            table = read_table(path, ["FRAME", "STATUS", "MATRIX"])
            found = (table["FRAME"] == frame) & (table["STATUS"] == LightStatus.OK)
            if found.any():
                return np.asarray(table["MATRIX"][int(found.argmax())], float).reshape(2, 3)
        raise ConfigError(
            f"{target.file or target.name}: galaxy: core: the frame {frame!r} (on) is not aligned; give all "
            "places in another frame"
        )

    def neighbours(
        self, sources: NDArray[np.float64], half: int, frames: Sequence[SceneFrame]
    ) -> NDArray[np.float64]:
        """Return the places (N, 2) of stars beside the target whose light reaches it; see `neighbours_of`."""
        table = self._reference.stars
        places = np.stack([self._reference.x, self._reference.y], 1)
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
        If a table is broken. A frame whose own files are is left out, with a decision.
    """
    renorm = _by_frame(read_table(tables.renorm), "FRAME")
    transforms = _by_frame(read_table(tables.transforms), "FRAME")
    psf = read_table(tables.psf, ["FRAME", "STATUS"])
    has_psf = {str(f) for f, s in zip(psf["FRAME"], psf["STATUS"], strict=True) if s == LightStatus.OK}
    out = SceneInput()
    frames = read_table(tables.frames, ["FRAME", "STATUS"])
    for name, status in zip(map(str, frames["FRAME"]), frames["STATUS"], strict=True):
        transform = transforms.get(name)
        if status != LightStatus.OK or transform is None or transform["STATUS"] != LightStatus.OK:
            continue  # decided before
        coeff = float(renorm.get(name, {}).get("C", math.nan))
        if name not in has_psf or not coeff > 0:
            reason = "no PSF" if name not in has_psf else "no coefficient"
            out.decisions.append(Decision(name, tables.set, stage, False, f"{reason}: not fitted"))
            continue
        try:
            out.frames.append(_frame(tables, name, coeff, np.asarray(transform["MATRIX"], float), masks))
        except (FrameError, TableError) as error:
            log.warning("%s: not fitted: %s", name, error)
            out.decisions.append(Decision(name, tables.set, stage, False, str(error)))
    return out


def _by_frame(table: Table, key: str) -> dict[str, dict[str, Any]]:
    return {str(name): {c: table[c][i] for c in table} for i, name in enumerate(table[key])}


def _frame(
    tables: SceneTables,
    name: str,
    coeff: float,
    matrix: NDArray[np.float64],
    masks: Sequence[tuple[float, float, float]],
) -> SceneFrame:
    """Read the stamp and the PSF of a frame."""
    stem = tables.folder / "frames" / name / name
    stamps, psf = Stamps.read(Path(f"{stem}_stamps.fits")), read_psf(Path(f"{stem}_psf.fits"))
    k = stamps.index(TARGET)
    if k < 0:
        raise TableError(f"{stem}_stamps.fits: has no stamp of the target; make it again by visql lc-measure")
    there = _inverse(matrix)
    x0, y0 = int(stamps.x0[k]), int(stamps.y0[k])
    data = stamps.data[k].copy()  # without it, all stamps of all frames would stay in memory
    bad = (stamps.bad[k] != 0) | ~np.isfinite(data) | ~np.isfinite(stamps.sigma[k])
    scale = math.sqrt(abs(np.linalg.det(there[:, :2])))
    for mx, my, radius in masks:
        px, py = there[:, :2] @ [mx, my] + there[:, 2]
        y, x = np.indices(data.shape)
        bad |= np.hypot(x + x0 - px, y + y0 - py) <= radius * scale
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
