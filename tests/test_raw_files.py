"""Headers that lie and files that are not quite as they should be: what is unknown, flagged, or read all the same."""

import gzip
import math
import shutil
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import corpus
import numpy as np
import pytest
from astropy.io import fits

from visql_lib.errors import FrameError
from visql_lib.flags import ExposureFlag, QuadrantFlag
from visql_lib.frames import ExposureHeader, load_instrument, open_exposure
from visql_lib.frames.look import inspect
from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet

NAME = "C_20240720_010000_W_00000001.VIS.bin_01_01.fits"
NAMED = datetime(2024, 7, 20, 1, tzinfo=UTC)
CARDS = {"DATE-OBS": "2024-07-20T01:00:30.5", "EXPTIME": 560.52, "IMG_T1": "SURV_WIDE", "IMG_T2": "OTHER"}
CARDS |= {"RA": 56.2, "DEC": -55.7, "PA": 46.0, "SAA": 91.6, "ALPHA": -4.5}


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return load_instrument(str(corpus.small_camera(tmp_path_factory.mktemp("camera") / "small_camera.yaml")))


@pytest.fixture(scope="module")
def good(camera, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    path = corpus.small_camera(folder / "small_camera.yaml")
    data = corpus.good_frame(path, folder / "raw")
    for key, value in CARDS.items():
        text = f"'{value}'" if isinstance(value, str) else repr(value)
        data = corpus.with_card(data, 0, key, corpus.card(key, text))
    return data


def header(instrument, **changes):
    cards = {k: v for k, v in (CARDS | changes).items() if v != "absent"}
    return ExposureHeader.from_cards(cards, instrument, NAMED)


def names_of(flags):
    return {flag.name for flag in ExposureFlag if flags & flag}


# Values


def test_a_good_header_has_no_flag(vis):
    found = header(vis)
    assert (found.flags, found.notes) == (0, ())
    assert found.start == datetime(2024, 7, 20, 1, 0, 30, 500000, UTC)


@pytest.mark.parametrize(
    ("date", "start", "flag"),
    [
        ("2024-07-20T00:59:00", "2024-07-20T00:59:00", None),
        ("2024-07-20T01:20:00", "2024-07-20T01:20:00", None),
        ("2024-07-20T00:58:59", "2024-07-20T00:58:59", "DATE_FAR_FROM_NAME"),
        ("2024-07-20T01:20:01", "2024-07-20T01:20:01", "DATE_FAR_FROM_NAME"),
        ("2024-07-21T01:00:00", "2024-07-21T01:00:00", "DATE_FAR_FROM_NAME"),
        ("2024-07-21T01:00:01", None, "DATE_FROM_NAME"),
        ("2204-07-20T01:00:00", None, "DATE_FROM_NAME"),
        ("2024-07-20", None, "DATE_FROM_NAME"),
        ("1990-01-01T00:00:00", None, "DATE_FROM_NAME"),
        ("absent", None, "DATE_FROM_NAME"),
        (2460511.5, None, "DATE_FROM_NAME"),
    ],
)
def test_a_date_is_judged_by_the_name(vis, date, start, flag):
    found = header(vis, **{"DATE-OBS": date})
    assert found.start == (datetime.fromisoformat(start + "+00:00") if start else NAMED)
    assert found.start_source == ("DATE-OBS" if start else "name")
    assert names_of(found.flags) == ({flag} if flag else set())
    assert len(found.notes) == (flag is not None)


def test_how_late_a_date_may_be_is_a_setting(vis):
    late = CARDS | {"DATE-OBS": "2024-07-20T01:30:00"}
    assert ExposureHeader.from_cards(late, vis, NAMED).flags == ExposureFlag.DATE_FAR_FROM_NAME
    assert ExposureHeader.from_cards(late, vis, NAMED, after_name=1800).flags == 0


def test_a_date_of_the_future_is_not_used_even_if_the_name_is_of_the_future(vis):
    name = datetime(2098, 7, 20, 1, tzinfo=UTC)
    found = ExposureHeader.from_cards(CARDS | {"DATE-OBS": "2098-07-20T01:00:00"}, vis, name)
    assert found.flags == ExposureFlag.DATE_FROM_NAME
    assert "in the future" in found.notes[0]


def test_the_time_of_day_may_have_a_keyword_of_its_own(vis):
    for key in vis.header.date.time:
        found = header(vis, **{"DATE-OBS": "2024-07-20", key: "01:02:03.5"})
        assert found.start == datetime(2024, 7, 20, 1, 2, 3, 500000, UTC)
        assert found.flags == 0


@pytest.mark.parametrize("value", [1e30, 1e9, 3601, -1, 0, "long", True])
def test_impossible_exposure_times_of_a_science_frame_are_unknown(vis, value):
    found = header(vis, EXPTIME=value)
    assert math.isnan(found.exptime)
    assert found.frame_type == "SCIENCE"
    assert names_of(found.flags) == {"NO_EXPTIME"}
    assert found.notes[0].startswith("EXPTIME = ")


def test_a_bias_has_no_exposure_time(vis):
    found = header(vis, EXPTIME=0, IMG_T1="BIAS")
    assert (found.exptime, found.flags) == (0.0, 0)
    assert math.isnan(header(vis, EXPTIME=1e9, IMG_T1="BIAS").exptime)


@pytest.mark.parametrize("value", [-9999, -9999.0, 1e20, 400, "-999", "n/a"])
def test_impossible_angles_are_unknown_and_flagged(vis, value):
    found = header(vis, RA=value, DEC=value, PA=value, SAA=value, ALPHA=value)
    assert np.isnan([found.ra, found.dec, found.pa, found.saa, found.alpha]).all()
    assert names_of(found.flags) == {"NO_ANGLE"}
    assert len(found.notes) == 5
    assert math.isnan(header(vis, SAA=-5.0).saa)


def test_sexagesimal_places_are_read(vis):
    found = header(vis, RA="17:55:00.0", DEC="+65:18:00")
    assert (found.ra, found.dec, found.flags) == (pytest.approx(268.75), pytest.approx(65.3), 0)


# Cards


def sheet_of(data, camera, tmp_path, name=NAME, **index):
    """Return the row of one frame, after the sheet went to the disk and came back."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    (tmp_path / "raw" / name).write_bytes(data)
    values = {
        "raw": str(tmp_path / "raw"),
        "results": str(tmp_path / "out"),
        "index": {"growing_age": 0} | index,
    }
    refresh_sheets(settings_from_mapping(values), camera, RULES, ["202407"])
    (row,) = read_sheet(MONTHS.sheet_path(tmp_path / "out", "202407"))
    return row


def pixels_of(path, camera):
    with open_exposure(Path(path), camera) as exposure:
        return {quadrant.name: quadrant for quadrant in exposure}


def test_of_a_keyword_that_comes_twice_the_first_counts(good, camera, tmp_path):
    again = corpus.with_card(good, 0, "OBS_ID", corpus.card("EXPTIME", "89.52"))
    again = corpus.with_card(again, 0, "DITHOBS", corpus.card("RA", "56.2"))  # the same: nothing to tell
    row = sheet_of(again, camera, tmp_path)
    assert (row.exptime, row.status, names_of(row.flags)) == (560.52, "ok", {"CARDS"})
    assert row.reason == "EXPTIME comes twice, 560.52 and 89.52; the first counts"


def test_a_card_that_cannot_be_read_costs_what_needs_it(good, camera, tmp_path):
    row = sheet_of(corpus.with_card(good, 0, "EXPTIME", corpus.card("EXPTIME", "NaN")), camera, tmp_path)
    assert math.isnan(row.exptime)
    assert names_of(row.flags) == {"CARDS", "NO_EXPTIME"}
    assert row.reason == "the card EXPTIME cannot be read; EXPTIME is missing"
    assert row.ra == 56.2


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("value", ["NaN", "1,5", "'x"])
def test_a_wcs_that_cannot_be_read_costs_the_wcs(good, camera, tmp_path, caplog, packed, value):
    data = corpus.tiles(good) if packed else good
    broken = corpus.with_card(data, 2, "CRVAL1", corpus.card("CRVAL1", value))
    row = sheet_of(broken, camera, tmp_path, NAME + ".fz" * packed)
    found, whole = pixels_of(row.file, camera), list(corpus.quadrants(good))
    assert row.status == "ok"
    assert {name: quadrant.pixels.tobytes() for name, quadrant in found.items()} == dict(whole)
    assert found[whole[1][0]].wcs == camera.quadrants[whole[1][0]].wcs
    assert f"quadrant {whole[1][0]}: CRVAL1 of its WCS cannot be read; the nominal one is used" in caplog.text


def test_packed_tiles_with_a_name_of_their_own_are_read(good, camera, tmp_path):
    """As fpack writes them: EXTNAME = COMPRESSED_IMAGE before the image's own."""
    own, data = corpus.card("EXTNAME", "'COMPRESSED_IMAGE'"), corpus.tiles(good)
    for number in range(1, 5):
        data = corpus.with_card(data, number, "ZTENSION", own)
    assert data.count(b"EXTNAME ") == 8
    row = sheet_of(data, camera, tmp_path, NAME + ".fz")
    assert (row.status, row.reason) == ("ok", "")
    found = pixels_of(row.file, camera)
    assert {n: q.pixels.tobytes() for n, q in found.items()} == dict(corpus.quadrants(good))


# Files


@pytest.mark.parametrize("more", [b"\0", b"x", b"x" * 2879, b"\0" * 2880, b"XTENSION is no part"])
def test_what_follows_the_last_part_is_left_alone(good, camera, tmp_path, more):
    row = sheet_of(good + more, camera, tmp_path)
    assert (row.status, names_of(row.flags)) == ("ok", {"FILE"})
    assert row.reason == f"{len(more)} bytes behind the last part are left alone"
    assert dict(corpus.quadrants(good)) == {
        n: q.pixels.tobytes() for n, q in pixels_of(row.file, camera).items()
    }


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_missing_padding_is_no_missing_pixel(good, camera, tmp_path, suffix):
    last = 96 * 80 * 2 % 2880  # bytes of the last block that are pixels
    cut = good[: len(good) - 2880 + last]
    pack = gzip.compress if suffix else bytes
    row = sheet_of(pack(cut), camera, tmp_path, NAME + suffix)
    assert row.status == "ok"
    if not suffix:
        assert row.reason == "the padding behind the last data is missing; all pixels are there"
    assert dict(corpus.quadrants(good)) == {
        n: q.pixels.tobytes() for n, q in pixels_of(row.file, camera).items()
    }
    with pytest.raises(FrameError, match="cut short"):  # one pixel less
        pixels_of(sheet_of(pack(cut[:-2]), camera, tmp_path, NAME + suffix).file, camera)


def test_gzip_files_are_what_they_are(good, camera, tmp_path):
    """Several members are one file; what follows is left alone; what is named wrongly is told."""
    half = len(good) // 2 + 7
    several = gzip.compress(good[:half]) + gzip.compress(good[half:])
    row = sheet_of(several, camera, tmp_path, NAME + ".gz")
    assert (row.status, row.reason) == ("ok", "")
    assert dict(corpus.quadrants(good)) == {
        n: q.pixels.tobytes() for n, q in pixels_of(row.file, camera).items()
    }
    behind = sheet_of(gzip.compress(good) + b"garbage", camera, tmp_path, NAME + ".gz")
    assert (behind.status, behind.reason) == ("ok", "what follows the gzip data is left alone")
    assert len(pixels_of(behind.file, camera)) == 4
    cut = sheet_of(gzip.compress(good)[:-1000], camera, tmp_path, NAME + ".gz")
    assert cut.status == "unreadable"
    assert "cut short" in cut.reason or "not a readable" in cut.reason
    plain = sheet_of(good, camera, tmp_path, NAME + ".gz")
    assert plain.reason.endswith("a FITS file that is not gzipped, but named so; take .gz off its name")
    Path(plain.file).unlink()
    packed = sheet_of(gzip.compress(good), camera, tmp_path)
    assert packed.reason.endswith("gzip data, but not named so; add .gz to its name")


@pytest.mark.parametrize("packed", [False, True])
def test_checksums_that_do_not_fit_are_told(good, camera, tmp_path, caplog, packed):
    out = BytesIO()
    with fits.open(BytesIO(corpus.tiles(good) if packed else good), disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.add_checksum()
        hdus.writeto(out)
    data, name = out.getvalue(), NAME + ".fz" * packed
    row = sheet_of(data, camera, tmp_path, name)
    assert (row.reason, row.flags) == ("", 0)
    assert {q.flags for q in pixels_of(row.file, camera).values()} == {0}
    renamed = data.replace(b"SURV_WIDE", b"SURV_DEEP", 1)
    row = sheet_of(renamed, camera, tmp_path, name)
    assert row.reason == "CHECKSUM does not fit the header of the first part; it was changed since"
    assert names_of(row.flags) == {"FILE"}
    last = -2880 + 96 * 80 * 2 % 2880 if not packed else -2880
    changed = bytearray(data)
    changed[last - 40] ^= 1
    Path(row.file).write_bytes(changed)
    found = list(pixels_of(row.file, camera).values())
    assert [q.flags for q in found] == [0, 0, 0, QuadrantFlag.CHECKSUM]
    assert f"quadrant {found[3].name}: its data do not fit DATASUM" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        NAME.replace(".fits", ".FITS"),
        NAME.replace(".fits", ".fit"),
        NAME.replace(".fits", ".Fts"),
        NAME + ".FZ",
    ],
)
def test_endings_in_any_case_are_read(good, camera, tmp_path, name):
    row = sheet_of(good, camera, tmp_path, name)
    assert (row.status, row.exposure) == ("ok", NAME.removesuffix(".fits"))
    assert len(pixels_of(row.file, camera)) == 4


def test_what_is_left_out_is_told_with_its_number(good, camera, tmp_path, caplog):
    (tmp_path / "raw").mkdir()
    for name in ("a.fits.bz2", "b.fits.Z", "c.FITZ.fz"):
        (tmp_path / "raw" / name).touch()
    sheet_of(good, camera, tmp_path)
    assert "3 FITS files have none of the endings" in caplog.text


# The month


def test_one_senseless_exposure_time_costs_no_month(good, camera, tmp_path):
    """Planning went through all the days of a header's exposure time, or ended in an OverflowError."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / NAME).write_bytes(good)
    for number, value in enumerate(("1.0E30", "1.0E9", "3.0E7"), 2):
        data = corpus.with_card(good, 0, "EXPTIME", corpus.card("EXPTIME", value))
        (raw / NAME.replace("00000001", f"0000000{number}")).write_bytes(data)
    settings = settings_from_mapping({
        "raw": str(raw), "results": str(tmp_path / "out"), "months": "202407", "index": {"growing_age": 0}, "ratios": {"gain": "toy"},
        "instrument": str(corpus.small_camera(tmp_path / "small_camera.yaml")),
    })  # fmt: skip
    plan = make_plan(settings, refresh=True)
    first, *others = plan.sheets["202407"]
    assert (first.status, first.exptime) == ("ok", 560.52)
    assert [row.status for row in others] == ["ok"] * 3
    assert all(math.isnan(row.exptime) and "EXPTIME = " in row.reason for row in others)
    days = plan.radiation.month_days("202407")
    assert [Path(day).stem for day in days] == ["goes_20240719", "goes_20240720"]


def test_a_sheet_of_an_earlier_version_is_brought_up_to_date(good, camera, tmp_path):
    wrong = corpus.with_card(good, 0, "SAA", corpus.card("SAA", "-9999.0"))
    row = sheet_of(wrong, camera, tmp_path)
    path = MONTHS.sheet_path(tmp_path / "out", "202407")
    old = [line.rpartition("\t")[0].replace(row.context, "then") for line in path.read_text().splitlines()]
    path.write_text("".join(line.replace(row.reason, "") + "\n" for line in old))
    assert read_sheet(path)[0].flags == 0
    assert sheet_of(wrong, camera, tmp_path).flags == ExposureFlag.NO_ANGLE
    shutil.rmtree(tmp_path)


def test_inspect_tells_what_the_sheet_tells(good, camera, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(corpus.with_card(good, 0, "DATE-OBS", corpus.card("DATE-OBS", "'2024-07-20T01:30:00'")))
    assert inspect(path, camera).header.flags == ExposureFlag.DATE_FAR_FROM_NAME
    assert inspect(path, camera, after_name=1800.0).header.flags == 0
