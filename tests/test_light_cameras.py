"""Cameras of pre-reduced frames: facts of their files and of headers, who wins, what is missing and how it is said."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from tests.light_frames import HEADER, star_image, write_camera, write_raw
from visql_lib.cli.lc_check import command as lc_check
from visql_lib.errors import ConfigError, FrameError, LackingFactError
from visql_lib.images.image import Image
from visql_lib.images.light_facts import LightFacts, light_facts
from visql_lib.images.light_frame import read_light
from visql_lib.images.writing import write_image
from visql_lib.instruments.model import Instrument, load_instrument

GAIN = "imaging:\n  gain: {value: 2.7, unit: electron/adu, source: measured}\n"
OF_ISSUE = {  # longitude, latitude, height, scale, gain, read noise: as far as they are the same for all frames
    "ecam": (-70.73, -29.25667, 2347, 0.2148, 2.7, 5),
    "euler_c2": (-70.73, -29.25667, 2347, None, None, None),
    "wfi": (-70.73458, -29.25428, 2335, 0.238, 2.0, 4.5),
    "omegacam": (-70.40283, -24.62300, 2635, 0.215, 1.9, 2.1),
    "andicam": (None, None, None, 0.369, 2.3, 6.5),
    "liverpool": (None, None, None, 0.135, None, None),
}


def header_of(**cards: Any) -> fits.Header:
    header = fits.Header()
    for key, value in (HEADER | {name.replace("_", "-"): value for name, value in cards.items()}).items():
        if value is not None:
            header[key] = value
    return header


def facts_of(camera: Instrument, **cards: Any) -> LightFacts:
    return light_facts(header_of(**cards), camera, "frame.fits")


def utc(mjd: float) -> str:
    moment = np.datetime64("1858-11-17T00:00:00.000") + np.timedelta64(round(mjd * 86_400_000), "ms")
    return str(moment)


@pytest.fixture
def plain(tmp_path: Path) -> Instrument:
    return load_instrument(str(write_camera(tmp_path / "plain.yaml")))


@pytest.mark.parametrize("name", OF_ISSUE)
def test_cameras_that_are_shipped(name: str) -> None:
    camera = load_instrument(name)
    longitude, latitude, height, scale, gain, noise = OF_ISSUE[name]
    if longitude is not None:
        assert tuple(camera.site.model_dump().values()) == pytest.approx(
            (longitude, latitude, height), abs=1e-4
        )
    if scale is not None:
        assert camera.pixel_scale == scale
    if gain is not None:
        assert facts_of(camera, GAIN=None).gain == gain
        assert facts_of(camera, GAIN=None).read_noise == noise


@pytest.mark.parametrize("name", ["lco_1m", "mercator", "maidanak", "hct", "generic", *OF_ISSUE])
def test_every_camera_reads_a_usual_frame(name: str) -> None:
    more = {"CCD-SGAI": None, "LONGITUD": -70.8, "LATITUDE": -30.2, "HEIGHT": 2198.0, "PIXSCALE": 0.389}
    header = header_of(**{key.replace("-", "_"): value for key, value in more.items()})
    header["CCD_SGAI"] = 2.0
    facts = light_facts(header, load_instrument(name), "frame.fits")
    assert facts.missing == ()
    assert utc(facts.mjd) == "2012-03-14T04:10:30.000"
    assert facts.filter == "R"
    assert facts.site is not None
    if name == "lco_1m":
        assert (facts.pixel_scale, facts.site.longitude) == (0.389, -70.8)


def test_omegacam_takes_the_gain_of_the_header_unless_it_is_0() -> None:
    camera = load_instrument("omegacam")
    assert facts_of(camera, GAIN=2.5).gain == 2.5
    assert facts_of(camera, GAIN=0.0).gain == 1.9


@pytest.mark.parametrize(
    ("cards", "middle"),
    [
        ({"DATE_OBS": "2017-12-19T18:33:43.317-0700", "EXPTIME": 60.0}, "2017-12-20T01:34:13.317"),
        ({"DATE_OBS": "2012-03-14", "UT": "04:08:00"}, "2012-03-14T04:10:30.000"),
        ({"DATE_OBS": "2012-03-14", "TIME_OBS": "04:08:00.5"}, "2012-03-14T04:10:30.500"),
        ({"DATE_OBS": "2012-03-13", "UT": "23:58:30"}, "2012-03-14T00:01:00.000"),
        ({"TIMESYS": "TAI"}, "2012-03-14T04:09:56.000"),  # TAI was 34 s ahead
        ({"TIMESYS": "TT"}, "2012-03-14T04:09:23.816"),
        ({"TIMESYS": "UTC"}, "2012-03-14T04:10:30.000"),
    ],
)
def test_times(plain: Instrument, cards: dict[str, Any], middle: str) -> None:
    assert utc(facts_of(plain, **cards).mjd) == middle


@pytest.mark.parametrize(
    ("where", "middle"), [("start", "04:10:30"), ("middle", "04:08:00"), ("end", "04:05:30")]
)
def test_the_date_is_of_start_middle_or_end(tmp_path: Path, where: str, middle: str) -> None:
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", f"imaging: {{time: {where}}}\n")))
    assert utc(facts_of(camera).mjd) == f"2012-03-14T{middle}.000"


def test_a_clock_in_the_future_is_noted_and_used(plain: Instrument) -> None:
    facts = facts_of(plain, DATE_OBS="2071-03-14T04:08:00")
    assert facts.missing == ()
    assert utc(facts.mjd).startswith("2071-03-14T04:10:30")
    assert "is the clock right?" in " ".join(facts.notes)


def test_a_barycentric_date_is_taken_where_there_is_no_other(plain: Instrument) -> None:
    header = header_of(DATE_OBS=None)
    header["BJD_TDB"] = 2456000.680286
    facts = light_facts(header, plain)
    assert math.isnan(facts.mjd)
    assert facts.bjd == 2456000.680286
    header["DATE-OBS"] = "2012-03-14T04:08:00"
    assert utc(light_facts(header, plain).mjd) == "2012-03-14T04:10:30.000"


def test_the_gain_of_the_file_wins(tmp_path: Path) -> None:
    """GAIN = 360 is a setting of the camera's program."""
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", GAIN)))
    facts = facts_of(camera, GAIN=360)
    assert facts.gain == 2.7
    assert "GAIN = 360 of the header does not count" in facts.sources["gain"]


@pytest.mark.parametrize("value", [360, 50.1, 0.04, -1.0])
def test_a_gain_that_cannot_be_is_named(tmp_path: Path, value: float) -> None:
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", "imaging: {gain: {keyword: GAIN}}\n")))
    (why,) = facts_of(camera, GAIN=value).missing
    assert why.startswith(f"GAIN = {value:g} is no gain: not between 0.05 and 50 electron/adu")
    path = write_raw(
        tmp_path / "a.fits", star_image(*np.array([[60.0], [60.0], [1e5]]), side=128), {"GAIN": value}
    )
    with pytest.raises(LackingFactError, match=re.escape(f"GAIN = {value:g}")):
        read_light(path, camera)


@pytest.mark.parametrize(
    ("value", "said"), [(0, "GAIN = 0 is no gain"), (None, "none of GAIN is in the header")]
)
def test_a_gain_of_0_or_none_is_an_error(tmp_path: Path, value: float | None, said: str) -> None:
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", "imaging: {gain: GAIN}\n")))
    facts = facts_of(camera, GAIN=value)
    assert math.isnan(facts.gain)
    assert len(facts.missing) == 1
    assert said in facts.missing[0]


def test_what_is_missing_names_its_keyword(plain: Instrument) -> None:
    assert "DATE-OBS is missing" in facts_of(plain, DATE_OBS=None).missing[0]
    assert "none of EXPTIME" in facts_of(plain, EXPTIME=None).missing[0]
    assert "EXPTIME = -5" in facts_of(plain, EXPTIME=-5.0).missing[0]
    assert len(facts_of(plain, DATE_OBS=None, EXPTIME=None, GAIN=None).missing) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("imaging: {gain: {value: 2.7, unit: electron/adu}}\n", "source"),
        ("imaging: {gain: {value: 2.7, unit: adu, source: x}}\n", "electron/adu"),
        ("imaging: {flip: z}\n", "flip"),
        ("imaging: {trim: '[1:2]'}\n", "section"),
        ("imaging: {apertures: {value: [5, 4], unit: px, source: x}}\n", "smallest to the largest"),
        ("imaging: {colour: red}\n", "colour"),
        ("imaging: {gain: {keyword: GAIN, limits: [5, 1]}}\n", "limits"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_instrument(str(write_camera(tmp_path / "wrong.yaml", more)))


def test_the_site_of_the_header(tmp_path: Path) -> None:
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", site=False)))
    assert facts_of(camera).site is None
    header = header_of()
    header["SITELONG"], header["SITELAT"] = "-70 43 48", "-29:15:24"
    site = light_facts(header, camera).site
    assert site is not None
    assert tuple(site) == pytest.approx((-70.73, -29.256667, 0.0), abs=1e-5)


def test_saturation_is_never_above_what_the_file_can_hold(tmp_path: Path) -> None:
    rule = "imaging: {saturation: {value: 90000, unit: adu, source: x}}\n"
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", rule)))
    image = np.random.default_rng(3).normal(1000, 9, (64, 64))
    image[10, 12] = 2e6
    light = read_light(write_raw(tmp_path / "a.fits", image), camera)
    assert light.facts.saturation == 65535
    assert np.argwhere(light.saturated).tolist() == [[10, 12]]
    assert not light.bad.any()
    assert light.data[10, 12] == 65535 * 2


@pytest.mark.parametrize("flip", ["none", "x", "y", "xy"])
def test_trim_and_flip(tmp_path: Path, flip: str) -> None:
    """A pixel and the WCS under it go together."""
    more = (
        f"imaging: {{trim: '[11:90,21:120]', flip: {flip}, pedestal: {{value: 100, unit: adu, source: x}}}}\n"
    )
    camera = load_instrument(str(write_camera(tmp_path / f"{flip}.yaml", more)))
    rng = np.random.default_rng(4)
    image = np.rint(rng.normal(1000, 10, (128, 128))) * 2
    image[30, 40] = 20_000
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 41.0, "CRPIX2": 31.0}
    cards |= {"CD1_1": -5e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 5e-5}
    light = read_light(write_raw(tmp_path / f"{flip}.fits", image, cards), camera)
    assert light.shape == (100, 80)
    x = 79 - 30 if "x" in flip else 30
    y = 99 - 10 if "y" in flip and flip != "none" else 10
    assert light.data[y, x] == pytest.approx((10_000 - 100) * 2)
    assert light.to_adu(light.data[y, x]) == pytest.approx(10_000)
    assert (light.header["CRPIX1"], light.header["CRPIX2"]) == (x + 1, y + 1)


def test_a_section_outside_the_frame_is_said(tmp_path: Path) -> None:
    camera = load_instrument(str(write_camera(tmp_path / "c.yaml", "imaging: {trim: '[1:500,1:500]'}\n")))
    path = write_raw(tmp_path / "a.fits", np.random.default_rng(1).normal(1000, 9, (64, 64)))
    with pytest.raises(FrameError, match=r"\[1:500,1:500\].*64 columns"):
        read_light(path, camera)


def test_an_extension_by_name_and_number(tmp_path: Path) -> None:
    planes = [np.random.default_rng(n).normal(1000 * (n + 1), 9, (64, 64)).astype(np.float32) for n in (0, 1)]
    header = header_of()
    hdus = [fits.PrimaryHDU(None, header), *(fits.ImageHDU(p, name=f"CHIP{n}") for n, p in enumerate(planes))]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    for n, extension in enumerate(("CHIP0", "2")):
        camera = load_instrument(
            str(write_camera(tmp_path / f"c{n}.yaml", f"imaging: {{extension: {extension}}}\n"))
        )
        light = read_light(tmp_path / "a.fits", camera)
        np.testing.assert_allclose(light.data, planes[n] * 2, rtol=1e-6)
    camera = load_instrument(str(write_camera(tmp_path / "c9.yaml", "imaging: {extension: CHIP9}\n")))
    with pytest.raises(FrameError, match="no image in extension 'CHIP9'"):
        read_light(tmp_path / "a.fits", camera)


@pytest.mark.parametrize("unit", ["adu", "electron"])
def test_reduced_frames_bring_mask_and_unit(tmp_path: Path, plain: Instrument, unit: str) -> None:
    """As `visql reduce` writes them: SATURATED is no bad pixel, all others are."""
    data = np.random.default_rng(2).normal(500, 10, (64, 64)).astype(np.float32)
    mask = np.zeros((64, 64), np.int16)
    mask[5, 6], mask[7, 8], mask[9, 10] = 32, 2, 2 | 8
    header = header_of()
    header["BUNIT"] = unit
    header["GAIN"] = 1.0 if unit == "electron" else 2.0
    header["SATURATE"] = 50_000.0
    write_image(tmp_path / "a.fits", Image(data, header, np.ones_like(data), mask), {"reduce": 1})
    light = read_light(tmp_path / "a.fits", plain)
    assert np.argwhere(light.bad).tolist() == [[5, 6], [9, 10]]
    assert np.argwhere(light.saturated).tolist() == [[7, 8]]
    assert np.isnan(light.data[5, 6])
    assert light.data[20, 20] == pytest.approx(data[20, 20] * (1.0 if unit == "electron" else 2.0))
    assert light.facts.saturation == 50_000


def test_check_prints_every_fact_with_its_source(tmp_path: Path) -> None:
    camera = write_camera(tmp_path / "c.yaml", GAIN)
    path = write_raw(tmp_path / "a.fits", np.random.default_rng(1).normal(1000, 9, (64, 64)), {"GAIN": 360})
    result = CliRunner().invoke(lc_check, [str(path), "--camera", str(camera)], standalone_mode=False)
    assert result.return_value == 0
    lines = {
        line.split("  ")[1].strip(): line for line in result.output.splitlines() if line.startswith("  ")
    }
    assert re.search(r"2\.7 electron/adu .*camera's file: measured; GAIN = 360", lines["gain"])
    assert re.search(r"2012-03-14T04:10:30\.000 UTC.*DATE-OBS \(start", lines["time"])
    assert re.search(r"-70\.73000 deg east, -29\.25667 deg, 2347 m .*camera's file", lines["site"])
    assert "0.2 arcsec/px" in lines["pixel scale"]


def test_check_goes_on_after_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    camera = write_camera(tmp_path / "c.yaml", GAIN)
    pixels = np.random.default_rng(1).normal(1000, 9, (64, 64))
    cut, text, whole = (write_raw(tmp_path / f"{name}.fits", pixels) for name in "abc")
    cut.write_bytes(cut.read_bytes()[:10_000])
    text.write_text("no image")
    files = [str(path) for path in (cut, text, whole)]
    result = CliRunner().invoke(lc_check, [*files, "--camera", str(camera)], standalone_mode=False)
    assert result.return_value == 1
    assert f"visql: {cut}: cannot be read as a FITS image (cut short; fetch it again)" in result.output
    assert f"visql: {text}: cannot be read as a FITS image (does not begin with SIMPLE)" in result.output
    assert f"{whole}: as a frame of" in result.output


def test_check_tells_what_is_missing(tmp_path: Path) -> None:
    path = write_raw(
        tmp_path / "a.fits",
        np.random.default_rng(1).normal(1000, 9, (64, 64)),
        {"GAIN": None, "DATE-OBS": None},
    )
    result = CliRunner().invoke(lc_check, [str(path), "--camera", "generic"], standalone_mode=False)
    assert result.return_value == 1
    missing = [line for line in result.output.splitlines() if line.startswith("  missing:")]
    assert len(missing) == 2
    assert any("DATE-OBS" in line for line in missing)
    assert any("EGAIN, GAIN" in line for line in missing)
