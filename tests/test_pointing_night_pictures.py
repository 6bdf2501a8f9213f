"""The pictures of nights and seasons of a guide camera: every frame is where it belongs, nothing is cut off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pytest
from guide_nights import NOMINAL, REGIONS, columns, frame, night
from matplotlib import dates as mdates
from matplotlib.colors import to_hex

from visql_lib.pictures import style
from visql_lib.pipelines.pointing.pictures.night import QUADRANTS, Clock, night_picture, states_of
from visql_lib.pipelines.pointing.pictures.season import season_picture
from visql_lib.pipelines.pointing.schemas import SEASON
from visql_lib.pipelines.pointing.stages.season import summary_of
from visql_lib.tables import Table

CLOCK = Clock(timezone(timedelta(hours=-7)), "MST")


def drawn(rows):
    """Draw a night, and return its figure and its panels by their labels."""
    figure = night_picture(columns(rows), night="2021-06-11", nominal=NOMINAL, clock=CLOCK)
    style.pixels_of(figure)  # ticks are made only now
    return figure, {axes.get_ylabel() or axes.get_xlabel(): axes for axes in figure.axes}


def points(axes, colour, marker="o"):
    """Return x and y of the points of a colour and a shape, without NaN."""
    lines = [ln for ln in axes.lines if to_hex(ln.get_color()) == colour and ln.get_marker() == marker]
    found = np.concatenate([np.empty((0, 2)), *(ln.get_xydata() for ln in lines)])
    return found[np.isfinite(found).all(axis=1)]


def nothing_measured(n=12):
    """Return a night without any zero point."""
    rows = night(n, step=60)
    for row in rows:
        row |= {key: np.nan for key in row if key.startswith(("ZP", "MU", "SCATTER"))}
        if row["STATUS"] == "ok":
            row["STATUS"] = "no_zero_point"
    return rows


CASES = {
    "none": [],
    "one": night(1),
    "forty": night(40, step=300),
    "without zero points": nothing_measured(),
    "gap of hours": night(30)[:10] + night(30, first="2021-06-12T11:00:00+00:00")[20:],
    "undated": [row | {"DATE_OBS": np.datetime64("NaT"), "MJD_OBS": np.nan} for row in night(3)],
    "two seconds": night(2, step=2.0),
}


def test_zero_points_stand_at_their_times_with_their_errors():
    rows = night(40, step=300)
    _, panels = drawn(rows)
    zero = panels["zero point [mag]"]
    table = columns(rows)
    clear = np.isfinite(table["ZP"]) & ~table["DOME"]
    expected = np.stack([mdates.date2num(table["DATE_OBS"]), table["ZP"]], axis=1)
    assert np.array_equal(points(zero, style.INK), expected[clear])
    assert np.array_equal(points(zero, style.ORANGE, "D"), expected[table["DOME"]])
    (bars,) = zero.collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert np.ptp(ends, axis=1) == pytest.approx(2 * table["ZP_ERR"][np.isfinite(table["ZP"])])
    for quadrant, colour in QUADRANTS.items():
        shown = table[f"ZP_Q{quadrant}"]
        assert np.array_equal(points(zero, colour.lower())[:, 1], shown[np.isfinite(shown)]), quadrant


def test_the_sky_has_its_own_panel_and_the_airmass_runs_down():
    rows = night(40, step=300)
    _, panels = drawn(rows)
    table = columns(rows)
    clear = np.isfinite(table["MU"]) & ~table["DOME"]
    assert np.array_equal(points(panels["sky [mag/arcsec²]"], style.INK)[:, 1], table["MU"][clear])
    assert np.array_equal(points(panels["scatter [mag]"], style.INK)[:, 1], table["SCATTER"][clear])
    airmass = panels["airmass"]
    known = table["AIRMASS"][np.isfinite(table["AIRMASS"])]
    assert np.array_equal(points(airmass, style.BLUE)[:, 1], known)
    low, high = airmass.get_ylim()
    assert low > known.max() > known.min() > high


def test_a_cloud_is_in_the_range_and_nonsense_is_a_caret():
    rows = night(40, step=300)
    rows[3] |= {f"ZP{end}": 2.0 for end in REGIONS}
    _, panels = drawn(rows)
    zero = panels["zero point [mag]"]
    low, high = zero.get_ylim()
    table = columns(rows)
    believed = table["ZP"][np.isfinite(table["ZP"]) & (table["ZP"] > 10)]
    assert low < believed.min() < believed.max() < high
    assert low > NOMINAL - 6
    (caret,) = points(zero, style.INK, "v")
    assert caret[0] == mdates.date2num(rows[3]["DATE_OBS"])
    assert low < caret[1] < low + 0.1 * (high - low)


def test_without_zero_points_the_level_of_the_sky_is_shown():
    rows = nothing_measured(40)
    _, panels = drawn(rows)
    table = columns(rows)
    known = np.isfinite(table["SKY"]) & ~table["DOME"]
    assert np.array_equal(points(panels["sky [adu/s]"], style.INK)[:, 1], table["SKY"][known])
    assert [t.get_text() for t in panels["zero point [mag]"].texts if "values" in t.get_text()] == [
        "no values"
    ]


def test_the_clock_along_the_top_is_that_of_the_telescope():
    _, panels = drawn([frame(datetime(2021, 6, 12, 3, 30, tzinfo=UTC))])
    top, bottom = panels["local time, MST"], panels["start of the exposure, UT"]
    assert top.get_xlim() == bottom.get_xlim()
    local = dict(zip(top.get_xticks(), (t.get_text() for t in top.get_xticklabels()), strict=True))
    utc = dict(zip(bottom.get_xticks(), (t.get_text() for t in bottom.get_xticklabels()), strict=True))
    start = mdates.date2num(np.datetime64("2021-06-12T03:30"))
    assert (utc[start], local[start]) == ("03:30", "20:30")


def test_odd_frames_are_told_apart():
    start = datetime(2021, 6, 12, 3, 30, tzinfo=UTC)
    statuses = ("ok", "ok", "ok", "moved", "vetoed", "no_reference", "no_zero_point", "failed", "unreadable")
    rows = [frame(start + timedelta(minutes=i), i, STATUS=s) for i, s in enumerate(statuses)]
    rows[0] |= {"ZP": 17.5}
    rows[1] |= {"ZP": 17.5, "DOME": True}
    rows[2] |= {"ZP": 17.5, "N_STREAKS": 2}
    rows[3] |= {"N_STREAKS": -1}
    states = {name: np.flatnonzero(chosen).tolist() for name, chosen in states_of(columns(rows)).items()}
    assert states == {
        "streaks": [2],
        "dome": [1],
        "moved": [3],
        "no zero point": [5, 6],
        "failed": [7, 8],
    }


def test_the_strip_has_a_bar_for_each_odd_frame_and_their_number():
    rows = night(40, step=300)
    _, panels = drawn(rows)
    strip = panels["start of the exposure, UT"]
    counts = [int(chosen.sum()) for chosen in states_of(columns(rows)).values()]
    assert [len(bars.get_paths()) for bars in strip.collections] == counts
    assert [text.get_text() for text in strip.texts] == [str(n) for n in counts]
    moved = strip.collections[2].get_paths()[0].get_extents()
    at = next(row for row in rows if row["STATUS"] == "moved")
    assert moved.x0 == pytest.approx(mdates.date2num(at["DATE_OBS"]))


@pytest.mark.parametrize("name", CASES)
def test_no_text_of_a_night_is_cut_off_or_covers_another(name):
    figure, _ = drawn(CASES[name])
    assert_readable(figure)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20, 26, 40, 400])
def test_no_text_of_a_season_is_cut_off_or_covers_another(n):
    figure = season_picture(nights(n), NOMINAL)
    style.pixels_of(figure)
    assert_readable(figure)


def assert_readable(figure):
    """Demand that all text lies within the picture, and labels of an axis apart from each other."""
    renderer = figure.canvas.get_renderer()
    width, height = figure.bbox.size
    shown = [t for t in figure.findobj(lambda a: hasattr(a, "get_text")) if t.get_visible() and t.get_text()]
    boxes = [t.get_window_extent(renderer) for t in shown]
    outside = [
        t.get_text()
        for t, b in zip(shown, boxes, strict=True)
        if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height
    ]
    assert outside == []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            labels = [t.label1 if t.label1.get_visible() else t.label2 for t in ticks]
            extents = [t.get_window_extent(renderer) for t in labels if t.get_visible() and t.get_text()]
            for one, other in pairwise(extents):
                assert not one.overlaps(other), [t.get_text() for t in labels]


def nights(n):
    """Return a season of `n` nights, every third one missing."""
    base = summary_of(Table(columns(night(30, step=900)), {}))
    first = datetime(2021, 6, 11, tzinfo=UTC)
    days = [f"{first + timedelta(days=i + i // 2):%Y%m%d}" for i in range(n)]
    rows = [{"NIGHT": day} | base | {"ZP_50": 17.4 + 0.01 * (i % 7)} for i, day in enumerate(days)]
    return SEASON.of_rows(rows)


def test_a_season_shows_medians_spread_and_what_was_lost():
    season = nights(5)
    season["N_DOME"][:] = [3, 0, 6, 0, 0]
    season["N_MOVED"][:] = [0, 3, 0, 0, 0]
    season["N_FAILED"][:] = [3, 0, 0, 0, 0]
    season["MU_50"][2] = np.nan
    figure = season_picture(season, NOMINAL)
    zero, sky, hours, lost = figure.axes
    days = mdates.date2num(
        np.array(["2021-06-11", "2021-06-12", "2021-06-14", "2021-06-15", "2021-06-17"], "M8")
    )
    assert np.array_equal(points(zero, style.INK), np.stack([days, season["ZP_50"]], 1))
    (bars,) = (c for c in zero.collections)
    assert np.array([s[:, 1] for s in bars.get_segments()]) == pytest.approx(
        np.stack([season["ZP_10"], season["ZP_90"]], 1)
    )
    assert len(points(sky, style.INK)) == 4
    assert [bar.get_height() for bar in hours.patches] == pytest.approx(season["HOURS"])
    parts = {
        to_hex(bars[0].get_facecolor()): [(b.get_y(), b.get_height()) for b in bars]
        for bars in lost.containers
    }
    assert parts[style.ORANGE] == [(0, 10), (0, 0), (0, 20), (0, 0), (0, 0)]
    assert parts[style.MUTED][1] == (0, 10)
    assert parts[style.INK][0] == (10, 10)
    assert "5 nights, 2021-06-11 to 2021-06-17, 150 frames" in [t.get_text() for t in figure.texts]
