"""The visql command as a person meets it: help, exit codes, wrong usage, real files."""

import gc
import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from visql_lib import __version__
from visql_lib.cli import COMMANDS, cli, main
from visql_lib.errors import TableError
from visql_lib.flags import QuadrantFlag, SelectionFlag
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages import stars
from visql_lib.products.context import Context
from visql_lib.tables import CATALOGUE, STARS, read_facts, read_meta, read_table, write_table
from visql_lib.tables.metadata import StarMetadata


def visql(*arguments, cwd=None):
    """Run visql in a process of its own."""
    command = [sys.executable, "-c", "from visql_lib.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def visql_here(*arguments, cwd="."):
    """Run visql in this process, to be quick; what it says and how it ends are the same."""
    command = ["visql", *map(str, arguments)]
    garbage, code = gc.get_threshold(), 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err, chdir(cwd):
        try:
            with patch.object(sys, "argv", command), patch.dict(os.environ):
                main()
        except SystemExit as end:
            code = end.code
    gc.set_threshold(*garbage)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Settings for the toy camera."""
    path = tmp_path_factory.mktemp("config") / "toy.yaml"
    path.write_text(f"instrument: {__file__.rsplit('/', 1)[0]}/toy_camera.yaml\n")
    return path


@pytest.fixture(scope="module")
def long_frame(toy_raw):
    return sorted(toy_raw.glob("*.fits"))[3]


@pytest.fixture(scope="module")
def chain(long_frame, config, tmp_path_factory):
    """The steps of one exposure, by hand, in a folder."""
    folder = tmp_path_factory.mktemp("chain")
    steps = [
        (
            "catalog",
            long_frame,
            "-o",
            "E.cat.parquet",
            "--quadrants",
            "E_quadrants.parquet",
            "--previews",
            "E",
        ),
        ("stars", "E.cat.parquet", "-o", "E_stars2.parquet"),
        (
            "moments",
            long_frame,
            "E_stars2.parquet",
            "-o",
            "E_stars2_mom.parquet",
            "--stamps",
            "E_stamps.parquet",
        ),
        (
            "pictures",
            "E.cat.parquet",
            "E_stars2.parquet",
            "E_stars2_mom.parquet",
            "E_stamps.parquet",
            "-o",
            "E",
        ),
    ]
    for step in steps:
        done = visql(*step, "--config", config, cwd=folder)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert done.stderr == ""
    return folder


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("3", "3")])
def test_last_digits_do_not_depend_on_the_cores(given, expected):
    """A command by hand adds as the workflow's jobs do, unless it is told otherwise."""
    code = "import os; from visql_lib.cli import main\ntry: main()\nfinally: print(os.environ['OPENBLAS_NUM_THREADS'])"
    surroundings = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    surroundings |= {"OPENBLAS_NUM_THREADS": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=surroundings,
    )
    assert done.stdout.splitlines()[-1] == expected


def test_version_comes_at_once():
    """Without importing anything slow."""
    code = "import sys; from visql_lib.cli import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"visql, version {__version__}")
    for slow in ("numpy", "astropy", "pydantic", "matplotlib", "pyarrow", "rich"):
        assert f"'{slow}'" not in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_step_has_help_with_an_example(name):
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0
    assert name == "schema" or "Example:" in done.output
    assert name == "schema" or f"visql {name} " in done.output.split("Example:")[1]
    assert "--help" in done.output


def test_help_lists_every_step_with_a_line():
    done = CliRunner().invoke(cli, ["--help"])
    for name, (_, line) in COMMANDS.items():
        assert name in done.output
        assert line.split()[0] in done.output
    assert "Exit codes: 0 success, 1 failure on this input, 2 wrong usage" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("catlog",), "no step 'catlog'; did you mean 'catalog'?"),
        (("catalog",), "Missing argument 'RAW'"),
        (("catalog", "nothing.fits", "-o", "x"), "'nothing.fits' does not exist"),
        (("stars", __file__), "Missing option '-o'"),
        (("stars", __file__, "-o", "x", "--fast"), "No such option"),
        (("stars", __file__, "-o", "x", "--config", __file__), "not valid YAML"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, message, tmp_path):
    done = visql(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_exit_code_2(long_frame, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("catalog: {treshold: 3}\n")
    done = visql("catalog", long_frame, "-o", tmp_path / "x", "--config", config)
    assert done.returncode == 2
    assert done.stderr == f"visql: {config}: unknown key 'catalog.treshold'; did you mean 'threshold'?\n"


def test_one_exposure_by_hand(chain, long_frame):
    catalogue = read_table(chain / "E.cat.parquet")
    assert catalogue.meta["exposure"] == long_frame.stem
    assert catalogue.meta["exptime"] == 560.52
    assert (catalogue["FLUX_AUTO"] > 0).all()
    assert ((catalogue["FLUX_RADIUS"] > 0) & (catalogue["FLUX_RADIUS"] < 15)).all()
    assert np.allclose(catalogue["FIELDRAD"], np.hypot(catalogue["X_WORLD"], catalogue["Y_WORLD"]), atol=7e-5)
    stars = read_table(chain / "E_stars2.parquet")
    assert stars.meta["selection"]["kind"] == "chimney"
    assert stars.n_rows >= 10
    moments = read_table(chain / "E_stars2_mom.parquet")
    assert 0 < moments.n_rows < stars.n_rows
    assert 1.8 < np.nanmedian(moments["R2"]) < 2.1
    pictures = {p.name for p in chain.glob("*.png")}
    assert {"E.png", "E_cc.png", "E_iq.png", "E_stars2_mom_map3.png", "E_chimney4.png"} <= pictures


def test_positions_are_one_based_in_the_full_array(chain, long_frame, toy):
    """The brightest pixel of a bright star is where the catalogue says."""
    catalogue = read_table(chain / "E.cat.parquet")
    alone = (catalogue["FLAGS"] == 0) & (catalogue["B_IMAGE"] > 1.2) & (catalogue["FLUX_RADIUS"] < 2)
    i = np.flatnonzero(alone)[np.argmax(catalogue["FLUX_AUTO"][alone])]
    pixels = fits.getdata(long_frame, extname=str(catalogue["EXT"][i]))
    x, y = (int(np.rint(catalogue[n][i])) for n in ("X_IMAGE", "Y_IMAGE"))
    window = pixels[y - 6 : y + 5, x - 6 : x + 5]
    row, column = np.unravel_index(np.argmax(window), window.shape)
    assert abs(row - 5) <= 1
    assert abs(column - 5) <= 1
    layout = toy.quadrants[str(catalogue["EXT"][i])]
    world = layout.wcs.to_world(catalogue["X_IMAGE"][i], catalogue["Y_IMAGE"][i])
    assert np.allclose(world, [catalogue["X_WORLD"][i], catalogue["Y_WORLD"][i]], atol=3e-7)


def test_stars_close_to_the_edge_have_no_moments(chain, toy):
    moments = read_table(chain / "E_stars2_mom.parquet")
    border = VisSettings().moments.border
    rows, columns = toy.geometry.shape
    nearest_x = moments["XIMAGE"] - moments["DX"]
    nearest_y = moments["YIMAGE"] - moments["DY"]
    assert nearest_x.min() >= border
    assert nearest_x.max() <= columns - border
    assert nearest_y.min() >= border
    assert nearest_y.max() <= rows - border


def test_a_broken_frame_is_exit_code_1_and_named(long_frame, config, tmp_path):
    broken = tmp_path / long_frame.name
    broken.write_bytes(long_frame.read_bytes()[:200_000])
    done = visql("catalog", broken, "-o", tmp_path / "c.parquet", "--config", config)
    assert done.returncode == 1
    assert done.stderr.startswith(f"visql: {broken}: cut short")
    assert not (tmp_path / "c.parquet").exists()


def test_a_recorded_failure_goes_down_the_chain(long_frame, config, tmp_path):
    """Empty tables that carry the reason, and pictures that say so."""
    broken = tmp_path / long_frame.name
    broken.write_bytes(b"")
    options = ("-o", "c.parquet", "--quadrants", "q.parquet", "--previews", "P", "--record-failure")
    for step in (
        ("catalog", broken, *options),
        ("stars", "c.parquet", "-o", "s.parquet"),
        ("moments", broken, "s.parquet", "-o", "m.parquet", "--stamps", "t.parquet"),
        ("pictures", "c.parquet", "s.parquet", "m.parquet", "t.parquet", "-o", "P"),
    ):
        done = visql_here(*step, "--config", config, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for name in "cqsmt":
        table = read_table(tmp_path / f"{name}.parquet")
        assert table.n_rows == 0
        assert "empty file" in table.meta["failed"]
    assert read_meta(tmp_path / "s.parquet")["selection"]["flags"] & SelectionFlag.NO_DETECTIONS
    assert len(list(tmp_path.glob("P*.png"))) == 17


def test_a_catalogue_with_odd_metadata_costs_its_exposure_alone(tmp_path):
    path = tmp_path / "E.cat.parquet"
    odd = {"exposure": "E", "exptime": "long"}
    write_table(path, CATALOGUE.empty(), replace(CATALOGUE, metadata=None), meta=odd)
    with pytest.raises(TableError, match="wrong 'exptime' in its metadata"):
        stars.run(Context.of(REGISTRY["stars"], VisSettings()), stars.StarInputs(path))
    made = stars.run(
        Context.of(REGISTRY["stars"], VisSettings(), record_failure=True), stars.StarInputs(path)
    )
    write_table(tmp_path / "E_stars2.parquet", made.stars, STARS, meta=made.meta)
    found = read_facts(tmp_path / "E_stars2.parquet", StarMetadata)
    assert (found.exposure, found.selection) == ("E", None)
    assert "wrong 'exptime'" in found.failed


def test_a_missing_and_a_constant_quadrant(long_frame, config, tmp_path):
    frame = tmp_path / long_frame.name
    with fits.open(long_frame) as hdus:
        hdus["1-1.E"].data[:] = 2700
        del hdus["2-2.H"]
        hdus.writeto(frame)
    done = visql_here(
        "catalog", frame, "-o", tmp_path / "c", "--quadrants", tmp_path / "q", "--config", config
    )
    assert done.returncode == 0
    assert "quadrant 1-1.E: all pixels have one value" in done.stderr
    quadrants = read_table(tmp_path / "q")
    assert "2-2.H" not in quadrants["EXT"]
    i = list(quadrants["EXT"]).index("1-1.E")
    assert quadrants["FLAGS"][i] == QuadrantFlag.CONSTANT
    assert (quadrants["LEVEL"][i], quadrants["READ_NOISE"][i]) == (2700, 0)
    catalogue = read_table(tmp_path / "c")
    assert {"1-1.E", "2-2.H"}.isdisjoint(catalogue["EXT"])
    assert catalogue.n_rows > 100


def test_a_storm_of_cosmic_rays_is_catalogued(vis, tmp_path):
    """Ten times the real rate on one full quadrant-sized CCD."""
    done = visql_here(
        "simulate", "-o", tmp_path, "--type", "short", "--ccds", "3-3", "--cosmics", 10, "--seed", 3
    )
    assert done.returncode == 0, done.stderr
    frame = next(tmp_path.glob("*.fits"))
    done = visql_here("catalog", frame, "-o", tmp_path / "c", "--quadrants", tmp_path / "q")
    assert done.returncode == 0, done.stderr
    assert (read_table(tmp_path / "q")["FLAGS"] == 0).all()
    assert read_table(tmp_path / "c").n_rows > 20_000


@pytest.mark.parametrize("number", [0, 1, 2])
def test_frames_of_other_types_have_previews_and_levels(toy_raw, config, tmp_path, number):
    frame = sorted(toy_raw.glob("*.fits"))[number]
    done = visql_here(
        "preview", frame, "-o", tmp_path / "P", "--quadrants", tmp_path / "q", "--config", config
    )
    assert done.returncode == 0, done.stderr
    quadrants = read_table(tmp_path / "q")
    assert quadrants.meta["frame_type"] == ["BIAS", "DARK", "FLAT"][number]
    assert (quadrants["N_DETECTIONS"] == 0).all()
    signal = np.median(quadrants["LEVEL"] - quadrants["BIAS"])
    assert [abs(signal) < 1, 0 <= signal < 5, signal > 1000][number]
    assert len(list(tmp_path.glob("P*.png"))) == 10


def test_index_lists_frames(toy_raw, config, tmp_path):
    settings = tmp_path / "c.yaml"
    settings.write_text(config.read_text() + "index: {growing_age: 0}\n")
    done = visql_here("index", toy_raw, "--results", tmp_path, "--months", "202407", "--config", settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/exposures/202407.tsv: 1 BIAS ok, 1 DARK ok, 1 FLAT ok, 3 SCIENCE ok\n"
    assert visql_here("index", toy_raw, "--months", "13").returncode == 2


def test_status_names_what_failed(toy_raw, config, tmp_path):
    settings = tmp_path / "c.yaml"
    settings.write_text(config.read_text() + "index: {growing_age: 0}\n")
    visql_here("index", toy_raw, "--results", tmp_path, "--months", "202407", "--config", settings)
    done = visql_here("status", tmp_path / "exposures" / "202407.tsv", "-o", tmp_path / "s.tsv")
    assert done.returncode == 1
    assert "6 of 6 exposures are not finished: run again" in done.stderr
    assert len((tmp_path / "s.tsv").read_text().splitlines()) == 7
    done = visql_here("status", tmp_path / "exposures" / "202407.tsv", "-o", tmp_path / "s.tsv", "--tolerate")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_or_a_forbidden_folder_is_one_line(chain):
    done = visql_here("stars", chain / "E.cat.parquet", "-o", "/proc/nowhere/s.parquet")
    assert done.returncode == 1
    assert done.stderr.startswith("visql: ")
    assert "Traceback" not in done.stderr


def test_tables_of_another_step_or_exposure_are_refused(chain, toy_raw, config, tmp_path):
    done = visql_here("stars", chain / "E_stars2_mom.parquet", "-o", tmp_path / "s.parquet")
    assert done.returncode == 1
    assert "has no column X_IMAGE" in done.stderr
    other = sorted(toy_raw.glob("*.fits"))[4]
    done = visql_here("moments", other, chain / "E_stars2.parquet", "-o", tmp_path / "m", "--config", config)
    assert done.returncode == 1
    assert f"not of {other.name}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_table_is_refused(chain, tmp_path):
    text = tmp_path / "t.parquet"
    text.write_text("no table")
    for path, message in ((text, "not a Parquet table"), (chain / "E_stamps.parquet", "has no column")):
        done = visql_here("moments", path, path, "-o", tmp_path / "m.parquet")
        assert done.returncode == 1
        assert message in done.stderr


def test_nan_exptime_is_not_written_as_a_number(long_frame, config, tmp_path):
    frame = tmp_path / long_frame.name
    with fits.open(long_frame) as hdus:
        del hdus[0].header["EXPTIME"]
        hdus.writeto(frame)
    assert visql_here("catalog", frame, "-o", tmp_path / "c", "--config", config).returncode == 0
    assert read_meta(tmp_path / "c")["exptime"] is None
