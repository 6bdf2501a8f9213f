"""Pictures: what is drawn, labelled and said, also where there is nothing to draw."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.quiver import Quiver
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from visql_lib.cli import cli
from visql_lib.errors import RequestError
from visql_lib.instruments.model import load_instrument
from visql_lib.pictures import chimney as chimneys
from visql_lib.pictures import dense, ranges, style
from visql_lib.pictures.cutouts import lay_out, star_cutouts
from visql_lib.pictures.focalplane import Field, bin_medians, ccd_outlines, field_of
from visql_lib.pictures.maps import moment_maps
from visql_lib.pictures.moments import MOMENTS, moments_against_position, running_median
from visql_lib.pictures.preview import grey_levels, thumbnail, zoom
from visql_lib.pictures.timeline import mission_days, timeline
from visql_lib.pipelines.vis.pictures.iq import image_quality
from visql_lib.pipelines.vis.pictures.month import quality_diagrams
from visql_lib.pipelines.vis.settings import StarSettings
from visql_lib.psf.stars import select_between, select_stars
from visql_lib.tables.metadata import Selection
from visql_lib.tables.products import CATALOGUE, PSFMOMENTS, STAMPS, STARS
from visql_lib.tables.products import MOMENTS as MOMENT_TABLE
from visql_lib.tables.store import write_table

EPOCH = np.datetime64("2023-07-01", "us")
BASELINE = Path(__file__).parent / "baseline"
SETTINGS = StarSettings()
FLUXES = {"flux_unit": SETTINGS.flux_unit, "stack_flux_min": SETTINGS.stack_flux_min}
EMPTY_SELECTION = Selection(kind="chimney", flags=1)


@pytest.fixture(scope="module")
def instrument():
    return load_instrument("euclid_vis")


def a_catalogue(n=3000, seed=3):
    """Cosmic rays, and a twentieth of stars in a chimney at 1.2 px."""
    rng = np.random.default_rng(seed)
    stars = np.arange(n) % 20 == 0
    radius = np.where(stars, 1.2 * np.exp(rng.normal(0, 0.02, n)), rng.uniform(0.4, 9, n))
    flux = np.where(stars, 10 ** rng.uniform(4, 5.6, n), 10 ** rng.normal(3.5, 0.4, n))
    b = np.where(stars, rng.uniform(1.5, 1.9, n), rng.uniform(0.4, 1.2, n))
    return {
        "FLUX_RADIUS": radius,
        "FLUX_AUTO": flux,
        "A_IMAGE": b * rng.uniform(1, 2, n),
        "B_IMAGE": b,
        "FIELDRAD": rng.uniform(0, 0.5, n),
    }


def some_moments(instrument, per_quadrant=3, seed=4):
    rng = np.random.default_rng(seed)
    names = np.repeat(list(instrument.quadrants), per_quadrant)
    centres = np.array([instrument.quadrants[n].centre_world for n in names])
    n = len(names)
    means = {"e1": -0.02, "e2": 0.006, "tr1": -0.23, "tr2": 0.03, "com1": 0.03, "com2": -0.02}
    return {
        "EXT": names,
        "XWORLD": centres[:, 0] + rng.uniform(-0.02, 0.02, n),
        "YWORLD": centres[:, 1] + rng.uniform(-0.02, 0.02, n),
        "R2": rng.normal(1.98, 0.05, n),
        **{name: rng.normal(mean, 0.02, n) for name, mean in means.items()},
    }


def a_month(n=40, seed=5):
    rng = np.random.default_rng(seed)
    means = {"R2": 1.98, "e1": -0.02, "e2": 0.005, "tr1": -0.23, "tr2": 0.03, "com1": 0.03, "com2": -0.02}
    table = {name: rng.normal(mean, 0.002, n) for name, mean in means.items()}
    table |= {f"{name}_ERR": np.full(n, 0.002) for name in means}
    table["DATE_OBS"] = np.datetime64("2024-07-01T06:00", "us") + np.arange(n) * np.timedelta64(3, "h")
    table["EXPTIME"] = np.where(np.arange(n) % 3, 560.52, 89.52)
    table["STATUS"] = np.array(["ok"] * (n - 3) + ["warn", "error", "failed"])[-n:]
    return table


def first_rows(table, n):
    return {name: column[:n] for name, column in table.items()}


def all_nan(table):
    return {k: np.full(v.shape, np.nan) if v.dtype.kind == "f" else v for k, v in table.items()}


def texts(figure):
    """Return every text of a figure."""
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        if axes.get_legend():
            found += [t.get_text() for t in axes.get_legend().get_texts()]
    for legend in figure.legends:
        found += [t.get_text() for t in legend.get_texts()] + [legend.get_title().get_text()]
    return [t for t in found if t]


def pixels(figure, dpi=None):
    return np.asarray(Image.open(io.BytesIO(style.render_png(figure, dpi))).convert("RGB"))


def inner_axes(figure):
    """Return the panels without the colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "colour bar"]


def bar_labels(figure):
    bars = [axes for axes in figure.axes if axes.get_label() == "colour bar"]
    return [axes.get_ylabel() or axes.get_xlabel() for axes in bars]


# --- ranges and density ---------------------------------------------------------------------------


def test_a_few_odd_values_do_not_change_a_range_but_many_do():
    values = np.r_[np.full(99, 2.0), 50.0]
    assert ranges.robust_range(values, (1.7, 2.3)) == (1.7, 2.3)
    low, high = ranges.robust_range(np.r_[np.full(50, 2.0), np.full(50, 3.0)], (1.7, 2.3))
    assert low == 1.7
    assert high > 3.0


def test_a_logarithmic_range_moves_by_whole_steps():
    assert ranges.log_range(np.array([1.0, 4.0]), (1e3, 1e7), (1,)) == (1.0, 7.0)
    assert_allclose(ranges.log_range(np.log10([0.3, 1.0]), (0.5, 20), (1, 2, 5)), np.log10([0.2, 20]))


def test_points_outside_move_to_the_edge_they_crossed():
    edged = ranges.to_edges([0.5, -1, 2, 0.5, 0.5, np.nan], [0.5, 0.5, 9, -1, 2, 0.5], (0, 1), (0, 1))
    assert_array_equal(edged.inside, [True, False, False, False, False, False])
    assert [np.flatnonzero(edged.outside[m]).tolist() for m in "<>v^"] == [[1], [2], [3], [4]]
    assert (edged.x[:5] <= 1).all()
    assert (edged.x[:5] >= 0).all()


@pytest.mark.parametrize(("value", "nice"), [(0.07, 0.1), (0.2, 0.2), (3.1, 5), (7, 10), (0, 1), (np.nan, 1)])
def test_nice_numbers(value, nice):
    assert ranges.nice_above(value) == pytest.approx(nice)


def test_counts_and_means_are_those_of_numpy():
    rng = np.random.default_rng(1)
    x, y, value = rng.uniform(-0.2, 1.2, (3, 500))
    expected, _, _ = np.histogram2d(y, x, bins=(4, 5), range=((0, 1), (0, 1)))
    assert_array_equal(dense.counts(x, y, (0, 1), (0, 1), (5, 4)), expected)
    sums, _, _ = np.histogram2d(y, x, bins=(4, 5), range=((0, 1), (0, 1)), weights=value)
    assert_allclose(dense.means(x, y, value, (0, 1), (0, 1), (5, 4)), sums / expected)


# --- previews -------------------------------------------------------------------------------------


def test_every_pixel_of_a_zoom_is_one_pixel_of_the_picture():
    image = np.random.default_rng(2).normal(2735, 6, (90, 600))
    image[:, 40:60] = np.nan
    picture = pixels(zoom(image, "E", (2713, 2756), "tl"))
    expected = grey_levels(image, (2713, 2756), hatched=True)[::-1]
    top, left = 32, 20
    for channel in range(3):
        assert_array_equal(picture[top : top + 90, left : left + 600, channel], expected)


def test_grey_levels_run_from_black_to_white_and_missing_pixels_are_neither_nor_star():
    levels = grey_levels(np.array([[0.0, 5.0, 10.0, 99.0, np.nan]]), (0, 10), hatched=True)
    assert levels[0, :4].tolist() == [0, 128, 255, 255]
    assert 200 < levels[0, 4] < 250


def test_a_thumbnail_has_its_quadrants_in_place_and_a_bar_with_units():
    image = np.full((120, 110), np.nan)
    image[:60, :55] = 2750  # lower left
    figure = thumbnail(image, "E", (2700, 2750.5))
    assert bar_labels(figure) == ["pixel value [ADU]"]
    drawn = inner_axes(figure)[0].images[0].get_array()
    assert (drawn[:60, :55] > 250).all()
    assert (drawn[60:] == 255).all()
    size = pixels(figure).shape
    assert 900 < max(size[:2]) < 1300


@pytest.mark.parametrize("limits", [(None, None), (np.nan, np.nan), (5, 5)])
def test_a_frame_without_pixels_is_said_to_be_so(limits):
    nothing = np.full((50, 500), np.nan)
    assert "no quadrant here" in texts(zoom(nothing, "E", limits, "cc"))
    assert "no pixels" in texts(thumbnail(nothing, "E", limits))
    pixels(zoom(nothing, "E", limits, "cc"))


def test_a_grey_picture_is_written_grey():
    image = np.random.default_rng(2).normal(2735, 6, (60, 500))
    picture = Image.open(io.BytesIO(style.render_png(zoom(image, "E", (2713, 2756), "cc"))))
    assert picture.mode == "L"


# --- chimneys -------------------------------------------------------------------------------------


def test_the_chimney_holds_all_detections_that_have_logarithms():
    catalogue = a_catalogue()
    catalogue["FLUX_AUTO"][:3] = (0, -1, np.nan)
    figure = chimneys.chimney(catalogue, title="E")
    axes = figure.axes[0]
    assert axes.get_xlabel() == "FLUX_RADIUS [px]"
    assert axes.get_ylabel() == "FLUX_AUTO [ADU]"
    assert len(axes.lines[0].get_xdata()) == 2997
    assert any(t.startswith("2,997 detections") for t in texts(figure))


def test_many_detections_become_an_image_that_counts_every_one():
    catalogue = a_catalogue(60_000)
    figure = chimneys.chimney(catalogue)
    image = figure.axes[0].images[0]
    assert bar_labels(figure) == ["detections per bin"]
    seen = int(image.get_array().filled(0).sum())
    assert f"60,000 detections, {60_000 - seen:,} outside this range" in texts(figure)


def test_chimney2_shows_region_box_and_number_of_stars():
    catalogue = a_catalogue(30_000)
    chosen, selection = select_stars(catalogue, **FLUXES)
    figure = chimneys.chimney2(catalogue, Selection(**selection.as_dict()), SETTINGS)
    axes = figure.axes[0]
    box = next(p for p in axes.patches if not p.get_fill())
    assert_allclose(10 ** box.get_x(), selection.r_min, rtol=1e-6)
    assert_allclose(10 ** (box.get_y() + box.get_height()), selection.f_max, rtol=1e-6)
    said = texts(figure)
    assert f"{chosen.sum()} stars" in said
    assert f"{selection.n_region} in chimney" in said
    assert f"radius {selection.r_median:.3f} px" in said
    thick = int((catalogue["B_IMAGE"] > 1.3).sum())
    assert f"{thick:,} thick" in said


def test_flat_frames_show_the_fixed_box_and_no_chimney():
    catalogue = a_catalogue()
    chosen, selection = select_between(catalogue, radius=(1, 2), flux=(1e4, 3e5))
    said = texts(chimneys.chimney2(catalogue, Selection(**selection.as_dict()), SETTINGS))
    assert style.count(int(chosen.sum()), "star") in said
    assert not any("plume" in t for t in said)


def test_chimney2_says_when_nothing_was_found():
    said = texts(chimneys.chimney2(a_catalogue(), EMPTY_SELECTION, SETTINGS))
    assert "no stars found" in said


def test_chimney4_has_magnitudes_of_the_inner_field(instrument):
    catalogue = a_catalogue()
    figure = chimneys.chimney4(catalogue, 560.52, instrument.photometry, title="E")
    points = next(c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    inner = catalogue["FIELDRAD"] < 0.1
    expected = 25.67 - 2.5 * np.log10(3.4 * catalogue["FLUX_AUTO"][inner] / 560.52)
    assert_allclose(points.get_offsets()[:, 1], expected)
    assert_allclose(points.get_array(), 1 - (catalogue["B_IMAGE"] / catalogue["A_IMAGE"])[inner])
    assert figure.axes[0].yaxis_inverted()
    assert figure.axes[0].get_ylabel().endswith("[mag]")
    assert bar_labels(figure) == ["ellipticity 1 − b/a"]


@pytest.mark.parametrize("exptime", [None, np.nan, 0.0])
def test_chimney4_needs_an_exposure_time_and_says_so(exptime, instrument):
    said = texts(chimneys.chimney4(a_catalogue(), exptime, instrument.photometry))
    assert "exposure time not known:\nno magnitudes" in said


# --- stars, moments, maps -------------------------------------------------------------------------


def test_cutouts_do_not_overlap_and_keep_their_orientation():
    stamps = np.zeros((3, 25))
    stamps[:, 2] = 1000.0  # middle of the lowest row
    field = Field(0, 0, 1, 1)
    image, drawn = lay_out(np.array([0.3, 0.32, 0.8]), np.array([0.5, 0.5, 0.2]), stamps, field, cell=0.1)
    assert drawn.tolist() == [0, 2]
    row, column = np.unravel_index(np.nanargmax(image), image.shape)
    assert (row, column) == (8, 40)  # y = 0.2 - 0.05 + half a pixel, x = 0.8
    assert_allclose(image[row, column], 10 * np.arcsinh(100))
    assert np.isfinite(image).sum() == 2 * 25


def test_star_cutouts_say_how_many_and_have_units(instrument):
    moments = some_moments(instrument, 1)
    n = len(moments["EXT"])
    stamps = {"XWORLD": moments["XWORLD"], "YWORLD": moments["YWORLD"], "STAMP": np.ones((n, 81))}
    figure = star_cutouts(stamps, instrument, title="E")
    assert any("cut-outs of 9 × 9 px" in t for t in texts(figure))
    assert bar_labels(figure) == ["10 asinh(flux / 10 ADU per px)"]
    assert "X, focal plane [deg]" in texts(figure)


def test_a_star_at_the_edge_of_a_small_field_is_drawn(instrument):
    outlines = ccd_outlines(instrument)
    x = np.array([outlines["3-3"].x0, outlines["4-4"].x1])
    y = np.array([outlines["3-3"].y0, outlines["4-4"].y1])
    stamps = {"XWORLD": x, "YWORLD": y, "STAMP": np.ones((2, 81))}
    for known in (instrument, None):
        assert any("2 stars" in t for t in texts(star_cutouts(stamps, known)))


def test_moments_are_drawn_against_both_positions(instrument):
    moments = some_moments(instrument)
    figure = moments_against_position(moments)
    assert len(figure.axes) == 14
    assert figure.axes[0].get_ylabel() == "R2 [px²]"
    assert_allclose(figure.axes[0].lines[0].get_xdata(), moments["XWORLD"])
    assert_allclose(figure.axes[1].lines[0].get_xdata(), moments["YWORLD"])
    assert_allclose(figure.axes[0].lines[0].get_ydata(), moments["R2"])
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        assert left.get_ylim() == right.get_ylim()


def test_a_running_median_needs_three_stars():
    x = np.array([0.12, 0.13, 0.14, 0.9, np.nan])
    centres, medians = running_median(x, np.array([1.0, 5.0, 2.0, 7.0, 8.0]), (0, 1))
    assert np.isfinite(centres).sum() == 1
    assert np.nanmax(medians) == 2.0


def test_bins_hold_the_median_of_their_stars(instrument):
    moments = some_moments(instrument, 4)
    moments["R2"][0] = np.nan
    for space, n in (("ccd", 36), ("quadrant", 144)):
        bins = bin_medians(moments, ("R2", "e1"), instrument, space)
        assert len(bins.names) == n
        assert bins.number.sum() == 4 * 144 - 1
        name = bins.names[-1]
        mine = np.char.startswith(moments["EXT"], name) & np.isfinite(moments["R2"])
        assert_allclose(bins.values["R2"][-1], np.median(moments["R2"][mine]))


def test_the_maps_symbols_have_the_angles_of_their_moments(instrument):
    moments = some_moments(instrument, 3)
    n = len(moments["EXT"])
    for name, value in {"com1": 0.0, "com2": 0.1, "e1": 0.0, "e2": 0.05, "tr1": -0.2, "tr2": 0.0}.items():
        moments[name] = np.full(n, value)
    figure = moment_maps(moments, instrument, "ccd")
    size, coma, ellipticity, trefoil = inner_axes(figure)
    assert bar_labels(figure) == ["R2 [px²]", "coma", "ellipticity", "trefoil"]
    assert len(size.collections[-1].get_offsets()) == 36

    arrows = next(c for c in coma.collections if isinstance(c, Quiver))
    assert_allclose(np.degrees(np.arctan2(arrows.V, arrows.U))[:-1], 90)
    bars = [c for c in ellipticity.collections if isinstance(c, LineCollection)][-1]
    ends = np.array(bars.get_segments())
    along = ends[:-1, 1] - ends[:-1, 0]
    assert_allclose(np.degrees(np.arctan2(along[:, 1], along[:, 0])), 45)
    arms = [c for c in trefoil.collections if isinstance(c, LineCollection)][-1]
    ends = np.array(arms.get_segments())
    along = ends[:, 1] - ends[:, 0]
    angles = np.sort(np.degrees(np.arctan2(along[:3, 1], along[:3, 0])) % 360)
    assert_allclose(angles, [60, 180, 300])


def test_every_map_has_a_key_of_its_own_scale(instrument):
    figure = moment_maps(some_moments(instrument), instrument, "ccd")
    said = texts(figure)
    assert {"coma 0.2", "ellipticity 0.07", "trefoil 0.4"} <= set(said)
    bars = [c for c in inner_axes(figure)[2].collections if isinstance(c, LineCollection)][-1]
    ends, values = np.array(bars.get_segments()), np.asarray(bars.get_array())
    lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
    assert_allclose(lengths / values, lengths[-1] / 0.07)  # the key is the last symbol


def test_huge_moments_change_the_scale_and_stay_on_the_map(instrument):
    moments = some_moments(instrument)
    moments["e1"] += 0.6
    moments["R2"] += 4
    figure = moment_maps(moments, instrument, "ccd")
    assert "ellipticity 1" in texts(figure)
    low, high = inner_axes(figure)[0].collections[-1].get_clim()
    assert low < 5.98 < high


def test_a_few_detectors_fill_the_picture(instrument):
    outlines = ccd_outlines(instrument)
    assert len(outlines) == 36
    whole = field_of(instrument, np.array([]), np.array([]))
    x = np.array([(outlines[c].x0 + outlines[c].x1) / 2 for c in ("3-3", "4-4")])
    y = np.array([(outlines[c].y0 + outlines[c].y1) / 2 for c in ("3-3", "4-4")])
    part = field_of(instrument, x, y)
    assert part.width < 0.4 * whole.width
    assert part.x0 <= x.min()
    assert part.x1 >= x.max()


def test_image_quality_puts_all_on_one_canvas(instrument):
    moments, catalogue = some_moments(instrument), a_catalogue()
    _, selection = select_stars(catalogue, **FLUXES)
    cutout = np.zeros((200, 300, 3), dtype=np.uint8)
    figure = image_quality(
        moments, catalogue, Selection(**selection.as_dict()), SETTINGS, cutout, instrument=instrument
    )
    said = texts(figure)
    assert "432 stars with moments" in said
    assert f"{np.median(moments['R2']):.3f}" in said
    assert inner_axes(figure)[-1].images[0].get_array().shape == (200, 300, 3)
    assert "no cut-out" in texts(
        image_quality(moments, catalogue, Selection(**selection.as_dict()), SETTINGS)
    )


def test_a_cutout_of_pixels_is_drawn_in_grey(instrument):
    cutout = np.random.default_rng(1).normal(2700, 5, (80, 90))
    figure = image_quality(some_moments(instrument), a_catalogue(), Selection(), SETTINGS, cutout)
    assert inner_axes(figure)[-1].images[0].get_array().shape == (80, 90, 3)


# --- month ----------------------------------------------------------------------------------------


def test_diagrams_mark_good_exposures_and_count_the_others():
    table = a_month()
    figure = quality_diagrams(table)
    assert len(figure.axes) == 4
    said = texts(figure)
    assert {"ok: 37", "warning: 1", "error: 1", "failed: 1"} <= set(said)
    assert {"R2 [px²]", "e1", "e2", "coma 1", "trefoil 2"} <= set(said)
    good = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == style.STATUS["ok"].colour]
    assert_allclose(good[0].get_xdata(), table["e1"][:37])


def test_the_timeline_counts_days_from_the_mission_start():
    dates = np.array(["2024-07-01T06:00", "NaT"], dtype="datetime64[us]")
    assert_allclose(mission_days(dates, EPOCH), [366.25, np.nan])


def test_the_timeline_marks_outliers_starless_and_undated_exposures():
    table = a_month()
    table["R2"][0] = 9.0
    for name in MOMENTS:
        table[name][1] = np.nan
    table["DATE_OBS"][2] = np.datetime64("NaT")
    figure = timeline(table, EPOCH)
    panels = inner_axes(figure)
    assert panels[0].get_ylabel() == "R2 [px²]"
    assert bar_labels(figure) == ["exposure time [s]"]
    said = texts(figure)
    assert "no stars (1)" in said
    assert any("1 without a date not drawn" in t for t in said)
    assert "mission day [d], since 2023-07-01" in said
    assert panels[0].get_ylim() == (1.7, 2.3)
    seen, caret = (c for c in panels[0].collections if isinstance(c, PathCollection))
    assert len(seen.get_offsets()) == len(table["R2"]) - 3
    assert 2.2 < caret.get_offsets()[0, 1] < 2.3
    assert len(panels[0].lines[-1].get_xdata()) == 1  # the cross
    bars = next(c for c in panels[0].collections if isinstance(c, LineCollection))
    assert len(bars.get_segments()) == len(table["R2"]) - 3


def test_a_very_bad_month_widens_the_range():
    table = a_month()
    table["R2"] += 1.0
    assert inner_axes(timeline(table, EPOCH))[0].get_ylim()[1] > 3


# --- nothing, one, and NaN ------------------------------------------------------------------------


def nothing_of(table: Mapping[str, np.ndarray]):
    return first_rows(table, 0)


def one_of(table: Mapping[str, np.ndarray]):
    return first_rows(table, 1)


@pytest.mark.parametrize("reduce", [nothing_of, one_of, all_nan])
def test_pictures_of_nothing_or_one_star_are_drawn_and_say_so(reduce, instrument):
    catalogue, moments, month = (reduce(t) for t in (a_catalogue(), some_moments(instrument), a_month()))
    n = len(moments["EXT"])
    stamps = {"XWORLD": moments["XWORLD"], "YWORLD": moments["YWORLD"], "STAMP": np.full((n, 841), np.nan)}
    without_instrument = [moment_maps(moments, None), star_cutouts(stamps)]
    by_stars = [
        moments_against_position(moments),
        moment_maps(moments, instrument, "quadrant"),
        image_quality(moments, catalogue, EMPTY_SELECTION, SETTINGS, instrument=instrument),
        quality_diagrams(month),
        timeline(month, EPOCH),
    ]
    by_detections = [
        chimneys.chimney(catalogue),
        chimneys.chimney2(catalogue, EMPTY_SELECTION, SETTINGS),
        chimneys.chimney4(catalogue, 560.52, instrument.photometry),
    ]
    for figure in [*without_instrument, *by_stars, *by_detections, star_cutouts(stamps, instrument)]:
        pixels(figure, dpi=40)
    if reduce is not one_of:
        for figure in by_stars[:3]:
            assert any("no stars" in t for t in texts(figure))
        for figure in by_stars[3:]:
            assert any("no stars" in t or "no exposures" in t for t in texts(figure))
        for figure in by_detections:
            assert any("no detections" in t for t in texts(figure))


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    style.render_png(quality_diagrams(a_month()), 50)
    assert dict(mpl.rcParams) == before


def test_a_name_with_dollar_signs_is_drawn_as_it_is():
    pixels(chimneys.chimney(a_catalogue(100), title="a$b$^_{c"), 50)


# --- how it looks ---------------------------------------------------------------------------------


def assert_looks_like(figure, name):
    """Compare with a stored picture, both averaged to a quarter: letters may differ by a shade."""
    got = Image.fromarray(pixels(figure, 40)).reduce(2)
    path = BASELINE / f"{name}.png"
    if not path.exists():
        got.quantize(64).save(path, optimize=True)
        pytest.fail(f"wrote a new {path.name}: look at it, and keep it if it is right")
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"), dtype=float)
    assert expected.shape == np.asarray(got).shape
    rms = np.sqrt(np.mean((np.asarray(got, dtype=float) - expected) ** 2))
    assert rms < 6, f"rms {rms:.1f} of 255"


def test_the_maps_look_as_they_did(instrument):
    assert_looks_like(moment_maps(some_moments(instrument), instrument, "ccd", title="E"), "maps")


def test_the_timeline_looks_as_it_did():
    assert_looks_like(timeline(a_month(), EPOCH, title="E"), "timeline")


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture
def exposure(tmp_path, instrument):
    """Tables of one small exposure."""
    rows = a_catalogue()
    n = len(rows["FLUX_AUTO"])
    for column in CATALOGUE.columns:
        rows.setdefault(column.name, np.full(n, "3-3.E") if column.dtype == "str" else np.zeros(n))
    chosen, selection = select_stars(rows, **FLUXES)
    meta = {"exposure": "E_01", "frame_type": "SCIENCE", "exptime": 560.52, "instrument": "euclid_vis"}
    moments = some_moments(instrument, 1)
    for column in MOMENT_TABLE.columns:
        moments.setdefault(column.name, np.zeros(len(moments["EXT"])))
    stamps = {k: moments[k] for k in ("EXT", "XWORLD", "YWORLD")} | {"STAMP": np.ones((144, 81))}
    paths = {name: tmp_path / f"{name}.parquet" for name in ("cat", "stars", "mom", "stamps")}
    write_table(paths["cat"], rows, CATALOGUE, meta=meta)
    stars = {k: v[chosen] for k, v in rows.items()}
    write_table(paths["stars"], stars, STARS, meta=meta | {"selection": selection.as_dict()})
    write_table(paths["mom"], moments, MOMENT_TABLE, meta=meta)
    write_table(paths["stamps"], stamps, STAMPS, meta=meta)
    return {name: str(path) for name, path in paths.items()}


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def test_pictures_draws_what_the_tables_allow(exposure, tmp_path):
    zoomed = tmp_path / "zoom.png"
    zoomed.write_bytes(style.render_png(zoom(np.ones((60, 500)), "E", (0, 1), "tr")))
    tables = [exposure[n] for n in ("cat", "stars", "mom")]
    done = run(
        "pictures", *tables, "--stamps", exposure["stamps"], "--cutout", zoomed, "-o", tmp_path / "out" / "E"
    )
    assert done.exit_code == 0, done.output
    names = {p.name for p in (tmp_path / "out").iterdir()}
    products = ("chimney", "chimney2", "chimney4", "stars2", "stars2_mom", "stars2_mom_map3", "iq")
    assert names == {f"E_{p}.png" for p in products}
    with Image.open(tmp_path / "out" / "E_chimney.png") as picture:
        assert picture.size == (800, 600)
        assert picture.text["Software"].startswith("VISQL ")


def test_moments_alone_are_enough_for_their_pictures(exposure, tmp_path):
    assert run("pictures", exposure["mom"], "-o", tmp_path / "M").exit_code == 0
    assert {p.name for p in tmp_path.glob("M_*")} == {"M_stars2_mom.png", "M_stars2_mom_map3.png"}


def test_a_flat_frame_needs_no_moments(exposure, tmp_path):
    done = run("pictures", exposure["cat"], exposure["stars"], "--only", "chimney2", "-o", tmp_path / "F")
    assert done.exit_code == 0
    assert [p.name for p in tmp_path.glob("F_*")] == ["F_chimney2.png"]


@pytest.mark.parametrize(
    ("tables", "options", "word"),
    [
        (["cat"], ["--only", "iq"], "iq needs the table of stars"),
        (["stars"], [], "no picture can be drawn"),
        (["cat", "cat2"], [], "give one"),
    ],
)
def test_wrong_usage_is_one_clear_line(tables, options, word, exposure, tmp_path):
    copy = tmp_path / "again.parquet"
    copy.write_bytes(Path(exposure["cat"]).read_bytes())
    exposure["cat2"] = str(copy)
    with pytest.raises(RequestError, match=word) as wrong:
        run("pictures", *(exposure[t] for t in tables), *options, "-o", tmp_path / "x")
    assert wrong.value.exit_code == 2
    assert "\n" not in str(wrong.value)
    assert not list(tmp_path.glob("x_*"))


def test_empty_tables_make_pictures(tmp_path):
    paths = [tmp_path / f"{s.product}.parquet" for s in (CATALOGUE, STARS, MOMENT_TABLE, STAMPS)]
    for path, schema in zip(paths, (CATALOGUE, STARS, MOMENT_TABLE, STAMPS), strict=True):
        columns = schema.empty()
        if schema is STAMPS:
            columns["STAMP"] = np.empty((0, 841), dtype=np.float32)
        write_table(path, columns, schema)
    assert run("pictures", *paths, "-o", tmp_path / "E").exit_code == 0
    assert len(list(tmp_path.glob("E_*.png"))) == 7


def test_quality_pictures_of_a_month_and_its_last_days(tmp_path):
    table = a_month()
    n = len(table["R2"])
    for column in PSFMOMENTS.columns:
        table.setdefault(column.name, np.full(n, "") if column.dtype == "str" else np.zeros(n))
    path, out = tmp_path / "psf.parquet", tmp_path / "t.png"
    write_table(path, table, PSFMOMENTS)
    assert (
        run("quality-pictures", path, path, "--diagrams", tmp_path / "d.png", "--timeline", out).exit_code
        == 0
    )
    assert out.exists()
    assert (tmp_path / "d.png").exists()
    whole = out.read_bytes()
    assert run("quality-pictures", path, "--timeline", out, "--last-days", 1).exit_code == 0
    assert out.read_bytes() != whole
    assert run("quality-pictures", path).exit_code == 2
