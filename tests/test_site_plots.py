"""The interactive plots: the structure of Bokeh's documents, and the pages in a real browser."""

import gzip
import html
import json
import logging
import re
import shutil
import struct
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import visql_lib.site
from visql_lib.pipelines.vis.pages.calibration_plots import FRAMES, calibration_markup
from visql_lib.pipelines.vis.pages.month_plots import GOES_POINTS, goes_series, month_plots
from visql_lib.pipelines.vis.pages.timelines import bokeh_files, calibration_plots, plot_tables, trend_plots
from visql_lib.pipelines.vis.pages.trend_plots import month_medians, trend_markup
from visql_lib.pipelines.vis.quantities import CATEGORIES, QUANTITIES
from visql_lib.pipelines.vis.schemas.detector import DETECTOR_FRAMES
from visql_lib.pipelines.vis.schemas.gaia import TREND
from visql_lib.pipelines.vis.settings import TrendSettings
from visql_lib.plots.bands import bands, limits_text
from visql_lib.plots.core import group_of, to_ms, value_range
from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.limits import Thresholds, load_thresholds
from visql_lib.qc.summary import ExposureSummary, GroupSummary, StatusReason
from visql_lib.tables import write_table

STATIC = Path(visql_lib.site.__file__).parent / "static"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
NAUGHTY = "</script><b id=bad>&lt;i&gt;'\"\\</b>"
_MEANS = {
    "psf.SCORE": 8.0,
    "detector.BIAS": 2646.1,
    "sun.GOES_FLUX": 2e-8,
    "radiation.PROTON_RATE": 1e-3,
    "psf.R2": 1.94,
}


EVERY = tuple(q.name for q in QUANTITIES.shown)
FEW = ("psf.R2", "sun.GOES_FLUX")  # each panel costs a tenth of a second


def exposure(i, keys=EVERY, **changes):
    hour, values = i % 24, {key: _MEANS.get(key, 1.0) * (1 + 0.01 * (i % 7)) for key in keys}
    fields = {
        "name": f"C_202407{1 + i // 24:02d}_{hour:02d}0000_W_{i:08X}.VIS.bin_01_01",
        "group": "202407",
        "date_obs": f"2024-07-{1 + i // 24:02d}T{hour:02d}:00:00.000000",
        "frame_type": "SCIENCE",
        "cls": "long" if i % 2 else "short",
        "exptime": 560.52,
        "obs_id": "1",
        **dict.fromkeys(("ra", "dec", "pa", "saa", "alpha")),
        "sheet_status": "ok",
        "sheet_reason": "",
        "statuses": dict.fromkeys(CATEGORIES, "ok"),
        "results": tuple(QCResult(key, value, "ok") for key, value in values.items()),
    }
    return ExposureSummary(**(fields | changes))


def month(n, *more, keys=EVERY):
    return GroupSummary("202407", (*(exposure(i, keys) for i in range(n)), *more))


@pytest.fixture(scope="module")
def limits():
    return load_thresholds("euclid_vis", QUANTITIES)


@pytest.fixture(scope="module")
def whole(limits):
    """A month of 30 exposures with all quantities, and a day of the Sun: script and HTML."""
    return month_plots(month(30), limits, sun(1440))


def document(script):
    """Return Bokeh's own JSON of the page: what `Bokeh.embed.embed_items` reads."""
    text = re.search(r"const docs_json = '(.*)';", script).group(1)
    text = text.replace("\\\\", "\\").replace("\\'", "'")
    (found,) = json.loads(html.unescape(text)).values()
    return found


def models(script, name=""):
    """Return the attributes of all models of a type, nested ones too."""
    found = []

    def walk(value):
        if isinstance(value, dict):
            if value.get("type") == "object" and (not name or value["name"] == name):
                found.append({"id": value["id"], **value.get("attributes", {})})
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document(script)["roots"])
    return found


def columns(source):
    """Return the columns of a source as lists; numbers decoded as the browser does."""
    entries = dict(source["data"]["entries"])
    return {name: decoded(value) for name, value in entries.items()}


def decoded(value):
    if isinstance(value, list):
        return value
    if value["type"] == "ndarray" and value["dtype"] != "object":
        kinds = {"float32": "f", "float64": "d", "uint8": "B", "int32": "i"}
        raw = gzip.decompress(b64decode(value["array"]["data"]))
        return list(struct.unpack(f"<{value['shape'][0]}{kinds[value['dtype']]}", raw))
    return value["array"]


def named(script, name, kind="ColumnDataSource"):
    return [m for m in models(script, kind) if m.get("name") == name]


# -- a month ------------------------------------------------------------------------------------------


def test_every_quantity_has_a_panel_and_all_share_one_range_of_time(whole):
    script, body = whole
    figures = models(script, "Figure")
    assert {f["name"] for f in figures} == {f"visql-{name}" for name in EVERY}
    assert len(named(script, "visql-time", "Range1d")) == 1  # the others refer to it
    ranges = {f["x_range"]["id"] for f in figures}
    assert ranges == {named(script, "visql-time", "Range1d")[0]["id"]}
    assert body.count("data-root-id") == len(figures)
    assert all(heading in body for key, heading in CATEGORIES.items() if key != "acquisition")
    assert {f.get("output_backend", "canvas") for f in figures} == {"canvas"}
    assert {f["sizing_mode"] for f in figures} == {"stretch_width"}


def test_a_column_is_sent_once_as_base64_of_float32(whole):
    script, _ = whole
    (source,) = named(script, "visql-points")
    found = dict(source["data"]["entries"])
    assert found["psf.R2"]["dtype"] == "float32"
    assert found["psf.R2"]["array"]["type"] == "bytes"
    values = columns(source)
    assert values["psf.R2"] == pytest.approx([e.values["psf.R2"] for e in month(30).exposures], rel=1e-6)
    assert values["t"] == to_ms([e.date_obs for e in month(30).exposures]).tolist()
    assert values["name"] == [e.name for e in month(30).exposures]
    assert script.count('"psf.R2"') <= 3
    assert "NaN" not in script


def test_status_is_the_shape_and_class_the_colour(limits):
    bad = exposure(40, FEW, findings=(StatusReason("quality", "warn", "SCORE 31 above 27"),))
    bad = replace(bad, statuses={**bad.statuses, "quality": "warn"})
    dark = exposure(41, FEW, frame_type="DARK", cls="long")
    script, body = month_plots(month(8, bad, dark, keys=FEW), limits)
    values = columns(named(script, "visql-points")[0])
    assert values["s_quality"][8] == "warn"
    assert values["s_radiation"][8] == "ok"
    assert values["say_quality"][8] == "warning: SCORE 31 above 27"
    assert values["group"][8:] == ["short", "DARK"]
    mappers = {tuple(m["factors"]): m for m in models(script, "CategoricalMarkerMapper")}
    ((factors, mapper),) = mappers.items()
    shapes = dict(zip(factors, mapper["markers"], strict=True))
    assert len({shapes[s] for s in ("ok", "warn", "error", "failed")}) == 4
    assert 'data-plots-group="DARK"' in body
    assert 'data-plots-group="BIAS"' not in body
    ((light, dark_paper),) = {
        (tuple(t["entries"][0][1]["entries"][0][1]), tuple(t["entries"][1][1]["entries"][0][1]))
        for m in models(script, "CategoricalColorMapper")
        for t in m["tags"]
    }
    assert len(light) == len(dark_paper) == 3
    assert light != dark_paper


def test_what_is_not_known_is_a_gap_and_a_panel_without_data_a_line(limits):
    gap = exposure(50, ("psf.e1",))
    script, body = month_plots(month(5, gap, keys=("psf.R2", "psf.e1", "detector.BIAS")), limits)
    r2 = columns(named(script, "visql-points")[0])["psf.R2"]
    assert np.isnan(r2[5])
    assert np.isfinite(r2[:5]).all()
    names = {f["name"] for f in models(script, "Figure")}
    assert not names & {"visql-detector.DARK_RATE", "visql-radiation.PROTON_RATE"}
    assert "level, dark rate: no values this month" in body
    (r2_figure,) = [f for f in models(script, "Figure") if f["name"] == "visql-psf.R2"]
    rows = [f["indices"] for f in models(script, "IndexFilter") if f.get("indices")]
    assert [5] in rows
    assert r2_figure


def test_an_empty_month_and_one_without_dates(limits):
    script, body = month_plots(GroupSummary("202407", ()), limits)
    assert script == ""
    assert "no values this month" in body
    assert "<button" not in body
    script, body = month_plots(
        GroupSummary("202407", (exposure(1, FEW, date_obs=""), exposure(2, FEW))), limits
    )
    assert "1 exposure without a date not drawn." in body
    assert len(columns(named(script, "visql-points")[0])["t"]) == 1


def test_a_click_leads_to_the_page_of_the_exposure(whole):
    script, _ = whole
    urls = {(o["url"], o["same_tab"]) for o in models(script, "OpenURL")}
    assert urls == {("../exposures/202407/@{name}.html", True)}
    assert "CustomJS" not in script  # nothing is made into code in the browser


def test_points_lead_only_to_pages_that_are_there(limits):
    def trends(held):
        return trend_markup(losses(24), [], [], medians(), limits, TrendSettings(), held)[0]

    panels = len(models(trends(None), "Figure"))
    assert len(models(trends(None), "TapTool")) == panels
    assert models(trends(None), "IndexFilter") == []
    assert models(trends(set()), "TapTool") == models(trends(set()), "OpenURL") == []
    assert len(models(trends(set()), "HoverTool")) >= panels  # what a point says stays
    # Losses are of 202403 only, medians of both months.
    april = models(trends({"months/202404.html"}), "TapTool")
    assert 0 < len(april) < panels
    some = models(trends({"months/202404.html"}), "IndexFilter")
    assert any(0 < len(f["indices"]) < 4 for f in some)


def test_text_from_data_ends_no_script_and_becomes_no_element(limits):
    odd = exposure(1, FEW, name=NAUGHTY, findings=(StatusReason("quality", "warn", NAUGHTY),))
    script, body = month_plots(GroupSummary("202407", (odd,)), limits)
    assert script.count("</script>") == 0
    assert "<b id" not in script
    assert "<b id" not in body
    assert columns(named(script, "visql-points")[0])["name"] == [NAUGHTY]


# -- limits ----------------------------------------------------------------------------------------------


def edge(box, side):
    """Return where a band ends, None where it does not."""
    value = box.get(side)
    return None if isinstance(value, dict) else value


EPOCHS = Thresholds.model_validate(
    {
        "epochs": [
            {"from": "2024-01-01", "psf.R2": {"warn_above": 2.0, "error_above": 3.0}},
            {"from": "2024-07-02", "psf.R2": {"warn_above": 2.1}, "psf.SCORE": {"warn_below": 1.0}},
        ]
    }
)


def test_bands_hold_from_their_day_until_the_next_epoch():
    change = float(to_ms(np.datetime64("2024-07-02")))
    warn, error, later = bands(EPOCHS, "psf.R2")
    assert (warn.edge, warn.until, warn.end) == (2.0, 3.0, change)
    assert (error.edge, error.until, error.status) == (3.0, None, "error")
    assert (later.edge, later.until, later.start, later.end) == (2.1, None, change, None)
    assert bands(EPOCHS, "psf.e1") == bands(EPOCHS, "") == bands(None, "psf.R2") == []
    assert limits_text([warn, error, later], change - 1) == "warn >2, error >3"
    assert limits_text([warn, error, later], change) == "warn >2.1"


def test_bands_are_drawn_on_their_days():
    script, _ = month_plots(month(60, keys=FEW), EPOCHS)
    (figure,) = [f for f in models(script, "Figure") if f["name"] == "visql-psf.R2"]
    boxes = [m["attributes"] for m in figure["center"] if m.get("name") == "BoxAnnotation"]
    change = float(to_ms(np.datetime64("2024-07-02")))
    drawn = {tuple(edge(b, side) for side in ("bottom", "top", "left", "right")) for b in boxes}
    start = float(to_ms(np.datetime64("2024-01-01")))
    assert drawn == {(2.0, 3.0, start, change), (3.0, None, start, change), (2.1, None, change, None)}
    hatched = [b for b in boxes if b.get("hatch_pattern") == "/"]
    assert [b["bottom"] for b in hatched] == [3.0]  # an error is not told by its colour alone


@given(
    st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), max_size=60),
    st.booleans(),
    st.lists(st.floats(-1e3, 1e3), max_size=3),
)
def test_a_range_is_proper_and_holds_most_values(values, log, edges):
    array = np.array(values, dtype=float)
    low, high = value_range(array, log, edges)
    assert np.isfinite([low, high]).all()
    assert low < high
    assert low > 0 or not log
    drawn = array[np.isfinite(array) & ((array > 1e-37) | (not log))]  # less is sent as 0
    inside = (drawn >= low) & (drawn <= high)
    assert inside.all() if len(drawn) < 30 else inside.sum() >= len(drawn) / 2


def test_one_odd_value_does_not_flatten_the_others():
    values = np.r_[np.random.default_rng(1).normal(2, 0.1, 100), 1e6]
    assert value_range(values, False)[1] < 4
    assert value_range(values, False, whole=True)[1] > 1e6


def test_nothing_on_a_logarithmic_axis_lies_below_the_limit():
    low, high = value_range(np.array([0.0, 0.0, 33.0]), True, [20.0, 200.0])
    assert low < 20 < 33 < high < 200
    low, high = value_range(np.zeros(3), True, [3000.0])
    assert low < 3000 < high
    assert value_range(np.array([33.0, 34.0]), True, [20.0])[0] > 20  # far off, and nothing is hidden


def test_groups():
    assert group_of("long", "SCIENCE") == "long"
    assert group_of("long", "DARK") == "DARK"
    assert group_of("", "SCIENCE") == "SCIENCE"
    assert group_of("", "TRAP") == "other"


# -- the Sun ---------------------------------------------------------------------------------------------


def sun(n, start="2024-07-01"):
    time = np.datetime64(start, "us") + np.arange(n) * np.timedelta64(60, "s")
    return {"TIME": time, "XRSA": np.full(n, 1e-8), "GOOD": np.ones(n, bool)}


def test_the_sun_has_gaps_where_nothing_is_known():
    series = sun(100)
    series["GOOD"][40:60] = False
    series["XRSA"][80] = np.nan  # one sample is no gap
    t, flux = goes_series(series)
    assert np.isnan(flux).sum() == 1
    assert len(t) == 80
    at = int(np.flatnonzero(np.isnan(flux))[0])
    assert t[at - 1] < t[at] < t[at + 1]
    assert t[at + 1] - t[at - 1] == 21 * 60_000
    assert goes_series(sun(0)) is None


def test_a_long_series_is_shortened_and_keeps_its_flares():
    series = sun(31 * 1440)
    series["XRSA"][20_001] = 1e-4
    t, flux = goes_series(series)
    assert len(t) <= GOES_POINTS
    assert np.nanmax(flux) == pytest.approx(1e-4)
    assert abs(t[np.nanargmax(flux)] - to_ms(series["TIME"][20_001])) <= 5 * 60_000


def test_the_sun_lies_under_the_exposures(whole):
    script, _ = whole
    (figure,) = [f for f in models(script, "Figure") if f["name"] == "visql-sun.GOES_FLUX"]
    glyphs = [r["attributes"]["glyph"]["name"] for r in figure["renderers"]]
    assert glyphs[0] == "Line"
    assert "Scatter" in glyphs
    order = [f["name"] for f in models(script, "Figure")]
    assert order.index("visql-sun.GOES_FLUX") == order.index("visql-radiation.LIT_AREA") + 1


# -- all months --------------------------------------------------------------------------------------------


def losses(n, cls="long"):
    date = np.datetime64("2024-03-01", "us") + (np.arange(n) * 3600e6).astype("timedelta64[us]")
    parts = []
    for colour in (0.75, 1.75, 2.75):
        day = np.arange(n) / 24
        model = np.where(day < 20, day * colour / 10, 0.0)
        table = {"DATE": date, "SPACE": "fpa", "SPACE_BIN": "fpa", "CLASS": cls, "FIELD": "all"}
        table |= {"COLOUR": colour, "LOSS": model + 0.1, "LOSS_ERR": 0.2, "MODEL": model}
        table |= {"RATE": np.where(day < 20, colour / 10, 0.0), "RATE_ERR": 0.01, "STATUS": "ok"}
        parts.append({k: np.broadcast_to(np.asarray(v), n) for k, v in table.items()})
    return {k: np.concatenate([p[k] for p in parts]) for k in TREND.names}


HERE = {"SPACE": "fpa", "SPACE_BIN": "fpa", "CLASS": "long", "FIELD": "all"}
STEP = {**HERE, "date": "2024-03-21T00:00:00", "size": [-1.5, None, -5.4], "significance": 9.0}
AHEAD = {**HERE, "colour": 0.75, "loss": 50.0, "reached": False}
AHEAD |= {"date": "2024-05-01T00:00:00", "early": "2024-04-20T00:00:00", "late": None}


def medians(months=("202403", "202404")):
    groups = np.array(["long"] * 9 + ["short"] * 2, dtype=object)
    return [month_medians(m, {"psf.R2": (groups, np.r_[np.arange(9.0), 5.0, np.nan])}) for m in months]


def test_medians_of_a_month():
    (found,) = medians(["202403"])
    assert found["groups"]["long"]["psf.R2"] == [9, 4.0, pytest.approx(1.28), pytest.approx(6.72)]
    assert found["groups"]["short"]["psf.R2"] == [1, 5.0, 5.0, 5.0]
    json.dumps(found, allow_nan=False)


def test_trends_show_losses_lines_steps_and_limits(limits):
    script, body = trend_markup(losses(900), [STEP], [AHEAD], medians(), limits, TrendSettings())
    assert [f["name"] for f in models(script, "Figure")] == ["visql-LOSS", "visql-psf.R2"]
    (figure,) = [f for f in models(script, "Figure") if f["name"] == "visql-LOSS"]
    boxes = [m["attributes"] for m in figure["center"] if m.get("name") == "BoxAnnotation"]
    assert {(edge(b, "bottom"), edge(b, "top")) for b in boxes} == {(20.0, 40.0), (40.0, None)}
    source = next(s for s in named(script, "visql-points") if s["tags"] == ["long_all"])
    assert len(columns(source)["LOSS"]) == 2700
    lines = [columns(s) for s in models(script, "ColumnDataSource") if "size" in dict(s["data"]["entries"])]
    assert lines[0]["size"] == ["-1.5, ?, -5.4"]
    assert "e1, e2, score: no values in any month" in body
    assert {o["url"] for o in models(script, "OpenURL")} == {"months/@{month}.html"}
    lines = [r["attributes"] for r in figure["renderers"] if r["attributes"]["glyph"]["name"] == "Line"]
    broken = [columns(line["data_source"]["attributes"]) for line in lines]
    assert sum(int(np.isnan(line["y"]).sum()) for line in broken) == 2 * 3  # parted at the step; rim and line


def test_long_trends_are_told_by_days(limits):
    script, _ = trend_markup(losses(2400), [], [], [], limits, TrendSettings())
    (source,) = [s for s in named(script, "visql-points") if s["tags"] == ["long_all"]]
    values = columns(source)
    assert len(values["LOSS"]) == 300
    assert values["LOSS_ERR"][0] == pytest.approx(0.2 / np.sqrt(24), rel=1e-4)
    assert values["LOSS"][0] == pytest.approx(np.mean(np.arange(24) / 24) * 0.075 + 0.1, rel=1e-3)


def frames(n):
    types = np.array(["SCIENCE", "DARK", "FLAT", "BIAS"])[np.arange(n) % 4]
    date = np.datetime64("2024-07-01", "us") + np.arange(n) * np.timedelta64(900, "s")
    table = {"EXPOSURE": np.array([f"E{i}" for i in range(n)]), "DATE_OBS": date, "FRAME_TYPE": types}
    table |= {"STATUS": np.full(n, "ok"), "REASON": np.full(n, "")}
    numbers = [c.name for c in DETECTOR_FRAMES.columns if c.dtype == "float64" and c.name != "EXPTIME"]
    return table | {name: np.arange(n, dtype=float) for name in numbers}


def test_calibration_frames_open_their_pages(limits):
    script, _body = calibration_markup(frames(12), limits)
    (source,) = named(script, "visql-points")
    values = columns(source)
    assert values["page"][0] == "exposures/202407/E0.html"
    assert np.flatnonzero(np.isfinite(values["FLAT_LEVEL"])).tolist() == [2, 6, 10]
    assert {o["url"] for o in models(script, "OpenURL")} == {"@{page}"}
    assert "visql-TRAILING" in {f["name"] for f in models(script, "Figure")}
    assert calibration_markup({}, limits)[0] == ""


def test_a_long_history_tells_science_frames_by_days(limits):
    script, body = calibration_markup(frames(FRAMES + 400), limits)
    values = columns(named(script, "visql-points")[0])
    groups = np.array(values["group"])
    assert (groups == "DARK").sum() == (FRAMES + 400) / 4
    assert (groups == "SCIENCE").sum() == pytest.approx((FRAMES + 400) / 96, abs=1)
    assert "months/202407.html" in values["page"]
    assert "medians of the days" in body
    assert np.all(np.diff(values["t"]) >= 0)


def test_tables_are_read_where_they_lie_and_left_out_where_broken(tmp_path, limits, caplog):
    folder = tmp_path / "months" / "202407"
    columns_of = DETECTOR_FRAMES.empty()
    write_table(folder / "detector_frames_202407.parquet", columns_of, DETECTOR_FRAMES)
    (folder / "psfmoments_202407.parquet").write_bytes(b"nothing")
    write_table(
        tmp_path / "timeline" / "trend.parquet", losses(30), TREND, meta={"steps": [], "forecast": []}
    )
    with caplog.at_level(logging.WARNING):
        script, _body = trend_plots(tmp_path, limits)
    assert "psfmoments_202407.parquet" in caplog.text
    assert [f["name"] for f in models(script, "Figure")] == ["visql-LOSS"]
    assert calibration_plots(tmp_path, limits)[0] == ""
    assert {p.name for p in plot_tables(tmp_path)} == {
        "detector_frames_202407.parquet",
        "psfmoments_202407.parquet",
        "trend.parquet",
    }
    assert trend_plots(tmp_path / "empty", limits)[0] == ""


# -- size ------------------------------------------------------------------------------------------------


def test_two_thousand_exposures_are_small(limits):
    base = month(700).exposures
    many = GroupSummary(
        "202407", tuple(replace(e, name=f"{e.name}{i}") for i in range(3) for e in base)[:2000]
    )
    script, body = month_plots(many, limits, sun(31 * 1440))
    assert len(script.encode()) + len(body.encode()) < 1_000_000


# -- in a browser ------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>plots</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<link rel="stylesheet" href="{up}static/plots.css"><script src="{up}static/bokeh.min.js"></script>
<script src="{up}static/plots.js" defer></script>
<style>body {{ font: 15px system-ui; background: #fff; color: #222 }}
[data-theme=dark] body {{ background: #15181d; color: #eee }}</style></head>
<body><h1>Plots</h1>{body}<script>{script}</script></body></html>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, limits):
    """A folder with a month's page, the trends and the calibration page, and pages of exposures."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "static").mkdir()
    for name, content in bokeh_files().items():
        (folder / "static" / name).write_bytes(content)
    for name in ("plots.js", "plots.css"):
        shutil.copy(STATIC / name, folder / "static")
    some = ("psf.R2", "psf.SCORE", "ratio.R1", "radiation.PROTON_RATE", "sun.GOES_FLUX", "detector.BIAS")
    odd = exposure(30, some, findings=(StatusReason("quality", "warn", NAUGHTY),))
    every = month(30, odd, keys=some)
    put(folder, "months/202407.html", month_plots(every, limits, sun(2000)))
    put(folder, "trends.html", trend_markup(losses(200), [STEP], [AHEAD], medians(), limits, TrendSettings()))
    put(folder, "calibration.html", calibration_markup(frames(12), limits))
    held = {"exposures/202407/E5.html", "months/202404.html"}
    put(folder, "part/calibration.html", calibration_markup(frames(12), limits, held))
    (folder / "part" / "exposures" / "202407").mkdir(parents=True)
    (folder / "part" / "exposures" / "202407" / "E5.html").write_text("<!doctype html><title>E5</title>")
    for e in every.exposures:
        page = folder / "exposures" / "202407" / f"{e.name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<!doctype html><title>{e.name}</title><link rel=icon href=data:,>")
    return folder


def put(folder, name, plots):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(PAGE.format(up="../" * name.count("/"), script=plots[0], body=plots[1]))


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM or not DRIVER:
        pytest.skip("no chromium with chromedriver here")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, site, name):
    """Open a page, wait until all its plots are drawn, and return Bokeh's complaints."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get_log("browser")
    browser.get((site / name).as_uri())
    drawn = """const n = document.querySelectorAll('[data-root-id]').length;
        return n > 0 && window.Bokeh && Bokeh.documents.length > 0
          && Bokeh.documents.every((d) => d.is_idle) && document.querySelectorAll('.bk-Figure').length === n
          && document.querySelector('[data-plots]').dataset.plotsPaper !== undefined"""
    WebDriverWait(browser, 20, 0.05).until(lambda b: b.execute_script(drawn))
    return [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


# Where a point of a panel lies in the window, and the name of its exposure.
WHERE = """
const [key, row] = arguments;
let plot = null;
const visit = (view) => {
  if (view.model && view.model.name === 'visql-' + key) plot = view;
};
for (const view of Bokeh.index) visit(view);
plot.el.scrollIntoView({block: 'center'});
const renderer = plot.model.renderers.find((r) => r.glyph.type === 'Scatter');
const data = renderer.data_source.data;
const get = (name) => (data.get ? data.get(name) : data[name]);
const frame = plot.frame;
const box = plot.canvas_view.el.getBoundingClientRect();
return [
  box.left + frame.x_scale.compute(get('t')[row]),
  box.top + frame.y_scale.compute(get(key)[row]),
  get('name')[row],
];
"""
RANGES = """return Bokeh.documents[0].roots().map((f) => [f.x_range.start, f.x_range.end, f.y_range.start])"""


@pytest.mark.parametrize("name", ["months/202407.html", "trends.html", "calibration.html"])
def test_pages_open_from_files_without_a_complaint(browser, site, name):
    browser.get_log("performance")
    assert opened(browser, site, name) == []
    sent = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert urls
    assert all(url.startswith((site.as_uri(), "data:")) for url in urls)
    wide = "return [document.documentElement.scrollWidth, innerWidth]"
    width, window = browser.execute_script(wide)
    assert width <= window


def test_a_click_on_a_point_without_a_page_does_nothing(browser, site):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    assert opened(browser, site, "part/calibration.html") == []
    here = browser.current_url
    for row in (4, 9):
        x, y, _ = browser.execute_script(WHERE, "BIAS", row)
        pointer(ActionChains(browser), x, y).click().pause(0.5).perform()
        assert browser.current_url == here
    x, y, _ = browser.execute_script(WHERE, "BIAS", 5)
    pointer(ActionChains(browser), x, y).click().perform()
    WebDriverWait(browser, 10).until(lambda b: b.title == "E5")


def test_a_click_on_a_point_opens_its_exposure(browser, site):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, site, "months/202407.html")
    x, y, name = browser.execute_script(WHERE, "radiation.PROTON_RATE", 12)
    pointer(ActionChains(browser), x, y).click().perform()
    WebDriverWait(browser, 10).until(lambda b: b.title == name)
    assert browser.current_url == (site / "exposures" / "202407" / f"{name}.html").as_uri()


def pointer(chain, x, y):
    chain.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    return chain


def test_the_pointer_tells_a_point_and_text_stays_text(browser, site):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    opened(browser, site, "months/202407.html")
    x, y, name = browser.execute_script(WHERE, "psf.R2", 30)
    pointer(ActionChains(browser), x, y).perform()
    words = """const all = (node) => [...(node.shadowRoot ? [node.shadowRoot, ...all(node.shadowRoot)] : []),
          ...[...node.children].flatMap((c) => all(c))];
        const roots = [document, ...all(document.documentElement)];
        const tips = roots.flatMap((r) => [...r.querySelectorAll('.bk-Tooltip')]);
        if (roots.some((r) => r.querySelector('#bad'))) return 'broken';
        return tips.map((t) => (t.shadowRoot || t).textContent).join(' ')"""
    said = WebDriverWait(browser, 10).until(lambda b: b.execute_script(words))
    assert name in said
    assert "2024-07-02 06:00:00" in said
    assert NAUGHTY in said
    assert f"{exposure(30).values['psf.R2']:.3f}" in said


def test_zooming_one_panel_zooms_all(browser, site):
    from selenium.webdriver.common.action_chains import ActionChains

    opened(browser, site, "months/202407.html")
    before = browser.execute_script(RANGES)
    x, y, _ = browser.execute_script(WHERE, "psf.R2", 10)
    chain = pointer(ActionChains(browser), x, y).click_and_hold()
    pointer(chain, x + 150, y + 2).release().perform()
    after = browser.execute_script(RANGES)
    assert len({(a, b) for a, b, _ in after}) == 1
    assert before[0][0] < after[0][0] < after[0][1] < before[0][1]
    assert [r[2] for r in after] == [r[2] for r in before]
    browser.execute_script("document.querySelector('[data-plots-days=all]').click()")
    assert browser.execute_script(RANGES) == before
    browser.execute_script("document.querySelector('[data-plots-days=\"1\"]').click()")
    start, end, _ = browser.execute_script(RANGES)[-1]
    assert end - start == pytest.approx(86_400_000)


def test_groups_and_other_exposures_can_be_hidden(browser, site):
    opened(browser, site, "months/202407.html")
    shown = "return Bokeh.documents[0].get_model_by_name('visql-shown').booleans"
    assert all(browser.execute_script(shown))
    browser.execute_script("document.querySelector('[data-plots-group=long]').click()")
    assert sum(browser.execute_script(shown)) == 16  # the short ones
    names = [exposure(2).name, exposure(3).name]
    browser.execute_script("visqlPlots.show(arguments[0])", names)
    assert np.flatnonzero(browser.execute_script(shown)).tolist() == [2]
    browser.execute_script("visqlPlots.show(null)")
    assert sum(browser.execute_script(shown)) == 16


def test_dark_and_light_paper(browser, site):
    opened(browser, site, "months/202407.html")
    colours = """const f = Bokeh.documents[0].roots()[0];
        const m = [...f.references()].find((m) => m.type === 'CategoricalColorMapper');
        return [f.title.text_color, m.palette[0]].map((c) => (c && c.value) || c)"""
    light = browser.execute_script(colours)
    assert light == ["#222222", "#0072b2"]
    browser.execute_script("document.documentElement.dataset.theme = 'dark'")
    dark = browser.execute_async_script(f"setTimeout(() => arguments[0]((() => {{{colours}}})()), 100)")
    assert dark == ["#e6e6e6", "#56b4e9"]
