"""Pictures of ratios and trends: what is drawn, labelled and said, also where there is nothing to draw."""

import io

import numpy as np
import pytest
from matplotlib import dates as mdates
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose
from PIL import Image

from visql_lib.frames import load_instrument
from visql_lib.photometry.history import MMAG
from visql_lib.photometry.trend import trends
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.pictures import style
from visql_lib.pipelines.vis.pictures.ice import date_range, diagonal_timeline, ratio_timeline
from visql_lib.pipelines.vis.pictures.ice_map import loss_map
from visql_lib.pipelines.vis.pictures.ice_trend import loss_trend
from visql_lib.pipelines.vis.settings import TrendSettings

SETTINGS = TrendSettings()
HOW = {"clean_epoch": ("2024-03-16", "2024-03-21"), "limits": TrendLimits()}
LN = np.array([0.085, 0.14, 0.185])

VIS = load_instrument("euclid_vis")
DIAGONAL = VIS.geometry.diagonal()
CLEAN = ("2024-03-16", "2024-03-21")


def texts(figure):
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    for legend in figure.legends:
        found += [t.get_text() for t in legend.get_texts()] + [legend.get_title().get_text()]
    return [t for t in found if t]


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(style.render_png(figure))).convert("RGB"))


def inside(figure):
    """Whether nothing is cut by the edge of the picture."""
    pixels(figure)
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def points(axes):
    return [
        np.asarray(c.get_offsets())
        for c in axes.collections
        if len(c.get_offsets()) and c.get_label()[0] != "_"
    ]


def an_ice_age(n=1500, noise=0.004, depth=1.0, seed=1, daily=False):
    """Ratios from 2023-08 on with two decontaminations, 2024-03-16 and 2024-06-07."""
    rng = np.random.default_rng(seed)
    x = np.arange(350) + 0.5 if daily else np.sort(rng.uniform(0, 350, n))
    fall = depth * 0.28 * (1 - np.cos(np.pi * np.clip(x - 228, 0, 83) / 108))
    loss = np.select([x < 228, x < 311], [0.15 - 0.1 * np.exp(-x / 60), fall], 0.0)
    ratio = np.exp(LN - loss[:, None] * [1, 0.82, 0.68] + rng.normal(0, noise, (len(x), 3)))
    rows = {"DATE": np.datetime64("2023-08-01", "us") + (x * 86400e6).astype("m8[us]")}
    rows |= {f"R{i + 1}": ratio[:, i] for i in range(3)}
    return rows | {f"R{i + 1}_ERR": ratio[:, i] * noise for i in range(3)}


def of_place(rows, space="fpa", name="fpa"):
    keys = {"SPACE": space, "SPACE_BIN": name, "CLASS": "short", "FIELD": "all"}
    return rows | {key: np.full(len(rows["DATE"]), text) for key, text in keys.items()}


def joined(parts):
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def nothing_of(rows):
    return {key: values[:0] for key, values in rows.items()}


def a_line(rate, n=60, noise=1.0, step=0.0, seed=2):
    """Daily ratios from 2024-03-16 on that fade by `rate` [mmag/d] and jump on day 30."""
    rng = np.random.default_rng(seed)
    x = np.arange(n)
    loss = (
        rate * x[:, None] * [1, 0.8, 0.6] + np.where(x[:, None] >= 30, step, 0) + rng.normal(0, noise, (n, 3))
    )
    ratio = np.exp(LN - loss / MMAG)
    rows = {"DATE": np.datetime64("2024-03-16T12", "us") + x * np.timedelta64(1, "D")}
    rows |= {f"R{i + 1}": ratio[:, i] for i in range(3)}
    return rows | {f"R{i + 1}_ERR": ratio[:, i] * noise / MMAG for i in range(3)}


def the_real_month(reference):
    lines = (reference / "vis_202407" / "vis-over-gaia-202407_long.txt").read_text().splitlines()
    words = [line.split() for line in lines if line.startswith("C_2024")]
    stamps = [w[0][2:17] for w in words]
    dates = [f"{s[:4]}-{s[4:6]}-{s[6:8]}T{s[9:11]}:{s[11:13]}:{s[13:15]}" for s in stamps]
    ratio = np.array([w[5:8] for w in words], dtype=float)
    return {"DATE": np.array(dates, "M8[us]")} | {f"R{i + 1}": ratio[:, i] for i in range(3)}


# --- timelines of the ratios ----------------------------------------------------------------------


def test_a_timeline_shows_ln_of_all_ratios_in_three_colours():
    rows = an_ice_age()
    figure = ratio_timeline(rows, title="Short exposures")
    (axes,) = figure.axes
    drawn = points(axes)
    assert sum(map(len, drawn)) > 0.99 * 4500
    assert_allclose(np.sort(drawn[0][:, 1])[50], np.sort(np.log(rows["R1"]))[50], atol=0.02)
    assert {"Short exposures", "ln (VIS/Gaia)", "date (UTC)", "BP-RP = 2.75 mag"} <= set(texts(figure))
    low, high = axes.get_ylim()
    assert low < -0.3
    assert high > 0.185
    assert inside(figure)


@pytest.mark.parametrize("since", ["2024-03", "2024-06"])
def test_a_later_start_leaves_out_the_earlier_points_and_says_how_many(since):
    rows = an_ice_age()
    figure = ratio_timeline(rows, since=since)
    start = np.datetime64(since, "us")
    early = int((rows["DATE"] < start).sum())
    assert f"{early:,} before {since}" in " ".join(texts(figure))
    assert_allclose(figure.axes[0].get_xlim()[0], mdates.date2num(start))
    assert all((p[:, 0] >= mdates.date2num(start)).all() for p in points(figure.axes[0]))
    assert inside(figure)


def test_what_is_not_drawn_is_counted_and_odd_exposures_stand_at_the_edge():
    rows = an_ice_age()
    rows["DATE"][3] = np.datetime64("NaT")
    for name in ("R1", "R2", "R3"):
        rows[name][[10, 11]] = np.nan, -1.0
    rows["R1"][100] = 9.0
    figure = ratio_timeline(rows)
    said = " ".join(texts(figure))
    assert "1,497 of 1,500 drawn; 1 without a date; 2 without ratios" in said
    assert "beyond the range" in said
    assert figure.axes[0].get_ylim()[1] < 0.3
    assert inside(figure)


def test_the_real_month_is_flat_as_the_known_picture_shows_it_after_the_decontamination(reference):
    """568 exposures; the picture has three flat bands some 0.02 wide after 2024-06-07."""
    rows = the_real_month(reference)
    figure = ratio_timeline(rows, title="long, 2024-07")
    drawn = [p for p in points(figure.axes[0]) if len(p) > 100]
    assert [len(p) for p in drawn] == [568, 568, 568]
    for band, level in zip(drawn, (-0.125, 0.122, 0.235), strict=True):
        assert_allclose(np.median(band[:, 1]), level, atol=0.003)
        assert np.ptp(np.percentile(band[:, 1], [5, 95])) < 0.03
        assert abs(np.polyfit(band[:, 0] - band[0, 0], band[:, 1], 1)[0]) < 0.001
    assert inside(figure)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_few_exposures_are_a_picture_and_none_are_said(number):
    rows = {key: values[:number] for key, values in an_ice_age().items()}
    figure = ratio_timeline(rows)
    assert ("no exposures" in texts(figure)) == (number == 0)
    assert inside(figure)
    empty = ratio_timeline(an_ice_age() | dict.fromkeys(("R1", "R2", "R3"), np.full(1500, np.nan)))
    assert "no ratios" in texts(empty)


def test_the_range_of_dates_is_that_of_the_data_or_a_month():
    low, high = date_range(np.array([np.nan, 10.0, 20.0]), None)
    assert low < 10 < 20 < high < 21
    assert np.diff(date_range(np.array([np.nan]), None)) == 30
    assert date_range(np.array([]), "2024-03")[0] == mdates.date2num(np.datetime64("2024-03-01"))


# --- diagonals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cross", [False, True])
def test_six_ccds_are_drawn_relative_to_the_clean_epoch_whole_and_near_one(cross):
    names = VIS.geometry.diagonal(cross=cross)
    assert names[:2] == (("1-6", "2-5") if cross else ("1-1", "2-2"))
    assert len(names) == 6
    parts = [
        of_place(an_ice_age(depth=1.2 - 0.15 * i, seed=i, daily=True), "ccd", n) for i, n in enumerate(names)
    ]
    rows = joined([*parts, of_place(an_ice_age(depth=9, daily=True), "ccd", "2-3")])
    figure = diagonal_timeline(rows, names, clean=CLEAN, since="2024-03-01", title="CCDs")
    upper, lower = figure.axes
    lines = [line for line in upper.lines if line.get_label() in names]
    assert [line.get_label() for line in lines] == list(names)
    for line, part in zip(lines, parts, strict=True):
        day = part["DATE"].astype("M8[D]")
        epoch = (day >= np.datetime64("2024-03-16")) & (day <= np.datetime64("2024-03-21"))
        late = day >= np.datetime64("2024-03-01")
        assert_allclose(line.get_ydata(), part["R2"][late] / part["R2"][epoch].mean())
    assert lower.get_ylim() == (0.9, 1.05)
    assert upper.get_ylim()[0] < min(line.get_ydata().min() for line in lines)
    assert any(text.startswith(f"{names[0]}: ") for text in texts(figure))
    assert "beyond this range" in " ".join(texts(figure))
    assert inside(figure)


def test_a_ccd_without_clean_days_is_relative_to_its_first_and_lines_part_at_gaps():
    one = an_ice_age(daily=True)
    late = {key: values[260:] for key, values in one.items()}
    part = np.r_[0:240, 250:350]
    gap = {key: values[part] for key, values in one.items()}
    figure = diagonal_timeline(
        joined([of_place(late, "ccd", "1-1"), of_place(gap, "ccd", "2-2")]), DIAGONAL, clean=CLEAN
    )
    said = " ".join(texts(figure))
    assert "1 on 2024-04-17" in said
    assert "3-3: no days" in said
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["1-1"].get_ydata()[0] == 1
    assert np.isnan(lines["2-2"].get_ydata()).sum() == 1
    assert inside(figure)


def test_diagonals_without_rows_say_so():
    figure = diagonal_timeline(
        nothing_of(of_place(an_ice_age(daily=True), "ccd", "1-1")), DIAGONAL, clean=CLEAN
    )
    assert texts(figure).count("no ratios of these CCDs") == 2
    pixels(figure)


# --- the trend ------------------------------------------------------------------------------------


def test_losses_lines_limits_and_steps_are_drawn_and_told():
    found = trends(of_place(an_ice_age(daily=True)), **HOW)
    figure = loss_trend(found.table, found.steps, found.forecast, SETTINGS, title="Trend")
    upper, lower = figure.axes
    assert sum(len(c.get_offsets()) for c in upper.collections) == 3 * 350
    said = " ".join(texts(figure))
    for text in ("2024-03-16", "2024-06-07", "warning", "error", "flux loss [mmag]", "rate of loss [mmag/d]"):
        assert text in said
    assert "2 steps in all" in said
    assert "no date" in said
    assert upper.get_xlim() == lower.get_xlim()
    assert inside(figure)
    # A line is parted at a step, so no piece of it falls by hundreds of mmag from day to day.
    models = [line for line in upper.lines if len(line.get_ydata()) > 300]
    assert len(models) == 3
    assert all(np.nanmax(np.abs(np.diff(line.get_ydata()))) < 30 for line in models)


def test_a_forecast_in_reach_is_drawn_with_its_interval():
    found = trends(of_place(a_line(0.6)), **HOW)
    figure = loss_trend(found.table, found.steps, found.forecast, SETTINGS)
    date = mdates.date2num(np.datetime64(found.forecast[0]["date"]))
    upper = figure.axes[0]
    assert upper.get_xlim()[1] > date
    marked = [line for line in upper.lines if len(line.get_xdata()) == 1]
    assert_allclose([marked[0].get_xdata()[0], marked[0].get_ydata()[0]], [date, 50])
    assert found.forecast[0]["date"][:10] in " ".join(texts(figure))
    assert inside(figure)


def test_steps_close_together_have_labels_in_rows_above_the_data():
    found = trends(of_place(a_line(0.1, step=-10)), **HOW)
    (step,) = found.steps
    many = [step | {"date": f"2024-04-{day:02d}T00:00:00"} for day in (2, 3, 4, 5, 6, 20)]
    figure = loss_trend(found.table, many, found.forecast, SETTINGS)
    pixels(figure)
    upper = figure.axes[0]
    renderer = figure.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in upper.texts if t.get_text().startswith("2024-04")]
    assert len(boxes) == 5  # four rows; the one with no room is marked only
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    highest = upper.transData.transform((0, max(50.0, np.nanmax(found.table["LOSS"]))))[1]
    assert min(box.y0 for box in boxes) > highest
    assert "Some are too close for labels." in texts(figure)
    assert inside(figure)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_trend_of_nothing_or_little_is_a_picture(number):
    rows = {key: values[:number] for key, values in of_place(a_line(0.1)).items()}
    found = trends(rows, **HOW)
    figure = loss_trend(found.table, found.steps, found.forecast, SETTINGS)
    assert ("no losses" in texts(figure)) == (number == 0)
    assert ("no rates" in texts(figure)) == (number < 2)
    assert inside(figure)


# --- maps -----------------------------------------------------------------------------------------


def tiles(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_a_map_has_every_ccd_with_its_value_and_bars_with_units(vis):
    names = vis.ccds[:-2]
    parts = [of_place(a_line(0.02 * i, seed=i), "ccd", name) for i, name in enumerate(names)]
    parts[4] = {key: values[:30] for key, values in parts[4].items()}
    found = trends(joined(parts), **HOW)
    figure = loss_map(found.table, vis, colour=0.75, title="Losses")
    loss, rate = (axes for axes in figure.axes if axes.get_label() != "colour bar")
    assert len(tiles(loss)) == len(tiles(rate)) == 36
    last = found.table["COLOUR"] == 0.75
    last &= found.table["SPACE_BIN"] == names[10]
    written = next(t.get_text() for t in loss.texts if t.get_text().startswith(names[10]))
    assert f"{found.table['MODEL'][last][-1]:.1f}" in written
    assert sum("no data" in t.get_text() for t in loss.texts) == 2
    assert "04-14" in next(t.get_text() for t in rate.texts if t.get_text().startswith(names[4]))
    bars = [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "colour bar"]
    assert bars == ["flux loss [mmag]", "rate of loss [mmag/d]"]
    assert inside(figure)


def test_a_map_without_trends_says_so_and_gains_are_told_from_losses(vis):
    rows = joined([of_place(a_line(0.3 * (-1) ** i), "ccd", name) for i, name in enumerate(vis.ccds[:4])])
    table = trends(rows, **HOW).table
    empty = loss_map(nothing_of(table), vis)
    assert "no CCD with a trend" in texts(empty)
    pixels(empty)
    figure = loss_map(table, vis)
    colours = [tile.get_facecolor() for tile in tiles(figure.axes[0])[:4]]
    assert colours[0][0] > colours[0][2]  # red: loss
    assert colours[1][0] < colours[1][2]  # blue: gain
    assert inside(figure)
