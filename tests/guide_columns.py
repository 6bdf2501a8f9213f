"""Columns of a frame of a guide camera as measuring gives them, with known truth; for tests of its products."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from visql_lib.flags import GuideStarFlag
from visql_lib.pipelines.pointing.schemas import SKY, STREAKS, ZEROPOINTS, catalog_schema

ZP, SCATTER = 17.58, 0.03
SHAPE = (2472, 3296)
STEM = "20210611.221335.00012_20000"
START = datetime(2021, 6, 12, 5, 13, 35, tzinfo=UTC)


class LinearSky:
    """A WCS without a sky: 0.0024 deg per pixel."""

    ctype = "RA---TAN-SIP"

    def to_sky(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        return 200 + 0.0024 * x, 30 + 0.0024 * y


def raw_cards() -> fits.Header:
    """Cards of a raw frame, odd ones too."""
    cards = [
        *(
            "SIMPLE  =                    T",
            "BITPIX  =                   16",
            "NAXIS   =                    2",
        ),
        *(
            "NAXIS1  =                 3296",
            "NAXIS2  =                 2472",
            "BZERO   =                32768",
        ),
        *("EXPOSURE=                20000 / [ms]", "DATE    = '2021/06/11'", "TIME    = '22:13:35'"),
        *("OBSERVER= 'O''Neil'", "CRVAL1  =                 12.5", "CRVAL2  =                 -3.5"),
        *("A_ORDER =                    2", "HISTORY read out slowly", "VERYBAD = 3.4.5 / a number?"),
    ]
    return fits.Header.fromstring("".join(card.ljust(80) for card in cards))


@dataclass
class Frame:
    """What products need of a frame."""

    path: Path = Path(f"{STEM}.fits")
    stem: str = STEM
    cards: fits.Header = field(default_factory=raw_cards)
    exptime: float = 20.0
    start: datetime | None = START
    mjd: float = 59377.2178
    night: str = "20210611"
    wcs: Any = field(default_factory=LinearSky)
    wcs_file: Path | None = None


@dataclass
class Columns:
    """What is measured of a frame."""

    image: NDArray
    catalog: dict[str, NDArray]
    zeropoints: dict[str, NDArray]
    sky: dict[str, NDArray]


@dataclass
class Found:
    """The streaks of a frame."""

    columns: dict[str, NDArray]
    timed_out: bool = False


def catalog(n: int = 3000, apertures: int = 7, flagged: float = 0.2, seed: int = 1) -> dict[str, NDArray]:
    """Stars on the line of the zero point; of those that are flagged the fluxes are wrong."""
    random = np.random.default_rng(seed)
    schema = catalog_schema(apertures)
    columns: dict[str, Any] = {c.name: np.zeros((n, c.size) if c.size else n) for c in schema.columns}
    g = 15.2 - random.exponential(1.2, n)
    columns["SOURCE_ID"] = 10**18 + np.arange(n)
    columns["PHOT_G_MEAN_MAG"], columns["G_PRIME"], columns["BP_RP"] = g, g + 0.2, np.full(n, 0.8)
    x, y = random.uniform(1, SHAPE[1] - 2, n), random.uniform(1, SHAPE[0] - 2, n)
    dx, dy = random.normal(0.3, 0.08, n), random.normal(-0.2, 0.08, n)
    columns |= {"x_gaia_guess": x, "y_gaia_guess": y, "xcentroid": x + dx, "ycentroid": y + dy}
    columns |= {"x_shift": dx, "y_shift": dy}
    kinds = [f for f in GuideStarFlag if f != GuideStarFlag.NO_COLOUR]
    flags = np.where(random.random(n) < flagged, random.choice(kinds, n), 0)
    wrong = (flags & GuideStarFlag.left_out()) != 0
    noise = SCATTER * 10 ** (0.2 * (g - 12)) * random.normal(size=(apertures, n)) * 0.3
    m = columns["G_PRIME"] - ZP + noise + np.where(wrong, random.normal(0, 0.6, n), 0)
    columns["m_inst"], columns["flags"] = m.T, flags
    columns["flux_adu"] = 20 * 10 ** (-0.4 * m.T)
    columns["radius_pix"] = np.hypot(x - (SHAPE[1] - 1) / 2, y - (SHAPE[0] - 1) / 2)
    columns["in_science_fov"] = columns["radius_pix"] < 665.49217
    columns["quadrant"] = np.where(y > 1235.5, np.where(x > 1647.5, 1, 2), np.where(x > 1647.5, 4, 3))
    return schema.cast(columns)


def zeropoints(stars: dict[str, NDArray], zp: float = ZP, dome: bool = False) -> dict[str, NDArray]:
    """Rows in their order: quadrants 0 to 4 by aperture, then the science circle."""
    apertures = stars["flux_adu"].shape[1]
    good = (stars["flags"] & GuideStarFlag.left_out()) == 0
    rows = []
    for only, quadrants in ((False, range(5)), (True, (0,))):
        for quadrant in quadrants:
            of = good & (
                stars["in_science_fov"] if only else np.isin(stars["quadrant"], quadrant or (1, 2, 3, 4))
            )
            n = int(np.count_nonzero(of))
            rows += [
                {
                    **{"quadrant": quadrant, "aper_ind": k, "zp_adu_per_s": zp if n else np.nan},
                    **{"n_sources_for_zp": n, "time_seconds": 20.0, "robust_sigma_mag": SCATTER},
                    **{"fname_raw": f"{STEM}.fits", "science_fov_only": only, "obs_night": "20210611"},
                    **{"zp_err": 0.0012 if n else np.nan, "has_dome": dome, "max_zp_radius": 99999.0},
                }
                for k in range(apertures)
            ]
    return ZEROPOINTS.of_rows(rows)


def measured(
    n: int = 3000, apertures: int = 7, dome: bool = False, shape: tuple[int, int] = (80, 120)
) -> Columns:
    """All that is measured of a frame; the image is small."""
    stars = catalog(n, apertures)
    sky = SKY.of_rows(
        [{"time_seconds": 20.0, "fname_raw": f"{STEM}.fits", "has_dome": dome, "flags": int(dome)}]
    )
    image = np.random.default_rng(2).normal(64, 5, shape).astype(np.float32)
    return Columns(image, stars, zeropoints(stars, dome=dome), sky)


def streaks(*ends: tuple[float, float, float, float], timed_out: bool = False) -> Found:
    """Streaks between given ends."""
    found = STREAKS.of_rows(
        {"X1": a, "Y1": b, "X2": c, "Y2": d, "LENGTH": np.hypot(c - a, d - b), "SIGNIFICANCE": 20.0}
        for a, b, c, d in ends
    )
    return Found(
        {k: v for k, v in found.items() if k not in ("RA1", "RA2", "DEC1", "DEC2", "TIMED_OUT")}, timed_out
    )
