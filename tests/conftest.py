"""Instruments and simulated frames shared by all tests, and the folder of real reference data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from made_once import made_once
from toy_month import Month, make_month

from tests.small_guide_night import guide_night
from visql_lib.frames import Instrument, load_instrument
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.simulate.plan import exposures_of

TESTS = Path(__file__).parent

# A calm toy sky with more stars than a real one, so that small quadrants hold enough of them.
_TOY = {"seed": 7, "sky": {"stars": 12.0}, "radiation": {"cosmics": 0.3}}
_TOY_EXPOSURES = [
    {"type": "BIAS", "date": "2024-07-12T01:00:00"},
    {"type": "DARK", "date": "2024-07-12T01:10:00"},
    {"type": "FLAT", "date": "2024-07-12T01:30:00"},
    {"type": "long", "date": "2024-07-12T02:00:00", "dithobs": 1},
    {"type": "short", "date": "2024-07-12T02:12:00", "dithobs": 2},
    {"type": "long", "date": "2024-07-13T02:00:00", "dithobs": 3, "optics": {"jitter": 0.3}},
]


# Hundreds of processes are started: each would compile the whole library anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Files that run whole workflows, the longest first: at the end, both processes have small ones left.
# A busy machine is no failure: what is slow there is quick elsewhere.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_LONGEST = (
    "workflow",
    "docs",
    "radiation_workflow",
    "pointing_workflow",
    "reduction_workflow",
    "gaia_workflow",
    "lightcurves_workflow",
)
_LONGEST += ("space", "watch", "frame_watch", "pointing_watch", "pointing_command", "site", "site_plots")
_LONGEST += ("light_nights", "renormalise", "effective_psf", "light_stars", "light_pages")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest files."""
    order = {f"test_{name}.py": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def vis() -> Instrument:
    """Euclid VIS."""
    return load_instrument("euclid_vis")


@pytest.fixture(scope="session")
def toy() -> Instrument:
    """A camera of 2 x 2 CCDs with small quadrants; its facts are in tests/toy_camera.yaml."""
    return load_instrument(str(TESTS / "toy_camera.yaml"))


@pytest.fixture(scope="session")
def toy_raw(toy: Instrument, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with BIAS, DARK, FLAT, long, short, blurred long of the toy camera, and their truth."""
    plan = exposures_of({"common": _TOY, "exposures": _TOY_EXPOSURES}, "toy")
    return made_once(tmp_path_factory, "toy_raw", lambda folder: make_frames(plan, toy, folder))


@pytest.fixture(scope="session")
def toy_month(toy_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """The frames of `toy_raw`, run through once by the workflow without further parts. Copy it."""
    return Month(made_once(tmp_path_factory, "toy_month", partial(make_month, raw=toy_raw)))


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated night of a guide camera with masters, nothing made of it. Copy it."""
    return made_once(tmp_path_factory, "small_night", guide_night)


@pytest.fixture(scope="session")
def vis_ccd(vis: Instrument, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One long VIS exposure that holds the four quadrants of CCD 3-3 only, truth beside it."""
    plan = {"exposures": [{"type": "long", "ccds": ["3-3"], "seed": 1}]}
    return make_frames(exposures_of(plan, "vis_ccd"), vis, tmp_path_factory.mktemp("vis_ccd"))[0]


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of real products to compare with; its tests are skipped where it is absent."""
    folder = Path(os.environ.get("VISQL_REFERENCE", TESTS.parent.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip("no reference data: set VISQL_REFERENCE to their folder")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen; skips where it is not there."""
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver here")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"):
        options.add_argument(argument)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()
