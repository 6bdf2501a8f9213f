"""Angles to the Sun: their definition, the spacecraft's place, a month's table and its text."""

from __future__ import annotations

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from visql_lib.archives.errors import SourceError
from visql_lib.archives.horizons import spacecraft_positions
from visql_lib.cli.angles import command
from visql_lib.errors import LegacyFormatError, TableError
from visql_lib.flags import SunFlag
from visql_lib.pipelines.vis.legacy.angles_text import read_angles_text, write_angles_text
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.schemas.radiation import ANGLES, GOES_SERIES
from visql_lib.pipelines.vis.stages.angles import month_angles
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.sky.ephemeris import Ephemeris
from visql_lib.sky.sun import ASTRONOMICAL_UNIT, earth_and_sun, solar_angles, sun_direction, wrapped
from visql_lib.tables.ephemeris import read_ephemeris
from visql_lib.tables.plate import write_plate
from visql_lib.tables.store import read_table, write_table

START = np.datetime64("2024-07-13T03:28:40", "us")
REAL = (56.24568699, -55.71421686, 46.21774651)  # header of the real exposure: RA, DEC, PA
DAY = np.timedelta64(1, "D")
L2 = 1.5e6  # km


def test_the_real_exposure():
    saa, alpha = solar_angles(*REAL, sun_direction(START))
    assert (round(float(saa), 2), round(float(alpha), 2)) == (90.99, -4.41)
    # Its header says 91.66, -4.52: what an orbit about L2 makes of it.
    assert abs(saa - 91.66) < 1
    assert abs(alpha + 4.52) < 1


def test_direction_is_that_of_astropy():
    from astropy.coordinates import get_sun
    from astropy.time import Time
    from astropy.utils import iers

    times = np.array(["2017-01-01T12:00", "2023-07-01T00:00", "2024-07-13T03:28:40"], dtype="datetime64[us]")
    with iers.conf.set_temp("auto_download", False):
        truth = get_sun(Time(times, scale="utc")).cartesian.xyz.value.T
    truth = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    off = np.degrees(np.linalg.norm(sun_direction(times) - truth, axis=1)) * 3600
    assert off.max() < 21  # aberration of light: 20.5 arcsec


def test_the_earth_is_where_it_should_be():
    days = START + np.arange(0, 366, 5) * DAY
    earth, sun = earth_and_sun(days)
    distance = np.linalg.norm(earth - sun, axis=1) / ASTRONOMICAL_UNIT
    assert distance.min() == pytest.approx(0.9833, abs=2e-4)
    assert distance.max() == pytest.approx(1.0167, abs=2e-4)
    assert np.linalg.norm(sun, axis=1).max() < 2e6  # of the barycentre
    beyond = np.array(["NaT", "1800-01-01", "2200-01-01"], dtype="datetime64[us]")
    assert np.isnan(sun_direction(beyond)).all()
    assert sun_direction(np.array([], dtype="datetime64[us]")).shape == (0, 3)


def test_spacecraft_sees_another_sun():
    earth, sun = earth_and_sun(START)
    away = (earth - sun) / np.linalg.norm(earth - sun)
    side = np.cross(away, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    places = np.array([earth + L2 * away, earth + 1e6 * side, [np.nan] * 3])
    seen = sun_direction(np.repeat(START, 3), places)
    home = sun_direction(START)
    off = np.degrees(np.arccos(np.clip(seen @ home, -1, 1)))
    assert off[0] < 1e-3
    assert off[1] == pytest.approx(np.degrees(1e6 / np.linalg.norm(earth - sun)), rel=1e-3)
    assert off[2] == 0  # not known: from the Earth


def by_definition(ra, dec, pa, s):
    """Section 6 of the measurements, word by word, for one pointing."""
    a, d = np.radians(ra), np.radians(dec)
    t = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    west = -np.array([-np.sin(a), np.cos(a), 0.0])
    f = np.cross(np.cross(s, t), t)
    f = f / np.linalg.norm(f)
    alpha = pa - 90 - np.degrees(np.arctan2(f @ north, f @ west))
    return np.degrees(np.arccos(np.clip(s @ t, -1, 1))), (alpha + 180) % 360 - 180


@settings(max_examples=60, deadline=None)
@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), pa=st.floats(-360, 720), day=st.integers(0, 365))
def test_angles_are_those_of_the_definition(ra, dec, pa, day):
    sun = sun_direction(START + day * DAY)
    saa, alpha = solar_angles(ra, dec, pa, sun)
    expected = by_definition(ra, dec, pa, sun)
    assert 0 <= saa <= 180
    assert -180 <= alpha < 180
    assert saa == pytest.approx(expected[0], abs=1e-5)
    if 0.1 < saa < 179.9:
        assert abs(wrapped(alpha - expected[1])) < 1e-6
        turned = solar_angles(ra, dec, pa + 33.0, sun)[1]
        assert abs(wrapped(turned - alpha - 33.0)) < 1e-9


def test_degenerate_pointings():
    x = np.array([1.0, 0.0, 0.0])
    ra, dec = np.array([0.0, 180.0, 0.0, 90.0, 30.0]), np.array([0.0, 0.0, 1e-9, 90.0, -90.0])
    saa, alpha = solar_angles(ra, dec, np.zeros(5), x)
    np.testing.assert_allclose(saa, [0, 180, 1e-9, 90, 90], atol=1e-12)
    assert np.isnan(alpha[:2]).all()  # towards the Sun, and away from it
    # Just north of the Sun, f points north: alpha = -90 - 90; at the poles RA says where north is.
    np.testing.assert_allclose(wrapped(alpha[2] + 180), 0, atol=1e-6)
    assert np.isfinite(alpha[3:]).all()
    np.testing.assert_allclose(alpha[3], by_definition(90.0, 90.0, 0.0, x)[1])
    for where in range(3):
        values = [10.0, 20.0, 30.0]
        values[where] = np.nan
        saa, alpha = solar_angles(*values, x)
        assert np.isnan(saa) == (where < 2)
        assert np.isnan(alpha)
    assert np.isnan(solar_angles(10.0, 20.0, 30.0, np.full(3, np.nan))).all()


@given(st.floats(-1e6, 1e6))
def test_wrapped(angle):
    value = float(wrapped(angle))
    assert -180 <= value < 180
    assert abs((value - angle + 180) % 360 - 180) < 1e-6
    assert wrapped(180.0) == -180
    assert wrapped(-1e-30 - 180) == -180


# The spacecraft's place


def orbit(time):
    """A loop about L2 as of half a year [km]."""
    earth, sun = earth_and_sun(time)
    away = (earth - sun) / np.linalg.norm(earth - sun, axis=-1, keepdims=True)
    phase = (np.asarray(time) - START) / DAY * 2 * np.pi / 180
    up = np.stack([np.zeros_like(phase), np.zeros_like(phase), np.ones_like(phase)], axis=-1)
    return (
        earth
        + L2 * away
        + 5e5 * (np.sin(phase)[..., None] * up + np.cos(phase)[..., None] * np.cross(away, up))
    )


def test_ephemeris_interpolates():
    known = START + np.arange(0, 31) * DAY
    order = np.random.default_rng(1).permutation(31)
    ephemeris = Ephemeris.of(known[order], orbit(known)[order])
    wanted = START + np.random.default_rng(2).uniform(0, 30 * 86400e6, 200).astype("timedelta64[us]")
    assert np.abs(ephemeris.at(wanted) - orbit(wanted)).max() < 1  # km
    np.testing.assert_allclose(ephemeris.at(known), orbit(known), rtol=1e-12)
    outside = ephemeris.at(np.array([START - 1, known[-1] + 1, np.datetime64("NaT")]))
    assert np.isnan(outside).all()
    assert ephemeris.span == "2024-07-13T03:28:40 to 2024-08-12T03:28:40"


def test_ephemeris_with_holes():
    known = START + np.array([0, 1, 2, 2, 3, 20, 21]) * DAY
    place = orbit(known)
    place[1] = np.nan
    ephemeris = Ephemeris.of(known, place)
    assert len(ephemeris.time) == 5
    found = ephemeris.at(START + np.array([1, 2, 10, 20]) * DAY)
    assert np.isfinite(found).all(axis=1).tolist() == [True, True, False, True]
    single = Ephemeris.of(known[:1], place[:1])
    assert np.isfinite(single.at(known[:2])).all(axis=1).tolist() == [True, False]
    nothing = Ephemeris.of([], np.empty((0, 3)))
    assert np.isnan(nothing.at([START])).all()
    assert nothing.span == "no time"
    with pytest.raises(ValueError, match="2 times"):
        Ephemeris.of(known[:2], place[:1])


def write_positions(path, time, position, unit="km"):
    path.unlink(missing_ok=True)
    texts = np.datetime_as_string(time, unit="s")
    table = Table({"TIME": texts, **dict(zip("XYZ", position.T, strict=True))})
    if path.suffix == ".parquet":
        columns = {"time": pa.array(time.astype("datetime64[us]")), "x": position[:, 0]}
        pq.write_table(pa.table(columns | {"y": position[:, 1], "z": position[:, 2]}), path)
    elif path.suffix == ".csv":
        table["TIME"] = [f"{t}Z" for t in texts]
        table.write(path, format="ascii.csv")
    elif path.suffix == ".fits":
        table["TIME"] = (time - np.datetime64("1858-11-17")) / DAY + 2400000.5
        for name in "XYZ":
            table[name] = table[name] / ASTRONOMICAL_UNIT
            table[name].unit = "AU"
        table.write(path)
    else:
        for name in "XYZ":
            table[name].unit = unit
        table.write(path, format="ascii.ecsv")


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".parquet", ".fits"])
def test_table_of_positions(tmp_path, suffix):
    time = START.astype("datetime64[s]") + np.arange(10) * DAY
    path = tmp_path / f"positions{suffix}"
    write_positions(path, time, orbit(time))
    found = read_ephemeris(path)
    assert found.source == path.name
    assert np.abs((found.time - time) / np.timedelta64(1, "ms")).max() < 1
    np.testing.assert_allclose(found.position, orbit(time), rtol=1e-9)


def test_tables_that_are_none(tmp_path):
    time, path = START + np.arange(3) * DAY, tmp_path / "p.ecsv"

    def refused(pattern, name="p.ecsv"):
        with pytest.raises(TableError, match=pattern):
            read_ephemeris(tmp_path / name)

    refused("cannot be read")
    write_positions(path, time, orbit(time) / ASTRONOMICAL_UNIT)
    refused("not near the Earth's orbit")
    write_positions(path, time, orbit(time), unit="s")
    refused("X is no length")
    (tmp_path / "p.csv").write_text("TIME,X,Y\n2024-07-01,1,2\n")
    refused("has no column Z", "p.csv")
    (tmp_path / "p.csv").write_text("TIME,X,Y,Z\nyesterday,1,2,3\n")
    refused("TIME is no date", "p.csv")
    (tmp_path / "p.csv").write_text("TIME,X,Y,Z\n12.5,1,2,3\n")
    refused("neither a date nor a Julian", "p.csv")
    (tmp_path / "p.csv").write_text("TIME,X,Y,Z\n2024-07-01,a,2,3\n")
    refused("X is no length", "p.csv")
    (tmp_path / "p.csv").write_text("TIME,X,Y,Z\n2024-07-01,nan,2,3\n")
    refused("no row", "p.csv")
    (tmp_path / "p.parquet").write_bytes(b"nothing")
    refused("cannot be read", "p.parquet")
    (tmp_path / "p.txt").write_text("")
    refused("neither ECSV", "p.txt")


HORIZONS_ANSWER = """\
Target body name: Euclid (spacecraft) (-680)      {{source: EUCLID}}
Center body name: Solar System Barycenter (0)     {{source: DE441}}
            JDTDB,            Calendar Date (TDB),                      X,                      Y,\
                      Z,                     VX,                     VY,                     VZ,\
                     LT,                     RG,                     RR,
$$SOE
{rows}
$$EOE
"""


class Horizons:
    """The service on loopback."""

    def __init__(self):
        self.status, self.body, self.asked = 200, "", []

    def handler(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                service.asked.append(self.path)
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(service.body.encode())

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def horizons(monkeypatch):
    from astroquery.jplhorizons import conf

    service = Horizons()
    server = ThreadingHTTPServer(("127.0.0.1", 0), service.handler())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    # Only some addresses may be set in astroquery's configuration.
    monkeypatch.setattr(type(conf), "horizons_server", f"http://127.0.0.1:{server.server_port}/api")
    yield service
    server.shutdown()
    server.server_close()
    thread.join()


def horizons_rows(time, position):
    days = (time - np.datetime64("2000-01-01T12:00:00", "us")) / DAY + 2451545.0 + 69.184 / 86400
    return "\n".join(
        f"{day:.9f}, A.D. 2024-Jul-13 00:00:00.0000, {', '.join(f'{v:.15E}' for v in p)}, 0, 0, 0, 0, 0, 0,"
        for day, p in zip(days, position / ASTRONOMICAL_UNIT, strict=True)
    )


def test_horizons(horizons):
    time = START + np.arange(5) * DAY
    horizons.body = HORIZONS_ANSWER.format(rows=horizons_rows(time, orbit(time)))
    found = spacecraft_positions("-680", START, START + 2 * DAY)
    assert np.abs((found[0] - time) / np.timedelta64(1, "ms")).max() < 1
    np.testing.assert_allclose(found[1], orbit(time), rtol=1e-12)
    (asked,) = horizons.asked
    for part in ("-680", "2024-07-12", "2024-07-16", "VECTORS", "FRAME"):
        assert part in asked
    horizons.body = 'No ephemeris for target "Euclid" after A.D. 2020-JAN-01\n'
    with pytest.raises(SourceError, match="No ephemeris for target"):
        spacecraft_positions("-680", START, START)
    horizons.status = 503
    with pytest.raises(SourceError, match="cannot be reached"):
        spacecraft_positions("-680", START, START)


# A month


def row(name, **values):
    """A row of a sheet."""
    hour = int(values.pop("hour", 3))
    texts = dict.fromkeys(("file", "obs_id", "calblkid", "calblkvr", "dithobs", "reason", "context"), "")
    numbers = dict.fromkeys(("ra", "dec", "pa", "saa", "alpha"), np.nan)
    base = {
        "exposure": name,
        "frame_type": "SCIENCE",
        "date_obs": f"2024-07-13T{hour:02d}:28:40.000",
        "date_source": "DATE-OBS",
        "exptime": 560.52,
        "img_t1": "SCI",
        "img_t2": "VIS SCIENCE",
        "status": "ok",
        "size": 1,
        "mtime": 1,
    }
    return SheetRow(**{**texts, **numbers, **base, **values})


POINTING = dict(zip(("ra", "dec", "pa"), REAL, strict=True))
STEM = "C_20240713_032840_W_{:08X}.VIS.bin_01_01"


@pytest.fixture
def month(tmp_path):
    """Rows of a month and the files of their products."""
    rows = [
        row(STEM.format(1), **POINTING, saa=91.66, alpha=-4.52),
        row(STEM.format(2), **POINTING, hour=4),
        row(STEM.format(3), hour=5),
        row(STEM.format(4), hour=6),
        row(STEM.format(5), hour=7, ra=REAL[0], dec=REAL[1]),
        row(STEM.format(6), hour=8, frame_type="BIAS", exptime=0.0, img_t2=""),
        row(STEM.format(7), hour=9, saa=91.0),
        row(STEM.format(8), hour=10, **POINTING, status="growing"),
        row(STEM.format(9).replace("_03", "_11"), date_obs="2024-07-13T11:28:40.000", **POINTING),
    ]
    folder = MonthFiles(tmp_path, "202407")
    plate = {"RA": REAL[0], "DEC": REAL[1], "PA": REAL[2], "CRVAL1": REAL[0], "CRVAL2": REAL[1]}
    plate |= {"CD1_1": 1.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1.0}
    write_plate(path_of(folder, 3), plate)
    write_plate(path_of(folder, 4), {}, "no match")
    path_of(folder, 6).parent.mkdir()
    path_of(folder, 6).write_text("broken")
    return rows, folder


def path_of(folder, number):
    return folder.frame_file(STEM.format(number), ".wcs")


def series(minutes=300, flux=1e-6):
    """X-ray flux of some minutes, from an hour before."""
    time = START - np.timedelta64(1, "h") + np.arange(minutes) * np.timedelta64(1, "m")
    columns = {"TIME": time, "XRSA": np.full(minutes, flux, np.float32), "GOOD": np.ones(minutes, bool)}
    return columns | {"XRSB": columns["XRSA"] * 10, "SATELLITE": np.full(minutes, "GOES-16")}


def test_month(month, vis):
    rows, folder = month
    found = month_angles(rows, folder, series(), vis)
    table = ANGLES.cast(found.columns)
    assert not found.notes
    assert table["ANGLE_SOURCE"].tolist() == [
        *("header", "Earth", "Earth", "none", "Earth", "none", "header", "Earth")
    ]
    assert table["POINTING_SOURCE"].tolist() == [
        *("header", "header", "plate", "none", "header", "none", "none", "header")
    ]
    assert table["SAA"][0] == 91.66
    expected = solar_angles(*REAL, sun_direction(table["DATE_OBS"]))
    np.testing.assert_allclose(table["SAA"][[1, 2, 4, 7]], expected[0][[1, 2, 4, 7]], atol=1e-9)
    np.testing.assert_allclose(table["ALPHA"][[1, 2, 7]], expected[1][[1, 2, 7]], atol=1e-9)
    assert np.isnan(table["ALPHA"][4])
    assert table["SAA"][6] == 91.0
    np.testing.assert_allclose(table["ANGLE_ACCURACY"][[0, 1, 3]], [0.01, 1.0, np.nan])
    no_pointing, no_angles, no_goes = SunFlag.NO_POINTING, SunFlag.NO_ANGLES, SunFlag.NO_GOES
    flags = table["FLAGS"] & ~int(no_goes | SunFlag.NEAREST)
    lost = no_pointing | no_angles
    assert flags.tolist() == [0, 0, 0, lost, no_angles, lost, lost, 0]
    assert table["GOES_FLUX"][0] == pytest.approx(1e-6)
    assert table["GOES_FLUENCE"][0] == pytest.approx(
        1e-6 * (560.52 + vis.detector.readout_time / 2), rel=1e-5
    )
    assert np.isnan(table["GOES_FLUX"][6])
    assert table["FLAGS"][6] & no_goes
    assert table["GOES_SATELLITE"][0] == "GOES-16"
    empty = month_angles([], folder, GOES_SERIES.empty(), vis)
    assert all(len(values) == 0 for values in ANGLES.cast(empty.columns).values())
    nothing = month_angles(rows, folder, GOES_SERIES.empty(), vis).columns
    assert np.isnan(nothing["GOES_FLUX"]).all()


def test_month_with_an_ephemeris(month, vis):
    rows, folder = month
    known = START + np.arange(-24, 2) * np.timedelta64(1, "h")
    ephemeris = Ephemeris.of(known, orbit(known), "orbit.ecsv")
    found = month_angles(rows, folder, series(), vis, ephemeris)
    assert found.columns["ANGLE_SOURCE"].tolist()[:5] == ["header", "ephemeris", "Earth", "none", "Earth"]
    assert found.columns["ANGLE_ACCURACY"][1] == 0.02
    (note,) = found.notes
    assert "orbit.ecsv" in note
    assert "3 exposures" in note
    when = START + np.timedelta64(1, "h")
    expected = solar_angles(*REAL, sun_direction(when, orbit(when)))
    assert found.columns["SAA"][1] == pytest.approx(float(expected[0]), abs=1e-6)


# Its text


def test_text_reads_back(month, vis, tmp_path):
    rows, folder = month
    columns = month_angles(rows, folder, series(), vis).columns
    path = tmp_path / "All_Angles_and_GOES_202407.txt"
    write_angles_text(path, columns)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# exposure")
    # Columns are of one width: every line's numbers end below their titles.
    ends = [lines[0].index(title) + len(title) for title in ("SAA[deg]", "ALPHA[deg]", "GOES[J/m2]")]
    for line in lines[1:]:
        assert all(line[end - 1] != " " and line[end] == " " for end in ends)
    found = read_angles_text(path)
    for name in ("EXPOSURE", "FRAME_TYPE", "ANGLE_SOURCE", "POINTING_SOURCE"):
        assert found[name].tolist() == columns[name].tolist()
    assert found["IMG_T2"].tolist() == [t.replace(" ", "_") for t in columns["IMG_T2"].tolist()]
    limits = {"EXPTIME": 0.005, "SAA": 5e-4, "ALPHA": 5e-4, "RA": 5e-7, "DEC": 5e-7, "PA": 5e-6}
    for name, limit in limits.items():
        np.testing.assert_allclose(found[name], columns[name], atol=1.001 * limit, rtol=0)
    for name in ("GOES_FLUX", "GOES_FLUENCE"):
        np.testing.assert_allclose(found[name], columns[name], rtol=5e-5)
    np.testing.assert_array_equal(found["DATE_OBS"], columns["DATE_OBS"])


def test_text_of_nothing_and_of_something_else(tmp_path):
    path = tmp_path / "a.txt"
    write_angles_text(path, ANGLES.empty())
    assert len(path.read_text().splitlines()) == 1
    assert len(read_angles_text(path)["SAA"]) == 0
    one = {
        name: np.zeros(1, v.dtype) if v.dtype.kind != "M" else np.array(["NaT"], v.dtype)
        for name, v in ANGLES.empty().items()
    }
    write_angles_text(path, one)
    found = read_angles_text(path)
    assert np.isnat(found["DATE_OBS"][0])
    assert found["EXPOSURE"][0] == ""
    good = path.read_text()
    for text, why in (
        ("x\n", "first line"),
        (good + "a b\n", "line 3 has 2 words"),
        (good.replace("0.00 ", "zero "), "zero"),
    ):
        path.write_text(text)
        with pytest.raises(LegacyFormatError, match=why):
            read_angles_text(path)
    with pytest.raises(LegacyFormatError, match="cannot be read"):
        read_angles_text(tmp_path / "none.txt")


# The command


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def config_of(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def sheet_in(folder):
    """Return where the month's sheet is."""
    sheet = MonthFiles(folder, "202407").sheet
    sheet.parent.mkdir(exist_ok=True)
    return sheet


def test_command(month, tmp_path):
    rows, _ = month
    sheet, out, text = sheet_in(tmp_path), tmp_path / "angles_202407.parquet", tmp_path / "a.txt"
    write_sheet(sheet, rows)
    goes = tmp_path / "goes_20240713.parquet"
    write_table(goes, series(), GOES_SERIES)
    result = run(sheet, goes, "-o", out, "--text", text)
    assert result.exit_code == 0, result.output
    table = read_table(out)
    assert table.n_rows == 8
    assert table.meta["stage"] == "angles"
    assert table["ANGLE_SOURCE"].tolist()[:3] == ["header", "Earth", "Earth"]
    assert len(read_angles_text(text)["SAA"]) == 8
    time = START + np.arange(-2, 3) * DAY
    write_positions(tmp_path / "o.ecsv", time, orbit(time))
    config = config_of(tmp_path, f"sun: {{ephemeris: {tmp_path / 'o.ecsv'}}}\n")
    assert run(sheet, "-o", out, "--config", config).exit_code == 0
    table = read_table(out)
    assert table["ANGLE_SOURCE"].tolist()[:3] == ["header", "ephemeris", "ephemeris"]
    assert table.meta["ephemeris"] == "o.ecsv"
    config = config_of(tmp_path, "sun: {ephemeris: missing.ecsv}\n")
    assert run(sheet, "-o", out, "--config", config).exit_code == 1


def test_command_asks_horizons(month, tmp_path, horizons):
    rows, _ = month
    sheet, out = sheet_in(tmp_path), tmp_path / "a.parquet"
    write_sheet(sheet, rows)
    config = config_of(tmp_path, "sun: {ephemeris: horizons}\n")
    time = START + np.arange(-2, 3) * DAY
    horizons.body = HORIZONS_ANSWER.format(rows=horizons_rows(time, orbit(time)))
    assert run(sheet, "-o", out, "--config", config).exit_code == 0
    assert read_table(out)["ANGLE_SOURCE"].tolist()[1] == "ephemeris"
    horizons.status = 500
    assert run(sheet, "-o", out, "--config", config).exit_code == 0
    table = read_table(out)
    assert table["ANGLE_SOURCE"].tolist()[1] == "Earth"
    assert "Horizons" in table.meta["notes"][0]
    n = len(horizons.asked)
    write_sheet(sheet, [replace(rows[0])])  # nothing to compute: nobody is asked
    assert run(sheet, "-o", out, "--config", config).exit_code == 0
    assert len(horizons.asked) == n
