"""From pixels to the sky by a header's WCS, and back by solving that."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tests.guide_frames import SCALE, wcs_cards
from visql_lib.sky.header_wcs import MARGIN, HeaderWCS

SHAPE = (2472, 3296)
CORNER = (3295.0, 2471.0)
SIP_NAMES = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}


def sip(coefficient: float, **changes):
    """A WCS whose distortion grows with the cube of the distance to the centre."""
    terms = dict.fromkeys(("A_3_0", "A_1_2", "B_0_3", "B_2_1"), coefficient)
    return wcs_cards(SHAPE, **SIP_NAMES | {"A_ORDER": 3, "B_ORDER": 3} | terms | changes)


def tpv(**changes):
    """A polynomial on the tangent plane, in degrees."""
    terms = {f"PV{axis}_{k}": value for axis in (1, 2) for k, value in ((1, 1.0), (4, 2e-4), (7, -3e-4))}
    return wcs_cards(SHAPE, CTYPE1="RA---TPV", CTYPE2="DEC--TPV", **terms | changes)


def of(cards, shape=SHAPE):
    return HeaderWCS.from_header(fits.Header(cards.items()), shape)


def over_frame(n=2000, seed=3):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, SHAPE[1] - 0.5, n), rng.uniform(-0.5, SHAPE[0] - 0.5, n)
    x[:4], y[:4] = (0, 0, CORNER[0], CORNER[0]), (0, CORNER[1], 0, CORNER[1])
    return x, y


def over_the_sky(n, seed=4):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


@pytest.mark.parametrize("way_back", [{}, {"AP_ORDER": 3, "BP_ORDER": 3, "AP_1_0": 1e3, "BP_0_2": -7.0}])
def test_the_known_place_of_a_corner(way_back):
    wcs = of(sip(4e-9, **way_back))
    assert_allclose(wcs.to_sky(*CORNER), (195.24516516, 32.9086384), atol=1e-8, rtol=0)
    assert_allclose(wcs.to_pixel(195.24516516, 32.9086384), CORNER, atol=1e-3, rtol=0)
    assert_allclose(wcs.centre, (200.0, 30.0), atol=1e-12)
    assert_allclose(wcs.to_sky(1647.5, 1235.5), (200.0, 30.0), atol=1e-12)


def test_a_distortion_of_350_pixels():
    wcs = of(sip(4e-8))
    assert_allclose(wcs.to_sky(*CORNER), (194.50986457, 33.32691338), atol=1e-8, rtol=0)
    assert_allclose(wcs.to_pixel(194.50986457, 33.32691338), CORNER, atol=1e-3, rtol=0)


@pytest.mark.parametrize("coefficient", [4e-9, 4e-8, -4e-8])
def test_far_stars_do_not_fold_in(coefficient):
    """A third-order polynomial brings both of these to the frame, if nobody stops it."""
    wcs = of(sip(coefficient))
    assert np.isnan(wcs.to_pixel([200.0, 240.0], [-3.0, 30.0])).all()
    ra, dec = over_the_sky(100_000)
    x, y = wcs.to_pixel(ra, dec)
    on_frame = (x > -0.5) & (x < SHAPE[1] - 0.5) & (y > -0.5) & (y < SHAPE[0] - 0.5)
    share = on_frame.sum() / len(ra)
    area = np.mean(wcs.pixel_area(*over_frame(500))) * SHAPE[0] * SHAPE[1] / 3600**2
    assert share == pytest.approx(
        area / (4 * math.pi * math.degrees(1) ** 2), rel=0.3
    )  # none twice, none lost
    back_ra, back_dec = wcs.to_sky(x[on_frame], y[on_frame])
    assert_allclose(back_ra, ra[on_frame], atol=0.01 * SCALE)
    assert_allclose(back_dec, dec[on_frame], atol=0.01 * SCALE)


FORMS = {
    "TAN": wcs_cards(SHAPE),
    "SIP": sip(4e-9),
    "pincushion": sip(4e-8),
    "barrel": sip(-4e-8),
    "TPV": tpv(),
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), turn=st.floats(0, 360), mirrored=st.booleans())
@example(ra=0.001, dec=0.0, turn=10.0, mirrored=False)  # the frame lies on both sides of RA = 0
@example(ra=10.0, dec=89.5, turn=0.0, mirrored=True)  # and around the pole
@example(ra=10.0, dec=-90.0, turn=0.0, mirrored=False)
def test_every_pixel_comes_back(form, ra, dec, turn, mirrored):
    c, s = SCALE * math.cos(math.radians(turn)), SCALE * math.sin(math.radians(turn))
    sign = 1 if mirrored else -1
    cards = FORMS[form] | {"CRVAL1": ra, "CRVAL2": dec, "CD1_1": sign * c, "CD1_2": sign * s}
    cards |= {"CD2_1": -s, "CD2_2": c}
    wcs = of(cards)
    x, y = over_frame()
    sky = wcs.to_sky(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = WCS(fits.Header(cards.items())).all_pix2world(x, y, 0)
    apart = (sky[0] - expected[0] + 180) % 360 - 180
    assert_allclose(apart * np.cos(np.radians(sky[1])), 0, atol=1e-9)
    assert_allclose(sky[1], expected[1], atol=1e-9)
    assert ((sky[0] >= 0) & (sky[0] < 360)).all()
    assert_allclose(wcs.to_pixel(*sky), (x, y), atol=1e-3, rtol=0)


def test_stars_just_beside_the_frame_are_beside_it():
    wcs = of(sip(4e-9))
    x, y = np.array([-40.0, 3330.0, 1647.5, 1647.5]), np.array([1200.0, 1200.0, -40.0, 2500.0])
    assert_allclose(wcs.to_pixel(*wcs.to_sky(x, y)), (x, y), atol=1e-3)
    corner = wcs.to_sky(3295.5, 2471.5)
    assert wcs.radius == pytest.approx(_distance(wcs.centre, corner), abs=1e-9)
    outside = [(200.0, 30.0 + wcs.radius + MARGIN + sign * 0.01) for sign in (-1, 1)]
    found = wcs.to_pixel(*np.transpose(outside))
    assert np.isfinite(found[1]).tolist() == [True, False]


def _distance(a, b):
    (ra, dec), (ra2, dec2) = np.radians(a), np.radians(b)
    return math.degrees(math.acos(np.sin(dec) * np.sin(dec2) + np.cos(dec) * np.cos(dec2) * np.cos(ra - ra2)))


def test_shapes_are_kept_and_nan_stays():
    wcs = of(wcs_cards(SHAPE))
    x, y = wcs.to_pixel(np.array([[200.0, np.nan, 200.1]]), 30.0)
    assert x.shape == y.shape == (1, 3)
    assert np.isfinite(x).tolist() == [[True, False, True]]
    assert wcs.to_pixel([], [])[0].shape == wcs.to_sky([], [])[0].shape == (0,)
    assert np.ndim(wcs.to_sky(1.0, 2.0)[0]) == np.ndim(wcs.to_pixel(200.0, 30.0)[0]) == 0


def test_the_area_of_pixels():
    """On the plane that touches the sky, it shrinks with the cube of the cosine of the distance."""
    wcs = of(wcs_cards(SHAPE, CRVAL2=85.0))
    assert wcs.pixel_area(1647.5, 1235.5) == pytest.approx(8.6**2, rel=1e-7)
    theta = math.radians(_distance(wcs.centre, wcs.to_sky(*CORNER)))
    assert wcs.pixel_area(*CORNER) == pytest.approx(8.6**2 * math.cos(theta) ** 3, rel=1e-7)
    r = math.hypot(1000.0, 500.0)
    radial, across = 1 + 3 * 4e-8 * r**2, 1 + 4e-8 * r**2  # of the distortion
    theta = math.atan(math.radians(r * across * SCALE))
    expected = 8.6**2 * radial * across * math.cos(theta) ** 3
    assert of(sip(4e-8)).pixel_area([2647.5], [1735.5]) == pytest.approx(expected, rel=1e-6)


def test_coefficients_that_are_not_named_are_used():
    named, bare = of(sip(4e-8)), of(sip(4e-8, CTYPE1="RA---TAN", CTYPE2="DEC--TAN"))
    assert_allclose(bare.to_sky(*CORNER), named.to_sky(*CORNER), atol=1e-12)
    assert (bare.sip_not_named, bare.sip_missing, bare.ctype) == (True, False, "RA---TAN")
    assert (named.sip_not_named, named.sip_missing, named.ctype) == (False, False, "RA---TAN-SIP")


@pytest.mark.parametrize("orders", [{}, {"A_ORDER": 3, "B_ORDER": 3}])
def test_names_without_coefficients_are_linear(orders):
    plain, empty = of(wcs_cards(SHAPE)), of(wcs_cards(SHAPE, **SIP_NAMES | orders))
    assert_allclose(empty.to_sky(*CORNER), plain.to_sky(*CORNER), atol=1e-12)
    assert (empty.sip_not_named, empty.sip_missing) == (False, True)
    assert (plain.sip_not_named, plain.sip_missing) == (False, False)
    zeros = of(sip(0.0))
    assert (zeros.sip_not_named, zeros.sip_missing) == (False, False)


def test_orders_may_be_missing_and_limit_what_counts():
    whole = of(sip(4e-8))
    assert_allclose(of(sip(4e-8, A_ORDER=None, B_ORDER=None)).to_sky(*CORNER), whole.to_sky(*CORNER))
    assert_allclose(of(sip(4e-8, A_ORDER=2, B_ORDER=2)).to_sky(*CORNER), of(wcs_cards(SHAPE)).to_sky(*CORNER))
    only_x = of(sip(4e-8, B_ORDER=None, B_0_3=None, B_2_1=None))
    x, y = only_x.to_pixel(*only_x.to_sky(*CORNER))
    assert_allclose((x, y), CORNER, atol=1e-3)
    assert not np.allclose(only_x.to_sky(*CORNER), whole.to_sky(*CORNER), atol=1e-3)


def test_a_matrix_may_be_written_in_other_ways():
    """Scales and an angle, scales and PC; beside CD, both do not count."""
    turned = {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None, "CDELT1": -SCALE, "CDELT2": SCALE}
    c, s = math.cos(0.5), math.sin(0.5)
    expected = of(wcs_cards(SHAPE, CD1_1=-SCALE * c, CD1_2=SCALE * s, CD2_1=SCALE * s, CD2_2=SCALE * c))
    for more in ({"CROTA2": -math.degrees(0.5)}, {"PC1_1": c, "PC1_2": -s, "PC2_1": s, "PC2_2": c}):
        assert_allclose(of(wcs_cards(SHAPE, **turned | more)).to_sky(*CORNER), expected.to_sky(*CORNER))
    both = of(wcs_cards(SHAPE, CDELT1=1.0, CDELT2=1.0, PC1_1=0.0))
    assert_allclose(both.to_sky(*CORNER), of(wcs_cards(SHAPE)).to_sky(*CORNER))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CTYPE1": None}, "it has no CTYPE1"),
        ({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}, "CTYPE = 'RA---SIN', 'DEC--SIN': the projections"),
        ({"CTYPE2": "DEC--TPV"}, "the projections that are known are TAN, TAN-SIP and TPV"),
        ({"CTYPE2": "RA---TAN"}, "the projections"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "the projections"),
        ({"CTYPE1": 5}, "the projections"),
        ({"CRVAL1": None}, "it has no CRVAL1"),
        ({"CRPIX2": "centre"}, "CRPIX2 = 'centre' is no number"),
        ({"CRPIX1": 1e9}, "CRPIX"),
        ({"CRVAL2": 95.0}, "No valid solution"),
        ({"CRVAL1": 1e300}, "CRVAL"),
        ({"CD1_1": 0.0}, "singular"),
        ({"CD1_1": 1.0, "CD2_1": 1.0, "CD1_2": 2.0, "CD2_2": 2.0}, "singular"),
        (dict.fromkeys(("CD1_1", "CD1_2", "CD2_1", "CD2_2")), "neither CD1_1 nor CDELT1"),
        ({"CD2_2": True}, "CD2_2 = True is no number"),
        ({"CD1_1": -1.0, "CD2_2": 1.0}, "deg from its centre"),
        ({"CUNIT1": "parsec"}, "parsec"),
        ({"RADESYS": "FK4"}, "its coordinates are fk4 of 1950"),
        ({"EQUINOX": 1975.0}, "its coordinates are fk4 of 1975"),
        ({"RADESYS": "nothing"}, "celestial frame"),
        ({"A_ORDER": "three", "A_2_0": 1e-9}, "A_ORDER = 'three' is no number"),
        ({"B_2_0": "x"}, "B_2_0 = 'x' is no number"),
        (dict.fromkeys(("A_3_0", "A_1_2", "B_0_3", "B_2_1"), -4e-7), "its distortion folds the frame"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(changes, said):
    with pytest.raises(ValueError, match=said) as caught:
        of(wcs_cards(SHAPE, **changes))
    assert "\n" not in str(caught.value)


def test_odd_equinoxes_do_not_matter():
    for odd in ({"EQUINOX": "J2000"}, {"EQUINOX": 2000.0, "RADESYS": "FK5"}, {"EPOCH": "now"}):
        assert_allclose(of(wcs_cards(SHAPE, **odd)).to_sky(*CORNER), of(wcs_cards(SHAPE)).to_sky(*CORNER))


OTHER_KEYS = ("CDELT1", "PC1_1", "CROTA2", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "CUNIT1", "WCSAXES")
OTHER_KEYS += ("AP_ORDER", "A_DMAX", "CTYPE3", "CD3_3", "PV1_99", "A_9_9")
ANYTHING = st.one_of(
    st.floats(), st.integers(-(10**6), 10**6), st.booleans(), st.text("AZ- 019.'", max_size=9), st.none()
)


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(list(FORMS.values())),
    lies=st.dictionaries(
        st.sampled_from((*sip(1.0), *tpv(), *OTHER_KEYS)),
        ANYTHING,
        min_size=1,
        max_size=4,
    ),
)
def test_headers_that_lie_give_a_sky_or_a_reason(form, lies):
    cards = {
        key: value
        for key, value in (form | lies).items()
        if not isinstance(value, float) or np.isfinite(value)
    }
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    wcs = reason = None
    try:
        wcs = HeaderWCS.from_header(header, SHAPE)
    except ValueError as error:
        reason = str(error)
    if wcs is None:
        assert reason
        assert "\n" not in reason
    else:
        assert 0 <= wcs.centre[0] < 360
        assert 0 < wcs.radius < 60
        places = np.array(over_frame(50))
        back = np.array(wcs.to_pixel(*wcs.to_sky(*places)))
        known = np.isfinite(back)  # what cannot be brought back, as of pixels of 34 deg, is not known
        assert_allclose(back[known], places[known], atol=1e-2)
