"""The reference stars of a frame of the guide camera: where they are from, which are chosen, where they lie."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time
from numpy.testing import assert_allclose

from tests.guide_frames import COLUMNS, NAME, ROWS, camera_file, wcs_cards, write_frame
from tests.test_archives import DEC, RA, SKY, Handler, Services, says
from visql_lib.archives import files
from visql_lib.archives.errors import ArchiveError
from visql_lib.archives.tiles import tile_of, tiles_of
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.pointing import reference
from visql_lib.pipelines.pointing.frame import read_frame
from visql_lib.pipelines.pointing.reference import StarTiles, stars_on_frame
from visql_lib.pipelines.pointing.settings import ExposureSettings
from visql_lib.sky.header_wcs import MARGIN
from visql_lib.stores.gaia import has_failed, is_filled, tile_path
from visql_lib.tables.store import read_table

YEARS = (Time("2021-06-12T05:13:35", scale="utc").jyear) - 2016.0


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return load_instrument(camera_file(tmp_path_factory.mktemp("camera")))


@pytest.fixture(scope="module")
def frame(camera, tmp_path_factory):
    """A frame in the middle of the sky of the services."""
    path = tmp_path_factory.mktemp("frame") / NAME
    return read_frame(write_frame(path, wcs=wcs_cards(CRVAL1=RA, CRVAL2=DEC)), camera)


@pytest.fixture
def services(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.services = Services()
        server.services.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.services
        server.shutdown()
        thread.join()


def settings_for(services, tmp_path, pipeline="pointing", **gaia):
    asked = {"sources": ["vizier"], "vizier_url": f"{services.url}/vizier", "attempts": 1, "timeout": 5.0}
    asked |= {"store": str(tmp_path / "store"), "backoff": 0.01} | gaia
    return settings_from_mapping({"pipeline": pipeline, "results": str(tmp_path / pipeline), "gaia": asked})


def around(stars: StarTiles, frame):
    return stars.around(*frame.wcs.centre, frame.wcs.radius + MARGIN)


def a_sky(**columns):
    """Columns as a store has them: stars of G = 12 without motion where nothing else is said."""
    n = len(next(iter(columns.values())))
    usual = {"SOURCE_ID": np.arange(1, n + 1), "PMRA": np.zeros(n), "PMDEC": np.zeros(n)}
    usual |= {"G": np.full(n, 12.0), "BP_RP": np.ones(n)}
    return usual | {name: np.asarray(values) for name, values in columns.items()}


def at_pixels(frame, x, y, **columns):
    ra, dec = frame.wcs.to_sky(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    return a_sky(RA=ra, DEC=dec, **columns)


# --- which are chosen, and where they lie


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [(1, 11.22), (3, 12.66), (5, 13.33), (10, 14.24), (20, 15.16), (26, 15.5), (30, 15.5)],
)
def test_the_limit_follows_the_exposure_time(camera, frame, seconds, limit):
    g = np.array([limit - 0.01, limit + 0.01, np.nan, 8.0])
    stars = at_pixels(frame, [50.0, 60, 70, 80], [50.0, 60, 70, 80], G=g)
    found = stars_on_frame(stars, replace(frame, exptime=float(seconds)), camera, ExposureSettings())
    assert found.columns["SOURCE_ID"].tolist() == [4, 1]
    assert_allclose(found.all_x, [80.0, 50.0], atol=1e-3)


def test_short_exposures_have_a_limit_too(camera, frame):
    stars = at_pixels(frame, [50.0, 60], [50.0, 60], G=[9.99, 10.01])
    found = stars_on_frame(stars, replace(frame, exptime=0.01), camera, ExposureSettings())
    assert found.columns["SOURCE_ID"].tolist() == [1]


def test_only_stars_on_the_frame_are(camera, frame):
    """First the frame, then the brightest."""
    x = [0.01, -0.01, COLUMNS - 1.01, COLUMNS - 0.99, 100.0, 100.0, 100.0, 100.0, 200.0]
    y = [100.0, 100, 100, 100, 0.01, -0.01, ROWS - 1.01, ROWS - 0.99, 50.0]
    g = [12.1, 8.0, 12.2, 8.0, 12.3, 8.0, 12.4, 8.0, 12.5]
    stars = at_pixels(frame, x, y, G=g)
    every = stars_on_frame(stars, frame, camera, ExposureSettings())
    assert every.columns["SOURCE_ID"].tolist() == [1, 3, 5, 7, 9]
    assert_allclose((every.x, every.y), np.array([x, y])[:, ::2], atol=1e-3)
    few = stars_on_frame(stars, frame, camera, ExposureSettings(max_stars=2))
    assert few.columns["SOURCE_ID"].tolist() == [1, 3]
    assert_allclose((few.all_x, few.all_y), (every.x, every.y))
    assert_allclose(few.all_g, every.columns["G"])
    assert_allclose((few.all_x[few.own], few.all_y[few.own]), (few.x, few.y))


def test_equally_bright_stars_have_an_order(camera, frame):
    stars = at_pixels(frame, [50.0, 60, 70], [50.0, 60, 70], SOURCE_ID=np.array([7, 3, 5]))
    found = stars_on_frame(stars, frame, camera, ExposureSettings(max_stars=2))
    assert found.columns["SOURCE_ID"].tolist() == [3, 5]


def test_a_fast_star_is_moved_once_and_others_stay(camera, tmp_path):
    """6.4 arcsec a year in both axes, far from the equator: 4.9 px of 8.6 arcsec in all."""
    path = write_frame(tmp_path / NAME, wcs=wcs_cards(CRVAL1=0.02, CRVAL2=68.0))
    frame = read_frame(path, camera)
    stars = at_pixels(
        frame,
        [200.0, 100.0, 150.0, 120.0],
        [150.0, 80.0, 100.0, 60.0],
        PMRA=[6400.0, np.nan, 0.0, 6400.0],
        PMDEC=[6400.0, np.nan, 0.0, np.nan],
    )
    moved = stars_on_frame(stars, frame, camera, ExposureSettings())
    truth = SkyCoord(
        stars["RA"][0] * u.deg, stars["DEC"][0] * u.deg, pm_ra_cosdec=6.4 * u.arcsec / u.yr,
        pm_dec=6.4 * u.arcsec / u.yr, obstime=Time(2016.0, format="jyear"), distance=2 * u.pc,
    ).apply_space_motion(new_obstime=Time(frame.mjd, format="mjd"))  # fmt: skip
    expected = frame.wcs.to_pixel(truth.ra.deg, truth.dec.deg)
    assert_allclose((moved.x[0], moved.y[0]), expected, atol=0.01, rtol=0)
    step = 6.4 * YEARS / 8.6
    assert_allclose((moved.x[0] - 200, moved.y[0] - 150), (-step, step), atol=0.1)  # east is at the left
    assert_allclose((moved.x[1:], moved.y[1:]), [[100, 150, 120], [80, 100, 60]], atol=1e-3)
    assert moved.moved_by_pm.tolist() == [True, False, True, False]
    assert_allclose(moved.columns["RA"][0], truth.ra.deg, atol=1e-5)
    assert_allclose(moved.columns["DEC"][0], truth.dec.deg, atol=1e-5)
    assert_allclose(moved.columns["RA"][1:], stars["RA"][1:], atol=1e-12)
    again = stars_on_frame(stars, frame, camera, ExposureSettings())  # the tiles themselves did not move
    assert_allclose(again.x, moved.x)
    still = stars_on_frame(stars, frame, camera, ExposureSettings(proper_motions=False))
    assert_allclose((still.x, still.y), [[200, 100, 150, 120], [150, 80, 100, 60]], atol=1e-3)
    assert_allclose(still.columns["RA"], stars["RA"])
    assert still.moved_by_pm.tolist() == moved.moved_by_pm.tolist()  # whose motion is known
    undated = stars_on_frame(stars, replace(frame, mjd=float("nan"), start=None), camera, ExposureSettings())
    assert_allclose((undated.x, undated.y), (still.x, still.y))


def test_a_field_without_stars_is_empty(camera, frame):
    for stars in (
        at_pixels(frame, [], []),
        at_pixels(frame, [1000.0], [50.0]),
        at_pixels(frame, [50.0], [50.0], G=[18.0]),
    ):
        found = stars_on_frame(stars, frame, camera, ExposureSettings())
        assert len(found.x) == len(found.all_x) == len(found.own) == len(found.columns["G"]) == 0


# --- the store


def test_tiles_are_asked_for_once_and_stay(services, camera, frame, tmp_path):
    settings = settings_for(services, tmp_path)
    stars = StarTiles(settings)
    found = stars_on_frame(around(stars, frame), frame, camera, ExposureSettings(proper_motions=False))
    tiles = tiles_of(*frame.wcs.centre, frame.wcs.radius + MARGIN, settings.gaia.nside)
    assert len(services.queries) == len(tiles)
    x, y = frame.wcs.to_pixel(SKY["RA"], SKY["DEC"])
    on = (x > 0) & (x < COLUMNS - 1) & (y > 0) & (y < ROWS - 1) & (SKY["G"] <= camera.guide.faintest(20.0))
    assert 10 < on.sum() == len(found.x)
    assert set(found.columns["SOURCE_ID"]) == set(SKY["source_id"][on])
    around(stars, frame)
    around(StarTiles(settings), frame)  # another process, the same store
    assert len(services.queries) == len(tiles)
    for tile in tiles:
        tile_path(settings.gaia, settings.results, tile).unlink()
    assert len(around(stars, frame)["RA"])  # from memory


def test_a_store_keeps_both_limits_apart(services, frame, tmp_path):
    deep, shallow = settings_for(services, tmp_path, "vis"), settings_for(services, tmp_path)
    tile = int(tile_of(RA, DEC, 32))
    paths = [tile_path(s.gaia, s.results, tile) for s in (deep, shallow)]
    assert paths == [tmp_path / "store" / name / f"{tile}.parquet" for name in ("nside32", "nside32_G15.5")]
    around(StarTiles(shallow), frame)
    assert not paths[0].exists()
    reference.fill_tile(paths[0], tile, deep.gaia, deep.results)
    around(StarTiles(shallow), frame)
    assert is_filled(paths[0], tile, deep.gaia)
    assert is_filled(paths[1], tile, shallow.gaia)
    g = [read_table(path)["G"] for path in paths]
    assert 15.4 < g[1].max() < 15.5
    assert 20.5 < g[0].max() < 21
    assert np.array_equal(np.sort(g[0][g[0] < 15.5]), np.sort(g[1]))


def aged(folder, seconds):
    """Let everything in a store have been written so long ago."""
    past = time.time() - seconds
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (past, past))


def test_a_service_that_is_down_is_asked_again_later(services, frame, tmp_path):
    settings = settings_for(services, tmp_path, rest=600)
    stars = StarTiles(settings)
    services.script = [says("", 500)] * 3
    first = tiles_of(*frame.wcs.centre, frame.wcs.radius + MARGIN, 32)[0]
    path = tile_path(settings.gaia, settings.results, first)
    with pytest.raises(ArchiveError, match="no source has it; vizier"):
        around(stars, frame)
    assert len(services.queries) == 1
    assert has_failed(path, settings.gaia)
    for _ in range(3):
        with pytest.raises(ArchiveError, match=r"vizier: .*; asked again in \d+ s"):
            around(stars, frame)
    assert len(services.queries) == 1
    aged(tmp_path / "store", 700)
    with pytest.raises(ArchiveError, match="no source has it; vizier"):
        around(stars, frame)
    with pytest.raises(ArchiveError, match="asked again in"):  # counted from the second query
        around(stars, frame)
    assert len(services.queries) == 2
    aged(tmp_path / "store", 700)
    services.script = []
    assert len(around(stars, frame)["RA"]) > 100
    assert is_filled(path, first, settings.gaia)


def test_nobody_is_asked_if_that_is_not_wanted(services, frame, tmp_path):
    settings = settings_for(services, tmp_path)
    stars = StarTiles(settings)
    with pytest.raises(ArchiveError, match="is not in the store yet"):
        stars.around(*frame.wcs.centre, frame.wcs.radius, ask=False)
    with pytest.raises(ArchiveError, match=r"gaia\.sources names nobody to ask"):
        around(StarTiles(settings_for(services, tmp_path, sources=[])), frame)
    assert not services.queries
    assert not (tmp_path / "store").exists()
    around(stars, frame)
    found = StarTiles(settings).around(*frame.wcs.centre, frame.wcs.radius, ask=False)
    assert len(found["RA"]) > 100


def test_a_store_that_is_damaged_or_cannot_be_written(services, frame, tmp_path):
    """Such frames have no reference; the watch goes on."""
    settings = settings_for(services, tmp_path)
    around(StarTiles(settings), frame)
    for path in (tmp_path / "store").rglob("*.parquet"):
        whole = path.read_bytes()
        path.write_bytes(whole[:4] + b"?" * 3000 + whole[3004:])  # its end, with what it is, is whole
    with pytest.raises(ArchiveError, match="remove it, and it is asked for again"):
        around(StarTiles(settings), frame)
    (tmp_path / "file").write_text("in the way")
    settings = settings_for(services, tmp_path, store=str(tmp_path / "file" / "store"))
    with pytest.raises(ArchiveError, match=r"parquet: cannot be written \(Not a directory\)"):
        around(StarTiles(settings), frame)


# --- the user's own files


def chunk_folder(folder, tiles, *, epoch=2016.0, scheme="chunk", n=200):
    """Write files of one tile each, as those of the Legacy Surveys; numbers of the nested scheme."""
    from astropy_healpix import HEALPix

    rng = np.random.default_rng(5)
    folder.mkdir()
    for tile in tiles:
        lon, lat = HEALPix(32, order="nested").healpix_to_lonlat(
            np.full(n, tile), dx=rng.uniform(0.01, 0.99, n), dy=rng.uniform(0.01, 0.99, n)
        )
        Table({
            "source_id": tile * 1000 + np.arange(n), "ref_epoch": np.full(n, epoch), "ra": lon.deg,
            "dec": lat.deg, "pmra": np.full(n, 100.0), "pmdec": np.full(n, -200.0),
            "phot_g_mean_mag": rng.uniform(10, 20, n), "phot_bp_mean_mag": np.full(n, 15.0),
            "phot_rp_mean_mag": np.full(n, 14.0),
        }).write(folder / f"{scheme}-{tile:05d}.fits")  # fmt: skip
    return folder


def test_files_are_read_once_each(services, frame, tmp_path, monkeypatch):
    """Also if their numbers are of the other scheme than their names say."""
    settings = settings_for(services, tmp_path)
    tiles = tiles_of(200.0, 30.0, 5.0, 32)
    beside = tiles_of(200.0, 30.5, 5.0, 32)
    assert len(set(beside) - set(tiles)) == 2
    far = {*tiles_of(20.0, -30.0, 2.0, 32), *beside} - set(tiles)
    folder = chunk_folder(tmp_path / "files", [*tiles, *far])
    read, original = Counter(), files.read_fits

    def counted(path, *args, **options):
        read[path.name] += 1
        return original(path, *args, **options)

    monkeypatch.setattr(files, "read_fits", counted)
    stars = StarTiles(settings, folder)
    found = stars.around(200.0, 30.0, 5.0)
    assert set(found["SOURCE_ID"] // 1000) == set(tiles)
    assert found["G"].max() < 15.5
    for _ in range(3):
        assert stars.around(200.0, 30.0, 5.0) is found
    assert set(read.values()) == {1}
    assert {f"chunk-{tile:05d}.fits" for tile in tiles} <= set(read)
    assert len(read) <= len(tiles) + 1  # one showed which scheme it is
    assert set(stars.around(200.0, 30.5, 5.0)["SOURCE_ID"] // 1000) == set(beside)
    assert set(read.values()) == {1}  # only what is new
    assert not services.queries
    assert not (tmp_path / "store").exists()  # nothing of it is kept there


def test_a_table_of_all_stars_is_read_once(services, tmp_path, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    names = {"source_id": "source_id", "RA": "ra", "DEC": "dec", "G": "phot_g_mean_mag", "BP_RP": "bp_rp"}
    Table({new: SKY[old] for old, new in names.items()}).write(folder / "gaia.fits")
    read, original = Counter(), files.read_fits

    def counted(path, *args, **options):
        read[path.name] += 1
        return original(path, *args, **options)

    monkeypatch.setattr(files, "read_fits", counted)
    found = StarTiles(settings_for(services, tmp_path, nside=256), folder).around(RA, DEC, 0.3)
    assert read == {"gaia.fits": 1}
    near = np.hypot((SKY["RA"] - RA) * np.cos(np.radians(DEC)), SKY["DEC"] - DEC) < 0.3
    assert set(SKY["source_id"][near & (SKY["G"] < 15.5)]) <= set(found["SOURCE_ID"])


def test_files_of_2015_are_moved_to_2016(services, tmp_path):
    tiles = tiles_of(200.0, 30.0, 0.5, 32)
    settings = settings_for(services, tmp_path)
    later = StarTiles(settings, chunk_folder(tmp_path / "dr3", tiles)).around(200.0, 30.0, 0.5)
    earlier = chunk_folder(tmp_path / "dr2", tiles, epoch=2015.5)
    moved = StarTiles(settings, earlier).around(200.0, 30.0, 0.5)
    assert np.array_equal(moved["SOURCE_ID"], later["SOURCE_ID"])
    assert_allclose((moved["DEC"] - later["DEC"]) * 3.6e6, -100.0, atol=0.01)
    cos = np.cos(np.radians(later["DEC"]))
    assert_allclose((moved["RA"] - later["RA"]) * 3.6e6 * cos, 50.0, atol=0.01)
    with pytest.raises(ArchiveError, match=r"at epoch 2015, not at 2016\.0 or 2015\.5"):
        StarTiles(settings, chunk_folder(tmp_path / "dr1", tiles, epoch=2015.0)).around(200.0, 30.0, 0.5)


def test_files_that_do_not_cover_the_field(services, tmp_path, caplog):
    settings = settings_for(services, tmp_path)
    tiles = tiles_of(200.0, 30.0, 2.0, 32)
    folder = chunk_folder(tmp_path / "files", tiles[1:])
    stars = StarTiles(settings, folder)
    assert set(stars.around(200.0, 30.0, 2.0)["SOURCE_ID"] // 1000) == set(tiles[1:])
    assert f"does not cover 1 of {len(tiles)} tiles" in caplog.text
    with pytest.raises(ArchiveError, match=f"{folder}: has no stars there; name files that cover the field"):
        stars.around(20.0, -30.0, 2.0)
    chunk_folder(tmp_path / "more", tiles[:1])
    (tmp_path / "more" / f"chunk-{tiles[0]:05d}.fits").rename(folder / f"chunk-{tiles[0]:05d}.fits")
    assert set(stars.around(200.0, 30.0, 2.0)["SOURCE_ID"] // 1000) == set(tiles)  # since it is there now
    with pytest.raises(ArchiveError, match="no such folder"):
        StarTiles(settings, tmp_path / "none").around(200.0, 30.0, 2.0)


def test_memory_holds_the_last_fields_only(services, tmp_path, monkeypatch):
    fields = [(ra, tiles_of(ra, 30.0, 0.4, 32)) for ra in np.arange(0.0, 60.0, 5.0)]
    folder = chunk_folder(tmp_path / "files", sorted({tile for _, tiles in fields for tile in tiles}))
    monkeypatch.setattr(reference, "_MOST_STARS", 1000)
    stars = StarTiles(settings_for(services, tmp_path), folder)
    first = stars.around(0.0, 30.0, 0.4)
    for ra, tiles in fields:
        stars.around(ra, 30.0, 0.4)
        kept = sum(len(part["RA"]) for part in stars._tiles.values())
        assert kept <= max(1000, sum(len(stars._tiles[tile]["RA"]) for tile in tiles))
    again = stars.around(0.0, 30.0, 0.4)
    assert again is not first
    assert {name: values.tolist() for name, values in again.items()} == {
        name: values.tolist() for name, values in first.items()
    }
