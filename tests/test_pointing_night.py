"""The night of a guide camera: which row goes where, what the index tells, seasons, intervals, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from click.testing import CliRunner
from guide_nights import DATE, columns, frame, measured, night, streaks, write_night, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.cli import cli
from visql_lib.errors import ConfigError, TableError
from visql_lib.instruments import load_instrument
from visql_lib.pipelines.pointing.grouping import NIGHTS
from visql_lib.pipelines.pointing.intervals import find_interval, read_intervals
from visql_lib.pipelines.pointing.night_files import NightFiles
from visql_lib.pipelines.pointing.quantities import QUANTITIES
from visql_lib.pipelines.pointing.schemas import NIGHT, NIGHT_STREAKS, SEASON
from visql_lib.pipelines.pointing.settings import PointingSettings
from visql_lib.pipelines.pointing.stages.night_index import hour_angle, moves, start_mjd
from visql_lib.pipelines.pointing.stages.night_table import NightTableInputs, run, streaks_of
from visql_lib.pipelines.pointing.stages.season import SeasonInputs, summary_of
from visql_lib.pipelines.pointing.stages.season import run as season
from visql_lib.products.context import Context
from visql_lib.qc.limits import load_thresholds
from visql_lib.qc.table import results_of
from visql_lib.sheets.sheet import empty_row, read_sheet, write_sheet
from visql_lib.tables import read_table, write_table
from visql_lib.tables.provenance import actual_checksum, read_record

CAMERA = load_instrument("pointing_camera")
START = datetime(2021, 6, 12, 3, 30, tzinfo=UTC)


def context():
    return Context.using(PointingSettings(), (), ("guide",))


def write_hours(folder: Path, parts: dict[str, list[dict]], with_streaks: bool = True) -> list[Path]:
    """Write tables of hours and their streaks, as the workflow places them."""
    paths = []
    for hour, rows in parts.items():
        paths.append(folder / "hours" / f"{hour}.parquet")
        write_table(paths[-1], columns(rows), NIGHT)
        if with_streaks:
            write_table(streaks_of(paths[-1]), streaks(rows), NIGHT_STREAKS)
    return paths


def invoke(*words):
    done = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


# --- the table -------------------------------------------------------------------------------------


def test_every_column_of_an_hour_arrives_under_its_own_name(tmp_path):
    """Each number is another one, so that no column can stand for its neighbour."""
    row = frame(START, 7)
    for i, column in enumerate(NIGHT.columns):
        if column.dtype.startswith(("float", "int")) and column.name not in ("MJD_OBS", "EXPTIME"):
            row[column.name] = 100 + i
    row |= {"DOME": True, "REASON": "doubtful", "KEY": "digest"}
    sheet = write_rows(tmp_path, [row])
    made = run(context(), NightTableInputs(sheet, write_hours(tmp_path, {"20210612T03": [row]}))).frames
    assert list(made) == list(NIGHT.names)
    for column in NIGHT.columns:
        assert made[column.name].tolist() == columns([row])[column.name].tolist(), column.name


def test_frames_of_the_sheet_without_a_row_get_one_with_the_reason(tmp_path):
    good, lost, odd, late = (frame(START + timedelta(minutes=m), m) for m in (3, 2, 1, 70))
    odd |= {"STATUS": "unreadable", "REASON": "cut short", "EXPTIME": np.nan}
    late |= {"STATUS": "growing", "DATE_OBS": np.datetime64("NaT")}
    sheet = write_rows(tmp_path, [good, lost, odd, late])
    write_sheet(sheet, [*read_sheet(sheet), replace(empty_row("flat"), file="flat.fits", frame_type="FLAT")])
    good |= measured(np.random.default_rng(0))
    made = run(context(), NightTableInputs(sheet, write_hours(tmp_path, {"20210612T03": [good]}))).frames
    assert made["EXPOSURE"].tolist() == [row["EXPOSURE"] for row in (odd, lost, good, late)]
    assert made["STATUS"].tolist() == ["unreadable", "failed", "ok", "growing"]
    assert made["REASON"].tolist() == ["cut short", "in no table of the night's hours", "", "growing"]
    assert made["MJD_OBS"][:2] == pytest.approx([odd["MJD_OBS"], lost["MJD_OBS"]], abs=1e-9)
    assert math.isnan(made["MJD_OBS"][3])
    assert np.isfinite(made["ZP"]).tolist() == [False, False, True, False]
    assert made["N_STARS"].tolist() == [-1, -1, good["N_STARS"], -1]
    assert made["N_STREAKS"].tolist() == [-1, -1, 0, -1]
    assert made["FILE"].tolist() == [row["FILE"] for row in (odd, lost, good, late)]


def test_a_frame_that_failed_before_its_header_was_read_stands_at_its_time(tmp_path):
    first, second = frame(START, 0), frame(START + timedelta(minutes=1), 1)
    failed = first | {"STATUS": "failed", "REASON": "no WCS", "MJD_OBS": np.nan}
    hours = write_hours(tmp_path, {"20210612T03": [second, failed]})
    made = run(context(), NightTableInputs(write_rows(tmp_path, [first, second]), hours)).frames
    assert made["EXPOSURE"].tolist() == [first["EXPOSURE"], second["EXPOSURE"]]
    assert made["MJD_OBS"][0] == pytest.approx(first["MJD_OBS"], abs=1e-9)


def test_the_last_of_two_rows_counts_and_strangers_are_left_out(tmp_path):
    mine, stranger = frame(START, 0, N_STREAKS=1), frame(START, 1, N_STREAKS=2)
    parts = {"20210612T03": [mine | {"ZP": 17.0}, stranger], "20210612T04": [mine | {"ZP": 17.5}]}
    hours = write_hours(tmp_path, parts)
    made = run(context(), NightTableInputs(write_rows(tmp_path, [mine]), hours))
    assert made.frames["ZP"].tolist() == [17.5]
    assert set(made.streaks["EXPOSURE"]) == {mine["EXPOSURE"]}


@pytest.mark.parametrize("night", ["20219999", "20210229", "2021061", "yesterday"])
def test_a_night_is_a_day_that_there_is(night):
    with pytest.raises(ValueError, match=f"'{night}' is no night: write YYYYMMDD"):
        PointingSettings(nights=night)


def test_an_hour_without_its_streaks_is_told(tmp_path, caplog):
    rows = night(4)
    hours = write_hours(tmp_path, {"20210612T03": rows}, with_streaks=False)
    made = run(context(), NightTableInputs(write_rows(tmp_path, rows), hours))
    assert len(made.frames["ZP"]) == 4
    assert len(made.streaks["X1"]) == 0
    assert f"{tmp_path}/streaks/20210612T03.parquet: is not there" in caplog.text


def test_a_night_without_hours_or_frames_is_a_table(tmp_path):
    made = run(context(), NightTableInputs(write_rows(tmp_path, []), []))
    assert {name: len(values) for name, values in made.frames.items()} == dict.fromkeys(NIGHT.names, 0)
    made = run(context(), NightTableInputs(write_rows(tmp_path, night(3)), []))
    assert made.frames["STATUS"].tolist() == ["failed"] * 3


@settings(max_examples=15)
@given(hours=st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_how_frames_are_shared_among_hours_does_not_matter(tmp_path_factory, hours):
    folder = tmp_path_factory.mktemp("hours")
    rows = night(8)
    sheet = write_rows(folder, rows)
    parts = {
        f"20210612T{h:02d}": [r for r, mine in zip(rows, hours, strict=True) if mine == h] for h in range(4)
    }
    made = run(context(), NightTableInputs(sheet, write_hours(folder, parts)))
    for name, values in columns(rows).items():
        assert np.array_equal(made.frames[name], values, equal_nan=values.dtype.kind == "f"), name
    assert np.array_equal(made.streaks["MJD_OBS"], streaks(rows)["MJD_OBS"])


def test_the_command_writes_both_tables_with_their_record(tmp_path):
    rows = night(30)
    sheet = write_rows(tmp_path, rows)
    hours = write_hours(tmp_path, {"20210612T03": rows[:15], "20210612T04": rows[15:]})
    out, lines = tmp_path / "night.parquet", tmp_path / "streaks.parquet"
    invoke("pointing-table", sheet, *hours, "-o", out, "--streaks", lines)
    assert read_table(out).meta["night"] == DATE
    read = {f"{folder}/{path.name}" for folder in ("hours", "streaks") for path in hours}
    assert set(read_record(out)["inputs"]) == {f"exposures/{DATE}.tsv", *read}
    assert read_table(lines)["EXPOSURE"].tolist() == streaks(rows)["EXPOSURE"].tolist()


# --- the index -------------------------------------------------------------------------------------


def sheet_row(date="2021-06-12T03:30:00.000000", **extra):
    return replace(empty_row("f"), file="raw/f.fits.fz", status="ok", date_obs=date, extra=extra)


@pytest.mark.parametrize(
    ("mjd", "date", "expected"),
    [
        ("59377.1462847222", "2021-06-12T03:30:00", 59377.1462847222 - 37 / 86400),  # TAI - UTC = 37 s
        ("57753.5", "2016-12-31T11:59:24", 57753.5 - 36 / 86400),  # the day before a leap second
        ("57754.5", "2017-01-01T11:59:23", 57754.5 - 37 / 86400),
        ("", "2021-06-12T03:30:00", 59377 + 3.5 / 24),
        ("0.0", "2021-06-12T03:30:00", 59377 + 3.5 / 24),  # another day than the date: not believed
        ("59379.2", "2021-06-12T03:30:00", 59377 + 3.5 / 24),
        ("59377.5", "", 59377.5 - 37 / 86400),
        ("", "", math.nan),
        ("none", "", math.nan),
    ],
)
def test_the_start_is_utc(mjd, date, expected):
    found = start_mjd(sheet_row(date, **{"MJD-OBS": mjd}), CAMERA.header.date)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)  # 0.1 ms


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("12.5", 12.5),
        ("-3", -3),
        ("01:30:00", 22.5),
        ("-01:30:00", -22.5),
        ("00:00:04.0", 1 / 60),
        ("", math.nan),
    ],
)
def test_hour_angles_are_degrees_whichever_way_they_are_written(text, degrees):
    assert hour_angle(text) == pytest.approx(degrees, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "flag"),
    [("1", 1), ("0", 0), ("True", 1), ("F", 0), ("1.0", 1), ("", -1), ("2", -1), ("maybe", -1)],
)
def test_whether_the_telescope_moves_is_a_number(text, flag):
    assert moves(text) == flag


def test_the_index_is_a_plain_fits_table(tmp_path):
    rows = [frame(START + timedelta(seconds=30 * i), i, exptime=i + 1.0) for i in range(3)]
    told = {"MJD-OBS": repr(rows[1]["MJD_OBS"] + 37 / 86400), "ZPFLAG": "1", "HA": "-00:04:00"}
    sheet = write_rows(tmp_path, rows[::-1], **{rows[1]["EXPOSURE"]: told | {"MOUNT_DEC": "+31.5"}})
    products = [replace(row, exposure="p", file="p.fits", status="product") for row in read_sheet(sheet)[:1]]
    write_sheet(sheet, [*read_sheet(sheet), *products])
    out = tmp_path / "index.fits"
    invoke("pointing-index", sheet, "-o", out)
    table = Table.read(out, hdu=1)
    assert table.colnames == ["FNAME", "MJD", "HA", "DEC", "EXPTIME_SECONDS", "ZPFLAG"]
    assert [str(name) for name in table["FNAME"]] == [row["FILE"] for row in rows]
    assert np.asarray(table["MJD"]) == pytest.approx([row["MJD_OBS"] for row in rows], abs=1e-9)
    assert np.asarray(table["EXPTIME_SECONDS"]).tolist() == [1.0, 2.0, 3.0]
    assert np.asarray(table["ZPFLAG"]).tolist() == [-1, 1, -1]
    assert table["HA"][1] == pytest.approx(-1.0)
    assert table["DEC"][1] == 31.5
    assert {name: str(table[name].unit) for name in ("MJD", "HA", "DEC", "EXPTIME_SECONDS")} == {
        "MJD": "d",
        "HA": "deg",
        "DEC": "deg",
        "EXPTIME_SECONDS": "s",
    }
    assert read_record(out)["checksum"] == actual_checksum(out)
    assert list(read_record(out)["inputs"]) == [f"exposures/{DATE}.tsv"]


# --- the season ------------------------------------------------------------------------------------


def test_a_season_counts_and_leaves_the_dome_out_of_percentiles(tmp_path):
    rows = [
        frame(START + timedelta(minutes=6 * i), i, ZP=17.0 + 0.01 * i, N_STREAKS=i % 2) for i in range(11)
    ]
    rows += [frame(START + timedelta(minutes=66), 11, ZP=5.0, DOME=True)]
    rows += [frame(START + timedelta(minutes=72), 12, STATUS="moved", N_STREAKS=-1)]
    rows += [
        frame(START + timedelta(minutes=78), 13, STATUS=s, N_STREAKS=-1) for s in ("failed", "unreadable")
    ]
    found = summary_of(columns(rows))
    counts = {
        name: found[f"N_{name}"] for name in ("FRAMES", "MEASURED", "DOME", "MOVED", "FAILED", "STREAKS")
    }
    assert counts == {"FRAMES": 15, "MEASURED": 12, "DOME": 1, "MOVED": 1, "FAILED": 2, "STREAKS": 5}
    assert found["HOURS"] == pytest.approx(1.3)
    assert [found[f"ZP_{p}"] for p in (10, 50, 90)] == pytest.approx([17.01, 17.05, 17.09])
    assert math.isnan(found["MU_50"])
    assert found["DATE_OBS"] == np.datetime64("2021-06-12T03:30:00")


def test_nights_are_in_order_and_once(tmp_path):
    late, early = (write_night(tmp_path, night(n), date) for n, date in ((12, "20210701"), (1, "20210613")))
    again = tmp_path / "again.parquet"
    write_table(again, columns(night(20)), NIGHT, meta={"night": "20210701"})
    found = season(context(), SeasonInputs([late, again, early])).columns
    assert found["NIGHT"].tolist() == ["20210613", "20210701"]
    assert found["N_FRAMES"].tolist() == [1, 20]
    assert found["HOURS"][0] == 0.0
    assert SEASON.length(found) == 2


def test_an_empty_night_and_a_night_of_nothing(tmp_path):
    write_table(tmp_path / "n.parquet", columns([]), NIGHT, meta={"night": DATE})
    found = season(context(), SeasonInputs([tmp_path / "n.parquet"])).columns
    assert (found["N_FRAMES"][0], found["N_MEASURED"][0]) == (0, 0)
    assert np.isnat(found["DATE_OBS"][0])
    assert math.isnan(found["HOURS"][0])
    write_table(tmp_path / "n.parquet", columns([]), NIGHT)
    with pytest.raises(TableError, match=r"n\.parquet: does not say of which night"):
        season(context(), SeasonInputs([tmp_path / "n.parquet"]))


def test_the_commands_draw_night_and_season(tmp_path):
    table = write_night(tmp_path, night(12))
    picture, drawn = tmp_path / "night.png", tmp_path / "season.png"
    invoke("pointing-picture", table, "-o", picture)
    invoke("pointing-season", table, "-o", tmp_path / "season.parquet", "--picture", drawn)
    for path, stage in (
        (picture, "night_picture"),
        (drawn, "season"),
        (tmp_path / "season.parquet", "season"),
    ):
        assert list(read_record(path)["stages"]) == [stage]
        assert [Path(name).name for name in read_record(path)["inputs"]] == [table.name]


# --- where tables are, intervals -----------------------------------------------------------------


def test_a_table_at_its_place_tells_where_the_products_of_frames_are(tmp_path, monkeypatch):
    path = NIGHTS.table_path(tmp_path, DATE, "night")
    files = NightFiles.of_table(path)
    expected = tmp_path / "exposures" / DATE / "E" / "E-thumbnail.fits"
    assert files.frame_file("E", "-thumbnail.fits") == expected
    monkeypatch.chdir(tmp_path)
    assert NightFiles.of_table(path.relative_to(tmp_path)) == files
    for wrong in (
        tmp_path / "night_20210611.parquet",
        path.with_name("night_20210612.parquet"),
        Path("n.parquet"),
    ):
        with pytest.raises(
            TableError, match=r"not where tables of nights are: RESULTS/nights/NIGHT/night_NIGHT"
        ):
            NightFiles.of_table(wrong)


def test_intervals_are_read_with_offsets_and_comments(tmp_path):
    path = tmp_path / "i.csv"
    path.write_text(
        "\ufeff# cloud and moon\nlabel, start, end\n\ncloud,2021-06-12T05:00:00,2021-06-12 06:00\n"
        "moon-2,2021-06-12T00:00:00-07:00,2021-06-12T09:00:00Z\n",
        encoding="utf-8",
    )
    cloud, moon = read_intervals(str(path))
    assert (cloud.label, cloud.end) == ("cloud", datetime(2021, 6, 12, 6, tzinfo=UTC))
    assert moon.start == datetime(2021, 6, 12, 7, tzinfo=UTC)
    starts = np.array(
        ["2021-06-12T04:59:59", "2021-06-12T05:00", "2021-06-12T06:00", "NaT"], "datetime64[us]"
    )
    assert cloud.contains(starts).tolist() == [False, True, True, False]
    assert [night for night in ("20210609", "20210611", "20210614") if cloud.may_hold(night)] == ["20210611"]
    assert read_intervals("") == []
    assert find_interval(str(path), "moon-2") == moon
    with pytest.raises(ConfigError, match=r"no interval 'sun': .*i\.csv; there are: cloud, moon-2"):
        find_interval(str(path), "sun")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("cloud", "line 3: 1 values"),
        ("a/b,2021-06-12T05:00:00,2021-06-12T06:00:00", "line 3: label 'a/b'"),
        ("x,tomorrow,2021-06-12T06:00:00", "line 3: 'tomorrow' is no time"),
        ("x,2021-06-12,2021-06-12T06:00:00", "line 3: '2021-06-12' is no time"),
        ("x,2021-06-12T06:00:00,2021-06-12T06:00:00", "line 3: ends at 2021-06-12T06:00:00, not after"),
        ("good,2021-06-12T05:00:00,2021-06-12T06:00:00", "line 3: 'good' is there twice"),
    ],
)
def test_a_wrong_row_of_intervals_is_named_by_its_line(tmp_path, row, said):
    path = tmp_path / "i.csv"
    path.write_text(f"label,start,end\ngood,2021-06-12T05:00:00,2021-06-12T06:00:00\n{row}\nalso wrong\n")
    with pytest.raises(ConfigError) as caught:
        read_intervals(str(path))
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"movie.intervals: {path}, {said}")
    assert second.startswith(f"movie.intervals: {path}, line 4: ")


def test_a_file_that_is_no_list_of_intervals_is_refused(tmp_path):
    path = tmp_path / "i.csv"
    for content in (b"", b"start,end\n", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(
            ConfigError, match=r"i\.csv: (its first line must be label,start,end|cannot be read)"
        ):
            read_intervals(str(path))
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_intervals(str(tmp_path / "none.csv"))


# --- limits ----------------------------------------------------------------------------------------


def judged(*rows):
    """Return the status of each quantity that has a value, by frame."""
    limits = load_thresholds("pointing_camera", QUANTITIES)
    found = results_of(columns(list(rows)), "night", QUANTITIES, limits)
    return [{r.quantity: r.status for r in found if r.frame == row["EXPOSURE"]} for row in rows]


def test_clear_frames_are_within_all_limits():
    rng = np.random.default_rng(2)
    (status,) = judged(frame(START, 0, AIRMASS=1.2, **measured(rng)))
    assert set(status) == {q.name for q in QUANTITIES}
    assert set(status.values()) == {"ok", "not judged"}
    unlimited = {name for name, s in status.items() if s == "not judged"}
    assert unlimited == {"sky.SKY", "sky.INTER_QUAD_RMS", "sky.N_STREAKS", "sky.AIRMASS"}


@pytest.mark.parametrize(
    ("column", "value", "quantity", "status"),
    [
        ("ZP", 17.29, "zeropoint.ZP", "warn"),
        ("ZP", 17.3, "zeropoint.ZP", "ok"),
        ("ZP", 16.4, "zeropoint.ZP", "error"),
        ("ZP", 18.5, "zeropoint.ZP", "ok"),
        ("N_STARS", 29, "zeropoint.N_STARS", "warn"),
        ("N_STARS", 0, "zeropoint.N_STARS", "error"),
        ("SCATTER", 0.21, "zeropoint.SCATTER", "warn"),
        ("SHIFT", 2.6, "zeropoint.SHIFT", "error"),
        ("MU", 17.9, "sky.MU", "warn"),
        ("MU", 22.5, "sky.MU", "ok"),
        ("DOME_SHARE", 0.01, "sky.DOME_SHARE", "warn"),
        ("DOME_SHARE", 0.0099, "sky.DOME_SHARE", "ok"),
    ],
)
def test_limits_have_their_side_and_their_edge(column, value, quantity, status):
    rng = np.random.default_rng(2)
    (found,) = judged(frame(START, 0, **(measured(rng) | {column: value})))
    assert found[quantity] == status


def test_a_frame_that_was_not_measured_is_not_judged():
    moved, unsearched = judged(
        frame(START, 0, STATUS="moved", AIRMASS=1.2),
        frame(START, 1, **measured(np.random.default_rng(0)), KEY="") | {"N_STREAKS": -1},
    )
    assert set(moved) == {"sky.AIRMASS"}
    assert "sky.N_STREAKS" not in unsearched
