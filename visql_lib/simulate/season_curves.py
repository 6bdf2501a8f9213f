"""What changes in a simulated season: the source behind the lens, variable stars, the nights' air."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visql_lib.simulate.season_plan import SeasonImageOptions, SeasonOptions
from visql_lib.simulate.season_psf import MoffatPart, SeasonPsf

_YEAR = 365.25  # d
_PERIODS = 25.0, 400.0  # d, of the source
_WAVES = 24
_MJD_OF_1970 = 40587.0
_JD_OF_MJD = 2400000.5
_DEGREES_A_DAY = 360.985647  # of the sky
_HOUR_ANGLES = -20.0, 5.0  # deg, at the beginning of nights


@dataclass(frozen=True)
class SourceCurve:
    """The light of the source behind the lens: waves whose height grows with their period.

    Attributes
    ----------
    period, phase, height : array, shape (n,)
        Of the waves [d, rad, mag].
    middle : float
        Middle of the season [MJD].
    mean : float
        Of the waves over the season [mag]: taken off.
    """

    period: NDArray
    phase: NDArray
    height: NDArray
    middle: float
    mean: float = 0.0

    def magnitude(self, mjd: ArrayLike, image: SeasonImageOptions) -> NDArray:
        """Return the magnitude of an image of it at times [MJD]."""
        when = np.asarray(mjd, float)[..., None] - image.delay - self.middle
        waves = (self.height * np.sin(2 * np.pi * when / self.period + self.phase)).sum(axis=-1)
        drift = image.slope * (np.asarray(mjd, float) - self.middle) / _YEAR
        return np.asarray(image.mag + waves - self.mean + drift)


def source_curve(options: SeasonOptions, times: NDArray) -> SourceCurve:
    """Draw the source's light; its rms at times [MJD] is that of the options."""
    rng = np.random.default_rng([options.seed, 51])
    period = np.geomspace(*_PERIODS, _WAVES)
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    height = period * rng.rayleigh(1.0, _WAVES)
    middle = float((times.min() + times.max()) / 2)
    grid = np.linspace(times.min(), max(times.max(), times.min() + 1), 200)
    raw = SourceCurve(period, phase, height, middle).magnitude(grid, SeasonImageOptions(mag=0.0))
    factor = options.target.variability / max(float(raw.std()), 1e-9)
    return SourceCurve(period, phase, height * factor, middle, float(raw.mean()) * factor)


@dataclass(frozen=True)
class SeasonExposure:
    """A frame: when, through what air, and where it looked.

    Attributes
    ----------
    number : int
        From 1.
    night : str
        YYYYMMDD of its evening.
    start : datetime
        UTC.
    exptime : float
        s.
    psf : SeasonPsf
    transparency : float
        Share of the light that comes through.
    sky : float
        At the frame's middle [electron/px].
    slope : (float, float)
        Its change from border to border along x and y, relative.
    matrix : array, shape (2, 3)
        From the plane of the sky [px from the target, at the nominal scale] to zero-based pixels.
    fault : str
        What went wrong; "": nothing.
    """

    number: int
    night: str
    start: datetime
    exptime: float
    psf: SeasonPsf
    transparency: float
    sky: float
    slope: tuple[float, float]
    matrix: NDArray
    fault: str = ""

    @property
    def name(self) -> str:
        """Name of the frame: night and number."""
        return f"{self.night}_{self.number:04d}"

    @property
    def mjd(self) -> float:
        """Middle of the exposure, UTC."""
        return mjd_of_time(self.start) + self.exptime / 2 / 86400

    @property
    def turn(self) -> float:
        """Turn from the plane of the sky to the frame [deg], -180 to 180."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def scale(self) -> float:
        """Pixels of the frame over pixels of the plane of the sky."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def place(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
        """Return zero-based pixels of places in the plane of the sky."""
        u, v = self.matrix[:, :2] @ np.array([np.ravel(x), np.ravel(y)]) + self.matrix[:, 2:]
        return u.reshape(np.shape(x)), v.reshape(np.shape(y))


def mjd_of_time(moment: datetime) -> float:
    """Return the day number of a time, UTC."""
    return _MJD_OF_1970 + moment.timestamp() / 86400


def exposures_of_season(options: SeasonOptions) -> tuple[SeasonExposure, ...]:
    """Draw the frames in the order of time."""
    found: list[SeasonExposure] = []
    faults = {fault.frame: fault.kind for fault in options.faults}
    air, camera = options.air, options.camera
    for night in range(options.nights):
        rng = np.random.default_rng([options.seed, 52, night])
        evening = options.start + timedelta(days=round(options.cadence * night))
        start = time_of_hour_angle(options, evening, float(rng.uniform(*_HOUR_ANGLES)))
        seeing, flipped = rng.uniform(*air.seeing), rng.uniform() < air.flips
        for _ in range(options.frames):
            number = len(found) + 1
            fwhm = np.clip(seeing * np.exp(rng.normal(0, air.jitter)), *air.seeing) / camera.scale
            exposure = SeasonExposure(
                number=number,
                night=f"{evening:%Y%m%d}",
                start=start,
                exptime=camera.exptime,
                psf=_psf(options, float(fwhm), rng),
                transparency=float(rng.uniform(*air.transparency)),
                sky=float(rng.uniform(*air.sky)),
                slope=(float(rng.normal(0, air.slope)), float(rng.normal(0, air.slope))),
                matrix=_matrix(options, flipped, rng),
                fault=faults.get(number, ""),
            )
            found.append(exposure)
            start += timedelta(seconds=camera.exptime + options.overhead)
    return tuple(found)


def time_of_hour_angle(options: SeasonOptions, evening: date, hour_angle: float) -> datetime:
    """Return when, from local noon to the next, the target has an hour angle [deg]; whole seconds."""
    import erfa

    longitude = options.camera.longitude
    noon = datetime.combine(evening, time(12), UTC) - timedelta(hours=longitude / 15)
    sidereal = np.degrees(erfa.gmst82(_JD_OF_MJD, mjd_of_time(noon))) + longitude
    wait = (options.target.ra + hour_angle - sidereal) % 360 / _DEGREES_A_DAY
    return (noon + timedelta(days=float(wait))).replace(microsecond=0)


def _psf(options: SeasonOptions, fwhm: float, rng: np.random.Generator) -> SeasonPsf:
    """Draw the image of a star: a Moffat, and a narrower one beside it."""
    air, camera = options.air, options.camera
    beta = rng.uniform(*air.beta)
    e1, e2, f1, f2 = np.clip(rng.normal(0, max(air.ellipticity, 1e-12), 4), -0.3, 0.3)
    share = air.asymmetry * rng.uniform(0.6, 1.4)
    side, away = rng.normal(0.6, 0.5), 0.45 * fwhm * rng.uniform(0.8, 1.2)
    parts = (
        MoffatPart(1 - share, fwhm, e1, e2, beta),
        MoffatPart(share, 0.8 * fwhm, f1, f2, 3.0, float(away * np.cos(side)), float(away * np.sin(side))),
    )
    reach = camera.columns / 2
    return SeasonPsf(parts if share else parts[:1], air.gradient, reach - 0.5, reach)


def _matrix(options: SeasonOptions, flipped: bool, rng: np.random.Generator) -> NDArray:
    """Draw where a frame looks."""
    air, camera = options.air, options.camera
    angle = np.radians(rng.normal(0, air.turn) + (180 if flipped else 0))
    scale = 1 + rng.normal(0, air.scale)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(camera.columns - 1) / 2, (camera.rows - 1) / 2])
    return np.column_stack([turn, middle + rng.normal(0, air.shift, 2)])
