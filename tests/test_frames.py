"""Names, headers, layouts and reading of raw frames."""

import csv
import gzip
import math
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from visql_lib.errors import FrameError, NameFormatError
from visql_lib.frames import ExposureHeader, load_instrument, open_exposure
from visql_lib.frames.look import inspect
from visql_lib.frames.mosaic import ZOOM_POSITIONS, Preview, bounding_box, image_corner
from visql_lib.frames.statistics import integer_median, level_and_noise
from visql_lib.instruments.euclid_names import ArchiveName, RawName

DATES = st.datetimes(datetime(2000, 1, 1), datetime(2049, 12, 31), timezones=st.just(UTC))
RAW = "C_20240713_032840_W_52167482.VIS.bin_01_01"
ARCHIVE = "EUC_LE1_VIS-02370-1-W_20240701T001045.000000Z_01_01_01.00_EUCLIDSOC"


# Names


@given(DATES, st.sampled_from("CWS"), st.integers(0, 2**32 - 1), st.integers(0, 99), st.integers(0, 99))
def test_raw_names_survive_both_ways(start, mode, number, exposure, version):
    name = RawName(start.replace(microsecond=0), mode, f"{number:08X}", exposure, version)
    for ending in ("", ".fits", ".fits.gz", ".fits.fz"):
        assert RawName.parse(name.stem + ending) == name


def test_a_real_raw_name():
    name = RawName.parse(f"{RAW}.fits")
    assert name.start == datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
    assert (name.mode, name.hex_id, name.exposure, name.version, name.month) == (
        "W",
        "52167482",
        1,
        1,
        "202407",
    )


@pytest.mark.parametrize(
    "name", ["a.fits", RAW + "x.fits", RAW.replace("0713", "1340"), RAW.replace("_01_01", "_1_1")]
)
def test_other_names_are_refused(name):
    with pytest.raises(NameFormatError, match="not a raw file's name"):
        RawName.parse(name)


def test_a_real_archive_name_gives_the_local_name():
    name = ArchiveName.parse(ARCHIVE)
    assert str(name) == ARCHIVE
    assert name.download_stem == ARCHIVE[:57]
    local = name.local_stem("C_20240701_001045_W_52148000.VIS.fits")
    assert local == "C_20240701_001045_W_52148000.VIS.bin_" + ARCHIVE[46:51]
    for wrong in (ARCHIVE[:-1], ARCHIVE.replace("20240701", "20240631")):
        with pytest.raises(NameFormatError, match="not an archive name"):
            ArchiveName.parse(wrong)


def test_all_archive_names_of_a_real_month(reference):
    text = (reference / "vis_202407" / "psfmoments_202407_le1_score.csv").read_text()
    names = [line.split(";")[-1].strip() for line in text.splitlines()[1:]]
    assert len(names) == 964
    assert [str(ArchiveName.parse(n)) for n in names] == names


# Headers


CARDS = {
    "DATE-OBS": "2024-07-13T03:28:40.000",
    "EXPTIME": 560.52,
    "IMG_T1": "SURV_WIDE",
    "IMG_T2": "OTHER",
    "RA": 56.2,
}


def header(vis, **changes):
    cards = {k: v for k, v in (CARDS | changes).items() if v != "absent"}
    return ExposureHeader.from_cards(cards, vis, datetime(2024, 7, 13, tzinfo=UTC))


@pytest.mark.parametrize(
    ("date", "source"),
    [
        ("1990-01-01T00:00:00", "name"),
        ("absent", "name"),
        ("nonsense", "name"),
        ("2024-07-13T03:28:40", "DATE-OBS"),
    ],
)
def test_a_senseless_date_gives_way_to_the_name(vis, date, source):
    found = header(vis, **{"DATE-OBS": date})
    assert found.start_source == source
    assert found.start == (
        datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
        if source == "DATE-OBS"
        else datetime(2024, 7, 13, tzinfo=UTC)
    )


@pytest.mark.parametrize("value", ["absent", None, "", "n/a", float("nan"), True])
def test_a_missing_or_blank_number_is_nan(vis, value):
    assert math.isnan(header(vis, RA=value).ra)


@pytest.mark.parametrize(
    ("t1", "t2", "exptime", "expected"),
    [
        ("SURV_WIDE", "X", 560.52, "SCIENCE"),
        ("SELF_CAL", "", 89.52, "SCIENCE"),
        ("STD_STAR", "", 1, "SCIENCE"),
        ("OTHER", "OTHER", 10.5, "SCIENCE"),
        ("OTHER", "OTHER", 10, "UNKNOWN"),
        ("CALIB_DARK_1", "OTHER", 560.52, "DARK"),
        ("X", "FLATFIELD", 5, "FLAT"),
        ("BIAS", "", 0, "BIAS"),
        ("CHARGE_INJ", "", 0, "CHARGE"),
        ("TRAP_PUMP", "", 0, "TRAP"),
        ("", "", 560, "UNKNOWN"),
    ],
)
def test_frame_types(vis, t1, t2, exptime, expected):
    assert vis.frame_type((t1, t2), exptime) == expected


def test_exposure_classes(vis):
    assert [vis.exposure_class(t) for t in (560.5, 89.52, 95, math.nan)] == [
        "long",
        "short",
        "other",
        "other",
    ]


# Geometry


def test_layout_is_that_of_real_frames(vis, reference):
    with (reference / "vis_geometry" / "quadrant_wcs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["EXT"] for r in rows} == set(vis.quadrants)
    for row in rows:
        layout = vis.quadrants[row["EXT"]]
        assert_allclose(layout.wcs.crval, (float(row["CRVAL1"]), float(row["CRVAL2"])), atol=1.5e-8)
        for part, section in ((layout.image_columns, row["IMAGE_X"]), (layout.image_rows, row["IMAGE_Y"])):
            assert f"{part.start + 1}..{part.stop}" == section


@given(st.floats(-100, 3000), st.floats(-100, 3000))
def test_focal_plane_coordinates_survive_both_ways(x, y):
    wcs = load_instrument("euclid_vis").quadrants["3-4.G"].wcs
    assert_allclose(wcs.to_pixel(*wcs.to_world(x, y)), (x, y), atol=1e-6)


def test_sections_cover_each_quadrant_once(vis):
    for layout in vis.quadrants.values():
        columns = np.zeros(layout.shape[1], int)
        for part in (layout.prescan_columns, layout.image_columns, layout.overscan_columns):
            columns[part] += 1
        rows = np.zeros(layout.shape[0], int)
        for part in (layout.image_rows, layout.overscan_rows):
            rows[part] += 1
        assert (columns == 1).all()
        assert (rows == 1).all()


def test_quadrants_do_not_overlap_in_the_mosaic(vis):
    boxes = []
    for layout in vis.quadrants.values():
        x, y = image_corner(layout)
        boxes.append((x, y, x + 2048, y + 2066))
    x0, _y0, x1, y1 = bounding_box(vis.quadrants.values())
    assert x1 - x0 < 25500
    for i, a in enumerate(boxes):
        assert x0 <= a[0]
        assert a[3] <= y1
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


# Statistics


@settings(deadline=None)  # on a busy machine a second goes by in the middle of anything
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=60))
def test_integer_median_is_the_median(values):
    assert integer_median(np.array(values, dtype=np.uint16)) == np.median(values)


def test_level_and_noise_are_finer_than_one_unit():
    """Rounding to whole units hides neither a level of 100.30 nor a noise of 1.3."""
    rng = np.random.default_rng(3)
    values = np.rint(rng.normal(100.30, 1.3, 200_000)).astype(np.uint16)
    level, noise = level_and_noise(values)
    assert_allclose(level, 100.30, atol=0.015)
    assert_allclose(noise, 1.3, atol=0.01)
    assert math.isnan(level_and_noise(values[:0])[0])
    assert level_and_noise(np.full(9, 7, np.uint16)) == (7, 0)


def test_noise_does_not_mind_cosmic_rays():
    rng = np.random.default_rng(4)
    values = np.rint(rng.normal(2700, 5, 100_000)).astype(np.uint16)
    values[:1000] = 60000
    assert_allclose(level_and_noise(values), (2700, 5), rtol=0.03)


# Mosaic


def test_preview_puts_every_pixel_in_its_place(toy):
    """A plane of brightness across the focal plane comes out as that plane."""
    preview = Preview(tuple(toy.quadrants.values()), binning=16, zoom_size=120)
    x0, y0, x1, y1 = bounding_box(toy.quadrants.values())
    for layout in toy.quadrants.values():
        cx, cy = image_corner(layout)
        rows = layout.image_rows.stop - layout.image_rows.start
        columns = layout.image_columns.stop - layout.image_columns.start
        image = (np.arange(cx, cx + columns)[None, :] - x0) + (np.arange(cy, cy + rows)[:, None] - y0)
        preview.add(image.astype(np.uint16), layout)
    small = preview.thumbnail
    first = preview.origin
    j, i = np.indices(small.shape)
    plane = (first[0] + 16 * i + 7.5 - x0) + (first[1] + 16 * j + 7.5 - y0)
    full = preview._count == 256
    assert full.mean() > 0.7
    assert_allclose(small[full], plane[full], atol=1e-9)
    lower_left, upper_right = preview.zoom("ll"), preview.zoom("tr")
    assert lower_left[0, 0] == 0
    assert lower_left[3, 5] == 8
    assert upper_right[-1, -1] == (x1 - x0 - 1) + (y1 - y0 - 1)


def test_zooms_keep_off_the_gaps(vis):
    """The middle of the focal plane is the crossing of two gaps: nobody wants to look at that."""
    preview = Preview(tuple(vis.quadrants.values()), binning=24, zoom_size=900)
    for layout in vis.quadrants.values():
        preview.add(np.ones((2066, 2048), np.uint16), layout)
    for name in ZOOM_POSITIONS:
        assert np.isfinite(preview.zoom(name)).mean() > 0.8, name
    assert np.isfinite(preview.zoom("tr")).all()


# Reading


@pytest.fixture(scope="module")
def long_frame(toy_raw):
    """Path of one long toy exposure."""
    paths = sorted(toy_raw.glob("*.fits"))
    return next(
        p for p in paths if fits.getval(p, "IMG_T1").startswith("SURV") and fits.getval(p, "EXPTIME") > 500
    )


def test_quadrants_come_by_name(long_frame, toy):
    with open_exposure(long_frame, toy) as exposure, fits.open(long_frame) as hdus:
        assert set(exposure.names) == set(toy.quadrants)
        for quadrant in exposure:
            assert (quadrant.pixels == hdus[quadrant.name].data).all()
            assert quadrant.pixels.dtype == np.uint16
        name = sorted(toy.quadrants)[-1]
        assert exposure[name].name == name
        assert exposure.header.frame_type == "SCIENCE"
        with pytest.raises(FrameError, match="holds no quadrant"):
            exposure["9-9.E"]


def test_blocks_of_rows_are_the_quadrants(long_frame, toy):
    with open_exposure(long_frame, toy) as exposure:
        pixels = {quadrant.name: quadrant.pixels for quadrant in exposure}
        rows = {name: [] for name in pixels}
        for block in exposure.blocks(250):
            assert block.first == 250 * len(rows[block.layout.name])
            rows[block.layout.name].append(block.pixels)
    assert all((np.concatenate(rows[name]) == pixels[name]).all() for name in pixels)
    assert rows["1-1.E"][0].dtype == np.uint16


def test_order_of_extensions_does_not_matter(long_frame, toy, tmp_path):
    shuffled = tmp_path / long_frame.name
    with fits.open(long_frame) as hdus:
        first, *others = list(hdus)
        fits.HDUList([first, *others[::-1]]).writeto(shuffled)
    with open_exposure(long_frame, toy) as one, open_exposure(shuffled, toy) as two:
        assert one.names == two.names[::-1]
        assert (one["1-1.E"].pixels == two["1-1.E"].pixels).all()


def test_packed_frames_hold_the_same_pixels(long_frame, toy, tmp_path):
    gz, fz = tmp_path / f"{long_frame.name}.gz", tmp_path / f"{long_frame.name}.fz"
    with long_frame.open("rb") as source, gzip.open(gz, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    with fits.open(long_frame) as hdus:
        packed = [fits.CompImageHDU(h.data, h.header, compression_type="RICE_1") for h in hdus[1:]]
        fits.HDUList([hdus[0].copy(), *packed]).writeto(fz)
    with open_exposure(long_frame, toy) as plain:
        pixels = {q.name: q.pixels for q in plain}
        for path in (gz, fz):
            with open_exposure(path, toy) as exposure:
                found = {q.name: q for q in exposure}
                assert exposure.stem == plain.stem
                assert exposure.header == plain.header
            assert set(found) == set(pixels)
            assert all((found[n].pixels == pixels[n]).all() for n in pixels)
            assert all(found[n].wcs == plain[n].wcs for n in pixels)
    assert set(inspect(fz, toy).quadrants) == set(pixels)
    assert inspect(gz, toy).quadrants is None


def damage(source, target, how):
    data = source.read_bytes()
    target.write_bytes(
        {
            "empty": b"",
            "cut": data[: len(data) * 2 // 3],
            "cut at a block": data[: len(data) * 2 // 3 // 2880 * 2880],
            "text": b"no fits at all" * 1000,
            "blocks of text": b"x" * 28800,
        }[how]
    )


@pytest.mark.parametrize("how", ["empty", "cut", "cut at a block", "text", "blocks of text"])
def test_a_damaged_file_is_named_with_its_fault(long_frame, toy, tmp_path, how):
    path = tmp_path / long_frame.name
    damage(long_frame, path, how)
    with pytest.raises(FrameError, match="bin_") as caught:
        inspect(path, toy)
    assert "\n" not in str(caught.value)
    with pytest.raises(FrameError, match="bin_"), open_exposure(path, toy) as exposure:
        list(exposure)


@pytest.mark.parametrize("ending", [b"", (2880 * 9).to_bytes(4, "little")])
def test_a_cut_gzip_file_is_refused(long_frame, toy, tmp_path, ending):
    """Even one whose last bytes happen to be a size that could be right."""
    path = tmp_path / f"{long_frame.name}.gz"
    data = gzip.compress(long_frame.read_bytes(), 1)
    path.write_bytes(data[: len(data) // 2] + ending)
    with pytest.raises(FrameError, match=r"cut short|not a readable"), open_exposure(path, toy) as exposure:
        list(exposure)


def test_a_frame_of_another_camera_is_refused(long_frame, vis):
    with (
        pytest.raises(FrameError, match="is this a frame of euclid_vis"),
        open_exposure(long_frame, vis) as exposure,
    ):
        list(exposure)
