"""Particles: rates with Poisson errors, maps, the part lit by X-rays, the month, where light leaks in."""

import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri, pdtrc

from visql_lib.cli.month_radiation import command as month_command
from visql_lib.cli.radiation import command
from visql_lib.config import CatalogSettings
from visql_lib.errors import TableError
from visql_lib.flags import QuadrantFlag, RadiationFlag
from visql_lib.frames import load_instrument, open_exposure
from visql_lib.pictures.style import render_png
from visql_lib.pipelines import load_settings
from visql_lib.pipelines.vis.month_files import MonthFiles
from visql_lib.pipelines.vis.pictures.leak import answer, leak_picture
from visql_lib.pipelines.vis.pictures.radiation import (
    map_of,
    particle_map,
    particle_scale,
    radius_flux_diagram,
    summary_text,
)
from visql_lib.pipelines.vis.pictures.radiation_month import log_span, radiation_timeline
from visql_lib.pipelines.vis.schemas.leak import LEAK
from visql_lib.pipelines.vis.schemas.radiation import ANGLES, MONTH_RADIATION, RADIATION, RADIATION_MAPS
from visql_lib.pipelines.vis.schemas.radiation_metadata import RadiationMetadata
from visql_lib.pipelines.vis.settings import RadiationSettings
from visql_lib.pipelines.vis.stages.month_radiation import month_radiation
from visql_lib.pipelines.vis.stages.particles import RadiationCount
from visql_lib.pipelines.vis.stages.simulate import make_frames
from visql_lib.qc.limits import Thresholds
from visql_lib.radiation.illuminated import illuminated_part, significance
from visql_lib.radiation.leak import leak_table, leakage, with_angles
from visql_lib.radiation.maps import Grid, bin_area, excess, exposed_area, radius_flux
from visql_lib.radiation.particles import (
    COLUMNS,
    count_error,
    quadrant_area,
    rates,
    select_particles,
    sensitive_time,
)
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.simulate.plan import exposures_of
from visql_lib.steps.catalog import measure_frame
from visql_lib.tables import CATALOGUE, QUADRANTS, read_facts, read_meta, read_table, write_table
from visql_lib.tables.metadata import facts_in
from visql_lib.tables.store import read_parts

VIS = load_instrument("euclid_vis")
SETTINGS = RadiationSettings()
LONG = 560.52
TIME = LONG + 36.0
STEM = "C_20240713_032840_W_52167482.VIS.bin_01_01"


def catalogue(n, seed=1, quadrants=("1-1.E", "3-3.F"), **columns):
    """`n` detections at random places of some quadrants, all X-rays unless `columns` say otherwise."""
    rng = np.random.default_rng(seed)
    names = np.repeat(quadrants, -(-n // len(quadrants)))[:n]
    x, y = np.empty(n), np.empty(n)
    for name in quadrants:
        layout, rows = VIS.quadrants[name], names == name
        place = (layout.image_columns, layout.image_rows)
        pixels = [rng.uniform(s.start + 1, s.stop, int(rows.sum())) for s in place]
        x[rows], y[rows] = layout.wcs.to_world(*pixels)
    found = {c.name: np.zeros(n) for c in CATALOGUE.columns}
    return found | {
        "EXT": names,
        "X_WORLD": x,
        "Y_WORLD": y,
        "FLUX_AUTO": np.full(n, 800.0, np.float32),
        "FLUX_RADIUS": np.full(n, 0.7, np.float32),
        **columns,
    }


def counted(table, exptime=LONG, quadrants=None, config=SETTINGS):
    """Particles of a catalogue."""
    count = RadiationCount(config, VIS)
    count.add(table)
    return count.result(exptime, quadrants)


def quadrant_table(names, flags=None):
    """EXT and FLAGS of a table of quadrants."""
    return {"EXT": np.array(names), "FLAGS": np.array(flags if flags is not None else [0] * len(names))}


# Selection and rates.


def test_kinds_of_particles():
    flux = np.array([400.0, 401, 1199, 1200, 0.0, -5, 2999, 3000, 10001, 40000, np.nan, 800, 800, 800])
    radius = np.array([0.5] * 11 + [0.9, 0.89, np.nan])
    found = select_particles(
        flux, radius, flux_ranges=SETTINGS.flux_ranges, max_flux_radius=SETTINGS.max_flux_radius
    )
    assert_array_equal(found["xray"], [1, 2, 12])
    assert_array_equal(found["cosmic"], [0, 1, 2, 3, 6, 12])
    assert_array_equal(found["proton"], [8])


def test_area_and_time_of_a_rate():
    """2048 x 2066 pixels of 12 um; half of 72 s of readout."""
    area = quadrant_area(VIS.quadrants["1-1.E"], VIS.geometry.pixel_size)
    assert area == pytest.approx(2048 * 2066 * 1.2e-3**2)
    assert sensitive_time(LONG, 72.0) == pytest.approx(596.52)
    assert math.isnan(sensitive_time(math.nan, 72.0))
    found = rates({"xray": np.array([400, 0])}, np.array([area, area]), TIME)
    assert_allclose(found["XRAY_RATE"], [400 / area / TIME, 0])
    assert_allclose(found["XRAY_RATE_ERR"], [20 / area / TIME, 1.841 / area / TIME], rtol=1e-3)
    for unknown in (rates({"xray": [3]}, [area], math.nan), rates({"xray": [3]}, [0.0], TIME)):
        assert np.isnan([*unknown["XRAY_RATE"], *unknown["XRAY_RATE_ERR"]]).all()


@pytest.mark.parametrize("mean", [20.0, 300.0])
def test_errors_are_poisson(mean):
    """Pulls of 20000 simulated counts have the width 1; a count's own root makes them a little skew."""
    rng = np.random.default_rng(3)
    numbers = rng.poisson(mean, 20000)
    assert np.std((numbers - mean) / np.sqrt(mean)) == pytest.approx(1, abs=0.02)
    assert np.mean(count_error(numbers) ** 2) == pytest.approx(mean, rel=0.02)
    pulls = (numbers - mean) / count_error(numbers)
    assert np.std(pulls) == pytest.approx(1, abs=0.1 if mean < 100 else 0.02)


def test_the_error_of_nothing():
    """Of a true number equal to that error, nothing is counted in 15.87 % of cases."""
    assert math.exp(-float(count_error(0))) == pytest.approx(0.158655, rel=1e-5)


# Maps.


def test_bins_are_those_of_the_definition():
    """Bins of 250 and 200 px, 36000 px to the degree, over |x|, |y| < 0.4 deg."""
    xray, cosmic = Grid.of_bins(250, 0.4, VIS.nominal_pixel), Grid.of_bins(200, 0.4, VIS.nominal_pixel)
    assert xray.dx == pytest.approx(250 / 36000)
    assert (xray.nx, cosmic.nx) == (116, 144)
    assert cosmic.x_edges[-1] == pytest.approx(0.4)
    assert Grid(**xray.meta) == xray
    x, y = np.array([-0.4, 0.0, 0.399999, 0.41, np.nan]), np.array([-0.4, 0.0, -0.4, 0.0, 0.0])
    number = cosmic.count(x, y)
    assert number.sum() == 3
    assert number[0, 0] == number[72, 72] == number[0, 143] == 1


def test_the_edge_of_the_maps_is_sharp():
    outside = catalogue(50, X_WORLD=np.full(50, 0.4), Y_WORLD=np.zeros(50))
    assert "xray" not in counted(outside).maps["MAP"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_excess_is_the_tenth_fullest_bin_less_the_median(numbers):
    ranked = sorted(numbers, reverse=True)
    assert excess(np.array(numbers)) == ranked[:10][-1] - np.median(numbers)


def test_radius_flux_diagram():
    grid = Grid.of_radius_flux()
    flux = np.array([10**2.5, 1e4, 10**5.6, 0.0, -3.0, np.nan, 1e4], np.float32)
    radius = np.array([0.5, 2.99, 1.0, 1.0, 1.0, 1.0, 3.0], np.float32)
    number = radius_flux(flux, radius, grid)
    assert number.sum() == 2
    assert number[:, 16].sum() == 1  # 0.5 px, bins of 1/32 px
    assert number[50].sum() == 1  # 1e4 ADU, bins of 0.03 dex


def pixel_of(instrument):
    """Sides of a pixel, on the detector [um] and on the sky [deg]."""
    return {"pixel_size": instrument.geometry.pixel_size, "scale": instrument.geometry.scale}


def test_exposed_area_is_that_of_the_image_sections(toy):
    for instrument in (VIS, toy):
        grid = Grid.of_bins(250, 0.4, VIS.nominal_pixel)  # the quadrants of the toy camera overlap by 1.5 px
        area = exposed_area(grid, instrument.quadrants.values(), **pixel_of(instrument))
        side = instrument.geometry.pixel_size
        expected = sum(quadrant_area(q, side) for q in instrument.quadrants.values())
        assert area.sum() == pytest.approx(expected, rel=1e-6)
        assert area.max() <= bin_area(grid, **pixel_of(instrument)) * (
            1.02 if instrument is toy else 1 + 1e-9
        )
        assert (area == 0).any()


# The lit part.

GRID = Grid.of_bins(250, 0.4, VIS.nominal_pixel)
AREA = exposed_area(GRID, VIS.quadrants.values(), **pixel_of(VIS))
WHOLE = bin_area(GRID, **pixel_of(VIS))


def illuminated_map(dark, lit, box, seed, time=TIME, gains=None):
    """A map of X-rays [rates in cm-2 s-1] lit in a box [deg], and the lit area [cm2]."""
    fine = (
        np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) / GRID.dx
        for edges, low, high in ((GRID.y_edges, box[1], box[3]), (GRID.x_edges, box[0], box[2]))
    )
    share = np.outer(*fine)
    expected = AREA * (dark * (1 if gains is None else gains) + lit * share) * time
    return np.random.default_rng(seed).poisson(expected), float((AREA * share).sum())


@pytest.mark.parametrize(
    ("box", "lit", "time"),
    [
        ((-0.09, 0.013, -0.05, 0.33), 3.0, TIME),  # like the real picture: across gaps
        ((0.1, -0.2, 0.3, 0.1), 0.5, TIME),
        ((0.1, -0.2, 0.3, 0.1), 3.0, 125.52),
    ],
)
def test_lit_area_and_rate_are_recovered(box, lit, time):
    """The area to a few percent; the number of X-rays within its error."""
    pulls, areas = [], []
    for seed in range(8):
        number, truth = illuminated_map(0.67, lit, box, seed, time)
        found = illuminated_part(number, AREA, WHOLE, time, 5)
        assert found.area == pytest.approx(truth, rel=0.08)
        areas.append(found.area / truth)
        pulls.append((found.rate * found.area - lit * truth) / (found.rate_err * found.area))
        assert found.unilluminated_rate == pytest.approx(0.67, rel=0.02)
    assert np.mean(areas) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(pulls)) < 4 / math.sqrt(len(pulls))
    assert np.std(pulls) < 2


@pytest.mark.parametrize("dark", [0.0, 1e-4, 0.01, 0.67, 6.7, 670.0])
def test_nothing_is_lit_without_the_sun(dark):
    """Neither without any X-rays, nor in a storm a thousand times as bright, whatever the gains."""
    for seed in range(4):
        rng = np.random.default_rng(seed + 100)
        gains = np.repeat(np.repeat(rng.normal(1, 0.03, (12, 12)), 10, 0), 10, 1)[: GRID.ny, : GRID.nx]
        number, _ = illuminated_map(dark, 0, (0, 0, 0, 0), seed, gains=gains)
        found = illuminated_part(number, AREA, WHOLE, TIME, 5)
        assert found.area == 0
        assert math.isnan(found.rate)


def test_a_single_bright_bin_is_not_lit():
    number, _ = illuminated_map(0.67, 0, (0, 0, 0, 0), 5)
    number[60, 60] += 5000
    assert illuminated_part(number, AREA, WHOLE, TIME, 5).area == 0


def test_no_detectors_and_no_time():
    number = np.zeros_like(AREA, dtype=int)
    assert math.isnan(illuminated_part(number, np.zeros_like(AREA), WHOLE, TIME, 5).area)
    number, truth = illuminated_map(0.67, 3, (0.1, -0.2, 0.3, 0.1), 1)
    found = illuminated_part(number, AREA, WHOLE, math.nan, 5)
    assert found.area == pytest.approx(truth, rel=0.05)
    assert math.isnan(found.rate)


def test_significance_is_that_of_poisson():
    for mean in (0.5, 3.0, 30.0, 1000.0):
        number = int(mean + 5 * math.sqrt(mean)) + 2
        exact = -ndtri(pdtrc(number - 1, mean))
        assert significance(np.array([number]), np.array([mean]))[0] == pytest.approx(exact, abs=0.25)
    assert significance(np.array([0]), np.array([9.0]))[0] < -3


# An exposure.


def test_numbers_and_rates_of_an_exposure():
    found = counted(catalogue(3000), quadrants=quadrant_table(["1-1.E", "3-3.F", "2-2.G"]))
    rows = found.quadrants
    assert rows["EXT"].tolist() == ["1-1.E", "2-2.G", "3-3.F"]
    assert rows["N_XRAY"].tolist() == rows["N_COSMIC"].tolist() == [1500, 0, 1500]
    area = quadrant_area(VIS.quadrants["1-1.E"], VIS.geometry.pixel_size)
    assert found.summary["AREA"] == pytest.approx(3 * area)
    assert found.summary["XRAY_RATE"] == pytest.approx(3000 / (3 * area * TIME))
    assert found.summary["XRAY_RATE_ERR"] == pytest.approx(math.sqrt(3000) / (3 * area * TIME))
    assert found.summary["N_PROTON"] == 0
    assert found.summary["PROTON_RATE_ERR"] > 0
    xray = found.maps["MAP"] == "xray"
    assert found.maps["N"][xray].sum() == 3000
    assert found.maps["N"][found.maps["MAP"] == "rf"].sum() == 3000


def test_every_particle_is_in_the_bin_of_its_place():
    """An X-ray in one corner, a proton in another: x goes along columns (IX), y along rows (IY), upwards."""
    table = catalogue(
        2,
        X_WORLD=np.array([0.2, -0.3]),
        Y_WORLD=np.array([-0.1, 0.05]),
        FLUX_AUTO=np.array([800, 20000], np.float32),
    )
    found = counted(table)
    bins = {
        kind: {
            (ix, iy)
            for name, ix, iy in zip(*(found.maps[c].tolist() for c in ("MAP", "IX", "IY")), strict=True)
            if name == kind
        }
        for kind in ("xray", "proton")
    }
    # From -0.4 deg on: 250 px of X-rays and, of protons, what the settings say.
    side = {"xray": 250 / 36000, "proton": SETTINGS.proton_bin / 36000}
    assert bins["xray"] == {(int(0.6 / side["xray"]), int(0.3 / side["xray"]))}
    assert bins["proton"] == {(int(0.1 / side["proton"]), int(0.45 / side["proton"]))}
    assert (found.summary["N_XRAY"], found.summary["N_COSMIC"], found.summary["N_PROTON"]) == (1, 1, 1)


def test_blind_quadrants_do_not_count():
    flags = [0, int(QuadrantFlag.OVERFLOW), int(QuadrantFlag.CONSTANT), int(QuadrantFlag.NO_OVERSCAN)]
    table = quadrant_table(["1-1.E", "1-1.F", "1-1.G", "3-3.F"], flags)
    found = counted(catalogue(100), quadrants=table)
    blind = found.quadrants["FLAGS"] & RadiationFlag.NO_DETECTION != 0
    assert found.quadrants["EXT"][blind].tolist() == ["1-1.F", "1-1.G"]
    assert np.isnan(found.quadrants["XRAY_RATE"][blind]).all()
    assert found.summary["AREA"] == pytest.approx(2 * found.quadrants["AREA"][0])
    assert found.summary["FLAGS"] == 0


@pytest.mark.parametrize("names", [[], ["1-1.E"]])
def test_an_empty_catalogue(names):
    found = counted(catalogue(0), quadrants=quadrant_table(names) if names else None)
    assert found.summary["N_XRAY"] == 0
    assert len(found.maps["N"]) == 0
    if names:
        assert found.summary["XRAY_RATE"] == 0
        assert found.summary["LIT_AREA"] == 0
        assert found.summary["XRAY_EXCESS"] == 0
    else:
        assert found.summary["FLAGS"] & RadiationFlag.NO_DETECTION
        assert math.isnan(found.summary["XRAY_RATE"])
        assert math.isnan(found.summary["LIT_AREA"])


def test_an_unknown_exposure_time_leaves_the_numbers():
    found = counted(catalogue(100), exptime=math.nan)
    assert found.summary["N_XRAY"] == 100
    assert found.summary["FLAGS"] == RadiationFlag.NO_TIME
    assert np.isnan(found.quadrants["XRAY_RATE"]).all()
    assert (found.quadrants["FLAGS"] == RadiationFlag.NO_TIME).all()


def test_quadrants_of_another_camera_are_left_out(caplog):
    table = catalogue(10)
    table["EXT"] = np.where(np.arange(10) < 4, "9-9.Z", table["EXT"])
    found = counted(table)
    assert found.summary["N_XRAY"] == 6
    assert "9-9.Z" in caplog.text


def test_parts_add_up(tmp_path):
    """A catalogue read part by part gives what it gives as a whole, in any number of parts."""
    table = catalogue(5000, seed=4)
    whole = counted(table)
    count = RadiationCount(SETTINGS, VIS)
    for start in range(0, 5000, 700):
        count.add({name: table[name][start : start + 700] for name in COLUMNS})
    split = count.result(LONG)
    for name in whole.maps:
        assert_array_equal(split.maps[name], whole.maps[name])
    assert_array_equal(split.quadrants["N_XRAY"], whole.quadrants["N_XRAY"])
    path = tmp_path / "E.cat.parquet"
    write_table(path, table, CATALOGUE, meta={"exposure": "E"})
    parts = list(read_parts(path, COLUMNS))
    known = read_table(path, COLUMNS)
    for name in COLUMNS:
        assert_array_equal(np.concatenate([part[name] for part in parts]), known[name])
    assert parts[0].meta == known.meta
    with pytest.raises(TableError, match="no column NONE"):
        list(read_parts(path, ["NONE"]))
    path.write_bytes(b"nothing")
    with pytest.raises(TableError, match=r"E\.cat\.parquet"):
        list(read_parts(path, COLUMNS))


def test_simulated_xrays_are_found(tmp_path):
    """4 X-rays per second and Mpx on part of a CCD: area to half a bin at the edges, most of the rate.

    Crowding costs a quarter of the X-rays of a long exposure: they are blended
    with tracks of particles, or with each other.
    """
    box = (-0.09, -0.10, -0.03, -0.04)  # on CCD 3-3
    plan = {"exposures": [{"type": "long", "ccds": ["3-3"], "radiation": {"xrays": 4.0, "lit": list(box)}}]}
    raw = make_frames(exposures_of(plan, "lit"), VIS, tmp_path)[0]
    with open_exposure(raw, VIS) as exposure:
        frame = measure_frame(exposure, CatalogSettings(), load_settings(None).preview)
    found = counted(frame.catalogue, quadrants=frame.quadrants).summary
    sides = [
        (b - a) / VIS.geometry.scale * VIS.geometry.pixel_size * 1e-4
        for a, b in zip(box[:2], box[2:], strict=True)
    ]
    assert found["LIT_AREA"] == pytest.approx(sides[0] * sides[1], rel=0.08)
    efficiency = found["LIT_RATE"] / (4.0 / 1.44)  # 1.44 cm2 to the Mpx
    assert 0.65 < efficiency < 0.95
    assert found["COSMIC_DARK_RATE"] == pytest.approx(0.97, rel=0.06)
    assert found["FLAGS"] & RadiationFlag.LIT


# Commands.


def invoke(what, *arguments):
    """Run a command and return its exit code and output."""
    result = CliRunner().invoke(what, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.output


META = {"exposure": STEM, "frame_type": "SCIENCE", "exptime": LONG, "date_obs": "2024-07-13T03:28:40+00:00"}


def written(folder, table=None, meta=None, quadrants=None, stem=STEM):
    """Write a catalogue and its table of quadrants; return their paths."""
    meta = META | {"exposure": stem} | (meta or {})
    paths = folder / f"{stem}.cat.parquet", folder / f"{stem}_quadrants.parquet"
    write_table(paths[0], catalogue(3000) if table is None else table, CATALOGUE, meta=meta)
    names = quadrants or quadrant_table(["1-1.E", "3-3.F"])
    n = len(names["EXT"])
    columns = {c.name: np.zeros((n, 1) if c.size else n) for c in QUADRANTS.columns} | names
    write_table(paths[1], columns, QUADRANTS, meta=meta)
    return paths


def test_radiation_command(tmp_path):
    path, quadrants = written(tmp_path)
    out, maps = tmp_path / f"{STEM}_radiation.parquet", tmp_path / f"{STEM}_radmaps.parquet"
    options = ("--quadrants", quadrants, "-o", out, "--maps", maps, "--pictures", tmp_path / STEM)
    assert invoke(command, path, *options) == (0, "")
    table = read_table(out)
    assert set(table) == set(RADIATION.names)
    assert table.meta["radiation"]["N_XRAY"] == 3000
    assert table.meta["radiation"]["LIT_RATE"] is None
    assert table.meta["exptime"] == LONG
    number, grid = map_of(read_table(maps), "xray", read_facts(maps, RadiationMetadata))
    assert (number.sum(), grid) == (3000, GRID)
    for name in ("cosmiX", "cosmics", "protons", "rf"):
        assert (tmp_path / f"{STEM}_{name}.png").stat().st_size > 5000


def test_a_failed_catalogue_fails_on(tmp_path):
    path, quadrants = written(tmp_path, catalogue(0), {"failed": "cut short"})
    out = tmp_path / "r.parquet"
    assert invoke(command, path, "--quadrants", quadrants, "-o", out, "--pictures", tmp_path / "E")[0] == 0
    assert read_table(out).n_rows == 0
    assert read_meta(out)["failed"] == "cut short"
    path.write_bytes(b"nothing")
    assert invoke(command, path, "-o", out, "--record-failure")[0] == 0
    assert "not a Parquet table" in read_meta(out)["failed"]
    with pytest.raises(TableError):
        CliRunner().invoke(
            command, [str(path), "-o", str(out)], catch_exceptions=False, standalone_mode=False
        )


# A month.

THRESHOLDS = Thresholds.model_validate(
    {
        "epochs": [
            {
                "from": "2023-01-01",
                "radiation.COSMIC_DARK_RATE": {"warn_above": 2.0, "error_above": 4.0},
                "radiation.PROTON_RATE": {"warn_above": 0.003},
                "radiation.LIT_AREA": {"warn_above": 1000},
            }
        ]
    }
)


def sheet_row(stem, **values):
    """A row of an exposure sheet."""
    names = SheetRow.__dataclass_fields__
    blank = {n: math.nan if f.type == "float" else 0 if f.type == "int" else "" for n, f in names.items()}
    known = {"exposure": stem, "frame_type": "SCIENCE", "exptime": LONG, "status": "ok"}
    date = f"{stem[2:6]}-{stem[6:8]}-{stem[8:10]}T{stem[11:13]}:{stem[13:15]}:{stem[15:17]}.000"
    return SheetRow(**(blank | known | {"date_obs": date} | values))


@pytest.fixture
def month(tmp_path):
    """A sheet of five exposures: quiet, storm, without time, broken, not measured; and one BIAS."""
    stems = [f"C_202407{day:02d}_032840_W_52167482.VIS.bin_01_01" for day in range(1, 7)]
    rows = [sheet_row(stem) for stem in stems]
    rows[1] = replace(rows[1], frame_type="DARK")
    rows[2] = replace(rows[2], exptime=math.nan)
    rows[5] = replace(rows[5], frame_type="BIAS")
    sheet = tmp_path / "exposures" / "202407.tsv"
    sheet.parent.mkdir()
    write_sheet(sheet, rows)
    for i, n in enumerate((7000, 70000, 7000)):
        folder = sheet.parent / "202407" / stems[i]
        folder.mkdir(parents=True)
        meta = {"exptime": None} if i == 2 else {}
        path, quadrants = written(folder, catalogue(n, seed=i), meta, stem=stems[i])
        invoke(command, path, "--quadrants", quadrants, "-o", folder / f"{stems[i]}_radiation.parquet")
    folder = sheet.parent / "202407" / stems[3]
    folder.mkdir()
    (folder / f"{stems[3]}_radiation.parquet").write_bytes(b"nothing")
    return sheet


def test_month_of_exposures(month):
    found = month_radiation(MonthFiles.of_sheet(month), VIS, THRESHOLDS)
    assert set(found) == set(MONTH_RADIATION.names)
    assert found["STATUS"].tolist() == ["ok", "error", "warn", "failed", "failed"]
    assert found["FRAME_TYPE"].tolist()[:2] == ["SCIENCE", "DARK"]
    storm, no_time, nothing = RadiationFlag.STORM, RadiationFlag.NO_TIME, RadiationFlag.NO_DETECTION
    assert found["FLAGS"].tolist() == [0, storm, no_time, nothing, nothing]
    assert found["REASON"][1].startswith("COSMIC_DARK_RATE 9.")
    assert "not a Parquet table" in found["REASON"][3]
    assert found["REASON"][4].endswith("not measured")
    assert found["N_XRAY"].tolist() == [7000, 70000, 7000, 0, 0]
    assert np.isnan(found["XRAY_RATE"]).tolist() == [False, False, True, True, True]


def test_x_rays_of_the_sun_are_no_storm():
    """X-rays are cosmics as well; a flare through a leak raises their rate, but not in the dark part."""
    four = ("3-3.E", "3-3.F", "3-3.G", "3-3.H")
    table = catalogue(16000, quadrants=four)
    extra = catalogue(60000, seed=2, quadrants=("3-3.E",))
    both = {name: np.concatenate([table[name], extra[name]]) for name in COLUMNS}
    found = counted(both).summary
    assert found["COSMIC_RATE"] > 4
    assert found["COSMIC_DARK_RATE"] == pytest.approx(16000 / (found["AREA"] * TIME), rel=0.03)
    assert found["LIT_AREA"] == pytest.approx(found["AREA"] / 4, rel=0.05)


def test_month_command(month, tmp_path):
    names = month_radiation(MonthFiles.of_sheet(month), VIS, THRESHOLDS)["EXPOSURE"].tolist()
    angles = {c.name: np.zeros(len(names)) for c in ANGLES.columns}
    angles |= {"EXPOSURE": np.array(names), "DATE_OBS": np.full(len(names), np.datetime64("2024-07-01"))}
    angles |= {"SAA": np.full(len(names), 91.2), "ALPHA": np.full(len(names), -4.5)}
    angles["GOES_FLUX"] = np.full(len(names), 2e-8)
    write_table(tmp_path / "angles.parquet", angles, ANGLES)
    out, leak = tmp_path / "month.parquet", tmp_path / "leak.parquet"
    options = ("--angles", tmp_path / "angles.parquet", "-o", out, "--leak", leak)
    assert invoke(month_command, month, *options, "--pictures", tmp_path) == (0, "")
    assert read_table(out).n_rows == 5
    rows = read_table(leak)
    assert set(rows) == set(LEAK.names)
    assert rows["N_EXPOSURES"].tolist() == [2, 2]  # all fluxes, and one decade
    assert not rows["DETECTED"].any()
    assert (rows["RATIO_LIMIT"] > 0).all()
    for name in ("radiation_202407", "leak_202407"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert invoke(month_command, month, "-o", out, "--leak", leak)[0] == 0  # without angles
    assert read_table(leak).n_rows == 0


# Where light leaks in.


def exposures(n, seed=1, leak=3e6):
    """A month: light leaks in at SAA above 100 deg and ALPHA below -2 deg; and its true ratio."""
    rng = np.random.default_rng(seed)
    area = 877.37
    table = {c.name: np.zeros(n) for c in MONTH_RADIATION.columns}
    table["EXPOSURE"] = np.array([f"E{i}" for i in range(n)], dtype=np.str_)
    table["STATUS"] = np.full(n, "ok", dtype="U6")
    table["FLAGS"] = np.zeros(n, dtype=int)
    table["DATE_OBS"] = np.datetime64("2024-07-01", "us") + (rng.random(n) * 30 * 86400e6).astype(
        "timedelta64[us]"
    )
    table["EXPTIME"], table["AREA"] = np.full(n, LONG), np.full(n, area)
    angles = {"EXPOSURE": table["EXPOSURE"], "SAA": 90 + 15 * rng.random(n), "ALPHA": rng.uniform(-5, 5, n)}
    angles["GOES_FLUX"] = 10 ** rng.normal(-7.5, 0.3, n)
    open_ = (angles["SAA"] > 100) & (angles["ALPHA"] < -2)
    number = rng.poisson(np.where(open_, leak * angles["GOES_FLUX"] * area * TIME, 0))
    table["LIT_AREA"] = np.where(number > 0, 40.0, 0.0)
    table["LIT_RATE"] = np.where(number > 0, number / 40 / TIME, np.nan)
    table["LIT_RATE_ERR"] = np.where(number > 0, np.sqrt(number) / 40 / TIME, np.nan)
    for kind, rate in (("XRAY", 0.67), ("COSMIC", 0.95), ("PROTON", 0.001)):
        table[f"N_{kind}"] = rng.poisson(rate * area * TIME, n)
        table[f"{kind}_RATE"] = table[f"N_{kind}"] / area / TIME
        table[f"{kind}_RATE_ERR"] = np.sqrt(table[f"N_{kind}"]) / area / TIME
    return table, angles


def leakage_of(joined):
    return leakage(joined, readout_time=72.0, bin_area=WHOLE, sigma=5)


def test_the_leak_is_found_where_it_is():
    table, angles = exposures(1500)
    joined = with_angles(table, angles)
    rows = leak_table(joined, leakage_of(joined))
    hit = (rows["SAA_MIN"] >= 100) & (rows["ALPHA_MAX"] <= -2)
    assert_array_equal(rows["DETECTED"], hit)
    assert_array_equal(np.isfinite(rows["RATIO_LIMIT"]), ~hit)
    whole = np.isinf(rows["FLUX_MAX"]) & hit
    pulls = (rows["RATIO"][whole] - 3e6) / rows["RATIO_ERR"][whole]
    assert np.abs(pulls).max() < 4
    assert np.std(pulls) < 1.6
    assert rows["N_EXPOSURES"][np.isinf(rows["FLUX_MAX"])].sum() == 1500
    assert rows["N_EXPOSURES"][~np.isinf(rows["FLUX_MAX"])].sum() == 1500
    assert "SAA 100 to 105°, ALPHA −5 to −2°" in answer(rows)[0]


def test_unknown_exposures_tell_nothing_of_the_leak():
    table, angles = exposures(6)
    angles["GOES_FLUX"][0] = np.nan
    angles["SAA"][1] = np.nan
    table["FLAGS"][2] = RadiationFlag.NO_DETECTION
    table["EXPTIME"][3] = np.nan
    angles = {name: column[:5] for name, column in angles.items()}  # the last one is not in the table
    joined = with_angles(table, angles)
    rows = leak_table(joined, leakage_of(joined))
    assert rows["N_EXPOSURES"][np.isinf(rows["FLUX_MAX"])].sum() == 1
    found = leakage_of(joined)
    assert np.isnan(found.rate).tolist() == [False, False, True, True, False, False]


def test_the_limit_is_what_would_be_found():
    """A part of three bins in which X-rays are five times the scatter of the dark part."""
    table, _ = exposures(1, leak=0)
    found = leakage_of(with_angles(table, None))
    in_bin = 0.67 * TIME * WHOLE
    assert found.limit[0] == pytest.approx(15 * math.sqrt(in_bin) / (877.37 * TIME), rel=0.02)


# Pictures.


@pytest.mark.parametrize("n", [0, 1, 1800])
def test_month_pictures_of_none_one_and_many(n):
    table, angles = exposures(n)
    if n > 1:
        table["STATUS"][3], table["XRAY_RATE"][3], table["LIT_AREA"][3] = "failed", np.nan, np.nan
        table["DATE_OBS"][5] = np.datetime64("NaT")
        table["FLAGS"][7] = RadiationFlag.STORM
    joined = with_angles(table, angles)
    rows = leak_table(joined, leakage_of(joined))
    figure = leak_picture(joined, leakage_of(joined), rows, title="leak")
    assert len(render_png(figure)) > 5000
    timeline = radiation_timeline(joined, THRESHOLDS, title="month")
    assert len(timeline.axes) == (5 if n else 4)
    assert len(render_png(timeline)) > 5000


def test_the_colour_scale_grows_with_the_exposure_time():
    assert particle_scale("xray", RadiationMetadata(exptime=524.0), VIS.particle_scale) == (1.0, 300.0)
    assert particle_scale("xray", RadiationMetadata(exptime=244.0), VIS.particle_scale) == (0.5, 150.0)
    assert particle_scale("cosmic", RadiationMetadata(exptime=244.0), VIS.particle_scale) == (1.0, 300.0)
    assert particle_scale("proton", RadiationMetadata(exptime=None), VIS.particle_scale) == (0.3, 30.0)


@pytest.mark.parametrize("facts", [{}, {"failed": "cut short"}, None])
def test_maps_of_nothing(facts):
    found = counted(catalogue(0), math.nan, quadrant_table(["1-1.E"]))
    known = {"grids": found.grids, "radiation": found.summary | {"XRAY_RATE": None, "XRAY_RATE_ERR": None}}
    is_known = facts is None
    facts = facts_in(known if is_known else facts, RadiationMetadata, "E")
    maps = RADIATION_MAPS.empty()
    for figure in (
        particle_map(maps, "xray", facts, VIS, title="E"),
        radius_flux_diagram(maps, facts, SETTINGS, title="E"),
    ):
        assert len(render_png(figure)) > 3000
    text = summary_text("xray", facts)
    assert text.startswith("no X-rays") if is_known else text == "not measured"


def test_ranges_hold_all_values():
    assert log_span(np.array([]), (1e-3, 1.0)) == (-3.0, 0.0)
    low, high = log_span(np.array([-9.1, 0.4]), (1e-3, 1.0))
    assert low == pytest.approx(-10 + math.log10(5))
    assert high == pytest.approx(math.log10(5))
