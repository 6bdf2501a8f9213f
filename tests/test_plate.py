"""Plate solutions: the thumbnail's pixels, headers, and the real programs of astrometry.net."""

from __future__ import annotations

import math
import os
import shutil
import stat
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.archives import astrometry_net
from visql_lib.archives.astrometry_net import (
    Deadline,
    NotInstalledError,
    NotSolvedError,
    StarField,
    TimedOutError,
    solve,
)
from visql_lib.cli.plate_solve import command
from visql_lib.errors import TableError
from visql_lib.frames.mosaic import Preview
from visql_lib.pictures.preview import thumbnail
from visql_lib.pipelines.vis.legacy.read import locate, read_stars2
from visql_lib.pipelines.vis.schemas.gaia import GAIA_TILE
from visql_lib.pipelines.vis.settings import PlateSettings
from visql_lib.pipelines.vis.stages.plate_solve import ReferenceStars, solve_exposure, thumbnail_frame
from visql_lib.simulate.field import star_field
from visql_lib.sky.geometry import CubicDistortion, FocalPlaneGeometry
from visql_lib.sky.plate import (
    boresight_of,
    brightest,
    compare,
    index_limits,
    index_stars,
    plate_roll,
    solve_pairs,
)
from visql_lib.sky.projection import Boresight, deproject, propagate
from visql_lib.sky.thumbnail import ThumbnailFrame, header_cards
from visql_lib.tables import STARS, write_table
from visql_lib.tables.plate import read_plate, write_plate

REAL = Boresight(56.24568699, -55.71421686, 46.21774651)  # header of the real exposure
DATE = datetime(2024, 7, 13, 3, 28, 40, tzinfo=UTC)
EXPTIME = 560.52
BINNING = 24

solver = pytest.mark.skipif(
    shutil.which("solve-field") is None or shutil.which("build-astrometry-index") is None,
    reason="astrometry.net is not installed",
)


def world(cards):
    """astropy's idea of a header."""
    header = fits.Header()
    for name, value in cards.items():
        header[name] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # a header without an image
        return WCS(header)


def arcsec(ra, dec, ra0, dec0):
    """Distances on the sky."""
    a, d, a0, d0 = (np.radians(v) for v in (ra, dec, ra0, dec0))
    h = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(h))) * 3600


# The thumbnail's pixels


# A picture scaled by less than a whole number takes the nearest of its pixels: half a pixel off at most.
@pytest.mark.parametrize(("binning", "tolerance"), [(24, 0.1), (60, 0.1), (20, 0.5)])
def test_frame_is_that_of_the_picture(vis, binning, tolerance):
    names = list(vis.quadrants)
    chosen = [vis.quadrants[n] for n in ("1-1.E", "3-3.F", "6-6.G")]
    preview = Preview(list(vis.quadrants.values()), binning, 100)
    spots = []
    for layout in chosen:
        rows = layout.image_rows.stop - layout.image_rows.start
        columns = layout.image_columns.stop - layout.image_columns.start
        image = np.ones((rows, columns), np.uint16)
        image[900:1100, 500:700] = 60000
        preview.add(image, layout)
        # one-based pixel in the full array of the middle of the spot
        pixel = layout.origin[0] + 600.5, layout.origin[1] + 1000.5
        spots.append(layout.wcs.to_world(*pixel))
    figure = thumbnail(preview.thumbnail, "", (0.0, 70000.0))
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(float)
    frame = thumbnail_frame(vis, [], binning)
    assert picture.shape == (frame.height, frame.width)
    assert thumbnail_frame(vis, names, binning) == frame
    for x_world, y_world in spots:
        x, y = (float(v) for v in frame.to_picture(x_world, y_world))
        top, left = round(y) - 8, round(x) - 8
        cut = picture[top - 1 : top + 16, left - 1 : left + 16]
        weight = np.where(cut < 255, cut, 0.0)  # the spot is grey, paper is white
        v, u = np.mgrid[: cut.shape[0], : cut.shape[1]]
        assert abs((weight * u).sum() / weight.sum() + left - x) < tolerance
        assert abs((weight * v).sum() / weight.sum() + top - y) < tolerance


def test_frame_of_a_frame_that_lacks_quadrants(vis, toy):
    names = [n for n in vis.quadrants if n.startswith("3-3")]
    preview = Preview([vis.quadrants[n] for n in names], BINNING, 100)
    frame = thumbnail_frame(vis, names, BINNING)
    figure = thumbnail(preview.thumbnail, "", (0.0, 1.0))
    assert figure.canvas.get_width_height() == (frame.width, frame.height)
    preview = Preview(list(toy.quadrants.values()), 4, 20)
    frame = thumbnail_frame(toy, [], 4)
    figure = thumbnail(preview.thumbnail, "", (0.0, 1.0))
    assert figure.canvas.get_width_height() == (frame.width, frame.height)


@settings(deadline=None)
@given(x=st.floats(-0.4, 0.4), y=st.floats(-0.4, 0.4), step=st.floats(1.0, 60.0))
def test_picture_and_focal_plane_are_inverse(x, y, step):
    frame = ThumbnailFrame(2.7667e-5, (-12600, -13992), (step, 1.1 * step), 20.0, 1198.0, 1090, 1262)
    back = frame.to_world(*frame.to_picture(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-12)
    lower = frame.to_picture(x, y - 0.01)
    assert lower[1] > frame.to_picture(x, y)[1]  # y runs downwards


# Headers


@settings(max_examples=12, deadline=None)
@given(
    ra=st.floats(0, 359.99),
    dec=st.floats(-90, 90),
    pa=st.floats(0, 359.99),
    scale=st.floats(0.999, 1.001),
)
def test_header_says_what_the_geometry_says(vis, ra, dec, pa, scale):
    frame, geometry = thumbnail_frame(vis, [], BINNING), FocalPlaneGeometry.of(vis.sky_distortion)
    boresight = Boresight(ra, dec, pa)
    cards = header_cards(frame, geometry, boresight, scale)
    x, y = np.random.default_rng(1).uniform(-0.39, 0.39, (2, 200))
    tangent = geometry.distortion.apply(x, y)
    sky = deproject(tangent[0] * scale, tangent[1] * scale, boresight)
    pixel = frame.to_picture(x, y)
    wcs = world(cards)
    assert arcsec(*wcs.all_pix2world(*pixel, 1), *sky).max() < 1e-3
    ideal = np.array(wcs.wcs_world2pix(*sky, 1)) - wcs.wcs.crpix[:, None]
    back = wcs.sip_foc2pix(*ideal, 1)
    assert np.abs(np.array(back) - pixel).max() < 0.01
    found = boresight_of(cards)
    assert arcsec(found.ra, found.dec, ra, dec) < 1e-6
    assert abs((found.pa - pa + 180) % 360 - 180) < 0.03  # the cubic turns the field a little


@settings(max_examples=12, deadline=None)
@given(pa=st.floats(-720, 720), skew=st.floats(-0.5, 0.5))
def test_roll_of_the_plate_is_the_position_angle_less_90(pa, skew):
    frame = ThumbnailFrame(1e-4, (0, 0), (1.0, 1.0), 0.0, 100.0, 100, 100)
    cards = header_cards(frame, FocalPlaneGeometry(), Boresight(10.0, 20.0, pa))
    assert abs((plate_roll(cards) - pa + 90 + 180) % 360 - 180) < 1e-9
    first, second = math.radians(pa - 90 + skew), math.radians(pa - 90 - skew)
    matrix = {"CD1_1": math.cos(first), "CD1_2": math.sin(first)}
    matrix |= {"CD2_1": -math.sin(second), "CD2_2": math.cos(second)}
    assert abs((plate_roll(matrix) - pa + 90 + 180) % 360 - 180) < 1e-9


def test_the_real_header(reference):
    path = next((reference / "vis_20240713").glob("*.wcs"))
    header = fits.getheader(path)
    cd = {name: header[name] for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")}
    formula = (math.atan2(cd["CD1_2"], cd["CD1_1"]) - math.atan2(cd["CD2_1"], cd["CD2_2"])) / 2
    assert plate_roll(cd) == pytest.approx(math.degrees(formula), abs=1e-9)
    assert plate_roll(cd) == pytest.approx(REAL.pa - 90, abs=0.02)
    found = read_plate(path)
    assert found.solved
    difference = compare(Boresight(found.ra, found.dec, found.pa), REAL)
    assert abs(difference.east) < 1.6
    assert abs(difference.north) < 1.1
    assert abs(difference.turn) < 0.02


def test_compare():
    near_pole = Boresight(10.0, 89.9, 359.9)
    moved = Boresight(10.0, 89.9 + 5 / 3600, 0.1)
    difference = compare(moved, near_pole)
    assert difference.north == pytest.approx(5, abs=1e-6)
    assert difference.east == pytest.approx(0, abs=1e-6)
    assert difference.turn == pytest.approx(0.2)
    east = compare(
        Boresight(20.0 + 3 / 3600 / math.cos(math.radians(40)), 40.0, math.nan), Boresight(20.0, 40.0, 1.0)
    )
    assert east.east == pytest.approx(3, abs=1e-4)
    assert math.isnan(east.turn)
    assert math.isnan(compare(Boresight(0.0, 0.0, 0.0), Boresight(180.0, 0.0, 0.0)).east)


# Stars


def test_brightest_stars():
    flux = np.array([5.0, np.nan, 50.0, -1.0, 20.0, 30.0, np.inf])
    x = np.array([0.0, 0.0, 0.0, 0.0, np.nan, 0.0, 0.0])
    stars = {"FLUX_AUTO": flux, "X_WORLD": x, "Y_WORLD": np.zeros(7)}
    assert brightest(stars, 10).tolist() == [2, 5, 0]
    assert brightest(stars, 1).tolist() == [2]
    assert not len(brightest({name: values[:0] for name, values in stars.items()}, 5))


def test_stars_of_an_index(vis):
    flux = np.array([242000.0, 24200.0])  # 17.754 and 20.254 mag
    facts = vis.photometry
    scale = {"magnitude_zero": facts.magnitude_zero, "magnitude_gain": facts.magnitude_gain}
    limits = index_limits(flux, EXPTIME, **scale)
    assert limits == (17.75, 21.0)
    assert index_limits(flux, math.nan, **scale) == index_limits([], EXPTIME, **scale)
    stars = {
        "RA": np.array([359.9999, 10.0, 10.0, 10.0, 10.0]),
        "DEC": np.full(5, 60.0),
        "PMRA": np.array([3.6e6, np.nan, 0.0, 0.0, 0.0]),
        "PMDEC": np.array([0.0, 5.0, 0.0, 0.0, 0.0]),
        "G": np.array([18.0, 17.5, 17.2, 21.5, np.nan]),
    }
    chosen = index_stars(stars, limits, 1.0)
    assert len(chosen["RA"]) == 2
    assert chosen["RA"][0] == pytest.approx(1.9999)  # a degree of motion, across 0 h
    assert chosen["DEC"][1] == 60.0  # half a motion is none
    assert chosen["RANK"].tolist() == [18.0, 21.25]  # the brighter one comes last


def test_pairs_give_the_truth_although_some_are_wrong(vis):
    frame, geometry = thumbnail_frame(vis, [], BINNING), FocalPlaneGeometry.of(vis.sky_distortion)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-0.38, 0.38, (2, 150))
    truth = Boresight(0.001, -89.7, 12.0)
    sky = np.array(deproject(*geometry.distortion.apply(x, y), truth))
    sky[1, :20] += 0.01
    start = Boresight(1.0, -89.71, 12.3)
    found = solve_pairs(*frame.to_picture(x, y), *sky, frame, geometry, start)
    assert found.n == 130
    assert found.rms < 1e-3
    difference = compare(found.boresight, truth)
    assert max(abs(difference.east), abs(difference.north)) < 1e-3
    assert abs(found.scale - 1) < 1e-6
    few = frame.to_picture(x[:5], y[:5])
    assert solve_pairs(*few, *sky[:, :5], frame, geometry, start) is None


def test_a_camera_without_known_distortion_finds_its_scale():
    frame = ThumbnailFrame(1e-4, (-500, -500), (1.0, 1.0), 0.0, 1000.0, 1000, 1000)
    x, y = np.random.default_rng(3).uniform(-0.04, 0.04, (2, 50))
    truth = Boresight(200.0, 30.0, 250.0)
    sky = deproject(1.02 * x, 1.02 * y, truth)
    geometry = FocalPlaneGeometry(CubicDistortion())
    found = solve_pairs(*frame.to_picture(x, y), *sky, frame, geometry, Boresight(200.01, 30.0, 249.0))
    assert found.scale == pytest.approx(1.02, abs=1e-6)


# Files


def test_solution_on_disk(tmp_path):
    path = tmp_path / "odd 'name' ü.wcs"
    write_plate(
        path,
        {"RA": 1.5, "DEC": -2.5, "PA": 3.0, "CRVAL1": 1.0, "CRVAL2": 2.0, "RMS": 0.2}
        | {f"CD{i}_{j}": float(i == j) for i in (1, 2) for j in (1, 2)},
    )
    found = read_plate(path)
    assert (found.solved, found.ra, found.dec, found.pa, found.rms) == (True, 1.5, -2.5, 3.0, 0.2)
    assert path.stat().st_size % 2880 == 0
    write_plate(path, {"STATUS": "timed out"}, "µ: too\nlong " * 20)
    found = read_plate(path)
    assert not found.solved
    assert found.reason.startswith("?: too long")
    assert math.isnan(found.ra)
    assert b"NOT SOLVED" in path.read_bytes()
    assert not list(tmp_path.glob(".part*"))
    path.write_bytes(b"no header")
    with pytest.raises(TableError, match="make it again"):
        read_plate(path)
    fits.PrimaryHDU().writeto(tmp_path / "image.fits")
    with pytest.raises(TableError, match="not a plate solution"):
        read_plate(tmp_path / "image.fits")


# Programs that are not what they should be


def program(folder, text):
    """Put a solve-field of our own into a folder."""
    path = folder / "solve-field"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


FIELD = StarField(np.arange(5.0), np.arange(5.0), 10, 10, (2.0, 3.0))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_time_limit_ends_the_whole_group(tmp_path, monkeypatch):
    program(tmp_path, f"sleep 60 & echo $! $$ > '{tmp_path}/pids'; sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    begin = time.monotonic()
    with pytest.raises(TimedOutError, match=r"longer than 0\.5 s"):
        solve(FIELD, [], None, Deadline(0.5))
    assert time.monotonic() - begin < 5
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    end = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def test_what_programs_say(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    program(tmp_path, "echo You must list at least one index in the config file; exit 255")
    with pytest.raises(NotSolvedError, match=r"^no index is installed$"):
        solve(FIELD, [], None, Deadline(5))
    program(tmp_path, "echo Field 1 did not solve")
    with pytest.raises(NotSolvedError, match=r"^no match"):
        solve(FIELD, [], None, Deadline(5))
    program(tmp_path, "exit 3")
    with pytest.raises(NotSolvedError, match="ended with 3"):
        solve(FIELD, [], None, Deadline(5))
    with pytest.raises(NotSolvedError, match="3 stars"):
        solve(StarField(np.zeros(3), np.zeros(3), 10, 10, (2.0, 3.0)), [], None, Deadline(5))
    with pytest.raises(TimedOutError):
        solve(FIELD, [], None, Deadline(0))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(NotInstalledError, match=r"plate\.solve"):
        solve(FIELD, [], None, Deadline(5))


# The real programs


@pytest.fixture(scope="module")
def sky():
    """Reference stars around the real boresight, at epoch 2016, and where they are in 2024."""
    stars = star_field(1, REAL.ra, REAL.dec, 0.65, faintest=21.0)
    stars |= {"SOURCE_ID": stars["source_id"], "G_ERR": np.full(len(stars["G"]), 0.001)}
    now = propagate(stars["RA"], stars["DEC"], stars["PMRA"], stars["PMDEC"], 8.53)
    return stars, now


def simulated(vis, sky, ccds, boresight=REAL, seed=1):
    """The table of stars of an exposure on some CCDs, and the true geometry."""
    stars, (ra, dec) = sky
    rng = np.random.default_rng(seed)
    shifts = {ccd: tuple(rng.normal(0, 1.5, 2) * 0.1 / 3600) for ccd in vis.ccds}
    geometry = FocalPlaneGeometry.of(vis.sky_distortion, shifts)
    parts = []
    near = np.flatnonzero(arcsec(ra, dec, boresight.ra, boresight.dec) < 2000)
    for ccd in ccds:
        x, y = geometry.world_of(ccd, ra[near], dec[near], boresight)
        ext = locate(x, y, vis)["EXT"]
        on = np.char.startswith(ext, ccd)
        parts.append((x[on], y[on], stars["G"][near[on]]))
    x, y, g = (np.concatenate(p) for p in zip(*parts, strict=True))
    magnitude = g - rng.uniform(0.02, 0.45, len(g))  # as colours do
    flux = EXPTIME / 3.4 * 10 ** (0.4 * (25.67 - magnitude))
    chosen = (flux < 243_000) & (flux > 24_000) & (rng.random(len(g)) < 0.95)
    noise = rng.normal(0, 0.05 * 0.1 / 3600, (2, len(g)))
    table = {"X_WORLD": x + noise[0], "Y_WORLD": y + noise[1], "FLUX_AUTO": flux}
    return {name: values[chosen] for name, values in table.items()}, geometry


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("a cache with blanks")


def reference_of(sky, cache):
    stars, _ = sky
    return ReferenceStars(lambda: stars, "sky", cache)


def corners(vis, ccds):
    """Focal-plane corners of some CCDs [deg]."""
    for ccd in ccds:
        for layout in (q for q in vis.quadrants.values() if q.ccd == ccd):
            x0, y0 = layout.origin
            nx = layout.image_columns.stop - layout.image_columns.start
            ny = layout.image_rows.stop - layout.image_rows.start
            for x, y in ((x0 + 1, y0 + 1), (x0 + nx, y0 + 1), (x0 + 1, y0 + ny), (x0 + nx, y0 + ny)):
                yield ccd, *layout.wcs.to_world(x, y)


def check(vis, found, ccds, geometry, boresight, limit=1.0):
    """Boresight and corners of the CCDs are right."""
    assert arcsec(found.boresight.ra, found.boresight.dec, boresight.ra, boresight.dec) < limit
    wcs, frame = world(found.cards), thumbnail_frame(vis, [], BINNING)
    for ccd, x, y in corners(vis, ccds):
        truth = geometry.sky_of(ccd, x, y, boresight)
        assert arcsec(*wcs.all_pix2world(*frame.to_picture(x, y), 1), *truth) < limit


ALL = "all"
CASES = {
    "all CCDs": (ALL, 1.0),
    "four in the centre": (("3-3", "3-4", "4-3", "4-4"), 1.0),
    "corners": (("1-1", "1-2", "6-5", "6-6"), 1.0),
    "two": (("3-3", "3-4"), 1.0),
}


@solver
@pytest.mark.parametrize("case", CASES)
def test_simulated_exposures_solve(vis, sky, cache, case):
    ccds, limit = CASES[case]
    ccds = vis.ccds if ccds == ALL else ccds
    stars, geometry = simulated(vis, sky, ccds)
    frame = thumbnail_frame(vis, [], BINNING)
    position = (REAL.ra, REAL.dec)
    plate = PlateSettings(blind=False)
    found, index = solve_exposure(stars, EXPTIME, DATE, position, reference_of(sky, cache), frame, vis, plate)
    assert index == "reference"
    check(vis, found, ccds, geometry, REAL, limit)
    assert abs(compare(found.boresight, REAL).turn) < 0.05


@solver
def test_header_wrong_by_a_degree(vis, sky, cache):
    stars, geometry = simulated(vis, sky, vis.ccds, seed=2)
    frame = thumbnail_frame(vis, [], BINNING)
    wrong = (REAL.ra + 1.2, REAL.dec - 0.7)
    assert 0.9 < arcsec(*wrong, REAL.ra, REAL.dec) / 3600 < 1.1
    found, _ = solve_exposure(
        stars, EXPTIME, DATE, wrong, reference_of(sky, cache), frame, vis, PlateSettings(blind=False)
    )
    check(vis, found, vis.ccds, geometry, REAL)
    x, y = frame.to_picture(*(stars[name][brightest(stars, 200)] for name in ("X_WORLD", "Y_WORLD")))
    scales = (0.9 * frame.pixel_scale, 1.1 * frame.pixel_scale)
    index = max(cache.glob("*.fits"), key=lambda path: path.stat().st_mtime_ns)
    anywhere = solve(StarField(x, y, frame.width, frame.height, scales), [index], None, Deadline(30))
    assert arcsec(*(anywhere.header[n] for n in ("CRVAL1", "CRVAL2")), REAL.ra, REAL.dec) < 200
    with pytest.raises(NotSolvedError, match="no match"):
        solve_exposure(
            stars,
            EXPTIME,
            DATE,
            (REAL.ra, REAL.dec + 20),
            reference_of(sky, cache),
            frame,
            vis,
            PlateSettings(blind=False),
        )


@solver
def test_the_real_exposure(vis, reference, tmp_path):
    stars = read_stars2(next((reference / "vis_20240713").glob("*_stars2.cat")))
    names = {"RA": "ra", "DEC": "dec", "G": "phot_g_mean_mag"}
    table = np.genfromtxt(
        reference / "vis_geometry" / "gaia_dr3_field_reconstructed.csv", delimiter=",", names=True
    )
    gaia = {new: table[old] for new, old in names.items()}
    gaia |= {name: np.full(len(table), np.nan) for name in ("PMRA", "PMDEC")}
    frame = thumbnail_frame(vis, [], BINNING)
    known = ReferenceStars(lambda: gaia, "", tmp_path)
    found, _ = solve_exposure(stars, EXPTIME, None, (REAL.ra, REAL.dec), known, frame, vis, PlateSettings())
    difference = compare(found.boresight, REAL)
    assert max(abs(difference.east), abs(difference.north)) < 0.1
    assert abs(difference.turn) < 0.001
    assert found.n > 180
    assert found.rms < 0.5
    # Against the original's solution: its picture has pixels of 24.9 px, the focal plane's origin at (600.9, 577.1).
    path = next((reference / "vis_20240713").glob("*.wcs"))
    x, y = (v.ravel() for v in np.meshgrid(*(2 * [np.linspace(-0.3, 0.3, 7)])))
    theirs = world(dict(fits.getheader(path).items())).all_pix2world(
        600.908 + 1445.85 * x, 577.057 - 1445.95 * y, 1
    )
    ours = world(found.cards).all_pix2world(*frame.to_picture(x, y), 1)
    assert np.sqrt((arcsec(*theirs, *ours) ** 2).mean()) < 0.9


# The command


def tables(tmp_path, vis, sky, stars, gaia=True):
    n = len(stars["X_WORLD"])
    columns = STARS.empty()
    columns = {name: np.zeros(n, values.dtype) for name, values in columns.items()} | stars
    path = tmp_path / "odd $(touch oops); 'name' &_stars2.parquet"
    write_table(path, columns, STARS, meta={"exptime": EXPTIME, "date_obs": DATE.isoformat()})
    tile = tmp_path / "tile with blanks.parquet"
    write_table(tile, sky[0], GAIA_TILE)
    return path, tile


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@solver
def test_command(tmp_path, vis, sky, monkeypatch):
    stars, geometry = simulated(vis, sky, vis.ccds)
    path, tile = tables(tmp_path, vis, sky, stars)
    odd = tmp_path / "temporary; 'folder' $HOME"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    out = tmp_path / "E.wcs"
    arguments = (
        path,
        "--ra",
        REAL.ra,
        "--dec",
        REAL.dec,
        "--tiles",
        tile,
        "--cache",
        tmp_path / "c",
        "-o",
        out,
    )
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    header = fits.getheader(out)
    assert header["NAXIS"] == 0
    assert header["STATUS"] == "solved"
    assert (header["IMAGEW"], header["IMAGEH"]) == (1090, 1262)
    assert header["STAGE"] == "plate"
    found = read_plate(out)
    assert arcsec(found.ra, found.dec, REAL.ra, REAL.dec) < 1
    assert abs(found.pa - REAL.pa) < 0.01
    wcs = world(dict(header.items()))
    centre = thumbnail_frame(vis, [], BINNING).to_picture(0.3, 0.3)
    assert arcsec(*wcs.all_pix2world(*centre, 1), *geometry.sky_of("5-5", 0.3, 0.3, REAL)) < 1
    assert not list(odd.iterdir())
    assert not list(tmp_path.rglob("oops"))
    (index,) = (tmp_path / "c").glob("*.fits")
    made = index.stat().st_mtime_ns
    first = out.read_bytes()
    assert run(*arguments).exit_code == 0
    assert index.stat().st_mtime_ns == made  # kept
    assert out.read_bytes() == first


def test_command_records_why_not(tmp_path, vis, sky, monkeypatch):
    stars, _ = simulated(vis, sky, ("3-3",))
    path, tile = tables(tmp_path, vis, sky, stars)
    out = tmp_path / "E.wcs"
    arguments = (path, "--ra", REAL.ra, "--dec", REAL.dec, "--tiles", tile, "-o", out)
    cached = ("--cache", tmp_path / "c")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    result = run(*arguments, *cached, "--record-failure")
    assert result.exit_code == 0, result.output
    assert fits.getheader(out)["STATUS"] == "not installed"
    assert "install" in read_plate(out).reason
    out.unlink()
    result = run(*arguments, *cached)
    assert result.exit_code == 1
    assert isinstance(result.exception, NotInstalledError)
    assert not read_plate(out).solved  # written all the same


@solver
def test_command_without_stars(tmp_path, vis, sky):
    nothing = {name: np.empty(0) for name in ("X_WORLD", "Y_WORLD", "FLUX_AUTO")}
    path, tile = tables(tmp_path, vis, sky, nothing)
    out = tmp_path / "E.wcs"
    result = run(
        path, "--ra", 1, "--dec", 2, "--tiles", tile, "--cache", tmp_path, "-o", out, "--record-failure"
    )
    assert result.exit_code == 0, result.output
    assert fits.getheader(out)["STATUS"] == "not solved"
    assert "0 stars" in read_plate(out).reason
    write_table(path, STARS.empty(), STARS, meta={"failed": "the frame was cut short"})
    assert run(path, "-o", out, "--record-failure").exit_code == 0
    assert fits.getheader(out)["STATUS"] == "failed"
    assert "cut short" in read_plate(out).reason
    assert run(path, "-o", out).exit_code == 1


def test_command_out_of_time(tmp_path, vis, sky, monkeypatch):
    stars, _ = simulated(vis, sky, ("3-3",))
    path, _ = tables(tmp_path, vis, sky, stars)
    program(tmp_path, "sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    config = tmp_path / "config.yaml"
    config.write_text("plate: {time_limit: 0.3 s}\n")
    out = tmp_path / "E.wcs"
    result = run(path, "-o", out, "--record-failure", "--config", config)
    assert result.exit_code == 0, result.output
    assert fits.getheader(out)["STATUS"] == "timed out"
    assert "longer than 0.3 s" in read_plate(out).reason


def test_index_is_built_once(tmp_path, monkeypatch):
    calls = []

    def build(_stars, path, _deadline):
        calls.append(path)
        path.write_bytes(b"index")

    monkeypatch.setattr(astrometry_net, "_build", build)
    for _ in range(2):
        astrometry_net.build_index({}, tmp_path / "new" / "i.fits", Deadline(5))
    assert len(calls) == 1
