"""The part of the workflow that matches stars with Gaia, on the toy camera's month."""

import shutil
from collections import Counter

import numpy as np
import pytest
from numbers_of_stages import check_month
from numpy.testing import assert_allclose
from toy_month import ALL_JOBS, Month, check_steps, report_of, stems

from visql_lib.flags import SolutionFlag
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.tables import read_meta, read_table

pytestmark = [pytest.mark.slow]

RATIOS = {"gain": "none"}  # the toy camera has no gain model
TRUTH = {"sources": "folder", "folder": "raw/truth"}
MATCH_JOBS = {"gaia_match": 3}
GATHER_JOBS = {
    "geometry": 1,
    "ratios": 1,
    "ratio_pictures": 1,
    "ratio_sheets": 1,
    "trend": 1,
    "month_trend": 1,
}


@pytest.fixture(scope="module")
def month(toy_month, tmp_path_factory):
    """The six toy frames, run through, then matched, with the simulator's truth in place of Gaia."""
    made = toy_month.copy(tmp_path_factory.mktemp("gaia_month"))
    made.configure(parts=["gaia"], gaia=TRUTH, ratios=RATIOS)
    jobs = made.missing("--config", "results=nothing_yet")
    assert jobs.pop("gaia_tile") >= 1
    assert jobs == ALL_JOBS | MATCH_JOBS | GATHER_JOBS
    jobs = made.missing()
    assert jobs.pop("gaia_tile") >= 1
    assert jobs == MATCH_JOBS | GATHER_JOBS | {"qc": 1, "month": 1}
    code, said = made.run("--quiet", "rules")
    assert code == 0, said
    return made


def month_table(month, name):
    return read_table(month.results / "months" / "202407" / f"{name}_202407.parquet")


def test_a_second_run_has_nothing_to_do(month):
    assert month.missing() == {}


def test_the_site_expects_what_the_month_made(month):
    quality = ("image_quality", "quality_pictures", "month_status", "qc", "last_month")
    check_steps(month, *quality, *GATHER_JOBS)


def test_the_report_shows_the_month_and_its_trend(month):
    shown = report_of(month)
    categories = Counter(category for category, *_ in shown.values())
    assert categories == {"Image quality": 3, "Photometry and ice": 12}  # radiation and detectors: 5 more
    assert len({(c, *labels.values()) for c, labels, _ in shown.values()}) == len(shown)
    assert all(set(labels) == {"picture", "of"} for _, labels, _ in shown.values())
    _, labels, caption = shown["psfmoments_202407.png"]
    assert labels == {"picture": "sizes and shapes", "of": "202407"}
    assert "exposures of 202407, one point per exposure" in caption.replace("\n", " ")
    assert shown["loss_map_short.png"][1]["picture"] == "flux loss over the focal plane, short"
    assert all("snakemake" not in caption and len(caption) > 60 for *_, caption in shown.values())


def test_numbers_change_with_their_stage_only(month):
    check_month(month.results, ("gaia_project", "gaia_match", "geometry", "ratios", "trend", "month_trend"))


def test_every_exposure_has_its_tables_and_pictures(month):
    endings = ["_frat.parquet", "_x_gaia_dxdy.txt", "_x_gaia_dxdy.parquet", "_stars2_mom_col.parquet"]
    endings += ["_stars2_gaia.parquet", *(e for e in REGISTRY["gaia_match"].endings if e.endswith(".png"))]
    for stem in stems(month, "SCIENCE"):
        for ending in endings:
            assert (month.exposure(stem) / f"{stem}{ending}").stat().st_size > 200, ending
        meta = read_meta(month.exposure(stem) / f"{stem}_frat.parquet")
        assert meta["inputs"] == [f"{stem}_stars2_mom.parquet", f"{stem}_stars2_gaia.parquet"]


def test_the_astrometry_is_that_of_the_simulator(month):
    table = month_table(month, "astrometry")
    assert list(table["EXPOSURE"]) == stems(month, "SCIENCE")
    assert (table["N"] >= 20).all()
    # The short one has too few stars for terms of every CCD: the geometry of the month serves it.
    assert (table["SCATTER"][table["CLASS"] == "long"] < 0.1).all()
    assert (table["SCATTER_MONTH"] < 0.1).all()
    assert (table["FLAGS"] & (SolutionFlag.BORESIGHT_WRONG | SolutionFlag.ROLL_WRONG) == 0).all()
    assert_allclose(table["RA"], table["RA_HEADER"], atol=2 / 3600)
    assert_allclose(table["DEC"], table["DEC_HEADER"], atol=2 / 3600)


def test_the_matrix_adds_up(month):
    table = month_table(month, "ratios")
    whole = (table["SPACE"] == "fpa") & (table["TIME"] == "exposure") & (table["FIELD"] == "all")
    assert whole.sum() == 3
    n = int(table["N"][whole].sum())
    everything = (table["TIME"] == "month") & (table["FIELD"] == "all") & (table["CLASS"] != "other")
    for space in ("ccd", "quadrant", "hexagon", "block"):
        of_space = everything & (table["SPACE"] == space)
        accepted = everything & (table["SPACE"] == "fpa")
        assert table["N"][of_space].sum() == table["N"][accepted].sum() <= n


def test_a_service_that_is_down_costs_only_the_match(month, tmp_path):
    other = month.copy(tmp_path / "m")
    shutil.rmtree(other.results / "gaia")
    nobody = {
        "sources": "vizier",
        "vizier_url": "http://127.0.0.1:9/",
        "attempts": 1,
        "backoff": 0,
        "rest": 0,
    }
    other.configure(parts=["gaia"], gaia=nobody, ratios=RATIOS)
    code, said = other.run("--quiet", "rules", "--forcerun", "gaia_match")
    assert code == 0, said
    table = month_table(other, "astrometry")
    assert (table["FLAGS"] & SolutionFlag.REFERENCE_FAILED > 0).all()
    assert all("vizier" in reason for reason in table["REASON"])
    assert np.isnan(table["RA"]).all()
    # While it is down it is asked again, once it had its rest, and nothing else is done.
    assert set(other.missing()) == {"gaia_tile_retry", "month"}
    # With another source, everything that waited is made.
    other.configure(parts=["gaia"], gaia=TRUTH, ratios=RATIOS)
    jobs = other.missing()
    assert jobs["gaia_tile"] >= 1
    assert MATCH_JOBS.items() <= jobs.items()
    assert "catalog" not in jobs
    assert other.run("--quiet", "rules")[0] == 0
    assert (month_table(other, "astrometry")["REASON"] == "").all()
    assert other.missing() == {}


def test_a_gain_model_the_instrument_does_not_have_is_told_at_once(month):
    other = Month(month.folder)
    code, said = other.run("--dry-run", "--config", "ratios={gain: '3'}")
    assert code == 1
    assert "gain model '3'" in said


def test_no_source_means_no_match(month, tmp_path):
    other = month.copy(tmp_path / "m")
    other.configure()
    assert other.missing() == {"qc": 1, "month": 1}  # the month is judged without the match


def test_targets_of_a_part_make_that_part_and_miss_what_it_is_made_from(month, tmp_path):
    """Without pictures, levels or the month's quality, which are asked for by others."""
    other = Month(tmp_path)
    shutil.copytree(month.raw, other.raw)
    other.configure(parts=["gaia", "radiation"], gaia=TRUTH, ratios=RATIOS, plate={"solve": "no"})
    assert set(other.missing("--", "quality")) == {
        *("catalog", "stars", "moments", "image_quality", "quality_pictures", "quality"),
    }
    jobs = set(other.missing("--", "gaia"))
    assert {"geometry", "ratios", "ratio_pictures", "ratio_sheets"} <= jobs
    assert not jobs & {"image_quality", "month_status", "pictures", "detector", "trend", "last_month"}
    # A month of this part alone: its geometry is there, nothing of image quality is.
    finished = month.copy(tmp_path / "m")
    for name in ("psfmoments_202407.parquet", "status.tsv"):
        (finished.results / "months" / "202407" / name).unlink()
    stem = stems(month, "SCIENCE")[0]
    for ending in ("_iq.png", "_stars2_mom.parquet", "_frat.parquet"):
        (finished.exposure(stem) / f"{stem}{ending}").unlink()
    jobs = finished.missing("--", "gaia")
    assert {"moments": 1, "gaia_match": 1, "geometry": 1}.items() <= jobs.items()
    assert not set(jobs) & {"image_quality", "pictures", "month_status"}
