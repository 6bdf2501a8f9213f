"""The steps on a frame made by hand: which number goes to which column, row and place."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.config import CatalogSettings, PreviewSettings
from visql_lib.frames import open_exposure
from visql_lib.pipelines.vis.settings import MomentSettings
from visql_lib.pipelines.vis.stages.moments import measure_exposure_moments
from visql_lib.steps.catalog import measure_frame

# The toy camera's four kinds of quadrants, in the order of the file: where (rows, columns) image,
# prescan, serial and parallel overscan lie in the full array of 600 x 640. Written out, because
# the instrument's own sections are what is tested.
_LOWER, _UPPER = (slice(0, 592), slice(592, 600)), (slice(8, 600), slice(0, 8))
_LEFT = (slice(20, 628), slice(0, 20), slice(628, 640))
_RIGHT = (slice(12, 620), slice(620, 640), slice(0, 12))
SECTIONS = {
    "1-1.G": (_UPPER, _RIGHT),
    "1-1.E": (_LOWER, _LEFT),
    "1-1.H": (_UPPER, _LEFT),
    "1-1.F": (_LOWER, _RIGHT),
}
OVERSCAN, PRESCAN, PARALLEL, SKY = 2646.0, 2653.0, 2641.0, 2730.0  # ADU
NOISE = 1.3
# One-based place in the full array, flux [ADU], width [px]: four stars on every quadrant.
PLACES = [(150.3, 211.7), (303.6, 149.2), (412.1, 377.4), (227.8, 440.9)]
STARS = {
    name: [(x + 7 * k, y - 5 * k, 3e4 + 2e3 * (4 * k + i), 1.1 + 0.03 * (4 * k + i)) for i, (x, y) in enumerate(PLACES)]
    for k, name in enumerate(SECTIONS)
}  # fmt: skip


def pixels(name, rng):
    """The full array of a quadrant."""
    (rows, parallel), (columns, prescan, overscan) = SECTIONS[name]
    full = np.zeros((600, 640))
    full[rows, overscan], full[rows, prescan] = OVERSCAN, PRESCAN
    full[parallel, columns], full[rows, columns] = PARALLEL, SKY
    y, x = np.indices(full.shape) + 1
    for x0, y0, flux, width in STARS[name]:
        full += flux / (2 * np.pi * width**2) * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / width**2)
    return np.rint(full + rng.normal(0, NOISE, full.shape)).clip(0).astype(np.uint16)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    rng = np.random.default_rng(12)
    parts = [fits.ImageHDU(pixels(name, rng), name=name) for name in SECTIONS]
    path = tmp_path_factory.mktemp("by_hand") / "C_20240715_010000_W_00000001.VIS.bin_01_01.fits"
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(path)
    return path


@pytest.fixture(scope="module")
def found(frame, toy):
    with open_exposure(frame, toy) as exposure:
        return measure_frame(exposure, CatalogSettings(engine="sep"), PreviewSettings(zoom_size=100))


def detected(catalogue, name, x, y):
    """Return the detection of a quadrant that is nearest to a place."""
    on = np.flatnonzero(catalogue["EXT"] == name)
    return on[np.argmin(np.hypot(catalogue["X_IMAGE"][on] - x, catalogue["Y_IMAGE"][on] - y))]


def test_sections_lie_where_they_were_read_out(toy):
    """The prescan at the outer side of the CCD, the overscans at the inner one, whichever quadrant it is."""
    for name, (rows, columns) in SECTIONS.items():
        layout = toy.quadrants[name]
        assert (layout.image_rows, layout.overscan_rows) == rows, name
        assert (layout.image_columns, layout.prescan_columns, layout.overscan_columns) == columns, name
        assert layout.origin == (columns[0].start, rows[0].start), name


def test_every_level_is_that_of_its_section(found):
    rows = found.quadrants
    assert set(rows["EXT"]) == set(SECTIONS)
    for column, level in (
        ("BIAS", OVERSCAN),
        ("BIAS_PRESCAN", PRESCAN),
        ("BIAS_PARALLEL", PARALLEL),
        ("LEVEL", SKY),
        ("BACKGROUND", SKY),
        ("SIGNAL", SKY - OVERSCAN),
    ):
        assert_allclose(rows[column], level, atol=0.3, err_msg=column)
    for column in ("READ_NOISE", "NOISE", "BACKGROUND_RMS"):
        assert_allclose(rows[column], NOISE, rtol=0.1, err_msg=column)


def test_positions_are_those_in_the_full_array(found):
    """Whatever the side of the CCD the quadrant lies on: one-based, pre- and overscan counted."""
    catalogue = found.catalogue
    for name, stars in STARS.items():
        for x, y, flux, width in stars:
            i = detected(catalogue, name, x, y)
            assert_allclose([catalogue["X_IMAGE"][i], catalogue["Y_IMAGE"][i]], [x, y], atol=0.05)
            assert_allclose(catalogue["FLUX_AUTO"][i], flux, rtol=0.03)
            assert_allclose(catalogue["FLUX_RADIUS"][i], 1.1774 * width, rtol=0.05)
            assert catalogue["FLUXERR_AUTO"][i] < 0.01 * flux


def test_focal_plane_positions_are_those_of_the_pixels(found, toy):
    catalogue = found.catalogue
    for name, stars in STARS.items():
        wcs = toy.quadrants[name].wcs
        for x, y, _, _ in stars:
            i = detected(catalogue, name, x, y)
            world = [
                wcs.crval[0] + (x - wcs.crpix[0]) * wcs.scale,
                wcs.crval[1] + (y - wcs.crpix[1]) * wcs.scale,
            ]
            got = [catalogue["X_WORLD"][i], catalogue["Y_WORLD"][i]]
            assert_allclose(got, world, atol=0.05 * wcs.scale)
            assert_allclose(catalogue["FIELDRAD"][i], np.hypot(*got), rtol=1e-6)


@pytest.fixture(scope="module")
def chosen():
    """A stars table of these stars, its rows in another order than the file, no two columns alike."""
    rng = np.random.default_rng(13)
    rows = [(name, *star) for name, stars in STARS.items() for star in stars]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    number = np.arange(len(rows))
    table = {"EXT": np.array([row[0] for row in rows])}
    table |= {"X_IMAGE": np.array([row[1] for row in rows]), "Y_IMAGE": np.array([row[2] for row in rows])}
    given = ("X_WORLD", "Y_WORLD", "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_RADIUS", "FIELDRAD")
    table |= {name: 1000.0 * (k + 1) + number for k, name in enumerate(given)}
    return table, np.array([row[3] for row in rows]), np.array([row[4] for row in rows])


@pytest.fixture(scope="module")
def measured(frame, toy, chosen):
    with open_exposure(frame, toy) as exposure:
        return measure_exposure_moments(exposure, chosen[0], MomentSettings(layout_cell=0.5))


@pytest.mark.parametrize(
    ("column", "source"),
    [
        ("EXT", "EXT"),
        ("XWORLD", "X_WORLD"),
        ("YWORLD", "Y_WORLD"),
        ("FLUX", "FLUX_AUTO"),
        ("FLUXERR", "FLUXERR_AUTO"),
        ("FLUXRAD", "FLUX_RADIUS"),
        ("FIELDRAD", "FIELDRAD"),
    ],
)
def test_what_the_moments_table_takes_from_the_stars(measured, chosen, column, source):
    assert_array_equal(measured.moments[column], chosen[0][source])


def test_moments_are_measured_where_the_star_is_and_stand_in_its_row(measured, chosen):
    table, flux, width = chosen
    moments = measured.moments
    assert_allclose(moments["XIMAGE"], table["X_IMAGE"], atol=0.02)
    assert_allclose(moments["YIMAGE"], table["Y_IMAGE"], atol=0.02)
    assert_allclose(moments["DX"], table["X_IMAGE"] - np.rint(table["X_IMAGE"]), atol=0.02)
    # Under the weight, see test_moments; every star has its own width.
    w = MomentSettings().sigma
    assert_allclose(moments["R2"], 2 * width**2 * w**2 / (width**2 + w**2), rtol=0.01)
    assert_allclose(moments["WTFLUX"], flux * w**2 / (width**2 + w**2), rtol=0.01)


def test_cut_outs_are_those_of_their_stars(measured, chosen):
    table, flux, _ = chosen
    stamps = measured.stamps
    assert_array_equal(stamps["XWORLD"], table["X_WORLD"])
    assert_array_equal(stamps["YWORLD"], table["Y_WORLD"])
    assert_array_equal(stamps["EXT"], table["EXT"])
    side = MomentSettings().stamp
    images = stamps["STAMP"].reshape(-1, side, side)
    # Eleven pixels hold all of a star; their noise is below a thousandth of it.
    half = side // 2
    core = images[:, half - 5 : half + 6, half - 5 : half + 6].sum(axis=(1, 2))
    assert_allclose(core, flux, rtol=0.01)
