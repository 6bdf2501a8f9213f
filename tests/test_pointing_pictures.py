"""Pictures of a frame of a guide camera: what is drawn where, also without stars, zero point or pixels."""

from __future__ import annotations

from typing import Any

import guide_columns as guide
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver, QuiverKey

from visql_lib.flags import GuideStarFlag
from visql_lib.instruments.guide import GuideFacts
from visql_lib.instruments.model import load_instrument
from visql_lib.pictures import style
from visql_lib.pipelines.pointing.pictures.detrended import detrended_picture
from visql_lib.pipelines.pointing.pictures.quiver import quiver_picture
from visql_lib.pipelines.pointing.pictures.zp import zp_picture
from visql_lib.pipelines.pointing.summary import FrameSummary


@pytest.fixture(scope="module")
def camera() -> GuideFacts:
    return load_instrument("pointing_camera").guide


@pytest.fixture(scope="module")
def small(camera: GuideFacts) -> GuideFacts:
    """A camera of 120 x 90 px."""
    size = {"columns": 120, "rows": 90, "split_x": 59.5, "split_y": 44.5, "science_radius": 30.0}
    return camera.model_copy(update=size)


def summary(**how: Any) -> FrameSummary:
    found = guide.measured(**how)
    found.sky["mjd_obs"][:] = 59377.2178
    return FrameSummary(guide.raw_cards(), found.catalog, found.zeropoints, found.sky, "k")


def texts(figure: Figure) -> str:
    """All that is written, and whether it lies within the picture."""
    style.pixels_of(figure)
    width, height = figure.get_size_inches() * figure.get_dpi()
    found = [*figure.texts]
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
    for text in (t for t in found if t.get_text()):
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    return "\n".join(t.get_text() for t in found)


def drawn(axes: Axes, label: str) -> Any:
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


def test_zero_point_stars_are_dark_and_others_light(camera: GuideFacts) -> None:
    """Each star once, under its first reason; the line is the zero point's."""
    found = summary(n=500)
    stars = found.catalog
    stars["flags"][:3] = GuideStarFlag.SATURATED | GuideStarFlag.EDGE
    stars["flags"][3:5] = GuideStarFlag.NO_PROPER_MOTION
    stars["radius_too_large"][5:9], stars["flags"][5:9] = True, 0
    figure = zp_picture(found, guide.STEM, camera)
    above, below = figure.axes
    used = (stars["flags"] & GuideStarFlag.left_out() == 0) & ~stars["radius_too_large"]
    dark = drawn(above, "in the zero point")
    np.testing.assert_array_equal(dark.get_xdata(), stars["G_PRIME"][used])
    np.testing.assert_array_equal(dark.get_ydata(), stars["m_inst"][used, 1])
    assert dark.get_color() == style.INK
    said = texts(figure)
    for flag, name in ((GuideStarFlag.SATURATED, "saturated"), (GuideStarFlag.EDGE, "at the border")):
        others = stars["flags"] & GuideStarFlag.left_out()
        only = others == flag if flag == GuideStarFlag.EDGE else (others & flag) != 0
        assert f"left out, {name}: {np.count_nonzero(only)}\n" in said + "\n"
    assert "left out, beyond the largest radius: 4" in said
    line = drawn(above, "y = x")
    np.testing.assert_allclose(line.get_ydata() - line.get_xdata(), -guide.ZP)
    assert f"zero point {guide.ZP:.3f} ± 0.001 mag" in said
    assert f"{found.zeropoints['n_sources_for_zp'][1]} stars" in said
    assert guide.STEM in said
    assert "2021-06-12 05:13:3" in said
    light = [line.get_color() for line in above.lines if line not in (dark, line)]
    assert all(sum(mpl.colors.to_rgb(colour)) > 1.5 for colour in light if colour != style.VERMILION)
    assert below.get_ylim()[0] < 0 < below.get_ylim()[1]


def test_points_outside_are_carets_at_the_edge(camera: GuideFacts) -> None:
    found = summary(n=100)
    found.catalog["m_inst"][0, 1], found.catalog["flags"][0] = 5.0, 0
    above = zp_picture(found, guide.STEM, camera).axes[0]
    carets = [line for line in above.lines if line.get_marker() == "^" and line.get_color() == style.INK]
    assert len(carets) == 1
    assert carets[0].get_ydata()[0] < above.get_ylim()[1]


def test_the_science_field_alone(camera: GuideFacts) -> None:
    """Its stars, its row of the zero points."""
    found = summary(n=500)
    rows = found.zeropoints
    rows["zp_adu_per_s"][rows["science_fov_only"] & (rows["aper_ind"] == 1)] = 17.0
    figure = zp_picture(found, guide.STEM, camera, science_only=True)
    said = texts(figure)
    assert "zero point 17.000" in said
    assert "desi field only" in said
    good = (found.catalog["flags"] & GuideStarFlag.left_out()) == 0
    n = np.count_nonzero(good & found.catalog["in_science_fov"])
    assert 0 < n < good.sum()
    assert f"in the zero point: {n}" in said
    assert f"{n} stars" in said


def test_one_aperture_is_the_standard_one(camera: GuideFacts) -> None:
    said = texts(zp_picture(summary(n=50, apertures=1, dome=True), guide.STEM, camera))
    assert "2.5 px" in said
    assert "zero point 17.580" in said
    assert "dome in the way" in said


@pytest.mark.parametrize("n", [0, 1, 40])
@pytest.mark.parametrize("science_only", [True, False])
def test_without_a_zero_point(camera: GuideFacts, n: int, science_only: bool) -> None:
    found = summary(n=n)
    for name in ("zp_adu_per_s", "zp_err", "robust_sigma_mag"):
        found.zeropoints[name][:] = np.nan
    found.zeropoints["n_sources_for_zp"][:] = 0
    found.catalog["m_inst"][: n // 2], found.catalog["G_PRIME"][n // 2 : n // 2 + 3] = np.nan, np.nan
    figure = zp_picture(found, guide.STEM, camera, science_only=science_only)
    said = texts(figure)
    assert "no zero point" in said
    assert "y = x" not in said
    assert "in the zero point" not in said
    if n == 40 and not science_only:
        assert "without colour: 3, not drawn" in said
        assert "without light: 20, not drawn" in said
    if n == 0:
        assert "no star could be measured" in said


def test_a_star_alone_has_no_error(camera: GuideFacts) -> None:
    found = summary(n=1)
    found.catalog["flags"][:] = 0
    found.zeropoints["zp_adu_per_s"][:], found.zeropoints["n_sources_for_zp"][:] = 17.5, 1
    found.zeropoints["zp_err"][:] = found.zeropoints["robust_sigma_mag"][:] = np.nan
    said = texts(zp_picture(found, guide.STEM, camera))
    assert "zero point 17.500 mag\n1 star" in said
    assert "nan" not in said


def test_grey_levels_are_from_1_to_99_percent(camera: GuideFacts) -> None:
    """Of what is drawn: means of 3 x 3 px; what is where in the frame is there in the picture."""
    image = np.random.default_rng(3).normal(64, 12.5, guide.SHAPE).astype(np.float32)
    image[:300, :600] = 0
    figure = detrended_picture(image, guide.STEM, camera, summary(n=3, dome=True))
    shown = figure.axes[0].images[0]
    values = np.asarray(shown.get_array())
    assert values.shape == (824, 1098)
    low, high = shown.get_clim()
    np.testing.assert_allclose([low, high], np.percentile(values, [1, 99]), rtol=1e-5)
    np.testing.assert_allclose(shown.get_extent(), [-0.5, 3293.5, -0.5, 2471.5])
    assert shown.origin == "lower"
    pixels = style.pixels_of(figure)
    height, _ = pixels.shape[:2]
    x, y = figure.axes[0].transData.transform((150, 150))
    assert pixels[int(height - y), int(x), :3].max() < 40  # the dark corner, lower left
    x, y = figure.axes[0].transData.transform((3000, 2300))
    block = pixels[int(height - y) - 9 : int(height - y) + 9, int(x) - 9 : int(x) + 9, :3]
    assert block.mean() > 120
    said = texts(figure)
    assert "dome in the way" in said
    assert "detrended [adu]" in said
    assert "streak" not in said


def test_circle_quadrants_and_streaks_are_where_they_are(camera: GuideFacts) -> None:
    image = np.zeros(guide.SHAPE, np.float32)
    streaks = guide.streaks((100, 200, 1100, 200), (50, 60, 50, 60), timed_out=True)
    figure = detrended_picture(image, guide.STEM, camera, summary(n=3), streaks)
    axes = figure.axes[0]
    circle, *boxes = axes.patches
    assert circle.get_center() == (1647.5, 1235.5)
    assert circle.get_radius() == 665.49217
    upright, level = axes.lines
    assert upright.get_xdata() == [1647.5, 1647.5]
    assert level.get_ydata() == [1235.5, 1235.5]
    corners = boxes[0].get_xy()
    assert set(corners[:, 0]) == {100, 1100}
    assert corners[:, 1].min() < 200 - 20
    assert corners[:, 1].max() > 200 + 20
    said = texts(figure)
    assert "2 streaks, search ended early" in said
    none = texts(detrended_picture(image, guide.STEM, camera, summary(n=3), guide.streaks()))
    assert "no streaks" in none


def test_a_frame_without_values(small: GuideFacts) -> None:
    said = texts(detrended_picture(np.full((90, 120), np.nan), guide.STEM, small, summary(n=0)))
    assert "no pixel has a value" in said


def test_a_small_frame_is_drawn_larger(small: GuideFacts) -> None:
    image = np.arange(90.0 * 120).reshape(90, 120)
    figure = detrended_picture(image, guide.STEM, small, summary(n=0), guide.streaks((3, 4, 100, 80)))
    texts(figure)
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (90, 120)
    assert figure.axes[0].get_window_extent().width == pytest.approx(480)


def test_arrows_have_ten_times_their_length(camera: GuideFacts) -> None:
    """From the projected place; 1 px is 10 px of the picture, at 100 dots per inch."""
    found = summary(n=200)
    figure = quiver_picture(found, guide.STEM, camera, "RA---TAN-SIP")
    arrows = next(c for c in figure.axes[0].collections if isinstance(c, Quiver))
    good = (found.catalog["flags"] & GuideStarFlag.left_out()) == 0
    np.testing.assert_array_equal(arrows.X, found.catalog["x_gaia_guess"][good])
    np.testing.assert_array_equal(arrows.V, found.catalog["y_shift"][good])
    assert style.LAYOUT_DPI / arrows.scale == pytest.approx(10)
    assert arrows.scale_units == "inches"
    said = texts(figure)
    assert "RA---TAN-SIP" in said
    dx, dy = (np.median(found.catalog[name][good]) for name in ("x_shift", "y_shift"))
    assert f"{good.sum()} good stars, median shift +{dx:.2f} px in x, −{-dy:.2f} px in y" in said
    key = next(a for a in figure.axes[0].artists if isinstance(a, QuiverKey))
    assert (key.U, key.label) == (2, "2 px")


@pytest.mark.parametrize("n", [0, 3])
def test_without_good_stars(camera: GuideFacts, n: int) -> None:
    found = summary(n=n)
    found.catalog["flags"][:] = GuideStarFlag.SHIFT
    assert "no good star" in texts(quiver_picture(found, guide.STEM, camera, "RA---TPV"))


def test_settings_of_the_caller_stay(camera: GuideFacts) -> None:
    with mpl.rc_context({"font.size": 3.0}):
        before = dict(mpl.rcParams)
        figure = zp_picture(summary(n=20), guide.STEM, camera)
        assert dict(mpl.rcParams) == before
    assert figure.axes[0].xaxis.label.get_size() != 3.0
    assert "pyplot" not in str(type(figure.canvas))
