"""The truth of a simulated frame of a guide camera: what a perfect measurement would find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.simulate.guide_headers import mjd_of
from visql_lib.simulate.guide_light import at_places
from visql_lib.simulate.guide_plate import Plate

if TYPE_CHECKING:
    from visql_lib.simulate.guide_frame import GuideCameraModel, GuideExposure, GuideLight

_STEP = 8  # px between the places at which medians over a region are taken
_SHARE = 0.01  # of a star's light that makes another one its neighbour
_NEIGHBOURS = 12  # that are looked at
_SATURATED_WITHIN = 2  # px
_NONE = np.nan


def regions(camera: GuideCameraModel) -> dict[str, NDArray[np.bool_]]:
    """Return the regions of a frame, masks of its coarse grid: whole frame, science circle, quadrants."""
    facts = camera.facts
    x, y = _grid(camera)
    found = {
        "": np.ones(x.shape, bool),
        "_SCI": np.hypot(x - facts.centre[0], y - facts.centre[1]) <= facts.science_radius,
    }
    right, upper = x > facts.split_x, y > facts.split_y
    quadrants = (right & upper, ~right & upper, ~right & ~upper, right & ~upper)
    return found | {f"_Q{q}": inside for q, inside in enumerate(quadrants, start=1)}


def _grid(camera: GuideCameraModel) -> tuple[NDArray, NDArray]:
    rows, columns = camera.shape
    y, x = np.mgrid[0:rows:_STEP, 0:columns:_STEP]
    return x.astype(float), y.astype(float)


def frame_truth(
    camera: GuideCameraModel, exposure: GuideExposure, light: GuideLight, plate: Plate, solved: Plate
) -> dict[str, Any]:
    """Return the numbers of a frame.

    Zero points are those of all light of a star; ``ENCLOSED`` is the share within each aperture of the
    camera's file, so that ZP + 2.5 log10(ENCLOSED) is the zero point of the aperture. Names are those of
    `visql_lib.tables.truth.guide_frames`.
    """
    x, y = _grid(camera)
    sky = light.sky[::_STEP, ::_STEP]
    lost = at_places(camera.shape, exposure.extinction, exposure.slope, x, y)
    area = plate.pixel_area(x, y)
    found: dict[str, Any] = {}
    for end, inside in regions(camera).items():
        has = bool(inside.any()) and exposure.type == "SCIENCE"
        zero_point = camera.facts.zero_point - float(np.median(lost[inside])) if has else _NONE
        level = float(np.median(sky[inside])) if has else _NONE
        pixel = float(np.median(area[inside])) if has else _NONE
        found[f"ZP{end}"] = zero_point
        found[f"SKY{end}"] = level
        found[f"MU{end}"] = zero_point - 2.5 * np.log10(level / pixel) if has and level > 0 else _NONE
    off = np.subtract(plate.to_pixel(*plate.to_sky(x, y)), solved.to_pixel(*plate.to_sky(x, y)))
    radii = camera.facts.apertures
    science = regions(camera)["_SCI"]
    dark = light.sky < camera.facts.dome_level
    return found | {
        "NUMBER": exposure.number,
        "TYPE": exposure.type,
        "DATE_OBS": f"{exposure.start:%Y-%m-%dT%H:%M:%S.%f}"[:-3],
        "MJD_OBS": mjd_of(exposure.start),
        "EXPTIME": exposure.exptime,
        "RA": exposure.ra,
        "DEC": exposure.dec,
        "LEVEL": exposure.level if exposure.type == "FLAT" else _NONE,
        "EXTINCTION": exposure.extinction,
        "MOVED": int(exposure.trail is not None),
        "DOME": int(exposure.dome is not None),
        "DOME_SHARE": exposure.dome.share if exposure.dome is not None else 0.0,
        "DARK_SHARE": float(dark.mean()) if exposure.sees_the_sky else _NONE,
        "N_STREAKS": len(light.streaks),
        "FWHM": camera.options.optics.fwhm,
        "SHIFT_X": float(np.median(off[0])),
        "SHIFT_Y": float(np.median(off[1])),
        "ENCLOSED": np.array([camera.psf.enclosed(r, x, y).mean() for r in radii]),
        "ENCLOSED_SCI": np.array([camera.psf.enclosed(r, x, y)[science].mean() for r in radii]),
    }


def star_truth(
    camera: GuideCameraModel, exposure: GuideExposure, light: GuideLight, raw: NDArray
) -> dict[str, NDArray]:
    """Return the stars on a frame that does not move, down to the options' limit.

    FLUX is all light that would come through the air [adu], without response and dome; NEIGHBOUR the
    distance [px] to the nearest star of at least a hundredth of its light, NaN: none within some 100 px.
    """
    stars = light.stars
    if exposure.type != "SCIENCE" or exposure.trail is not None:
        return {name: np.empty(0, dtype) for name, dtype in _STAR_TYPES.items()}
    rows, columns = camera.shape
    x, y = stars["X"], stars["Y"]
    inside = (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
    chosen = np.flatnonzero(inside & (stars["G"] <= camera.options.sky.truth_limit))
    found = {name: stars[name][chosen] for name in ("X", "Y", "FLUX", "G", "BP_RP", "EXTINCTION")}
    found |= {"SOURCE_ID": stars["source_id"][chosen]}
    found |= {"RA": stars["RA_NOW"][chosen], "DEC": stars["DEC_NOW"][chosen]}
    found["NEIGHBOUR"] = _neighbours(x, y, stars["FLUX"])[chosen]
    high = raw >= camera.facts.raw_limit
    found["SATURATED"] = np.array(
        [_near(high, float(a), float(b)) for a, b in zip(x[chosen], y[chosen], strict=True)], np.int8
    )
    return found


_STAR_TYPES: dict[str, type] = {
    **dict.fromkeys(("X", "Y", "FLUX", "G", "BP_RP", "EXTINCTION", "RA", "DEC", "NEIGHBOUR"), float),
    "SOURCE_ID": np.int64,
    "SATURATED": np.int8,
}


def _near(high: NDArray, x: float, y: float) -> bool:
    """Say whether a pixel within 2 px of a place is high."""
    i, j, reach = round(x), round(y), _SATURATED_WITHIN
    part = high[max(j - reach, 0) : j + reach + 1, max(i - reach, 0) : i + reach + 1]
    if not part.any():
        return False
    rows, columns = np.nonzero(part)
    away = np.hypot(columns + max(i - reach, 0) - x, rows + max(j - reach, 0) - y)
    return bool((away <= reach).any())


def _neighbours(x: NDArray, y: NDArray, flux: NDArray) -> NDArray:
    """Return the distance of each star to the nearest one that disturbs it; NaN: none of the nearest."""
    from scipy.spatial import cKDTree

    if len(x) < 2:
        return np.full(len(x), np.nan)
    places = np.stack([x, y], axis=1)
    distance, which = cKDTree(places).query(places, k=min(_NEIGHBOURS, len(x)))
    disturbs = flux[which] >= _SHARE * flux[:, None]
    disturbs[:, 0] = False  # itself
    nearest = np.where(disturbs, distance, np.inf).min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)


def streak_truth(light: GuideLight, plate: Plate) -> dict[str, NDArray]:
    """Return the streaks of a frame; ends cut at its border, also on the sky [deg]."""
    streaks = light.streaks
    ends = np.array([s[:4] for s in streaks], float).reshape(-1, 4)
    (ra1, dec1), (ra2, dec2) = plate.to_sky(ends[:, 0], ends[:, 1]), plate.to_sky(ends[:, 2], ends[:, 3])
    dx, dy = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    return {
        "X1": ends[:, 0],
        "Y1": ends[:, 1],
        "X2": ends[:, 2],
        "Y2": ends[:, 3],
        "RA1": ra1,
        "DEC1": dec1,
        "RA2": ra2,
        "DEC2": dec2,
        "LENGTH": np.hypot(dx, dy),
        "ANGLE": np.degrees(np.arctan2(dy, dx)) % 180,
        "WIDTH": np.array([s.width for s in streaks], float),
        "PEAK": np.array([s.peak for s in streaks], float),
        "FLUX": np.array([s.flux for s in streaks], float),
        "LEAVES_FRAME": np.array([int(s.leaves) for s in streaks], np.int8),
    }
