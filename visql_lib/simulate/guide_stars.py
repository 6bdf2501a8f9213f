"""The stars of a simulated guide camera's sky, and the files a copy of Gaia would have of them.

The sky is drawn in HEALPix pixels, each with random numbers of its own, so that every frame of one seed sees
the same stars wherever it points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.archives.tiles import circle_of, cut_cone, tile_of, tiles_of
from visql_lib.simulate.guide_plan import GuideSkyOptions

EPOCH = 2016.0  # of the positions, as in Gaia DR3
NSIDE = 32  # of the files' pixels
_COUNT, _AT = 236.0, 15.6  # stars per square degree brighter than so much [G]
_SLOPE = 0.30  # growth of log10 of that per magnitude
_MAS = np.radians(1 / 3.6e6)
_YEAR = 365.25 * 86400.0
_COLOUR = (1.0, 0.35)  # mean and scatter of BP - RP [mag]
_MOTION = (12.0, 0.03, 150.0)  # mas/yr of most; share of fast ones, theirs
_PAIR = (8.0, 50.0)  # arcsec between the stars of a pair

Columns = dict[str, NDArray]


def sky_stars(options: GuideSkyOptions, seed: int, ra: float, dec: float, radius: float) -> Columns:
    """Draw the stars around a position.

    Parameters
    ----------
    options : GuideSkyOptions
    seed : int
    ra, dec, radius : float
        Centre and radius [deg].

    Returns
    -------
    dict of arrays, each of shape (n,)
        ``source_id``; ``RA``, ``DEC`` [deg] at epoch 2016.0; ``PMRA``, ``PMDEC`` [mas/yr], PMRA times
        cos(Dec); ``G``, ``BP_RP`` [mag]; ``SCATTER`` [mag], by which a star is fainter than its colour says;
        ``NO_COLOUR``, ``NO_MOTION``: whether Gaia does not know them.
    """
    return cut_cone(_joined(tiles_of(ra, dec, radius, NSIDE), options, seed), ra, dec, radius)


def no_stars() -> Columns:
    """Return the columns of no star."""
    empty = dict.fromkeys(("RA", "DEC", "PMRA", "PMDEC", "G", "BP_RP"), np.empty(0))
    return {"source_id": np.empty(0, np.int64), **empty}


def _joined(tiles: tuple[int, ...], options: GuideSkyOptions, seed: int) -> Columns:
    parts = [_tile(tile, options, seed) for tile in tiles]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@lru_cache(maxsize=256)
def _tile(tile: int, options: GuideSkyOptions, seed: int) -> Columns:
    """Draw the stars of one pixel."""
    rng = np.random.default_rng([seed, 52, tile])
    ra0, dec0, radius = circle_of(tile, NSIDE)
    cap = 2 * np.pi * np.degrees(1.0) ** 2 * (1 - np.cos(np.radians(radius)))  # square degrees
    n = int(rng.poisson(cap * options.density * _COUNT * 10 ** (_SLOPE * (options.faintest - _AT))))
    ra, dec = _in_cap(rng, ra0, dec0, radius, n)
    inside = tile_of(ra, dec, NSIDE) == tile
    ra, dec = ra[inside], dec[inside]
    # Uniform in the number of brighter stars.
    least = 10 ** (_SLOPE * (options.brightest - options.faintest))
    g = options.faintest + np.log10(rng.uniform(least, 1, len(ra))) / _SLOPE
    first = rng.random(len(ra)) < options.pairs
    angle, apart = rng.uniform(0, 2 * np.pi, first.sum()), rng.uniform(*_PAIR, first.sum()) / 3600
    dec = np.concatenate([dec, dec[first] + apart * np.sin(angle)])
    ra = np.concatenate([ra, ra[first] + apart * np.cos(angle) / np.cos(np.radians(dec[: len(ra)][first]))])
    g = np.concatenate([g, np.maximum(g[first] + rng.uniform(-0.3, 2.5, first.sum()), options.brightest)])
    return _star_columns(tile, np.mod(ra, 360), np.clip(dec, -90, 90), g, options, rng)


def _star_columns(
    tile: int, ra: NDArray, dec: NDArray, g: NDArray, options: GuideSkyOptions, rng: np.random.Generator
) -> Columns:
    n = len(ra)
    usual, share, fast = _MOTION
    speed = np.where(rng.random(n) < share, fast, usual)
    return {
        "source_id": (np.int64(tile) << 49) + np.arange(1, n + 1, dtype=np.int64),
        "RA": ra,
        "DEC": dec,
        "PMRA": speed * rng.standard_normal(n),
        "PMDEC": speed * rng.standard_normal(n) - 4,
        "G": g,
        "BP_RP": np.clip(rng.normal(*_COLOUR, n), -0.2, 3.5),
        "SCATTER": options.scatter * rng.standard_normal(n),
        "NO_COLOUR": rng.random(n) < options.without_colour,
        "NO_MOTION": rng.random(n) < options.without_motion,
    }


def _in_cap(
    rng: np.random.Generator, ra: float, dec: float, radius: float, n: int
) -> tuple[NDArray, NDArray]:
    """Draw places in a circle on the sky, all in deg."""
    cosine = rng.uniform(np.cos(np.radians(radius)), 1, n)
    turn = rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    a, d = np.radians(ra), np.radians(dec)
    towards = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    x, y, z = (
        towards[:, None] * cosine + (east[:, None] * np.cos(turn) + north[:, None] * np.sin(turn)) * sine
    )
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(np.clip(z, -1, 1)))


def moved_to(stars: Mapping[str, NDArray], date: datetime) -> tuple[NDArray, NDArray]:
    """Return RA and Dec [deg] at a date; on straight lines through space seen from far away."""
    years = (date - datetime(2016, 1, 1, 12, tzinfo=UTC)).total_seconds() / _YEAR
    a, d = np.radians(stars["RA"]), np.radians(stars["DEC"])
    east, north = (np.nan_to_num(stars[name]) * _MAS * years for name in ("PMRA", "PMDEC"))
    x = np.cos(d) * np.cos(a) - east * np.sin(a) - north * np.sin(d) * np.cos(a)
    y = np.cos(d) * np.sin(a) + east * np.cos(a) - north * np.sin(d) * np.sin(a)
    z = np.sin(d) + north * np.cos(d)
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def gaia_files(
    options: GuideSkyOptions, seed: int, circles: list[tuple[float, float, float]]
) -> Iterator[tuple[str, fits.HDUList]]:
    """Yield name and content of the files ``chunk-NNNNN.fits`` that a copy of Gaia has of some circles.

    Parameters
    ----------
    options, seed
        Of the sky.
    circles : list of (float, float, float)
        RA, Dec, radius [deg].
    """
    from astropy_healpix.healpy import nest2ring

    tiles = tuple(sorted({tile for circle in circles for tile in tiles_of(*circle, NSIDE)}))
    stars = _joined(tiles, options, seed)
    own = tile_of(stars["RA"], stars["DEC"], NSIDE)
    for tile in tiles:
        chosen = {name: values[own == tile] for name, values in stars.items()}
        yield (
            f"chunk-{nest2ring(NSIDE, np.array([tile]))[0]:05d}.fits",
            fits.HDUList([fits.PrimaryHDU(), chunk(chosen)]),
        )


def chunk(stars: Mapping[str, NDArray]) -> fits.BinTableHDU:
    """Make a table of stars as a copy of Gaia has it; colours that are not known are 0 there."""
    n = len(stars["RA"])
    colour, nothing = stars["BP_RP"], np.zeros(n, bool)
    no_colour, no_motion = stars.get("NO_COLOUR", nothing), stars.get("NO_MOTION", nothing)
    bp = np.where(no_colour, 0.0, stars["G"] + 0.45 * colour)
    values = {
        "source_id": stars["source_id"],
        "ref_epoch": np.full(n, EPOCH),
        "ra": stars["RA"],
        "dec": stars["DEC"],
        "pmra": np.where(no_motion, np.nan, stars["PMRA"]),
        "pmdec": np.where(no_motion, np.nan, stars["PMDEC"]),
        "phot_g_mean_mag": stars["G"],
        "phot_g_mean_flux_over_error": 10 ** (0.2 * (21 - stars["G"])) * 50,
        "phot_bp_mean_mag": bp,
        "phot_rp_mean_mag": np.where(no_colour, 0.0, bp - colour),
    }
    units = {"ra": "deg", "dec": "deg", "pmra": "mas/yr", "pmdec": "mas/yr", "ref_epoch": "yr"}
    columns = [
        fits.Column(
            name,
            "K" if name == "source_id" else "D",
            units.get(name, "mag" if "mag" in name else None),
            array=v,
        )
        for name, v in values.items()
    ]
    return fits.BinTableHDU.from_columns(columns)
