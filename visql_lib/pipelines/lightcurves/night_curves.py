"""The curves of the point sources of a set by frame, before it is decided which frames count."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visql_lib.flags import StarFlag
from visql_lib.photometry.aperture_curve import aperture_curve
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.exporting import APERTURE
from visql_lib.pipelines.lightcurves.settings.curves import NightSettings
from visql_lib.pipelines.lightcurves.status import LightStatus
from visql_lib.tables.store import Table, read_meta, read_table
from visql_lib.values import number

log = logging.getLogger(__name__)

_SPOILT = StarFlag.SATURATED | StarFlag.COSMIC  # sums that are there, but wrong
_WHY = {
    StarFlag.OUTSIDE: "its aperture reaches over the border of the frame",
    StarFlag.BAD_PIXELS: "bad pixels in its aperture",
    StarFlag.SATURATED: "a saturated pixel in its aperture",
    StarFlag.COSMIC: "a cosmic ray in its aperture",
}


@dataclass(frozen=True, eq=False)
class FrameCurve:
    """One source in all frames of a set, by the number of the frame; NaN where it was not measured.

    Attributes
    ----------
    name : str
    flux, err, err_common, coeff, coeff_err, chi2 : array, shape (n,)
        As in the table FLUXES.
    lost : mapping
        Frame -> why it was not measured there, where this is known.
    """

    name: str
    flux: NDArray
    err: NDArray
    err_common: NDArray
    chi2: NDArray
    coeff: NDArray
    coeff_err: NDArray
    lost: Mapping[str, str]


class CurveFrames:
    """The frames of a set that can be measured, with their coefficients and quality."""

    def __init__(self, tables: Mapping[str, Path], settings: NightSettings) -> None:
        everything = read_table(tables["frames"])
        ok = np.flatnonzero(everything["STATUS"] == LightStatus.OK)
        order = ok[np.argsort(everything["MJD"][ok], kind="stable")]
        self.table = {name: values[order] for name, values in everything.items()}
        self.names = [str(name) for name in self.table["FRAME"]]
        self.number = {name: i for i, name in enumerate(self.names)}
        renorm = read_table(tables["renorm"])
        self.coeff = self.spread(renorm["FRAME"], renorm["C"])
        self.coeff_err = self.spread(renorm["FRAME"], renorm["C_ERR"])
        scale = self.table["SEEING"]
        self.in_px = not np.isfinite(scale).any()
        self.seeing = self.table["SEEING_PX"] if self.in_px else scale
        self.unit = "px" if self.in_px else "arcsec"
        self.per_unit = 1 / settings.pixel if self.in_px else 1.0
        self.sky = self.table["SKY"] * self.coeff
        self.not_aligned = _lost(tables["transforms"])
        self.not_fitted = {d.frame: d.reason for d in from_meta(read_meta(tables["target"])) if not d.kept}
        if "psf" in tables:
            self.not_fitted |= _lost(tables["psf"])

    def __len__(self) -> int:
        return len(self.names)

    def spread(self, frames: NDArray, values: NDArray) -> NDArray[np.float64]:
        """Return values by the number of their frame; NaN for frames without one."""
        found = np.full(len(self), np.nan)
        for name, value in zip(frames, values, strict=True):
            if (i := self.number.get(str(name))) is not None:
                found[i] = value
        return found

    @cached_property
    def time(self) -> NDArray:
        """MHJD, or MJD where the place of the target is not known [d]."""
        heliocentric: NDArray = self.table["MHJD"]
        return np.where(np.isfinite(heliocentric), heliocentric, self.table["MJD"])


def _lost(path: Path) -> dict[str, str]:
    """Return the frames that a table calls other than ok, with status and reason."""
    table = read_table(path, ["FRAME", "STATUS", "REASON"])
    ok = set(table["FRAME"][table["STATUS"] == LightStatus.OK])  # with one set of PSF stars of several
    rows = zip(table["FRAME"], table["STATUS"], table["REASON"], strict=True)
    return {
        str(frame): f"{status}: {reason}".rstrip(": ") for frame, status, reason in rows if frame not in ok
    }


def scene_curves(frames: CurveFrames, path: Path, sums: Mapping[str, Sequence[str]]) -> Iterator[FrameCurve]:
    """Yield the curves of the point sources and of sums of them, with their full covariance."""
    table = read_table(path)
    names = [str(n) for n in read_meta(path).get("sources") or dict.fromkeys(map(str, table["SOURCE"]))]
    shape = (len(frames), len(names))
    flux, err, common, chi2 = (np.full(shape, np.nan) for _ in range(4))
    own, shared = (np.full((*shape, len(names)), np.nan) for _ in range(2))
    column = {name: k for k, name in enumerate(names)}
    together = "COVARIANCE_COMMON" if "COVARIANCE_COMMON" in table else ""
    for row, (frame, source) in enumerate(zip(table["FRAME"], table["SOURCE"], strict=True)):
        i, k = frames.number.get(str(frame)), column[str(source)]
        if i is None:
            continue
        flux[i, k], err[i, k] = table["FLUX"][row], table["ERR"][row]
        common[i, k], chi2[i, k] = table["ERR_COMMON"][row], table["CHI2"][row]
        own[i, k] = table["COVARIANCE"][row]
        if together:
            shared[i, k] = table[together][row]
    for name, k in column.items():
        yield FrameCurve(
            name,
            flux[:, k],
            err[:, k],
            common[:, k],
            chi2[:, k],
            frames.coeff,
            frames.coeff_err,
            frames.not_fitted,
        )
    for name, parts in sums.items():
        if set(parts) <= set(names):
            ks = [column[part] for part in parts]
            every = np.ix_(range(len(frames)), ks, ks)
            variance, of_zero = own[every].sum((1, 2)), shared[every].sum((1, 2))
            yield FrameCurve(
                name,
                flux[:, ks].sum(1),
                np.sqrt(variance),
                np.sqrt(of_zero),
                chi2[:, ks[0]],
                frames.coeff,
                frames.coeff_err,
                frames.not_fitted,
            )
        else:
            log.warning(
                "sum %s: no source %s; it is left out", name, " ".join(sorted(set(parts) - set(names)))
            )


def aperture_curves(frames: CurveFrames, tables: Mapping[str, Path]) -> dict[FrameCurve, float]:
    """Return the curve of a single source from an aperture, where its apertures were measured.

    As those of the PSF, its coefficients are 1 for the photometric reference.

    Returns
    -------
    dict
        Curve -> diameter of its aperture [px].
    """
    if not {"apertures", "stars"} <= set(tables):
        return {}
    table, stars = read_table(tables["apertures"]), read_table(tables["stars"], ["STAR", "NORM"])
    renorm = read_meta(tables["renorm"])
    dropped, reference = renorm.get("dropped") or (), frames.number.get(str(renorm.get("photometric")), -1)
    serving = [str(name) for name in stars["STAR"][stars["NORM"]] if str(name) not in dropped]
    known = {str(name) for name in stars["STAR"]}
    targets = [name for name in dict.fromkeys(map(str, table["STAR"])) if name not in known]
    diameters = table.meta.get("diameters") or ()
    found = {}
    for name in targets:
        flux, err = _fluxes_of(frames, table, name)
        if not np.isfinite(flux).any() or not serving:
            continue
        of_stars = np.stack([_fluxes_of(frames, table, star)[0] for star in serving])
        made = aperture_curve(flux, err, of_stars)
        if made.aperture >= 0:
            nothing = np.full(len(frames), np.nan)
            scale = made.coeff[reference] if reference >= 0 and np.isfinite(made.coeff[reference]) else 1.0
            measured = made.flux, made.err, nothing, nothing, made.coeff / scale, made.coeff_err
            curve = FrameCurve(f"{name}{APERTURE}", *measured, _spoilt(table, name))
            found[curve] = number(diameters[made.aperture]) if made.aperture < len(diameters) else np.nan
    return found


def _spoilt(table: Table, star: str) -> dict[str, str]:
    """Return the frames in which a star's apertures are spoilt, and by what."""
    found = dict[str, str]()
    for row in np.flatnonzero(table["STAR"] == star):
        why = [words for flag, words in _WHY.items() if int(table["FLAGS"][row]) & flag]
        if why:
            found[str(table["FRAME"][row])] = f"{star}{APERTURE}: {why[0]}"
    return found


def _fluxes_of(frames: CurveFrames, table: Table, star: str) -> tuple[NDArray, NDArray]:
    """Return the fluxes of a star in all apertures, and their errors; shapes (frames, apertures)."""
    count = table["FLUX_APER"].shape[1] if table["FLUX_APER"].ndim == 2 else 0
    flux, err = (np.full((len(frames), count), np.nan) for _ in range(2))
    for row in np.flatnonzero(table["STAR"] == star):
        i = frames.number.get(str(table["FRAME"][row]))
        if i is not None and not int(table["FLAGS"][row]) & _SPOILT:
            flux[i], err[i] = table["FLUX_APER"][row], table["FLUXERR_APER"][row]
    return flux, err
