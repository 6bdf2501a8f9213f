"""Overscan and trimming: the level of the bias, sections as headers write them, the sky under the pixels."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.ccd.clipping import clipped_mean
from visql_lib.ccd.overscan import overscan_level, required_section, subtract_overscan
from visql_lib.ccd.trim import assembled, trimmed, trimmed_header
from visql_lib.errors import FrameError
from visql_lib.instruments.finding import HeaderSections, ImagePart, amplifiers_in
from visql_lib.instruments.sections import Section

DATA, BIAS = Section(0, 100, 0, 80), Section(102, 130, 0, 80)


def frame(level, noise=4.0, shape=(80, 130), seed=1):
    rng = np.random.default_rng(seed)
    return np.rint(level + rng.normal(0, noise, shape)).astype(np.uint16)


def test_a_constant_is_finer_than_one_adu():
    found = overscan_level(frame(1000.37), DATA, BIAS)
    assert found.level.shape == (1, 1)
    assert abs(found.level[0, 0] - 1000.37) < 4 * found.err[0, 0]
    assert found.err[0, 0] == pytest.approx(4 / np.sqrt(28 * 80), rel=0.1)
    pixels = frame(1000.37, noise=0.3)  # less noise than a step of the numbers
    assert overscan_level(pixels, DATA, BIAS).level[0, 0] == pytest.approx(1000.37, abs=0.06)


@pytest.mark.parametrize("method", ["constant", "row", "polynomial"])
def test_one_row_of_4e9_leaves_the_level_unmoved(method):
    """ccdproc#722."""
    pixels = frame(1000.0).astype(np.uint32)
    clean = overscan_level(pixels, DATA, BIAS, method).level
    pixels[40, 100:] = 4_000_000_000
    level = overscan_level(pixels, DATA, BIAS, method).level
    np.testing.assert_allclose(level, clean, atol=4.0 if method == "row" else 0.1)
    assert np.all(np.isfinite(level))


def test_each_row_has_its_level():
    rows = 1000 + 3 * np.sin(np.arange(80) / 9.0)
    pixels = frame(rows[:, None], noise=2.0)
    found = overscan_level(pixels, DATA, BIAS, "row")
    pull = (found.level[:, 0] - rows) / found.err[:, 0]
    assert found.level.shape == (80, 1)
    assert pull.std() == pytest.approx(1, abs=0.25)


def test_a_polynomial_follows_the_level_and_rejects_rows():
    rows = 1000 + 5 * np.linspace(-1, 1, 80) ** 2
    pixels = frame(rows[:, None], noise=2.0)
    pixels[10:14, 100:] += 30  # charge of a bright star
    found = overscan_level(pixels, DATA, BIAS, "polynomial", order=2)
    assert found.rejected >= 4
    pull = (found.level[:, 0] - rows) / found.err[:, 0]
    assert np.abs(pull).max() < 4
    assert found.err.max() < 0.3


def test_an_overscan_above_the_data_is_one_level_per_column():
    columns = 1000 + np.arange(100) * 0.1
    pixels = frame(columns[None, :], shape=(100, 100), noise=1.0)
    found = overscan_level(pixels, Section(0, 100, 0, 78), Section(0, 100, 80, 100), "row")
    assert found.level.shape == (1, 100)
    assert np.abs(found.level[0] - columns).max() < 5 * found.err.max()


@pytest.mark.parametrize("method", ["row", "polynomial"])
def test_an_overscan_shorter_than_the_image(method):
    """ccdproc#804: rows it does not reach have the level of the nearest ones."""
    pixels = frame(1000.0, noise=1.0)
    found = overscan_level(pixels, DATA, Section(102, 130, 4, 70), method)
    assert found.level.shape == (80, 1)
    assert np.abs(found.level - 1000).max() < 1
    assert (found.level[70:] == found.level[69]).all()
    assert (found.level[:4] == found.level[4]).all()
    assert subtract_overscan(pixels, found).shape == pixels.shape


def test_subtraction_never_wraps():
    pixels = np.full((80, 130), 10, np.uint16)
    pixels[BIAS.rows, BIAS.columns] = 12
    assert (subtract_overscan(pixels, overscan_level(pixels, DATA, BIAS))[:, :100] == -2).all()


def test_columns_beside_the_data_can_be_skipped():
    pixels = frame(1000.0)
    pixels[:, 102:105] += 50
    assert overscan_level(pixels, DATA, BIAS, "row", skip=3).level.mean() == pytest.approx(1000, abs=0.5)
    with pytest.raises(FrameError, match="skip fewer"):
        overscan_level(pixels, DATA, BIAS, skip=28)


def test_sections_as_headers_write_them():
    """Blanks, reversed, beyond the array."""
    section = required_section("[   4:  13,   1: 520]", "BIASSEC", (520, 536))
    assert (section.x0, section.x1, section.y0, section.y1) == (3, 13, 0, 520)
    section = required_section("[3072:2049,1025:2048]", "DATASEC", (2048, 4096))
    assert section.reverse_x
    assert not section.reverse_y
    assert section.shape == (1024, 1024)
    with pytest.raises(FrameError, match=r"a.fit: BIASSEC = '\[4:600,1:520\]' is not within 536 columns"):
        required_section("[4:600,1:520]", "BIASSEC", (520, 536), "a.fit")
    with pytest.raises(FrameError, match="BIASSEC is missing"):
        required_section(None, "BIASSEC", (520, 536))


@pytest.mark.parametrize(
    ("bias", "method", "said"),
    [
        (Section(90, 130, 0, 80), "constant", "overlaps the data"),
        (Section(102, 130, 80, 90), "row", "diagonally"),
    ],
)
def test_sections_that_cannot_be(bias, method, said):
    with pytest.raises(FrameError, match=said):
        overscan_level(frame(1000.0, shape=(90, 130)), DATA, bias, method)


def test_an_overscan_without_numbers():
    pixels = np.full((80, 130), np.nan, np.float32)
    for method in ("constant", "row"):
        with pytest.raises(FrameError, match="holds no number"):
            overscan_level(pixels, DATA, BIAS, method)


def test_trimming_turns_a_reversed_section_over():
    pixels = np.arange(20).reshape(4, 5)
    np.testing.assert_array_equal(
        trimmed(pixels, Section(1, 4, 0, 2, reverse_x=True)), [[3, 2, 1], [8, 7, 6]]
    )


def test_trimming_moves_the_header():
    """ccdproc#281, #718, #789."""
    header = fits.Header({"CRPIX1": 100.0, "CRPIX2": 50.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    header.update({"CRPIX1A": 7.0, "BIASSEC": "[1:16,1:520]", "TRIMSEC": "[17:528,1:520]"})
    found = trimmed_header(header, Section(16, 528, 0, 520))
    assert (found["CRPIX1"], found["CRPIX2"], found["CRPIX1A"]) == (84, 50, -9)
    assert found["LTV1"] == -16
    assert "LTV2" not in found
    assert found["DATASEC"] == "[1:512,1:520]"
    assert not {"BIASSEC", "TRIMSEC"} & set(found)
    assert header["CRPIX1"] == 100
    assert trimmed_header(found, Section(4, 100, 0, 520))["LTV1"] == -20


def sky_header(kind, turn):
    c, s = np.cos(turn) * 3e-4, np.sin(turn) * 3e-4
    header = fits.Header({"NAXIS": 2, "NAXIS1": 300, "NAXIS2": 200, "CRPIX1": 120.3, "CRPIX2": 77.7})
    header.update({"CRVAL1": 150.0, "CRVAL2": 20.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    if kind == "crota":
        header.update({"CDELT1": -3e-4, "CDELT2": 3e-4, "CROTA2": np.degrees(turn)})
    elif kind == "pc":
        header.update({"CDELT1": -3e-4, "CDELT2": 3e-4, "PC1_2": 0.1, "PC2_1": -0.1})
    elif kind == "bare":
        header.update({"CDELT1": -3e-4, "CDELT2": 3e-4})
    else:
        header.update({"CD1_1": -c, "CD1_2": s, "CD2_1": s, "CD2_2": c})
    if kind == "sip":
        header.update({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 2})
        header.update(
            {"A_2_0": 1e-5, "A_1_1": 2e-5, "A_0_3": 3e-7, "B_0_2": -2e-5, "B_1_1": 1e-5, "B_2_0": 4e-6}
        )
    if kind == "tpv":
        header.update({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 0.0, "PV1_1": 1.0, "PV1_4": 1e-3})
        header.update({"PV2_0": 0.0, "PV2_1": 1.0, "PV2_5": 2e-3})
    return header


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["cd", "crota", "pc", "bare", "sip", "tpv"]),
    turn=st.floats(-3, 3),
    corner=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    reverse=st.tuples(st.booleans(), st.booleans()),
    origin=st.tuples(st.integers(0, 500), st.integers(0, 500)),
)
def test_the_sky_stays_under_every_pixel(kind, turn, corner, reverse, origin):
    header = sky_header(kind, turn)
    section = Section(corner[0], corner[0] + 150, corner[1], corner[1] + 90, *reverse)
    before, after = WCS(header), WCS(trimmed_header(header, section, origin))
    y, x = np.mgrid[:200, :300]
    old_x, old_y = (trimmed(a, section)[::17, ::17].ravel() for a in (x, y))
    new_y, new_x = (a[::17, ::17].ravel() for a in np.mgrid[:90, :150])
    sky = after.all_pix2world(new_x + origin[0], new_y + origin[1], 0)
    wanted = before.all_pix2world(old_x, old_y, 0)
    # 1e-6 px of 3e-4 deg
    np.testing.assert_allclose(sky, wanted, rtol=0, atol=3e-10)


def test_physical_coordinates_turn_with_the_pixels():
    header = fits.Header({"LTV1": -10.0, "LTM1_1": 0.5})
    found = trimmed_header(header, Section(5, 25, 0, 10, reverse_x=True))
    physical = 64.0
    old = 0.5 * physical - 10  # one-based pixel 22 of the file
    assert found["LTM1_1"] * physical + found["LTV1"] == 26 - old


def test_distortion_by_tables_is_refused():
    with pytest.raises(FrameError, match="CPDIS1"):
        trimmed_header(fits.Header({"CPDIS1": "LOOKUP"}), DATA)


def test_amplifiers_are_put_in_place():
    """Four amplifiers, two of them read out the other way; binned by 2."""
    truth = np.arange(40 * 60, dtype=np.float32).reshape(40, 60)
    parts, arrays = [], []
    for i, (x, y) in enumerate([(0, 0), (30, 0), (0, 20), (30, 20)]):
        own = truth[y : y + 20, x : x + 30][:: -1 if y else 1, :: -1 if x else 1]
        array = np.zeros((20, 36), np.float32)
        array[:, 4:34] = own
        xs = f"{2 * x + 60}:{2 * x + 1}" if x else "1:60"
        ys = f"{2 * y + 40}:{2 * y + 1}" if y else "1:40"
        cards = {"DATASEC": "[5:34,1:20]", "DETSEC": f"[{xs},{ys}]", "CCDSUM": "2 2"}
        parts.append(ImagePart(i, f"A{i}", array.shape, cards))
        arrays.append(array)
    found, notes = amplifiers_in(HeaderSections(kind="sections"), parts, {}, float("nan"))
    assert not notes
    layouts = [found[i] for i in range(4)]
    image, number = assembled([trimmed(a, la.data) for a, la in zip(arrays, layouts, strict=True)], layouts)
    np.testing.assert_array_equal(image, truth)
    assert [number[0, 0], number[0, -1], number[-1, 0], number[-1, -1]] == [0, 1, 2, 3]
    with pytest.raises(FrameError, match="lies over another"):
        assembled([arrays[0][:, 4:34]] * 2, [layouts[0]] * 2)


@given(st.floats(100, 60000), st.floats(0.0, 20), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_clipped_mean_leaves_out_outliers(level, noise, seed):
    values = np.rint(level + np.random.default_rng(seed).normal(0, noise, 2000))
    dirty = np.r_[values, [1e9] * 40]
    clean = clipped_mean(values.astype(np.int64))
    assert clipped_mean(dirty).mean == pytest.approx(clean.mean, abs=1e-6)
    assert abs(clean.mean - level) < max(5 * noise / 2000**0.5, 0.51 if noise < 0.6 else 0.05)


def test_the_mean_of_nothing():
    assert clipped_mean(np.full(3, np.nan)).n == 0
