"""Raw frames of the guide camera and its masters: what is read, and what is refused in one line."""

from __future__ import annotations

import gzip
import math
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from tests.guide_frames import CARDS, MJD, NAME, SHAPE, camera_file, pixels, wcs_cards, write_frame
from visql_lib.errors import ConfigError, FrameError, NoMasterError, NotRawError
from visql_lib.flags import GuideFrameFlag
from visql_lib.instruments.model import Instrument, load_instrument
from visql_lib.pipelines.pointing.frame import header_facts, read_frame, wcs_beside
from visql_lib.pipelines.pointing.masters import digest_of, load_masters, masters_folder
from visql_lib.pipelines.pointing.settings import PointingSettings


@pytest.fixture(scope="module")
def camera(tmp_path_factory) -> Instrument:
    return load_instrument(camera_file(tmp_path_factory.mktemp("camera")))


def refused(path: Path, camera: Instrument, kind: type[Exception] = FrameError) -> str:
    """Return the message of a frame that is refused: one line that begins with a file."""
    with pytest.raises(kind) as caught:
        read_frame(path, camera)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.parent))
    return message


# --- what is read


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".fits.fz"])
def test_a_frame_however_it_is_packed(camera, tmp_path, ending):
    path = write_frame(tmp_path / NAME.replace(".fits", ending))
    frame = read_frame(path, camera)
    assert frame.stem == "20210611.221335.00012_20000"
    assert frame.raw.dtype == np.uint16
    assert frame.raw.dtype.isnative
    assert np.array_equal(frame.raw, pixels())
    assert (frame.exptime, frame.number, frame.night, frame.moved) == (20.0, 12, "20210611", False)
    assert frame.start == datetime(2021, 6, 12, 5, 13, 35, tzinfo=UTC)
    assert frame.mjd == pytest.approx(MJD, abs=1e-9)
    assert (frame.radeg, frame.decdeg, frame.real_ra, frame.real_dec) == (200.0, 30.0, 200.01, 30.02)
    assert (frame.ha, frame.dec, frame.airmass) == (-12.5, 30.5, 1.25)
    assert (frame.wcs_file, frame.flags) == (tmp_path / f"{frame.stem}.wcs", 0)
    assert_allclose(frame.wcs.centre, (200.0, 30.0), atol=1e-9)
    assert dict(frame.cards) == CARDS  # nothing of how the pixels are stored in this file
    facts = header_facts(path, camera)
    assert {name: value for name, value in vars(facts).items() if name != "cards"} == {
        name: value for name, value in vars(frame).items() if name in vars(facts) and name != "cards"
    }


def test_signed_pixels_stay_signed(camera, tmp_path):
    signed = pixels().view(np.int16)
    assert np.array_equal(read_frame(write_frame(tmp_path / NAME, signed), camera).raw, signed)


def test_cards_of_both_headers_are_kept(camera, tmp_path):
    """The image's own count before those of the primary; comments stay."""
    path = write_frame(tmp_path / NAME)
    image = fits.ImageHDU(pixels(), fits.Header({"EXPOSURE": 5000, "GAINSET": "high"}.items()), name="SKY")
    image.header.comments["EXPOSURE"] = "as set"
    primary = fits.PrimaryHDU(header=fits.Header((CARDS | {"OBSERVER": "me"}).items()))
    fits.HDUList([primary, image]).writeto(path, overwrite=True)
    frame = read_frame(path, camera)
    assert frame.exptime == 5.0
    assert frame.cards["OBSERVER"] == "me"
    assert (frame.cards["EXPOSURE"], frame.cards.comments["EXPOSURE"]) == (5000, "as set")
    assert frame.cards.count("EXPOSURE") == 1


@pytest.mark.parametrize(
    ("date", "time", "night"),
    [
        ("2021/06/11", "11:59:59", "20210610"),
        ("2021/06/11", "12:00:00", "20210611"),
        ("2021/06/11", "23:59:59.9", "20210611"),
        ("2021/06/12", "00:00:00", "20210611"),
        ("2021/12/31", "23:30:00", "20211231"),
        ("2022/01/01", "00:30:00", "20211231"),
        ("2022/01/01", "11:59:59", "20211231"),
        ("2022/01/01", "12:00:00", "20220101"),
        ("2021-06-12T04:30:00-07:00", None, "20210611"),
        ("2021-06-12T18:59:59Z", None, "20210611"),
        ("2021-06-12T19:00:00Z", None, "20210612"),
        ("2021-06-12T04:30:00", None, "20210611"),  # without offset: the camera's clock
        ("2021-06-12", "04:30:00", "20210611"),
    ],
)
def test_a_night_goes_from_noon_to_noon(camera, tmp_path, date, time, night):
    path = write_frame(tmp_path / NAME, DATE=date, TIME=time, MJD_OBS=None)
    assert read_frame(path, camera).night == header_facts(path, camera).night == night


def test_local_time_becomes_utc(camera, tmp_path):
    frame = read_frame(write_frame(tmp_path / NAME, MJD_OBS=None), camera)
    assert frame.mjd == pytest.approx(MJD, abs=1e-9)  # of date and time


@pytest.mark.parametrize(
    ("date", "tai", "utc"),
    [
        ("2016/12/31", 57753.9 + 36 / 86400, 57753.9),  # the last day of 36 leap seconds
        ("2017/01/01", 57754.5 + 37 / 86400, 57754.5),
        ("2016/12/31", 57754 + 37 / 86400, 57754.0),  # midnight behind the leap second
        ("2016/12/31", 57754 + 35.5 / 86400, 57754 - 0.5 / 86400),
    ],
)
def test_day_numbers_of_tai_become_utc(camera, tmp_path, date, tai, utc):
    frame = read_frame(write_frame(tmp_path / NAME, DATE=date, TIME="14:00:00", MJD_OBS=tai), camera)
    assert frame.mjd == pytest.approx(utc, abs=1e-9)


def test_a_day_number_of_another_day_is_not_used(camera, tmp_path, caplog):
    frame = read_frame(write_frame(tmp_path / NAME, MJD_OBS=51544.5), camera)
    assert frame.mjd == pytest.approx(MJD, abs=1e-9)
    assert "MJD-OBS = 51544.5 is not used" in caplog.text


def test_a_frame_without_date_has_that_of_its_day_number(camera, tmp_path):
    frame = read_frame(write_frame(tmp_path / NAME, DATE=None, TIME=None), camera)
    assert (frame.night, frame.flags) == ("20210611", 0)
    assert frame.mjd == pytest.approx(MJD, abs=1e-9)
    assert abs((frame.start - datetime(2021, 6, 12, 5, 13, 35, tzinfo=UTC)).total_seconds()) < 0.01
    nothing = read_frame(write_frame(tmp_path / NAME, DATE=None, TIME=None, MJD_OBS=None), camera)
    assert (nothing.start, nothing.night, nothing.flags) == (None, "", GuideFrameFlag.NO_TIME)
    assert math.isnan(nothing.mjd)


@pytest.mark.parametrize(
    ("cards", "seconds"),
    [
        ({"EXPOSURE": 1}, 0.001),
        ({"EXPOSURE": 30000.0}, 30.0),
        ({"EXPOSURE": " 2500"}, 2.5),
        ({"EXPOSURE": None, "EXPTIME": 3000}, 3.0),
        ({"EXPOSURE": 5000, "EXPTIME": 3000}, 5.0),
    ],
    ids=str,
)
def test_exposure_times_are_milliseconds(camera, tmp_path, cards, seconds):
    assert read_frame(write_frame(tmp_path / NAME, **cards), camera).exptime == seconds


@pytest.mark.parametrize(
    ("value", "moved"),
    [(0, False), (1, True), (1.0, True), ("1", True), (True, True), (None, None), (7, None)],
)
def test_whether_the_telescope_moves(camera, tmp_path, value, moved):
    assert header_facts(write_frame(tmp_path / NAME, wcs={}, ZPFLAG=value), camera).moved is moved


def test_what_a_header_may_leave_out_or_lie_about(camera, tmp_path):
    names = ("DEV_FNUM", "RADEG", "DECDEG", "REAL_RA", "REAL_DEC", "HA", "DEC", "AIRMASS")
    for value in (None, "unknown", -9999.0, 1e30):
        found = read_frame(write_frame(tmp_path / NAME, **dict.fromkeys(names, value)), camera)
        numbers = (found.radeg, found.decdeg, found.real_ra, found.real_dec, found.ha, found.dec)
        assert np.isnan(numbers).all()
        assert math.isnan(found.airmass) or value == 1e30
        assert found.number == (-9999 if value == -9999.0 else -1)


def test_a_second_camera_is_a_second_file(tmp_path):
    """Seconds, an ISO date with its offset, a linear WCS in the frame's own header."""
    header = {
        "date": ["DATE-OBS"],
        "exptime": "EXPTIME",
        "type": ["IMAGETYP"],
        "columns": {"ZPFLAG": "MOVING", "FRAME": "NUMBER"},
    }
    camera = load_instrument(
        camera_file(tmp_path, name="other", names="stem", header=header, night={
            "boundary": {"value": 12.0, "unit": "h", "source": "noon"}
        })
    )  # fmt: skip
    cards = {"DATE-OBS": "2021-06-12T01:00:00+02:00", "EXPTIME": 2.5, "MOVING": 1, "NUMBER": 7}
    fits.PrimaryHDU(pixels(), fits.Header((cards | wcs_cards()).items())).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits", camera)
    assert (frame.exptime, frame.number, frame.moved, frame.night) == (2.5, 7, True, "20210611")
    assert frame.start == datetime(2021, 6, 11, 23, tzinfo=UTC)
    assert (frame.wcs_file, frame.flags) == (None, GuideFrameFlag.WCS_OF_HEADER)
    assert frame.wcs.ctype == "RA---TAN"


# --- the file with the WCS


@pytest.mark.parametrize(
    ("frame", "wcs"),
    [
        ("/data/a.fits", "/data/a.wcs"),
        ("/data/a.fits.gz", "/data/a.wcs"),
        ("/data/a.fits.fz", "/data/a.wcs"),
        ("/data/a.FITS", "/data/a.wcs"),
        ("/data/a.fz", "/data/a.wcs"),
        ("/data/x.fits.d/a.fits", "/data/x.fits.d/a.wcs"),
        ("/data/20210611.221335.00012_20000.fits", "/data/20210611.221335.00012_20000.wcs"),
    ],
)
def test_where_the_wcs_of_a_frame_lies(frame, wcs):
    assert wcs_beside(Path(frame)) == Path(wcs)


def test_the_file_beside_counts_before_the_header(camera, tmp_path):
    path = write_frame(tmp_path / "x.fits.d" / NAME, wcs=wcs_cards(CRVAL1=100.0), **wcs_cards())
    assert read_frame(path, camera).wcs.centre[0] == pytest.approx(100.0)
    wcs_beside(path).unlink()
    frame = read_frame(path, camera)
    assert frame.wcs.centre[0] == pytest.approx(200.0)
    assert (frame.wcs_file, frame.flags) == (None, GuideFrameFlag.WCS_OF_HEADER)


def test_relative_links_are_followed(camera, tmp_path):
    """Of the frame, whose WCS lies beside what it leads to; and of the WCS."""
    path = write_frame(tmp_path / "data" / NAME)
    (tmp_path / "night").mkdir()
    link = tmp_path / "night" / NAME
    link.symlink_to(Path("..") / "data" / NAME)
    assert read_frame(link, camera).wcs_file == wcs_beside(path)
    wcs_beside(link).symlink_to(Path("..") / "data" / wcs_beside(path).name)
    frame = read_frame(link, camera)
    assert (frame.path, frame.wcs_file) == (link, wcs_beside(link))


def test_an_odd_wcs_is_flagged(camera, tmp_path):
    named = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    path = write_frame(tmp_path / NAME, wcs=wcs_cards(**named))
    assert read_frame(path, camera).flags == GuideFrameFlag.SIP_MISSING
    write_frame(path, wcs=wcs_cards(A_ORDER=2, B_ORDER=2, A_2_0=1e-6))
    assert read_frame(path, camera).flags == GuideFrameFlag.SIP_NOT_NAMED
    write_frame(path, wcs={}, **wcs_cards(A_ORDER=2, B_ORDER=2, A_2_0=1e-6))
    wcs_beside(path).unlink()
    flags = GuideFrameFlag.SIP_NOT_NAMED | GuideFrameFlag.WCS_OF_HEADER
    assert read_frame(path, camera).flags == flags


# --- what is refused


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"EXPOSURE": 0}, "EXPOSURE = 0 [ms] is no exposure time from 0.001 to 30 s; correct it"),
        ({"EXPOSURE": -5000}, "EXPOSURE = -5000 [ms] is no exposure time"),
        ({"EXPOSURE": 30001}, "EXPOSURE = 30001 [ms] is no exposure time"),
        ({"EXPOSURE": "long"}, "EXPOSURE = 'long' [ms] is no exposure time"),
        ({"EXPOSURE": None}, "no exposure time (EXPOSURE, EXPTIME); write it into the header"),
        ({"EXPOSURE": 0, "IMAGETYP": "BIAS"}, "EXPOSURE = 0 [ms] is no exposure time"),
        ({"DATE": "11 June 2021"}, "DATE = '11 June 2021' is no date; correct it"),
        ({"DATE": "2021/06/31"}, "DATE = '2021/06/31' is no date"),
        ({"TIME": None}, "DATE = '2021-06-11' has no time of day"),
        ({"TIME": "25:00:00"}, "DATE = '2021-06-11' has no time of day"),
        ({"DATE": "2921/06/11"}, "is in the future"),
        ({"DATE": 20210611}, "DATE = 20210611 is no date"),
    ],
    ids=str,
)
def test_headers_that_cannot_be(camera, tmp_path, cards, said):
    path = write_frame(tmp_path / NAME, **cards)
    message = refused(path, camera)
    assert message.startswith(f"{path}: ")
    assert said in message
    with pytest.raises(FrameError, match="^" + str(path)):
        header_facts(path, camera)


def test_images_that_are_none_of_this_camera(camera, tmp_path):
    path = write_frame(tmp_path / NAME, pixels((SHAPE[1], SHAPE[0])))
    assert (
        refused(path, camera) == f"{path}: 240 x 320 pixels, not 320 x 240; is it a frame of pointing_camera?"
    )
    for other, bits in ((np.float32, -32), (np.int32, 32), (np.uint8, 8)):
        write_frame(path, np.ones(SHAPE, other))
        assert f"BITPIX = {bits}: raw frames have 16-bit integers" in refused(path, camera)
    packed = write_frame(tmp_path / NAME.replace(".fits", ".fits.fz"), np.ones(SHAPE, np.int32))
    assert "BITPIX = 32: raw frames" in refused(packed, camera)
    fits.PrimaryHDU(header=fits.Header(CARDS.items())).writeto(path, overwrite=True)
    assert "holds no image" in refused(path, camera)
    write_frame(path, VISQLTYP="MASTER BIAS")
    assert "a product of VISQL" in refused(path, camera, NotRawError)


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".fits.fz"])
@pytest.mark.parametrize("left", [0, 1000, 2880, 0.5, -3000])
def test_files_that_are_cut_short(camera, tmp_path, ending, left):
    path = write_frame(tmp_path / NAME.replace(".fits", ending))
    content = path.read_bytes()
    size = int(left * len(content)) if 0 < left < 1 else left
    path.write_bytes(content[:size])
    message = refused(path, camera)
    whole_header = ending == ".fits.fz" and left == 2880  # of the primary, which has no pixels
    assert ("empty file" if left == 0 else "holds no image" if whole_header else "cut short") in message


def test_files_that_are_none(camera, tmp_path):
    path = write_frame(tmp_path / NAME)
    path.write_text("not a frame")
    assert "not a readable FITS file" in refused(path, camera)
    path.unlink()
    assert "cannot be read" in refused(path, camera)
    path.mkdir()
    assert "a folder" in refused(path, camera)
    packed = tmp_path / f"{NAME}.gz"
    shutil.copy(write_frame(tmp_path / "b" / NAME), packed)
    assert "not gzipped, but named so" in refused(packed, camera)


@pytest.mark.parametrize(
    ("wcs", "said"),
    [
        (wcs_cards(CTYPE1="RA---SIN", CTYPE2="DEC--SIN"), "the projections that are known are TAN"),
        (wcs_cards(CRVAL1=None), "it has no CRVAL1"),
        (wcs_cards(CD1_1=0.0), "singular"),
        ({"SIMPLE": True}, "it has no CTYPE1"),
    ],
    ids=str,
)
def test_a_wcs_that_makes_no_sense(camera, tmp_path, wcs, said):
    path = write_frame(tmp_path / NAME, wcs=wcs)
    message = refused(path, camera)
    assert message.startswith(f"{wcs_beside(path)}: ")
    assert said in message
    assert message.endswith("; solve the frame's field again")
    assert header_facts(path, camera).exptime == 20.0  # they do not need it


def test_a_frame_without_wcs(camera, tmp_path):
    path = write_frame(tmp_path / NAME, wcs={})
    message = (
        f"{path}: no WCS, neither a file {wcs_beside(path).name} nor in its header; solve its field first"
    )
    assert refused(path, camera) == message
    write_frame(path, wcs={}, CTYPE1="RA---ZEA", CTYPE2="DEC--ZEA")
    assert "the WCS of its header: CTYPE = 'RA---ZEA', 'DEC--ZEA'" in refused(path, camera)


@pytest.mark.parametrize("left", [0, 100, 2880])
def test_a_wcs_that_is_still_written(camera, tmp_path, left):
    """It is not passed over for the rough one of the header."""
    long = wcs_cards() | {f"FIELD{k}": k for k in range(40)}
    path = write_frame(tmp_path / NAME, wcs=long, **wcs_cards())
    file = wcs_beside(path)
    assert file.stat().st_size == 2 * 2880
    file.write_bytes(file.read_bytes()[:left])
    message = refused(path, camera)
    assert message.startswith(f"{file}: ")
    assert ("empty file" if left == 0 else "cut short") in message


# --- masters


def write_masters(folder: Path, ending: str = ".fits", **images) -> Path:
    rng = np.random.default_rng(2)
    usual = {
        "pc_master_bias": rng.normal(100, 1, SHAPE).astype(np.float32),
        "pc_master_dark": rng.normal(0.5, 0.01, SHAPE).astype(np.float32),
        "pc_master_flat": rng.normal(1, 0.01, SHAPE),  # a double
        "pc_badpix_mask": (rng.random(SHAPE) < 0.01).astype(np.uint8),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in (usual | images).items():
        if image is not None:
            fits.PrimaryHDU(image).writeto(folder / (name + ending), overwrite=True)
    return folder


@pytest.mark.parametrize("ending", [".fits", ".fits.gz"])
def test_masters_are_read(tmp_path, ending):
    folder = write_masters(tmp_path, ending)
    masters = load_masters(folder, SHAPE)
    assert [path.name for path in masters.paths] == [
        f"{name}{ending}" for name in ("pc_master_bias", "pc_master_dark", "pc_master_flat", "pc_badpix_mask")
    ]
    for found, path in zip((masters.bias, masters.dark, masters.flat), masters.paths, strict=False):
        assert found.dtype == np.float32
        assert found.dtype.isnative
        assert np.array_equal(found, fits.getdata(path).astype(np.float32))
    assert np.array_equal(masters.bad, fits.getdata(masters.paths[3]) > 0)


def test_pixels_that_cannot_be_detrended_are_bad(tmp_path):
    flat, mask, bias = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.float32)
    flat[0, :4] = (0.0, -1.0, np.nan, np.inf)
    mask[1, :2] = (1, -7)
    bias[2, 0] = np.nan
    folder = write_masters(tmp_path, pc_master_flat=flat, pc_badpix_mask=mask, pc_master_bias=bias)
    wanted = np.zeros(SHAPE, bool)
    wanted[0, :4] = wanted[1, :2] = wanted[2, 0] = True
    assert np.array_equal(load_masters(folder, SHAPE).bad, wanted)
    (folder / "pc_master_flat.fits").unlink()
    without = load_masters(folder, SHAPE, flat_field=False)
    wanted[0, :4] = False
    assert without.flat is None
    assert np.array_equal(without.bad, wanted)


def test_the_image_may_be_in_an_extension(tmp_path):
    folder = write_masters(tmp_path)
    path = folder / "pc_master_dark.fits"
    image = fits.getdata(path)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(path, overwrite=True)
    assert np.array_equal(load_masters(folder, SHAPE).dark, image)


@pytest.mark.parametrize("name", ["pc_master_bias", "pc_master_dark", "pc_master_flat", "pc_badpix_mask"])
def test_masters_that_are_missing_or_of_another_shape(tmp_path, name):
    folder = write_masters(tmp_path, **{name: None})
    with pytest.raises(NoMasterError) as caught:
        load_masters(folder, SHAPE)
    assert str(caught.value).startswith(f"{folder}: no {name}.fits or {name}.fits.gz; make it with")
    write_masters(tmp_path, **{name: np.ones((SHAPE[0], SHAPE[1] + 1), np.float32)})
    with pytest.raises(FrameError) as caught:
        load_masters(folder, SHAPE)
    path = folder / f"{name}.fits"
    assert str(caught.value) == f"{path}: 321 x 240 pixels, not 320 x 240; take the masters of this camera"
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(FrameError, match=rf"^{path}: .*; make it again$"):
        load_masters(folder, SHAPE)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(FrameError, match=rf"^{path}: holds no image; make it again$"):
        load_masters(folder, SHAPE)


def test_other_masters_have_another_digest(tmp_path):
    masters = load_masters(write_masters(tmp_path), SHAPE)
    assert masters.digest == load_masters(tmp_path, SHAPE).digest == digest_of(masters.paths)
    assert masters.digest != load_masters(tmp_path, SHAPE, flat_field=False).digest
    stat = masters.paths[1].stat()
    os.utime(masters.paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert masters.digest != digest_of(masters.paths)
    plain = masters.paths[1].read_bytes()
    masters.paths[1].unlink()
    with pytest.raises(NoMasterError, match="make it again"):
        digest_of(masters.paths)
    (tmp_path / "pc_master_dark.fits.gz").write_bytes(gzip.compress(plain))
    assert np.array_equal(load_masters(tmp_path, SHAPE).dark, masters.dark)


def test_who_names_the_folder_of_masters(monkeypatch):
    monkeypatch.delenv("POINTING_CAMERA_META", raising=False)
    with pytest.raises(ConfigError, match=r"--calibration.*masters\.folder.*POINTING_CAMERA_META"):
        masters_folder(PointingSettings())
    monkeypatch.setenv("POINTING_CAMERA_META", "/there")
    assert masters_folder(PointingSettings()) == Path("/there")
    assert masters_folder(PointingSettings.model_validate({"masters": {"folder": "/here"}})) == Path("/here")
