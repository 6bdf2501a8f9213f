"""Raw frames of one detector as they are prepared: overscan, sections, amplifiers, and what must be refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from visql_lib.config.load import validated
from visql_lib.errors import FrameError, NotRawError
from visql_lib.flags import PixelFlag
from visql_lib.images.chip import OverscanOptions, read_chip
from visql_lib.instruments.model import load_instrument
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_plan import NightOptions

CAMERA = load_instrument("generic_ccd")
SMALL = {
    "camera": {"columns": 128, "rows": 96},
    "frames": {"biases": 2, "darks": 1, "dark_times": [60], "odd_dark": False, "flats": 1, "filters": ["R"]}
    | {"lights": 1},
    "sky": {"stars": 30, "targets": ["M67"]},
}


@pytest.fixture(params=["maxim", "nina", "observatory", "mosaic"])
def night(request, tmp_path):
    """A small night of each dialect: its truth, and its files by type."""
    simulated = SimulatedNight(validated(NightOptions, SMALL | {"dialect": request.param}, "test"))
    files = {}
    for made in simulated.made():
        made.hdus.writeto(tmp_path / made.name)
        files[made.frame.type] = tmp_path / made.name, made.frame
    return simulated, files


def write(path: Path, pixels, **cards):
    """Write a frame of one image."""
    header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 10.0, "DATE-OBS": "2021-02-27T20:00:00"})
    header.update({key.replace("_", "-"): value for key, value in cards.items()})
    fits.PrimaryHDU(pixels, header).writeto(path)
    return path


def noise(level=1000.0, shape=(40, 60), seed=1):
    return np.rint(np.random.default_rng(seed).normal(level, 5, shape)).astype(np.uint16)


def test_pixels_of_a_bias_are_the_true_pattern(night):
    simulated, files = night
    path, frame = files["BIAS"]
    chip = read_chip(path, CAMERA)
    truth = simulated.chip.bias.copy()
    if simulated.options.has_overscan:
        for amplifier in simulated.chip.amplifiers:
            truth[amplifier.part.rows, amplifier.part.columns] -= amplifier.level
        levels = [a.level + frame.drift for a in simulated.chip.amplifiers]
        assert chip.bias_level == pytest.approx(np.mean(levels), abs=0.3)
    else:
        assert np.isnan(chip.bias_level)
    off = chip.image.data - truth
    assert chip.image.data.dtype == np.float32
    assert chip.image.data.shape == (96, 128)
    sigma = 8 / np.mean(simulated.chip.gain)
    assert abs(off.mean()) < 0.5  # of the overscans' own errors
    assert off.std() == pytest.approx(sigma, rel=0.05)
    assert not chip.image.mask.any()
    assert chip.step == 1


def test_facts_gains_and_saturation(night):
    simulated, files = night
    path, frame = files["SCIENCE"]
    chip = read_chip(path, CAMERA)
    assert chip.facts.frame_type == "SCIENCE"
    assert (chip.facts.exptime, chip.facts.filter, chip.facts.object) == (60.0, "R", "M67")
    assert chip.facts.start == frame.start
    assert chip.facts.temperature == pytest.approx(-20, abs=0.2)
    assert {a.saturation for a in chip.amplifiers} == {65535.0}
    if simulated.options.dialect == "mosaic":  # facts that stand only in an extension: ccdproc#814
        np.testing.assert_allclose(chip.gain(), simulated.chip.gain, rtol=1e-6)
        assert [a.gain for a in chip.amplifiers] == pytest.approx([1.5, 1.59, 1.44, 1.65])
        assert chip.read_noise() == 8.0
        assert "GAIN" not in chip.image.header
    else:
        assert chip.gain() == 1.5  # of NINA: EGAIN, GAIN being a setting
    for amplifier, true in zip(chip.amplifiers, simulated.chip.amplifiers, strict=True):
        assert amplifier.bias is None or amplifier.data.shape == true.part.shape


def test_the_sky_stays_under_the_stars(night):
    simulated, files = night
    path, frame = files["SCIENCE"]
    chip, field = read_chip(path, CAMERA), simulated.fields["M67"]
    if not simulated.options.has_overscan:  # a dialect without a WCS is given none
        assert not {"CRPIX1", "CTYPE1", "LTV1"} & set(chip.image.header)
        return
    x, y = frame.pointing.pixels(field.x, field.y)
    centre = WCS(naxis=2)
    centre.wcs.ctype, centre.wcs.crval = ["RA---TAN", "DEC--TAN"], [field.ra, field.dec]
    centre.wcs.cdelt, centre.wcs.crpix = [-1 / 3600, 1 / 3600], [1, 1]
    found = WCS(chip.image.header, fix=False).wcs_world2pix(*centre.wcs_pix2world(field.x, field.y, 0), 0)
    np.testing.assert_allclose(found, (x, y), atol=1e-6)
    assert chip.image.header["DATASEC"] == "[1:128,1:96]"
    assert "BIASSEC" not in chip.image.header


def test_the_overscan_may_be_cut_off_but_not_used(night):
    simulated, files = night
    path, frame = files["BIAS"]
    chip = read_chip(path, CAMERA, OverscanOptions("none"))
    assert np.isnan(chip.bias_level)
    assert (chip.image.data - simulated.chip.bias - frame.drift).mean() == pytest.approx(0, abs=0.3)


def test_gains_fill_in_what_the_header_does_not_say(tmp_path):
    path = write(tmp_path / "a.fit", noise(), EGAIN=1.5)
    chip = read_chip(path, CAMERA, gains={"0": (9.0, 7.0)})
    assert (chip.gain(), chip.read_noise()) == (1.5, 7.0)
    assert np.isnan(read_chip(path, CAMERA).read_noise())


@pytest.mark.parametrize("key", ["TRIMSEC", "BIASSEC", "DATASEC"])
def test_a_section_beyond_the_array_is_an_error(tmp_path, key):
    """Case 9: never a silent cut."""
    path = write(tmp_path / "a.fit", noise(), **{key: "[1:60,1:41]"})
    with pytest.raises(FrameError, match=rf"a.fit: {key} = '\[1:60,1:41\]' is not within 60 columns and 40"):
        read_chip(path, CAMERA)


def test_an_overscan_over_the_data_is_an_error(tmp_path):
    path = write(tmp_path / "a.fit", noise(), TRIMSEC="[1:50,1:40]", BIASSEC="[45:60,1:40]")
    with pytest.raises(FrameError, match=r"a.fit: the overscan .* overlaps the data"):
        read_chip(path, CAMERA)


def test_sections_with_blanks_and_a_short_overscan_with_an_absurd_row(tmp_path):
    """Case 9: sections with blanks; an overscan of fewer rows than the image; one row of 4e9 in it."""
    pixels = noise().astype(np.uint32)
    pixels[:, 50:] = noise(1000.4, (40, 10), 2)
    pixels[10, 50:] = 4_000_000_000
    path = write(tmp_path / "a.fit", pixels, TRIMSEC="[   1:  48,   1:  40]", BIASSEC="[  49:  60,  1:  30]")
    chip = read_chip(path, CAMERA)
    assert chip.image.data.shape == (40, 48)
    assert chip.bias_level == pytest.approx(1000.4, abs=5 * 5 / np.sqrt(10 * 29))
    assert np.isnan(chip.amplifiers[0].saturation)  # whole numbers of 32 bits


def test_trimming_keeps_all_of_the_wcs(tmp_path):
    """Case 10."""
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 30.0, "CRPIX2": 20.0}
    path = write(tmp_path / "a.fit", noise(), TRIMSEC="[17:60,1:40]", BIASSEC="[1:16,1:40]", **cards)
    header = read_chip(path, CAMERA).image.header
    assert (header["CRPIX1"], header["CRPIX2"], header["LTV1"]) == (14.0, 20.0, -16)
    assert header["CTYPE1"] == "RA---TAN"


def test_blank_nan_and_saturated_pixels_are_masked(tmp_path):
    pixels = noise().astype(np.int16)
    pixels[3, 4], pixels[5, 6] = -32768, 32767
    path = write(tmp_path / "a.fit", pixels, BLANK=-32768)
    chip = read_chip(path, CAMERA)
    assert np.isnan(chip.image.data[3, 4])
    assert chip.image.mask[3, 4] == PixelFlag.NOT_FINITE
    floats = noise().astype(np.float32)
    floats[7, 8] = np.nan
    chip = read_chip(write(tmp_path / "b.fit", floats, SATURATE=1015), CAMERA)
    assert chip.image.mask[7, 8] == PixelFlag.NOT_FINITE
    np.testing.assert_array_equal(chip.image.mask == PixelFlag.SATURATED, floats >= 1015)
    assert any("floats" in note for note in chip.notes)


def test_whole_numbers_of_16_bits_saturate_at_their_end(tmp_path):
    pixels = noise()
    pixels[5, 6] = 65535
    chip = read_chip(write(tmp_path / "a.fit", pixels), CAMERA)
    assert chip.image.mask[5, 6] == PixelFlag.SATURATED
    assert chip.image.mask.sum() == PixelFlag.SATURATED


def test_12_bits_in_16(tmp_path):
    chip = read_chip(write(tmp_path / "upper.fit", noise(200) * np.uint16(16)), CAMERA)
    assert (chip.step, chip.amplifiers[0].saturation) == (16.0, 65520.0)
    assert any("multiples of 16" in note for note in chip.notes)
    lower = np.minimum(noise(4093), 4095).astype(np.uint16)
    chip = read_chip(write(tmp_path / "lower.fit", lower), CAMERA)
    assert chip.amplifiers[0].saturation == 4095
    np.testing.assert_array_equal(chip.image.mask != 0, lower == 4095)


def test_the_pedestal_of_sbig_is_added_back(tmp_path):
    plain = read_chip(write(tmp_path / "a.fit", noise()), CAMERA)
    path = write(tmp_path / "b.fit", noise(), PEDESTAL=-100)
    chip = read_chip(path, CAMERA)
    np.testing.assert_array_equal(chip.image.data, plain.image.data - 100)
    assert "PEDESTAL" not in chip.image.header
    with pytest.raises(FrameError, match="PEDESTAL = 'much' is no number"):
        read_chip(write(tmp_path / "c.fit", noise(), PEDESTAL="much"), CAMERA)


@pytest.mark.parametrize(("key", "value"), [("BAYERPAT", "RGGB"), ("COLORTYP", 2)])
def test_a_colour_frame_is_told(tmp_path, key, value):
    path = write(tmp_path / "a.fit", noise(), **{key: value})
    with pytest.raises(FrameError, match=rf"a.fit: a colour frame \({key} = {value}\)"):
        read_chip(path, CAMERA)
    assert read_chip(write(tmp_path / "b.fit", noise(), COLORTYP="MONO"), CAMERA)


@pytest.mark.parametrize(
    "cards",
    [
        {"VISQLTYP": "MASTER BIAS"},
        {"BIASCOR": True},
        {"CALSTAT": "BD"},
        {"IMAGETYP": "Master Dark"},
        {"NCOMBINE": 9},
        {"IMC_NFIL": 5},
    ],
)
def test_masters_are_no_raw_frames(tmp_path, cards):
    """Case 13."""
    path = tmp_path / "a.fit"
    write(path, noise(), **{k: v for k, v in cards.items() if k != "IMC_NFIL"})
    if "IMC_NFIL" in cards:
        fits.setval(path, "IMC_NFIL", value=5)
    with pytest.raises(NotRawError, match=r"a.fit: no raw frame"):
        read_chip(path, CAMERA)


def test_several_detectors_are_told(tmp_path):
    images = [fits.ImageHDU(noise(seed=i), name=f"CCD{i}") for i in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    with pytest.raises(FrameError, match=r"holds 2 detectors \(CCD1, CCD2\)"):
        read_chip(tmp_path / "a.fits", CAMERA)


def test_files_that_cannot_be_read(tmp_path):
    whole = write(tmp_path / "a.fit", noise()).read_bytes()
    (tmp_path / "cut.fit").write_bytes(whole[:5000])
    (tmp_path / "empty.fit").write_bytes(b"")
    fits.PrimaryHDU().writeto(tmp_path / "none.fit")
    for name, why in (("cut.fit", "cut short"), ("empty.fit", "empty file"), ("none.fit", "holds no image")):
        with pytest.raises(FrameError, match=f"{name}: {why}"):
            read_chip(tmp_path / name, CAMERA)


def test_packed_frames_have_the_same_pixels(tmp_path):
    path = write(tmp_path / "a.fit", noise(), TRIMSEC="[1:50,1:40]", BIASSEC="[51:60,1:40]")
    plain = read_chip(path, CAMERA)
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    with fits.open(path) as hdus:
        tiles = fits.CompImageHDU(hdus[0].data, hdus[0].header)
        fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(tmp_path / "c.fits.fz")
    for name in ("b.fits.gz", "c.fits.fz"):
        chip = read_chip(tmp_path / name, CAMERA)
        np.testing.assert_array_equal(chip.image.data, plain.image.data)
        assert chip.bias_level == plain.bias_level
        assert chip.facts == plain.facts
