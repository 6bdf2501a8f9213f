"""Flux ratios gathered in cells of time x space x class x field.

All stars of many exposures go into one long table, one row per cell that holds
a star; `select` asks it for any part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import product

import numpy as np
from numpy.typing import NDArray

from visql_lib.config.vis_settings import RatioSettings
from visql_lib.flags import RatioFlag
from visql_lib.instruments.facts import SkyField
from visql_lib.instruments.model import Instrument
from visql_lib.photometry.cells import FIELDS, SPACES, TIMES, Bins, FocalPlaneCells, time_bins
from visql_lib.photometry.groups import Groups
from visql_lib.photometry.ratios import QUOTED_COLOURS, gain_table
from visql_lib.photometry.relation import fit_groups

_GROSS = 6.0  # robust standard deviations of ln FRAT beyond which a star is a mismatch
_SIGMA_PER_MAD = 1.4826
_FIT_COLUMNS = ("R1", "R2", "R3", "R1_ERR", "R2_ERR", "R3_ERR", "RMS", "N_FIT", "N_CLIPPED")


@dataclass(frozen=True)
class Stars:
    """Matched stars of many exposures, only what the matrix needs; all of shape (n,)."""

    exposure: NDArray  # row of the table of exposures
    quadrant: NDArray  # index into `quadrant_names`
    x: NDArray  # deg, focal plane
    y: NDArray
    g: NDArray  # mag
    colour: NDArray  # BP-RP [mag]; NaN where not known
    ln_ratio: NDArray  # ln(V/Gf); NaN where the flux is not positive
    frat: NDArray  # ratio to the exposure's own relation; NaN where not known
    logflux: NDArray  # decimal logarithm of V
    quadrant_names: NDArray


def gather_stars(
    tables: Iterable[tuple[int | NDArray, Mapping[str, NDArray]]], dtype: type[np.floating] = np.float32
) -> Stars:
    """Gather the stars of many exposures.

    Parameters
    ----------
    tables : iterable of pairs
        Row of the exposure in the table of exposures, and its columns EXT, XWORLD,
        YWORLD, G, BpRp, VFLUX, GFLUX, FRAT. Read one after the other and let go, so
        a generator that opens files holds one table at a time. A concatenation of
        many exposures comes with an array of rows instead of one.
    dtype : floating type, optional
        Of what is kept; single precision keeps 40 bytes per star.
    """
    known: dict[str, int] = {}
    parts: list[list[NDArray]] = []
    for row, columns in tables:
        bins = Bins.of_names(columns["EXT"])
        numbers = np.array([known.setdefault(str(n), len(known)) for n in bins.names], dtype=np.int16)
        v, gf = (_positive(columns[name]) for name in ("VFLUX", "GFLUX"))
        quadrant = np.where(bins.code < 0, -1, np.append(numbers, -1)[bins.code])
        values = [np.asarray(columns[name], dtype=float) for name in ("XWORLD", "YWORLD", "G", "BpRp")]
        values += [np.log(v / gf), np.asarray(columns["FRAT"], dtype=float), np.log10(v)]
        exposure = np.broadcast_to(np.asarray(row, dtype=np.int32), quadrant.shape)
        parts.append([exposure, quadrant.astype(np.int16), *(value.astype(dtype) for value in values)])
    empty = [np.zeros(0, np.int32), np.zeros(0, np.int16), *(np.zeros(0, dtype) for _ in range(7))]
    joined = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
    joined.append(np.array([*known, ""]))  # the last name is that of number -1
    return Stars(**dict(zip((f.name for f in fields(Stars)), joined, strict=True)))


@dataclass(frozen=True)
class FitRule:
    """Which stars enter the colour relation of a cell, with which fluxes, how clipped."""

    faintest: float = np.inf  # limit in G [mag]
    gain: Mapping[str, float] = field(default_factory=dict)  # V is multiplied by, per quadrant; empty: 1
    rounds: int = 4  # of the clip at 3 rms
    robust: bool = True  # mismatched stars stay out from the beginning; smooth weights after the clip


Rule = Callable[[str, str], FitRule]  # of the kinds of time and space


def reference_rule(settings: RatioSettings, instrument: Instrument) -> Rule:
    """Return the rule of the original's tables per exposure and day.

    The focal plane as a whole: stars brighter than `faintest_fit`, gain model
    `gain`; of a single exposure with its method exactly. Every smaller part: all
    matched stars, gain model `fit_gain`.
    """
    used = gain_table(instrument, settings.gain)
    wanted = gain_table(instrument, settings.fit_gain, optional=True)
    parts = FitRule(gain={q: wanted.get(q, 1.0) / used.get(q, 1.0) for q in instrument.quadrants})
    single = FitRule(settings.faintest_fit, rounds=1, robust=False)

    def rule(time: str, space: str) -> FitRule:
        if space != "fpa":
            return parts
        return single if time == "exposure" else FitRule(settings.faintest_fit)

    return rule


def sheet_rule(settings: RatioSettings, instrument: Instrument) -> Rule:
    """Return the rule of the original's monthly sheet: bright stars, no gain, 4 rounds of clipping."""
    used = gain_table(instrument, settings.gain)
    gain = {quadrant: 1 / factor for quadrant, factor in used.items()}
    sheet = FitRule(settings.faintest_fit, gain, robust=False)
    return lambda time, space: sheet


def aggregate(
    stars: Stars,
    exposures: Mapping[str, NDArray],
    settings: RatioSettings,
    cells: FocalPlaneCells,
    rule: Rule,
    *,
    times: Collection[str] = TIMES,
    spaces: Collection[str] = SPACES,
    sky_fields: Collection[str] = FIELDS,
    left_out: Collection[tuple[str, str]] = (),
    selfcal: SkyField | None = None,
) -> dict[str, NDArray]:
    """Return the matrix of flux ratios: one row per cell that holds a star.

    Parameters
    ----------
    stars : Stars
        Of all exposures; see `gather_stars`.
    exposures : mapping of arrays, shape (k,)
        EXPOSURE (name), DATE_OBS (datetime64, UTC), CLASS, RA, DEC [deg, boresight],
        ACCEPTED. One that is not accepted is seen in its own cells only, flagged
        NOT_ACCEPTED. Optional: the exposures' own relations, as R1 R2 R3 R1_ERR R2_ERR
        R3_ERR RMS N_FIT N_CLIPPED; where N_FIT is not 0, they are taken instead of a
        fit for the exposure's focal plane.
    settings : RatioSettings
        Least number of stars of a fit.
    cells : FocalPlaneCells
        How the focal plane is divided.
    rule : callable
        Says how each kind of cell is fitted: `reference_rule`, `sheet_rule`.
    times, spaces, sky_fields : collections of str, optional
        The part of the matrix that is wanted.
    left_out : collection of (time, space), optional
        Combinations that are not gathered. Half of all cells are hexagons of single
        exposures, most of which hold one star: ``[("exposure", "hexagon")]`` saves them.
    selfcal : SkyField, optional
        Where the field ``selfcal`` is; without, no exposure is in it.

    Returns
    -------
    dict of arrays, shape (m,)
        The columns of the table of ratios. Means are over the cell's stars without
        the mismatched ones; ratios are NaN, flagged FEW_STARS, where the stars do
        not determine them.
    """
    view = _View(stars, exposures, settings, not_mismatched(stars.frat))
    in_field = {"all": np.ones(len(exposures["EXPOSURE"]), dtype=bool)}
    if selfcal is not None:
        in_field["selfcal"] = selfcal.contains(exposures["RA"], exposures["DEC"])
    space_bins = {kind: _space_bins(kind, stars, cells) for kind in spaces}
    parts = []
    for name, time in product([n for n in sky_fields if n in in_field], times):
        bins = time_bins(time, exposures["EXPOSURE"], exposures["DATE_OBS"])
        wanted = in_field[name] & (view.accepted | (time == "exposure"))
        chosen = Bins(np.where(wanted, bins.code, -1), bins.names)
        for space in spaces:
            if (time, space) not in left_out:
                part = view.gathered(time, chosen, space, space_bins[space], rule(time, space))
                parts.append(part | {"FIELD": np.full(len(part["N"]), name)})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def select(
    table: Mapping[str, NDArray],
    *,
    time: str | None = None,
    space: str | None = None,
    cls: str | None = None,
    field: str | None = None,
    time_bin: str | None = None,
    space_bin: str | None = None,
) -> dict[str, NDArray]:
    """Return the rows of a table of ratios with these values; None stands for any."""
    wanted = {"TIME": time, "SPACE": space, "CLASS": cls, "FIELD": field}
    wanted |= {"TIME_BIN": time_bin, "SPACE_BIN": space_bin}
    keep = np.ones(len(table["TIME"]), dtype=bool)
    for name, value in wanted.items():
        if value is not None:
            keep &= np.asarray(table[name]) == value
    return {name: np.asarray(table[name])[keep] for name in table}


def not_mismatched(frat: NDArray) -> NDArray[np.bool_]:
    """Say which stars lie within 6 robust standard deviations of the median of ln FRAT; NaN does."""
    ln_frat = np.log(_positive(frat))
    known = np.isfinite(ln_frat)
    if not known.any():
        return np.ones(len(ln_frat), dtype=bool)
    off = np.abs(ln_frat - np.median(ln_frat[known]))
    return ~(off > _GROSS * _SIGMA_PER_MAD * np.median(off[known]) + 1e-6)


def _space_bins(kind: str, stars: Stars, cells: FocalPlaneCells) -> Bins:
    if kind in ("quadrant", "ccd"):  # of 144 names, not of a million
        nowhere = np.full(len(stars.quadrant_names), np.nan)
        bins = cells.bins(kind, stars.quadrant_names, nowhere, nowhere)
        return Bins(bins.code[stars.quadrant], bins.names)
    return cells.bins(kind, stars.quadrant, stars.x, stars.y)


class _View:
    """Stars and exposures as all parts of the matrix see them."""

    def __init__(
        self,
        stars: Stars,
        exposures: Mapping[str, NDArray],
        settings: RatioSettings,
        matched: NDArray[np.bool_],
    ) -> None:
        self.stars, self.exposures, self.settings, self.matched = stars, exposures, settings, matched
        self.accepted = np.asarray(exposures["ACCEPTED"], dtype=bool)
        self.classes = Bins.of_names(exposures["CLASS"])
        dates = np.asarray(exposures["DATE_OBS"], dtype="datetime64[us]")
        self.date = np.where(np.isnat(dates), np.nan, dates.astype(np.int64) / 1e6)  # s since 1970
        self.has_ratio = np.isfinite(stars.colour) & np.isfinite(stars.ln_ratio)

    def gathered(self, time: str, times: Bins, space: str, spaces: Bins, rule: FitRule) -> dict[str, NDArray]:
        """Return the columns of all cells of one kind of time and of space."""
        exposure = self.stars.exposure
        inside = (times.code >= 0) & (self.classes.code >= 0)
        member = np.flatnonzero(inside[exposure] & (spaces.code >= 0))
        exposure = exposure[member]
        n_classes, n_spaces = len(self.classes.names), len(spaces.names)
        key = (times.code * n_classes + self.classes.code)[exposure] * n_spaces + spaces.code[member]
        # Sums over stars that lie side by side in memory take a third of the time; a cell's keep their order.
        order = np.argsort(key, kind="stable")
        key, member, exposure = key[order], member[order], exposure[order]
        cell = Groups.of(key)
        keys = key[cell.starts]
        columns = {
            "TIME": np.full(len(keys), time),
            "TIME_BIN": times.names[keys // n_spaces // n_classes],
            "SPACE": np.full(len(keys), space),
            "SPACE_BIN": spaces.names[keys % n_spaces],
            "CLASS": self.classes.names[keys // n_spaces % n_classes],
        }
        columns |= self._means(cell, member)
        columns |= self._fits(cell, member, rule)
        if time == "exposure":
            single = exposure[cell.starts]
            if space == "fpa":
                self._take_own(columns, single)
            columns["FLAGS"] |= np.where(self.accepted[single], 0, RatioFlag.NOT_ACCEPTED.value)
        return columns

    def _means(self, cell: Groups, member: NDArray) -> dict[str, NDArray]:
        stars, exposure = self.stars, self.stars.exposure[member]
        pairs = cell.numbers * len(self.date) + exposure
        if (np.diff(pairs) < 0).any():  # the exposures did not come one after the other
            pairs.sort()
        new = np.diff(pairs, prepend=-1) > 0
        good = self.matched[member]
        frat = stars.frat[member].astype(float)
        mean, n = _mean(cell, frat, good)
        variance = _mean(cell, (frat - cell.spread(mean)) ** 2, good)[0] * n / np.where(n > 1, n - 1, np.nan)
        scatter = np.sqrt(variance)
        return {
            "N": cell.counts,
            "N_EXPOSURES": cell.sums(new.astype(np.intp)),
            "DATE": _as_dates(_mean(cell, self.date[exposure])[0]),
            "X": _mean(cell, stars.x[member])[0],
            "Y": _mean(cell, stars.y[member])[0],
            "MEAN_G": _mean(cell, stars.g[member], good)[0],
            "MEAN_LOGFLUX": _mean(cell, stars.logflux[member], good)[0],
            "MEAN_FRAT": mean,
            "SCATTER": scatter,
            "MEAN_FRAT_ERR": scatter / np.sqrt(np.maximum(n, 1)),
        }

    def _fits(self, cell: Groups, member: NDArray, rule: FitRule) -> dict[str, NDArray]:
        stars, m = self.stars, len(cell)
        offered = self.has_ratio[member] & (stars.g[member] < rule.faintest)
        n_offered = cell.sums(offered.astype(np.intp))
        start = offered & self.matched[member] if rule.robust else offered
        number, member = cell.numbers[start], member[start]
        names = [str(name) for name in stars.quadrant_names]
        change = np.log([rule.gain.get(name, 1.0) for name in names])
        ln_ratio = stars.ln_ratio[member] + change[stars.quadrant[member]]
        fits = fit_groups(
            number,
            m,
            stars.colour[member],
            ln_ratio,
            rounds=rule.rounds,
            min_stars=self.settings.min_stars,
            smooth=rule.robust,
        )
        ratios, errors = fits.ratios(QUOTED_COLOURS)
        columns = {f"R{i + 1}": ratios[:, i] for i in range(3)}
        columns |= {f"R{i + 1}_ERR": errors[:, i] for i in range(3)}
        return columns | {
            "RMS": fits.rms,
            "N_FIT": fits.n_fit,
            "N_CLIPPED": np.where(fits.n_fit > 0, n_offered - fits.n_fit, 0),
            "FLAGS": np.where(fits.n_fit > 0, 0, RatioFlag.FEW_STARS.value),
        }

    def _take_own(self, columns: dict[str, NDArray], exposure: NDArray) -> None:
        """Put the exposures' own relations, where they have one, in the place of the fits."""
        if not all(name in self.exposures for name in _FIT_COLUMNS):
            return
        own = np.asarray(self.exposures["N_FIT"])[exposure] > 0
        for name in _FIT_COLUMNS:
            columns[name] = np.where(own, np.asarray(self.exposures[name])[exposure], columns[name])
        columns["FLAGS"] = np.where(own, 0, columns["FLAGS"])


def _mean(cell: Groups, values: NDArray, wanted: NDArray[np.bool_] | None = None) -> tuple[NDArray, NDArray]:
    """Return mean and number of the finite values of each cell, of those wanted; NaN where there are none."""
    counted = np.isfinite(values) if wanted is None else np.isfinite(values) & wanted
    n = cell.sums(counted.astype(np.intp))
    return cell.sums(np.where(counted, values, 0).astype(float)) / np.where(n > 0, n, np.nan), n


def _as_dates(seconds: NDArray) -> NDArray:
    known = np.isfinite(seconds)
    dates = np.where(known, np.round(1e6 * np.where(known, seconds, 0.0)), 0).astype("datetime64[us]")
    dates[~known] = np.datetime64("NaT")
    return dates


def _positive(values: NDArray) -> NDArray:
    """Return values as floats, NaN where not positive."""
    values = np.asarray(values, dtype=float)
    return np.where(values > 0, values, np.nan)
