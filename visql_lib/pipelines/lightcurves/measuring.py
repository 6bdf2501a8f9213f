"""What is measured in an aligned frame: apertures and Kron fluxes of its stars, the empty box, stamps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.cosmics import EDGE, find_stamp_cosmics
from visql_lib.flags import SourceFlag, StampFlag, StarFlag
from visql_lib.images.light_frame import LightFrame
from visql_lib.photometry.stamp_cuts import (
    CutStamps,
    SourceLights,
    cut_stamps,
    mask_neighbours,
    stamp_side,
    stamp_sigma,
)
from visql_lib.photometry.star_apertures import aperture_sums, empty_noise, windowed_places
from visql_lib.photometry.star_shapes import CORE, WHOLE
from visql_lib.pipelines.lightcurves.reference_file import TargetReference
from visql_lib.pipelines.lightcurves.settings.frames import ApertureSettings
from visql_lib.pipelines.lightcurves.stamps import TARGET, Stamps
from visql_lib.sky.affine import area, inverse
from visql_lib.sky.alignment import Alignment, moved
from visql_lib.sky.pairs import mutual_nearest
from visql_lib.sources.sky_map import SkyMap

FACTORS = (2.0, 3.0, 4.0, 6.0, 8.0)  # diameters in units of the set's seeing, where the camera tells none
_SEEING = 5.0  # px, where nobody knows it
_INCOMPLETE = SourceFlag.APERTURE_INCOMPLETE | SourceFlag.ISOPHOTE_INCOMPLETE
_CROWDED = SourceFlag.NEIGHBOURS | SourceFlag.BLENDED


@dataclass(frozen=True)
class AlignedFrame:
    """A frame as it is measured.

    Attributes
    ----------
    light : LightFrame
    sky : SkyMap
    data : array of float32, shape (ny, nx)
        Electrons without sky and fringes; NaN where bad.
    catalogue : mapping
        LIGHT_CATALOGUE of the frame, without hits of cosmic rays.
    fwhm : float
        Its seeing [px]; NaN: not known.
    alignment : Alignment
    """

    light: LightFrame
    sky: SkyMap
    data: NDArray[np.float32]
    catalogue: Mapping[str, NDArray]
    fwhm: float
    alignment: Alignment

    def place(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Bring places of the reference to the frame; zero-based px."""
        return moved(inverse(self.alignment.matrix), x, y)


@dataclass(frozen=True)
class FrameMeasures:
    """What was measured: columns of APERTURES without FRAME, stamps, noise and mean of the empty box."""

    columns: dict[str, NDArray]
    stamps: Stamps
    stddev: float
    mean: float


def aperture_diameters(
    settings: ApertureSettings, camera: tuple[float, ...], seeing: float
) -> NDArray[np.float64]:
    """Return the diameters of the apertures [px]: of settings, camera, or the set's seeing."""
    if settings.diameters or camera:
        return np.array(settings.diameters or camera, float)
    return np.array(FACTORS) * (seeing if math.isfinite(seeing) else _SEEING)


def measure_frame(
    frame: AlignedFrame,
    reference: TargetReference,
    settings: ApertureSettings,
    diameters: NDArray,
    set_name: str,
) -> FrameMeasures:
    """Measure the stars of a frame that is aligned, and cut stamps of them and the target.

    Parameters
    ----------
    frame : AlignedFrame
    reference : TargetReference
        Its named stars are measured; and its point source, if there is only one, under its own name.
    settings : ApertureSettings
    diameters : array
        Of the apertures [px].
    set_name : str
        For the stamps.
    """
    rows = reference.named
    x, y = frame.place(reference.x[rows], reference.y[rows])
    stamps = _stamps(frame, reference, settings, (x, y), set_name)
    names = list(reference.names)
    if len(reference.points) == 1:
        names, x, y = [*names, *reference.points], stamps.x, stamps.y
    columns = {"STAR": np.array(names, dtype=object), **_apertures(frame, x, y, diameters)}
    hit = _hit(stamps, x, y, float(diameters[0]) / 2)
    columns["FLAGS"] = (columns["FLAGS"] | np.where(hit, int(StarFlag.COSMIC), 0)).astype(np.int16)
    noise = (math.nan, math.nan)
    if reference.box is not None:
        noise = empty_noise(frame.data, frame.light.unusable, frame.alignment.matrix, reference.box)
    return FrameMeasures(columns, stamps, *noise)


def _hit(stamps: Stamps, x: NDArray, y: NDArray, radius: float) -> NDArray[np.bool_]:
    """Tell the stars that have a cosmic ray within a radius."""
    j, i = np.mgrid[: stamps.bad.shape[1], : stamps.bad.shape[2]]
    cosmic = (stamps.bad[: len(x)] & StampFlag.COSMIC) != 0
    dx = i[None] + stamps.x0[: len(x), None, None] - x[:, None, None]
    dy = j[None] + stamps.y0[: len(x), None, None] - y[:, None, None]
    return np.asarray((cosmic & (np.hypot(dx, dy) <= radius)).any(axis=(1, 2)))


def _apertures(frame: AlignedFrame, x: NDArray, y: NDArray, diameters: NDArray) -> dict[str, NDArray]:
    """Sum apertures about the stars, and take their Kron fluxes from the catalogue."""
    light, ny, nx = frame.light, *frame.light.shape
    inside = (x > -0.5) & (y > -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    at_x, at_y = x.copy(), y.copy()
    width = frame.fwhm if math.isfinite(frame.fwhm) else _SEEING
    at_x[inside], at_y[inside] = windowed_places(frame.data, light.bad, x[inside], y[inside], width)
    sums = aperture_sums(frame.data, light.bad, light.saturated, at_x, at_y, diameters, frame.sky.rms)
    shape = aperture_sums(
        frame.data, light.bad, light.saturated, at_x, at_y, np.array([CORE, WHOLE]) * width, frame.sky.rms
    )
    level = frame.sky.image()
    i, j = np.clip(np.rint(at_x).astype(int), 0, nx - 1), np.clip(np.rint(at_y).astype(int), 0, ny - 1)
    flux, err, flags = _kron(frame.catalogue, x, y, max(1.5, width / 2))
    return {
        "X": at_x + 1,
        "Y": at_y + 1,
        "FLUX_AUTO": flux,
        "FLUXERR_AUTO": err,
        "FLUX_APER": sums.flux,
        "FLUXERR_APER": sums.err,
        "CONCENTRATION": shape.flux[:, 0] / np.where(shape.flux[:, 1] > 0, shape.flux[:, 1], np.nan),
        "PEAK": np.asarray(light.to_adu(sums.peak + level[j, i])),
        "FLAGS": sums.flags | np.where(inside, flags, 0),
    }


def _windowed(catalogue: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Return the windowed places of a catalogue, zero-based."""
    return np.asarray(catalogue["XWIN_IMAGE"], float) - 1, np.asarray(catalogue["YWIN_IMAGE"], float) - 1


def _kron(
    catalogue: Mapping[str, NDArray], x: NDArray, y: NDArray, radius: float
) -> tuple[NDArray, NDArray, NDArray[np.int16]]:
    """Return Kron fluxes, errors and `StarFlag` bits of the sources that are the stars; NaN: not whole."""
    stars, sources = mutual_nearest(x, y, *_windowed(catalogue), radius)
    flux, err = np.full(len(x), np.nan), np.full(len(x), np.nan)
    told = np.zeros(len(x), int)
    flux[stars] = np.asarray(catalogue["FLUX_AUTO"], float)[sources]
    err[stars] = np.asarray(catalogue["FLUXERR_AUTO"], float)[sources]
    told[stars] = np.asarray(catalogue["FLAGS"], int)[sources]
    cut, holes = (told & SourceFlag.TRUNCATED) != 0, (told & int(_INCOMPLETE)) != 0
    flux[cut | holes], err[cut | holes] = np.nan, np.nan
    lost = np.ones(len(x), bool)
    lost[stars] = False
    flags = np.where(cut, StarFlag.OUTSIDE, 0) | np.where(holes, StarFlag.BAD_PIXELS, 0)
    flags |= np.where((told & int(_CROWDED)) != 0, StarFlag.NEIGHBOUR, 0)
    flags |= np.where((told & SourceFlag.SATURATED) != 0, StarFlag.SATURATED, 0)
    flags |= np.where(lost, StarFlag.NO_FIT, 0)
    return flux, err, flags.astype(np.int16)


def _stamps(
    frame: AlignedFrame,
    reference: TargetReference,
    settings: ApertureSettings,
    stars: tuple[NDArray, NDArray],
    set_name: str,
) -> Stamps:
    """Cut the stamps of stars and target, the target last; mask neighbours of the stars, and cosmic rays."""
    light, rms, matrix = frame.light, frame.sky.rms, frame.alignment.matrix
    middle_x, middle_y = frame.place(*(np.array([v]) for v in reference.middle))
    x, y = np.append(stars[0], middle_x), np.append(stars[1], middle_y)
    scale = math.sqrt(area(matrix))  # length in the reference over length in the frame
    side = stamp_side(frame.fwhm, settings.stamp_least, settings.stamp_most, reference.extent / scale)
    cut = cut_stamps(frame.data, light.bad, light.saturated, x, y, side)
    ratio = _flux_ratio(frame, reference)
    others = SourceLights(*frame.place(reference.x, reference.y), ratio * np.asarray(reference.stars["FLUX"]))
    n = len(stars[0])
    of_stars = CutStamps(cut.data[:n], cut.bad[:n], cut.x0[:n], cut.y0[:n])
    mask_neighbours(of_stars, x[:n], y[:n], others, frame.fwhm, rms)
    for mask_x, mask_y, radius in reference.masks:
        _mask_circle(of_stars, *frame.place(np.array([mask_x]), np.array([mask_y])), radius / scale)
    if settings.cosmics:
        cut.bad[_cosmics(frame, settings, x, y, side)] |= np.uint8(StampFlag.COSMIC)
    return Stamps(
        names=[*reference.names, TARGET],
        data=cut.data,
        sigma=stamp_sigma(cut.data, cut.bad & ~np.uint8(StampFlag.NEIGHBOUR), rms),
        bad=cut.bad,
        x0=cut.x0,
        y0=cut.y0,
        x=x,
        y=y,
        matrix=matrix,
        rms=rms,
        sky=frame.sky.sky,
        gain=light.facts.gain,
        frame=light.name,
        set=set_name,
        fwhm=frame.fwhm,
    )


def _cosmics(
    frame: AlignedFrame, settings: ApertureSettings, x: NDArray, y: NDArray, side: int
) -> NDArray[np.bool_]:
    """Find cosmic rays in stamps, in larger ones since little is found at the border."""
    light = frame.light
    cut = cut_stamps(frame.data, light.bad, light.saturated, x, y, side + 2 * EDGE)
    hidden = cut.bad != 0
    variance = stamp_sigma(cut.data, hidden, frame.sky.rms) ** 2
    hits = find_stamp_cosmics(cut.data, variance, hidden, fwhm=frame.fwhm, sigma=settings.cosmic_sigma)
    return hits[:, EDGE:-EDGE, EDGE:-EDGE]


def _mask_circle(stamps: CutStamps, x: NDArray, y: NDArray, radius: float) -> None:
    side = stamps.data.shape[1]
    j, i = np.mgrid[:side, :side]
    for k in range(len(stamps.data)):
        inside = np.hypot(i + stamps.x0[k] - x[0], j + stamps.y0[k] - y[0]) <= radius
        stamps.bad[k][inside] |= np.uint8(StampFlag.NEIGHBOUR)


def _flux_ratio(frame: AlignedFrame, reference: TargetReference) -> float:
    """Return by how much stars are brighter than in the reference, by their Kron fluxes."""
    x, y = frame.place(reference.x, reference.y)
    stars, sources = mutual_nearest(x, y, *_windowed(frame.catalogue), 2.0)
    if not len(stars):
        return 1.0
    ratio = (
        np.asarray(frame.catalogue["FLUX_AUTO"], float)[sources] / np.asarray(reference.stars["FLUX"])[stars]
    )
    return float(np.median(ratio))
