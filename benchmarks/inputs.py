"""Images to compare on: simulated exposures, a crowded star field, a field of galaxies. All are seeded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import simulate
from numpy.typing import NDArray

from visql_lib.frames import load_instrument, open_exposure
from visql_lib.simulate.optics import PsfModel, psf_model
from visql_lib.simulate.render import Patch, add_stars

KINDS = {
    "exposure": "simulated long exposure, a CCD of the middle; quadrants E and G",
    "storm": "the same with ten times the cosmic rays",
    "stars": "20000 stars a quadrant down to 500 ADU, N(>F) as F^-0.9 up to 2e6 ADU, VIS PSF, no cosmic rays",
    "galaxies": "4000 Sersic profiles a quadrant, n 0.5-4, half-light radii 1-15 px, axis ratios 0.2-1, "
    "N(>F) as F^-0.9 from 400 ADU to 1e6 ADU, VIS PSF, no cosmic rays",
}
_LEVEL, _SKY, _GAIN, _READ_NOISE = 2646.0, 84.0, 3.45, 4.4  # ADU, ADU, electron/ADU, electron
_PLACES = ((-0.05, -0.05), (0.3, 0.3))  # deg in the focal plane, whose PSF the two quadrants have
_TEMPLATES = 150


def images(kind: str, size: tuple[int, int] = (2066, 2048)) -> Iterator[NDArray]:
    """Yield two images [ADU, uint16, axis order (y, x)] of a kind; `size` is not for simulated exposures."""
    if kind in ("exposure", "storm"):
        yield from _exposure("--cosmics", "10" if kind == "storm" else "1")
        return
    for number, place in enumerate(_PLACES):
        rng = np.random.default_rng([number, len(kind)])
        psf = psf_model(load_instrument("euclid_vis"), 0.0, 0.0)
        signal = np.full(size, _SKY, dtype=np.float32)
        share = size[0] * size[1] / (2066 * 2048)
        if kind == "stars":
            _add_stars(signal, psf, place, rng, round(20000 * share))
        else:
            _add_galaxies(signal, psf, place, rng, round(4000 * share))
        yield _read_out(signal, rng)


def _exposure(*options: str) -> Iterator[NDArray]:
    instrument = load_instrument("euclid_vis")
    with TemporaryDirectory() as folder:
        raw, _ = simulate(Path(folder), "3-3", *options)
        for name in ("3-3.E", "3-3.G"):
            with open_exposure(raw, instrument) as exposure:
                yield np.array(exposure[name].image)


def _fluxes(rng: np.random.Generator, n: int, limits: tuple[float, float], slope: float) -> NDArray:
    """Draw fluxes whose number above F falls as F^-slope between two limits."""
    faint, bright = limits
    cut = 1 - (bright / faint) ** -slope
    return faint * (1 - cut * rng.random(n)) ** (-1 / slope)


def _add_stars(
    signal: NDArray, psf: PsfModel, place: tuple[float, float], rng: np.random.Generator, n: int
) -> None:
    rows, columns = signal.shape
    x, y = rng.uniform(0.5, columns + 0.5, n), rng.uniform(0.5, rows + 0.5, n)
    flux = _fluxes(rng, n, (500, 2e6), 0.9)
    add_stars(Patch(signal, (0, 0)), psf, x, y, flux, np.full(n, place[0]), np.full(n, place[1]))


def _add_galaxies(
    signal: NDArray, psf: PsfModel, place: tuple[float, float], rng: np.random.Generator, n: int
) -> None:
    templates = [_galaxy(psf, place, rng) for _ in range(_TEMPLATES)]
    flux = _fluxes(rng, n, (400, 1e6), 0.9)
    rows, columns = signal.shape
    for k in range(n):
        stamp = templates[rng.integers(_TEMPLATES)][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        half = stamp.shape[0] // 2
        i, j = int(rng.integers(columns)), int(rng.integers(rows))
        y0, y1, x0, x1 = (
            max(j - half, 0),
            min(j + half + 1, rows),
            max(i - half, 0),
            min(i + half + 1, columns),
        )
        part = stamp[y0 - j + half : y1 - j + half, x0 - i + half : x1 - i + half]
        signal[y0:y1, x0:x1] += np.float32(flux[k]) * part


def _galaxy(psf: PsfModel, place: tuple[float, float], rng: np.random.Generator) -> NDArray:
    """Draw one galaxy of unit flux, convolved with the PSF of a place."""
    import galsim

    radius = 10 ** rng.uniform(0, np.log10(15))  # px
    profile = galsim.Sersic(rng.uniform(0.5, 4), half_light_radius=radius * psf.scale, trunc=0)
    profile = profile.shear(q=rng.uniform(0.2, 1), beta=rng.uniform(0, 180) * galsim.degrees)
    side = 2 * int(np.ceil(12 + 6 * radius)) + 1
    image = galsim.Convolve(profile, psf.node_profile(*place)).drawImage(
        nx=side, ny=side, scale=psf.scale, offset=rng.uniform(-0.5, 0.5, 2), method="no_pixel"
    )
    return np.maximum(image.array, 0).astype(np.float32)


def _read_out(signal: NDArray, rng: np.random.Generator) -> NDArray:
    electrons = rng.poisson(signal * _GAIN) + rng.normal(0, _READ_NOISE, signal.shape)
    return np.clip(np.rint(_LEVEL + electrons / _GAIN), 0, 65535).astype(np.uint16)
