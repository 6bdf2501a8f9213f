"""From raw frames to a stack by the commands, four amplifiers, pier flip: all figures against the truth.

The comparison is that of `benchmarks/night_accuracy.py`, which measures larger nights.
"""

import importlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.simulate.night_plan import NightOptions

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PLAN = {
    "camera": {"columns": 256, "rows": 192},
    "frames": {"biases": 8, "darks": 5, "filters": ["V"], "flats": 5, "lights": 4, "trails": 2},
    "sky": {"targets": ["M67"], "stars": 80, "dither": 6},
}


def visql(*args):
    result = CliRunner().invoke(cli, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def benchmark_code():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_BENCHMARKS)
        return importlib.import_module("night_compare")


@pytest.fixture(scope="module")
def figures(tmp_path_factory, benchmark_code):
    """Simulate, reduce with one command after the other, compare; figure -> its values."""
    folder = tmp_path_factory.mktemp("night")
    given = [f"{part}.{key}={value}" for part, keys in PLAN.items() for key, value in keys.items()]
    options = [word for one in given for word in ("--set", one)]
    visql("simulate-night", "-o", folder, "--dialect", "mosaic", "--seed", 5, *options)
    plan = NightOptions.model_validate({"seed": 5, "dialect": "mosaic", **PLAN})
    truth = benchmark_code.Truth(plan, folder / "raw", folder)
    raw = {
        kind: [folder / "raw" / f"{name}.fits" for name, frame in truth.frames.items() if frame.type == kind]
        for kind in ("BIAS", "DARK", "FLAT", "SCIENCE")
    }
    for name in ("masters", "frames", "stacks"):
        (folder / name).mkdir()
    bias, dark, flat, bad = (folder / "masters" / f"{n}.fits" for n in ("bias", "dark", "flat", "bad"))
    visql("master-bias", *raw["BIAS"], "-o", bias, "--table", bias.with_suffix(".parquet"))
    visql("master-dark", *raw["DARK"], "-o", dark, "--bias", bias, "--table", dark.with_suffix(".parquet"))
    masters = ("--bias", bias, "--dark", dark)
    visql("master-flat", *raw["FLAT"], "-o", flat, *masters, "--table", flat.with_suffix(".parquet"))
    visql("bad-pixels", "-o", bad, "--dark", dark, "--flat", flat)
    lights = folder / "frames"
    visql("reduce", *raw["SCIENCE"], "-o", lights, *masters, "--flat", flat, "--bad-pixels", bad)
    table = folder / "stacks" / "M67_registration.parquet"
    reduced = sorted(lights.glob("*.fits"))
    visql("register", *reduced, "-o", table)
    visql("stack", *reduced, "-o", folder / "stacks" / "M67.fits", "--registration", table)
    found: dict[str, list[float]] = {}
    for one in benchmark_code.compare(truth):
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return found


# Pulls of 49 000 pixels: 0 +- 0.005 and 1 +- 0.003 of the noise; more of what all pixels of a frame share.
@pytest.mark.parametrize(
    ("what", "off", "width"),
    [
        ("bias", 0.05, 0.02),
        ("dark at 1 s", 0.05, 0.02),
        ("dark at 60 s", 0.05, 0.02),
        ("dark at 300 s", 0.05, 0.02),
        ("hot pixels at 1 s", 0.3, 0.25),  # 150 of them
        ("flat", 0.1, 0.05),
        ("light, background", 0.06, 0.02),
        ("light, star pixels", 0.15, 0.1),
        ("stack, background", 0.06, 0.02),
    ],
)
def test_errors_are_true(figures, what, off, width):
    assert figures[f"{what}: mean pull"] == pytest.approx([0] * len(figures[f"{what}: mean pull"]), abs=off)
    assert figures[f"{what}: sigma"] == pytest.approx([1] * len(figures[f"{what}: sigma"]), abs=width)


def test_sums_over_many_pixels_of_a_stack_have_the_error_of_corrfac(figures):
    assert figures["stack, sums of 8 x 8 px: sigma"] == pytest.approx([1], abs=0.15)


def test_flats_are_flat(figures):
    assert max(map(abs, figures["flat: trails left [%]"])) < 0.3
    assert max(map(abs, figures["flat: corner to centre [%]"])) < 0.1
    assert max(map(abs, figures["stack: sky, corner to centre [%]"])) < 0.6  # its noise is 0.2 %


def test_frames_lie_where_they_should(figures):
    assert len(figures["registration: rms per axis [px]"]) == 3
    assert max(figures["registration: rms per axis [px]"]) < 0.05
    assert sum(figures["registration: frames left out"]) == 0


@pytest.mark.parametrize("what", ["light", "stack"])
def test_stars_have_their_flux(figures, what):
    assert min(figures[f"{what}: stars compared"]) >= 5
    assert max(map(abs, figures[f"{what}: flux of stars, median [%]"])) < 0.6
    assert sum(figures[f"{what}: flux of stars, scatter / error"]) / 4 < 1.6


def test_no_cosmic_ray_is_left_in_the_stack(figures):
    assert figures["stack: pixels hit in its frames"][0] > 30
    assert figures["stack: pixels above 5 sigma, by cosmic rays"] == [0]


def test_the_odd_dark_is_found_and_nothing_else_left_out(figures):
    assert figures["odd dark missed"] == figures["good frames left out"] == [0]


def test_bad_pixels_are_found_and_no_good_one(figures):
    for kind in ("hot", "dead", "column"):
        assert figures[f"bad pixels: {kind}, all"][0] > 5
        assert figures[f"bad pixels: {kind} missed"] == [0]
    assert figures["bad pixels: good ones masked"] == [0]
