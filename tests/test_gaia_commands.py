"""The commands of the match with Gaia: real tables in, the original's numbers out; bad input is flagged."""

import numpy as np
import pytest
from astropy.table import Table as AstropyTable
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.cli import cli
from visql_lib.flags import RatioFlag, SolutionFlag
from visql_lib.instruments.euclid_names import start_from_name
from visql_lib.pipelines.vis.legacy.gaia import read_frat
from visql_lib.pipelines.vis.schemas.gaia import GAIA_STARS, GAIA_TILE
from visql_lib.pipelines.vis.settings import AstrometrySettings, RatioSettings
from visql_lib.pipelines.vis.stages.gaia_match import match_exposure
from visql_lib.sky.projection import Boresight, deproject
from visql_lib.sky.reference import reference_stars, years_since_epoch
from visql_lib.tables import MOMENTS, read_meta, read_table, write_table

STEM = "C_20240713_032840_W_52167482.VIS.bin_01_01"
POINTING = ("--ra", "56.24568699", "--dec", "-55.71421686", "--pa", "46.21774651")
BORESIGHT = Boresight(56.24568699, -55.71421686, 46.21774651)


LIMITS = {"radius": 0.6, "faintest": 21.0, "max_error": 0.02}  # the defaults of the settings


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


# --- Real tables


@pytest.fixture(scope="module")
def exposure(reference):
    return reference / "vis_20240713" / STEM


def beside(stem, ending):
    return stem.with_name(f"{stem.name}{ending}")


def test_the_original_method_gives_the_original_files(exposure, tmp_path):
    out = {end: tmp_path / f"{STEM}{end}" for end in ("_frat.txt", "_x_gaia_dxdy.txt", "_stars2_mom_col.cat")}
    inputs = (beside(exposure, "_stars2_mom.cat"), beside(exposure, "_stars2_gaia.cat"))
    run(
        *("gaia-match", *inputs, "--exptime", 560.52, "--geometry", "reference", "-o", out["_frat.txt"]),
        *("--solution", out["_x_gaia_dxdy.txt"], "--colours", out["_stars2_mom_col.cat"]),
    )
    for end in ("_x_gaia_dxdy.txt", "_stars2_mom_col.cat"):
        assert out[end].read_bytes() == beside(exposure, end).read_bytes()
    ours, theirs = (read_frat(path) for path in (out["_frat.txt"], beside(exposure, "_frat.txt")))
    assert list(ours["EXT"]) == list(theirs["EXT"])
    for name in ("XWORLD", "FLUX", "G", "BpRp", "VFLUX", "GFLUX", "FRATMOD", "FRAT"):
        assert_allclose(ours[name], theirs[name], rtol=1e-9, err_msg=name)  # the gain table has nine decimals


@pytest.mark.parametrize(("geometry", "limit"), [("shift", 0.75), ("affine", 0.6)])
def test_astrometry_of_the_real_exposure(reference, exposure, tmp_path, geometry, limit):
    gaia, frat = tmp_path / "gaia.parquet", tmp_path / "frat.parquet"
    run(
        "gaia-project", reference / "vis_geometry" / "gaia_dr3_field_reconstructed.csv", *POINTING, "-o", gaia
    )
    stars = read_table(gaia)
    assert stars.n_rows == 2615
    assert stars.meta["flags"] == SolutionFlag.NO_PROPER_MOTION
    moments = beside(exposure, "_stars2_mom.cat")
    run("gaia-match", moments, gaia, "--exptime", 560.52, "--geometry", geometry, "-o", frat)
    meta = read_meta(frat)
    assert meta["accepted"]
    assert meta["solution"]["scatter"] < limit
    assert meta["n_matched"] > 700
    # The original's numbers stand beside ours.
    assert meta["reference"]["n_kept"] == 715
    assert_allclose(meta["reference"]["sigma"], 5.799, atol=5e-4)
    assert_allclose(meta["relation"]["ratios"], [0.8863, 1.1343, 1.2601], atol=0.005)
    assert all(0.001 < e < 0.01 for e in meta["relation"]["errors"])


def test_pictures_of_the_real_exposure(exposure, tmp_path):
    frat, ccds, colours = (tmp_path / name for name in ("f.parquet", "s.parquet", "c.parquet"))
    inputs = (beside(exposure, "_stars2_mom.cat"), beside(exposure, "_stars2_gaia.cat"))
    run(
        *("gaia-match", *inputs, "--exptime", 560.52, "-o", frat),
        *("--table", ccds, "--colours", colours),
    )
    run("pictures", frat, ccds, colours, "-o", tmp_path / "E")
    for name in ("stars2_x_gaia_dxdy", "stars2_fluxrat_bprp"):
        assert (tmp_path / f"E_{name}.png").stat().st_size > 50_000


def test_ratios_and_trend_of_the_imported_month(reference, tmp_path):
    """The real tables of July 2024 become the month's ratios and its timeline, without raw frames."""
    results = tmp_path / "results"
    said = run("import-legacy", reference, "--results", results)
    assert "flux ratios of exposures and CCDs" in said
    assert "flux ratios of stars (*_frat.txt): 1 imported" in said
    again = run("import-legacy", reference, "--results", results)
    assert "flux ratios: 0 new, 0 changed, 757 unchanged" in again
    sheet = results / "exposures" / "202407.tsv"
    config = tmp_path / "month.yaml"
    (tmp_path / "raw").mkdir()
    config.write_text(f"months: '202407'\nraw: {tmp_path / 'raw'}\nresults: {results}\n")
    run("index", "--config", config)
    ratios, trend = tmp_path / "ratios.parquet", tmp_path / "trend.parquet"
    run("ratios", sheet, "-o", ratios)
    table = read_table(ratios)
    whole = (table["SPACE"] == "fpa") & (table["TIME"] == "exposure") & (table["CLASS"] == "long")
    whole &= table["FIELD"] == "all"
    assert whole.sum() == 568 + 1  # the exposure of the table of stars is not among the 568
    assert_allclose(np.log(np.median(table["R1"][whole])), -0.125, atol=0.005)
    days = (table["SPACE"] == "ccd") & (table["TIME"] == "day") & (table["CLASS"] == "short")
    assert days.sum() == 36
    run("trend", ratios, "-o", trend, "--pictures", tmp_path)
    meta = read_meta(trend)
    assert meta["steps"] == []
    assert any("2024-03-16" in note for note in meta["notes"])
    assert len(list(tmp_path.glob("iceplot_*.png"))) == 16
    assert len(list(tmp_path.glob("loss_*.png"))) == 4


# --- Simulated stars


def sky(n=400, seed=1, ice=0.0):
    """Return moments and reference stars that belong together, exactly."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.34, 0.34, (2, n))
    g, colour = rng.uniform(16, 20, n), rng.uniform(0.6, 2.8, n)
    ra, dec = deproject(x, y, BORESIGHT)
    motion = np.zeros(n)
    stars = {"SOURCE_ID": np.arange(n), "RA": ra, "DEC": dec, "PMRA": motion, "PMDEC": motion}
    stars |= {"G": g, "G_ERR": np.full(n, 0.001), "BP_RP": colour}
    v = 10 ** (-0.4 * (g - 30 + ice)) / 1.5 * (0.6 + 0.25 * colour)
    moments = {name: np.zeros(n) for name in MOMENTS.names if name != "EXT"}
    moments |= {"EXT": np.full(n, "3-3.E"), "XWORLD": x, "YWORLD": y, "FLUX": v * 560.52 / 89.52}
    return moments | {"FLAGS": np.zeros(n, int), "R2": np.full(n, 2.0)}, stars


def matched(moments, stars, vis, boresight=BORESIGHT, **changes):
    reference, _ = reference_stars(stars, boresight, 0.0, **LIMITS)
    astrometry = AstrometrySettings(**changes)
    return match_exposure(moments, reference, boresight, 560.52, vis, astrometry, RatioSettings(gain="none"))


@pytest.mark.parametrize("geometry", ["reference", "shift", "affine"])
def test_without_stars_or_reference_the_match_is_empty_and_says_why(vis, geometry):
    moments, stars = sky()
    none = {name: values[:0] for name, values in moments.items()}
    nothing = {name: values[:0] for name, values in stars.items()}
    few = {name: values[:5] for name, values in moments.items()}
    for case, flag in (
        (matched(none, stars, vis, geometry=geometry), SolutionFlag.NO_STARS),
        (matched(moments, nothing, vis, geometry=geometry), SolutionFlag.NO_REFERENCE),
    ):
        assert case.flags & flag
        assert len(case.frat["EXT"]) == 0
        assert not case.accepted
        assert case.facts()["relation"]["ratios"] == [None] * 3
    found = matched(few, stars, vis, geometry=geometry)
    assert found.flags & (SolutionFlag.FEW_MATCHES | SolutionFlag.NOT_FOUND)
    assert not found.accepted


def test_masked_colours_and_lost_moments(vis):
    moments, stars = sky()
    stars["BP_RP"] = np.where(np.arange(400) % 2, np.nan, stars["BP_RP"])
    moments["FLAGS"][:100] = 1
    found = matched(moments, stars, vis)
    assert len(found.frat["EXT"]) == 150  # without colour there is no reference star
    assert not (found.frat["FLAGS"] & RatioFlag.NO_COLOUR).any()


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_star_out_of_its_place_has_its_residual_in_its_column(vis, axis):
    """Two pixels to the right, or up: measured less predicted, the other axis is left alone."""
    moments, stars = sky()
    column = {"x": "XWORLD", "y": "YWORLD"}[axis]
    moments[column] = moments[column] + np.where(np.arange(400) == 7, 0.2 / 3600, 0.0)
    found = matched(moments, stars, vis, geometry="shift")
    row = int(np.flatnonzero(found.frat["SOURCE_ID"] == 7)[0])
    along, across = (found.frat[name][row] for name in (("DX", "DY") if axis == "x" else ("DY", "DX")))
    assert along > 1.0
    assert abs(across) < 0.1
    assert_array_equal(found.colours["G"], stars["G"][found.frat["SOURCE_ID"]])
    assert_array_equal(found.colours["BpRp"], stars["BP_RP"][found.frat["SOURCE_ID"]])


def test_ice_makes_the_ratio_smaller(vis):
    clean, icy = (matched(*sky(ice=ice), vis) for ice in (0.0, 0.05))
    loss = -2.5 * np.log10(np.array(icy.relation.ratios) / clean.relation.ratios)
    assert_allclose(loss, 0.05, atol=1e-6)


@pytest.mark.parametrize("pa", [46.21774651, 47.9, np.nan], ids=["known", "wrong", "missing"])
def test_a_wrong_boresight_is_found(vis, pa):
    moments, stars = sky()
    found = matched(moments, stars, vis, Boresight(BORESIGHT.ra + 0.08, BORESIGHT.dec - 0.03, pa))
    assert found.flags & SolutionFlag.BORESIGHT_WRONG
    assert bool(found.flags & SolutionFlag.ROLL_WRONG) == (pa != 46.21774651)
    assert found.solution.n_kept > 380


def test_proper_motions_are_applied_to_the_date():
    _, stars = sky(n=50)
    stars["PMDEC"] = np.full(50, 1000.0)  # mas/yr
    years = years_since_epoch(start_from_name(STEM).item())
    assert_allclose(years, 8.53, atol=0.01)
    still, moved = (
        reference_stars(stars, BORESIGHT, years, **LIMITS, proper_motions=on)[0] for on in (False, True)
    )
    assert_allclose((moved["DEC"] - still["DEC"]) * 3600, years, rtol=1e-6)
    assert_allclose(moved["RAV"], still["RAV"])  # the reference projection knows none


# --- Commands on odd input


def test_a_failed_tile_is_a_failed_table_downstream(tmp_path):
    tile, gaia, frat = (tmp_path / f"{name}.parquet" for name in ("7", "E_stars2_gaia", "E_frat"))
    moments, txt = tmp_path / "E_stars2_mom.parquet", tmp_path / "E_x_gaia_dxdy.txt"
    write_table(tile, GAIA_TILE.empty(), GAIA_TILE, meta={"failed": "vizier: connection refused"})
    run("gaia-project", tile, *POINTING, "-o", gaia, code=1)
    assert not gaia.exists()
    run("gaia-project", tile, *POINTING, "--record-failure", "-o", gaia)
    assert read_meta(gaia)["failed"] == "vizier: connection refused"
    assert read_meta(gaia)["flags"] == SolutionFlag.REFERENCE_FAILED
    write_table(moments, MOMENTS.empty(), MOMENTS, meta={"exposure": "E", "exptime": 560.52})
    run("gaia-match", moments, gaia, "--record-failure", "-o", frat, "--solution", txt)
    assert read_meta(frat)["failed"] == "vizier: connection refused"
    assert read_table(frat).n_rows == 0
    assert "nan" in txt.read_text()


def test_a_catalogue_file_of_the_users_own(tmp_path):
    _, stars = sky()
    csv, out = tmp_path / "mine.csv", tmp_path / "gaia.parquet"
    names = {"SOURCE_ID": "source_id", "RA": "ra", "DEC": "dec", "G": "phot_g_mean_mag", "BP_RP": "bp_rp"}
    AstropyTable({theirs: stars[ours] for ours, theirs in names.items()}).write(csv)
    run("gaia-project", csv, *POINTING, "-o", out)
    assert set(GAIA_STARS.names) <= set(read_table(out))
    assert read_meta(out)["flags"] == SolutionFlag.NO_PROPER_MOTION


def test_an_exposure_time_nobody_knows_is_asked_for(tmp_path):
    moments, gaia = tmp_path / "E_stars2_mom.parquet", tmp_path / "g.parquet"
    write_table(moments, MOMENTS.empty(), MOMENTS, meta={"exposure": "E"})
    write_table(gaia, GAIA_STARS.empty(), GAIA_STARS, meta={"ra": 1.0, "dec": 2.0, "pa": 3.0})
    result = CliRunner().invoke(
        cli, ["gaia-match", str(moments), str(gaia), "-o", str(tmp_path / "f.parquet")]
    )
    assert result.exit_code == 1
    assert "--exptime" in str(result.exception)
