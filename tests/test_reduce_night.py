"""Lights reduced with masters that the commands have made of the night's own frames, against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from visql_lib import run_record
from visql_lib.cli import cli
from visql_lib.cli.reduction import reduction_settings_of, write_master
from visql_lib.config.load import validated
from visql_lib.images.image import read_image
from visql_lib.pipelines.reduction.stages.master_flat import FlatInputs
from visql_lib.pipelines.reduction.stages.master_flat import run as make_flat
from visql_lib.products.context import Context
from visql_lib.simulate.night import SimulatedNight
from visql_lib.simulate.night_frames import _light
from visql_lib.simulate.night_plan import NightOptions
from visql_lib.tables import read_table

PLAN = {
    "seed": 2,
    "camera": {"columns": 256, "rows": 192},
    "sky": {"cosmics": 0.0, "stars": 60, "targets": ["M67"]},
    "frames": {"filters": ["R"], "lights": 3, "biases": 12, "flats": 7},
}
ELECTRONICS = ("GAIN", "EGAIN", "RDNOISE")


def visql(*words: Any) -> None:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value in (0, None)


def reduced_night(folder: Path, dialect: str, without: tuple[str, ...] = ()) -> tuple[SimulatedNight, list]:
    """Simulate a night, make its masters, reduce its lights; return them with their truth."""
    night = SimulatedNight(validated(NightOptions, PLAN | {"dialect": dialect}, "test"))
    files: dict[str, list[Path]] = {}
    lights = []
    for made in night.made():
        for hdu in made.hdus:
            for key in without:
                hdu.header.remove(key, ignore_missing=True)
        made.hdus.writeto(folder / made.name)
        files.setdefault(made.frame.type, []).append(folder / made.name)
        if made.frame.type == "SCIENCE":
            lights.append((folder / "out" / f"{Path(made.name).stem}.fits", made.frame))
    bias, dark, flat = (folder / f"{name}.fits" for name in ("mb", "md", "mf"))
    visql("master-bias", *files["BIAS"], "-o", bias)
    visql("master-dark", *files["DARK"], "-o", dark, "--bias", bias)
    with run_record.recording("master-flat"):
        context = Context.using(reduction_settings_of(None), ("overscan", "masters"))
        made_flat = make_flat(context, FlatInputs(files["FLAT"], "flat_R", bias, dark))
        write_master(made_flat, "master_flat", flat, None, None, lambda _: None)
    masters = ["--bias", bias, "--dark", dark, "--flat", flat]
    visql("reduce", *files["SCIENCE"], "-o", folder / "out", *masters, "--table", folder / "t.parquet")
    return night, lights


@pytest.mark.parametrize(
    ("dialect", "without"), [("observatory", ()), ("mosaic", ()), ("maxim", ELECTRONICS)]
)
def test_pulls_of_lights_reduced_with_the_nights_own_masters(tmp_path, dialect, without):
    """0 +- 0.05 and 1 +- 0.05, of sky and stars, also where headers tell neither gain nor read noise."""
    night, lights = reduced_night(tmp_path, dialect, without)
    chip, flat = night.chip, read_image(tmp_path / "mf.fits")
    mean = (chip.response["R"] / chip.gain)[flat.mask == 0].mean()
    sky, stars, corners = [], [], []
    for product, frame in lights:
        image = read_image(product)
        scene = (
            _light(night.options, frame, chip, night.fields, np.random.default_rng(0)) / chip.response["R"]
        )
        good = (image.mask == 0) & ~(chip.dead | chip.column)
        star = scene > 1.5 * np.median(scene)
        pulls = (image.data - scene * mean) / image.err
        sky.append(pulls[good & ~star & ~chip.hot])
        stars.append(pulls[good & star & ~chip.hot])
        y, x = np.indices(scene.shape)
        r = np.hypot(x - scene.shape[1] / 2, y - scene.shape[0] / 2) / np.hypot(*scene.shape) * 2
        ratio = image.data / (scene * mean)
        outer, inner = (ratio[good & ~star & where].mean() for where in (r > 0.7, r < 0.5))
        corners.append(outer / inner)
    for pulls in (np.concatenate(sky), np.concatenate(stars)):
        assert abs(pulls.mean()) < 0.05 + 2 / pulls.size**0.5
        assert pulls.std() == pytest.approx(1, abs=0.05)
    assert np.mean(corners) == pytest.approx(1, abs=0.003)
    table = read_table(tmp_path / "t.parquet")
    assert list(table["STATUS"]) == ["ok"] * len(lights)
    assert not any("not known" in reason for reason in table["REASON"])
    assert list(table["MASTER_DARK"]) == ["md.fits"] * len(lights)
    np.testing.assert_allclose(table["FWHM"], [frame.fwhm for _, frame in lights], rtol=0.06)
