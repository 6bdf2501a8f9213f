"""Star selection on chimneys whose place is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from visql_lib.flags import SelectionFlag
from visql_lib.psf.stars import chimney_region, select_between, select_stars

FLUXES = {"flux_unit": 3e5, "stack_flux_min": 1e5}  # of VIS


def chimney(r_star=1.13, f_c=4.8e5, n_stars=400, n_plume=150, n_galaxies=3000, n_cosmics=5000, seed=1):
    """A radius-flux diagram with stars, saturated stars, galaxies and cosmic rays, in this order."""
    rng = np.random.default_rng(seed)
    star_f = 10 ** rng.uniform(3.5, np.log10(f_c / 2), n_stars)
    star_r = r_star * rng.normal(1, 0.01, n_stars)
    plume_r = r_star * 10 ** rng.uniform(0.02, 0.8, n_plume)
    plume_f = (plume_r / r_star) ** 2 * f_c * rng.uniform(0.92, 1.08, n_plume)
    galaxy_r = 10 ** rng.uniform(0.2, 1, n_galaxies)
    galaxy_f = 10 ** rng.normal(3.6, 0.3, n_galaxies)
    cosmic_r = rng.uniform(0.4, 1.5, n_cosmics)
    cosmic_f = 10 ** rng.uniform(2.5, 4.2, n_cosmics)
    return {
        "FLUX_RADIUS": np.concatenate([star_r, plume_r, galaxy_r, cosmic_r]),
        "FLUX_AUTO": np.concatenate([star_f, plume_f, galaxy_f, cosmic_f]),
        "B_IMAGE": np.repeat([1.8, 4.0, 2.5, 0.7], [n_stars, n_plume, n_galaxies, n_cosmics]),
    }


@pytest.mark.parametrize("r_star", [1.13, 1.6, 2.9])
def test_the_chimney_is_found_whatever_the_image_quality(r_star):
    f_c = 3.7e5 * r_star**2
    catalogue = chimney(r_star, f_c)
    chosen, selection = select_stars(catalogue, **FLUXES)
    assert_allclose(selection.r_median, r_star, rtol=0.005)
    # The search is on a grid: 12 % steps in radius, 18 % steps in flux.
    assert_allclose(selection.r_c, r_star, rtol=0.13)
    assert_allclose(selection.f_max, selection.f_c / 2)
    assert_allclose(selection.f_min, selection.f_max / 10)
    stars = slice(0, 400)
    expected = (catalogue["FLUX_AUTO"][stars] > selection.f_min) & (
        catalogue["FLUX_AUTO"][stars] < selection.f_max
    )
    assert (chosen[stars] == expected).mean() > 0.99
    assert chosen[400:].sum() <= 0.05 * chosen.sum()
    assert selection.flags == 0


@pytest.mark.parametrize("foot", [3e4, 1e5, 3e5])
def test_the_search_counts_what_the_region_holds(foot):
    """Leaving out what can be in no region at all changes no count."""
    catalogue = chimney(1.0, 3.1e5)
    _, selection = select_stars(catalogue, flux_unit=3e5, stack_flux_min=foot)
    thick = catalogue["B_IMAGE"] > 1.3
    radius, flux = catalogue["FLUX_RADIUS"][thick], catalogue["FLUX_AUTO"][thick]
    inside = chimney_region(radius, flux, selection.r_c, selection.f_c, stack_flux_min=foot)
    assert selection.n_region == inside.sum() > 0


def test_thin_detections_are_never_stars():
    catalogue = chimney()
    catalogue["B_IMAGE"][:] = 1.3
    chosen, selection = select_stars(catalogue, **FLUXES)
    assert not chosen.any()
    assert selection.flags == SelectionFlag.NO_STARS | SelectionFlag.FEW_STARS


def test_the_region_is_as_defined():
    r_c, f_c = 1.2, 5e5
    radius = np.array([1.2, 1.2, 2.4, 2.4, 1.05, 1.25])
    flux = np.array([2e5, 1.2e6, 2.0e6, 4e6, 2e5, 6e4])
    # stack; above the wall; plume; above the plume; left of the stack; below its foot
    assert chimney_region(radius, flux, r_c, f_c, stack_flux_min=1e5).tolist() == [
        True,
        False,
        True,
        False,
        False,
        False,
    ]


def test_no_detection_is_a_result():
    empty = {name: np.zeros(0) for name in ("FLUX_RADIUS", "FLUX_AUTO", "B_IMAGE")}
    chosen, selection = select_stars(empty, **FLUXES)
    assert chosen.shape == (0,)
    assert selection.flags & SelectionFlag.NO_DETECTIONS
    assert selection.as_dict()["r_median"] is None


def test_few_stars_are_flagged():
    chosen, selection = select_stars(chimney(n_stars=6, n_plume=4, n_galaxies=50), **FLUXES)
    assert 0 < chosen.sum() < 10
    assert selection.flags == SelectionFlag.FEW_STARS


def test_flat_frames_use_fixed_limits():
    catalogue = {
        "FLUX_RADIUS": np.array([1.5, 0.9, 1.5, 2.1]),
        "FLUX_AUTO": np.array([2e4, 2e4, 4e5, 2e4]),
        "B_IMAGE": np.ones(4),
    }
    chosen, _ = select_between(catalogue, radius=(1, 2), flux=(1e4, 3e5))
    assert not chosen.any()
    catalogue["B_IMAGE"][:] = 1.4
    chosen, selection = select_between(catalogue, radius=(1, 2), flux=(1e4, 3e5))
    assert chosen.tolist() == [True, False, False, False]
    assert selection.kind == "fixed"
