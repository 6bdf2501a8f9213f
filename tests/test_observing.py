"""Times at the Sun and at the barycentre, altitudes and Moon: against numbers known, and against astropy."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visql_lib.pipelines.lightcurves.target_file import load_target
from visql_lib.sky.observing import OBSERVED, Site, airmass, mjd_of_bjd, observe

EULER = Site(-(70 + 43 / 60 + 48 / 3600), -(29 + 15 / 60 + 24 / 3600), 2347.0)


def mjd(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime(1858, 11, 17)).total_seconds() / 86400


def one(when: str, ra: float, dec: float, site: Site | None = EULER) -> dict[str, float]:
    return {name: float(values[0]) for name, values in observe(mjd(when), ra, dec, site).items()}


def test_euler_2012() -> None:
    seen = one("2012-03-14T04:10:30", 172.965, -12.5325)
    assert seen["MHJD"] == pytest.approx(56000.179504, abs=1e-5)
    assert seen["BJD_TDB"] == pytest.approx(2456000.680286, abs=1e-5)
    assert seen["AIRMASS"] == pytest.approx(1.0554, abs=1e-4)
    assert seen["SUN_ALT"] == pytest.approx(-56.8, abs=0.05)
    assert seen["MOON_LIT"] == pytest.approx(0.599, abs=5e-4)
    assert seen["MOON_DIST"] == pytest.approx(75.3, abs=0.05)


def test_wfi2033_2016() -> None:
    ra, dec = 15 * (20 + 33 / 60 + 42.08 / 3600), -(47 + 23 / 60 + 43 / 3600)
    seen = one("2016-10-05T01:00:00", ra, dec)
    assert seen["MHJD"] == pytest.approx(57666.043108, abs=1e-5)
    assert seen["BJD_TDB"] == pytest.approx(2457666.543891, abs=1e-5)


def test_places_as_text_and_as_degrees_give_the_same_times(tmp_path: Path) -> None:
    found = []
    for name, ra, dec in (("text", '"11:31:51.6"', '"-12:31:57"'), ("degrees", "172.965", "-12.5325")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"name: x\nra: {ra}\ndec: {dec}\nsets: {{R: {{camera: generic, raw: raw}}}}\n", encoding="utf-8"
        )
        target = load_target(path)
        found.append(one("2012-03-14T04:10:30", target.ra, target.dec))
    for name in OBSERVED:
        assert found[0][name] == pytest.approx(found[1][name], abs=1e-8)


def test_tdb_is_in_the_barycentric_time_alone() -> None:
    """66.184 s of leap seconds and TT - TAI in 2012: in BJD, not in MHJD; a pole of the ecliptic has no
    light time to speak of."""
    when = mjd("2012-03-14T04:10:30")
    seen = one("2012-03-14T04:10:30", 270.0, 66.5607)
    assert abs(seen["MHJD"] - when) * 86400 < 1.0
    assert (seen["BJD_TDB"] - 2400000.5 - when) * 86400 == pytest.approx(66.184, abs=5.0)


@pytest.mark.parametrize("when", ["1995-07-01T22:00:00", "2012-03-14T04:10:30", "2024-11-30T05:20:00"])
def test_against_astropy(when: str) -> None:
    """astropy's own transformations, of the same target at the same site."""
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time
    from astropy.utils import iers

    seen = one(when, 172.965, -12.5325)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        site = EarthLocation.from_geodetic(
            EULER.longitude * u.deg, EULER.latitude * u.deg, EULER.height * u.m
        )
        time = Time(when, scale="utc", location=site)
        target = SkyCoord(172.965 * u.deg, -12.5325 * u.deg)
        frame = AltAz(obstime=time, location=site)
        there = target.transform_to(frame)
        sun, moon = (get_body(name, time, site).transform_to(frame) for name in ("sun", "moon"))
        heliocentric = time.light_travel_time(target, "heliocentric").to_value(u.day)
        barycentric = time.light_travel_time(target, "barycentric").to_value(u.day)
        assert seen["MHJD"] == pytest.approx(time.mjd + heliocentric, abs=1e-8)
        assert seen["BJD_TDB"] == pytest.approx(time.tdb.jd + barycentric, abs=3e-8)
        assert seen["ALT"] == pytest.approx(there.alt.deg, abs=0.001)
        assert seen["AZ"] == pytest.approx(there.az.deg, abs=0.003)
        assert seen["SUN_ALT"] == pytest.approx(sun.alt.deg, abs=0.01)  # aberration is 0.006 deg
        assert seen["MOON_ALT"] == pytest.approx(moon.alt.deg, abs=0.01)
        assert seen["SUN_DIST"] == pytest.approx(sun.separation(there).deg, abs=0.01)
        assert seen["MOON_DIST"] == pytest.approx(moon.separation(there).deg, abs=0.01)


def test_rotation_of_the_earth_is_that_of_astropy() -> None:
    from astropy.utils import iers

    from visql_lib.sky.observing import _ut1_utc

    table = iers.IERS_A.open(iers.IERS_A_FILE)
    days = np.array([44239.3, 50449.6, 57753.99, 57754.01, 60000.5])  # with a leap second in between
    wanted: NDArray = table.ut1_utc(days + 2400000.5).to_value("s")
    np.testing.assert_allclose(
        _ut1_utc(days), wanted, atol=1e-3
    )  # astropy takes Bulletin B, where there is one


def test_years_ahead_are_warned_of_and_computed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        late = observe(mjd("2061-03-14T04:10:30"), 172.965, -12.5325, EULER, "frame_7")
        observe(mjd("2012-03-14T04:10:30"), 172.965, -12.5325, EULER, "frame_8")
    assert [r.getMessage()[:8] for r in caplog.records] == ["frame_7:"]
    assert all(np.isfinite(late[name]).all() for name in ("MHJD", "BJD_TDB", "ALT", "SUN_ALT", "MOON_LIT"))


def test_what_is_not_known_is_nan() -> None:
    seen = observe([np.nan, 56000.0], 172.965, -12.5325, None)
    assert np.isnan([values[0] for values in seen.values()]).all()
    assert np.isnan(seen["ALT"][1])
    assert np.isnan(seen["AIRMASS"][1])
    here = one("2012-03-14T04:10:30", 172.965, -12.5325)
    centre = one("2012-03-14T04:10:30", 172.965, -12.5325, None)
    assert 0 < abs(here["BJD_TDB"] - centre["BJD_TDB"]) * 86400 < 0.022
    without = one("2012-03-14T04:10:30", np.nan, np.nan)
    assert np.isnan(without["BJD_TDB"])
    assert without["SUN_ALT"] == pytest.approx(here["SUN_ALT"], abs=1e-9)


def test_airmass() -> None:
    assert airmass(90.0) == pytest.approx(1.0, abs=1e-4)
    assert airmass(30.0) == pytest.approx(2.0, abs=0.01)
    assert airmass(0.01) == pytest.approx(40.0, rel=0.01)  # 1 / 0.025 at the horizon
    assert np.isnan(airmass(-0.01))
    assert np.isnan(airmass(-57.0))  # the formula alone gives -1.2


def test_a_barycentric_date_goes_back() -> None:
    when = mjd("2012-03-14T04:10:30")
    seen = one("2012-03-14T04:10:30", 172.965, -12.5325)
    assert mjd_of_bjd(seen["BJD_TDB"], 172.965, -12.5325, EULER) == pytest.approx(when, abs=1e-8)
