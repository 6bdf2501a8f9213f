"""Measure a frame: detrended pixels, stars, zero points, sky, flags, as the columns of its tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.ccd.detrend import detrend, fill_bad_pixels
from visql_lib.flags import GuideFrameFlag, GuideStarFlag
from visql_lib.instruments.guide import GuideFacts
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.apertures import ForcedStars, bright_elsewhere, measure_stars, wrong_sources
from visql_lib.photometry.sky_level import (
    SkyLevel,
    SkyLevels,
    disc_radii,
    dome_share,
    inter_quad_rms,
    quadrant_of,
    sky_levels,
    surface_brightness,
)
from visql_lib.photometry.zero_points import (
    ZeroPoint,
    bright_enough,
    instrumental_magnitudes,
    zero_point,
)
from visql_lib.pipelines.pointing.frame import GuideFrame
from visql_lib.pipelines.pointing.masters import GuideMasters
from visql_lib.pipelines.pointing.night_row import median_of, row_of
from visql_lib.pipelines.pointing.reference import FrameStars
from visql_lib.pipelines.pointing.schemas import REGIONS, SKY, ZEROPOINTS, catalog_schema
from visql_lib.pipelines.pointing.settings import ExposureSettings

FEW = 10  # stars of a zero point that is doubtful
_LEAST = 4.0  # sigma of the sky in the standard aperture that a star's light is worth
_QUADRANTS = (0, 1, 2, 3, 4)  # 0: the whole frame
_MOST = 0.5  # of the pixels, or of the stars
_BRIGHT = 10.0  # sigma above the sky
_ERR_OF_MEDIAN = 1.2533  # in that of the mean
_BLIND = GuideFrameFlag.ALL_SATURATED | GuideFrameFlag.NO_LIGHT
_LARGEST_CELL = 8  # times the usual one
_GRID = 7, 9  # places on the frame where the area of a pixel is asked


@dataclass(frozen=True)
class MeasuredFrame:
    """What was measured of a frame.

    Attributes
    ----------
    image : array of float32, shape (ny, nx)
        Detrended, bad pixels filled [adu].
    bad : array of bool, same shape
        The pixels that were filled.
    catalog, zeropoints, sky : dict of arrays
        Columns of the schemas CATALOG, ZEROPOINTS and SKY. ZEROPOINTS has 42 rows, 6 with one aperture:
        quadrants 0 to 4 by aperture, then the science circle.
    flags : int
        `GuideFrameFlag` bits.
    """

    image: NDArray[np.float32]
    bad: NDArray[np.bool_]
    catalog: dict[str, NDArray]
    zeropoints: dict[str, NDArray]
    sky: dict[str, NDArray]
    flags: int


@dataclass(frozen=True)
class _Exposure:
    """A frame with its pixels, and what measuring it needs to know."""

    frame: GuideFrame
    image: NDArray[np.float32]
    bad: NDArray[np.bool_]
    dome_share: float
    instrument: Instrument
    settings: ExposureSettings

    @property
    def guide(self) -> GuideFacts:
        return self.instrument.guide

    @property
    def dome(self) -> bool:
        return self.dome_share >= self.guide.dome_share

    @property
    def radii(self) -> tuple[float, ...]:
        """Of the apertures [px]."""
        every = self.guide.apertures
        return (every[self.guide.standard_aperture],) if self.settings.one_aperture else every

    @property
    def told(self) -> dict[str, Any]:
        """What the rows of ZEROPOINTS and SKY tell of the frame."""
        names = {"number": "frame_number"} | {n: n for n in ("radeg", "decdeg", "real_ra", "real_dec")}
        return {
            "time_seconds": self.frame.exptime,
            "fname_raw": self.frame.path.name,
            "mjd_obs": self.frame.mjd,
            "obs_night": self.frame.night,
            "has_dome": self.dome,
            **{column: getattr(self.frame, name) for name, column in names.items()},
        }


def detrended(frame: GuideFrame, masters: GuideMasters) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the detrended frame [adu], bad pixels filled, and which these are."""
    image = detrend(frame.raw, masters.bias, masters.dark, masters.flat, frame.exptime)
    bad = masters.bad | ~np.isfinite(image)
    fill_bad_pixels(image, bad)
    return image, bad


def measure(
    frame: GuideFrame,
    masters: GuideMasters,
    stars: FrameStars | None,
    instrument: Instrument,
    settings: ExposureSettings,
    threads: int = 1,
) -> MeasuredFrame:
    """Measure a frame.

    Parameters
    ----------
    frame : GuideFrame
    masters : GuideMasters
    stars : FrameStars or None
        The reference stars on it; None: they could not be had, and there are no zero points.
    instrument : Instrument
        Its gain and its guide facts: apertures, limits, quadrants, circle.
    settings : ExposureSettings
    threads : int, optional
        Threads that measure stars.
    """
    guide, (image, bad) = instrument.guide, detrended(frame, masters)
    cell = _dome_cell(guide, frame.exptime) if settings.dome == "blocks" else 1
    dark = dome_share(image, guide.dome_level * frame.exptime, cell)
    exposure = _Exposure(frame, image, bad, dark, instrument, settings)
    flags = frame.flags | _pixel_flags(exposure)
    catalog, noise = catalog_schema(len(exposure.radii)).empty(), math.nan
    if stars is None:
        flags |= GuideFrameFlag.NO_REFERENCE
    else:
        limits = _shift_limits(stars, guide)
        forced = _forced(exposure, masters, stars, limits, threads)
        catalog, noise = _catalog(exposure, stars, forced, limits), median_of(forced.sky_sigma)
        if not flags & _BLIND:  # without stars on it, a frame tells nothing of its WCS
            flags |= GuideFrameFlag.SHIFT_AT_LIMIT * _points_elsewhere(exposure, stars, forced)
    zeropoints = _zeropoints(exposure, catalog)
    whole = row_of(zeropoints, exposure.guide, 0)
    flags |= GuideFrameFlag.FEW_STARS * (0 < zeropoints["n_sources_for_zp"][whole] < FEW)
    sky = _sky(exposure, stars, noise, zeropoints, int(flags))
    return MeasuredFrame(image, bad, catalog, zeropoints, sky, int(flags))


def _dome_cell(guide: GuideFacts, exptime: float) -> int:
    """Return the side of the blocks that tell a dome: larger in frames so short that blocks were noise.

    The noise of their medians is kept below the level, to 128 px: of a clear frame of 1 s, 2 % of the
    smaller blocks were dark.
    """
    noise = _ERR_OF_MEDIAN * float(np.mean(guide.read_noise)) / guide.dome_cell
    times = math.ceil(noise / (guide.dome_level * exptime)) if guide.dome_level > 0 else 1
    return guide.dome_cell * min(max(times, 1), _LARGEST_CELL)


def _pixel_flags(exposure: _Exposure) -> int:
    """Return the flags of a frame that its pixels tell."""
    raw, flags = exposure.frame.raw, 0
    if exposure.dome:
        flags |= GuideFrameFlag.DOME
    if np.count_nonzero(raw >= exposure.guide.raw_limit) > _MOST * raw.size:
        flags |= GuideFrameFlag.ALL_SATURATED
    if exposure.bad.all() or raw.min() == raw.max():
        flags |= GuideFrameFlag.NO_LIGHT
    return int(flags)


# --- stars -------------------------------------------------------------------------------------------


def _shift_limits(stars: FrameStars, guide: GuideFacts) -> NDArray[np.float64]:
    """Return how far each centroid may be off its projected place, along each axis [px]."""
    radius = np.hypot(stars.x - guide.centre[0], stars.y - guide.centre[1])
    low, high = guide.shift_limits
    limits: NDArray[np.float64] = np.clip(low + guide.shift_growth * radius / guide.shift_radius, low, high)
    return limits


def _forced(
    exposure: _Exposure, masters: GuideMasters, stars: FrameStars, limits: NDArray, threads: int
) -> ForcedStars:
    """Measure the stars; pixels that the flat makes brighter have fewer electrons per ADU."""
    guide = exposure.guide
    gain = np.full(len(stars.x), exposure.instrument.header_rule.gain.value)
    if masters.flat is not None:
        response = masters.flat[np.rint(stars.y).astype(np.intp), np.rint(stars.x).astype(np.intp)]
        gain *= np.where(response > 0, response, 1.0)
    return measure_stars(
        exposure.image,
        exposure.bad,
        exposure.frame.raw,
        stars.x,
        stars.y,
        limits,
        radii=exposure.radii,
        annulus=guide.annulus,
        gain=gain,
        raw_limit=guide.raw_limit,
        box=guide.centroid_box,
        sigma=guide.centroid_sigma,
        tolerance=guide.centroid_tolerance,
        clip_sky=exposure.settings.sky_clip,
        threads=threads,
    )


def _points_elsewhere(exposure: _Exposure, stars: FrameStars, forced: ForcedStars) -> bool:
    """Tell whether most centroids are at their limit, but stars are on the frame: where no place is."""
    lost = (forced.flags & GuideStarFlag.SHIFT) > 0
    if np.count_nonzero(lost) <= max(_MOST * lost.size, FEW / 2):
        return False
    limit = median_of(forced.sky) + _BRIGHT * median_of(forced.sky_sigma)
    return bright_elsewhere(
        exposure.image,
        exposure.bad,
        stars.all_x,
        stars.all_y,
        radius=exposure.guide.shift_limits[1] + 1,
        limit=limit,
        least=int(np.count_nonzero(lost)),
    )


def _catalog(
    exposure: _Exposure, stars: FrameStars, forced: ForcedStars, limits: NDArray
) -> dict[str, NDArray]:
    """Return the columns of CATALOG."""
    guide, known, time = exposure.guide, stars.columns, exposure.frame.exptime
    rows, columns = exposure.image.shape
    x, y, n = forced.x, forced.y, len(forced.x)
    wrong = wrong_sources(x, y, stars.own, stars.all_x, stars.all_y)
    reference = known["G"] + guide.colour_coefficient * known["BP_RP"]
    quadrants = quadrant_of(x, y, (guide.split_x, guide.split_y))
    magnitude, magnitude_err = instrumental_magnitudes(forced.sums, forced.errors, time)
    flags = forced.flags.copy()
    flags[wrong] |= GuideStarFlag.WRONG_SOURCE
    flags[~np.isfinite(reference)] |= GuideStarFlag.NO_COLOUR
    flags[~stars.moved_by_pm] |= GuideStarFlag.NO_PROPER_MOTION
    flags[_faint(exposure, forced, flags, reference, magnitude, quadrants)] |= GuideStarFlag.FAINT
    radius = np.hypot(x - guide.centre[0], y - guide.centre[1])
    found: dict[str, Any] = {name: known[name] for name in ("SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC")}
    found |= {"PHOT_G_MEAN_MAG": known["G"], "BP_RP": known["BP_RP"], "G_PRIME": reference}
    found |= {"x_gaia_guess": stars.x, "y_gaia_guess": stars.y, "xcentroid": x, "ycentroid": y}
    found |= {"x_shift": x - stars.x, "y_shift": y - stars.y, "cmaxshift": limits}
    found |= {"qmaxshift": ~forced.moved, "centroid_shift_flag": ~forced.moved, "flags": flags}
    for k in range(len(exposure.radii)):
        found[f"aper_sum_bkgsub_{k}"] = forced.sums[:, k]
        found[f"aper_bkg_{k}"] = forced.sky * forced.areas[:, k]
    found |= {"sky_annulus_area_pix": forced.sky_area, "sky_annulus_median": forced.sky}
    found |= {"flux_adu": forced.sums, "flux_adu_err": forced.errors, "flux_adu_per_s": forced.sums / time}
    found |= {"m_inst": magnitude, "m_inst_err": magnitude_err, "wrong_source_centroid": wrong}
    found |= {"quadrant": quadrants, "radius_pix": radius}
    found["min_edge_dist_pix"] = np.min([x, columns - 1 - x, y, rows - 1 - y], axis=0) + 0.5
    found["in_science_fov"] = radius <= guide.science_radius
    found["radius_too_large"] = radius > exposure.settings.max_radius
    found["has_dome"] = np.full(n, exposure.dome)
    found["centroid_raw_pixel_val"] = forced.raw_value
    found["centroid_pixel_saturated"] = (flags & GuideStarFlag.SATURATED) > 0
    return catalog_schema(len(exposure.radii)).cast(found)


def _faint(
    exposure: _Exposure,
    forced: ForcedStars,
    flags: NDArray,
    reference: NDArray,
    magnitude: NDArray,
    quadrants: NDArray,
) -> NDArray[np.bool_]:
    """Tell which stars are too faint for the frame, in each quadrant by its own zero point."""
    k = min(exposure.guide.standard_aperture, len(exposure.radii) - 1)
    area = math.pi * exposure.radii[k] ** 2
    good = (flags & GuideStarFlag.left_out()) == 0
    faint = np.zeros(good.shape, dtype=bool)
    for here in (quadrants == q for q in _QUADRANTS[1:]):
        noise = _LEAST * median_of(forced.sky_sigma[here]) * math.sqrt(area)
        least = -2.5 * math.log10(noise / exposure.frame.exptime) if noise > 0 else math.inf
        used = np.where(good, magnitude[:, k], np.nan)[here]
        faint[here] = np.isfinite(reference[here]) & ~bright_enough(reference[here], used, least)
    return faint


# --- zero points -------------------------------------------------------------------------------------


def _zeropoints(exposure: _Exposure, catalog: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return the columns of ZEROPOINTS."""
    good = (catalog["flags"] & GuideStarFlag.left_out()) == 0
    good &= ~catalog["radius_too_large"] & np.isfinite(catalog["G_PRIME"])
    rows = []
    for quadrant, science in (*((q, False) for q in _QUADRANTS), (0, True)):
        here = good & (catalog["in_science_fov"] if science else True)
        here = here & (catalog["quadrant"] == quadrant if quadrant else True)
        for k in range(len(exposure.radii)):
            used = here & np.isfinite(catalog["m_inst"][:, k])
            point = zero_point(catalog["G_PRIME"][used], catalog["m_inst"][used, k])
            rows.append(
                exposure.told
                | _columns_of(point)
                | {
                    "quadrant": quadrant,
                    "aper_ind": k,
                    "science_fov_only": science,
                    "bp_rp_median": median_of(catalog["BP_RP"][used]),
                    "gaia_g_median": median_of(catalog["PHOT_G_MEAN_MAG"][used]),
                    "max_zp_radius": exposure.settings.max_radius,
                }
            )
    return ZEROPOINTS.of_rows(rows)


def _columns_of(point: ZeroPoint) -> dict[str, Any]:
    return {
        "zp_adu_per_s": point.value,
        "zp_err": point.err,
        "robust_sigma_mag": point.scatter,
        "n_sources_for_zp": point.n,
    }


# --- sky ---------------------------------------------------------------------------------------------


def _sky(
    exposure: _Exposure, stars: FrameStars | None, noise: float, zeropoints: dict[str, NDArray], flags: int
) -> dict[str, NDArray]:
    """Return the columns of SKY, one row."""
    time, levels = exposure.frame.exptime, _levels(exposure, stars, noise)
    row = exposure.told | {"dome_share": exposure.dome_share, "flags": flags}
    for infix, of in (("", levels.all), ("_masked", levels.masked)):
        for region, level in zip(REGIONS, of, strict=True):
            for kind in ("median", "mean"):
                value = getattr(level, kind)
                row[f"{kind}_adu{infix}{region}"] = value
                row[f"{kind}_adu{infix}{region}_per_s"] = value / time
    rms = inter_quad_rms([level.median for level in levels.all[2:]])
    row |= {"inter_quad_rms_adu": rms, "inter_quad_rms_adu_per_s": rms / time}
    brightness = _brightness(exposure, levels, zeropoints)
    row |= {f"sky_mag_arcsec2{region}": mu for region, mu in zip(REGIONS, brightness, strict=True)}
    return SKY.of_rows([row])


def _levels(exposure: _Exposure, stars: FrameStars | None, noise: float) -> SkyLevels:
    """Return the levels of the regions; discs leave out all known stars, also those not measured."""
    guide, discs = exposure.guide, None
    if stars is not None:
        expected = exposure.frame.exptime * 10 ** (-0.4 * (stars.all_g - guide.zero_point))
        spread = noise if noise > 0 else float(np.mean(guide.read_noise))
        discs = stars.all_x, stars.all_y, disc_radii(expected, spread)
    return sky_levels(
        exposure.image,
        exposure.bad,
        split=(guide.split_x, guide.split_y),
        circle=(*guide.centre, guide.science_radius),
        discs=discs,
    )


def _brightness(
    exposure: _Exposure, levels: SkyLevels, zeropoints: dict[str, NDArray]
) -> NDArray[np.float64]:
    """Return mag/arcsec2 of the regions, by the level without stars.

    The zero point is that of the largest aperture, which holds nearly all light.
    """
    guide = exposure.guide
    rows = [row_of(zeropoints, guide, region, largest=True) for region in (0, 5, 1, 2, 3, 4)]
    points = zeropoints["zp_adu_per_s"][rows]
    if len(exposure.radii) == 1:
        points = points + guide.aperture_correction
    level = [_sky_of(a, m).median for a, m in zip(levels.all, levels.masked, strict=True)]
    return surface_brightness(np.array(level) / exposure.frame.exptime, points, _pixel_areas(exposure))


def _sky_of(level: SkyLevel, masked: SkyLevel) -> SkyLevel:
    """Return the level without stars, if there is one."""
    return masked if masked.n else level


def _pixel_areas(exposure: _Exposure) -> list[float]:
    """Return the mean area of a pixel in each region [arcsec2]."""
    guide, (rows, columns) = exposure.guide, exposure.image.shape
    y, x = ((np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(_GRID, (rows, columns), strict=True))
    places_x, places_y = (p.ravel() for p in np.meshgrid(x, y))
    areas = exposure.frame.wcs.pixel_area(places_x, places_y)
    quadrants = quadrant_of(places_x, places_y, (guide.split_x, guide.split_y))
    near = np.hypot(places_x - guide.centre[0], places_y - guide.centre[1]) <= guide.science_radius
    regions = np.ones(areas.shape, dtype=bool), near, *(quadrants == q for q in (1, 2, 3, 4))
    return [float(areas[here].mean()) if here.any() else math.nan for here in regions]
