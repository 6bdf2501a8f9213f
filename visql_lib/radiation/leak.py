"""At which angles to the Sun X-rays reach the detectors, and how many per unit of its flux."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visql_lib.config import RadiationSettings
from visql_lib.flags import RadiationFlag
from visql_lib.instruments.model import Instrument
from visql_lib.radiation.maps import Grid, bin_area

ANGLE_BIN = 1.0  # deg
SMALLEST = 3  # bins of the map: the smallest part that can be found lit
ANGLE_COLUMNS = ("SAA", "ALPHA", "GOES_FLUX")
_ALL: tuple[float, float] = (0.0, math.inf)


@dataclass(frozen=True)
class Leakage:
    """Solar X-rays of exposures, arrays of shape (n,) [cm-2 s-1, averaged over all detectors].

    Attributes
    ----------
    rate, error : arrays
        0 and 0 where nothing is lit; NaN where it is not known.
    limit : array
        The faintest that would have been found; NaN where it is not known.
    """

    rate: NDArray[np.floating]
    error: NDArray[np.floating]
    limit: NDArray[np.floating]

    @property
    def lit(self) -> NDArray[np.bool_]:
        """Exposures with a lit part."""
        return self.rate > 0


def with_angles(exposures: Mapping[str, NDArray], angles: Mapping[str, NDArray] | None) -> dict[str, NDArray]:
    """Return exposures with SAA, ALPHA [deg] and GOES_FLUX [W m-2] of a table of angles.

    Parameters
    ----------
    exposures : mapping of arrays, shape (n,)
        At least EXPOSURE.
    angles : mapping of arrays, optional
        EXPOSURE, SAA, ALPHA, GOES_FLUX; NaN for exposures that it does not hold.
    """
    names = np.asarray(exposures["EXPOSURE"], dtype=np.str_).tolist()
    found = {column: np.full(len(names), np.nan) for column in ANGLE_COLUMNS}
    if angles is not None:
        rows = {name: i for i, name in enumerate(np.asarray(angles["EXPOSURE"], dtype=np.str_).tolist())}
        at = np.array([rows.get(name, -1) for name in names], dtype=np.intp)
        for column in ANGLE_COLUMNS:
            found[column][at >= 0] = np.asarray(angles[column], dtype=float)[at[at >= 0]]
    return {**exposures, **found}


def leakage(exposures: Mapping[str, NDArray], settings: RadiationSettings, instrument: Instrument) -> Leakage:
    """Return the solar X-rays of exposures, averaged over all their detectors.

    Where nothing is lit, the limit is what three bins of the map would hold, each
    as bright as a lit bin must be.

    Parameters
    ----------
    exposures : mapping of arrays, shape (n,)
        Rows of MONTH_RADIATION.
    settings : RadiationSettings
        Bins of the map, and how bright a lit bin is.
    instrument : Instrument
        Its readout time and scale.
    """
    area, exptime = (np.asarray(exposures[n], dtype=float) for n in ("AREA", "EXPTIME"))
    exposure = area * (exptime + instrument.detector.readout_time / 2)  # cm2 s
    unseen = np.asarray(exposures["FLAGS"]) & (RadiationFlag.NO_DETECTION | RadiationFlag.NO_TIME) != 0
    exposure = np.where(unseen | ~(exposure > 0), np.nan, exposure)
    area = np.where(area > 0, area, np.nan)
    lit_area = np.nan_to_num(np.asarray(exposures["LIT_AREA"], dtype=float))
    lit = lit_area > 0
    share = np.where(lit, lit_area, 0.0) / area
    rate, error = (np.asarray(exposures[n], dtype=float) for n in ("LIT_RATE", "LIT_RATE_ERR"))
    whole = bin_area(Grid.of("xray", settings, instrument.nominal_pixel), instrument)
    in_bin = np.maximum(np.asarray(exposures["N_XRAY"], dtype=float) / area * whole, 1.0)
    limit = SMALLEST * settings.lit_sigma * np.sqrt(in_bin) / exposure
    known = np.isfinite(exposure)
    return Leakage(
        np.where(known, np.where(lit, rate * share, 0.0), np.nan),
        np.where(known, np.where(lit, error * share, 0.0), np.nan),
        limit,
    )


def leak_table(
    exposures: Mapping[str, NDArray], settings: RadiationSettings, instrument: Instrument
) -> dict[str, NDArray]:
    """Bin exposures in angles to the Sun and in its X-ray flux.

    Parameters
    ----------
    exposures : mapping of arrays, shape (n,)
        Rows of MONTH_RADIATION `with_angles`.
    settings : RadiationSettings
    instrument : Instrument

    Returns
    -------
    dict of arrays, shape (m,)
        Columns of LEAK (docs/tables.md), only bins with exposures: each bin of SAA
        and ALPHA with all fluxes first, then by decade of the flux.
    """
    found = leakage(exposures, settings, instrument)
    saa, alpha, flux = (np.asarray(exposures[n], dtype=float) for n in ANGLE_COLUMNS)
    known = np.isfinite(found.rate) & np.isfinite(saa) & np.isfinite(alpha) & (flux > 0)
    lit_area = np.asarray(exposures["LIT_AREA"], dtype=float)
    rows = [
        cell | _cell(flux[members], lit_area[members], _part(found, members))
        for cell, members in _cells(saa, alpha, flux, np.flatnonzero(known))
    ]
    names = rows[0] if rows else _cell(np.empty(0), np.empty(0), _part(found, np.empty(0, dtype=np.intp)))
    columns = [*("SAA_MIN", "SAA_MAX", "ALPHA_MIN", "ALPHA_MAX", "FLUX_MIN", "FLUX_MAX"), *names]
    return {name: np.array([row[name] for row in rows]) for name in dict.fromkeys(columns)}


def _part(found: Leakage, members: NDArray[np.intp]) -> Leakage:
    return Leakage(found.rate[members], found.error[members], found.limit[members])


def _cells(
    saa: NDArray, alpha: NDArray, flux: NDArray, rows: NDArray[np.intp]
) -> Iterator[tuple[dict[str, float], NDArray[np.intp]]]:
    """Yield the bins with exposures, and their exposures."""
    keys = [np.floor(values[rows] / ANGLE_BIN).astype(int) for values in (saa, alpha)]
    decade = np.floor(np.log10(flux[rows]) + 1e-9).astype(int)
    for i, j in sorted(set(zip(*(key.tolist() for key in keys), strict=True))):
        here = (keys[0] == i) & (keys[1] == j)
        ends = {
            "SAA_MIN": i * ANGLE_BIN,
            "SAA_MAX": (i + 1) * ANGLE_BIN,
            "ALPHA_MIN": j * ANGLE_BIN,
            "ALPHA_MAX": (j + 1) * ANGLE_BIN,
        }
        yield ends | {"FLUX_MIN": _ALL[0], "FLUX_MAX": _ALL[1]}, rows[here]
        for d in np.unique(decade[here]).tolist():
            fluxes = {"FLUX_MIN": 10.0**d, "FLUX_MAX": 10.0 ** (d + 1)}
            yield ends | fluxes, rows[here & (decade == d)]


def _cell(flux: NDArray, lit_area: NDArray, found: Leakage) -> dict[str, float]:
    """Return the leakage of the exposures of one bin: ratio of means, or the most telling upper limit."""
    n, n_lit = len(flux), int(found.lit.sum())
    values: dict[str, float] = {"N_EXPOSURES": n, "N_LIT": n_lit}
    values |= {"GOES_FLUX": float(flux.mean()) if n else math.nan, "DETECTED": n_lit > 0}
    if n_lit == 0:
        limit = float(np.min(found.limit / flux)) if n else math.nan
        unknown = dict.fromkeys(("LIT_AREA", "LEAK_RATE_ERR", "RATIO", "RATIO_ERR"), math.nan)
        return values | {"LEAK_RATE": 0.0, "RATIO_LIMIT": limit} | unknown
    total, rate = float(flux.sum()), float(found.rate.sum())
    poisson = float(np.sqrt((found.error**2).sum()))
    # Poisson's errors are small; how many X-rays come in at one flux differs more than that.
    scatter = (
        math.sqrt(float(((found.rate - rate / total * flux) ** 2).sum()) * n / (n - 1)) if n > 1 else 0.0
    )
    return values | {
        "LIT_AREA": float(lit_area[found.lit].mean()),
        "LEAK_RATE": rate / n,
        "LEAK_RATE_ERR": math.hypot(poisson, float(np.std(found.rate)) * math.sqrt(n)) / n,
        "RATIO": rate / total,
        "RATIO_ERR": math.hypot(poisson, scatter) / total,
        "RATIO_LIMIT": math.nan,
    }
