"""The other frame types: what DARK, FLAT, BIAS and CHARGE frames tell, against the simulator's truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visql_lib.cli.catalog import command as catalog
from visql_lib.cli.detector import command as detector
from visql_lib.cli.preview import command as preview
from visql_lib.config import CalibrationSettings, PreviewSettings
from visql_lib.errors import SimulationError
from visql_lib.flags import QuadrantFlag
from visql_lib.frames import Quadrant, open_exposure
from visql_lib.frames.calibration import calibration_measures, dark_level, flat_slopes
from visql_lib.frames.defects import hot_candidates, overscan_row_pattern, rows_and_columns, shared_rms
from visql_lib.frames.injection import measure_injection
from visql_lib.frames.repeats import deviations, nan_median, repeated, summary
from visql_lib.pictures.style import render_png
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.detector import detector_timeline
from visql_lib.pipelines.vis.pictures.detector_map import detector_maps, hot_pixel_map
from visql_lib.pipelines.vis.schemas.detector import DETECTOR, DETECTOR_FRAMES, HOT_PIXELS
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.pipelines.vis.stages.detector import month_detector
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.qc.limits import Thresholds
from visql_lib.sheets.index import refresh_sheets
from visql_lib.simulate import SimulatedExposure, exposures_of
from visql_lib.steps.catalog import _levels, measure_frame
from visql_lib.tables import QUADRANTS, read_table, write_table

TOY = str(Path(__file__).parent / "toy_camera.yaml")
HOT = {"hot_pixels": 60.0, "hot_columns": ["1-1.E:100", "2-2.G:321"], "row_pattern": 0.2}
# A month of the toy camera. Its quadrants hold a twelfth of the pixels of real ones.
MONTH = [
    {"type": "BIAS", "date": "2024-07-01T00:00:00"},
    {"type": "DARK", "date": "2024-07-01T01:00:00"},
    {"type": "DARK", "date": "2024-07-08T01:00:00"},
    {"type": "DARK", "date": "2024-07-15T01:00:00"},
    {"type": "FLAT", "date": "2024-07-08T02:00:00", "detector": {"flat_slope": [0.8, -0.5]}},
    {"type": "CHARGE", "date": "2024-07-08T03:00:00"},
    {"type": "short", "date": "2024-07-08T04:00:00", "sky": {"stars": 0.0, "galaxies": 0.0}},
]


def one(**options):
    return exposures_of({"exposures": [options]}, "test")[0]


def measured(path, instrument):
    """Return the table of quadrants of a frame, nothing detected."""
    with open_exposure(path, instrument) as exposure:
        return measure_frame(exposure, None, PreviewSettings()).quadrants


def facts_of(path):
    return json.loads((path.parent / "truth" / f"{path.name.removesuffix('.fits')}.json").read_text())


def truth_of(path):
    return read_table(path.parent / "truth" / f"{path.name.removesuffix('.fits')}_quadrants.parquet")


@pytest.fixture(scope="module")
def month(toy, tmp_path_factory):
    """A month of the toy camera, measured by the commands: folder with raw, results, settings."""
    folder = tmp_path_factory.mktemp("month")
    plan = {"common": {"seed": 3, "detector": HOT, "radiation": {"cosmics": 1.0}}, "exposures": MONTH}
    frames = make_frames(exposures_of(plan, "test"), toy, folder / "raw")
    config = folder / "toy.yaml"
    config.write_text(f"instrument: {TOY}\npreview: {{zoom_size: 100}}\n")
    given = {"raw": [str(folder / "raw")], "results": str(folder / "results"), "instrument": TOY}
    given |= {"index": {"growing_age": 0.0}}
    refresh_sheets(settings_from_mapping(given), toy, RULES, ["202407"])
    for frame, options in zip(frames, MONTH, strict=True):
        stem = frame.name.removesuffix(".fits")
        base = folder / "results" / "exposures" / "202407" / stem / stem
        more = ["--quadrants", f"{base}_quadrants.parquet", "--config", str(config)]
        if options["type"] == "FLAT" or frame == frames[1]:
            CliRunner().invoke(
                catalog, [str(frame), "-o", f"{base}.cat.parquet", *more], catch_exceptions=False
            )
        elif options["type"] == "CHARGE":
            CliRunner().invoke(preview, [str(frame), "-o", str(base), *more], catch_exceptions=False)
        else:  # the levels are the same by either command
            meta = {"frame_type": "SCIENCE" if options["type"] == "short" else options["type"]}
            write_table(Path(f"{base}_quadrants.parquet"), measured(frame, toy), QUADRANTS, meta=meta)
    return folder


@pytest.fixture(scope="module")
def made(month):
    """What `visql detector` makes of that month: its folder."""
    sheet = month / "results" / "exposures" / "202407.tsv"
    arguments = [str(sheet), "-o", str(month / "d.parquet"), "--frames", str(month / "f.parquet")]
    arguments += ["--hot-pixels", str(month / "h.parquet"), "--pictures", str(month / "pic")]
    result = CliRunner().invoke(
        detector, [*arguments, "--config", str(month / "toy.yaml")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return month


# --- truth recovered: frames of full size -----------------------------------------------------------


@pytest.fixture(scope="module")
def bias_frame(vis, tmp_path_factory):
    options = one(
        type="BIAS",
        ccds=["3-3"],
        detector={"row_pattern": 0.3, "column_pattern": 0.15, "hot_columns": ["3-3.G:1234"]},
    )
    return make_frames([options], vis, tmp_path_factory.mktemp("bias"))[0]


def test_bias_noise_and_pattern_of_a_bias_frame(bias_frame, vis):
    found, truth = measured(bias_frame, vis), truth_of(bias_frame)
    assert found["EXT"].tolist() == truth["EXT"].tolist()
    for name in ("BIAS", "BIAS_PRESCAN"):
        np.testing.assert_allclose(found[name], truth["BIAS"], atol=0.05)
    # Twenty rows, each with a level of its own.
    np.testing.assert_allclose(found["BIAS_PARALLEL"], truth["BIAS"], atol=4 * 0.3 / np.sqrt(20))
    # The overscan holds the rows' levels, too.
    np.testing.assert_allclose(found["READ_NOISE"], np.hypot(truth["READ_NOISE"], 0.3), rtol=0.02)
    np.testing.assert_allclose(found["ROW_PATTERN"], 0.3, rtol=0.06)
    np.testing.assert_allclose(found["ROW_PATTERN_OVERSCAN"], 0.3, rtol=0.15)
    np.testing.assert_allclose(found["COLUMN_PATTERN"], 0.15, rtol=0.08)
    np.testing.assert_allclose(found["SIGNAL"], 0.0, atol=0.05)


def test_a_hot_column_is_found_and_only_it(bias_frame, vis):
    found = measured(bias_frame, vis)
    hot = found["EXT"] == "3-3.G"
    assert found["N_HOT_COLUMNS"].tolist() == hot.astype(float).tolist()
    assert (found["N_HOT_ROWS"] == 0).all()
    assert found["HOT_COLUMN"][hot].tolist() == [1234]
    np.testing.assert_allclose(found["HOT_COLUMN_SIGNAL"][hot], 10.0, atol=0.6)  # pattern: 0.15 ADU
    assert np.isnan(found["HOT_COLUMN"][~hot]).all()
    assert (found["FLAGS"] == np.where(hot, int(QuadrantFlag.HOT_LINE), 0)).all()


def test_a_quiet_bias_frame_has_no_pattern(vis):
    quadrant = simulated(vis, "3-4.F", type="BIAS", ccds=["3-4"])
    true = SimulatedExposure(one(type="BIAS", ccds=["3-4"]), vis).electronics(quadrant.layout)
    levels = _levels(quadrant)
    for name in ("BIAS", "BIAS_PRESCAN", "BIAS_PARALLEL"):
        assert abs(levels[name] - true.bias) < 0.05
    np.testing.assert_allclose(levels["READ_NOISE"], true.read_noise, rtol=0.02)
    found = measures(quadrant, "BIAS")
    assert found["ROW_PATTERN"] < 0.02
    assert found["COLUMN_PATTERN"] < 0.02
    assert (found["N_HOT_COLUMNS"], found["N_HOT_ROWS"], found["FLAGS"]) == (0, 0, 0)


def simulated(instrument, name, **options):
    """Return one quadrant of a simulated frame."""
    layout = instrument.quadrants[name]
    return Quadrant(name, layout, SimulatedExposure(one(**options), instrument).pixels(layout)[0])


def measures(quadrant, frame_type):
    return calibration_measures(quadrant, frame_type, _levels(quadrant), CalibrationSettings(), 50000)


def test_dark_level_does_not_mind_particles(vis):
    """Even of a storm: what is hit is not dark signal."""
    options = {"ccds": ["3-3"], "type": "DARK", "detector": {"bias_scatter": 0.0}}
    for cosmics in (0.0, 1.0, 8.0):
        quadrant = simulated(vis, "3-3.E", **options, radiation={"cosmics": cosmics})
        found = measures(quadrant, "DARK")
        rate = vis.simulation.dark_rate / vis.gain_models["3"]["3-3.E"]
        np.testing.assert_allclose(found["SIGNAL"], rate * 560.52, atol=0.04)


@pytest.mark.parametrize("name", ["3-3.E", "3-3.H"])
def test_injected_level_and_trailing(vis, name):
    """The lower quadrant is read from below, the upper one from above."""
    detector_options = {"injection": 12000.0, "trailing": 0.004, "trailing_length": 6.0}
    exposure = SimulatedExposure(one(type="CHARGE", ccds=["3-3"], detector=detector_options), vis)
    layout = vis.quadrants[name]
    found = measures(Quadrant(name, layout, exposure.pixels(layout)[0]), "CHARGE")
    signal, _ = exposure.signal(layout)
    injected = np.median(signal[np.median(signal, axis=1) > 6000])
    np.testing.assert_allclose(found["INJECTED"], injected, rtol=0.005)
    assert found["INJECTED_LINES"] == 4 * (2066 // 8)
    assert 0 < found["TRAILING_ERR"] < 2e-4
    assert abs(found["TRAILING"] - 0.004) < 4 * found["TRAILING_ERR"] + 0.005 * 0.004
    np.testing.assert_allclose(found["TRAILING_LENGTH"], 6.0, rtol=0.05)


def test_a_frame_without_injected_lines_says_so(toy):
    found = measures(simulated(toy, "1-1.G", type="CHARGE", detector={"injection": 0.0}), "CHARGE")
    assert found["FLAGS"] == QuadrantFlag.NO_INJECTION
    assert np.isnan([found[n] for n in ("INJECTED", "TRAILING", "TRAILING_LENGTH")]).all()
    everywhere = np.full((400, 300), 9000, np.uint16)
    everywhere[:3] = 2000  # no dark lines behind the block
    assert measure_injection(everywhere, 1.3).n_lines == 0


# --- a month by the commands ------------------------------------------------------------------------


def test_hot_pixels_of_a_month(made, toy):
    """At the real rate of particles: 97 % found of those above the limit, and as few others as foretold."""
    table = read_table(made / "h.parquet")
    true = facts_of(next((made / "raw").glob("*0701_010000*.fits")))["detector"]["hot_pixels"]
    rate = {(ext, x, y): r for ext, x, y, r in true}
    found = list(
        zip(table["EXT"].tolist(), table["X_IMAGE"].tolist(), table["Y_IMAGE"].tolist(), strict=True)
    )
    right = [place for place in found if place in rate]
    assert len(rate) > 200
    assert len(right) > 0.97 * len(rate)
    assert table.meta["darks"] == 3
    assert table.meta["hot_required"] == 2
    assert table.meta["hot_by_chance"] < 5
    assert len(found) - len(right) <= 5
    assert (table["N_DARKS"] >= 2).all()
    ratio = [r / rate[place] for place, r in zip(found, table["RATE"], strict=True) if place in rate]
    np.testing.assert_allclose(np.median(ratio), 1.0, rtol=0.01)


def test_one_dark_alone_only_has_candidates(made):
    table, frames = read_table(made / "d.parquet"), read_table(made / "f.parquet")
    dark = table["FRAME_TYPE"] == "DARK"
    assert (table["N_CANDIDATES"][dark] >= table["N_HOT"][dark]).all()
    assert table["N_CANDIDATES"][dark].sum() > 1.5 * table["N_HOT"][dark].sum()  # the others are particles
    assert np.isnan(table["N_HOT"][~dark]).all()
    number = read_table(made / "h.parquet").n_rows
    seen = frames["N_HOT"][frames["FRAME_TYPE"] == "DARK"]
    assert ((seen > 0.9 * number) & (seen <= number)).all()


def test_hot_columns_of_a_month(made):
    """A long track along a column of the toy's 592 rows looks hot once; only what repeats is hot."""
    table, frames = read_table(made / "d.parquet"), read_table(made / "f.parquet")
    assert table.meta["hot_columns"] == [["1-1.E", 100, 4], ["2-2.G", 321, 4]]
    looked = np.isin(table["FRAME_TYPE"], ["DARK", "BIAS"])
    assert (np.isfinite(table["N_HOT_COLUMNS"]) == looked).all()
    assert (np.isfinite(table["HOT_COLUMN"]) <= looked).all()
    numbers = frames["N_HOT_COLUMNS"][np.isin(frames["FRAME_TYPE"], ["DARK", "BIAS"])]
    assert ((numbers >= 2) & (numbers <= 3)).all()


def test_illumination_and_its_slopes(made, toy):
    table = read_table(made / "d.parquet")
    flat = table["FRAME_TYPE"] == "FLAT"
    (frame,) = (made / "raw").glob("*0708_020000*.fits")
    true = np.array([facts_of(frame)["detector"]["flat"][name] for name in table["EXT"][flat]])
    np.testing.assert_allclose(table["ILLUMINATION"][flat], true / np.median(true), rtol=0.002)
    np.testing.assert_allclose(table["SIGNAL"][flat], true, rtol=0.002)
    width, height = 608 * toy.geometry.scale, 592 * toy.geometry.scale
    np.testing.assert_allclose(table["SLOPE_X"][flat], 0.8 * width, atol=0.002)
    np.testing.assert_allclose(table["SLOPE_Y"][flat], -0.5 * height, atol=0.002)
    frames = read_table(made / "f.parquet")
    scatter = frames["FLAT_SCATTER"][frames["FRAME_TYPE"] == "FLAT"][0]
    np.testing.assert_allclose(scatter, summary(true / np.median(true)).scatter, rtol=0.02)
    assert np.isnan(frames["FLAT_SCATTER"][frames["FRAME_TYPE"] != "FLAT"]).all()


def test_medians_of_frames_of_all_types(made):
    frames, table = read_table(made / "f.parquet"), read_table(made / "d.parquet")
    assert sorted(frames["FRAME_TYPE"].tolist()) == sorted(
        "SCIENCE" if o["type"] == "short" else o["type"] for o in MONTH
    )
    assert (np.diff(frames["DATE_OBS"]) > np.timedelta64(0)).all()
    assert (frames["N_QUADRANTS"] == 16).all()
    assert len(table["EXT"]) == 16 * len(MONTH)
    truth = truth_of(next((made / "raw").glob("*.fits")))
    np.testing.assert_allclose(frames["BIAS"], np.median(truth["BIAS"]), atol=0.05)
    np.testing.assert_allclose(frames["READ_NOISE"], np.median(np.hypot(truth["READ_NOISE"], 0.2)), rtol=0.02)
    assert (np.abs(frames["BIAS_SHIFT"]) < 0.05).all()
    dark = frames["FRAME_TYPE"] == "DARK"
    off = np.abs(frames["DARK_RATE"] - 0.0003)[dark]
    assert (off < 4 * frames["DARK_RATE_ERR"][dark] + 0.03 / 560).all()
    assert np.isnan(frames["DARK_RATE"][~dark]).all()
    assert np.isfinite(frames["TRAILING"]).tolist() == (frames["FRAME_TYPE"] == "CHARGE").tolist()
    assert set(frames["STATUS"].tolist()) == {"ok"}


def test_science_frames_get_nothing_more(month, toy):
    (path,) = (month / "results" / "exposures" / "202407").glob("*0708_040000*/*_quadrants.parquet")
    table = read_table(path)
    assert table.meta["frame_type"] == "SCIENCE"
    np.testing.assert_allclose(table["SIGNAL"], table["LEVEL"] - table["BIAS"], atol=1e-3)
    for name in ("ROW_PATTERN", "N_HOT_COLUMNS", "N_CANDIDATES", "SLOPE_X", "INJECTED", "HOT_SIGNAL"):
        assert np.isnan(table[name]).all(), name
    assert table["HOT_INDEX"].tolist() == [[-1]] * 16


def test_the_pictures_are_written(made):
    for name in ("timeline", "map", "hot"):
        assert (made / f"pic_{name}.png").stat().st_size > 20_000


# --- months that lack something ---------------------------------------------------------------------


LIMITS = Thresholds.model_validate(
    {
        "epochs": [
            {
                "from": "2024-01-01",
                "detector.BIAS": {"warn_above": 2650},
                "detector.N_HOT": {"error_above": 5},
            }
        ]
    }
)


def copied(month, folder, keep=lambda row: True, change=lambda row, table: table):
    """Copy the sheet and tables of quadrants of a month, those wanted, changed; return the month's files."""
    source = month / "results" / "exposures"
    lines = (source / "202407.tsv").read_text().splitlines(keepends=True)
    kept = [line for line in lines[1:] if keep(line)]
    sheet = folder / "exposures" / "202407.tsv"
    sheet.parent.mkdir(parents=True)
    sheet.write_text("".join([lines[0], *kept]))
    for line in kept:
        stem = line.split("\t")[0]
        part = Path("202407") / stem / f"{stem}_quadrants.parquet"
        table = read_table(source / part)
        changed = change(line, dict(table))
        if changed is not None:
            write_table(sheet.parent / part, changed, QUADRANTS, meta=table.meta)
    return MonthFiles.of_sheet(sheet)


def texts(figure):
    """Return what is written in a picture, but for its axes."""
    return " ".join(t.get_text() for part in (figure, *figure.axes) for t in part.texts)


def pictures(found, toy):
    """Draw all pictures of a month."""
    epoch = np.datetime64("2023-07-01", "us")
    return (
        detector_timeline(found.quadrants, found.frames, epoch, title="t"),
        detector_maps(found.quadrants, toy, title="t"),
        hot_pixel_map(found.hot, found.quadrants, found.facts, toy, title="t"),
    )


def drawn(found, toy):
    """Return what is written in each picture of a month."""
    return tuple(map(texts, pictures(found, toy)))


def test_a_month_without_anything(month, toy, tmp_path):
    found = month_detector(copied(month, tmp_path, lambda _: False), toy, LIMITS)
    assert found.facts == {
        "darks": 0,
        "hot_required": 0,
        "hot_pixels": 0,
        "hot_by_chance": 0.0,
        "hot_columns": [],
    }
    for schema, columns in ((DETECTOR, found.quadrants), (DETECTOR_FRAMES, found.frames)):
        assert schema.length(columns) == 0
    assert HOT_PIXELS.length(found.hot) == 0
    figures = pictures(found, toy)
    assert all(len(render_png(figure)) > 10_000 for figure in figures)
    timeline, maps, hot = map(texts, figures)
    assert timeline.count("no frames") == 8
    assert "no DARK frame" in maps
    assert "no DARK frame" in hot


def test_a_month_with_one_science_frame(month, toy, tmp_path):
    found = month_detector(copied(month, tmp_path, lambda line: "SCIENCE" in line), toy, LIMITS)
    timeline, maps, hot = drawn(found, toy)
    for text in ("no DARK frame", "no FLAT frame", "no DARK or BIAS frame", "no CHARGE frame"):
        assert text in timeline
    assert "no FLAT frame" in maps
    assert "no DARK frame" in hot


def test_a_month_with_one_dark_says_what_it_cannot_tell(month, toy, tmp_path):
    found = month_detector(copied(month, tmp_path, lambda line: "0701_010000" in line), toy, LIMITS)
    assert np.isnan(found.quadrants["N_HOT"]).all()
    assert found.frames["N_CANDIDATES"][0] > 300
    assert found.facts["hot_required"] == 0
    timeline, maps, hot = drawn(found, toy)
    assert "it takes two to tell hot pixels from particles" in timeline
    assert "fewer than two DARKs" in maps
    assert "one DARK only" in hot


def test_broken_tables_cost_their_frame_only(month, toy, tmp_path):
    files = copied(month, tmp_path, change=lambda line, table: None if "FLAT" in line else table)
    (bias,) = (files.sheet.parent / "202407").glob("*0701_000000*/*.parquet")
    bias.write_bytes(b"broken")
    (charge,) = (files.sheet.parent / "202407").glob("*0708_030000*/*.parquet")
    write_table(charge, QUADRANTS.empty(), QUADRANTS, meta={"failed": "cut short"})
    found = month_detector(files, toy, LIMITS)
    rows = dict(zip(found.frames["FRAME_TYPE"], found.frames["REASON"], strict=True))
    assert "no table of quadrants" in rows["FLAT"]
    assert "cannot be read" in rows["BIAS"] or "not a Parquet" in rows["BIAS"]
    assert rows["CHARGE"] == "cut short"
    assert rows["SCIENCE"] == ""
    failed = np.isin(found.frames["FRAME_TYPE"], ["FLAT", "BIAS", "CHARGE"])
    assert (found.frames["STATUS"] == "failed").tolist() == failed.tolist()
    drawn(found, toy)


def test_thresholds_and_the_quadrant_that_is_off(month, toy, tmp_path):
    def change(line, table):
        if "0715_010000" in line:
            table["BIAS"] = table["BIAS"] + np.where(table["EXT"] == "2-1.H", 20, 0).astype(np.float32)
        if "SCIENCE" in line:
            table["BIAS"] = table["BIAS"] + np.float32(50)
        return table

    found = month_detector(copied(month, tmp_path, change=change), toy, LIMITS)
    frames = found.frames
    status = dict(zip(frames["EXPOSURE"].tolist(), frames["STATUS"].tolist(), strict=True))
    dark = frames["FRAME_TYPE"] == "DARK"
    assert {status[e] for e in frames["EXPOSURE"][dark].tolist()} == {"error"}
    assert all("N_HOT" in reason for reason in frames["REASON"][dark])
    science = frames["FRAME_TYPE"] == "SCIENCE"
    assert frames["STATUS"][science].tolist() == ["warn"]
    np.testing.assert_allclose(frames["BIAS_SHIFT"][science], 50, atol=0.1)
    last = int(np.argmax(frames["DATE_OBS"]))
    assert (frames["WORST"][last], frames["WORST_IN"][last]) == ("2-1.H", "BIAS")
    assert frames["WORST_SIGMA"][last] > 50
    assert frames["N_DEVIATING"][last] >= 1
    assert "off: 2-1.H" in drawn(found, toy)[0]


def test_a_quadrant_that_is_dead_in_part_is_flagged_and_out_of_the_medians(month, toy, tmp_path):
    """Half of it zero: READ_NOISE is then that of the step between the halves."""
    layout = toy.quadrants["1-1.E"]
    pixels = np.random.default_rng(5).normal(2650, 1.3, layout.shape).round().astype(np.uint16)
    frame = tmp_path / "C_20240715_010000_W_00000001.VIS.bin_01_01.fits"
    dead = pixels.copy()
    dead[:300] = 0
    parts = [("1-1.E", dead), *((name, pixels) for name in list(toy.quadrants) if name != "1-1.E")]
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(p, name=n) for n, p in parts)]).writeto(frame)
    with open_exposure(frame, toy) as exposure:
        rows = measure_frame(exposure, None, PreviewSettings()).quadrants
    flagged = rows["EXT"][rows["FLAGS"] & QuadrantFlag.DEAD != 0]
    assert flagged.tolist() == ["1-1.E"]
    assert rows["READ_NOISE"][rows["EXT"] == "1-1.E"] > 100

    def change(line, table):
        if "0715_010000" in line:
            off = table["EXT"] == "1-1.E"
            table["READ_NOISE"] = np.where(off, 1323, table["READ_NOISE"]).astype(np.float32)
            table["FLAGS"] = np.where(off, QuadrantFlag.DEAD.value, table["FLAGS"]).astype(np.int16)
        return table

    clean = month_detector(copied(month, tmp_path / "clean"), toy, LIMITS)
    found = month_detector(copied(month, tmp_path, change=change), toy, LIMITS)
    last = int(np.argmax(found.frames["DATE_OBS"]))
    for name in ("READ_NOISE_SCATTER", "READ_NOISE_ERR"):
        assert found.frames[name][last] < 2 * clean.frames[name][last]
    assert found.frames["FLAGS"][last] & QuadrantFlag.DEAD
    assert found.frames["WORST"][last] != "1-1.E"
    assert 1323 in found.quadrants["READ_NOISE"]  # the table has what was measured


# --- odd quadrants ----------------------------------------------------------------------------------


KINDS = ("SCIENCE", "DARK", "FLAT", "BIAS", "CHARGE", "UNKNOWN")


@pytest.mark.parametrize("frame_type", KINDS)
@pytest.mark.parametrize("content", ["zero", "full", "stripes", "noise"])
@pytest.mark.parametrize("overscan", [12, 0])
def test_odd_quadrants_of_any_type_give_numbers_or_nan(toy, frame_type, content, overscan):
    layout = toy.quadrants["1-1.H"]
    if not overscan:
        layout = replace(layout, bias=None, parallel=None)
    rng = np.random.default_rng(2)
    pixels = {
        "zero": np.zeros(layout.shape, np.uint16),
        "full": np.full(layout.shape, 65535, np.uint16),
        "stripes": np.tile(np.array([0, 65535], np.uint16), (600, 320)),
        "noise": rng.integers(0, 65536, layout.shape, dtype=np.uint16),
    }[content]
    found = measures(Quadrant("1-1.H", layout, pixels), frame_type)
    expected = {c.name for c in QUADRANTS.columns} & set(found)
    assert expected == set(found)
    assert not any(np.isinf(v) for v in found.values() if isinstance(v, float))
    constant = content in ("zero", "full") and frame_type in ("DARK", "FLAT", "BIAS", "CHARGE")
    assert bool(found["FLAGS"] & QuadrantFlag.CONSTANT) == constant
    assert bool(found["FLAGS"] & QuadrantFlag.NO_OVERSCAN) == (overscan == 0)
    assert np.isnan(found["SIGNAL"]) == (overscan == 0)


def test_a_saturated_flat_is_flagged(toy):
    quadrant = simulated(toy, "1-2.E", type="FLAT", detector={"flat_level": 60000.0})
    assert measures(quadrant, "FLAT")["FLAGS"] == QuadrantFlag.SATURATED


def test_too_many_candidates_leave_the_brightest():
    rng = np.random.default_rng(5)
    image = np.rint(rng.normal(1000, 1.3, (600, 600))).astype(np.uint16)
    image[10:590:4, 10:590:4] += rng.integers(100, 1000, (145, 145)).astype(np.uint16)
    found = hot_candidates(image, 1000.0, 1.3, 6.0, 20.0, most=500)
    assert found.n_found == 145 * 145
    assert len(found.place) == 500
    assert (np.diff(found.place) > 0).all()
    assert found.signal.min() > 950


# --- formulas ---------------------------------------------------------------------------------------


@given(hnp.arrays(np.uint16, (20, 30), elements=st.integers(900, 1300)))
def test_candidates_have_no_bright_neighbour(image):
    found = hot_candidates(image, 1000.0, 5.0, 6.0, 20.0)
    for place, signal in zip(found.place.tolist(), found.signal.tolist(), strict=True):
        y, x = divmod(place, 30)
        around = image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].astype(float) - 1000
        assert signal == image[y, x] - 1000.0
        assert signal > 29
        assert (np.sort(around.ravel())[:-1] < max(20, 0.02 * signal)).all()


@given(st.integers(2, 8), st.integers(0, 30), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_what_is_in_every_dark_is_hot(n_darks, n_hot, n_hits, seed):
    rng = np.random.default_rng(seed)
    hot = rng.choice(10**6, n_hot, replace=False)
    places = [np.unique(np.concatenate([hot, rng.choice(10**6, n_hits)])) for _ in range(n_darks)]
    found = repeated(places, [np.full(len(p), 2.0) for p in places], 10**6)
    assert set(hot.tolist()) <= set(found.place.tolist())
    assert 2 <= found.required <= n_darks
    assert (found.n_darks >= found.required).all()
    assert (found.rate == 2.0).all()


def test_chance_is_foretold():
    """Particles alone: as many pixels repeat as expected, or more DARKs are asked for."""
    rng = np.random.default_rng(8)
    size = 4_000_000
    two = [rng.choice(size, 3000, replace=False) for _ in range(2)]
    found = repeated(two, [np.ones(3000)] * 2, size)
    assert found.required == 2
    np.testing.assert_allclose(found.chance, 2.25, rtol=0.01)
    assert abs(len(found.place) - found.chance) < 6
    many = [rng.choice(size, 3000, replace=False) for _ in range(20)]
    found = repeated(many, [np.ones(3000)] * 20, size)
    assert found.required == 4
    assert found.chance < 1
    assert repeated(many[:1], [np.ones(3000)], size).required == 0


def test_slopes_of_the_light_are_along_their_axes():
    """From edge to edge: 20 % brighter to the right, 10 % fainter upwards."""
    y, x = np.indices((400, 300)) + 0.5
    light = 20000 * (1 + 0.2 * (x / 300 - 0.5) - 0.1 * (y / 400 - 0.5))
    np.testing.assert_allclose(flat_slopes(np.rint(light + 2646), 2646.0), [0.2, -0.1], atol=1e-3)


@given(st.floats(0, 0.3))
def test_dark_level_takes_particles_off(share):
    values = np.random.default_rng(6).normal(100, 2, 20_000)
    values[: int(share * len(values))] += 1000
    assert abs(dark_level(float(np.median(values)), 2.0, share) - 100) < 0.1


def test_shared_rms_takes_noise_off():
    rng = np.random.default_rng(7)
    common = 0.2 * rng.standard_normal(4000)
    one_half, other = (common + 0.3 * rng.standard_normal(4000) for _ in range(2))
    np.testing.assert_allclose(shared_rms(one_half, other), 0.2, rtol=0.08)
    assert shared_rms(one_half, -one_half) == 0
    assert np.isnan(shared_rms(common[:2], common[:2]))
    assert np.isnan(overscan_row_pattern(np.zeros((10, 0), np.uint16)))


@pytest.mark.parametrize("noise", [0.05, 0.4, 1.3, 90.0])
def test_line_medians_are_finer_than_one_unit(noise):
    """Whatever the noise: where it is far below one unit, no finer than rounding allows."""
    rng = np.random.default_rng(9)
    image = rng.normal(1000.3, noise, (800, 700))
    image[:, 300] += 12 * noise + 5
    image = np.rint(image).astype(np.uint16)
    rows, columns = rows_and_columns(image, 1000.3, noise, 6.0)
    assert columns.hot.tolist() == [300]
    assert len(rows.hot) == 0
    quiet = np.delete(columns.offsets, 300)
    assert np.abs(quiet - quiet.mean()).max() < max(0.3 * noise, 0.1)


@given(hnp.arrays(float, (4, 9), elements=st.floats(-1e3, 1e3) | st.just(np.nan)))
def test_deviations_do_not_depend_on_level_and_scale(values):
    # Rounding: what differs by nothing but rounding has no scatter.
    values = np.round(values, 2)
    first, second = deviations(values), deviations(4 * values + 1024)
    np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-6)
    assert not (np.isfinite(first) & ~np.isfinite(values)).any()


def test_medians_of_nothing_are_nan():
    table = np.array([[1.0, np.nan], [3.0, np.nan]])
    np.testing.assert_array_equal(nan_median(table, 0), [2.0, np.nan])
    np.testing.assert_array_equal(nan_median(table, 1), [1.0, 3.0])
    assert np.isnan(summary(np.array([np.nan])).median)
    assert summary(np.array([4.0]))[0] == 4.0
    assert np.isnan(summary(np.array([4.0])).scatter)


# --- the simulator ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["9-9.E:100", "1-1.E", "1-1.E:x", "1-1.E:5", "1-1.E:640"])
def test_wrong_hot_columns_are_refused(toy, text):
    with pytest.raises(SimulationError, match="hot_columns"):
        SimulatedExposure(one(type="DARK", detector={"hot_columns": [text]}), toy)


def test_hot_pixels_are_those_of_the_seed(toy):
    first, second = (
        SimulatedExposure(
            one(type="DARK", date=f"2024-07-{day}T00:00:00", detector=HOT), toy
        ).detector_truth()
        for day in ("01", "02")
    )
    assert first == second
    assert len(first["hot_pixels"]) == pytest.approx(60 * 16 * 592 * 608 / 1e6, rel=0.3)


def test_trailing_keeps_the_charge(toy):
    layout = toy.quadrants["1-1.E"]
    quiet = {"radiation": {"cosmics": 0.0}, "type": "CHARGE"}
    sums = [
        SimulatedExposure(one(**quiet, detector={"trailing": t}), toy).signal(layout)[0].sum(dtype=float)
        for t in (0.0, 0.02)
    ]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-5)
