"""Frames, galaxy and montage from the files of a set: what was seen, what the fits leave."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.errors import FrameError, TableError
from visql_lib.pictures.style import count
from visql_lib.pipelines.lightcurves.pictures.cutouts import (
    Cutout,
    Places,
    PSFView,
    ScenePart,
    frame_picture,
    galaxy_picture,
    grid_picture,
)
from visql_lib.pipelines.lightcurves.set_tables import SetTables, column_at, time_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from visql_lib.pipelines.lightcurves.scene_file import NamedScene
    from visql_lib.pipelines.lightcurves.stamps import Stamps
    from visql_lib.psf.effective import EffectivePSF

log = logging.getLogger(__name__)

QUANTILES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # of the seeing, in the montage
_MOST_STARS = 12  # of a frame's picture
_CLIPPED = 16  # bit of `cutouts.MASKS`
_REACH = 3.5  # FWHM, of the picture of a PSF


@dataclass(frozen=True)
class Looks:
    """The files of a set's frames, and the scene of its target, read when they are asked for."""

    tables: SetTables

    @cached_property
    def scene(self) -> NamedScene | None:
        """The fitted scene; None where there is none yet."""
        from visql_lib.pipelines.lightcurves.scene_file import read_scenes

        path = self.tables.folder / f"target_{self.tables.name}.fits"
        if not path.is_file():
            return None
        try:
            found = read_scenes(path)[0]
        except TableError as error:
            log.warning("%s", error)
            return None
        # Errors through the scene are not drawn, and their matrix is large.
        return replace(found, scene=replace(found.scene, covariance=np.empty((0, 0))))

    def frame(self, name: str) -> FrameLook:
        """Return a frame."""
        return FrameLook(self, name)


class FrameLook:
    """A frame: its stamps, its PSF, and the fits of them."""

    def __init__(self, looks: Looks, name: str) -> None:
        self._tables, self._looks, self.name = looks.tables, looks, name

    @property
    def _stem(self) -> str:
        return f"{self._tables.folder}/frames/{self.name}/{self.name}"

    @cached_property
    def stamps(self) -> Stamps | None:
        """Its stamps; None where it has none."""
        from visql_lib.pipelines.lightcurves.stamps import Stamps

        path = Path(f"{self._stem}_stamps.fits")
        try:
            return Stamps.read(path) if path.is_file() else None
        except FrameError as error:
            log.warning("%s: %s", self.name, error)
            return None

    @cached_property
    def psf(self) -> EffectivePSF | None:
        """Its PSF, of the set of stars that it was normalised with; None where it has none."""
        from visql_lib.pipelines.lightcurves.psf_file import read_psf

        chosen = self._row(self._tables.renorm, "PSF_SET")
        names = ([f"{self._stem}_psf_{chosen}.fits"] if chosen else []) + [f"{self._stem}_psf.fits"]
        path = next((p for p in map(Path, names) if p.is_file()), None)
        try:
            return read_psf(path) if path is not None else None
        except (FrameError, TableError) as error:
            log.warning("%s: %s", self.name, error)
            return None

    def _row(self, table: object, column: str) -> str:
        assert isinstance(table, dict)
        rows = np.flatnonzero(np.asarray(table["FRAME"]) == self.name)
        return str(table[column][rows[-1]]) if len(rows) else ""

    def _number(self, table: object, column: str) -> float:
        return float(column_at([self.name], table, column)[0])  # type: ignore[arg-type]

    @property
    def why(self) -> str:
        """Why something is missing: as the tables of the PSFs and of the transforms say."""
        for table in (self._tables.psf, self._tables.transforms, self._tables.frames):
            status = self._row(table, "STATUS")
            if status not in ("", "ok"):
                reason = self._row(table, "REASON")
                return f"{status.replace('_', ' ')}: {reason}" if reason else status.replace("_", " ")
        return ""

    @property
    def title(self) -> str:
        """Target, set, frame, time and seeing."""
        text = f"{self._tables.title}, {self.name}"
        when = time_text(self._number(self._tables.frames, "MJD"))
        return ", ".join(filter(None, (text, f"{when} UTC" if when else "", self.seeing)))

    @property
    def seeing(self) -> str:
        """Its seeing and unit; "" where not known."""
        for column, unit in (("SEEING", "arcsec"), ("SEEING_PX", "px")):
            value = self._number(self._tables.frames, column)
            if np.isfinite(value):
                return f"seeing {value:.2f} {unit}"
        return ""

    def target(self) -> Cutout | None:
        """Cut out the target, with the model if there is a scene, a PSF and a coefficient."""
        stamps = self.stamps
        at = stamps.index("target") if stamps is not None else -1
        if stamps is None or at < 0:
            return None
        fitted = self._fitted(stamps, at)
        if fitted is not None:
            return fitted
        data, sigma = (np.asarray(a[at], dtype=float) for a in (stamps.data, stamps.sigma))
        return Cutout("target", data, sigma, np.asarray(stamps.bad[at], dtype=int))

    def _fitted(self, stamps: Stamps, at: int) -> Cutout | None:
        """Fit the frame with the scene as it is, which is what its fluxes are from."""
        from visql_lib.photometry.scene import fit_frame
        from visql_lib.photometry.scene_model import SceneFrame, SceneOptions

        named, psf = self._looks.scene, self.psf
        coeff = self._number(self._tables.renorm, "C")
        if named is None or psf is None or not coeff > 0:
            return None
        there = _inverse(stamps.matrix)
        data, bad = np.asarray(stamps.data[at], dtype=float), np.asarray(stamps.bad[at], dtype=int)
        lost = (bad != 0) | ~np.isfinite(data) | ~np.isfinite(stamps.sigma[at])
        corner = int(stamps.x0[at]), int(stamps.y0[at])
        frame = SceneFrame(data, lost, float(stamps.rms), there, psf, coeff, *corner, self.name)
        scene = named.scene
        made = fit_frame(frame, scene, SceneOptions(image=len(scene.nodes) > 0, radius=scene.grid.radius))
        if made.reason:
            return None
        side, (x, y) = made.model.shape[0], (made.origin[0] - corner[0], made.origin[1] - corner[1])
        model = np.asarray(made.model, dtype=float)
        shown = _window(data, x, y, side, np.nan)
        mask = _window(bad, x, y, side, 1).astype(int)
        noise = np.sqrt(np.maximum(model - made.background, 0) + float(stamps.rms) ** 2)
        mask[(mask == 0) & ~np.isfinite(made.residual)] |= _CLIPPED
        places = scene.sources @ there[:, :2].T + there[:, 2] + made.shift - np.array(made.origin)
        spots = {name: (float(px), float(py)) for name, (px, py) in zip(named.sources, places, strict=True)}
        return Cutout("target", shown, noise, mask, model, "", spots)

    def view(self) -> PSFView | None:
        """Draw the PSF at the target; None where there is none."""
        psf, stamps = self.psf, self.stamps
        if psf is None:
            return None
        at = stamps.index("target") if stamps is not None else -1
        local = psf.at(float(stamps.x[at]), float(stamps.y[at])) if stamps is not None and at >= 0 else psf
        half = int(np.clip(np.ceil(_REACH * local.fwhm), 8, 40))
        image = local.stamp(0.0, 0.0, half)
        surface = (
            None if local.surface is None else image - replace(local, surface=None).stamp(0.0, 0.0, half)
        )
        chi2, n = (self._number(self._tables.psf, k) for k in ("CHI2", "N_STARS"))
        words = [f"FWHM {local.fwhm:.2f} px", f"ellipticity {local.ellipticity:.3f}", f"β {local.beta:.2f}"]
        words += [f"χ² {chi2:.2f}"] if np.isfinite(chi2) else []
        words += [f"{n:.0f} stars"] if np.isfinite(n) else []
        return PSFView(image, surface, ", ".join(words))

    def stars(self) -> list[Cutout]:
        """Cut out the stars that make the PSF, with their fits."""
        stamps = self.stamps
        if stamps is None:
            return []
        named = self._row(self._tables.psf, "STARS").split() or [n for n in stamps.names if n != "target"]
        return [self._star(stamps, stamps.index(n)) for n in named[:_MOST_STARS] if stamps.index(n) >= 0]

    def _star(self, stamps: Stamps, at: int) -> Cutout:
        from visql_lib.flags import StampFlag
        from visql_lib.photometry.psf_stars import fit_star
        from visql_lib.psf.star_stamps import StarStamp

        data, bad = np.asarray(stamps.data[at], dtype=float), np.asarray(stamps.bad[at], dtype=int)
        sigma, name = np.asarray(stamps.sigma[at], dtype=float), stamps.names[at]
        psf = self.psf
        if psf is None:
            return Cutout(name, data, sigma, bad)
        corner = int(stamps.x0[at]), int(stamps.y0[at])
        place = float(stamps.x[at]), float(stamps.y[at])
        saturated = (bad & StampFlag.SATURATED) != 0
        star = StarStamp(name, data, bad != 0, *corner, *place, float(stamps.rms), saturated)
        fit = fit_star(star, psf)
        if not np.isfinite(fit.flux):
            return Cutout(name, data, sigma, bad, caption="not measured")
        local = psf.at(*place)
        light = fit.flux * local.stamp(
            fit.x - corner[0] - star.half, fit.y - corner[1] - star.half, star.half
        )
        noise = np.sqrt(np.maximum(light, 0) + float(stamps.rms) ** 2)
        return Cutout(name, data, noise, bad, light + fit.constant, f"χ² {fit.chi2:.2f}")


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transform (2, 3) from the reference to the frame of one the other way (6,)."""
    m = np.asarray(matrix, dtype=float).reshape(2, 3)
    turn = np.linalg.inv(m[:, :2])
    return np.column_stack([turn, -turn @ m[:, 2]])


def _window(image: NDArray, x: int, y: int, side: int, fill: float) -> NDArray:
    """Cut a square out of an image, its corner at x, y; what lies outside is `fill`."""
    found = np.full((side, side), fill, dtype=float)
    ny, nx = image.shape
    rows, cols = slice(max(y, 0), min(y + side, ny)), slice(max(x, 0), min(x + side, nx))
    if rows.start < rows.stop and cols.start < cols.stop:
        found[rows.start - y : rows.stop - y, cols.start - x : cols.stop - x] = image[rows, cols]
    return found


def target_look(frame: FrameLook) -> Figure:
    """Draw the target in a frame: data, model, residual, masks, PSF, surface."""
    return frame_picture(frame.title, frame.target(), frame.view(), frame.why)


def stars_look(frame: FrameLook) -> Figure:
    """Draw the PSF stars of a frame: data, model, residual."""
    return grid_picture(f"{frame.title}: PSF stars", frame.stars(), frame.why or "no stamps")


def montage_of(tables: SetTables) -> Figure:
    """Draw the target in the frames at quantiles of the seeing, of those that count."""
    looks = Looks(tables)
    chosen = at_quantiles(tables)
    cutouts = []
    for name in chosen:
        frame = looks.frame(name)
        if (cutout := frame.target()) is not None:
            cutouts.append(replace(cutout, name=_short(name), caption=frame.seeing, places={}))
    title = f"{tables.title}: the target from the best to the worst seeing"
    return grid_picture(title, cutouts, "no frame with stamps that counts")


def at_quantiles(tables: SetTables, quantiles: Sequence[float] = QUANTILES) -> list[str]:
    """Choose the frames at quantiles of the seeing of those that count; fewer frames, fewer of them."""
    from visql_lib.pipelines.lightcurves.pictures.conditions import seeing_of, used_frames

    seeing, _ = seeing_of(tables)
    known = np.flatnonzero(used_frames(tables) & np.isfinite(seeing))
    order = known[np.argsort(seeing[known], kind="stable")]
    places = dict.fromkeys(round(q * (len(order) - 1)) for q in quantiles) if len(order) else {}
    return [str(tables.frames["FRAME"][order[k]]) for k in places]


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def galaxy_of(tables: SetTables) -> Figure:
    """Draw galaxy and ring, the deconvolved field and the median residual, with the names of the sources."""
    named = Looks(tables).scene
    title = f"{tables.title}: galaxy"
    texts = ("galaxy and ring, h", "deconvolved field", "median residual of all frames")
    if named is None:
        return galaxy_picture(title, [ScenePart(None, {}, text) for text in texts], "not fitted yet")
    scene = named.scene
    spots = {name: (float(x), float(y)) for name, (x, y) in zip(named.sources, scene.sources, strict=True)}
    if scene.core is not None:
        spots["core"] = (scene.core.x, scene.core.y)
    image = scene.grid.image(scene.nodes) if len(scene.nodes) else None
    x, y = scene.grid.centre
    planes = _planes(tables.folder / f"target_{tables.name}.fits")
    parts = [ScenePart(image, _placed(spots, (x - scene.grid.radius, y - scene.grid.radius), 1.0), texts[0])]
    for kind, text, off in (("DECONVOLVED", texts[1], False), ("RESIDUAL", texts[2], True)):
        pixels, corner, pitch = planes.get(kind, (None, (0.0, 0.0), 1.0))
        parts.append(ScenePart(pixels, _placed(spots, corner, pitch), text, off))
    facts = [f"χ² {named.chi2:.2f}" if np.isfinite(named.chi2) else "", count(named.n_frames, "frame")]
    core = f"core {scene.core.flux:.0f} electrons" if scene.core is not None else "no core"
    return galaxy_picture(", ".join([title, *filter(None, facts), core]), parts, "not in the model")


def _placed(spots: Places, corner: tuple[float, float], pitch: float) -> Places:
    """Return zero-based places of the reference in an image whose first pixel is at `corner`."""
    return {name: ((x - corner[0]) / pitch, (y - corner[1]) / pitch) for name, (x, y) in spots.items()}


Plane = tuple[NDArray[np.float64] | None, tuple[float, float], float]


def _planes(path: Path) -> dict[str, Plane]:
    """Read the pictures of a scene: pixels, zero-based place of the first pixel in the reference, pitch."""
    from astropy.io import fits

    found: dict[str, Plane] = {}
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus:
            if hdu.name in ("DECONVOLVED", "RESIDUAL") and hdu.ver == 1 and hdu.data is not None:
                corner = float(hdu.header["CRVAL1"]) - 1, float(hdu.header["CRVAL2"]) - 1
                found[hdu.name] = (np.asarray(hdu.data, dtype=float), corner, float(hdu.header["CDELT1"]))
    return found
