"""Frames of stars for the tests of light curves: drawn here, by none of the code under test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

HEADER: dict[str, Any] = {
    "DATE-OBS": "2012-03-14T04:08:00",
    "EXPTIME": 300.0,
    "GAIN": 2.0,
    "RDNOISE": 5.0,
    "FILTER": "R",
    "IMAGETYP": "object",
}


def star_image(
    x: NDArray,
    y: NDArray,
    flux: NDArray,
    *,
    side: int = 256,
    fwhm: float = 4.0,
    beta: float = 3.0,
    stretch: float = 1.0,
) -> NDArray[np.float64]:
    """Draw Moffat stars [electron]; `stretch`: along x."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    rows, columns = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for a, b, f in zip(x, y, flux, strict=True):
        r2 = ((columns - a) / stretch) ** 2 + (rows - b) ** 2
        image += f * (beta - 1) / (np.pi * alpha**2 * stretch) * (1 + r2 / alpha**2) ** -beta
    return image


def scattered(rng: np.random.Generator, n: int, side: int, least: float = 24.0) -> tuple[NDArray, NDArray]:
    """Scatter places that are not near each other."""
    places: list[tuple[float, float]] = []
    while len(places) < n:
        x, y = rng.uniform(20, side - 20, 2)
        if all(np.hypot(x - a, y - b) > least for a, b in places):
            places.append((x, y))
    return np.array(places).T[0], np.array(places).T[1]


def noisy(
    rng: np.random.Generator, light: NDArray, sky: float | NDArray, read_noise: float = 5.0
) -> NDArray[np.float32]:
    """Add sky, photon noise and read noise [electron]."""
    return (rng.poisson(light + sky) + rng.normal(0, read_noise, light.shape)).astype(np.float32)


def write_raw(
    path: Path, electrons: NDArray, cards: Mapping[str, Any] | None = None, gain: float = 2.0
) -> Path:
    """Write a frame as a camera of 16 bits does; a card None is left out."""
    header = fits.Header()
    for key, value in (HEADER | dict(cards or {})).items():
        if value is not None:
            header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.clip(np.rint(electrons / gain), 0, 65535).astype(np.uint16)
    fits.writeto(path, numbers, header, overwrite=True)
    return path


def write_camera(path: Path, more: str = "", site: bool = True) -> Path:
    """Write a camera's file; `more` are further lines."""
    where = """site:
  longitude: {value: "-70:43:48", unit: deg, source: test}
  latitude: {value: "-29:15:24", unit: deg, source: test}
  height: {value: 2347, unit: m, source: test}
"""
    path.write_text(
        f"""name: {path.stem}
header:
  date: {{keywords: [DATE-OBS], time: [UT, TIME-OBS]}}
  exptime: [EXPTIME]
  type: [[IMAGETYP]]
  columns: {{FILTER: FILTER, OBJECT: OBJECT}}
amplifiers: single
frame_types:
  - {{type: BIAS, contains: [BIAS, ZERO]}}
  - {{type: FLAT, contains: [FLAT]}}
  - {{type: SCIENCE, contains: [OBJECT, LIGHT]}}
pixel_scale: {{value: 0.2, unit: arcsec/px, source: test}}
{where if site else ""}{more}""",
        encoding="utf-8",
    )
    return path
