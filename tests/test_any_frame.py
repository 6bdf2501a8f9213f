"""Frames of any camera, from file to catalogue: dialects of headers, types of pixels, places on the sky."""

import gzip
import shutil
import warnings
from pathlib import Path

import corpus
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner
from dialects import BIAS, DIALECTS, FLUX, IMAGE, SKY, STARS, camera_file, image_of, pixels_of, write_frame
from numpy.testing import assert_allclose

from visql_lib.cli import cli
from visql_lib.config import CatalogSettings, PreviewSettings
from visql_lib.errors import FrameError
from visql_lib.flags import ExposureFlag, QuadrantFlag
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.frames.look import inspect
from visql_lib.frames.mosaic import Preview
from visql_lib.frames.sky_wcs import sky_of
from visql_lib.frames.statistics import integer_median, level_and_noise
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.settings import MomentSettings
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.pipelines.vis.stages.moments import measure_exposure_moments
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import read_sheet
from visql_lib.steps.catalog import measure_frame
from visql_lib.tables import read_table

# What each dialect's header says: type, start, exposure time, RA, Dec, and further columns of the sheet.
SAID = {
    "ldt": ("ARC", "2025-02-03T08:12:09.970", 15.0, 160.701917, -2.185306),
    "saao": ("SCIENCE", "2013-07-13T00:57:33.000", 150.04, 331.033333, -0.925278),
    "maxim": ("SCIENCE", "2013-10-16T06:46:34.000", 90.0, 308.733333, 60.120833),
    "sbig": ("UNKNOWN", "2013-01-28T03:08:12.000", 10.0, np.nan, np.nan),
    "astrofx": ("SCIENCE", "2016-06-29T04:58:11.000", 60.0, np.nan, np.nan),
}
COLUMNS = {
    "ldt": {
        "OBJECT": "",
        "AIRMASS": "1",
        "GAIN": "1.52",
        "CCDSUM": "1 1",
        "SHAPE": "130x46",
        "SECTIONS": "[11:110,5:44]|[113:128,5:44]",
    },
    "saao": {
        "FILTER": "48",
        "CCD-TEMP": "-92.95",
        "AIRMASS": "1.176",
        "GAIN": "1.9",
        "SHAPE": "120x40",
        "SECTIONS": "[17:116,1:40]|[4:13,1:40]",
    },
    "maxim": {
        "FILTER": "B",
        "OBJECT": "ngc-6946",
        "CCD-TEMP": "-40.0073",
        "PEDESTAL": "0",
        "SHAPE": "100x40",
        "SECTIONS": "",
    },
    "sbig": {
        "FILTER": "None",
        "OBJECT": "",
        "CCD-TEMP": "4.45589",
        "PEDESTAL": "-100",
        "SHAPE": "100x40",
        "SECTIONS": "",
    },
    "astrofx": {
        "FILTER": "",
        "OBJECT": "Mette",
        "CCD-TEMP": "-5.94",
        "PEDESTAL": "",
        "SHAPE": "100x40",
        "SECTIONS": "",
    },
}
REASON = {"sbig": "nothing tells the frame's type", "astrofx": "no filter is told"}
GAIN = {"ldt": 1.52, "saao": 1.9, "maxim": np.nan, "sbig": 1.74, "astrofx": np.nan}


def measured(path, instrument, **settings):
    with open_exposure(path, instrument) as exposure:
        return measure_frame(exposure, CatalogSettings(**settings), PreviewSettings(zoom_size=64))


def nearest(found, x, y):
    """Return the row of the detection nearest to a place."""
    return int(np.argmin(np.hypot(found["X_IMAGE"] - x, found["Y_IMAGE"] - y)))


# Dialects


@pytest.mark.parametrize("dialect", DIALECTS)
def test_facts_of_every_dialect_reach_the_sheet(dialect, tmp_path):
    write_frame(dialect, tmp_path / "frame.0001.FITS")
    sheet(tmp_path, dialect)
    (row,) = [r for path in (tmp_path / "out/exposures").glob("*.tsv") for r in read_sheet(path)]
    expected = SAID[dialect]
    assert (row.exposure, row.status, row.flags) == ("frame.0001", "ok", 0)
    assert row.reason == REASON.get(dialect, "")
    assert (row.frame_type, row.date_obs, row.exptime) == expected[:3]
    assert_allclose((row.ra, row.dec), expected[3:], atol=1e-6)
    assert row.extra == COLUMNS[dialect] | {"BINNING": "1 1"}


def sheet(folder, dialect, months=None):
    values = {"raw": str(folder), "results": str(folder / "out"), "index": {"growing_age": 0}}
    return refresh_sheets(
        settings_from_mapping(values), load_instrument(camera_file(DIALECTS[dialect][0])), RULES, months
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_stars_of_every_dialect_are_where_the_file_has_them(dialect, tmp_path):
    name, _, image, bias, _ = DIALECTS[dialect]
    path = write_frame(dialect, tmp_path / "frame.fits")
    with open_exposure(path, load_instrument(camera_file(name))) as exposure:
        found = measure_frame(exposure, CatalogSettings(), PreviewSettings(zoom_size=64))
        (quadrant,) = exposure
    assert (quadrant.image == np.rint(pixels_of(dialect))[image[2] : image[3], image[0] : image[1]]).all()
    assert_allclose(quadrant.layout.gain, GAIN[dialect])
    for x, y in STARS:
        row = nearest(found.catalogue, x + image[0], y + image[2])
        assert_allclose(found.catalogue["X_IMAGE"][row], x + image[0], atol=0.05)
        assert_allclose(found.catalogue["Y_IMAGE"][row], y + image[2], atol=0.05)
        assert_allclose(found.catalogue["FLUX_AUTO"][row], FLUX, rtol=0.1)
    levels = {key: float(found.quadrants[key][0]) for key in ("BIAS", "LEVEL", "BACKGROUND", "READ_NOISE")}
    flags = int(found.quadrants["FLAGS"][0])
    assert_allclose(levels["BACKGROUND"], SKY, atol=3)
    if bias:
        assert_allclose((levels["BIAS"], levels["READ_NOISE"]), (BIAS, 3.0), atol=0.5)
        assert_allclose(levels["LEVEL"], SKY + BIAS, atol=3)
        assert flags == 0
    else:
        assert np.isnan(levels["BIAS"])
        assert flags == QuadrantFlag.NO_OVERSCAN
    assert np.isnan(found.catalogue["RA"]).all()  # LDT's CTYPE1 is no sky
    assert np.isnan(found.catalogue["X_WORLD"]).all()


def test_overscan_is_subtracted_before_saturation_is_judged(tmp_path):
    """A star that reaches the camera's level is flagged; the same frame with a higher limit is not."""
    instrument = load_instrument(camera_file("saao_ste3"))
    peak = float(pixels_of("saao").max())
    for limit, flag in ((peak - 10, 4), (peak + 10, 0)):
        path = write_frame("saao", tmp_path / f"{limit:.0f}.fits", SATURATE=limit)
        found = measured(path, instrument).catalogue
        assert found["FLAGS"].max() & 4 == flag


@pytest.mark.parametrize("dialect", ["ldt", "maxim"])
def test_commands_work_on_any_frame(dialect, tmp_path):
    write_frame(dialect, tmp_path / "frame.fit")
    config = tmp_path / "c.yaml"
    config.write_text(f"instrument: {camera_file(DIALECTS[dialect][0])}\npreview: {{zoom_size: 64}}\n")
    run = CliRunner()
    out = str(tmp_path / "f")
    arguments = ["catalog", str(tmp_path / "frame.fit"), "-o", out + ".parquet", "--config", str(config)]
    done = run.invoke(cli, [*arguments, "--quadrants", out + "_q.parquet"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    table = read_table(tmp_path / "f.parquet")
    assert table.meta["product"] == "sky_catalogue"
    assert table.meta["overscan_subtracted"] == (["A"] if dialect == "ldt" else [])
    assert len(table["RA"]) == len(table["X_IMAGE"]) >= len(STARS)
    assert read_table(tmp_path / "f_q.parquet")["N_DETECTIONS"].tolist() == [len(table["X_IMAGE"])]
    done = run.invoke(cli, ["preview", str(tmp_path / "frame.fit"), "-o", out, "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.glob("f*.png"))) == 10


def test_a_folder_of_capital_endings_is_indexed(tmp_path):
    """22 files, of three dialects, without months: all are listed in the months of their headers."""
    (tmp_path / "raw").mkdir()
    names = [f"{dialect}{number}.FITS" for dialect in ("maxim", "sbig") for number in range(11)]
    for name in names:
        write_frame(name[:4] if name.startswith("sbig") else "maxim", tmp_path / "raw" / name)
    config = tmp_path / "c.yaml"
    config.write_text(f"instrument: {camera_file('maxim')}\nindex: {{growing_age: 0}}\n")
    arguments = ["index", str(tmp_path / "raw"), "--results", str(tmp_path / "out"), "--config", str(config)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert [line.rpartition("/")[2] for line in done.output.splitlines() if ".tsv: 11" in line] == [
        "201301.tsv: 11 UNKNOWN ok",
        "201310.tsv: 11 SCIENCE ok",
    ]


def test_known_frames_are_not_read_again_where_names_tell_no_date(tmp_path):
    write_frame("maxim", tmp_path / "a.fits")
    read = []
    values = {"raw": str(tmp_path), "results": str(tmp_path / "out"), "index": {"growing_age": 0}}
    instrument = load_instrument(camera_file("maxim"))
    for _ in range(2):
        sheets = refresh_sheets(
            settings_from_mapping(values), instrument, RULES, ["201310"], on_read=lambda: read.append(1)
        )
    assert [row.exposure for row in sheets["201310"]] == ["a"]
    assert len(read) == 1


def test_a_frame_without_a_date_is_listed_under_the_time_of_its_file(tmp_path):
    import os

    path = write_frame("maxim", tmp_path / "a.fits", JD=None, **{"DATE-OBS": "2033-33-33"})
    os.utime(path, (1.0e9, 1.0e9))
    (row,) = sheet(tmp_path, "maxim")["200109"]
    assert (row.date_source, row.date_obs[:7], row.flags) == ("file", "2001-09", ExposureFlag.DATE_FROM_NAME)
    assert "has no time of day, nor does the name tell the time" in row.reason


def test_broken_frames_of_any_camera_have_a_row_with_a_reason(tmp_path):
    data = write_frame("maxim", tmp_path / "good.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(data[:4000])
    (tmp_path / "empty.fits").write_bytes(b"")
    fits.PrimaryHDU().writeto(tmp_path / "nothing.fits")
    rows = {row.exposure: row for rows in sheet(tmp_path, "maxim").values() for row in rows}
    assert {name: row.status for name, row in rows.items()} == {
        "good": "ok",
        "cut": "unreadable",
        "empty": "unreadable",
        "nothing": "unreadable",
    }
    assert "holds no image of maxim" in rows["nothing"].reason
    with pytest.raises(FrameError, match=r"nothing\.fits: holds no image of maxim"):
        measured(tmp_path / "nothing.fits", load_instrument(camera_file("maxim")))


def test_broken_frames_of_the_corpus_cost_a_line_each(tmp_path):
    """What a fixed grid refuses, headers that tell everything may claim, too: read, or one `FrameError`."""
    camera = corpus.small_camera(tmp_path / "small_camera.yaml")
    good = corpus.good_frame(camera, tmp_path / "good")
    cases = [case for case in corpus.corpus(good, corpus.seed(), 8) if "bomb" not in case.what]
    instrument = load_instrument("generic_ccd")
    read, refused = 0, []
    for path in corpus.write(tmp_path / "raw", cases):
        (file,) = (tmp_path / "raw").glob(f"{path}*")
        try:
            inspect(file, instrument)
            with open_exposure(file, instrument) as exposure:
                read += sum(quadrant.image.ndim == 2 for quadrant in exposure)
        except FrameError as error:
            refused.append((str(error), str(file)))
    assert read > 100
    assert len(refused) > 100
    assert all(said.startswith(file) and "\n" not in said for said, file in refused)


# Pixels


TYPES = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]


@pytest.mark.parametrize("bitpix", TYPES)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_pixels_of_all_types_are_what_astropy_reads(bitpix, packed, tmp_path):
    instrument = load_instrument(camera_file("maxim"))
    pixels = pixels_of("maxim") / (4 if bitpix == "uint8" else 1) - (300 if bitpix[0] in "if" else 0)
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(
        np.rint(np.clip(pixels, None, 255 if bitpix == "uint8" else None)).astype(bitpix)
    ).writeto(path)
    expected = fits.getdata(path)
    if packed:
        path = gzipped(path)
    with open_exposure(path, instrument) as exposure:
        (quadrant,) = exposure
        blocks = list(exposure.blocks(7))
    assert (quadrant.pixels == expected).all()
    assert quadrant.pixels.dtype.isnative
    assert [block.first for block in blocks] == list(range(0, 40, 7))
    assert (np.concatenate([block.pixels for block in blocks]) == expected).all()
    found = measured(path, instrument)
    x, y = STARS[0]
    row = nearest(found.catalogue, x, y)
    assert_allclose((found.catalogue["X_IMAGE"][row], found.catalogue["Y_IMAGE"][row]), (x, y), atol=0.1)
    assert_allclose(found.quadrants["LEVEL"][0], np.median(expected), atol=1)


def gzipped(path):
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


@pytest.mark.parametrize(
    ("bitpix", "scale", "zero", "blank"),
    [("int16", 1.0, 32768.0, None), ("int16", 0.5, 100.0, -32768), ("int32", 2.0, -7.0, 5), ("float32", 1.0, 32768.0, None)],
)  # fmt: skip
def test_scaled_and_blank_pixels_are_what_they_mean(bitpix, scale, zero, blank, tmp_path):
    stored = np.rint(pixels_of("maxim")).astype(bitpix)
    stored[3, 5] = 5 if blank is None else blank
    hdu = fits.PrimaryHDU(stored)
    hdu.header.update({"BSCALE": scale, "BZERO": zero} | ({"BLANK": blank} if blank is not None else {}))
    hdu.writeto(tmp_path / "a.fits")
    with open_exposure(tmp_path / "a.fits", load_instrument(camera_file("maxim"))) as exposure:
        (quadrant,) = exposure
    expected = stored * scale + zero
    assert np.isnan(quadrant.pixels[3, 5]) == (blank is not None)
    known = np.isfinite(quadrant.pixels)
    assert known.sum() >= known.size - 1
    assert_allclose(quadrant.pixels[known], expected[known])
    found = measured(
        tmp_path / "a.fits", load_instrument(camera_file("maxim"))
    )  # NaN costs nothing but itself
    assert len(found.catalogue["X_IMAGE"]) >= len(STARS)


def test_compressed_single_images_are_read(tmp_path):
    path = write_frame("ldt", tmp_path / "plain.fits")
    with fits.open(path) as hdus:
        packed = fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "a.fits.fz")
    instrument = load_instrument("ldt_deveny")
    with open_exposure(path, instrument) as plain, open_exposure(tmp_path / "a.fits.fz", instrument) as fz:
        assert fz.header.start == plain.header.start
        assert fz.names == plain.names == ("A",)
        assert (fz["A"].pixels == plain["A"].pixels).all()
        assert (fz["A"].overscan == plain["A"].overscan).all()
        assert (np.concatenate([b.pixels for b in fz.blocks(9)]) == plain["A"].pixels).all()
    assert inspect(gzipped(path), instrument).header == inspect(path, instrument).header


def test_levels_of_any_pixels():
    rng = np.random.default_rng(3)
    values = rng.normal(-50.3, 4.0, 100_000)
    for kind in ("int16", "int32", "float32", "float64"):
        pixels = (np.rint(values) if kind[0] == "i" else values).astype(kind)
        assert_allclose(level_and_noise(pixels), (-50.3, 4.0), atol=0.06)
    assert integer_median(np.array([1.5, np.nan, 2.5, 7.25])) == 2.5
    far = np.array([0, 1, 2, 4_000_000_000], np.uint32)
    assert level_and_noise(far)[0] == 1.5
    assert np.isnan(level_and_noise(np.full(3, np.nan))[0])
    assert level_and_noise(np.array([np.nan, 2.0, 2.0]))[0] == 2.0


def test_pictures_of_floats_leave_holes_out():
    from visql_lib.instruments import Amplifier, LinearWCS
    from visql_lib.instruments.sections import Section

    layout = Amplifier(
        "1", "1", (32, 48), Section(0, 48, 0, 32), LinearWCS((1, 1), (0, 0), np.nan), corner=(0, 0)
    )
    preview = Preview([layout], 16, 50)
    image = np.full((32, 48), -2.5, np.float32)
    image[3, 4] = np.nan
    preview.add(image, layout)
    assert_allclose(preview.thumbnail, -2.5)
    assert np.isnan(preview.zoom("cc")).sum() > 0


def test_an_image_larger_than_the_camera_allows_is_refused(tmp_path):
    text = Path(camera_file("maxim")).read_text().replace("kind: single", "kind: single, most_pixels: 3999")
    (tmp_path / "small.yaml").write_text(text)
    path = write_frame("maxim", tmp_path / "a.fits")
    with (
        pytest.raises(FrameError, match="40 x 100 pixels, more than most_pixels of maxim allows"),
        open_exposure(path, load_instrument(str(tmp_path / "small.yaml"))) as exposure,
    ):
        list(exposure)


def test_cubes_of_several_planes_and_tables_are_no_amplifiers(tmp_path):
    cube = fits.ImageHDU(np.zeros((3, 8, 8), np.int16))
    one = fits.ImageHDU(np.zeros((1, 8, 8), np.int16), name="one")
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[1])])
    fits.HDUList([fits.PrimaryHDU(), cube, one, table]).writeto(tmp_path / "a.fits")
    with open_exposure(tmp_path / "a.fits", load_instrument("generic_ccd")) as exposure:
        assert exposure.names == ("ONE",)
        assert exposure["ONE"].pixels.shape == (8, 8)


# The sky


def tan(shape, projection="TAN", **more):
    """Return the cards of a WCS of the sky: 0.5 arcsec per pixel, turned by 20 degrees."""
    turn = np.radians(20.0)
    scale = 0.5 / 3600
    matrix = scale * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cards = {"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL1": 150.0, "CRVAL2": 2.2}
    cards |= {
        "CRPIX1": shape[1] / 2,
        "CRPIX2": shape[0] / 2,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "RADESYS": "ICRS",
    }
    cards |= {f"CD{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)}
    return cards | more


SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-5, "A_1_1": -3e-5, "B_0_2": 4e-5, "B_2_0": 1e-5}
TPV = {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 0.05, "PV2_5": -0.04, "PV1_0": 0.0, "PV2_0": 0.0}
SKIES = {"TAN": ("TAN", {}), "SIP": ("TAN-SIP", SIP), "TPV": ("TPV", TPV)}


def mosaic_frame(path, sky, binning=2, stars=()):
    """Write two amplifiers of one detector, the right one turned over in x and y, each with its own WCS."""
    shape, projection, more = (60, 90), *SKIES[sky]
    hdus = [fits.PrimaryHDU()]
    hdus[0].header.update({"OBSTYPE": "OBJECT", "EXPMS": 1500, "MJD-OBS": 60000.25, "DATE-OBS": "unknown"})
    rng = np.random.default_rng(2)
    for number, detsec in enumerate(("[1:160,1:120]", "[320:161,120:1]")):
        hdu = fits.ImageHDU(
            np.rint(image_of(shape, [s for n, *s in stars if n == number], 500.0, rng)).astype("uint16")
        )
        hdu.header.update(
            {"EXTNAME": "im", "CCDSUM": f"{binning} {binning}", "DETSEC": detsec, "CCDNAME": "e2v"}
        )
        hdu.header.update({"DATASEC": "[6:85,1:60]", "BIASSEC": "[86:90,1:60]"})
        hdu.data[:, 85:] = 100
        hdu.header.update(tan(shape, projection, CRPIX1=45.0 + 200 * number, **more))
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("sky", SKIES)
def test_positions_on_the_sky_are_astropys(sky, tmp_path):
    """Also through a turned amplifier: the full array's corner is the last pixel of its image in the file."""
    path = mosaic_frame(tmp_path / "a.fits", sky)
    with open_exposure(path, load_instrument(camera_file("mosaic"))) as exposure:
        left, right = exposure
        assert exposure.header.exptime == 1.5
        assert exposure.header.start_source == "MJD-OBS"
    assert (left.layout.detector, right.layout.detector) == ("e2v", "e2v")
    assert (left.layout.placed, right.layout.placed) == ((0, 0), (80, 0))
    rng = np.random.default_rng(4)
    x, y = rng.uniform(1, 80, 50), rng.uniform(1, 60, 50)
    for number, quadrant, file_x, file_y in (
        (1, left, x + 5, y),
        (2, right, 86 - x, 61 - y),  # x = 1 is column 85, y = 1 is row 60
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = WCS(fits.getheader(path, number)).all_pix2world(file_x, file_y, 1)
        found = sky_of(quadrant.cards, quadrant.layout, path).to_sky(x + quadrant.layout.origin[0], y)
        assert_allclose(found, expected, atol=1e-9, rtol=0)
    distorted = sky_of(right.cards, right.layout, path).wcs
    assert (distorted.sip is not None) == (sky == "SIP")
    assert abs(
        float(distorted.all_pix2world([[80, 50]], 1)[0, 0] - distorted.wcs_pix2world([[80, 50]], 1)[0, 0])
    ) > (1e-6 if sky == "SIP" else -1)


@pytest.mark.parametrize("sky", SKIES)
def test_simulated_stars_are_found_where_they_are_on_the_sky(sky, tmp_path):
    """Known places on the sky, a turned and binned amplifier: 0.1 px of 0.5 arcsec, full array one-based."""
    header = fits.getheader(mosaic_frame(tmp_path / "a.fits", sky), 2)
    wcs = WCS(header)
    ra, dec = wcs.all_pix2world([30.0, 62.0], [20.0, 41.0], 1)
    file_x, file_y = wcs.all_world2pix(ra, dec, 1)
    path = mosaic_frame(
        tmp_path / "b.fits", sky, stars=[(1, x, y) for x, y in zip(file_x, file_y, strict=True)]
    )
    found = measured(path, load_instrument(camera_file("mosaic"))).catalogue
    assert set(found["EXT"]) >= {"IM#2"}
    for one_ra, one_dec, x, y in zip(ra, dec, file_x, file_y, strict=True):
        row = nearest(found, 80 + 86 - x, 61 - y)
        assert_allclose((found["X_IMAGE"][row], found["Y_IMAGE"][row]), (80 + 86 - x, 61 - y), atol=0.05)
        offset = np.hypot(
            (found["RA"][row] - one_ra) * np.cos(np.radians(one_dec)), found["DEC"][row] - one_dec
        )
        assert offset * 3600 < 0.05
        assert_allclose(
            found["X_WORLD"][row] * 3600, (80 + 86 - x - 1) * 1.0, atol=0.05
        )  # 0.5 arcsec, binned 2


def test_moments_of_moved_amplifiers_are_refused(tmp_path):
    """Their positions are those of the full array: stamps would be cut elsewhere."""
    path = mosaic_frame(tmp_path / "a.fits", "TAN", stars=[(1, 30.0, 20.0)])
    stars = {"EXT": np.array(["IM#2"]), "X_IMAGE": np.array([136.0]), "Y_IMAGE": np.array([41.0])}
    with (
        pytest.raises(FrameError, match="IM#2 lies elsewhere in the detector than in its file"),
        open_exposure(path, load_instrument(camera_file("mosaic"))) as exposure,
    ):
        measure_exposure_moments(exposure, stars, MomentSettings())


def test_a_file_beside_gives_the_sky(tmp_path):
    path = write_frame("maxim", tmp_path / "a.fit")
    instrument = load_instrument(camera_file("maxim"))
    assert np.isnan(measured(path, instrument).catalogue["RA"]).all()
    header = fits.Header(tan((40, 100)).items())
    fits.PrimaryHDU(header=header).writeto(tmp_path / "a.wcs")
    found = measured(path, instrument).catalogue
    expected = WCS(header).all_pix2world(found["X_IMAGE"].astype(float), found["Y_IMAGE"].astype(float), 1)
    assert_allclose((found["RA"], found["DEC"]), expected, atol=1e-7, rtol=0)


def test_a_file_beside_several_amplifiers_is_not_theirs(tmp_path):
    path = mosaic_frame(tmp_path / "a.fits", "TAN", stars=[(0, 30.0, 20.0), (1, 30.0, 20.0)])
    instrument = load_instrument(camera_file("mosaic"))
    before = measured(path, instrument).catalogue
    fits.PrimaryHDU(header=fits.Header(tan((60, 90), CRVAL1=10.0).items())).writeto(tmp_path / "a.wcs")
    assert_allclose(measured(path, instrument).catalogue["RA"], before["RA"])


@pytest.mark.parametrize(
    "changes",
    [
        {"CD1_1": 0.0, "CD1_2": 0.0},
        {"CRVAL1": np.float64(1e300)},
        {"CTYPE2": "DEC--SIN"},
        {"CUNIT1": "parsec"},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CRPIX1": 1e30},
    ],
    ids=str,
)
def test_a_senseless_wcs_costs_the_sky_only(changes, tmp_path, caplog):
    path = write_frame("maxim", tmp_path / "a.fits", **(tan((40, 100)) | changes))
    found = measured(path, load_instrument(camera_file("maxim"))).catalogue
    assert len(found["RA"]) >= len(STARS)
    assert np.isnan(found["RA"]).all()
    assert "its WCS of the sky makes no sense" in caplog.text
    assert len(caplog.records) == 1


def test_other_skies_are_brought_to_icrs(tmp_path):
    from astropy.coordinates import SkyCoord

    cards = tan((40, 100), CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN", RADESYS=None)
    path = write_frame("maxim", tmp_path / "a.fits", **cards)
    found = measured(path, load_instrument(camera_file("maxim"))).catalogue
    row = nearest(found, *STARS[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        galactic = WCS(fits.getheader(path))
    lon, lat = galactic.all_pix2world(*(float(found[k][row]) for k in ("X_IMAGE", "Y_IMAGE")), 1)
    sky = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
    assert_allclose((found["RA"][row], found["DEC"][row]), (sky.ra.deg, sky.dec.deg), atol=1e-6)


# Real frames


REAL = {
    "ldt_deveny/20250203.0021.fits": ("ldt_deveny", "A", (2043, 508), (54, 5), 2344.7, "ARC"),
    "ccdproc/a8280271.fits": ("saao_ste3", "0", (512, 520), (17, 1), 214.1, "SCIENCE"),
    "ccdproc/sip-wcs.fit": ("maxim", "0", (100, 50), (1, 1), np.nan, "SCIENCE"),
    "msumastro/maximdl_6_18_header.fit": ("maxim", "0", (100, 100), (1, 1), np.nan, "SCIENCE"),
    "msumastro/neon-on-dome-10-sec-high-res-though-scope.fit": (
        "maxim",
        "0",
        (765, 510),
        (1, 1),
        np.nan,
        "UNKNOWN",
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_real_frames_give_a_catalogue(name, reference):
    camera, ext, size, first, bias, kind = REAL[name]
    path = reference / "ccd" / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_exposure(path, load_instrument(camera_file(camera))) as exposure:
            found = measure_frame(exposure, CatalogSettings(), PreviewSettings())
            assert exposure.header.frame_type == kind
            (layout,) = exposure.layouts
    assert layout.name == ext
    assert layout.data.shape == size[::-1]
    assert (layout.data.x0 + 1, layout.data.y0 + 1) == first
    assert_allclose(found.quadrants["BIAS"], [bias], atol=0.1)
    assert found.catalogue["X_IMAGE"].min() >= first[0] - 0.5
    assert found.catalogue["X_IMAGE"].max() <= first[0] + size[0]
    assert np.isfinite(found.catalogue["RA"]).all() == ("sip" in name or "6_18" in name)


def test_real_folders_are_indexed_whatever_their_endings(reference, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in [*(reference / "ccd").glob("msumastro/*.fit"), *(reference / "ccd").glob("ccdproc/*.fit*")]:
        shutil.copy(path, raw / f"{path.stem}.FITS")
    values = {"raw": str(raw), "results": str(tmp_path / "out"), "index": {"growing_age": 0}}
    sheets = refresh_sheets(settings_from_mapping(values), load_instrument("generic_ccd"), RULES, None)
    rows = [row for rows in sheets.values() for row in rows]
    assert len(rows) == len(list(raw.iterdir())) >= 22
    assert {row.status for row in rows} == {"ok"}


def test_real_sip_is_astropys(reference):
    path = reference / "ccd" / "ccdproc" / "sip-wcs.fit"
    with open_exposure(path, load_instrument(camera_file("maxim"))) as exposure:
        (quadrant,) = exposure
    x, y = np.array([1.0, 50.5, 100.0]), np.array([1.0, 20.25, 50.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = WCS(fits.getheader(path)).all_pix2world(x, y, 1)
    assert_allclose(sky_of(quadrant.cards, quadrant.layout, path).to_sky(x, y), expected, atol=1e-8, rtol=0)


def test_image_sections_of_dialects_are_whole():
    """The synthetic frames are what they say: a test of the tests."""
    for _, (_, cards, image, _, shape) in DIALECTS.items():
        assert (image[1] - image[0], image[3] - image[2]) == (IMAGE[1], IMAGE[3])
        assert image[1] <= shape[1]
        assert cards
