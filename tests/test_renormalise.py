"""Coefficients of frames from the fluxes of stars, and the stages from stamps to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from visql_lib.cli import cli
from visql_lib.errors import ConfigError, TableError
from visql_lib.photometry.renormalise import (
    RenormOptions,
    colour_factors,
    renormalise,
    robust_scatter,
    weighted_median,
)
from visql_lib.pipelines.lightcurves import schemas
from visql_lib.pipelines.lightcurves.colour_reference import star_levels, tied_curves
from visql_lib.pipelines.lightcurves.decisions import from_meta
from visql_lib.pipelines.lightcurves.export_table import SetCurve
from visql_lib.pipelines.lightcurves.psf_file import (
    PSFProduct,
    psf_row,
    read_psf,
    read_psf_product,
    write_psf,
)
from visql_lib.pipelines.lightcurves.psf_stars import star_of
from visql_lib.pipelines.lightcurves.stamps import Stamps
from visql_lib.psf.effective import EffectivePSF
from visql_lib.simulate.season_psf import MoffatPart, SeasonPsf
from visql_lib.tables import read_table, write_table

MMAG = 1085.7


def star_fluxes(n=48, stars=9, seed=1, noise=None):
    """Electrons of constant stars through changing air, with errors of 1.3 to 3 mmag, and the air."""
    rng = np.random.default_rng(seed)
    level = np.geomspace(6e5, 1.5e5, stars)
    air = rng.uniform(0.6, 1, n)
    err = np.sqrt(level * air[:, None] + 6e4) if noise is None else noise * level * air[:, None]
    return level * air[:, None] + rng.normal(0, 1, (n, stars)) * err, err, air


class TestWeightedMedian:
    """Half of the weight below, half above."""

    def test_equal_weights_give_the_median(self):
        values = np.random.default_rng(1).normal(0, 1, (50, 9))
        assert weighted_median(values, np.ones_like(values)) == pytest.approx(np.median(values, axis=1))
        values = values[:, :8]
        assert weighted_median(values, np.full_like(values, 3)) == pytest.approx(np.median(values, axis=1))

    def test_weights_and_missing_values(self):
        nan = np.nan
        values = np.array([[1.0, 2, 3, nan], [nan, nan, nan, nan], [5, nan, nan, nan], [3, nan, 1, 2]])
        weights = np.array([[1.0, 1, 1e6, 9], [1, 1, 1, 1], [2, 1, 1, 1], [1, 9, 1, 0]])
        found = weighted_median(values, weights)
        assert found[0] == pytest.approx(3, abs=1e-5)
        assert np.isnan(found[1])
        assert found[2:] == pytest.approx([5, 2])


class TestRenormalise:
    """Coefficients, their errors, stars that are dropped."""

    def test_coefficients_undo_the_air(self):
        flux, err, air = star_fluxes()
        found = renormalise(flux, err, reference=7)
        assert found.coeff[7] == 1
        relative = found.coeff * air
        assert MMAG * np.std(relative / np.median(relative)) < 1.2
        assert found.kept.all()
        assert found.dropped == ()
        assert (found.n == 9).all()
        assert found.level == pytest.approx(np.geomspace(6e5, 1.5e5, 9) * air[7], rel=4e-3)

    def test_without_reference_the_median_is_one(self):
        flux, err, _ = star_fluxes()
        assert np.median(renormalise(flux, err).coeff) == pytest.approx(1, abs=1e-12)

    def test_error_is_of_the_mean_as_a_part_of_c(self):
        """Nine stars that scatter by 9 mmag give 3.8 mmag."""
        scatter = 0.009 / 1.4826
        offsets = scatter * np.array([-2.0, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2])  # MAD is 1
        flux = np.full((3, 9), 1e5) * np.array([[1.0], [0.25], [1.0]])
        flux[1] *= 1 + offsets
        found = renormalise(flux, np.full_like(flux, 1.0), reference=0)
        assert found.coeff[1] == pytest.approx(4)
        assert MMAG * found.err[1] == pytest.approx(MMAG * 1.253 * 0.009 / 3, rel=1e-3)
        assert 1000 * found.err[1] == pytest.approx(3.76, abs=0.01)
        assert found.err[0] == pytest.approx(1e-5 / 3, rel=1e-6)  # not below what the photons allow

    @pytest.mark.parametrize("stars", [4, 9, 20])
    def test_errors_hold_what_happens(self, stars):
        flux, err, air = star_fluxes(400, stars, seed=3)
        found = renormalise(flux, err)
        off = found.coeff * air
        pull = (off / np.median(off) - 1) / found.err
        assert 0.7 < np.std(pull) < 1.15

    def test_dip_is_found_and_dropped(self):
        """A star that is 3 % fainter in a tenth of the frames, during the event."""
        flux, err, air = star_fluxes()
        clean = renormalise(flux, err).coeff * air
        dipped = flux.copy()
        dipped[20:26, 0] *= 0.97  # the brightest, with the largest weight
        found = renormalise(dipped, err)
        assert [star.star for star in found.dropped] == [0]
        assert not found.kept[0]
        assert 1000 * found.dropped[0].scatter == pytest.approx(9, abs=3)
        assert (found.n == 8).all()
        change = found.coeff * air / clean
        assert MMAG * np.abs(change[20:26] / np.median(change) - 1).max() < 2

    def test_dip_changes_a_target_by_less_than_its_error(self):
        """A dip of 3 % of the brightest star, and of a faint one: the target's curve stays, 2 mmag its error."""
        flux, err, air = star_fluxes()
        rng = np.random.default_rng(8)
        target = 4e5 * air * (1 + rng.normal(0, 2e-3, len(air)))
        clean = renormalise(flux, err)
        for star in (0, 8):
            dipped = flux.copy()
            dipped[20:26, star] *= 0.97
            found = renormalise(dipped, err)
            assert [one.star for one in found.dropped] == [star]
            change = (target * found.coeff) / (target * clean.coeff)
            error = np.hypot(2e-3, clean.err)
            assert (np.abs(change / np.median(change) - 1) < error).all()

    def test_variable_star_is_dropped_and_single_outliers_are_not(self):
        flux, err, _ = star_fluxes()
        flux[:, 4] *= 1 + 0.05 * np.sin(np.arange(48) / 3)
        flux[11, 6] *= 1.3
        found = renormalise(flux, err)
        assert [star.star for star in found.dropped] == [4]
        assert found.scatter[4] == pytest.approx(0.05, rel=0.4)
        assert found.scatter[4] > found.dropped[0].limit

    def test_small_scatter_is_no_reason(self):
        flux, err, _ = star_fluxes(noise=2e-4)
        flux[:, 0] *= 1 + 0.002 * np.sign(np.sin(np.arange(48)))
        assert renormalise(flux, err).kept.all()
        assert not renormalise(flux, err, options=RenormOptions(least=1e-4)).kept[0]

    def test_never_below_three_stars(self):
        rng = np.random.default_rng(2)
        flux, err, _ = star_fluxes(stars=3)
        flux[:, 1] *= rng.uniform(0.5, 1.5, 48)
        assert renormalise(flux, err).kept.all()
        flux, err, _ = star_fluxes(stars=5)
        flux[:, :4] *= rng.uniform(0.5, 1.5, (48, 4))
        assert renormalise(flux, err).kept.sum() >= 3

    def test_two_stars_one_star_none(self):
        flux, err, _ = star_fluxes(stars=2)
        found = renormalise(flux, err)
        assert found.kept.all()
        assert (found.err > 0).all()
        one = renormalise(flux[:, :1], err[:, :1], reference=0)
        assert one.coeff == pytest.approx(flux[0, 0] / flux[:, 0])
        assert one.err == pytest.approx(err[:, 0] / flux[:, 0], rel=1e-6)
        none = renormalise(np.full((4, 2), np.nan), np.full((4, 2), np.nan))
        assert np.isnan(none.coeff).all()
        assert (none.n == 0).all()

    def test_star_that_drifts_off_makes_no_step(self):
        """In 15 % of the frames the brightest star is outside: the others serve."""
        flux, err, air = star_fluxes(seed=5)
        whole = renormalise(flux, err).coeff
        gone = flux.copy()
        gone[-7:, 0] = np.nan
        gone[-7:, 0] = np.nan
        found = renormalise(gone, err)
        assert (found.n[-7:] == 8).all()
        change = found.coeff / whole
        assert MMAG * abs(np.mean(change[-7:]) / np.mean(change[:-7]) - 1) < 1
        # The trap: the star's own median over the frames hangs on their air.
        darker = flux * np.where(np.arange(48) < 41, 1.0, 0.5)[:, None]
        darker[-7:, 0] = np.nan
        found = renormalise(darker, err)
        off = found.coeff * np.where(np.arange(48) < 41, 1.0, 0.5) * air
        assert MMAG * abs(np.mean(off[-7:]) / np.mean(off[:-7]) - 1) < 1

    def test_missing_and_negative_fluxes(self):
        flux, err, _ = star_fluxes()
        flux[3] = np.nan
        flux[4, 2], flux[5, 2], err[6, 2] = -100.0, 0.0, np.nan
        found = renormalise(flux, err, reference=3)
        assert np.isnan(found.coeff[3])
        assert np.isnan(found.err[3])
        assert found.n[3:7].tolist() == [0, 8, 8, 8]
        rest = np.delete(found.coeff, 3)
        assert np.isfinite(rest).all()
        assert np.median(rest) == pytest.approx(1)  # the reference has none

    def test_robust_scatter(self):
        values = np.random.default_rng(1).normal(0, 1, 2000)
        assert robust_scatter(values) == pytest.approx(1, abs=0.06)
        values[:20] = 100
        assert robust_scatter(values) == pytest.approx(1, abs=0.08)

    def test_colour_reference(self):
        levels = {"R": {"a": 100.0, "c": 50.0}, "V": {"b": 3.0, "c": 200.0}, "I": {"c": 25.0}}
        assert colour_factors(levels) == ("c", {"R": 1.0, "V": 0.25, "I": 2.0})
        assert colour_factors({"R": {"a": 1.0}, "V": {"b": 1.0}}) == ("", {"R": 1.0, "V": 1.0})
        assert colour_factors({}) == ("", {})


class TestColourReference:
    """The sets of a target lie together."""

    def test_one_flux_in_all_sets(self):
        def curve(name, mag):
            return SetCurve(
                name, "cam", {"MAG": np.array([mag]), "MEAN_MAG": np.array([mag]), "N": np.array([3])}
            )

        levels = {"R": {"a": 4e5, "b": 1e5}, "V": {"b": 5e4, "c": 1.0}}
        # A target as bright as star b in both sets has one magnitude.
        curves = [curve("R", -2.5 * np.log10(1e5)), curve("V", -2.5 * np.log10(5e4))]
        tied, star, moved = tied_curves(curves, levels)
        assert star == "b"
        assert moved["R"] == 0
        assert tied[0].nights["MAG"] == pytest.approx(-12.5)
        assert tied[1].nights["MAG"] == pytest.approx(-12.5)
        assert tied[1].nights["MEAN_MAG"] == pytest.approx(-12.5)
        assert curves[1].nights["MAG"] != pytest.approx(-12.5)
        assert tied_curves(curves[:1], levels)[1:] == ("", {})
        assert tied_curves(curves, {"R": {"a": 1.0}})[0] == curves

    def test_levels_without_table(self, tmp_path):
        assert star_levels(tmp_path / "renorm_R.parquet") == {}


# From stamps to coefficients, by the commands.

SIDE, NAMES = 33, "abcdefghi"


def write_stamps(
    folder: Path, frame: str, seed: int, names: str = NAMES, through: float = 1.0, companion: str = ""
) -> Path:
    """Stamps of nine stars of a frame, 33 px wide."""
    rng = np.random.default_rng(seed)
    psf = SeasonPsf((MoffatPart(1.0, 4.0 + 0.2 * (seed % 5), 0.02, 0.01, 3.0),))
    half, n = SIDE // 2, len(names)
    x = 60 + 40.0 * np.arange(n) + rng.uniform(-0.5, 0.5, n)
    y = 80 + 23.0 * (np.arange(n) % 4) + rng.uniform(-0.5, 0.5, n)
    corner = np.rint([x, y]).astype(int) - half
    data = np.empty((n, SIDE, SIDE), np.float32)
    for k, name in enumerate(names):
        flux = through * 3e5 / (1 + 0.3 * NAMES.index(name))
        light = flux * psf.stamp(x[k] - corner[0, k] - half, y[k] - corner[1, k] - half, half)
        if name == companion:
            light = light + 0.1 * np.roll(light, (3, 5), (0, 1))
        data[k] = rng.poisson(light) + rng.normal(0, 20, light.shape)
    stamps = Stamps(
        names=[*names],
        data=data,
        sigma=np.sqrt(np.maximum(data, 0) + 400).astype(np.float32),
        bad=np.zeros(data.shape, np.uint8),
        x0=corner[0],
        y0=corner[1],
        x=x,
        y=y,
        matrix=np.array([1.0, 0, 0, 0, 1, 0]),
        rms=20.0,
        frame=frame,
        set="R",
        fwhm=4.2,
    )
    path = folder / frame / f"{frame}_stamps.fits"
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps.write(path, {"lc_measure": 1})
    return path


def of_rows(schema, rows):
    """Columns, zeros and empty texts where a row says nothing."""
    return schema.of_rows(rows)


class FieldSet:
    """A set of a target on disk: two nights of three frames."""

    def __init__(self, root: Path, psf_sets=None):
        self.folder = root / "targets" / "T1" / "R"
        (self.folder / "chunks").mkdir(parents=True)
        self.frames = [f"f{k}" for k in range(6)]
        for k, frame in enumerate(self.frames):
            write_stamps(self.folder / "frames", frame, k, through=1 - 0.05 * k)
        self.write_tables(self.frames)
        self.stars("abcdef")
        told = {"name": "T1", "ra": 181.6, "dec": -23.5, "sets": {"R": {"camera": "generic", "raw": ["raw"]}}}
        self.target = root / "T1.yaml"
        self.target.write_text(yaml.safe_dump(told | ({"psf_sets": psf_sets} if psf_sets else {})))

    def table(self, kind):
        return self.folder / f"{kind}_R.parquet"

    def write_tables(self, frames, statuses=None):
        statuses = statuses or ["ok"] * len(frames)
        rows = [
            {"FRAME": f, "STATUS": s, "MJD": 6e4 + k, "SEEING_PX": 4.2}
            for k, (f, s) in enumerate(zip(frames, statuses, strict=True))
        ]
        write_table(self.table("frames"), schemas.FRAMES.of_rows(rows), schemas.FRAMES)
        moved = [{"FRAME": f, "STATUS": "ok", "MATRIX": np.array([1.0, 0, 0, 0, 1, 0])} for f in frames]
        write_table(self.table("transforms"), schemas.TRANSFORMS.of_rows(moved), schemas.TRANSFORMS)
        for n, part in enumerate((moved[:3], moved[3:])):
            write_table(
                self.folder / f"chunks/2024022{n}_measure.parquet",
                schemas.TRANSFORMS.of_rows(part),
                schemas.TRANSFORMS,
            )
        meta = {"photometric": {"R": "f1"}}
        write_table(
            self.folder.parent / "reference.parquet", schemas.REFERENCE.empty(), schemas.REFERENCE, meta=meta
        )

    def stars(self, psf, names=NAMES):
        rows = [{"STAR": n, "PSF": n in psf, "NORM": True, "SNR": 500.0 - k} for k, n in enumerate(names)]
        write_table(self.table("stars"), schemas.STARS.of_rows(rows), schemas.STARS)

    def run(self, *words, code=0):
        done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        assert (done.return_value or 0) == code, done.output
        return done.output

    def model(self, code=0):
        tables = [self.table(k) for k in ("frames", "transforms", "stars")]
        return self.run(
            "lc-psf-model",
            *tables,
            "-o",
            self.table("psfmodel"),
            "--target",
            self.target,
            "--set",
            "R",
            code=code,
        )

    def psf(self, *frames, table=None, code=0):
        words = [
            "--stars",
            self.table("stars"),
            "--model",
            self.table("psfmodel"),
            "--target",
            self.target,
            "--set",
            "R",
        ]
        more = ["--table", table, "--record-failure"] if table else []
        return self.run("lc-psf", *frames, "-o", self.folder / "frames", *words, *more, code=code)

    def nights(self):
        for path in sorted(self.folder.glob("chunks/*_measure.parquet")):
            self.psf(path, table=path.with_name(path.name.replace("measure", "psf")))

    def renorm(self, code=0):
        words = ["--frames", self.table("frames"), "--stars", self.table("stars"), "--set", "R"]
        words += ["--psf", self.table("psf"), "--fluxes", self.table("starfluxes")]
        chunks = sorted(self.folder.glob("chunks/*_psf.parquet"))
        reference = self.folder.parent / "reference.parquet"
        return self.run(
            "lc-renorm", *chunks, "-o", self.table("renorm"), *words, "--reference", reference, code=code
        )

    def all(self):
        self.model()
        self.nights()
        self.renorm()

    def product(self, frame):
        return self.folder / "frames" / frame / f"{frame}_psf.fits"


@pytest.fixture
def field_set(tmp_path, monkeypatch):
    """A set without products of the PSF."""
    monkeypatch.chdir(tmp_path)
    return FieldSet(tmp_path)


class TestStages:
    """lc-psf-model, lc-psf, lc-renorm."""

    def test_stamps_to_coefficients(self, field_set):
        field_set.all()
        model = read_table(field_set.table("psfmodel"))
        assert model["STARS"].tolist() == ["a b c d e f"]
        assert not model["GRADIENT"][0]
        assert "does not pay" in model["REASON"][0]
        psf = read_table(field_set.table("psf"))
        assert psf["FRAME"].tolist() == field_set.frames
        assert set(psf["STATUS"]) == {"ok"}
        assert psf["FWHM"] == pytest.approx([4.0, 4.2, 4.4, 4.6, 4.8, 4.0], abs=0.15)
        renorm = read_table(field_set.table("renorm"))
        assert renorm["C"][1] == 1
        truth = 0.95 / (1 - 0.05 * np.arange(6))
        assert renorm["C"] == pytest.approx(truth, rel=6e-3)
        assert (np.abs(renorm["C"] / truth - 1) < 5 * renorm["C_ERR"] + 5e-3).all()
        assert (renorm["N"] == 9).all()
        fluxes = read_table(field_set.table("starfluxes"))
        assert len(fluxes["FRAME"]) == 6 * 9
        assert renorm.meta["levels"]["a"] == pytest.approx(0.95 * 3e5, rel=0.02)
        x = fluxes["X"][(fluxes["FRAME"] == "f0") & (fluxes["STAR"] == "c")][0]
        assert x == pytest.approx(
            Stamps.read(field_set.folder / "frames/f0/f0_stamps.fits").x[2] + 1, abs=0.1
        )

    def test_frame_by_hand(self, field_set):
        field_set.model()
        field_set.psf(field_set.folder / "frames/f2/f2_stamps.fits")
        assert read_psf(field_set.product("f2")).fwhm == pytest.approx(4.4, abs=0.15)

    def test_what_stands_is_not_fitted_again(self, field_set):
        field_set.all()
        first = {f: field_set.product(f).stat().st_mtime_ns for f in field_set.frames}
        before = read_table(field_set.table("renorm"))
        frames = [*field_set.frames, "f6", "f7"]
        for k in (6, 7):
            write_stamps(field_set.folder / "frames", f"f{k}", k, through=0.7)
        field_set.write_tables(frames)
        field_set.nights()
        field_set.renorm()
        assert {f: field_set.product(f).stat().st_mtime_ns for f in field_set.frames} == first
        after = read_table(field_set.table("renorm"))
        assert after["FRAME"].tolist() == frames
        assert np.abs(after["C"][:6] / before["C"] - 1).max() < 2e-3
        chunk = read_table(field_set.folder / "chunks/20240221_psf.parquet")
        assert len(chunk["FRAME"]) == 5
        assert np.isfinite(chunk["STAR_FLUX"]).all()

    def test_same_names_another_choice_of_stars(self, field_set):
        field_set.all()
        first = {f: field_set.product(f).stat().st_mtime_ns for f in field_set.frames}
        assert read_psf_product(field_set.product("f0")).row["STARS"] == "a b c d e f"
        field_set.stars("defghi")
        field_set.all()
        assert all(field_set.product(f).stat().st_mtime_ns != first[f] for f in field_set.frames)
        assert set(read_table(field_set.table("psf"))["STARS"]) == {"d e f g h i"}

    def test_other_stamps_under_the_same_name(self, field_set):
        field_set.all()
        first = field_set.product("f0").stat().st_mtime_ns
        write_stamps(field_set.folder / "frames", "f0", 77)
        field_set.nights()
        assert field_set.product("f0").stat().st_mtime_ns != first

    @pytest.mark.parametrize("where", ["data", "sigma", "bad"])
    def test_nan_in_data_or_sigma_alone_masks_the_pixel_in_both(self, field_set, where):
        """What lies there has no part in the PSF, nor in the flux of its star."""
        path = field_set.folder / "frames/f0/f0_stamps.fits"
        stamps = Stamps.read(path)
        y, x = 16, 18  # a pixel from the middle
        stamps.data[0, y, x], stamps.sigma[0, y, x] = (
            np.nan if where == n else 1e6 for n in ("data", "sigma")
        )
        stamps.bad[0, y, x] = where == "bad"
        stamps.write(path, {"lc_measure": 1})
        star = star_of(Stamps.read(path), "a")
        assert np.argwhere(~star.good()).tolist() == [[y, x]]
        field_set.all()
        table = read_table(field_set.table("starfluxes"))
        i = np.flatnonzero((table["FRAME"] == "f0") & (table["STAR"] == "a"))[0]
        assert abs(table["FLUX"][i] / 3e5 - 1) < 5 * table["ERR"][i] / 3e5
        assert 0.5 < table["CHI2"][i] < 1.5
        assert read_table(field_set.table("psf"))["STATUS"].tolist() == ["ok"] * 6

    def test_two_psf_sets(self, tmp_path, monkeypatch):
        """The last that is available serves; each frame is once in each table."""
        monkeypatch.chdir(tmp_path)
        field = FieldSet(tmp_path, {"p1": "auto", "p2": ["b", "c", "d"]})
        write_stamps(field.folder / "frames", "f4", 4, names="acdefghi", through=0.8)  # without b
        field.all()
        assert read_table(field.table("psfmodel"))["PSF_SET"].tolist() == ["p1", "p2"]
        psf = read_table(field.table("psf"))
        assert psf["FRAME"].tolist() == field.frames
        assert psf["PSF_SET"].tolist() == ["p2", "p2", "p2", "p2", "p1", "p2"]
        assert psf["STARS"][0] == "b c d"
        assert "p2: 2 PSF stars" in psf["REASON"][4]
        renorm = read_table(field.table("renorm"))
        assert renorm["FRAME"].tolist() == field.frames
        assert renorm["PSF_SET"].tolist() == psf["PSF_SET"].tolist()
        assert renorm["N"].tolist() == [9, 9, 9, 9, 8, 9]
        assert renorm["C"] == pytest.approx(0.95 / (1 - 0.05 * np.arange(6)), rel=8e-3)
        fluxes = read_table(field.table("starfluxes"))
        keys = list(zip(fluxes["FRAME"], fluxes["STAR"], strict=True))
        assert len(keys) == len(set(keys)) == 54

    def test_star_with_a_companion_makes_no_psf(self, field_set):
        """It is found by its fit, and the next best takes its place; a star that the user names stays."""
        for k, frame in enumerate(field_set.frames):
            write_stamps(field_set.folder / "frames", frame, k, companion="b")
        field_set.model()
        model = read_table(field_set.table("psfmodel"))
        assert model["STARS"].tolist() == ["a c d e f g"]
        assert not model["GRADIENT"][0]
        decisions = {d.frame: d for d in from_meta(model.meta)}
        assert not decisions["star b"].kept
        assert decisions["star b"].value > decisions["star b"].limit
        told = yaml.safe_load(field_set.target.read_text()) | {
            "psf_sets": {"mine": ["a", "b", "c", "d", "e", "f"]}
        }
        field_set.target.write_text(yaml.safe_dump(told))
        field_set.model()
        assert read_table(field_set.table("psfmodel"))["STARS"].tolist() == ["a b c d e f"]

    def test_unknown_star_of_a_psf_set(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        field = FieldSet(tmp_path, {"p1": ["a", "b", "zz"]})
        with pytest.raises(ConfigError, match="no star 'zz'"):
            field.model()

    def test_frame_without_psf(self, field_set):
        field_set.all()
        write_stamps(field_set.folder / "frames", "f3", 3, names="abghi")
        field_set.nights()
        field_set.renorm()
        assert not field_set.product("f3").exists()  # nothing of the earlier fit stays
        psf = read_table(field_set.table("psf"))
        assert psf["STATUS"].tolist() == ["ok", "ok", "ok", "no_psf", "ok", "ok"]
        assert "2 PSF stars" in psf["REASON"][3]
        assert "c d e f" in psf["REASON"][3]
        renorm = read_table(field_set.table("renorm"))
        assert np.isnan(renorm["C"][3])
        assert renorm["N"][3] == 0
        decisions = [d for d in from_meta(renorm.meta) if d.frame == "f3"]
        assert len(decisions) == 1
        assert not decisions[0].kept
        assert "f3" not in read_table(field_set.table("starfluxes"))["FRAME"]
        field_set.psf(field_set.folder / "frames/f3/f3_stamps.fits", code=1)

    def test_stamps_that_cannot_be_read(self, field_set):
        field_set.model()
        path = field_set.folder / "frames/f1/f1_stamps.fits"
        path.write_bytes(path.read_bytes()[:4000])
        (field_set.folder / "frames/f2/f2_stamps.fits").unlink()
        field_set.nights()
        field_set.renorm()
        assert read_table(field_set.table("psf"))["STATUS"].tolist() == [
            "ok",
            "no_psf",
            "no_psf",
            "ok",
            "ok",
            "ok",
        ]
        renorm = read_table(field_set.table("renorm"))
        assert np.median(renorm["C"][np.isfinite(renorm["C"])]) == pytest.approx(1)  # the reference has none
        assert any("photometric reference f1" in d.reason for d in from_meta(renorm.meta))

    def test_kicked_frame_is_in_no_table(self, field_set):
        field_set.all()
        field_set.write_tables(field_set.frames, ["ok", "ok", "kicked", "ok", "ok", "ok"])
        field_set.renorm()
        for kind in ("psf", "renorm", "starfluxes"):
            assert "f2" not in read_table(field_set.table(kind))["FRAME"]

    def test_two_stars_are_flagged(self, field_set):
        rows = [{"STAR": n, "PSF": n in "abcd", "NORM": n in "ab", "SNR": 100.0} for n in NAMES]
        write_table(field_set.table("stars"), schemas.STARS.of_rows(rows), schemas.STARS)
        field_set.all()
        meta = read_table(field_set.table("renorm")).meta
        assert meta["few_stars"]
        assert meta["dropped"] == []
        assert any("only 2 comparison stars" in d.reason and d.kept for d in from_meta(meta))

    def test_nights_of_other_stars(self, field_set):
        field_set.all()
        field_set.stars("abcdef", names=NAMES[:-1])
        field_set.model()
        first = field_set.folder / "chunks/20240220_measure.parquet"
        field_set.psf(first, table=first.with_name("20240220_psf.parquet"))
        with pytest.raises(TableError, match="other stars"):
            field_set.renorm()

    def test_psf_file(self, tmp_path):
        surface = np.random.default_rng(1).normal(0, 1e-3, (9, 9))
        gradient = np.arange(6.0).reshape(3, 2) * 1e-5
        psf = EffectivePSF(4.1, 0.1, -0.2, 2.9, surface, 0.5, True, gradient, (100.5, 20.25))
        row = {"FRAME": "f", "PSF_SET": "p", "REASON": "x" * 200, "CHI2": 1.1, "N_STARS": 5, "STARS": "a b"}
        stars = schemas.STAR_FLUXES.of_rows(
            [{"FRAME": "f", "PSF_SET": "p", "STAR": "a", "FLUX": 10.0, "FLAGS": 16}]
        )
        path = tmp_path / "f_psf.fits"
        write_psf(path, PSFProduct(psf, row | psf_row(psf), stars), "R", {"lc_psf": 1})
        back = read_psf_product(path)
        for name in ("fwhm", "e1", "e2", "beta", "pitch", "integrated", "centre"):
            assert getattr(back.psf, name) == getattr(psf, name)
        assert back.psf.surface == pytest.approx(surface)
        assert back.psf.gradient == pytest.approx(gradient)
        assert {k: back.row[k] for k in row} == row
        assert back.stars["FLUX"].tolist() == [10.0]
        assert back.psf.stamp(0.2, 0.3, 8) == pytest.approx(psf.stamp(0.2, 0.3, 8), abs=1e-15)
        path.write_bytes(b"SIMPLE")
        with pytest.raises(TableError, match="lc-psf"):
            read_psf(path)
