"""The PSF of a frame and the fluxes of its stars, against simulated stars of known light."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace

import numpy as np
import pytest

from visql_lib.errors import RequestError
from visql_lib.flags import StarFlag
from visql_lib.photometry.psf_stars import fit_star
from visql_lib.psf.backends import psf_backend
from visql_lib.psf.effective import EffectivePSF
from visql_lib.psf.effective_fit import fit_effective, gradient_gain
from visql_lib.psf.star_stamps import StarStamp
from visql_lib.psf.starred_backend import from_fine_pixels
from visql_lib.psf.surface_fit import SurfaceOptions
from visql_lib.simulate.season_psf import MoffatPart, SeasonPsf

RMS = 22.0
FLUXES = np.geomspace(1.2e6, 1.2e5, 12)
HALF = 24
MMAG = 1085.7


def season_psf(fwhm, e1=0.03, e2=-0.02, beta=3.0, asymmetry=0.08, gradient=0.0):
    """A PSF that no Moffat is: a coma to one side."""
    coma = MoffatPart(asymmetry, 1.3 * fwhm, e1, e2, beta, 0.35 * fwhm, -0.2 * fwhm)
    main = MoffatPart(1 - asymmetry, fwhm, e1, e2, beta)
    return SeasonPsf((main, coma), gradient, 256.0, 256.0)


@dataclass
class Field:
    """Stars of a frame, and the least errors of their fluxes."""

    stars: list[StarStamp]
    truth: np.ndarray
    bound: np.ndarray
    psf: SeasonPsf


def star_stamp(psf, flux, x, y, rng, half=HALF, rms=RMS, name="a"):
    """A star with photon noise and that of the background, sky subtracted."""
    i, j = round(x), round(y)
    light = flux * psf.at(x).stamp(x - i, y - j, half)
    data = rng.poisson(light) + rng.normal(0, rms, light.shape)
    return StarStamp(name, data, np.zeros(data.shape, bool), i - half, j - half, x, y, rms)


def bound_of(psf, flux, x, y, half=HALF, rms=RMS):
    """Fisher information: true PSF, free flux, constant and place."""
    local, i, j, step = psf.at(x), round(x), round(y), 0.02
    p = local.stamp(x - i, y - j, half)
    px = (local.stamp(x - i + step, y - j, half) - local.stamp(x - i - step, y - j, half)) / (2 * step)
    py = (local.stamp(x - i, y - j + step, half) - local.stamp(x - i, y - j - step, half)) / (2 * step)
    design = np.stack([p, np.ones_like(p) * p.max(), px, py]).reshape(4, -1)
    design = design / (flux * p + rms**2).ravel() ** 0.5
    return np.sqrt(np.linalg.inv(design @ design.T)[0, 0])


def a_field(seed, fwhm, fluxes=FLUXES, through=1.0, jitter=0.2, **shape):
    """A frame of stars at fixed places of the sky, but for the pointing."""
    rng = np.random.default_rng([seed, 1])
    where = np.random.default_rng(3).uniform(30, 482, (len(fluxes), 2))
    psf = season_psf(fwhm, **shape)
    places = where + rng.uniform(-3, 3, 2)
    stars, bound = [], []
    for k, ((x, y), flux) in enumerate(zip(places, through * fluxes, strict=True)):
        star = star_stamp(psf, flux, x, y, rng, name="abcdefghijkl"[k])
        dx, dy = rng.normal(0, jitter, 2)
        stars.append(replace(star, x=x + dx, y=y + dy))
        bound.append(bound_of(psf, flux, x, y))
    return Field(stars, through * fluxes, np.array(bound), psf)


def season(frames, gradient_of_sky=0.0, gradient=False, n_psf=6):
    """Fluxes over truth of all stars, their errors, bounds and the seeing."""
    rng = np.random.default_rng(11)
    f, err, bound, seeing = [], [], [], []
    for n in range(frames):
        fwhm = 4.0 + 4.0 * n / max(frames - 1, 1)
        e1, e2 = rng.normal(0, 0.04, 2)
        field = a_field(
            n,
            fwhm,
            e1=e1,
            e2=e2,
            beta=rng.uniform(2.6, 3.6),
            through=rng.uniform(0.7, 1),
            gradient=gradient_of_sky,
        )
        fit = fit_effective(field.stars[:n_psf], gradient=gradient)
        assert fit.psf is not None, fit.reason
        found = [fit_star(star, fit.psf) for star in field.stars]
        f.append([s.flux for s in found] / field.truth)
        err.append([s.err for s in found] / field.truth)
        bound.append(field.bound / field.truth)
        seeing.append(fwhm)
    f = np.array(f)
    f /= np.median(f, axis=1)[:, None]
    return f / np.median(f, axis=0), np.array(err), np.array(bound), np.array(seeing)


@pytest.fixture(scope="module")
def plain_season():
    """Twenty-four frames of 0.8 to 1.6 arcsec."""
    return season(24)


class TestModel:
    """The PSF as a function."""

    @pytest.mark.parametrize(("pitch", "integrated", "fwhm"), [(1.0, False, 4.0), (1.04, False, 4.0)])
    def test_sum_is_one_wherever_the_source_lies(self, pitch, integrated, fwhm):
        surface = np.random.default_rng(1).normal(0, 1e-3, (15, 15))
        psf = EffectivePSF(fwhm, 0.1, -0.05, 3.5, surface, pitch, integrated)
        for dx, dy in ((0, 0), (0.3, 0.2), (0.5, -0.5)):
            assert psf.stamp(dx, dy, 150).sum() == pytest.approx(1, abs=2e-6)

    @pytest.mark.parametrize("integrated", [False, True])
    def test_slopes(self, integrated):
        surface = np.random.default_rng(1).normal(0, 1e-3, (15, 15))
        psf = EffectivePSF(2.2, 0.1, -0.05, 3.5, surface, 0.5, integrated)
        image, by_x, by_y = psf.stamp_with_slopes(0.2, -0.3, 12)
        step = 1e-4
        assert image == pytest.approx(psf.stamp(0.2, -0.3, 12), abs=1e-15)
        plus, minus = psf.stamp(0.2 + step, -0.3, 12), psf.stamp(0.2 - step, -0.3, 12)
        assert by_x == pytest.approx((plus - minus) / (2 * step), abs=1e-7)
        plus, minus = psf.stamp(0.2, -0.3 + step, 12), psf.stamp(0.2, -0.3 - step, 12)
        assert by_y == pytest.approx((plus - minus) / (2 * step), abs=1e-7)

    def test_signs_and_width(self):
        image = EffectivePSF(5.0, 0.2, 0.0, 3.0).stamp(0, 0, 20)
        assert image[20, 24] > 1.3 * image[24, 20]  # longer along x
        image = EffectivePSF(5.0, 0.0, 0.2, 3.0).stamp(0, 0, 20)
        assert image[23, 23] > 1.3 * image[23, 17]  # longer along x = y
        image = EffectivePSF(6.0, 0.0, 0.0, 3.0).stamp(0, 0, 20)
        assert image[20, 23] == pytest.approx(image[20, 20] / 2, rel=1e-9)
        moved = EffectivePSF(5.0, 0.0, 0.0, 3.0).stamp(0.4, -0.2, 40)
        grid = np.arange(-40, 41)
        assert (moved * grid[None, :]).sum() / moved.sum() == pytest.approx(0.4, abs=0.02)
        assert (moved * grid[:, None]).sum() / moved.sum() == pytest.approx(-0.2, abs=0.02)

    def test_gradient(self):
        surface = np.zeros((15, 15))
        surface[7, 8] = 1e-3
        slopes = np.array([[1e-4, 0.0], [0.0, 2e-4], [0.0, 0.0]])
        psf = EffectivePSF(5.0, 0.0, 0.0, 3.0, surface, gradient=slopes, centre=(100.0, 50.0))
        there = psf.at(300.0, 150.0)
        assert there.fwhm == pytest.approx(5 * np.exp(0.02))
        assert there.e1 == pytest.approx(0.02)
        assert there.e2 == 0
        assert there.gradient is None
        assert there.stamp(0.3, 0, 100).sum() == pytest.approx(
            psf.at(100, 50).stamp(0, 0, 100).sum(), abs=2e-5
        )
        assert psf.at(-1e6, 0).fwhm > 1  # far outside it stays a PSF

    def test_integrated_over_pixels(self):
        sharp = EffectivePSF(1.6, 0.0, 0.0, 3.0, integrated=True)
        truth = SeasonPsf((MoffatPart(1.0, 1.6, 0.0, 0.0, 3.0),))._in_pixels(0.3, -0.2, 8, 16)
        assert sharp.stamp(0.3, -0.2, 8) == pytest.approx(truth, abs=1.5e-3 * truth.max())
        assert sharp.stamp(0.3, -0.2, 8).sum() == pytest.approx(truth.sum(), abs=3e-4)


class TestFit:
    """The fit of a frame."""

    @pytest.mark.parametrize("fwhm", [2.0, 4.0, 7.0])
    def test_recovers_the_psf(self, fwhm):
        field = a_field(5, fwhm, FLUXES[:6])
        fit = fit_effective(field.stars)
        assert fit.psf is not None
        assert fit.psf.pitch == (0.5 if fwhm < 2.5 else 1.0)
        assert fit.psf.integrated == (fwhm < 2.5)
        assert fit.used == tuple("abcdef")
        assert fit.chi2 == pytest.approx(1, abs=0.1 if fwhm < 2.5 else 0.06)  # a sharp star is all core
        truth = field.psf.stamp(0.2, 0.1, HALF)
        # Where it is centred, and its scale, are a convention: they are those that fit the truth best.
        star = StarStamp("t", truth * 1e9, np.zeros(truth.shape, bool), -HALF, -HALF, 0.2, 0.1, 1e3)
        best = fit_star(star, fit.psf, clip=1e9)
        model = best.flux / 1e9 * fit.psf.stamp(best.x, best.y, HALF) + best.constant / 1e9
        assert np.abs(model - truth).max() < 0.012 * truth.max()
        assert best.flux == pytest.approx(1e9, rel=0.01)

    def test_guess_of_the_width_does_not_matter(self):
        field = a_field(5, 5.0, FLUXES[:6])
        fits = [fit_effective(field.stars, fwhm=guess) for guess in (2.6, 5.0, 9.0)]
        assert [fit.psf.fwhm for fit in fits] == pytest.approx([fits[1].psf.fwhm] * 3, rel=2e-3)

    def test_hit_and_neighbour_have_no_weight(self):
        field = a_field(6, 5.0, FLUXES[:6])
        clean = fit_effective(field.stars).psf
        stars = list(field.stars)
        data = stars[0].data.copy()
        data[HALF - 3, HALF - 6 : HALF - 2] += 9000.0
        stars[0] = replace(stars[0], data=data)
        neighbour = 3e4 * field.psf.stamp(14.2, 9.7, HALF)
        stars[1] = replace(stars[1], data=stars[1].data + neighbour)
        fit = fit_effective(stars)
        assert fit.psf.fwhm == pytest.approx(clean.fwhm, rel=0.01)
        star = field.stars[4]
        flux, before = fit_star(star, fit.psf), fit_star(star, clean)
        assert MMAG * abs(flux.flux / before.flux - 1) < 3

    def test_core_masked_or_saturated_is_left_out(self):
        field = a_field(7, 5.0, FLUXES[:6])
        stars = list(field.stars)
        bad = stars[0].bad.copy()
        bad[HALF - 3 : HALF + 4, HALF - 3 : HALF + 4] = True
        stars[0] = replace(stars[0], bad=bad)
        hot = np.zeros_like(bad)
        hot[HALF, HALF] = True
        stars[1] = replace(stars[1], bad=hot, saturated=hot)
        fit = fit_effective(stars)
        assert fit.used == tuple("cdef")
        assert "core" in fit.left_out["a"]
        assert fit.left_out["b"] == "saturated"
        assert fit_star(stars[0], fit.psf).flags == StarFlag.BAD_PIXELS
        assert np.isnan(fit_star(stars[0], fit.psf).flux)
        assert fit_star(stars[1], fit.psf).flags & StarFlag.SATURATED
        far = np.zeros_like(bad)
        far[2, 2] = True  # a hot pixel far from the star does not matter
        assert fit_star(replace(field.stars[2], bad=far, saturated=far), fit.psf).flags == 0

    def test_too_few_stars(self):
        field = a_field(7, 5.0, FLUXES[:3])
        assert fit_effective(field.stars).psf is not None
        fit = fit_effective(field.stars[:2])
        assert fit.psf is None
        assert "2 PSF stars" in fit.reason
        nothing = [replace(s, data=np.full_like(s.data, np.nan)) for s in field.stars]
        assert fit_effective(nothing).psf is None
        assert fit_effective([]).reason == "no PSF star is in the frame"

    def test_trail_and_noise_are_no_psf(self):
        field = a_field(8, 4.0, FLUXES[:5])
        rng = np.random.default_rng(2)
        trailed = [
            replace(s, data=sum(np.roll(s.data, (k, k), (0, 1)) for k in range(-16, 17)) / 33)
            for s in field.stars
        ]
        fit = fit_effective(trailed)
        assert fit.psf is None
        assert fit.reason
        noise = [replace(s, data=rng.normal(0, RMS, s.data.shape)) for s in field.stars]
        assert fit_effective(noise).psf is None

    def test_gradient_pays_only_where_there_is_one(self):
        gain, limit = gradient_gain(a_field(9, 5.0, FLUXES[:8]).stars)
        assert gain < 0.7 * limit
        gain, limit = gradient_gain(a_field(9, 5.0, FLUXES[:8], gradient=0.03).stars)
        assert gain > 3 * limit
        assert gradient_gain(a_field(9, 5.0, FLUXES[:7]).stars) is None

    def test_gradient_is_found(self):
        field = a_field(9, 5.0, gradient=0.06)
        fit = fit_effective(field.stars, gradient=True)
        left, right = fit.psf.at(0, 256), fit.psf.at(512, 256)
        assert right.fwhm / left.fwhm == pytest.approx(1.06 / 0.94, abs=0.01)
        up, down = fit.psf.at(256, 512), fit.psf.at(256, 0)
        assert up.fwhm / down.fwhm == pytest.approx(1, abs=0.01)
        assert fit_effective(field.stars[:7], gradient=True).psf.gradient is None


class TestSeason:
    """Curves of constant stars."""

    def test_scatter_is_that_of_the_bound(self, plain_season):
        f, _, bound, _ = plain_season
        ratio = np.sqrt(np.mean(((f - 1) / bound) ** 2, axis=0))
        assert 0.85 < np.median(ratio) < 1.2
        assert ratio.max() < 1.6

    def test_errors_are_honest(self, plain_season):
        f, err, bound, _ = plain_season
        assert np.std((f - 1) / err) == pytest.approx(1, abs=0.12)
        assert np.median(err / bound) == pytest.approx(1, abs=0.03)

    def test_no_trend_with_seeing(self, plain_season):
        """Less than 1 mmag in 0.1 arcsec: half a pixel here."""
        f, _, _, seeing = plain_season
        slopes = np.polyfit(seeing, MMAG * (f - 1), 1)[0] * 0.5
        assert np.abs(slopes).max() < 1

    def test_gradient_season(self):
        """FWHM 6 % wider at one edge, 6 % narrower at the other."""
        without = season(8, gradient_of_sky=0.06)[0]
        assert MMAG * np.std(without - 1, axis=0).max() > 6
        f, _, bound, _ = season(8, gradient_of_sky=0.06, gradient=True, n_psf=10)
        beyond = np.sqrt(np.clip(np.var(f, axis=0) - np.median(bound, axis=0) ** 2, 0, None))
        assert MMAG * beyond.max() < 3
        ratio = np.sqrt(np.mean(((f - 1) / bound) ** 2, axis=0))
        assert 0.7 < np.median(ratio) < 1.25


class TestStamp:
    """What is taken of a stamp."""

    def test_within(self):
        star = star_stamp(season_psf(4.0), 1e5, 100.3, 60.8, np.random.default_rng(1), 30)
        near = star.within(4.0)
        assert near.half == 14
        assert near.offset == pytest.approx(star.offset)
        assert near.data[14, 14] == star.data[30, 30]
        assert star.within(2.0).half == 12
        assert star.within(20.0) is star


class TestStarred:
    """STARRED behind the same interface."""

    def test_from_fine_pixels(self):
        """An image in half pixels, as exact as it can be, gives the truth in whole ones at any place."""
        truth, half = season_psf(4.0), 30
        fine = SeasonPsf(tuple(replace(p, fwhm=2 * p.fwhm, dx=2 * p.dx, dy=2 * p.dy) for p in truth.parts))
        full = fine.stamp(0.5, 0.5, 2 * half)[1:, 1:]  # its middle is the corner of four pixels
        moffat = EffectivePSF(4.2, 0.0, 0.0, 2.8, np.ones((3, 3)))
        made = from_fine_pixels(3 * full, moffat)
        assert made.pitch == 0.5
        for dx, dy in ((0, 0), (0.3, -0.2)):
            image = truth.stamp(dx, dy, 20)
            assert made.stamp(dx, dy, 20) == pytest.approx(image, abs=2e-3 * image.max())
            assert made.stamp(dx, dy, 150).sum() == pytest.approx(1, abs=1e-3)

    def test_without_starred(self):
        if importlib.util.find_spec("starred") is not None:
            pytest.skip("STARRED is installed")
        with pytest.raises(RequestError, match=r"visql\[starred\]"):
            psf_backend("starred", SurfaceOptions())
        with pytest.raises(RequestError, match="own, starred"):
            psf_backend("other", SurfaceOptions())

    def test_same_fluxes(self):
        pytest.importorskip("starred")
        field = a_field(5, 4.0, FLUXES[:6])
        fits = [psf_backend(n, SurfaceOptions()).fit(field.stars, False, 4.0) for n in ("own", "starred")]
        own, other = ([fit_star(s, fit.psf).flux for s in field.stars] for fit in fits)
        ratio = np.array(own) / other
        assert np.abs(ratio / np.median(ratio) - 1).max() < 0.5 * (field.bound / field.truth).max()


@pytest.fixture(scope="module")
def one_psf():
    """A PSF of a frame, fitted to bright stars."""
    return a_field(20, 4.5, np.full(6, 3e6)), fit_effective(a_field(20, 4.5, np.full(6, 3e6)).stars).psf


class TestStarFlux:
    """The flux of one star."""

    def test_error_does_not_hang_on_the_size_of_the_stamp(self, one_psf):
        field, psf = one_psf
        errors = {}
        for side in (25, 51, 101):
            rng = np.random.default_rng(side)
            pulls, err = [], []
            for _ in range(150):
                x, y = 200 + rng.uniform(-0.5, 0.5, 2)
                star = star_stamp(field.psf, 1.5e5, x, y, rng, side // 2)
                found = fit_star(star, psf)
                pulls.append(found.flux)
                err.append(found.err)
            errors[side] = np.median(err)
            assert np.std(pulls) / errors[side] == pytest.approx(1, abs=0.13)
        assert max(errors.values()) < 1.05 * min(errors.values())

    @pytest.mark.parametrize("where", [(0, 0), (0, 2), (3, -1), (9, 9)])
    def test_one_masked_pixel(self, one_psf, where):
        field, psf = one_psf
        star = field.stars[3]
        star = star_stamp(field.psf, 2e5, 200.2, 199.9, np.random.default_rng(4))
        whole = fit_star(star, psf)
        bad = star.bad.copy()
        bad[HALF + where[0], HALF + where[1]] = True
        data = star.data.copy()
        data[bad] = 1e6  # what lies below a mask does not count
        masked = fit_star(replace(star, data=data, bad=bad), psf)
        assert abs(masked.flux - whole.flux) < whole.err
        assert 1 <= masked.err / whole.err < 1.05
        nan = np.where(bad, np.nan, star.data)
        assert fit_star(replace(star, data=nan), psf).flux == pytest.approx(masked.flux, rel=1e-9)

    def test_place_and_constant(self, one_psf):
        field, psf = one_psf
        rng = np.random.default_rng(5)
        star = star_stamp(field.psf, 5e5, 101.3, 87.6, rng)
        first = fit_star(star, psf)
        moved = fit_star(replace(star, x=star.x + 1.2, y=star.y - 0.9, data=star.data + 50), psf)
        assert (moved.x, moved.y) == pytest.approx((first.x, first.y), abs=1e-3)
        assert moved.flux == pytest.approx(first.flux, abs=0.05 * first.err)
        assert moved.constant - first.constant == pytest.approx(50, abs=0.01)
        assert (first.x, first.y) == pytest.approx((101.3, 87.6), abs=0.3)  # the coma's share

    def test_unmasked_hit_is_clipped_once(self, one_psf):
        field, psf = one_psf
        star = star_stamp(field.psf, 3e5, 200.2, 199.9, np.random.default_rng(6))
        whole = fit_star(star, psf)
        data = star.data.copy()
        data[HALF + 4, HALF - 5 : HALF - 1] += 4000
        assert abs(fit_star(replace(star, data=data), psf).flux - whole.flux) < 2 * whole.err

    def test_what_cannot_be_measured(self, one_psf):
        field, psf = one_psf
        star = field.stars[0]
        assert fit_star(replace(star, x=star.x + 100), psf).flags == StarFlag.OUTSIDE
        assert fit_star(replace(star, rms=float("nan")), psf).flags == StarFlag.NO_FIT
        assert fit_star(replace(star, data=np.full_like(star.data, np.nan)), psf).flags == StarFlag.BAD_PIXELS
        dark = fit_star(replace(star, data=-star.data), psf)
        assert dark.flags == StarFlag.NO_FIT
        assert np.isnan(dark.flux)
        assert np.isnan(dark.err)
