"""Settings reach the functions that measure as the keywords they are meant for, and have the same defaults."""

import inspect
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from visql_lib.frames import load_instrument
from visql_lib.photometry import ratios, trend
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages import gaia_match as gaia
from visql_lib.pipelines.vis.stages import gaia_project, moments, stars
from visql_lib.pipelines.vis.stages import geometry as month_astrometry
from visql_lib.pipelines.vis.stages import particles as radiation
from visql_lib.pipelines.vis.stages import ratios as month_ratios
from visql_lib.pipelines.vis.stages.trend import trend_limits
from visql_lib.products.context import Context
from visql_lib.psf import moments as psf_moments
from visql_lib.psf import stars as psf_stars
from visql_lib.run_record import RunRecord
from visql_lib.sky import astrometry, geometry_fit
from visql_lib.sky.projection import Boresight
from visql_lib.sources import detect_sources
from visql_lib.steps import catalog

DEFAULTS = VisSettings()
VIS = load_instrument("euclid_vis")


class Called(Exception):
    """Carries the arguments of a call that a test has caught."""


def catch(monkeypatch, module, name):
    def function(*arguments, **keywords):
        raise Called(arguments, keywords)

    monkeypatch.setattr(module, name, function)


def called(function, *arguments):
    with pytest.raises(Called) as caught:
        function(*arguments)
    return caught.value.args


def distinct(section):
    """The section with a number of its own in every field of one number."""
    numbers = [n for n, v in dict(section).items() if isinstance(v, int | float) and not isinstance(v, bool)]
    return section.model_copy(update={name: 1000 + i for i, name in enumerate(numbers)})


def same(keywords, section, but=()):
    """Every keyword has the value of the setting of its name."""
    for name in keywords.keys() - set(but):
        assert keywords[name] == getattr(section, name), name


@pytest.mark.parametrize(
    ("function", "section"),
    [
        (detect_sources, DEFAULTS.catalog),
        (psf_moments.measure_moments, DEFAULTS.moments),
        (psf_stars.select_stars, DEFAULTS.stars),
        (psf_stars.chimney_region, DEFAULTS.stars),
        (astrometry.solve_exposure, DEFAULTS.astrometry),
        (geometry_fit.fit_geometry, DEFAULTS.astrometry),
        (TrendLimits, DEFAULTS.trend),
        (trend.trends, DEFAULTS.trend),
        (ratios.fit_colour_relation, DEFAULTS.ratios),
    ],
)
def test_functions_have_the_defaults_of_the_settings(function, section):
    parameters = inspect.signature(function).parameters.values()
    shared = [p for p in parameters if p.name in type(section).model_fields and p.default is not p.empty]
    assert shared
    for parameter in shared:
        if parameter.name != "geometry":  # a FocalPlaneGeometry there, a word here
            assert parameter.default == getattr(section, parameter.name), parameter.name


def test_detection(monkeypatch):
    catch(monkeypatch, catalog, "detect_sources")
    settings = distinct(DEFAULTS.catalog)
    (image, threshold), keywords = called(catalog._detect, "pixels", settings, 7.0)
    assert (image, threshold, keywords["saturation"]) == ("pixels", settings.threshold, 7.0)
    same(keywords, settings, but=["saturation"])
    assert keywords.keys() == type(settings).model_fields.keys() - {"threshold"} | {"saturation"}


def test_star_selection(monkeypatch):
    settings = distinct(DEFAULTS.stars)
    catch(monkeypatch, stars, "select_stars")
    (catalogue,), keywords = called(stars._select, "catalogue", settings, False)
    assert catalogue == "catalogue"
    same(keywords, settings)
    assert keywords.keys() == {n for n in type(settings).model_fields if not n.startswith("flat_")}
    catch(monkeypatch, stars, "select_between")
    _, keywords = called(stars._select, "catalogue", settings, True)
    assert keywords["radius"] == (settings.flat_radius_min, settings.flat_radius_max)
    assert keywords["flux"] == (settings.flat_flux_min, settings.flat_flux_max)
    same(keywords, settings, but=["radius", "flux"])


def test_moments(monkeypatch):
    catch(monkeypatch, moments, "measure_moments")
    settings = distinct(DEFAULTS.moments).model_copy(update={"stamp": 29, "border": 10})
    quadrant = SimpleNamespace(
        name="q", layout=SimpleNamespace(shape=(60, 60), is_moved=False), pixels=np.ones((60, 60), np.uint16)
    )
    table = {"EXT": np.array(["q"]), "X_IMAGE": np.array([30.0]), "Y_IMAGE": np.array([30.0])}
    _, keywords = called(moments.measure_exposure_moments, [quadrant], table, settings)
    assert len(keywords) == 4
    same(keywords, settings)


def test_astrometry(monkeypatch, tmp_path):
    settings = distinct(DEFAULTS.astrometry).model_copy(update={"geometry": "shift"})
    catch(monkeypatch, gaia, "solve_exposure")
    pointing = Boresight(1.0, 2.0, 3.0)
    arguments, keywords = called(gaia._solve, "moments", {"RA": 0}, pointing, VIS, settings, None)
    assert arguments[:4] == ("moments", {"RA": 0}, pointing, None)
    assert arguments[4].distortion.x == VIS.sky_distortion.x
    assert keywords.pop("per_ccd") == "shift"
    assert keywords.pop("pixel") == VIS.nominal_pixel / 3600
    assert len(keywords) == 5
    same(keywords, settings)

    catch(monkeypatch, month_astrometry, "fit_geometry")
    monkeypatch.setattr(month_astrometry, "science_exposures", lambda sheet: [])
    for geometry, expected in (("shift", "shift"), ("reference", "none")):
        section = settings.model_copy(update={"geometry": geometry})
        whole = DEFAULTS.model_copy(update={"astrometry": section})
        inputs = month_astrometry.GeometryInputs(MonthFiles(tmp_path, "202407"))
        _, keywords = called(month_astrometry.run, Context(whole, VIS, RunRecord()), inputs)
        assert keywords.pop("per_ccd") == expected
        assert keywords.pop("pixel") == VIS.nominal_pixel / 3600
        assert len(keywords) == 2
        same(keywords, settings)


def test_reference_stars(monkeypatch):
    catch(monkeypatch, gaia_project, "reference_stars")
    monkeypatch.setattr(gaia_project, "_read", lambda paths: "stars")
    section = distinct(DEFAULTS.gaia).model_copy(update={"proper_motions": False})
    settings = DEFAULTS.model_copy(update={"gaia": section})
    pointing = Boresight(1.0, 2.0, 3.0)
    inputs = gaia_project.ProjectInputs((), pointing, None, "E")
    arguments, keywords = called(gaia_project.run, Context.using(settings, ()), inputs)
    assert arguments == ("stars", pointing, 0.0)
    assert len(keywords) == 4
    same(keywords, section)


def test_trend():
    settings = distinct(DEFAULTS.trend)
    same(asdict(trend_limits(settings)), settings)


def test_cells_of_flux_ratios(monkeypatch):
    catch(monkeypatch, month_ratios, "aggregate")
    settings = distinct(DEFAULTS.ratios).model_copy(update={"fit_gain": "none"})
    place = {"RA": np.array([VIS.photometry.selfcal.ra, 0.0]), "DEC": np.array([65.3, 0.0])}
    arguments, keywords = called(month_ratios._aggregated, "stars", place, settings, "cells", VIS)
    assert arguments[:3] == ("stars", place, "cells")
    assert keywords["min_stars"] == settings.min_stars
    assert keywords["in_selfcal"].tolist() == [True, False]
    rule, gain = arguments[3], VIS.gain_models["3"]
    assert rule("day", "fpa").faintest == rule("exposure", "fpa").faintest == settings.faintest_fit
    assert rule("day", "ccd").faintest == np.inf
    assert rule("day", "ccd").gain["1-1.E"] == pytest.approx(1 / gain["1-1.E"])


def test_particles(monkeypatch):
    catch(monkeypatch, radiation, "select_particles")
    settings = DEFAULTS.radiation
    section = settings.model_copy(
        update={"xray_flux": (1, 2), "cosmic_flux": (3, 4), "proton_flux": (5, 6), "max_flux_radius": 7}
    )
    count = radiation.RadiationCount(section, VIS)
    one = {"EXT": np.array(["1-1.E"])}
    one |= {name: np.array([0.5]) for name in ("FLUX_AUTO", "FLUX_RADIUS", "X_WORLD", "Y_WORLD")}
    _, keywords = called(count.add, one)
    assert keywords["flux_ranges"] == {"xray": (1, 2), "cosmic": (3, 4), "proton": (5, 6)}
    assert keywords["max_flux_radius"] == 7
