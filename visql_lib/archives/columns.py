"""The columns of reference stars, under the names every archive has for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.foreign import plain_columns, warn_missing_colours
from visql_lib.archives.pages import printable
from visql_lib.archives.tiles import tile_of
from visql_lib.values import within

COLUMNS = ("SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC", "G", "G_ERR", "BP_RP")
EPOCH = 2016.0  # of the positions
_MOVED_FROM = 2015.5  # epoch of Gaia DR2: its positions are moved
_SAME_EPOCH = 0.01  # yr

# Lower case: ours, the Gaia archive's, VizieR's (I/355). Positions VizieR moved to 2000 are not among them.
_ALIASES = {
    "SOURCE_ID": ("source_id", "source"),
    "RA": ("ra", "ra_icrs"),
    "DEC": ("dec", "de_icrs"),
    "PMRA": ("pmra",),
    "PMDEC": ("pmdec", "pmde"),
    "G": ("g", "phot_g_mean_mag", "gmag"),
    "G_ERR": ("g_err",),
    "BP_RP": ("bp_rp", "bp-rp"),
    "E_G": ("e_gmag",),  # at VizieR with the error of the zero point, so only where nothing else is
    "FG": ("phot_g_mean_flux", "fg"),
    "E_FG": ("phot_g_mean_flux_error", "e_fg"),
    "FG_OVER_ERROR": ("phot_g_mean_flux_over_error",),
    "BP": ("phot_bp_mean_mag", "bpmag"),
    "RP": ("phot_rp_mean_mag", "rpmag"),
    "EPOCH": ("ref_epoch",),
}
_ANY = (-np.inf, np.inf)
# deg, mas/yr (Barnard's star moves by 10,400), mag; values outside mean that there is none.
_POSSIBLE = {"RA": (-360.0, 360.0), "DEC": (-90.0, 90.0), "G": (-5.0, 40.0), "BP_RP": (-20.0, 20.0)}
_POSSIBLE |= dict.fromkeys(("PMRA", "PMDEC"), (-20_000.0, 20_000.0))
_POSSIBLE |= dict.fromkeys(("BP", "RP"), (-5.0, 40.0))
_NEEDED = ("SOURCE_ID", "RA", "DEC", "G")
_MAGNITUDE = 2.5 / np.log(10)  # mag per relative error

Columns = dict[str, NDArray]


def known_columns(names: Iterable[str]) -> dict[str, str]:
    """Match the names of columns with ours: our name -> the name in the table.

    Empty if this is no table of stars: number, position or magnitude is missing.
    """
    by_lower = {name.lower(): name for name in reversed(list(names))}
    found = {
        ours: by_lower[alias]
        for ours, aliases in _ALIASES.items()
        for alias in reversed(aliases)
        if alias in by_lower
    }
    return found if all(name in found for name in _NEEDED) else {}


def nearly_known(names: Iterable[str]) -> str:
    """Find the one needed column that a table lacks, "" if it lacks none or more than one."""
    lower = {name.lower() for name in names}
    lacking = [ours for ours in _NEEDED if not lower & set(_ALIASES[ours])]
    return lacking[0] if len(lacking) == 1 else ""


def star_columns(raw: Mapping[str, NDArray], where: str, units: Mapping[str, Any] | None = None) -> Columns:
    """Extract `COLUMNS` from the columns of a response or a file.

    Parameters
    ----------
    raw : mapping of arrays
        Columns by the names they have there; masked arrays or NaN where a value is missing.
    where : str
        Names the table in error messages.
    units : mapping, optional
        Of the columns, by the same names, as given in the table; deg, mas/yr and mag
        where it does not.

    Returns
    -------
    dict of arrays
        Positions in deg, RA in [0, 360), at epoch 2016.0; motions in mas/yr;
        magnitudes. NaN where not known. Rows without position are left out.
        Positions of 2015.5 (Gaia DR2) are moved; those without motion stay where they are.

    Raises
    ------
    SourceError
        If a needed column is missing, a number of a star cannot be kept exactly, the epoch is neither
        2016.0 nor 2015.5, or a unit cannot be converted.
    """
    names = known_columns(raw)
    if not names:
        raise TransientError(
            f"{where}: not a table of stars (columns {printable(', '.join(list(raw)[:6])) or 'none'})"
        )
    raw = plain_columns(raw, names, units or {}, where)
    values = {ours: _floats(raw[name], name, where) for ours, name in names.items() if ours != "SOURCE_ID"}
    years = _years_to_epoch(values.pop("EPOCH", np.array([EPOCH])), where)
    numbers, known = _integers(raw[names["SOURCE_ID"]], where)
    values = {name: within(column, *_POSSIBLE.get(name, _ANY)) for name, column in values.items()}
    unknown = np.full(len(numbers), np.nan)
    stars = {"SOURCE_ID": numbers, "G": values["G"]}
    stars["PMRA"], stars["PMDEC"] = values.get("PMRA", unknown), values.get("PMDEC", unknown)
    ra, stars["DEC"] = _moved(values["RA"], values["DEC"], stars["PMRA"], stars["PMDEC"], years)
    stars["RA"] = np.mod(ra, 360.0)
    stars["G_ERR"] = _error(values, unknown)
    stars["BP_RP"] = values["BP_RP"] if "BP_RP" in values else _colour(values, unknown)
    warn_missing_colours(names, where)
    kept = known & np.isfinite(stars["RA"]) & (np.abs(stars["DEC"]) <= 90)
    return {name: stars[name][kept] for name in COLUMNS}


def cut_tile(stars: Columns, tile: int, nside: int, faintest: float) -> Columns:
    """Select the stars of one tile brighter than a limit in G, each once, in the order of their numbers."""
    return cut_tiles(stars, [tile], nside, faintest)[tile]


def cut_tiles(stars: Columns, tiles: Iterable[int], nside: int, faintest: float) -> dict[int, Columns]:
    """Select the stars of each of some tiles; see `cut_tile`."""
    bright = np.flatnonzero(stars["G"] < faintest)
    at = tile_of(stars["RA"][bright], stars["DEC"][bright], nside)
    order = np.argsort(at, kind="stable")
    bright, at = bright[order], at[order]
    found = {}
    for tile in tiles:
        rows = bright[slice(*np.searchsorted(at, [tile, tile + 1]))]
        _, first = np.unique(stars["SOURCE_ID"][rows], return_index=True)
        found[tile] = {name: stars[name][rows[first]] for name in COLUMNS}
    return found


def no_stars() -> Columns:
    """Build the columns without a row."""
    return {name: np.empty(0, np.int64 if name == "SOURCE_ID" else float) for name in COLUMNS}


def joined(parts: Iterable[Columns]) -> Columns:
    """Join the rows of several tables."""
    tables = [no_stars(), *parts]
    return {name: np.concatenate([table[name] for table in tables]) for name in COLUMNS}


def _years_to_epoch(epochs: NDArray, where: str) -> NDArray:
    """Return how many years of motion positions lack; an epoch that is not known is the usual one."""
    is_earlier = np.abs(epochs - _MOVED_FROM) <= _SAME_EPOCH
    others = (np.abs(epochs - EPOCH) > _SAME_EPOCH) & ~is_earlier
    if others.any():
        raise SourceError(
            f"{where}: positions are at epoch {epochs[others][0]:g}, not at {EPOCH} or {_MOVED_FROM}; "
            "take the tables of Gaia DR3"
        )
    return np.where(is_earlier, EPOCH - _MOVED_FROM, 0.0)


def _moved(
    ra: NDArray, dec: NDArray, pm_ra: NDArray, pm_dec: NDArray, years: NDArray
) -> tuple[NDArray, NDArray]:
    """Move positions [deg] by so many years of their motions [mas/yr, in RA times cos(dec)]."""
    known = np.isfinite(pm_ra) & np.isfinite(pm_dec) & (years != 0)
    step = np.where(known, years, 0.0) / 3.6e6  # mas to deg
    pm_ra, pm_dec = np.where(known, pm_ra, 0.0), np.where(known, pm_dec, 0.0)
    return ra + pm_ra * step / np.cos(np.radians(dec)), dec + pm_dec * step


def _error(values: Mapping[str, NDArray], unknown: NDArray) -> NDArray:
    """Derive the error of G from the columns there are; a ratio of zero means unknown in some files."""
    if "G_ERR" in values:
        return values["G_ERR"]
    if "FG_OVER_ERROR" in values:
        ratio = values["FG_OVER_ERROR"]
    elif "FG" in values and "E_FG" in values:
        ratio = values["FG"] / np.where(values["E_FG"] > 0, values["E_FG"], np.nan)
    else:
        return values.get("E_G", unknown)
    return _MAGNITUDE / np.where(ratio > 0, ratio, np.nan)


def _colour(values: Mapping[str, NDArray], unknown: NDArray) -> NDArray:
    """Compute BP - RP; a magnitude of exactly zero means unknown in some files."""
    if "BP" not in values or "RP" not in values:
        return unknown
    bp, rp = values["BP"], values["RP"]
    return np.where((bp == 0) | (rp == 0), np.nan, bp - rp)


def _floats(column: NDArray, name: str, where: str) -> NDArray:
    """Convert a column to floats, NaN where a value is missing."""
    if column.dtype.kind not in "iufb" or column.ndim != 1:
        raise TransientError(
            f"{where}: {name} is of type {column.dtype} in {column.ndim} dimensions, not a number"
        )
    values = np.asarray(np.ma.filled(column.astype(float), np.nan))
    return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)


def _integers(column: NDArray, where: str) -> tuple[NDArray, NDArray]:
    """Convert the numbers of the stars, with a mask of the known ones; a double has too few digits."""
    masked = np.ma.getmaskarray(column)
    if column.ndim != 1:
        raise TransientError(f"{where}: numbers of stars in {column.ndim} dimensions")
    if column.dtype.kind not in "iu" and len(column):
        kind = column.dtype.name
        raise SourceError(f"{where}: numbers of stars are {kind}, which cannot hold them; use int64")
    return np.ma.filled(column, 0).astype(np.int64), ~masked
