"""Light curves against the truth of their simulated season: the figures of accuracy, by their own code.

Nothing here is the pipeline's: tables are read, and compared with what the simulator wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.tables import Table, read_table
from visql_lib.tables.store import read_meta

MAG = 2.5 / np.log(10)  # mag per relative change of flux
_NEAR = 2.0  # px, of a star from its true place in the reference
_FALSE = 1.0  # px off: a match that is none


@dataclass(frozen=True)
class SeasonProducts:
    """What was simulated, and what was measured.

    Attributes
    ----------
    season : Path
        Folder of the simulator.
    folder : Path
        Of the set's products.
    set : str
    reference : Path
        The target's reference table.
    """

    season: Path
    folder: Path
    set: str
    reference: Path

    def truth(self, name: str) -> Table:
        """Return a table of the truth."""
        return read_table(self.season / "truth" / f"{name}.parquet")

    def table(self, name: str) -> Table:
        """Return a table of the set."""
        return read_table(self.folder / f"{name}_{self.set}.parquet")

    @property
    def reference_frame(self) -> str:
        """Name of the geometric reference."""
        meta = read_meta(self.reference)
        return str(meta.get("reference") or meta.get("frame"))


def pivot(table: Table, key: str, value: str, frames: list[str], names: list[str]) -> NDArray:
    """Return a column as an array, shape (frames, names); NaN where there is no row."""
    found = np.full((len(frames), len(names)), np.nan)
    row, column = ({n: k for k, n in enumerate(some)} for some in (frames, names))
    for frame, name, number in zip(table["FRAME"], table[key], table[value], strict=True):
        if str(frame) in row and str(name) in column:
            found[row[str(frame)], column[str(name)]] = float(number)
    return found


def by_name(table: Table, value: str, frames: list[str]) -> NDArray:
    """Return a column of a table with a row per frame, in the order of `frames`; NaN: no row."""
    known = {str(f): float(v) for f, v in zip(table["FRAME"], table[value], strict=True)}
    return np.array([known.get(f, np.nan) for f in frames])


def rms(values: NDArray) -> float:
    """Return the root mean square of what is finite."""
    return float(np.sqrt(np.nanmean(np.square(values)))) if np.isfinite(values).any() else float("nan")


def about_mean(values: NDArray) -> NDArray:
    """Return values less their mean, along frames."""
    return np.asarray(values - np.nanmean(values, axis=0))


def alignment(products: SeasonProducts) -> dict[str, Any]:
    """Compare transforms with the truth: good frames lost, false matches, residual at the bright stars.

    The places of the truth are the centres of the main Moffat, not centroids of asymmetric stars: a shift
    common to all stars of a frame is no residual, and is told by itself.
    """
    truth, found = products.truth("frames"), products.table("transforms")
    matrices = {str(f): np.reshape(m, (2, 3)) for f, m in zip(truth["FRAME"], truth["MATRIX"], strict=True)}
    faults = {str(f): str(v) for f, v in zip(truth["FRAME"], truth["FAULT"], strict=True)}
    stars = products.truth("stars")
    bright = np.isin(stars["KIND"].astype(str), ("bright", "variable"))
    sky = np.array([stars["X"][bright], stars["Y"][bright], np.ones(int(bright.sum()))], float)
    at_reference = matrices[products.reference_frame] @ sky
    residuals, shifts, aligned, false = [], [], [], []
    for frame, status, matrix in zip(found["FRAME"], found["STATUS"], found["MATRIX"], strict=True):
        if str(status) != "ok":
            continue
        place = np.vstack([matrices[str(frame)] @ sky, np.ones(sky.shape[1])])
        off = np.reshape(matrix, (2, 3)) @ place - at_reference
        aligned.append(str(frame))
        if rms(off) > _FALSE:
            false.append(str(frame))
        elif str(frame) != products.reference_frame:
            shifts.append(rms(off.mean(axis=1)))
            residuals.append(rms(off - off.mean(axis=1, keepdims=True)))
    good = [f for f, fault in faults.items() if not fault]
    return {
        "good": len(good),
        "aligned": len(set(good) & set(aligned)),
        "lost": sorted(set(good) - set(aligned)),
        "false": false,
        "faults_aligned": sorted(f"{f} ({faults[f]})" for f in set(aligned) - set(good)),
        "residual_px": (float(np.median(residuals)), float(np.max(residuals))) if residuals else (),
        "shift_px": (float(np.median(shifts)), float(np.max(shifts))) if shifts else (),
    }


def true_names(products: SeasonProducts) -> dict[str, str]:
    """Return the name of the true star of each star of the pipeline, by its place in the reference."""
    truth, stars, found = products.truth("frames"), products.truth("stars"), products.table("stars")
    k = [str(f) for f in truth["FRAME"]].index(products.reference_frame)
    sky = np.array([stars["X"], stars["Y"], np.ones(len(stars["X"]))], float)
    places = np.reshape(truth["MATRIX"][k], (2, 3)) @ sky + 1
    names = {}
    bright = np.argsort(stars["MAG"])
    for name, x, y in zip(found["STAR"], found["X"], found["Y"], strict=True):
        near = np.hypot(places[0] - x, places[1] - y)[bright] < _NEAR
        if near.any():
            names[str(name)] = str(stars["STAR"][bright[np.argmax(near)]])
    return names


def with_companion(stars: Table) -> set[str]:
    """Return the names of the stars that have a companion."""
    kinds, places = stars["KIND"].astype(str), np.array([stars["X"], stars["Y"]]).T
    hosts = set()
    for k in np.flatnonzero(kinds == "companion"):
        away = np.hypot(*(places - places[k]).T)
        away[kinds == "companion"] = np.inf
        hosts.add(str(stars["STAR"][np.argmin(away)]))
    return hosts


def dropped_stars(products: SeasonProducts) -> set[str]:
    """Return the names of the stars that the renormalisation left out."""
    meta = read_meta(products.folder / f"renorm_{products.set}.parquet")
    return {str(d["frame"]) for d in meta.get("decisions", ()) if not d["kept"]}


def star_curves(products: SeasonProducts, frames: list[str]) -> dict[str, Any]:
    """Return rms over bound of the stars, and what the worst has beyond its bound [mmag].

    Stars with a companion are told by themselves, since their light is not what the truth calls theirs; so
    are those that the renormalisation dropped.
    """
    names, truth, fluxes = true_names(products), products.truth("sources"), products.table("starfluxes")
    own = [n for n in dict.fromkeys(map(str, fluxes["STAR"])) if n in names]
    theirs = [names[n] for n in own]
    flux = pivot(fluxes, "STAR", "FLUX", frames, own)
    c = by_name(products.table("renorm"), "C", frames)[:, None]
    true = pivot(truth, "SOURCE", "FLUX", frames, theirs)
    bound = pivot(truth, "SOURCE", "BOUND", frames, theirs) / true
    mags = pivot(truth, "SOURCE", "MAG", frames, theirs)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = about_mean(-2.5 * np.log10(flux * c) - mags)
    residual[~np.isfinite(bound)] = np.nan
    bound[~np.isfinite(residual)] = np.nan
    ratios: dict[str, float] = {}
    beyond: dict[str, float] = {}
    others: dict[str, float] = {}
    hosts, dropped = with_companion(products.truth("stars")), dropped_stars(products)
    for k, name in enumerate(own):
        if np.isfinite(residual[:, k]).sum() < 3:
            continue
        least = MAG * rms(bound[:, k])
        if theirs[k] in hosts or name in dropped:
            others[f"{name}={theirs[k]}"] = rms(residual[:, k]) / least
            continue
        ratios[f"{name}={theirs[k]}"] = rms(residual[:, k]) / least
        beyond[f"{name}={theirs[k]}"] = 1e3 * np.sqrt(max(rms(residual[:, k]) ** 2 - least**2, 0.0))
    return {
        "n": len(ratios),
        "median": float(np.median(list(ratios.values()))) if ratios else float("nan"),
        "ratios": ratios,
        "left_out": others,
        "worst_beyond_mmag": max(beyond.values(), default=float("nan")),
    }


def target_curves(products: SeasonProducts, sources: list[str], frames: list[str]) -> dict[str, Any]:
    """Return the figures of the point sources: by frame, by night, pulls, zero points, slopes, amplitudes."""
    truth, found = products.truth("sources"), products.table("target")
    c, c_err = (by_name(products.table("renorm"), n, frames)[:, None] for n in ("C", "C_ERR"))
    flux, err, common = (pivot(found, "SOURCE", n, frames, sources) for n in ("FLUX", "ERR", "ERR_COMMON"))
    true, bound, mags = (pivot(truth, "SOURCE", n, frames, sources) for n in ("FLUX", "BOUND", "MAG"))
    with np.errstate(invalid="ignore", divide="ignore"):
        off = -2.5 * np.log10(flux * c) - mags
        error = MAG * np.hypot(err / flux, c_err)
    residual = about_mean(off)
    least = np.where(np.isfinite(residual), MAG * bound / true, np.nan)
    seeing = by_name(products.truth("frames"), "SEEING", frames)
    zero = np.nanmean(off, axis=0) - np.nanmean(off, axis=0)[0]
    shared = MAG * np.nanmedian(common / flux, axis=0)
    out: dict[str, Any] = {"frames": int(np.isfinite(off).all(axis=1).sum())}
    for k, name in enumerate(sources):
        fine = np.isfinite(residual[:, k])
        out[name] = {
            "rms_mmag": 1e3 * rms(residual[:, k]),
            "bound_mmag": 1e3 * rms(least[:, k]),
            "ratio": rms(residual[:, k]) / rms(least[:, k]),
            "pull": float(np.nanstd(residual[:, k] / error[:, k])),
            "zero_mmag": 1e3 * float(zero[k]),
            "common_mmag": 1e3 * float(shared[k]),
            "slope_mmag_per_arcsec": 1e3 * float(np.polyfit(seeing[fine], residual[fine, k], 1)[0]),
            "amplitude": float(np.polyfit(mags[fine, k], (off + mags)[fine, k], 1)[0]),
        }
    return out


def night_curves(products: SeasonProducts, sources: list[str], good: list[str]) -> dict[str, Any]:
    """Return rms by night against the mean true magnitude of its good frames [mmag], and the bound."""
    truth, frames, nights = products.truth("sources"), products.truth("frames"), products.table("nights")
    night_of = {str(f): str(n) for f, n in zip(frames["FRAME"], frames["NIGHT"], strict=True)}
    mags, flux, bound = (pivot(truth, "SOURCE", n, good, sources) for n in ("MAG", "FLUX", "BOUND"))
    own = np.array([night_of[f] for f in good])
    out: dict[str, Any] = {}
    for k, name in enumerate(sources):
        rows = [i for i, s in enumerate(nights["SOURCE"]) if str(s) == name]
        off, least = [], []
        for i in rows:
            inside = own == str(nights["NIGHT"][i])
            if inside.any():
                off.append(float(nights["MAG"][i]) - np.mean(mags[inside, k]))
                least.append(MAG / np.sqrt(np.sum((flux[inside, k] / bound[inside, k]) ** 2)))
        values = np.array(off)
        out[name] = {
            "n": len(off),
            "rms_mmag": 1e3 * rms(about_mean(values)) if off else float("nan"),
            "bound_mmag": 1e3 * rms(np.array(least)) if off else float("nan"),
        }
    return out
