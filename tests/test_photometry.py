"""Flux ratios: colour relations, their errors, the cells they are gathered in, the matrix."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import cKDTree

from visql_lib.errors import ConfigError
from visql_lib.flags import RatioFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.photometry import aggregate as ag
from visql_lib.photometry import cells as ce
from visql_lib.photometry import ratios as ra
from visql_lib.photometry.groups import Groups
from visql_lib.photometry.relation import PIVOT, GroupedFits, design, fit_groups, fit_size_relation
from visql_lib.pipelines.vis.legacy.gaia import read_frat, read_gaia_stars, read_ratio_lines
from visql_lib.pipelines.vis.legacy.read import read_moments, read_moments_with_colours
from visql_lib.pipelines.vis.schemas.gaia import FRAT, RATIOS
from visql_lib.pipelines.vis.schemas.gaia_metadata import MatchMetadata
from visql_lib.pipelines.vis.settings import RatioSettings
from visql_lib.pipelines.vis.stages.ratios import FrameMatch, _exposures, focal_plane_cells
from visql_lib.sheets.sheet import SheetRow
from visql_lib.simulate import photometry as truth

VIS = load_instrument("euclid_vis")
frat_columns = partial(ra.frat_columns, reference_exptime=VIS.photometry.reference_exptime)
SETTINGS = RatioSettings()
LIMITS = {
    "faintest_fit": SETTINGS.faintest_fit,
    "min_stars": SETTINGS.min_stars,
    "reference_exptime": VIS.photometry.reference_exptime,
}
CUTS = {"max_sigma": SETTINGS.max_sigma, "curvature": SETTINGS.curvature}
CELLS = focal_plane_cells(VIS, SETTINGS.hexagons)
RULE = ag.reference_rule(VIS.quadrants, faintest_fit=19.5, gain=VIS.gain_models["3"], fit_gain={})
QUADRANTS = list(VIS.quadrants.values())
LONG, SHORT = VIS.exposure_classes["long"], VIS.exposure_classes["short"]
EXAMPLE = "vis_20240713/C_20240713_032840_W_52167482.VIS.bin_01_01"


def quadratic(colour, relation=(0.126, 0.176, -0.07)):
    return design(colour) @ np.array(relation)


def sample(n, rng, outliers=0.02, slope=-0.005):
    """Colours and ln ratios: real blue stars scatter more than red ones; some are mismatched."""
    colour = rng.uniform(0.4, 3.0, n)
    ln_ratio = quadratic(colour) + rng.normal(size=n) * (0.026 + slope * (colour - 1.7))
    bad = rng.random(n) < outliers
    return colour, np.where(bad, ln_ratio + rng.uniform(-2, 2, n), ln_ratio)


def frat_of(n, rng, exptime=LONG, ice=0.0, slope=0.0, gains=VIS.gain_models["3"], scatter=0.02):
    """Moments and reference of `n` stars all over the focal plane, from the simulator's photometry."""
    quadrant = [QUADRANTS[i] for i in rng.integers(0, len(QUADRANTS), n)]
    ext = np.array([q.name for q in quadrant])
    centre = np.array([q.centre_world for q in quadrant]).reshape(-1, 2)
    x, y = (centre + rng.uniform(-0.025, 0.025, (n, 2))).T
    g, colour = rng.uniform(17, 21, n), rng.uniform(0.4, 3.0, n)
    flux = truth.expected_flux(g, colour, exptime, VIS, ice, slope) / ra.gain_factors(ext, gains)
    flux *= np.exp(rng.normal(0, scatter, n))
    moments = {"EXT": ext, "XWORLD": x, "YWORLD": y, "FLUX": flux, "FLUXERR": np.sqrt(flux)}
    return moments, {"G": g, "BP_RP": colour}


def month(n_exposures=8, n_stars=400, seed=1, **how):
    """Stars and exposures of some days; the second class every third exposure."""
    rng = np.random.default_rng(seed)
    tables = []
    short = np.arange(n_exposures) % 3 == 0
    for i in range(n_exposures):
        exptime = SHORT if short[i] else LONG
        moments, reference = frat_of(n_stars, rng, exptime, **how)
        tables.append(ra.frat_columns(moments, reference, exptime, VIS.gain_models["3"], **LIMITS)[0])
    exposures = {
        "EXPOSURE": np.array([f"E{i:04d}" for i in range(n_exposures)]),
        "DATE_OBS": np.datetime64("2024-07-10T03:00", "us")
        + np.arange(n_exposures) * np.timedelta64(13, "h"),
        "CLASS": np.where(short, "short", "long"),
        "RA": np.where(np.arange(n_exposures) % 4 == 0, 268.9, 10.0),
        "DEC": np.full(n_exposures, 65.25),
        "ACCEPTED": np.ones(n_exposures, bool),
    }
    return tables, exposures


def matrix(tables, exposures, **how):
    inside = VIS.photometry.selfcal.contains(exposures["RA"], exposures["DEC"])
    how = {"in_selfcal": inside, **how}
    return ag.aggregate(ag.gather_stars(enumerate(tables)), exposures, CELLS, RULE, **how)


def kept_pairs(reference):
    """Stars that the original's astrometric fit kept, of its table of moments."""
    found = read_gaia_stars(reference / f"{EXAMPLE}_stars2_gaia.cat")
    stars = read_moments(reference / f"{EXAMPLE}_stars2_mom.cat")
    sky = np.column_stack([found["RAV"], found["DECV"]])
    fpa = np.column_stack([stars["XWORLD"], stars["YWORLD"]])
    pairs = (sky[None, :, :] - fpa[:, None, :]).reshape(-1, 2)
    offset = np.zeros(2)
    for width in (0.4, 0.08):
        near = pairs[(np.abs(pairs - offset) < width).all(axis=1)]
        counts, *edges = np.histogram2d(*near.T, bins=200)
        offset = np.array(
            [e[i] for e, i in zip(edges, np.unravel_index(counts.argmax(), counts.shape), strict=True)]
        )
    distance, nearest = cKDTree(sky).query(fpa + offset)
    star = np.flatnonzero(distance < 0.007)
    difference = sky[nearest[star]] - fpa[star]
    terms = np.column_stack([np.ones(len(star)), (sky[nearest[star]] + fpa[star]) / 2])
    keep = np.ones(len(star), bool)
    for _ in range(25):
        residual = difference - terms @ np.linalg.lstsq(terms[keep], difference[keep], rcond=None)[0]
        square = (residual**2).sum(axis=1)
        keep = square < 2 * 2.5**2 * square[keep].sum() / (2 * keep.sum())
    return fpa[star[keep]]


# The original's numbers.


def test_the_real_example_number_for_number(reference):
    moments = read_moments_with_colours(reference / f"{EXAMPLE}_stars2_mom_col.cat")
    printed = read_frat(reference / f"{EXAMPLE}_frat.txt")
    kept = {tuple(p) for p in kept_pairs(reference).tolist()}
    assert len(kept) == 715
    in_fit = np.array(
        [p in kept for p in zip(moments["XWORLD"].tolist(), moments["YWORLD"].tolist(), strict=True)]
    )
    colours = {"G": moments["G"], "BP_RP": moments["BpRp"]}
    gains = ra.gain_table(VIS, "3")
    found, relation = ra.frat_columns(moments, colours, 560.52, gains, **LIMITS, in_fit=in_fit)
    assert [f"{r:.4f}" for r in relation.ratios] == ["0.8863", "1.1343", "1.2601"]
    assert (relation.n, relation.n_fit, relation.n_clipped) == (325, 323, 2)
    assert len(printed["EXT"]) == 722
    for name in ("EXT", "XWORLD", "YWORLD", "FLUX", "TEXP", "G", "BpRp", "TEXPRATIO"):
        assert_array_equal(found[name], printed[name])
    for name in ("FRATMOD", "GFLUX"):  # exp and powers differ in the last bit or two among libraries
        assert_allclose(found[name], printed[name], rtol=4.5e-16)
    for name in ("VFLUX", "FRAT"):  # the gain table is known to nine decimals
        assert_allclose(found[name], printed[name], rtol=6e-10)
    # From V as printed, FRAT is exact to the last bits, too.
    assert_allclose(printed["VFLUX"] / found["GFLUX"] / found["FRATMOD"], printed["FRAT"], rtol=5e-16)
    assert ra.is_accepted(5.799, relation.ratios, **CUTS)
    assert set(found) == set(FRAT.names)
    assert (found["FLAGS"] & RatioFlag.FAINT > 0).sum() == 722 - 327
    assert (found["FLAGS"] & RatioFlag.CLIPPED > 0).sum() == 4  # two by the relation, two by the astrometry


def test_the_real_example_with_errors(reference):
    moments = read_moments_with_colours(reference / f"{EXAMPLE}_stars2_mom_col.cat")
    printed = read_frat(reference / f"{EXAMPLE}_frat.txt")
    bright = printed["G"] < SETTINGS.faintest_fit
    relation = ra.fit_colour_relation(printed["BpRp"], printed["VFLUX"] / printed["GFLUX"], eligible=bright)
    assert relation.rms < 0.031
    assert (relation.n, relation.n_clipped) == (327, 4)
    assert all(0.002 < e < 0.006 for e in relation.errors)
    # The original keeps five stars up to 0.19 above the relation, which lift it by a standard error.
    off = np.array(relation.ratios) - (0.8863, 1.1343, 1.2601)
    assert (np.abs(off) < 1.5 * np.array(relation.errors)).all()
    size = fit_size_relation(moments["XWORLD"], moments["YWORLD"], moments["BpRp"], moments["R2"])
    assert 0.05 < size.coefficients[6] < 0.12  # px^2 per mag: red light makes larger stars
    assert size.errors[6] < 0.01


def test_blocks_are_named_by_columns_then_rows(reference):
    lines = read_ratio_lines(reference / "vis_202407/vis-over-gaia-20240711-ccd_short.txt")
    ratios = {line.name.removesuffix("VIS/Gaia"): np.array(line.ratios) for line in lines}
    assert len(ratios) == 189
    assert {n for n in ratios if n.isdigit()} == set(CELLS.block_names.ravel().tolist())
    centre = {q.name: q.centre_world for q in QUADRANTS}
    members = {}
    for name, ccd in CELLS.ccd_of.items():
        x, y = ([c] for c in centre[name])
        block = CELLS.bins("block", [name], x, y)
        members.setdefault(str(block.names[block.code[0]]), set()).add(f"CCD{ccd.replace('-', '')}")
    for block, ccds in members.items():
        assert len(ccds) == 4
        assert_allclose(ratios[block], np.mean([ratios[c] for c in ccds], axis=0), atol=0.004)
    turned = members["1234"], members["3412"]
    assert not np.allclose(ratios["1234"], np.mean([ratios[c] for c in turned[1]], axis=0), atol=0.004)


def test_real_stars_lie_in_the_block_of_their_ccd(reference):
    frat = read_frat(reference / f"{EXAMPLE}_frat.txt")
    block = CELLS.bins("block", frat["EXT"], frat["XWORLD"], frat["YWORLD"])
    of_ccd = [f"{'12' if c < '3' else '34' if c < '5' else '56'}{'12' if r < '3' else '34' if r < '5' else '56'}"
              for r, c in ((e[0], e[2]) for e in frat["EXT"].tolist())]  # fmt: skip
    assert (block.code >= 0).all()
    # The cuts are round numbers, a little inside the CCDs beyond.
    assert (block.names[block.code] != of_ccd).sum() == 4


# Colour relations.


@given(st.lists(st.integers(0, 5), max_size=30), st.randoms(use_true_random=False))
def test_groups_of_stars_side_by_side(numbers, random):
    numbers = np.sort(np.array(numbers, dtype=int))
    values = np.array([random.uniform(-1, 1) for _ in numbers])
    groups = Groups.of(numbers)
    present, counts = np.unique(numbers, return_counts=True)
    assert len(groups) == len(present)
    assert_array_equal(groups.counts, counts)
    assert_array_equal(groups.spread(present), numbers)
    assert_allclose(groups.sums(values), np.bincount(numbers, values, 6)[present], atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_groups_may_come_in_any_order(seed, smooth):
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 2, 3, 5], [20, 3, 40, 6])
    colour = rng.uniform(0.5, 3, len(group))
    ln_ratio = 0.1 * group + quadratic(colour) + rng.normal(0, 0.01, len(group))
    ln_ratio[30] += 1
    order = rng.permutation(len(group))
    plain = fit_groups(group, 7, colour, ln_ratio, smooth=smooth)
    mixed = fit_groups(group[order], 7, colour[order], ln_ratio[order], smooth=smooth)
    assert_array_equal((plain.n_fit > 0)[[0, 1, 2, 3, 4, 6]], [True, False, False, True, False, False])
    assert_array_equal(mixed.used, plain.used[order])
    assert not plain.used[30]
    assert_array_equal(mixed.n_fit, plain.n_fit)
    for name in ("coefficients", "covariance", "rms"):
        assert_allclose(getattr(mixed, name), getattr(plain, name), rtol=1e-7, atol=1e-12)


def test_a_variance_that_rounding_made_negative_is_none():
    fits = GroupedFits(
        np.zeros((1, 3)), -1e-20 * np.eye(3)[None], np.zeros(1), np.array([4]), np.ones(4, bool)
    )
    ratios, errors = fits.ratios([0.75, 2.75])  # warnings are errors here
    assert_array_equal(ratios, [[1, 1]])
    assert_array_equal(errors, [[0, 0]])


def test_a_ratio_beyond_all_stars_is_not_known():
    """A parabola through three colours that differ little says anything of others; warnings are errors here."""
    colour = np.array([1.70, 1.75, 1.80, 1.80])
    ratios, _ = fit_groups(np.zeros(4, int), 1, colour, np.array([0.0, 1.0, 0.0, 0.0])).ratios([0.75, 1.75])
    assert np.isnan(ratios[0, 0])
    assert ratios[0, 1] == pytest.approx(np.e)


def test_a_noiseless_relation_comes_back():
    colour = np.linspace(0.5, 3, 40)
    for fit in (ra.fit_colour_relation, ra.fit_reference_relation):
        relation = fit(colour, np.exp(quadratic(colour)))
        assert_allclose(relation.ratios, np.exp(quadratic(np.array(ra.QUOTED_COLOURS))), rtol=1e-12)
        assert_allclose(relation.ratio([1.0, 2.0]), np.exp(quadratic(np.array([1.0, 2.0]))), rtol=1e-12)
        assert (relation.n, relation.n_fit, relation.n_clipped, relation.flags) == (40, 40, 0, 0)
        assert relation.rms < 1e-12
        assert max(relation.errors) < 1e-9


@pytest.mark.parametrize("slope", [-0.005, 0.0, 0.01])  # of the scatter with colour
def test_pulls_have_mean_zero_and_width_one_with_outliers(slope):
    rng = np.random.default_rng(5)
    expected = np.exp(quadratic(np.array(ra.QUOTED_COLOURS)))
    pulls = []
    for _ in range(300):
        colour, ln_ratio = sample(300, rng, slope=slope)
        relation = ra.fit_colour_relation(colour, np.exp(ln_ratio))
        pulls.append((np.array(relation.ratios) - expected) / relation.errors)
    # 300 trials: the mean is known to 0.06, the width to 0.04.
    assert_allclose(np.mean(pulls, axis=0), 0, atol=0.17)
    assert_allclose(np.std(pulls, axis=0), 1, atol=0.12)


@pytest.mark.parametrize("smooth", [False, True])
def test_pulls_of_small_groups(smooth):
    rng = np.random.default_rng(6)
    colour, ln_ratio = sample(3000 * 30, rng, outliers=0)
    fits = fit_groups(np.repeat(np.arange(3000), 30), 3000, colour, ln_ratio, min_stars=10, smooth=smooth)
    ratios, errors = fits.ratios(ra.QUOTED_COLOURS)
    pulls = (ratios - np.exp(quadratic(np.array(ra.QUOTED_COLOURS)))) / errors
    assert_allclose(pulls.mean(axis=0), 0, atol=0.07)
    # Errors made of 30 residuals scatter themselves, which widens pulls a little.
    assert_allclose(pulls.std(axis=0), 1.05, atol=0.08)


def test_errors_agree_with_the_bootstrap():
    rng = np.random.default_rng(7)
    colour, ln_ratio = sample(300, rng)
    relation = ra.fit_colour_relation(colour, np.exp(ln_ratio))
    again = []
    for _ in range(400):
        i = rng.integers(0, 300, 300)
        again.append(ra.fit_colour_relation(colour[i], np.exp(ln_ratio[i])).ratios)
    assert_allclose(relation.errors, np.std(again, axis=0), rtol=0.2)
    assert_allclose(relation.error(ra.QUOTED_COLOURS), relation.errors)


def test_outliers_move_the_robust_relation_less():
    rng = np.random.default_rng(8)
    colour, ln_ratio = sample(300, rng, outliers=0)
    clean = ra.fit_colour_relation(colour, np.exp(ln_ratio))
    ln_ratio[:30] += 1.5
    spoilt = ra.fit_colour_relation(colour, np.exp(ln_ratio))
    assert spoilt.n_clipped >= 30
    assert_allclose(spoilt.ratios, clean.ratios, atol=0.01)
    assert not spoilt.used[:30].any()
    reference = ra.fit_reference_relation(colour, np.exp(ln_ratio))
    assert abs(reference.ratios[1] - clean.ratios[1]) > 5 * abs(spoilt.ratios[1] - clean.ratios[1])


@pytest.mark.parametrize("fit", [ra.fit_colour_relation, ra.fit_reference_relation])
@pytest.mark.parametrize("case", ["none", "few", "one colour", "two colours", "no colour", "no flux"])
def test_what_determines_nothing_is_nan_and_flagged(fit, case):
    rng = np.random.default_rng(9)
    n = {"none": 0, "few": 9}.get(case, 50)
    colour, ln_ratio = sample(n, rng)
    ratio = np.exp(ln_ratio)
    if case == "one colour":
        colour[:] = 1.2345
    elif case == "two colours":
        colour = np.where(colour > 1.5, 2.0, 1.0)
    elif case == "no colour":
        colour = np.ma.masked_all(n)
    elif case == "no flux":
        ratio = np.where(ratio > 1, -ratio, 0.0)
    relation = fit(colour, ratio)
    assert relation.flags == RatioFlag.FEW_STARS
    assert np.isnan([*relation.ratios, *relation.errors, *relation.coefficients, relation.rms]).all()
    assert relation.n_fit == relation.n_clipped == 0
    assert not relation.used.any()
    assert relation.as_dict()["ratios"] == [None, None, None]
    assert np.isnan(ra.relation_through([1.0], relation.ratios)).all()


def test_a_colour_the_stars_say_nothing_about_has_no_ratio():
    rng = np.random.default_rng(10)
    colour = PIVOT + rng.normal(0, 0.002, 100)
    relation = ra.fit_colour_relation(colour, np.exp(quadratic(colour) + rng.normal(0, 0.03, 100)))
    assert np.isnan([relation.ratios[0], relation.ratios[2], relation.errors[0]]).all()
    assert abs(relation.ratios[1] / np.exp(0.126) - 1) < 0.02


def test_size_relation():
    rng = np.random.default_rng(11)
    x, y = rng.uniform(-0.35, 0.35, (2, 500))
    colour = rng.uniform(0.4, 3, 500)
    r2 = 1.9 + 0.1 * x - 0.3 * y + x * x - 0.5 * x * y + 2 * y * y + 0.08 * (colour - PIVOT)
    noisy = r2 + rng.normal(0, 0.02, 500)
    noisy[:5] += 3
    noisy[5] = np.nan
    fit = fit_size_relation(x, y, colour, noisy)
    pulls = (np.array(fit.coefficients) - [1.9, 0.1, -0.3, 1, -0.5, 2, 0.08]) / fit.errors
    assert (np.abs(pulls) < 4).all()
    assert 485 < fit.n_fit < 495
    assert_allclose(fit.without_position(x, y, r2), 1.9 + 0.08 * (colour - PIVOT), atol=0.02)
    assert np.isnan(fit_size_relation(x[:5], y[:5], colour[:5], r2[:5]).rms)
    assert fit_size_relation(x, y, np.full(500, 1.0), r2).n_fit == 0


# The table of one exposure.


def test_the_simulators_relation_is_recovered_within_its_errors():
    rng = np.random.default_rng(12)
    moments, reference = frat_of(3000, rng, ice=0.05, slope=0.01)
    expected = truth.colour_ratio(ra.QUOTED_COLOURS, VIS) * truth.ice_loss(ra.QUOTED_COLOURS, VIS, 0.05, 0.01)
    for robust in (False, True):
        _, relation = ra.frat_columns(moments, reference, LONG, VIS.gain_models["3"], **LIMITS, robust=robust)
        assert (np.abs(np.array(relation.ratios) - expected) < 4 * np.array(relation.errors)).all()
        assert max(relation.errors) < 0.004


def test_what_stands_in_the_columns_of_an_exposure():
    """No two columns alike; fluxes and ratios are those of the definition, worked out by hand."""
    moments, reference = frat_of(300, np.random.default_rng(21))
    number = np.arange(300.0)
    moments["FLUXERR"] = 5000 + number
    reference |= {"G_ERR": 0.001 + 1e-6 * number, "SOURCE_ID": np.arange(300) + 10**12}
    residuals = (1 + number, -1 - number)
    gains = VIS.gain_models["3"]
    columns, relation = ra.frat_columns(moments, reference, LONG, gains, **LIMITS, residuals=residuals)
    for name, expected in {
        "EXT": moments["EXT"],
        "XWORLD": moments["XWORLD"],
        "YWORLD": moments["YWORLD"],
        "FLUX": moments["FLUX"],
        "FLUXERR": moments["FLUXERR"],
        "G": reference["G"],
        "BpRp": reference["BP_RP"],
        "G_ERR": reference["G_ERR"],
        "SOURCE_ID": reference["SOURCE_ID"],
        "DX": residuals[0],
        "DY": residuals[1],
    }.items():
        assert_array_equal(columns[name], expected, err_msg=name)
    gain = np.array([gains[name] for name in moments["EXT"]])
    assert_allclose(columns["TEXP"], 560.52)
    assert_allclose(columns["TEXPRATIO"], 89.52 / 560.52)
    assert_allclose(columns["VFLUX"], moments["FLUX"] * gain * 89.52 / 560.52)
    assert_allclose(columns["GFLUX"], 10 ** (12 - 0.4 * reference["G"]) / 1.5)
    assert_allclose(columns["FRATMOD"], relation.ratio(reference["BP_RP"]), rtol=1e-3)
    assert_allclose(columns["FRAT"], columns["VFLUX"] / columns["GFLUX"] / columns["FRATMOD"])


def test_the_relation_through_three_ratios_has_them():
    quoted = (0.8863, 1.1343, 1.2601)
    assert_allclose(ra.relation_through(ra.QUOTED_COLOURS, quoted), quoted)
    colour = np.array([0.4, 1.2, 2.2, 3.0])
    through = np.polyval(np.polyfit(ra.QUOTED_COLOURS, np.log(quoted), 2), colour)
    assert_allclose(ra.relation_through(colour, quoted), np.exp(through))


def test_what_a_month_takes_from_its_exposures():
    """Places and times from the sheet; numbers, ratios and their errors from the relation of each exposure."""
    names = SheetRow.__dataclass_fields__
    blank = {n: np.nan if f.type == "float" else 0 if f.type == "int" else "" for n, f in names.items()}
    known = {"exposure": EXAMPLE[13:], "date_obs": "2024-07-13T03:28:40", "exptime": 560.52}
    row = SheetRow(**blank | known | {"ra": 56.2, "dec": -55.7})
    relation = {
        "ratios": [0.9, 1.1, 1.2],
        "errors": [0.01, 0.02, 0.03],
        "n_fit": 300,
        "n_clipped": 7,
        "rms": 0.04,
    }
    meta = {"relation": relation, "accepted": True, "exptime": 1.0}  # times count from the sheet alone
    matches = [FrameMatch(Path("E_frat.parquet"), MatchMetadata(**facts), "", 0) for facts in (meta, {})]
    found = _exposures([(replace(row, exptime=89.52), matches[0]), (row, matches[1])], VIS)
    expected = {"R1": 0.9, "R2": 1.1, "R3": 1.2, "R1_ERR": 0.01, "R2_ERR": 0.02, "R3_ERR": 0.03}
    expected |= {"RA": 56.2, "DEC": -55.7, "N_FIT": 300, "N_CLIPPED": 7, "RMS": 0.04}
    assert {name: found[name][0] for name in expected} == expected
    assert found["CLASS"].tolist() == ["short", "long"]
    assert found["ACCEPTED"].tolist() == [True, False]
    assert found["DATE_OBS"][0] == np.datetime64("2024-07-13T03:28:40")
    assert np.isnan([found[name][1] for name in ("R1", "R3_ERR", "RMS")]).all()


def test_masked_colours_and_unknown_quadrants():
    rng = np.random.default_rng(13)
    moments, reference = frat_of(200, rng)
    reference["BP_RP"] = np.ma.array(reference["BP_RP"], mask=np.arange(200) < 20)
    moments["EXT"][30] = "9-9.X"
    columns, relation = ra.frat_columns(moments, reference, LONG, VIS.gain_models["3"], **LIMITS)
    assert_array_equal(columns["FLAGS"] & RatioFlag.NO_COLOUR > 0, np.arange(200) < 20)
    assert_array_equal(np.isnan(columns["FRAT"]), (np.arange(200) < 20) | (np.arange(200) == 30))
    assert relation.flags == 0
    FRAT.cast(columns)


def test_an_exposure_of_few_stars():
    moments, reference = frat_of(5, np.random.default_rng(14))
    columns, relation = ra.frat_columns(moments, reference, LONG, {}, **LIMITS)
    assert (columns["FLAGS"] & RatioFlag.FEW_STARS > 0).all()
    assert np.isnan(columns["FRAT"]).all()
    assert not ra.is_accepted(5.0, relation.ratios, **CUTS)
    columns, _ = ra.frat_columns(*frat_of(0, np.random.default_rng(1)), LONG, {}, **LIMITS)
    assert len(FRAT.cast(columns)["EXT"]) == 0


@pytest.mark.parametrize(
    ("sigma", "ratios", "accepted"),
    [
        (5.8, (0.8863, 1.1343, 1.2601), True),
        (10.0, (0.8863, 1.1343, 1.2601), False),
        (np.nan, (0.8863, 1.1343, 1.2601), False),
        (5.8, (0.9, 1.0, 1.1), False),
        (5.8, (0.8, 1.2, 1.2), False),
        (5.8, (np.nan, 1.1, 1.2), False),
    ],
)
def test_acceptance(sigma, ratios, accepted):
    assert ra.is_accepted(sigma, ratios, **CUTS) is accepted


def test_gain_models():
    assert ra.gain_table(VIS, "none") == {}
    assert ra.gain_table(VIS, "V", optional=True) == {}
    assert_array_equal(ra.gain_factors(["1-1.E", "6-6.H"], {}), [1, 1])
    factors = ra.gain_factors(["6-6.H", "x", "1-1.E"], VIS.gain_models["3"])
    assert_allclose(factors, [1.055363465, np.nan, 1.034855549])
    with pytest.raises(ConfigError, match=r"no gain model 'V', but none, 3"):
        ra.gain_table(VIS, "V")


# Cells.


def test_times_have_names():
    dates = np.array(
        ["2024-07-10T23:59:59", "2024-07-11T00:00:00", "2024-07-18T00:00:00", "NaT"], "datetime64[us]"
    )
    names = ["a", "b", "c", "d"]
    expected = {
        "exposure": ["a", "b", "c", "d"],
        "day": ["2024-07-10", "2024-07-11", "2024-07-18", ""],
        "week": ["2024-07-04", "2024-07-11", "2024-07-18", ""],  # Thursdays
        "month": ["2024-07", "2024-07", "2024-07", ""],
        "all": ["all"] * 4,
    }
    for kind, wanted in expected.items():
        bins = ce.time_bins(kind, names, dates)
        assert [str(bins.names[c]) if c >= 0 else "" for c in bins.code] == wanted
    with pytest.raises(ValueError, match="'year' is none of"):
        ce.time_bins("year", names, dates)


coordinates = st.floats(-0.5, 0.5, allow_nan=False, allow_subnormal=False)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=30), st.floats(0.005, 0.1))
def test_a_star_is_in_the_hexagon_whose_centre_is_nearest(positions, width):
    grid = ce.HexagonGrid(width)
    x, y = np.array(positions).T
    bins = grid.bins(x, y)
    assert (bins.code >= 0).all()
    centre_x, centre_y = grid.centres(bins.names[bins.code])
    off = np.hypot(x - centre_x, y - centre_y)
    assert (off <= width / np.sqrt(3) * (1 + 1e-9)).all()
    for angle in np.radians(np.arange(0, 360, 60)):
        other = np.hypot(x - centre_x - width * np.cos(angle), y - centre_y - width * np.sin(angle))
        assert (off <= other + 1e-12).all()


@given(st.lists(st.tuples(coordinates, coordinates, st.integers(0, 143)), max_size=30))
def test_a_star_is_in_one_cell_of_every_kind(stars):
    x, y, quadrant = np.array(stars, dtype=float).reshape(-1, 3).T
    ext = np.array([QUADRANTS[int(q)].name for q in quadrant], dtype="U8")
    for kind in ce.SPACES:
        bins = CELLS.bins(kind, ext, x, y)
        assert bins.code.shape == x.shape
        assert ((bins.code >= 0) & (bins.code < len(bins.names))).all()
        assert len(set(bins.names.tolist())) == len(bins.names)
    ccd = CELLS.bins("ccd", ext, x, y)
    assert [str(n) for n in ccd.names[ccd.code]] == [e[:3] for e in ext.tolist()]


def test_what_is_nowhere_is_in_no_cell():
    ext, x, y = np.array(["1-1.E", "7-1.E", ""]), np.array([0.0, 0.1, np.nan]), np.zeros(3)
    expected = {"fpa": "ooo", "hexagon": "oo-", "block": "oo-", "ccd": "o--", "quadrant": "o--"}
    for kind, wanted in expected.items():
        assert "".join("-o"[int(c >= 0)] for c in CELLS.bins(kind, ext, x, y).code) == wanted
    with pytest.raises(ValueError, match="'pixel' is none of"):
        CELLS.bins("pixel", ext, x, y)


def test_other_cameras_have_other_cells(toy):
    cells = focal_plane_cells(toy, 10)
    assert cells.block_names.tolist() == [["1212"]]
    assert cells.hexagons.width == pytest.approx(2 * 0.0365 / 10)
    place = {"origin": (0.0, 0.0), "pitch": (0.0365, 0.0365)}
    cut = ce.FocalPlaneCells.of(cells.ccd_of, ccds=(2, 2), **place, cuts_x=(0.0,))
    assert cut.block_names.tolist() == [["1212"], ["3412"]]


def test_the_self_calibration_field():
    field = VIS.photometry.selfcal
    assert_array_equal(
        field.contains(
            [268.75, 268.75, 269.14, 269.16, 628.75, np.nan], [65.3, 65.49, 65.3, 65.3, 65.3, 65.3]
        ),
        [True, True, True, False, True, False],
    )
    assert field.model_copy(update={"ra": 0.1}).contains(359.9, 65.3)


def test_a_camera_without_a_self_calibration_field_has_no_cells_of_it():
    assert set(matrix(*month(3, 100), times=["all"], spaces=["fpa"], in_selfcal=None)["FIELD"]) == {"all"}


# The matrix.


@pytest.fixture(scope="module")
def table():
    return matrix(*month())


def test_the_matrix_is_the_table_of_ratios(table):
    cast = RATIOS.cast(table)
    assert set(table) == set(RATIOS.names)
    kinds = {(t, s, c, f) for t in ce.TIMES for s in ce.SPACES for c in ("long", "short") for f in ce.FIELDS}
    names = ("TIME", "SPACE", "CLASS", "FIELD")
    assert set(zip(*(cast[n].tolist() for n in names), strict=True)) == kinds
    cells = list(zip(*(cast[n].tolist() for n in (*names, "TIME_BIN", "SPACE_BIN")), strict=True))
    assert len(set(cells)) == len(cells)
    no_fit = np.isnan(table["R1"])
    assert_array_equal(table["FLAGS"][no_fit], RatioFlag.FEW_STARS)
    assert (table["N_FIT"][no_fit] == 0).all()
    assert np.isfinite(table["R1"][table["N_FIT"] > 12]).all()
    assert (table["N"] >= table["N_FIT"] + table["N_CLIPPED"]).all()


def test_numbers_of_stars_add_up(table):
    for cls, n in (("long", 5 * 400), ("short", 3 * 400)):
        for time in ce.TIMES:
            for space in ce.SPACES:
                cells = ag.select(table, time=time, space=space, cls=cls, field="all")
                assert cells["N"].sum() == n
    quadrants = ag.select(table, time="day", space="quadrant", cls="long", field="all")
    ccds = ag.select(table, time="day", space="ccd", cls="long", field="all")
    finer = {}
    for day, name, n in zip(*(quadrants[k].tolist() for k in ("TIME_BIN", "SPACE_BIN", "N")), strict=True):
        finer[day, name[:3]] = finer.get((day, name[:3]), 0) + n
    assert finer == {
        (d, name): n
        for d, name, n in zip(*(ccds[k].tolist() for k in ("TIME_BIN", "SPACE_BIN", "N")), strict=True)
    }


def test_cells_are_what_a_plain_calculation_gives():
    tables, exposures = month(4, 800, seed=3)
    table = matrix(tables, exposures, times=["all", "day"], spaces=["ccd", "fpa"], sky_fields=["all"])
    long = [t for t, cls in zip(tables, exposures["CLASS"], strict=True) if cls == "long"]
    joined = {name: np.concatenate([t[name] for t in long]) for name in tables[0]}
    row = ag.select(table, time="all", space="ccd", cls="long", space_bin="2-5")
    inside = np.char.startswith(joined["EXT"], "2-5")
    converted = joined["VFLUX"] / ra.gain_factors(joined["EXT"], VIS.gain_models["3"])
    relation = ra.fit_colour_relation(joined["BpRp"][inside], (converted / joined["GFLUX"])[inside], rounds=4)
    assert_allclose([row[f"R{i}"][0] for i in (1, 2, 3)], relation.ratios, rtol=1e-6)
    assert_allclose([row[f"R{i}_ERR"][0] for i in (1, 2, 3)], relation.errors, rtol=1e-3)
    assert (row["N"][0], row["N_FIT"][0]) == (inside.sum(), relation.n_fit)
    assert row["N_EXPOSURES"][0] == 2
    assert_allclose(row["X"][0], joined["XWORLD"][inside].mean(), rtol=1e-5)
    assert_allclose(row["MEAN_G"][0], joined["G"][inside].mean(), rtol=1e-6)
    assert_allclose(row["MEAN_LOGFLUX"][0], np.log10(joined["VFLUX"][inside]).mean(), rtol=1e-6)
    frat = joined["FRAT"][inside]
    assert_allclose(row["MEAN_FRAT"][0], frat.mean(), rtol=1e-6)
    assert_allclose(row["SCATTER"][0], frat.std(ddof=1), rtol=1e-4)
    assert_allclose(row["MEAN_FRAT_ERR"][0], frat.std(ddof=1) / np.sqrt(inside.sum()), rtol=1e-4)
    whole = ag.select(table, time="all", space="fpa", cls="long")
    bright = joined["G"] < SETTINGS.faintest_fit
    relation = ra.fit_colour_relation(
        joined["BpRp"], joined["VFLUX"] / joined["GFLUX"], eligible=bright, rounds=4
    )
    assert_allclose([whole[f"R{i}"][0] for i in (1, 2, 3)], relation.ratios, rtol=1e-6)
    date = exposures["DATE_OBS"][exposures["CLASS"] == "long"]
    assert abs(whole["DATE"][0] - (date[0] + (date[1] - date[0]) / 2)) < np.timedelta64(1, "s")


def test_an_exposures_own_cell_is_the_reference_relation():
    tables, exposures = month(3, 400, seed=4)
    table = matrix(tables, exposures, times=["exposure"], spaces=["fpa"], sky_fields=["all"])
    for i, columns in enumerate(tables):
        row = ag.select(table, time_bin=f"E{i:04d}")
        bright = columns["G"] < SETTINGS.faintest_fit
        relation = ra.fit_reference_relation(
            columns["BpRp"], columns["VFLUX"] / columns["GFLUX"], eligible=bright
        )
        assert_allclose([row[f"R{k}"][0] for k in (1, 2, 3)], relation.ratios, rtol=1e-6)
        assert row["N_CLIPPED"][0] == relation.n_clipped
        assert row["DATE"][0] == exposures["DATE_OBS"][i]
    own = {
        name: np.array([0.5, 0.6, 0.7]) for name in ("R1", "R2", "R3", "R1_ERR", "R2_ERR", "R3_ERR", "RMS")
    }
    own |= {"N_FIT": np.array([5, 0, 7]), "N_CLIPPED": np.array([1, 1, 1])}
    taken = matrix(tables, exposures | own, times=["exposure"], spaces=["fpa"], sky_fields=["all"])
    by_name = dict(zip(taken["TIME_BIN"].tolist(), taken["R1"].tolist(), strict=True))
    before = dict(zip(table["TIME_BIN"].tolist(), table["R1"].tolist(), strict=True))
    assert by_name == {"E0000": 0.5, "E0001": before["E0001"], "E0002": 0.7}


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(6)), st.floats(0.5, 2.0))
def test_order_does_not_matter_and_a_factor_on_the_flux_scales_the_ratios(order, factor):
    tables, exposures = month(6, 150, seed=2)
    plain = matrix(tables, exposures, spaces=["ccd", "block", "fpa"])
    shuffled = {name: values[list(order)] for name, values in exposures.items()}
    brighter = [{**tables[i], "VFLUX": tables[i]["VFLUX"] * factor} for i in order]
    scaled = matrix(brighter, shuffled, spaces=["ccd", "block", "fpa"])
    for name in ("TIME", "TIME_BIN", "SPACE_BIN", "CLASS", "FIELD", "N", "N_FIT", "FLAGS", "DATE"):
        assert_array_equal(scaled[name], plain[name])
    for k in (1, 2, 3):
        assert_allclose(scaled[f"R{k}"], plain[f"R{k}"] * factor, rtol=1e-5)
    assert_allclose(scaled["MEAN_FRAT"], plain["MEAN_FRAT"], rtol=1e-12)


def test_exposures_that_are_not_accepted_are_seen_alone():
    tables, exposures = month(4, 100)
    exposures["ACCEPTED"][1] = False
    table = matrix(tables, exposures, spaces=["fpa", "hexagon"])
    own = ag.select(table, time="exposure", space="fpa", field="all")
    assert_array_equal(own["FLAGS"] & RatioFlag.NOT_ACCEPTED > 0, own["TIME_BIN"] == "E0001")
    for time in ("day", "week", "month", "all"):
        assert ag.select(table, time=time, space="fpa", field="all")["N"].sum() == 300


def test_a_matrix_of_nothing():
    none = {"EXPOSURE": np.zeros(0, "U1"), "CLASS": np.zeros(0, "U1"), "ACCEPTED": np.zeros(0, bool)}
    none |= {"DATE_OBS": np.zeros(0, "datetime64[us]"), "RA": np.zeros(0), "DEC": np.zeros(0)}
    assert len(RATIOS.cast(matrix([], none))["TIME"]) == 0
    tables, exposures = month(2, 0)
    assert len(RATIOS.cast(matrix(tables, exposures))["TIME"]) == 0


def test_stars_may_come_at_once_or_one_exposure_at_a_time():
    tables, exposures = month(3, 60)
    joined = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    at_once = ag.gather_stars([(np.repeat(np.arange(3), 60), joined)])
    single = ag.gather_stars((i, t) for i, t in enumerate(tables))
    assert single.x.dtype == np.float32
    a, b = (ag.aggregate(s, exposures, CELLS, RULE) for s in (at_once, single))
    for name in a:
        assert_array_equal(a[name], b[name])
    mixed = ag.aggregate(ag.gather_stars((i, tables[i]) for i in (2, 0, 1)), exposures, CELLS, RULE)
    for name in a:
        if a[name].dtype.kind == "f":
            assert_allclose(mixed[name], a[name], rtol=1e-6, atol=1e-9, err_msg=name)
        else:
            assert_array_equal(mixed[name], a[name], err_msg=name)


def test_mismatched_stars_stay_out_of_means_and_fits():
    tables, exposures = month(3, 300)
    for columns in tables:
        columns["VFLUX"][:6] *= 5
        columns["FRAT"][:6] *= 5
    clean = matrix(*month(3, 300), times=["all"], spaces=["fpa"], sky_fields=["all"])
    spoilt = matrix(tables, exposures, times=["all"], spaces=["fpa"], sky_fields=["all"])
    assert_allclose(spoilt["MEAN_FRAT"], clean["MEAN_FRAT"], atol=2e-3)
    assert_allclose(spoilt["R2"], clean["R2"], atol=2e-3)
    assert_array_equal(spoilt["N"], clean["N"])


def test_the_monthly_sheet_has_bright_stars_and_no_gain():
    tables, exposures = month(6, 1500, scatter=0.003)
    stars = ag.gather_stars(enumerate(tables))
    sheet = ag.aggregate(
        stars,
        exposures,
        CELLS,
        ag.sheet_rule(faintest_fit=19.5, gain=VIS.gain_models["3"]),
        times=["month"],
        spaces=["quadrant"],
    )
    cells = ag.select(sheet, cls="long", field="all")
    middle = float(truth.colour_ratio(1.75, VIS))
    gain = ra.gain_factors(cells["SPACE_BIN"], VIS.gain_models["3"])
    pulls = (cells["R2"] * gain - middle) / cells["R2_ERR"]
    fitted = np.isfinite(pulls)
    assert fitted.sum() > 100
    assert (np.abs(pulls[fitted]) < 7).all()
    assert (cells["N_FIT"] + cells["N_CLIPPED"] < cells["N"]).all()  # the faint ones
