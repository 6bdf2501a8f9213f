"""`visql pointing`: each option does what it says; the environment speaks where no setting does; told first."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from tests.redis_server import RedisServer
from tests.small_guide_night import ROOT, GuideFolder, guide_night
from visql_lib.cli import pointing
from visql_lib.config.load import read_yaml
from visql_lib.errors import VisqlError
from visql_lib.pipelines import settings_from_mapping

STREAK = 2
VARIABLES = ("PC_GAIA_DIR", "POINTING_CAMERA_META", "PC_RAW_DATA_DIR")
SERVER = ("REDISHOST", "REDISPORT", "REDISDBNUM", "REDISKEY", "REDISKEY_TCS")


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> GuideFolder:
    """A simulated night with masters."""
    return guide_night(tmp_path_factory.mktemp("night"), frames=2, slews=[], domes=[], clouds=[])


@pytest.fixture(autouse=True)
def place(night: GuideFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(night.path)
    for name in (*VARIABLES, *SERVER):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(tmp_path, monkeypatch):
    made = RedisServer(tmp_path)
    monkeypatch.setenv("REDISHOST", "127.0.0.1")
    monkeypatch.setenv("REDISPORT", str(made.port))
    monkeypatch.setenv("REDISKEY", "camera")
    yield made
    made.kill()


def measure(frame: Path, *words: str | Path, usual: bool = True) -> str:
    """Measure a frame; return what is said. Errors are raised."""
    given = [frame, "-i", "camera.yaml", *words]
    given += ["--calibration", "masters", "--gaia", "gaia"] if usual else []
    done = CliRunner().invoke(pointing.command, [str(w) for w in given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def changed_copy(night: GuideFolder, folder: Path, **cards: object) -> Path:
    """Copy the first frame with its WCS, with other cards."""
    for ending in (".fits", ".wcs"):
        shutil.copy(night.raws()[0].with_suffix(ending), folder)
    frame = folder / night.raws()[0].name
    with fits.open(frame, mode="update") as hdus:
        hdus[0].header.update(cards)
    return frame


def table(folder: Path, name: str = "ZEROPOINTS", ending: str = "summary") -> fits.FITS_rec:
    (path,) = folder.rglob(f"*-{ending}.fits")
    with fits.open(path, memmap=False) as hdus:
        return hdus[name].data.copy()


def endings(folder: Path) -> set[str]:
    return {path.name.rpartition("-")[2] for path in folder.rglob("*") if path.is_file()}


def test_without_options_all_that_is_off_is_off(night: GuideFolder, tmp_path: Path) -> None:
    measure(night.raws()[STREAK - 1], "-o", tmp_path / "a")
    names = {"summary.fits", "streaks.fits", "thumbnail.fits", "detrended.fits", "zp.png"}
    assert endings(tmp_path / "a") == names
    assert len(table(tmp_path / "a")) == 42
    assert set(table(tmp_path / "a")["max_zp_radius"]) == {99999.0}
    assert len(table(tmp_path / "a", "STREAKS", "streaks")) == 0  # none was looked for
    measure(night.raws()[STREAK - 1], "-o", tmp_path / "b", "--detect-streaks", "--pm-corr", "--bg-sigclip")
    assert len(table(tmp_path / "b", "STREAKS", "streaks")) == 1
    plain, more = (table(tmp_path / name, "CATALOG") for name in "ab")
    assert not np.array_equal(plain["RA"], more["RA"])
    assert not np.array_equal(plain["sky_annulus_median"], more["sky_annulus_median"])


def test_names_of_options_may_have_underscores(night: GuideFolder, tmp_path: Path) -> None:
    options = ("--one_aper", "--nightly_subdir", "--skip_checkplot", "--dont_write_detrended")
    more = (
        "--skip_flatfield",
        "--max_n_stars=60",
        "--max_zp_radius",
        "100",
        "--plot_quiver",
        "--plot_streaks",
    )
    measure(night.raws()[0], "--outdir", tmp_path, *options, *more)
    names = {"summary.fits", "streaks.fits", "thumbnail.fits", "quiver.png", "detrended.png"}
    assert endings(tmp_path / "20210611") == names == endings(tmp_path)
    rows, stars = table(tmp_path), table(tmp_path, "CATALOG")
    assert list(rows["quadrant"]) == [0, 1, 2, 3, 4, 0]
    assert list(rows["science_fov_only"]) == [False] * 5 + [True]
    assert set(rows["max_zp_radius"]) == {100.0}
    assert len(stars) == 60
    assert np.array_equal(stars["radius_too_large"], stars["radius_pix"] > 100)
    assert 0 < rows["n_sources_for_zp"][0] <= np.count_nonzero(~stars["radius_too_large"])
    assert np.isfinite(table(tmp_path, "SKY")["sky_mag_arcsec2"]).all()


@pytest.mark.parametrize("options", [(), ("--one-aper",)])
def test_it_is_told_before_any_file(night: GuideFolder, server: RedisServer, tmp_path: Path, options) -> None:
    """Also where no file can be written, or none is to be; the port is that of the environment."""
    measure(night.raws()[0], "--send-redis", *options)
    told = server.hash("camera")
    assert len(told) == 21
    assert float(told["zp_adu_per_s_desi"]) > 0
    with server.client() as client:
        client.delete("camera")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        measure(night.raws()[0], "--send-redis", "-o", tmp_path / "file" / "out", *options)
    assert server.hash("camera") == told
    measure(night.raws()[0], "--send-redis", "--sci-inst-name", "other", "-o", tmp_path / "out", *options)
    assert server.hash("camera")["zp_adu_per_s_other"] == told["zp_adu_per_s_desi"]
    rows = table(tmp_path / "out")
    one = (rows["quadrant"] == 0) & (rows["aper_ind"] == (0 if options else 1)) & rows["science_fov_only"]
    assert told["zp_adu_per_s_desi"] == repr(float(rows["zp_adu_per_s"][one][0]))


def test_a_frame_while_the_telescope_moves(night: GuideFolder, server: RedisServer, tmp_path: Path) -> None:
    frame = changed_copy(night, tmp_path, ZPFLAG=1)
    said = measure(frame, "--check-tcs-motion", "--send-redis", "-o", tmp_path / "a")
    assert "moved" in said
    assert not endings(tmp_path / "a")
    assert not server.hash("camera")
    measure(frame, "-o", tmp_path / "b")
    assert len(table(tmp_path / "b")) == 42
    fits.delval(frame, "ZPFLAG")
    assert "zero point" in measure(frame, "--check-tcs-motion")


def test_no_time_for_streaks(night: GuideFolder, server: RedisServer, tmp_path: Path) -> None:
    options = ("--detect-streaks", "--streak-time-limit", "0", "--send-redis")
    measure(night.raws()[STREAK - 1], "-o", tmp_path / "out", *options)
    assert len(server.hash("camera")) == 21
    (path,) = (tmp_path / "out").glob("*-streaks.fits")
    assert fits.getheader(path)["TIMEDOUT"]
    assert len(table(tmp_path / "out")) == 42
    assert endings(tmp_path / "out") >= {"summary.fits", "streaks.fits", "zp.png"}
    assert not [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(path.name[:20])]


def test_the_environment_speaks_where_no_setting_and_no_option_does(
    night: GuideFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = night.raws()[0]
    monkeypatch.setenv("PC_GAIA_DIR", "gaia")
    monkeypatch.setenv("POINTING_CAMERA_META", "masters")
    said = measure(frame, "-o", tmp_path / "a", usual=False)
    assert "zero point 1" in said
    assert not (night.path / "results").exists()  # without settings there is no store
    monkeypatch.setenv("PC_GAIA_DIR", "nowhere")
    monkeypatch.setenv("POINTING_CAMERA_META", "nowhere")
    assert "zero point 1" in measure(frame)
    assert "zero point 1" in measure(frame, "--config", "settings.yaml", usual=False)
    shutil.rmtree(night.path / "results")
    with pytest.raises(VisqlError, match=r"nowhere: no pc_master_bias\.fits"):
        measure(frame, usual=False)


def test_the_environment_speaks_of_nights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PC_RAW_DATA_DIR", "/frames")
    monkeypatch.setenv("PC_GAIA_DIR", "/stars")
    usual = read_yaml(ROOT / "config" / "pointing.yaml")
    found = settings_from_mapping(usual)
    assert (found.raw, found.gaia.sources, found.gaia.folder) == (("/frames",), ("folder",), "/stars")
    found = settings_from_mapping(usual | {"gaia": {"nside": 16}})
    assert (found.gaia.nside, found.gaia.folder) == (16, "/stars")
    found = settings_from_mapping(usual | {"raw": "raw", "gaia": {"sources": ["tap"]}})
    assert (found.raw, found.gaia.sources, found.gaia.folder) == (("raw",), ("tap",), "")
    assert "masters" not in usual  # else POINTING_CAMERA_META would never speak


def test_packed_frames_give_the_same(night: GuideFolder, tmp_path: Path) -> None:
    frame = night.raws()[0]
    plain = measure(frame)
    shutil.copy(frame.with_suffix(".wcs"), tmp_path)
    (tmp_path / f"{frame.name}.gz").write_bytes(gzip.compress(frame.read_bytes()))
    pixels, header = fits.getdata(frame), fits.getheader(frame)
    packed = fits.CompImageHDU(pixels, header, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / f"{frame.name}.fz")
    for ending in (".gz", ".fz"):
        assert measure(tmp_path / f"{frame.name}{ending}") == plain


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ({"EXPOSURE": 0}, "EXPOSURE = 0"),
        ({"EXPOSURE": 45000}, "EXPOSURE = 45000"),
        ({"DATE": "soon"}, "DATE = 'soon'"),
    ],
)
def test_a_frame_that_cannot_be_is_a_line(night: GuideFolder, server, tmp_path: Path, cards, said) -> None:
    frame = changed_copy(night, tmp_path, **cards)
    told = night.run(
        *("visql", "pointing", frame, "-i", "camera.yaml", "--calibration", "masters"),
        *("--gaia", "gaia", "--send-redis", "-o", tmp_path / "out"),
        code=1,
    )
    assert len(told.strip().splitlines()) == 1
    assert f"{frame}: {said}" in told
    assert not server.hash("camera")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "said"), [(16383, "most pixels are saturated"), (0, "the same value")])
def test_a_frame_that_shows_nothing(night: GuideFolder, tmp_path: Path, value: int, said: str) -> None:
    """Measured as far as it goes: what the masters leave on it is no wrong WCS, and no streak."""
    shutil.copytree(night.path / "masters", tmp_path / "masters")
    with fits.open(tmp_path / "masters" / "pc_master_bias.fits", mode="update") as hdus:
        rows, columns = np.indices(hdus[0].shape)
        hdus[0].data[np.abs(rows - columns / 2 - 40) < 1] -= 200
        hdus[0].data[::9, ::9] -= 200
    frame = changed_copy(night, tmp_path)
    with fits.open(frame, mode="update") as hdus:
        hdus[0].data[:] = value
    masters = ("--calibration", tmp_path / "masters", "--gaia", "gaia")
    told = measure(frame, "-o", tmp_path / "out", "--detect-streaks", *masters, usual=False)
    assert said in told
    rows = table(tmp_path / "out")
    assert (len(rows), rows["n_sources_for_zp"].max()) == (42, 0)
    assert np.isfinite(table(tmp_path / "out", "SKY")["median_adu"][0])
    assert len(table(tmp_path / "out", "STREAKS", "streaks")) == 0


@pytest.mark.slow
def test_compiling_does_not_count_for_the_time_limit_of_streaks(night: GuideFolder, tmp_path: Path) -> None:
    """As in the first exposure after the installation."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
        night.run(
            *("visql", "pointing", night.raws()[STREAK - 1], "-i", "camera.yaml", "-o", tmp_path / "out"),
            *("--calibration", "masters", "--gaia", "gaia", "--detect-streaks", "--streak-time-limit", "4"),
        )
    assert list((tmp_path / "cache").rglob("*.nbi"))
    assert len(table(tmp_path / "out", "STREAKS", "streaks")) == 1


def test_a_warm_worker_compiles_nothing_more(night: GuideFolder) -> None:
    code = """
import sys
from pathlib import Path
from visql_lib.config.load import read_yaml
from visql_lib.photometry import aperture_kernels, sky_kernels
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.pointing.exposure import Worker
def compiled():
    functions = [f for m in (aperture_kernels, sky_kernels) for f in vars(m).values() if hasattr(f, "signatures")]
    return {f.__name__: f.signatures for f in functions}
worker = Worker(settings_from_mapping(read_yaml(Path("settings.yaml"))))
assert not any(compiled().values())
worker.warm_up()
before = compiled()
assert any(before.values())
assert worker.measure(Path(sys.argv[1])).status == "ok"
assert compiled() == before
"""
    frame = str(night.raws()[0])
    done = subprocess.run([sys.executable, "-c", code, frame], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_memory_that_is_free_is_given_back() -> None:
    """Between two arrays that stay, too."""
    code = """
import ctypes, sys
if not hasattr(ctypes.CDLL(None), "mallopt"): sys.exit(0)
from visql_lib.cli.pointing_common import give_back_memory
import numpy as np
def used(): return int(open("/proc/self/statm").read().split()[1]) * 4096
give_back_memory()
n = 8_000_000
for _ in range(2): first, stays = np.ones(n, np.float32), np.ones(n, np.float32)
before = used()
del first
assert before - used() > 3 * n, (before, used())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
