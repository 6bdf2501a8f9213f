"""Stages lc_scene and lc_target: from the tables and stamps of a set to the fluxes of its target."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from click.testing import CliRunner
from scene_truth import SmallSeason

from visql_lib.cli import cli
from visql_lib.errors import ConfigError
from visql_lib.pipelines.lightcurves import schemas
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.psf_file import PSFProduct, write_psf
from visql_lib.pipelines.lightcurves.scene_file import read_scenes
from visql_lib.pipelines.lightcurves.scene_variants import variants_of
from visql_lib.pipelines.lightcurves.settings.curves import SceneSettings
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.pipelines.lightcurves.target_file import load_target
from visql_lib.tables import read_table, write_table

SET = "R"


def inverse(matrix):
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


class SetFolder:
    """The products of a set before the joint fit."""

    def __init__(self, root, season, **target):
        self.folder, self.season = root / "targets" / "J1" / SET, season
        self.folder.mkdir(parents=True)
        self.names = [f"f{n:03d}" for n in range(len(season.frames))]
        self.target = root / "J1.yaml"
        content = {
            "name": "J1", "ra": 10.0, "dec": -20.0,
            "sets": {SET: {"camera": "generic_ccd", "raw": str(root)}},
            "point_sources": {"A": {"x": 1, "y": 1}, "B": {"x": 2, "y": 2}},
        }  # fmt: skip
        self.target.write_text(yaml.safe_dump(content | target, sort_keys=False))
        self.config = root / "config.yaml"
        self.config.write_text("pipeline: lightcurves\nscene: {radius: 9}\n")
        self.write()
        for name, frame in zip(self.names, season.frames, strict=True):
            self.write_frame(name, frame)

    def write_frame(self, name, frame):
        stem = self.folder / "frames" / name / name
        stem.parent.mkdir(parents=True, exist_ok=True)
        data = np.stack([np.zeros_like(frame.data), frame.data]).astype(np.float32)
        zero, corner = np.zeros(2), np.array([frame.x0, frame.x0])
        bad = np.zeros(data.shape, np.uint8)
        made = Stamps(
            ["a", "target"], data, np.full(data.shape, frame.rms, np.float32), bad, corner, corner, zero, zero,
            inverse(frame.matrix).ravel(), frame.rms, frame=name, set=SET,
        )  # fmt: skip
        made.write(Path(f"{stem}_stamps.fits"), {})
        row = {"FRAME": name, "PSF_SET": "auto", "REASON": "", "CHI2": 1.0, "N_STARS": 6, "STARS": "a b"}
        product = PSFProduct(frame.psf, row, schemas.STAR_FLUXES.empty())
        write_psf(Path(f"{stem}_psf.fits"), product, SET, {})

    def path(self, kind):
        return self.folder / (f"{kind}_{SET}.parquet" if kind != "reference" else "reference.parquet")

    def write(self, places=None, statuses=None, coeffs=None):
        season = self.season
        places = season.places if places is None else places
        status = statuses or ["ok"] * len(self.names)
        matrices = [inverse(frame.matrix).ravel() for frame in season.frames]
        c = [frame.coeff for frame in season.frames] if coeffs is None else coeffs
        rows = {
            schemas.FRAMES: [{"FRAME": n, "STATUS": s} for n, s in zip(self.names, status, strict=True)],
            schemas.TRANSFORMS: [
                {"FRAME": n, "STATUS": s, "MATRIX": m}
                for n, s, m in zip(self.names, status, matrices, strict=True)
            ],
            schemas.PSF: [{"FRAME": n, "PSF_SET": "auto", "STATUS": "ok"} for n in self.names],
            schemas.RENORM: [
                {"FRAME": n, "PSF_SET": "auto", "C": v} for n, v in zip(self.names, c, strict=True)
            ],
            schemas.REFERENCE: [{"X": 67.2, "Y": 41.9, "FLUX": 1e4, "SNR": 15.0}],
        }
        points = {n: list(p + 1) for n, p in zip("AB", places, strict=False)}
        meta = {"point_sources": points, "reference": "f000", "set": SET, "ny": 100, "nx": 100}
        meta |= {"photometric": {SET: "f000"}, "seeing_px": 4.0}
        for schema, made in rows.items():
            write_table(self.path(schema.product), schema.of_rows(made), schema, meta=meta)

    def call(self, command, *more):
        kinds = ("frames", "transforms", "psf", "renorm", "reference")
        words = [command, *map(str, map(self.path, kinds)), "--target", str(self.target), "--set", SET]
        return CliRunner().invoke(cli, [*words, "--config", str(self.config), *map(str, more)])

    def scene(self, name="scene.fits"):
        return self.folder / name

    def fit(self, *more, out="target", scene="scene.fits"):
        table, image = self.folder / f"{out}.parquet", self.folder / f"{out}.fits"
        found = self.call("lc-target", "--scene", self.scene(scene), "-o", table, "--image", image, *more)
        assert found.exit_code == 0, found.output + repr(found.exception)
        return read_table(table), image


@pytest.fixture(scope="module")
def season():
    return SmallSeason(n_frames=6)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, season):
    """A set whose scene was chosen, for `made` to copy."""
    folder = SetFolder(tmp_path_factory.mktemp("set"), season)
    found = folder.call("lc-scene", "-o", folder.scene())
    assert found.exit_code == 0, found.output + repr(found.exception)
    return folder


@pytest.fixture
def made(tmp_path, season, prepared):
    folder = SetFolder(tmp_path, season)
    shutil.copy(prepared.scene(), folder.scene())
    return folder


def test_fluxes_of_all_frames(made, season):
    table, image = made.fit()
    assert list(table["FRAME"]) == [n for n in made.names for _ in "AB"]
    assert list(table["SOURCE"]) == list("AB") * 6
    flux, err = table["FLUX"].reshape(6, 2), table["ERR"].reshape(6, 2)
    common = table["ERR_COMMON"].reshape(6, 2)
    assert np.abs((flux - season.true) / np.hypot(err, common)).max() < 4
    own = table["COVARIANCE"].reshape(6, 2, 2)
    np.testing.assert_allclose(np.sqrt(own[:, [0, 1], [0, 1]]), err)
    np.testing.assert_allclose(own[:, 0, 1], own[:, 1, 0], rtol=1e-9)
    assert table.meta["sources"] == ["A", "B"]
    with fits.open(image) as hdus:
        header = hdus["IMAGE"].header
        assert header["CORE"] is True
        assert abs(header["XCORE"] - 1 - season.galaxy_place[0]) < 0.4
        assert hdus["IMAGE"].data.shape == (19, 19)
        assert header["CRVAL1"] == 50 - 9 + 1
        np.testing.assert_allclose(hdus["SOURCES"].data["X"][:2] - 1, season.places[:, 0], atol=0.15)
        field, place = hdus["DECONVOLVED"], season.places[0]
        x = round((place[0] + 1 - field.header["CRVAL1"]) / field.header["CDELT1"])
        y = round((place[1] + 1 - field.header["CRVAL2"]) / field.header["CDELT2"])
        assert np.unravel_index(field.data.argmax(), field.data.shape) == (y, x)
        total = field.data.sum() * field.header["CDELT1"] ** 2
        truth = season.flux.sum() + sum(f for f, _ in season.galaxy)
        assert abs(total / truth - 1) < 0.08
        assert np.abs(hdus["RESIDUAL"].data).max() < 4


def test_the_choice_is_kept_and_read_back(made):
    (named,) = read_scenes(made.scene())
    table, image = made.fit()
    (after,) = read_scenes(image)
    assert named.sources == after.sources == ("A", "B")
    assert after.scene.smoothness == named.scene.smoothness == table.meta["fits"]["own"]["smoothness"]
    assert not named.scene.covariance.size
    assert len(after.scene.covariance) == after.scene.n_common
    assert np.abs(named.scene.positions - after.scene.positions).max() < 0.01


def test_frozen_fluxes_of_new_frames_are_those_of_the_full_fit(made):
    full, _ = made.fit()
    frozen, _ = made.fit("--frozen", out="frozen", scene="target.fits")
    assert np.abs(2.5 * np.log10(frozen["FLUX"] / full["FLUX"])).max() < 1e-6
    np.testing.assert_allclose(frozen["ERR_COMMON"], full["ERR_COMMON"], rtol=1e-3)
    again, _ = made.fit(out="again")
    np.testing.assert_array_equal(again["FLUX"], full["FLUX"])


def test_several_decompositions_side_by_side(tmp_path, season):
    asked = {"nogal": {"galaxy": {"image": False}}, "alone": {"sources": ["A"], "scene": {"radius": 8}}}
    folder = SetFolder(tmp_path, season, fits=asked)
    assert folder.call("lc-scene", "-o", folder.scene()).exit_code == 0
    table, image = folder.fit()
    assert list(table["SOURCE"][:5]) == ["A", "B", "A_nogal", "B_nogal", "A_alone"]
    assert table["COVARIANCE"].shape == (30, 5)
    assert np.isnan(table["COVARIANCE"][0]).tolist() == [False, False, True, True, True]
    flux = table["FLUX"].reshape(6, 5)
    assert (flux[:, 3] > 1.05 * flux[:, 1]).all()  # what the galaxy adds
    with fits.open(image) as hdus:
        assert [hdus["IMAGE", n].header["FIT"] for n in (1, 2, 3)] == ["", "nogal", "alone"]
        assert hdus["IMAGE", 2].data is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"x": {"gallaxy": {}}}, "'gallaxy' is none of scene, galaxy, sources"),
        ({"x": {"sources": ["A", "Z"]}}, "'Z' is none of A, B"),
        ({"x": {"scene": {"radius": 200}}}, "radius"),
        ({"x": {"galaxy": 3}}, "galaxy: a mapping"),
    ],
)
def test_wrong_decompositions(tmp_path, season, asked, message):
    folder = SetFolder(tmp_path, season, fits=asked)
    with pytest.raises(ConfigError, match=message):
        variants_of(load_target(folder.target), SceneSettings())
    found = folder.call("lc-scene", "-o", folder.scene())
    assert found.exit_code != 0


def test_frames_without_psf_or_coefficient_have_a_decision(made):
    coeffs = [frame.coeff for frame in made.season.frames]
    coeffs[2] = np.nan
    made.write(statuses=["ok", "not_aligned", "ok", "ok", "ok", "ok"], coeffs=coeffs)
    table, _ = made.fit()
    assert sorted(set(table["FRAME"])) == ["f000", "f003", "f004", "f005"]
    decisions = from_meta(table.meta)
    assert [(d.frame, d.kept, d.reason) for d in decisions if d.frame] == [
        ("f002", False, "no coefficient: not fitted")
    ]


def test_nan_in_data_or_sigma_alone_masks_the_pixel_of_the_target(made, season):
    """As its bit does: 1e6 e- that lie under NaN of sigma have no part in the fluxes."""
    fluxes = []
    path = made.folder / "frames/f003/f003_stamps.fits"
    frame = season.frames[3]
    x, y = (np.rint(frame.matrix @ [*season.places[0], 1]) - [frame.x0, frame.y0]).astype(int)
    whole = made.fit("--frozen")[0]
    for where in ("bad", "sigma", "data"):
        made.write_frame("f003", frame)
        stamps = Stamps.read(path)
        k = stamps.index("target")
        stamps.data[k, y, x + 1] = np.nan if where == "data" else 1e6
        stamps.sigma[k, y, x + 1] = np.nan if where == "sigma" else 1e3
        stamps.bad[k, y, x + 1] = where == "bad"
        stamps.write(path, {})
        fluxes.append(made.fit("--frozen")[0]["FLUX"])
    assert fluxes[1].tolist() == fluxes[0].tolist()
    assert fluxes[2].tolist() == fluxes[0].tolist()
    of_frame = whole["FRAME"] == "f003"
    change = (fluxes[0] - whole["FLUX"]) / whole["ERR"]
    assert (change[~of_frame] == 0).all()
    assert 0 < np.abs(change[of_frame]).max() < 2


def _error(found):
    return str(found.exception)


def test_targets_that_stop(made):
    places = made.season.places
    made.write(places=np.array([places[0], places[0] + [0.1, 0.2]]))
    found = made.call("lc-scene", "-o", made.scene("x.fits"))
    assert "J1, set R: point sources A and B are 0.22 px apart" in _error(found)
    made.write(places=places + 900)
    assert "outside all frames" in _error(made.call("lc-scene", "-o", made.scene("x.fits")))
    made.write(statuses=["ok", "ok", *["failed"] * 4])
    assert "2 frames to fit the target in" in _error(made.call("lc-scene", "-o", made.scene("x.fits")))
    assert not made.scene("x.fits").exists()


def test_a_choice_for_other_sources_is_refused(made):
    text = made.target.read_text()
    made.target.write_text(text.replace("B:", "C:"))
    found = made.call("lc-target", "--scene", made.scene(), "-o", made.folder / "t.parquet")
    assert "was chosen for the point sources A B" in _error(found)
    found = made.call("lc-scene", "-o", made.scene())
    assert "has no place of point source C" in _error(found)


def test_a_file_that_is_no_scene(made):
    found = made.call("lc-target", "--scene", made.path("frames"), "-o", made.folder / "t.parquet")
    assert "not a file of scenes" in _error(found)


def test_a_set_there_is_not(made):
    words = ["lc-scene", str(made.path("frames")), "--target", str(made.target), "--set", "Q", "-o", "x.fits"]
    assert CliRunner().invoke(cli, words).exit_code != 0
