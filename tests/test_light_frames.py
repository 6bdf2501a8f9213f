"""Frames of light curves: sky, sources, seeing, what becomes of bad ones, fringes; the commands that do it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from tests.light_frames import noisy, scattered, star_image, write_camera, write_raw
from visql_lib.ccd.fringes import fringe_map, fringe_scale, limited, pointings
from visql_lib.cli.lc_defringe import command as lc_defringe
from visql_lib.cli.lc_frame import command as lc_frame
from visql_lib.flags import SourceFlag
from visql_lib.images.fringe_file import read_fringes
from visql_lib.images.light_frame import bad_lines, read_light
from visql_lib.images.sky_file import read_sky, write_sky
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.stages.lc_defringe import remove_fringes
from visql_lib.psf.seeing import cosmic_sources, seeing_of, smooth_sources, width_of
from visql_lib.sources.frame_catalogue import frame_catalogue
from visql_lib.sources.sky_map import clipped_mean, measure_sky, mesh_for, source_mask
from visql_lib.tables import Table, read_table

SIDE, FWHM = 256, 4.0
SIGMAS = 2.3548


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(23)


# ---- sky


def test_sky_and_noise_are_found_under_stars_and_a_gradient(rng: np.random.Generator) -> None:
    x, y = scattered(rng, 30, SIDE)
    light = star_image(x, y, 10 ** rng.uniform(3, 5.7, 30))
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    sky = 800 * (1 + 0.1 * columns - 0.05 * rows)
    found = measure_sky(noisy(rng, light, sky))
    rms = np.sqrt(800 + 25)
    assert found.rms == pytest.approx(rms, rel=0.02)
    assert found.sky == pytest.approx(800, abs=0.06 * rms)
    off = (found.image() - sky) / rms
    assert abs(off).max() < 0.25
    assert abs(np.median(off)) < 0.05


def test_the_mean_of_few_photons_is_not_below_the_sky(rng: np.random.Generator) -> None:
    """The mode of a Poisson distribution of 4 lies half a photon below its mean."""
    found = measure_sky(rng.poisson(4.0, (SIDE, SIDE)).astype(np.float32))
    assert found.sky == pytest.approx(4.0, abs=0.08)
    assert found.rms == pytest.approx(2.0, rel=0.03)


def test_methods_of_the_sky(rng: np.random.Generator) -> None:
    data = noisy(rng, np.zeros((SIDE, SIDE)), 500.0)
    constant = measure_sky(data, method="constant")
    assert np.ptp(constant.image()) == 0
    assert constant.sky == pytest.approx(500, abs=1.5)
    none = measure_sky(data - 500, method="none")
    assert not none.image().any()
    assert none.rms == pytest.approx(np.sqrt(525), rel=0.02)
    assert (mesh_for((512, 512)), mesh_for((4000, 2000)), mesh_for((400, 600))) == (128, 256, 100)


def test_bad_pixels_do_not_touch_the_sky(rng: np.random.Generator) -> None:
    data = noisy(rng, np.zeros((SIDE, SIDE)), 500.0)
    bad = np.zeros(data.shape, bool)
    bad[:, 100:130] = True
    other = data.copy()
    other[bad] = 1e6
    one, two = measure_sky(data, bad), measure_sky(other, bad)
    assert one.rms == two.rms
    np.testing.assert_array_equal(one.nodes, two.nodes)
    other[bad] = np.nan
    np.testing.assert_array_equal(measure_sky(other).nodes, one.nodes)
    nothing = measure_sky(np.full((64, 64), np.nan, np.float32))
    assert np.isnan(nothing.sky)
    assert np.isnan(nothing.rms)


def test_the_clip_gives_its_tails_back(rng: np.random.Generator) -> None:
    values = rng.normal(7.0, 3.0, 200_000)
    values[:2000] += 500
    mean, sigma = clipped_mean(values)
    assert mean == pytest.approx(7.0, abs=0.03)
    assert sigma == pytest.approx(3.0, rel=0.005)
    assert np.isnan(clipped_mean(np.ones(1))).all()


def test_a_sky_is_read_as_it_was_written(tmp_path: Path, rng: np.random.Generator) -> None:
    sky = measure_sky(noisy(rng, np.zeros((SIDE, SIDE + 32)), 500.0))
    write_sky(tmp_path / "a.fits", sky, {"lc_frame": 1}, "a")
    again = read_sky(tmp_path / "a.fits")
    np.testing.assert_array_equal(again.image(), sky.image())
    assert (again.sky, again.rms, again.shape) == (sky.sky, sky.rms, sky.shape)


# ---- lines


def test_dead_columns_and_rows_are_found_and_no_others(rng: np.random.Generator) -> None:
    x, y = scattered(rng, 30, SIDE)
    data = noisy(rng, star_image(x, y, np.full(30, 1e6)), 600.0)
    assert not bad_lines(data).any()
    data[:, 77] = 0
    data[140, :] = 31.0
    data[:, 200] *= 0.5  # answers half
    data[:, 201] = np.nan
    found = bad_lines(data, np.isnan(data))
    assert set(np.flatnonzero(found.all(axis=0))) == {77, 200}
    assert list(np.flatnonzero(found.all(axis=1))) == [140]
    assert found.sum() == 2 * SIDE + SIDE - 2


def test_coarse_numbers_are_no_dead_lines(rng: np.random.Generator) -> None:
    assert not bad_lines(np.rint(rng.normal(0, 0.1, (SIDE, SIDE)))).any()
    assert not bad_lines(np.rint(rng.normal(0.5, 0.3, (SIDE, SIDE)))).any()


# ---- catalogue


def test_the_catalogue_is_in_electrons_with_places_and_errors(rng: np.random.Generator) -> None:
    n, repeats, sky = 25, 6, 700.0
    x, y = scattered(rng, n, SIDE)
    flux = 10 ** rng.uniform(4.0, 5.6, n)
    light = star_image(x, y, flux, fwhm=FWHM, beta=4.5)
    pulls, off = [], []
    for _ in range(repeats):
        data = noisy(rng, light, sky)
        bad = np.zeros(data.shape, bool)
        found, _ = frame_catalogue(data, bad, bad, measure_sky(data))
        assert list(found["NUMBER"]) == list(range(1, len(found["NUMBER"]) + 1))
        assert (np.diff(found["FLUX_AUTO"]) <= 0).all()
        for i in range(n):
            j = np.hypot(found["XWIN_IMAGE"] - 1 - x[i], found["YWIN_IMAGE"] - 1 - y[i]).argmin()
            dx, dy = found["XWIN_IMAGE"][j] - 1 - x[i], found["YWIN_IMAGE"][j] - 1 - y[i]
            sigma = FWHM / SIGMAS
            bound = sigma * np.sqrt(flux[i] + 8 * np.pi * sigma**2 * sky) / flux[i]  # of a Gaussian
            off.append((dx / bound, dy / bound))
            pulls.append((found["FLUX_AUTO"][j] - 0.97 * flux[i]) / found["FLUXERR_AUTO"][j])
            assert found["FLUX_AUTO"][j] == pytest.approx(flux[i], rel=0.15)
    places = np.array(off)
    assert abs(np.median(places, axis=0)).max() < 0.3  # one-based: half a pixel would be tens
    assert np.percentile(abs(places), 68) < 1.6
    assert abs(np.median(pulls)) < 3


def test_peaks_and_saturation(rng: np.random.Generator) -> None:
    x, y = np.array([60.0, 180.0]), np.array([64.0, 170.0])
    data = noisy(rng, star_image(x, y, np.array([3e5, 3e5])), 500.0)
    saturated = np.zeros(data.shape, bool)
    saturated[170, 180] = True
    data[170, 180] = 90_000
    found, _ = frame_catalogue(data, ~np.isfinite(data), saturated, measure_sky(data))
    assert sorted(found["PEAK"]) == pytest.approx([data[60:70, 55:66].max(), 90_000])
    flags = found["FLAGS"][np.argsort(found["PEAK"])]
    assert not flags[0] & SourceFlag.SATURATED
    assert flags[1] & SourceFlag.SATURATED


def test_a_masked_star_is_no_source(rng: np.random.Generator) -> None:
    x, y = np.array([60.0, 180.0]), np.array([64.0, 170.0])
    data = noisy(rng, star_image(x, y, np.array([3e5, 3e5])), 500.0)
    bad = np.zeros(data.shape, bool)
    bad[140:200, 150:210] = True
    data[bad] = np.nan
    found, _ = frame_catalogue(data, bad, np.zeros_like(bad), measure_sky(data, bad))
    assert len(found["NUMBER"]) == 1
    assert found["X_IMAGE"][0] == pytest.approx(61, abs=0.1)


# ---- seeing


def columns_of(
    fwhm: NDArray, flux: NDArray, ellipticity: float = 0.1, theta: float = 20.0
) -> dict[str, NDArray]:
    """Sources whose 2 sqrt(ln 2 (a^2 + b^2)) is `fwhm`."""
    ratio = 1 - ellipticity
    a = fwhm / (2 * np.sqrt(np.log(2) * (1 + ratio**2)))
    return {
        "FLUX_AUTO": flux,
        "A_IMAGE": a,
        "B_IMAGE": ratio * a,
        "THETA_IMAGE": np.full(len(fwhm), theta),
        "FLAGS": np.zeros(len(fwhm), np.int16),
        "FLUXERR_AUTO": np.full(len(fwhm), 0.01),  # S/N 100 and more for unit flux
    }


def test_the_width_is_that_of_the_issue() -> None:
    assert width_of(np.array([2.0]), np.array([1.0])) == pytest.approx(2 * np.sqrt(np.log(2) * 5))
    a = 3.0 / SIGMAS
    assert width_of(np.array([a]), np.array([a])) == pytest.approx(3.0, rel=1e-4)


def test_seeing_of_few_and_of_many_stars(rng: np.random.Generator) -> None:
    few = columns_of(np.array([3.0, 3.2, 9.0]), np.ones(3))
    seen = seeing_of(few, np.zeros(3, bool))
    assert (seen.fwhm, seen.n) == (pytest.approx(3.2), 3)
    many = columns_of(np.r_[rng.normal(4.0, 0.1, 40), rng.uniform(6, 30, 50)], np.ones(90))
    seen = seeing_of(many, np.zeros(90, bool))  # the median of all is 8
    assert seen.fwhm == pytest.approx(4.0, abs=0.1)
    assert 38 <= seen.n <= 42
    assert seen.ellipticity == pytest.approx(0.1)
    assert seen.angle == pytest.approx(20.0)


def test_faint_stars_do_not_make_a_frame_sharp(rng: np.random.Generator) -> None:
    """Isophotes at 5 sigma cut faint stars: 30 of 2.6 px do not count beside 8 bright ones of 4 px."""
    columns = columns_of(np.r_[rng.normal(4.0, 0.05, 8), rng.normal(2.6, 0.05, 30)], np.ones(38))
    columns["FLUXERR_AUTO"][8:] = 0.1
    assert seeing_of(columns, np.zeros(38, bool)).fwhm == pytest.approx(4.0, abs=0.1)
    columns["FLUXERR_AUTO"][:4] = 0.1  # fewer than five bright ones: all count
    assert seeing_of(columns, np.zeros(38, bool)).fwhm == pytest.approx(2.6, abs=0.1)


def test_the_angle_of_stars_along_y_is_not_the_mean_of_both_ends() -> None:
    columns = columns_of(np.full(4, 4.0), np.ones(4))
    columns["THETA_IMAGE"] = np.array([89.0, -89.0, 88.0, -88.0])
    assert abs(seeing_of(columns, np.zeros(4, bool)).angle) == pytest.approx(90.0, abs=0.1)


def test_flagged_sources_and_hits_make_no_seeing() -> None:
    columns = columns_of(np.array([3.0, 3.0, 8.0, 9.0]), np.ones(4))
    columns["FLAGS"] = np.array([0, 2, 3, 4], np.int16)
    assert seeing_of(columns, np.zeros(4, bool)).n == 2
    assert np.isnan(seeing_of(columns, np.ones(4, bool)).fwhm)


def test_sharp_and_long_sources_are_odd() -> None:
    columns = columns_of(np.r_[np.full(10, 5.0), 2.4, 2.6], np.r_[np.full(10, 9.0), 1.0, 1.0])
    smooth, peaks = np.ones(12, bool), np.full(12, 50.0)
    hits = cosmic_sources(columns, smooth, peaks)
    assert list(np.flatnonzero(hits.odd)) == [10]  # sharper than half of 5
    assert not hits.cosmic.any()  # but smooth: a faint star
    columns["B_IMAGE"][3] = 0.3 * columns["A_IMAGE"][3]
    smooth[10] = False
    assert list(np.flatnonzero(cosmic_sources(columns, smooth, peaks).cosmic)) == [3, 10]
    assert cosmic_sources(columns, np.zeros(12, bool), peaks).odd.all()


def hits_image(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Tracks of cosmic rays, one or two pixels wide."""
    image = np.zeros((SIDE, SIDE))
    for _ in range(n):
        x, y = rng.uniform(30, SIDE - 30, 2)
        angle, length = rng.uniform(0, np.pi), rng.integers(12, 26)
        for k in range(length):
            image[int(y + k * np.sin(angle)), int(x + k * np.cos(angle))] += rng.uniform(1500, 4000)
    return image


def test_the_hits_of_a_blank_frame_make_no_seeing(tmp_path: Path, rng: np.random.Generator) -> None:
    hits = hits_image(rng, 40)
    data = noisy(rng, np.zeros((SIDE, SIDE)), 60.0) + hits.astype(np.float32)
    camera = write_camera(tmp_path / "c.yaml")
    write_raw(tmp_path / "raw" / "blank.fits", data)
    table = measured(tmp_path, camera)
    assert table["STATUS"][0] == "no_stars"
    assert np.isnan(table["SEEING_PX"][0])
    assert table["N_SOURCES"][0] > 10


@pytest.mark.parametrize("fwhm", [2.2, 3.5, 7.0])
def test_hits_among_stars_do_not_sharpen_the_seeing(rng: np.random.Generator, fwhm: float) -> None:
    x, y = scattered(rng, 20, SIDE)
    light = star_image(x, y, 10 ** rng.uniform(4.3, 5.3, 20), fwhm=fwhm, beta=4.5)
    found = []
    for hits in (0, 40):
        data = noisy(rng, light, 300.0) + hits_image(rng, hits).astype(np.float32)
        sky = measure_sky(data)
        none = np.zeros(data.shape, bool)
        columns, residual = frame_catalogue(data, none, none, sky)
        smooth = smooth_sources(residual, columns["XWIN_IMAGE"] - 1, columns["YWIN_IMAGE"] - 1)
        hit = cosmic_sources(columns, smooth, (columns["PEAK"] - sky.sky) / sky.rms)
        found.append(seeing_of(columns, hit.odd).fwhm)
        if not hits:
            assert not hit.cosmic.any()
    assert 0.8 * fwhm < found[0] < 1.5 * fwhm  # second moments above an isophote
    assert found[1] == pytest.approx(found[0], rel=0.08)


# ---- the command


def write_target(folder: Path, camera: Path, more: str = "") -> Path:
    path = folder / "targets" / "T.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f"name: T\nra: 172.965\ndec: -12.5325\n"
        f"sets: {{R_c: {{camera: {camera}, raw: {folder / 'raw'}, filter: R{more}}}}}\n",
        encoding="utf-8",
    )
    return path


def run_frames(folder: Path, target: Path, *words: str) -> Result:
    raw = sorted(str(p) for p in (folder / "raw").iterdir())
    arguments = [*raw, "-o", str(folder / "frames"), "--target", str(target), *words]
    return CliRunner().invoke(lc_frame, arguments, standalone_mode=False)


def measured(folder: Path, camera: Path, more: str = "") -> Table:
    """Measure all frames of ``raw``; the table is written and read again."""
    result = run_frames(folder, write_target(folder, camera, more), "--table", str(folder / "c.parquet"))
    assert result.exception is None, result.output
    assert result.return_value == 0
    return read_table(folder / "c.parquet")


def field(rng: np.random.Generator) -> NDArray[np.float64]:
    x, y = scattered(rng, 15, SIDE)
    return star_image(x, y, 10 ** rng.uniform(4.3, 5.5, 15))


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory, rng: np.random.Generator) -> tuple[Path, Table]:
    """Frames of all kinds, measured in one run."""
    folder = tmp_path_factory.mktemp("season")
    camera, raw, light = write_camera(folder / "c.yaml"), folder / "raw", field(rng)
    good = noisy(rng, light, 400.0)
    write_raw(raw / "a_good.fits", good)
    write_raw(raw / "b_reads_ut.fits", noisy(rng, light, 400.0), {"DATE-OBS": "2012-03-14", "UT": "04:08:00"})
    write_raw(raw / "c_filter.fits", good, {"FILTER": "V"})
    write_raw(raw / "d_bias.fits", rng.normal(600, 9, (SIDE, SIDE)), {"IMAGETYP": "Bias", "EXPTIME": 0.0})
    write_raw(raw / "e_short.fits", good, {"EXPTIME": 2.0})
    write_raw(raw / "f_no_time.fits", good, {"DATE-OBS": None})
    write_raw(raw / "g_no_exptime.fits", good, {"EXPTIME": None})
    write_raw(raw / "h_no_gain.fits", good, {"GAIN": None})
    write_raw(raw / "i_gain_360.fits", good, {"GAIN": 360})
    write_raw(raw / "j_zeros.fits", np.zeros((SIDE, SIDE)))
    write_raw(raw / "k_constant.fits", np.full((SIDE, SIDE), 800.0))
    write_raw(raw / "l_saturated.fits", np.full((SIDE, SIDE), 2e5) - 1e5 * (rng.random((SIDE, SIDE)) < 0.2))
    write_raw(raw / "m_no_star.fits", noisy(rng, np.zeros((SIDE, SIDE)), 400.0))
    whole = write_raw(raw / "n_cut.fits", good).read_bytes()
    (raw / "n_cut.fits").write_bytes(whole[: len(whole) // 2])
    (raw / "o_gzip.fits.gz").write_bytes(gzip.compress(whole)[: len(whole) // 3])
    (raw / "p_empty.fits").write_bytes(b"")
    (raw / "q_text.fits").write_text("no frame", encoding="utf-8")
    fits.writeto(raw / "r_cube.fits", np.ones((3, 32, 32), np.float32))
    write_raw(raw / "s_future.fits", good, {"DATE-OBS": "2075-01-01T04:08:00"})
    all_nan = np.full((SIDE, SIDE), np.nan, np.float32)
    fits.writeto(
        raw / "t_nan.fits",
        all_nan,
        fits.Header({"EXPTIME": 90.0, "DATE-OBS": "2012-03-14T04:08:00", "GAIN": 1.0}),
    )
    return folder, measured(folder, camera, ", exptime: [60, 900]")


def row_of(table: Table, beginning: str) -> dict[str, Any]:
    i = next(i for i, name in enumerate(table["FRAME"]) if name.startswith(beginning))
    return {name: table[name][i] for name in table}


@pytest.mark.parametrize(
    ("frame", "status", "reason"),
    [
        ("c_", "left_out", "filter V, not R"),
        ("d_", "left_out", "is a BIAS"),
        ("e_", "left_out", "exposure time 2 s, not from 60 to 900 s"),
        ("f_", "unusable", "DATE-OBS"),
        ("g_", "unusable", "EXPTIME"),
        ("h_", "unusable", "EGAIN, GAIN"),
        ("i_", "unusable", "GAIN = 360"),
        ("j_", "failed", "all its pixels are 0"),
        ("k_", "failed", "all its pixels are 400"),
        ("l_", "failed", "saturated"),
        ("m_", "no_stars", "no source"),
        ("n_", "failed", "cannot be read"),
        ("o_", "failed", "cannot be read"),
        ("p_", "failed", "cannot be read"),
        ("q_", "failed", "cannot be read"),
        ("r_", "failed", "3 axes"),
        ("t_", "failed", "none of its pixels has a value"),
    ],
)
def test_what_becomes_of_bad_frames(season: tuple[Path, Table], frame: str, status: str, reason: str) -> None:
    row = row_of(season[1], frame)
    assert row["STATUS"] == status
    assert reason in row["REASON"]
    assert "Traceback" not in row["REASON"]
    decided = [d for d in from_meta(season[1].meta) if d.frame == row["FRAME"]]
    assert len(decided) == 1
    assert not decided[0].kept
    assert reason in decided[0].reason


def test_good_frames_have_all_columns(season: tuple[Path, Table], rng: np.random.Generator) -> None:
    row = row_of(season[1], "a_")
    assert (row["STATUS"], row["REASON"]) == ("ok", "")
    assert row["NIGHT"] == "20120313"
    assert row["MHJD"] == pytest.approx(56000.179504, abs=1e-5)
    assert row["BJD_TDB"] == pytest.approx(2456000.680286, abs=1e-5)
    assert row["AIRMASS"] == pytest.approx(1.0554, abs=1e-4)
    assert row["SKY"] == pytest.approx(400, abs=2)
    assert row["RMS"] == pytest.approx(np.sqrt(425 + 2**2 / 12), rel=0.03)
    assert row["SEEING"] == pytest.approx(0.2 * row["SEEING_PX"])
    assert row["SEEING_PX"] == pytest.approx(FWHM, rel=0.35)
    assert row["N_STARS"] >= 8
    assert (row["NX"], row["NY"], row["GAIN"]) == (SIDE, SIDE, 2.0)
    assert row_of(season[1], "b_")["MJD"] == row["MJD"]
    assert row["CHECKSUM"] != row_of(season[1], "b_")["CHECKSUM"]
    assert row["CHECKSUM"] == row_of(season[1], "e_")["CHECKSUM"]  # the same pixels again


def test_a_year_in_the_future_is_used_and_noted(season: tuple[Path, Table]) -> None:
    row = row_of(season[1], "s_")
    assert row["STATUS"] == "ok"
    assert "in the future" in row["REASON"]
    assert np.isfinite(row["BJD_TDB"])


def test_catalogues_hold_peaks_in_adu(season: tuple[Path, Table]) -> None:
    folder, _ = season
    catalogue = read_table(folder / "frames" / "a_good" / "a_good_cat.parquet")
    light = read_light(folder / "raw" / "a_good.fits", load_instrument(str(folder / "c.yaml")))
    assert catalogue["PEAK"].max() == pytest.approx(np.nanmax(light.data) / 2.0)
    assert not (folder / "frames" / "c_filter" / "c_filter_sky.fits").exists()
    assert len(read_table(folder / "frames" / "c_filter" / "c_filter_cat.parquet")["NUMBER"]) == 0


def test_frames_that_stand_are_left_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    camera, light = write_camera(tmp_path / "c.yaml"), field(rng)
    for name in ("a", "b"):
        write_raw(tmp_path / "raw" / f"{name}.fits", noisy(rng, light, 400.0))
    first = measured(tmp_path, camera)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "frames").rglob("*.*")}
    assert len(stamps) == 4
    write_raw(tmp_path / "raw" / "c.fits", noisy(rng, light, 400.0))
    again = measured(tmp_path, camera)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name][:2])
    assert all(p.stat().st_mtime_ns == t for p, t in stamps.items())
    write_raw(tmp_path / "raw" / "b.fits", noisy(rng, light, 500.0))
    assert measured(tmp_path, camera)["SKY"][1] == pytest.approx(500, abs=3)
    assert measured(tmp_path, camera)["SKY"][0] == first["SKY"][0]
    other = measured(tmp_path, camera, ", exptime: [1000, 2000]")  # the target's file counts, too
    assert list(other["STATUS"]) == ["left_out"] * 3
    assert not list((tmp_path / "frames").rglob("*_sky.fits"))


def test_without_a_table_the_exit_code_tells(season: tuple[Path, Table]) -> None:
    folder, _ = season
    target, out = folder / "targets" / "T.yaml", str(folder / "frames")
    for frame, code in (("a_good", 0), ("j_zeros", 1)):
        words = [str(folder / "raw" / f"{frame}.fits"), "-o", out, "--target", str(target)]
        assert CliRunner().invoke(lc_frame, words, standalone_mode=False).return_value == code
        words.append("--record-failure")
        assert CliRunner().invoke(lc_frame, words, standalone_mode=False).return_value == 0


def test_a_camera_alone_is_enough(tmp_path: Path, rng: np.random.Generator) -> None:
    camera = write_camera(tmp_path / "c.yaml")
    path = write_raw(tmp_path / "raw" / "a.fits", noisy(rng, field(rng), 400.0))
    words = [
        str(path),
        "-o",
        str(tmp_path / "o"),
        "--camera",
        str(camera),
        "--table",
        str(tmp_path / "c.parquet"),
    ]
    assert CliRunner().invoke(lc_frame, words, standalone_mode=False).return_value == 0
    row = row_of(read_table(tmp_path / "c.parquet"), "a")
    assert np.isnan(row["AIRMASS"])
    assert row["SUN_ALT"] == pytest.approx(-56.8, abs=0.05)
    assert row["STATUS"] == "ok"


def test_a_barycentric_header_is_not_converted_twice(tmp_path: Path, rng: np.random.Generator) -> None:
    """The same frame once by DATE-OBS, once by its BJD alone."""
    camera, data = write_camera(tmp_path / "c.yaml"), noisy(rng, field(rng), 400.0)
    write_raw(tmp_path / "raw" / "a.fits", data)
    write_raw(tmp_path / "raw" / "b.fits", data, {"DATE-OBS": None, "BJD_TDB": 2456000.680286})
    table = measured(tmp_path, camera)
    for name, tolerance in (("BJD_TDB", 1e-6), ("MJD", 1e-6), ("MHJD", 1e-6), ("SUN_ALT", 1e-3)):
        assert table[name][1] == pytest.approx(table[name][0], abs=tolerance)
    assert table["BJD_TDB"][1] == 2456000.680286


# ---- fringes


def fringes_of(side: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:side, :side]
    return np.asarray(12 * np.sin(columns / 7 + 2 * np.sin(rows / 40)))


def dithered(rng: np.random.Generator, n: int, step: float) -> list[NDArray[np.float64]]:
    x, y = scattered(rng, 12, SIDE, 30.0)
    flux = 10 ** rng.uniform(4.3, 5.3, 12)
    return [star_image(x + step * (k % 3), y + step * (k // 3), flux) for k in range(n)]


def defringed(folder: Path, rng: np.random.Generator, n: int, step: float) -> tuple[Path, Result, list[Path]]:
    camera = write_camera(folder / "c.yaml")
    paths = []
    for k, light in enumerate(dithered(rng, n, step)):
        strength = 0.7 + 0.1 * k
        sky = 400 + strength * fringes_of(SIDE)
        paths.append(write_raw(folder / "raw" / f"f{k}.fits", noisy(rng, light, sky)))
    measured(folder, camera)
    words = [str(folder / "c.parquet"), "-o", str(folder / "fringes.fits"), "--camera", str(camera)]
    words += ["--frames", str(folder / "frames")]
    result = CliRunner().invoke(lc_defringe, words, standalone_mode=False)
    return camera, result, paths


def test_fringes_are_mapped_and_taken_off(tmp_path: Path, rng: np.random.Generator) -> None:
    camera, result, paths = defringed(tmp_path, rng, 7, 20.0)
    assert result.exception is None
    found = read_fringes(tmp_path / "fringes.fits")
    assert found is not None
    true = fringes_of(SIDE)
    inner = (slice(20, -20), slice(20, -20))
    assert np.corrcoef(found[inner].ravel(), true[inner].ravel())[0, 1] > 0.6  # noise of seven frames
    instrument = load_instrument(str(camera))
    scales = []
    for k, path in enumerate(paths):
        light = read_light(path, instrument)
        sky = read_sky(tmp_path / "frames" / f"f{k}" / f"f{k}_sky.fits")
        catalogue = read_table(tmp_path / "frames" / f"f{k}" / f"f{k}_cat.parquet")
        mask = light.unusable | source_mask(catalogue, light.shape, sky.rms)
        before = fringe_scale(light.data - sky.image(), mask, true)
        scales.append(remove_fringes(light, sky, catalogue, found))
        left = fringe_scale(light.data - sky.image(), mask, true)
        assert before == pytest.approx(0.7 + 0.1 * k, abs=0.08)
        assert abs(left) < 0.1 * before
    assert (np.diff(scales) > 0).all()  # as strong as they were made


def test_kicked_frames_are_in_no_fringe_map(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of six frames of different pointing two are left out by the user: four are too few."""
    camera, _, _ = defringed(tmp_path, rng, 6, 20.0)
    (tmp_path / "kick.txt").write_text("f1 satellite\nf4 clouds\n", encoding="utf-8")
    target = write_target(tmp_path, camera)
    target.write_text(
        target.read_text(encoding="utf-8") + f"kick: {tmp_path / 'kick.txt'}\n", encoding="utf-8"
    )
    for more, there in ((["--camera", str(camera)], True), (["--target", str(target)], False)):
        words = [str(tmp_path / "c.parquet"), "-o", str(tmp_path / "f.fits"), *more]
        words += ["--frames", str(tmp_path / "frames")]
        CliRunner().invoke(lc_defringe, words, standalone_mode=False)
        assert (read_fringes(tmp_path / "f.fits") is not None) == there


def test_frames_of_one_pointing_make_no_fringe_map(tmp_path: Path, rng: np.random.Generator) -> None:
    _, result, _ = defringed(tmp_path, rng, 6, 0.3)
    assert result.exception is None
    assert read_fringes(tmp_path / "fringes.fits") is None
    assert (
        "1 frames of different pointing, 5 are needed" in fits.getheader(tmp_path / "fringes.fits")["REASON"]
    )


def test_pieces_of_defringing(rng: np.random.Generator) -> None:
    true = fringes_of(128)
    frames = [
        limited(k * true + rng.normal(0, 3, true.shape), np.zeros(true.shape, bool)) for k in (1, 2, 3, 1, 2)
    ]
    found = fringe_map(frames)
    mask = np.zeros(true.shape, bool)
    assert fringe_scale(2 * found + 7.0, mask, found) == pytest.approx(2.0)  # a constant does not matter
    spoiled = 2 * found + 7.0
    spoiled[40:60, 40:60], mask[40:60, 40:60] = 1e5, True
    assert fringe_scale(spoiled, mask, found) == pytest.approx(2.0)
    x, y = scattered(rng, 20, 256)
    shifted = [(x + dx, y) for dx in (0.0, 1.0, 20.0, 21.0, 60.0)]
    assert pointings(shifted, 5.0) == 3


# ---- real frames


def test_real_frames_of_a_transit(reference: Path, tmp_path: Path) -> None:
    """Every 13th frame; their NOTES tell FWHM 2.9 to 3.4 px by a fit, and a drift of 140 px."""
    real = reference / "lightcurves" / "oscaar_tres1"
    if not real.is_dir():
        pytest.skip(f"no real frames: {real} is absent")
    words = [
        *sorted(str(p) for p in real.glob("*.fz"))[::13],
        "-o",
        str(tmp_path / "o"),
        "--camera",
        "generic",
    ]
    result = CliRunner().invoke(
        lc_frame, [*words, "--table", str(tmp_path / "c.parquet")], standalone_mode=False
    )
    assert result.return_value == 0
    table = read_table(tmp_path / "c.parquet")
    assert table["STATUS"][0] == "left_out"  # the dark
    assert (table["STATUS"][1:] == "ok").all()
    assert ((table["SEEING_PX"][1:] > 2.2) & (table["SEEING_PX"][1:] < 3.4)).all()
    assert (table["N_STARS"][1:] > 50).all()
    assert (np.diff(table["MJD"][1:]) > 0).all()
    assert table["GAIN"][1] == pytest.approx(0.78)


def test_a_bright_star_is_no_bad_line() -> None:
    """In a small frame its wings lift many lines, but smoothly; lines that step are found beside it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:180, :200]
    data = rng.normal(700, 25, x.shape)
    data += 6e6 * 1.5 / (np.pi * 25) * (1 + ((x - 90) ** 2 + (y - 70) ** 2) / 25) ** -2.5
    assert not bad_lines(data).any()
    data[:, 40:43], data[:, :2] = 100, 0
    data[:, 150] += 60
    found = bad_lines(data)
    assert list(np.flatnonzero(found.all(axis=0))) == [0, 1, 40, 41, 42, 150]
    assert not found.all(axis=1).any()
