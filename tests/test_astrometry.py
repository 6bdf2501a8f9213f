"""The original's projection and match, number for number, and our astrometry against known truth."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.flags import SolutionFlag
from visql_lib.pipelines.vis.legacy.read import read_moments
from visql_lib.simulate.field import star_field
from visql_lib.sky.astrometry import solve_exposure
from visql_lib.sky.fit import Pairs, offsets
from visql_lib.sky.geometry import CcdAffine, FocalPlaneGeometry
from visql_lib.sky.geometry_fit import GEOMETRY_COLUMNS, fit_geometry, geometry_of_columns
from visql_lib.sky.matching import match_reference, pairs_within
from visql_lib.sky.pairs import Differences, mutual_nearest, nearest
from visql_lib.sky.projection import Boresight, deproject, moved_boresight, project, reference_projection

EXAMPLE = "vis_20240713/C_20240713_032840_W_52167482.VIS.bin_01_01"
POINTING = Boresight(56.24568699, -55.71421686, 46.21774651)
NAMES = [f"{row}-{column}" for row in range(1, 7) for column in range(1, 7)]
PIXEL = 0.1 / 3600  # deg
SHIFT = {"pixel": PIXEL, "per_ccd": "shift"}
AFFINE = {"pixel": PIXEL, "per_ccd": "affine"}


def _csv(path):
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _floats(table, *keys):
    return tuple(table[key].astype(float) for key in keys)


@pytest.fixture(scope="module")
def real(reference):
    """Moments, projected reference stars, and the reference on the sky, of the real exposure."""
    moments = read_moments(reference / f"{EXAMPLE}_stars2_mom.cat")
    gaia = np.genfromtxt(reference / f"{EXAMPLE}_stars2_gaia.cat", names=True)
    ra, dec, g = _floats(
        _csv(reference / "vis_geometry/gaia_dr3_field_reconstructed.csv"), "ra", "dec", "phot_g_mean_mag"
    )
    return moments, gaia, {"RA": ra, "DEC": dec, "G": g}


# --- the original's method -------------------------------------------------------------------


def test_projection_of_the_original_number_for_number(real):
    _, gaia, sky = real
    rav, decv = reference_projection(sky["RA"], sky["DEC"], POINTING)
    inside = (np.abs(rav) < 0.4) & (np.abs(decv) < 0.4)
    assert inside.sum() == len(gaia) == 2615
    off = np.hypot(rav[inside] - gaia["RAV"], decv[inside] - gaia["DECV"]) * 3600
    assert off.max() < 3e-4


def _reference_match(real):
    moments, gaia, _ = real
    first = moments["XWORLD"], moments["YWORLD"]
    second = gaia["RAV"], gaia["DECV"]
    flux = 10 ** (-0.4 * (gaia["G"] - 30))
    return match_reference(*first, moments["FLUX"], *second, flux, pixel=PIXEL), first, second


def test_match_of_the_original_to_the_last_printed_digit(real):
    match, _, _ = _reference_match(real)
    printed = "715 5.799 6.166 -3.524 7.962 -6.488 9.901 5.298"
    terms = (match.sigma, match.dx, match.dy, match.ddx_dx, match.ddy_dx, match.ddx_dy, match.ddy_dy)
    assert " ".join([str(match.n_kept), *(f"{term:.3f}" for term in terms)]) == printed


def test_pairs_are_the_rows_of_the_original_flux_ratios(real, reference):
    match, first, second = _reference_match(real)
    _, gaia, _ = real
    frat = np.genfromtxt(
        reference / f"{EXAMPLE}_frat.txt", names=True, usecols=("XWORLD", "YWORLD", "G", "BpRp")
    )
    i, j = pairs_within(match, *first, *second, pixel=PIXEL)
    assert len(i) == len(frat) == 722
    np.testing.assert_allclose(first[0][i], frat["XWORLD"], atol=1e-9)
    np.testing.assert_allclose(first[1][i], frat["YWORLD"], atol=1e-9)
    np.testing.assert_allclose(gaia["G"][j], frat["G"], atol=1e-6)
    np.testing.assert_allclose(gaia["BpRp"][j], frat["BpRp"], atol=1e-6)


def test_match_recovers_a_linear_relation():
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-0.35, 0.35, (2, 800))
    flux = 10 ** rng.uniform(4, 5, 800)
    dx, dy = 0.003 + 1e-4 * x - 2e-4 * y, -0.002 + 3e-4 * x + 4e-4 * y
    order = rng.permutation(800)
    match = match_reference(x, y, flux, (x + dx)[order], (y + dy)[order], flux[order], pixel=PIXEL)
    assert match.n_kept > 790  # a star in the way of another is clipped
    assert (order[match.second] == match.first).all()
    # At the mean position of a pair, which half the offset away has changed by half a slope.
    expected = [108 - (1e-4 * 54 + 2e-4 * 36), -72 - (3e-4 * 54 - 4e-4 * 36)]
    assert [match.dx, match.dy] == pytest.approx(expected, abs=0.001)
    slopes = [match.ddx_dx, match.ddy_dx, match.ddx_dy, match.ddy_dy]
    assert slopes == pytest.approx([2.7, 8.1, -5.4, 10.8], abs=0.02)


def test_match_of_crowded_catalogues_is_cut_to_common_fluxes():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-0.35, 0.35, (2, 9000))
    flux = 10 ** rng.uniform(3, 6, 9000)
    match = match_reference(x, y, flux, x + 0.001, y, flux, pixel=PIXEL)
    assert 2000 < match.n_kept <= 5000
    assert match.dx == pytest.approx(0.001 / PIXEL, abs=0.01)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_match_of_next_to_nothing(n):
    x = np.linspace(0, 0.1, n)
    some = np.linspace(-0.2, 0.2, 7)
    for first, second in (((x, x), (some, some)), ((some, some), (x, x)), ((x * np.nan, x), (some, some))):
        match = match_reference(*first, np.ones(len(first[0])), *second, np.ones(len(second[0])), pixel=PIXEL)
        if match.n_kept < 3:
            assert np.isnan(match.dx)
            assert not len(pairs_within(match, *first, *second, pixel=PIXEL)[0])


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_differences_are_counted_as_in_a_histogram_of_all_pairs(seed, n, m):
    rng = np.random.default_rng(seed)
    x1, y1, x2, y2 = (*rng.uniform(-0.4, 0.4, (2, n)), *rng.uniform(-0.4, 0.4, (2, m)))
    dx, dy = (x2 - x1[:, None]).ravel(), (y2 - y1[:, None]).ravel()
    near = (np.abs(dx - 0.05) < 0.3) & (np.abs(dy) < 0.3)
    differences = Differences(x1, y1, x2, y2)
    limits = differences.limits((0.05, 0.0, 0.3))
    if not near.any():
        assert limits[0] > limits[1]
        return
    dx, dy = dx[near], dy[near]
    assert limits == (dx.min(), dx.max(), dy.min(), dy.max())
    if near.sum() > 1:
        expected = np.histogram2d(dx, dy, 20)[0]
        np.testing.assert_array_equal(differences.counts(limits[:2], limits[2:], 20), expected)


def test_nearest_and_mutual_nearest():
    x1, x2 = np.array([0.0, 0.3, 5.0]), np.array([0.1, 9.0])
    assert [p.tolist() for p in nearest(x1, x1 * 0, x2, x2 * 0, 1.0)] == [[0, 1], [0, 0]]
    assert [p.tolist() for p in mutual_nearest(x1, x1 * 0, x2, x2 * 0, 1.0)] == [[0], [0]]
    assert not len(nearest([], [], x2, x2, 1.0)[0])


# --- geometry --------------------------------------------------------------------------------


@given(
    st.floats(0, 359), st.floats(-89, 89), st.floats(0, 359), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1),
    st.floats(-3, 3),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_a_moved_boresight_sees_the_field_moved_and_turned(ra, dec, pa, x, y, turn):
    old = Boresight(ra, dec, pa)
    new = moved_boresight(old, x, y, turn)
    assert np.hypot(*np.subtract(project(new.ra, new.dec, old), (x, y))) < 1e-9
    # A small step along the new axes is that step, turned, along the old ones.
    back = moved_boresight(new, *project(old.ra, old.dec, new), -turn)
    assert np.hypot(*project(back.ra, back.dec, old)) < 1e-9
    assert abs((back.pa - old.pa + 180) % 360 - 180) * np.cos(np.radians(dec)) < 2e-3


def test_affines_there_and_back(vis):
    affine = CcdAffine(-0.1, 0.2, 1e-3, -2e-3, 5e-4, 3e-3)
    geometry = FocalPlaneGeometry(shifts={"1-1": (1e-4, -2e-4)}, affines={"1-1": affine})
    x, y = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 50))
    there = geometry.true("1-1", x, y)
    np.testing.assert_allclose(there[0] - x, 1e-4 + 1e-3 * (x + 0.1) - 2e-3 * (y - 0.2), atol=1e-14)
    np.testing.assert_allclose(geometry.nominal("1-1", *there), (x, y), atol=1e-14)
    names = np.where(x > 0, "1-1", "2-2")
    mixed = geometry.true_of(names, x, y)
    np.testing.assert_allclose(mixed[0], np.where(x > 0, there[0], x), atol=1e-15)


# --- simulated exposures of known geometry ---------------------------------------------------


def _geometry(vis, seed=1):
    shifts = np.random.default_rng(seed).normal(0, 3.0, (36, 2)) * PIXEL
    # What follows the place linearly is no matter of single CCDs.
    row, column = np.divmod(np.arange(36), 6)
    design = np.column_stack([np.ones(36), 0.12 * column - 0.3, 0.13 * row - 0.325])
    shifts -= design @ np.linalg.lstsq(design, shifts, rcond=None)[0]
    return FocalPlaneGeometry.of(vis.sky_distortion, dict(zip(NAMES, map(tuple, shifts), strict=True)))


@cache
def _sky(ra, dec):
    return star_field(5, ra, dec, 0.65, faintest=20.5)


def _place(x, y):
    """Return the CCD of true positions, and whether they are on one: six by six, with gaps."""
    u, v = (x + 0.36) / 0.12, (y + 0.39) / 0.13
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    on = (row >= 0) & (row < 6) & (column >= 0) & (column < 6)
    on &= (np.abs(u - column - 0.5) < 0.46) & (np.abs(v - row - 0.5) < 0.46)
    return np.array([f"{i + 1}-{j + 1}" for i, j in zip(row, column, strict=True)]), on


def _exposure(geometry, boresight, seed, noise=0.05, faintest=19.5, centre=None):
    """Return stars as measured, the reference, and which of the reference the stars are."""
    rng = np.random.default_rng(seed)
    centre = centre or boresight
    sky = _sky(centre.ra, centre.dec)
    x, y = geometry.focal_plane_of(sky["RA"], sky["DEC"], boresight)
    ccd, on = _place(x, y)
    index = np.flatnonzero(on & (sky["G"] > 16.5) & (sky["G"] < faintest))
    ccd, x, y = ccd[index], x[index], y[index]
    for name in np.unique(ccd):
        x[ccd == name], y[ccd == name] = geometry.nominal(name, x[ccd == name], y[ccd == name])
    x, y = (v + rng.normal(0, noise * PIXEL, len(v)) for v in (x, y))
    flux = 10 ** (-0.4 * (sky["G"][index] - 30))
    stars = {"CCD": ccd, "XWORLD": x, "YWORLD": y, "FLUX": flux}
    return stars, {key: sky[key] for key in ("RA", "DEC", "G")}, index


def _distance(a, b):
    """Return how far two boresights lie apart [px]."""
    return float(np.hypot(*project(a.ra, a.dec, b)) / PIXEL)


TRUE = Boresight(120.3, -35.2, 200.0)


@pytest.mark.parametrize(
    ("x", "y", "turn", "known"),
    [(0.058, 0.058, 2.0, True), (-0.08, 0.0, -2.0, False), (0.05, -0.06, None, True), (0, 0, None, False)],
)
def test_a_wrong_header_is_found_and_said(vis, x, y, turn, known):
    stars, reference, index = _exposure(_geometry(vis), TRUE, 1)
    header = moved_boresight(TRUE, x, y, np.radians(turn or 77.0))
    header = header if turn else replace(header, pa=np.nan)
    start = FocalPlaneGeometry.of(vis.sky_distortion) if known else None
    solution = solve_exposure(stars, reference, header, start=start, **SHIFT)
    assert solution.solved
    assert SolutionFlag.ROLL_WRONG in solution.flags
    assert (SolutionFlag.BORESIGHT_WRONG in solution.flags) == (x != 0)
    right = index[solution.first] == solution.second
    assert right.mean() > 0.995
    assert len(right) > 0.99 * len(index)
    assert solution.scatter < 0.1
    assert solution.cross_validated < 0.1
    if known:
        assert _distance(solution.boresight, TRUE) < 0.1
        assert abs(solution.boresight.pa - TRUE.pa) < 0.001
        assert solution.scale == pytest.approx(1, abs=1e-5)


def test_a_right_header_raises_no_flag(vis):
    stars, reference, _ = _exposure(_geometry(vis), TRUE, 2)
    solution = solve_exposure(
        stars, reference, TRUE, start=FocalPlaneGeometry.of(vis.sky_distortion), **AFFINE
    )
    assert solution.flags == 0
    assert solution.scatter < 0.1
    assert set(solution.columns) == set(GEOMETRY_COLUMNS)
    assert solution.columns["CCD"].tolist() == NAMES
    assert solution.columns["N"].sum() == len(solution.first)


def test_exts_name_their_ccds_and_unusable_stars_stay_out(vis):
    stars, reference, _ = _exposure(_geometry(vis), TRUE, 2)
    stars = {**stars, "EXT": np.array([f"{c}.E" for c in stars.pop("CCD")])}
    stars["XWORLD"][:5] = np.nan
    stars["FLUX"][5] = np.nan
    reference["RA"] = np.where(np.arange(len(reference["RA"])) % 50 == 0, np.nan, reference["RA"])
    solution = solve_exposure(
        stars, reference, TRUE, start=FocalPlaneGeometry.of(vis.sky_distortion), **SHIFT
    )
    assert solution.columns["CCD"].tolist() == NAMES
    assert solution.first.min() >= 6
    assert np.isfinite(reference["RA"][solution.second]).all()


@pytest.mark.parametrize("seed", range(4))
def test_another_field_is_never_found(vis, seed):
    stars, _, _ = _exposure(_geometry(vis), TRUE, seed)
    away = _sky(120.3 + 3 * seed + 3, -35.2)
    reference = {"RA": away["RA"] - 3 * seed - 3, "DEC": away["DEC"], "G": away["G"]}
    header = replace(TRUE, pa=np.nan) if seed == 0 else TRUE
    solution = solve_exposure(
        stars, reference, header, start=FocalPlaneGeometry.of(vis.sky_distortion), **SHIFT
    )
    assert solution.flags == SolutionFlag.NOT_FOUND
    assert not solution.solved
    assert np.isnan(solution.scatter)


def test_with_a_geometry_pointings_come_out_within_their_errors(vis):
    truth = _geometry(vis)
    pulls = []
    for seed in range(8):
        boresight = moved_boresight(TRUE, 0.01 * seed, 0.0, 0.3 * seed)
        stars, reference, _ = _exposure(truth, boresight, seed, noise=0.3, faintest=18.5, centre=TRUE)
        solution = solve_exposure(stars, reference, boresight, geometry=truth, **SHIFT)
        off = np.array([solution.boresight.ra - boresight.ra, solution.boresight.dec - boresight.dec]) * 3600
        off[0] *= np.cos(np.radians(boresight.dec))
        turn = (solution.boresight.pa - boresight.pa + 180) % 360 - 180
        errors = solution.ra_err, solution.dec_err, solution.pa_err, solution.scale_err
        pulls.append(np.array([*off, turn, solution.scale - 1]) / errors)
        assert solution.geometry == truth
    assert np.mean(pulls) == pytest.approx(0, abs=0.4)
    assert np.std(pulls) == pytest.approx(1, abs=0.3)


def test_a_ccd_of_few_stars_has_no_terms_of_its_own(vis):
    stars, reference, _ = _exposure(_geometry(vis), TRUE, 3)
    few = np.flatnonzero(stars["CCD"] == "3-4")[4:]
    stars = {key: np.delete(values, few) for key, values in stars.items()}
    solution = solve_exposure(
        stars, reference, TRUE, start=FocalPlaneGeometry.of(vis.sky_distortion), **AFFINE
    )
    row = NAMES.index("3-4")
    assert solution.columns["FLAGS"][row] == SolutionFlag.FEW_STARS
    assert (np.delete(solution.columns["FLAGS"], row) == 0).all()
    assert np.isnan(solution.columns["DX_ERR"][row])
    assert np.isfinite(np.delete(solution.columns["DX_ERR"], row)).all()


def test_a_wrong_pair_does_not_pull_its_ccd_away(vis):
    stars, reference, _ = _exposure(_geometry(vis), TRUE, 4)
    on = np.flatnonzero(stars["CCD"] == "2-5")
    stars["XWORLD"][on[0]] += 15 * PIXEL
    solution = solve_exposure(
        stars, reference, TRUE, start=FocalPlaneGeometry.of(vis.sky_distortion), **SHIFT
    )
    row = NAMES.index("2-5")
    assert solution.columns["N_OUTLIERS"][row] == 1
    assert solution.columns["SCATTER"][row] < 0.1


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_stars", "n_reference", "flags"),
    [
        (0, 500, SolutionFlag.NO_STARS),
        (500, 0, SolutionFlag.NO_REFERENCE),
        (0, 0, SolutionFlag.NO_STARS | SolutionFlag.NO_REFERENCE),
        (7, 500, SolutionFlag.FEW_MATCHES),
        (500, 7, SolutionFlag.FEW_MATCHES),
        (20, 20, SolutionFlag.NOT_FOUND),
    ],
)
def test_too_little_is_flagged(vis, n_stars, n_reference, flags):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-0.3, 0.3, (2, n_stars))
    stars = {"EXT": np.array(["1-1.E"] * n_stars), "XWORLD": x, "YWORLD": y, "FLUX": np.ones(n_stars)}
    ra, dec = TRUE.ra + rng.uniform(-0.3, 0.3, n_reference), TRUE.dec + rng.uniform(-0.3, 0.3, n_reference)
    reference = {"RA": ra, "DEC": dec, "G": np.full(n_reference, 18.0)}
    for header in (TRUE, replace(TRUE, pa=np.nan)):
        solution = solve_exposure(stars, reference, header, **AFFINE)
        assert solution.flags == flags
        assert not solution.solved
        assert not len(solution.first)
        assert solution.columns["CCD"].tolist() == (["1-1"] if n_stars else [])


def test_a_boresight_that_is_not_known_at_all_is_no_exception(vis):
    stars, reference, _ = _exposure(_geometry(vis), TRUE, 1)
    solution = solve_exposure(stars, reference, Boresight(np.nan, np.nan, 0.0), **AFFINE)
    assert solution.flags == SolutionFlag.NO_REFERENCE


def test_nonsense_is_no_exception():
    rng = np.random.default_rng(7)
    n = 40
    for x, y in ((np.full(n, 0.1), np.full(n, 0.2)), (np.linspace(-0.3, 0.3, n), np.zeros(n))):
        stars = {"CCD": np.full(n, "1-1"), "XWORLD": x, "YWORLD": y, "FLUX": np.zeros(n)}
        for ra in (np.full(n, TRUE.ra), TRUE.ra + rng.uniform(-0.3, 0.3, n), TRUE.ra + 5 * x):
            dec, g = np.full(n, TRUE.dec), np.full(n, np.nan)
            solution = solve_exposure(stars, {"RA": ra, "DEC": dec, "G": g}, TRUE, **AFFINE)
            assert not solution.solved or np.isfinite(solution.scatter)


def test_few_stars_get_a_simple_fit(vis):
    stars, reference, index = _exposure(_geometry(vis), TRUE, 1)
    some = np.random.default_rng(2).choice(len(index), 14, replace=False)
    stars = {key: values[some] for key, values in stars.items()}
    solution = solve_exposure(
        stars, reference, TRUE, start=FocalPlaneGeometry.of(vis.sky_distortion), **AFFINE
    )
    assert solution.solved
    assert (index[some][solution.first] == solution.second).all()
    assert _distance(solution.boresight, TRUE) < 5


# --- months ----------------------------------------------------------------------------------


def _month(truth, seed, n):
    """Return matched stars of n exposures, their boresights known to some 10 arcsec, and the true ones."""
    rng = np.random.default_rng(seed)
    exposures, pointings = [], []
    for number in range(n):
        pointing = moved_boresight(TRUE, *rng.uniform(-0.1, 0.1, 2), rng.uniform(-3, 3))
        stars, reference, index = _exposure(truth, pointing, 100 * seed + number, centre=TRUE)
        header = moved_boresight(pointing, *rng.normal(0, 0.003, 2), 1e-4)
        ra, dec = reference["RA"][index], reference["DEC"][index]
        exposures.append(Pairs(stars["CCD"], stars["XWORLD"], stars["YWORLD"], ra, dec, header))
        pointings.append(pointing)
    return exposures, pointings


@pytest.fixture(scope="module")
def month(vis):
    """The true geometry of 16 exposures, their matched stars and their true boresights."""
    truth = _geometry(vis)
    return truth, *_month(truth, 8, 16)


def test_a_month_gives_its_geometry_back_within_errors(vis, month):
    truth, exposures, pointings = month
    fit = fit_geometry(exposures, FocalPlaneGeometry.of(vis.sky_distortion), **SHIFT)
    assert fit.flags == 0
    assert fit.scatter == pytest.approx(0.05, abs=0.002)
    assert fit.n_kept > 0.99 * fit.n_pairs
    true = np.array([truth.shifts[name] for name in fit.columns["CCD"]]) / PIXEL
    off = np.column_stack([fit.columns["DX"], fit.columns["DY"]]) - true
    pulls = off / np.column_stack([fit.columns["DX_ERR"], fit.columns["DY_ERR"]])
    assert np.abs(off).max() < 0.03
    assert pulls.mean() == pytest.approx(0, abs=0.3)
    assert pulls.std() == pytest.approx(1, abs=0.25)
    np.testing.assert_allclose(fit.cubic_x, truth.distortion.x, atol=2e-5)
    worst = max(_distance(p.boresight, b) for p, b in zip(fit.pointings, pointings, strict=True))
    assert worst < 0.05


def test_months_of_affines_find_there_are_none(vis):
    shift_pulls, affine_pulls = [], []
    for seed in range(4):  # the errors of one month go together: several, to see their size
        truth = _geometry(vis, seed)
        fit = fit_geometry(_month(truth, seed, 5)[0], FocalPlaneGeometry.of(vis.sky_distortion), **AFFINE)
        columns = fit.columns
        assert fit.scatter == pytest.approx(0.05, abs=0.003)
        # A linear pattern of shifts is the whole plane's, and every CCD turned back.
        true = np.array([truth.shifts[name] for name in columns["CCD"]])
        design = np.column_stack([np.ones(36), columns["X"], columns["Y"]])
        pattern = np.linalg.lstsq(design, true, rcond=None)[0]
        off = np.column_stack([columns["DX"], columns["DY"]]) - (true - design @ pattern) / PIXEL
        shift_pulls.append(off / np.column_stack([columns["DX_ERR"], columns["DY_ERR"]]))
        names = ("DXX", "DYX", "DXY", "DYY")
        affine = np.column_stack([columns[name] for name in names]) + pattern[1:].ravel()
        affine_pulls.append(affine / np.column_stack([columns[f"{name}_ERR"] for name in names]))
    assert np.std(shift_pulls) == pytest.approx(1, abs=0.25)
    assert np.std(affine_pulls) == pytest.approx(1, abs=0.25)


def test_a_geometry_survives_its_table(vis, month):
    _, exposures, _ = month
    fit = fit_geometry(exposures[:5], FocalPlaneGeometry.of(vis.sky_distortion), **AFFINE)
    back = geometry_of_columns(fit.columns, fit.cubic_x, fit.cubic_y, pixel=PIXEL)
    for number, exposure in enumerate(exposures[:2]):
        was, now = (offsets(exposure, g, fit.pointings[number], pixel=PIXEL) for g in (fit.geometry, back))
        np.testing.assert_allclose(now, was, atol=1e-6)


def test_a_month_of_next_to_nothing_is_flagged(month):
    fit = fit_geometry([], **AFFINE)
    assert fit.flags == SolutionFlag.FEW_MATCHES
    assert np.isnan(fit.scatter)
    _, exposures, _ = month
    first = exposures[0]
    few = replace(first, **{k: getattr(first, k)[:5] for k in ("ccd", "x", "y", "ra", "dec")})
    assert fit_geometry([few], **AFFINE).flags == SolutionFlag.FEW_MATCHES


# --- the real exposure -----------------------------------------------------------------------


def test_real_stars_fit_to_a_fraction_of_a_pixel(vis, real, reference):
    moments, _, sky = real
    start = FocalPlaneGeometry.of(vis.sky_distortion)
    shifts = solve_exposure(moments, sky, POINTING, start=start, **SHIFT)
    affines = solve_exposure(moments, sky, POINTING, start=start, **AFFINE)
    none = solve_exposure(moments, sky, POINTING, start=start, pixel=PIXEL, per_ccd="none")
    assert shifts.scatter < 0.75
    assert affines.scatter < 0.60
    assert shifts.cross_validated < 0.85
    assert affines.cross_validated < 0.75
    assert 4 < none.scatter < 5
    assert {s.flags for s in (shifts, affines, none)} == {SolutionFlag(0)}
    assert min(shifts.n_kept, affines.n_kept) > 620
    # Independent linear fits of each CCD to the sky, from about the same stars.
    table = _csv(reference / "vis_geometry/ccd_affine_to_sky.csv")
    ccd = np.array([ext[:3] for ext in moments["EXT"]])[affines.first]
    world = np.array([moments[key][affines.first] for key in ("XWORLD", "YWORLD")])
    flat = affines.geometry.distortion.apply(*affines.geometry.true_of(ccd, *world))
    on_sky = deproject(*(np.array(flat) * affines.scale), affines.boresight)
    x, y = project(*on_sky, POINTING)
    centres = np.array(_floats(table, "XM", "YM", "X0", "Y0")).T
    slopes = np.array(_floats(table, "dXdx", "dXdy", "dYdx", "dYdy")).T
    off, turned = [], []
    for name, (xm, ym, x0, y0), slope in zip(table["CCD"], centres, slopes, strict=True):
        on = ccd == name
        design = np.column_stack([np.ones(on.sum()), world[0][on] - xm, world[1][on] - ym])
        terms = np.linalg.lstsq(design, np.column_stack([x[on], y[on]]), rcond=None)[0]
        off.append(np.hypot(terms[0, 0] - x0, terms[0, 1] - y0) / PIXEL)
        turned.append(terms[1:].T.ravel() - slope)
    # Their fits keep all of some 20 stars, of 0.85 px rms: 0.2 px per axis.
    assert np.median(off) < 0.35
    assert max(off) < 1.0
    assert np.std(turned) * 0.03 / PIXEL < 0.5  # px, over the half width of the stars of a CCD


def test_the_real_field_is_found_from_anywhere(vis, real):
    moments, _, sky = real
    start = FocalPlaneGeometry.of(vis.sky_distortion)
    true = solve_exposure(moments, sky, POINTING, start=start, **SHIFT)
    lost = replace(moved_boresight(POINTING, 0.05, -0.06, 1.0), pa=np.nan)
    found = solve_exposure(moments, sky, lost, start=start, **SHIFT)
    assert found.flags == SolutionFlag.BORESIGHT_WRONG | SolutionFlag.ROLL_WRONG
    assert _distance(found.boresight, true.boresight) < 0.05
    assert found.scatter == pytest.approx(true.scatter, abs=0.01)
