"""The month's image quality: medians, errors, scores, status."""

import math

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose

from visql_lib.cli import cli
from visql_lib.flags import ExposureFlag, MomentFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines.vis.legacy import read as legacy
from visql_lib.pipelines.vis.legacy.imported import ImportedRow, merge_imported
from visql_lib.pipelines.vis.sheet_rules import RULES
from visql_lib.psf.score import image_quality_score
from visql_lib.psf.summary import SUMMARY, summarise_moments
from visql_lib.sheets.index import refresh_sheets
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.tables import MOMENTS, read_table, write_table

VIS = load_instrument("euclid_vis")
GOOD = {"R2": 1.95, "com1": 0.03, "com2": -0.02, "e1": -0.022, "e2": 0.004, "tr1": -0.23, "tr2": 0.03}
SCATTER = 0.01


def moments(n, seed=1, **centre):
    """Moments of `n` stars scattered by `SCATTER` around their centre."""
    rng = np.random.default_rng(seed)
    columns = {c.name: np.zeros(n) for c in MOMENTS.columns} | {"EXT": np.array(["1-1.E"] * n)}
    columns["FLAGS"] = np.zeros(n, int)
    return columns | {name: value + SCATTER * rng.normal(size=n) for name, value in (GOOD | centre).items()}


# Summary.


def test_medians_of_known_numbers():
    table = {name: np.array([1.0, 2.0, 4.0]) * (i + 1) for i, name in enumerate(SUMMARY)}
    found = summarise_moments(table)
    assert found["N_STARS"] == 3
    assert found["R2"] == 2.0
    assert found["com1"] == 4.0
    # Deviations 1, 0, 2: MAD 1.
    assert found["R2_ERR"] == pytest.approx(1.2533 * 1.4826 / math.sqrt(3))


def test_the_error_is_the_scatter_of_the_median():
    """2000 exposures of 400 stars: the stated error is the true one to 5 %, with 3 % of outliers too."""
    found = [summarise_moments(moments(400, seed)) for seed in range(2000)]
    for name in ("R2", "e1"):
        true = np.std([f[name] for f in found])
        assert np.mean([f[f"{name}_ERR"] for f in found]) == pytest.approx(true, rel=0.05)
    table = moments(400)
    clean = summarise_moments(table)["R2_ERR"]
    table["R2"][:12] = 50.0
    assert summarise_moments(table)["R2_ERR"] == pytest.approx(clean, rel=0.1)


def test_flagged_and_unmeasured_stars_do_not_count():
    table = moments(50)
    expected = summarise_moments({name: column[2:] for name, column in table.items()})
    table["R2"][0] = 1e9
    table["FLAGS"][0] = MomentFlag.LOST_CENTRE
    table["tr2"][1] = np.nan
    assert summarise_moments(table) == expected
    assert expected["N_STARS"] == 48


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_stars_have_no_error(n):
    found = summarise_moments(moments(n))
    assert found["N_STARS"] == n
    assert math.isnan(found["R2"]) == (n == 0)
    assert all(math.isnan(found[f"{name}_ERR"]) for name in SUMMARY)


# Score.


def score(R2, e1, e2):
    """The score against the calibration of VIS."""
    s = VIS.score
    covariance = (s.cov_R2_R2, s.cov_R2_e1, s.cov_e1_e1)
    return image_quality_score(R2, e1, e2, centre=(s.R2, s.e1, s.e2), covariance=covariance, var_e2=s.var_e2)


def test_the_score_is_zero_at_its_centre_and_grows_by_its_covariance():
    s = VIS.score
    assert score(s.R2, s.e1, s.e2) == 0
    assert score(s.R2, s.e1, s.e2 + math.sqrt(s.var_e2)) == pytest.approx(1)
    covariance = np.array([[s.cov_R2_R2, s.cov_R2_e1], [s.cov_R2_e1, s.cov_e1_e1]])
    step = np.array([0.02, -0.01])
    expected = step @ np.linalg.inv(covariance) @ step
    assert score(s.R2 + step[0], s.e1 + step[1], s.e2) == pytest.approx(expected)


def test_the_score_of_many_and_of_none():
    s = VIS.score
    found = score([s.R2, np.nan], [s.e1, 0], [s.e2, 0])
    assert found.tolist()[0] == 0
    assert math.isnan(found[1])


# The month.


def name(second):
    return f"C_20230405_0607{second:02d}_W_01234567.VIS.bin_01_01"


def sheet_row(exposure, status="ok", frame_type="SCIENCE", exptime=560.52, date_obs=""):
    texts = dict.fromkeys(SheetRow.__annotations__, "") | dict.fromkeys(
        ["ra", "dec", "pa", "saa", "alpha"], math.nan
    )
    values = {"exposure": exposure, "status": status, "frame_type": frame_type, "exptime": exptime}
    values["date_obs"] = date_obs or f"2023-04-05T06:07:{exposure[15:17]}.000"  # as the index has it
    return SheetRow(**(texts | values | {"size": 0, "mtime": 0, "flags": 0}))


class Month:
    """A month on disk, made piece by piece."""

    def __init__(self, results):
        self.results = results
        self.sheet = results / "exposures" / "202304.tsv"
        self.rows = []

    def add(self, second, table=None, meta=None, **facts):
        exposure = name(second)
        self.rows.append(sheet_row(exposure, **facts))
        if table is not None:
            write_table(self.moments_path(second), table, MOMENTS, meta={"exposure": exposure} | (meta or {}))
        return exposure

    def moments_path(self, second):
        return self.results / "exposures" / "202304" / name(second) / f"{name(second)}_stars2_mom.parquet"

    def run(self, *options):
        self.sheet.parent.mkdir(parents=True, exist_ok=True)
        write_sheet(self.sheet, self.rows)
        out = self.results / "q.parquet"
        done = CliRunner().invoke(cli, ["quality", str(self.sheet), "-o", str(out), *map(str, options)])
        if done.exception:
            raise done.exception
        table = read_table(out)
        return table.meta, [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


@pytest.fixture
def month(tmp_path):
    return Month(tmp_path / "results")


def test_a_good_exposure(month):
    month.add(1, moments(400))
    meta, (row,) = month.run()
    assert row["STATUS"] == "ok"
    assert row["REASON"] == ""
    assert row["SOURCE"] == "measured"
    assert row["CLASS"] == "long"
    assert row["N_STARS"] == 400
    assert row["FLAGS"] == 0
    assert str(row["DATE_OBS"]) == "2023-04-05T06:07:01.000000"
    assert row["R2"] == pytest.approx(1.95, abs=5 * row["R2_ERR"])
    assert_allclose(row["SCORE"], score(row["R2"], row["e1"], row["e2"]))
    assert meta["month"] == "202304"
    assert meta["instrument"] == "euclid_vis"
    assert meta["settings"]


@pytest.mark.parametrize(("e2", "status"), [(0.02, "warn"), (0.4, "error")])
def test_a_bad_score_says_why(month, e2, status):
    month.add(1, moments(400, e2=e2))
    _, (row,) = month.run()
    assert row["STATUS"] == status
    assert row["REASON"].startswith("SCORE ")


def test_few_stars_and_none(month):
    month.add(1, moments(0))
    month.add(2, moments(4))
    _, (none, few) = month.run()
    assert (none["STATUS"], none["FLAGS"], none["N_STARS"]) == ("error", ExposureFlag.NO_STARS, 0)
    assert "no star" in none["REASON"]
    assert math.isnan(none["SCORE"])
    assert (few["STATUS"], few["FLAGS"]) == ("warn", ExposureFlag.FEW_STARS)
    assert "N_STARS 4 below 10" in few["REASON"]


def test_a_failure_costs_its_exposure_only(month):
    month.add(1, moments(0), {"failed": "raw.fits: cut short"})
    month.add(2)
    month.add(3, moments(50))
    month.moments_path(3).write_bytes(b"rubbish")
    month.add(4, moments(50))
    _, rows = month.run()
    assert [r["STATUS"] for r in rows] == ["failed"] * 3 + ["ok"]
    assert all(r["FLAGS"] == ExposureFlag.FAILED and math.isnan(r["R2"]) for r in rows[:3])
    assert rows[0]["REASON"] == "raw.fits: cut short"
    assert "no moments" in rows[1]["REASON"]
    assert name(3) in rows[2]["REASON"]


def test_who_is_in_the_table(month):
    for second, facts in enumerate(
        (
            {"status": "ok"},
            {"status": "incomplete"},
            {"status": "imported"},
            {"status": "unreadable"},
            {"status": "growing"},
            {"status": "known_bad"},
            {"frame_type": "DARK"},
        )
    ):
        month.add(second, moments(20), **facts)
    _, rows = month.run()
    # The fourth was measured before its file broke.
    assert [r["EXPOSURE"] for r in rows] == [name(0), name(1), name(2), name(3)]
    assert [r["FLAGS"] for r in rows] == [0, ExposureFlag.INCOMPLETE, 0, 0]


def test_rows_are_sorted_by_start(month):
    month.add(1, moments(20), date_obs="2023-04-09T00:00:00.000")
    month.add(2, moments(20), date_obs="2023-04-08T00:00:00.000")
    _, rows = month.run()
    assert [r["EXPOSURE"] for r in rows] == [name(2), name(1)]


def test_our_moments_before_imported_ones_before_medians(month):
    medians = GOOD | {"R2": 2.2}
    rows = [ImportedRow(name(s), exptime=89.52, archive_name=f"A{s}", medians=medians) for s in (1, 2, 3)]
    rows.append(ImportedRow(name(4), medians=dict.fromkeys(SUMMARY, math.nan)))
    merge_imported(month.results, "202304", rows)
    month.add(1, moments(100))
    month.add(2, moments(100), {"origin": "imported"}, status="imported", exptime=89.52)
    month.add(3, status="imported", exptime=89.52)
    month.add(4, status="imported", exptime=math.nan)
    _, (own, imported, only_medians, no_stars) = month.run()
    assert [r["SOURCE"] for r in (own, imported, only_medians)] == [
        "measured",
        "imported moments",
        "imported medians",
    ]
    assert own["R2"] == imported["R2"] < 2
    assert only_medians["R2"] == 2.2
    assert np.isnan(only_medians["N_STARS"])
    assert only_medians["FLAGS"] == ExposureFlag.IMPORTED
    assert only_medians["STATUS"] == "warn"
    assert "N_STARS" not in only_medians["REASON"]
    assert math.isnan(only_medians["R2_ERR"])
    assert [r["ARCHIVE_NAME"] for r in (own, imported, only_medians)] == ["A1", "A2", "A3"]
    assert [r["EXPTIME"] for r in (own, imported, only_medians)] == [560.52, 89.52, 89.52]
    assert [r["CLASS"] for r in (own, imported, no_stars)] == ["long", "short", "unknown"]
    assert (no_stars["STATUS"], no_stars["N_STARS"]) == ("error", 0)
    assert no_stars["FLAGS"] == ExposureFlag.IMPORTED | ExposureFlag.NO_STARS


def test_archive_names_from_a_table(month, tmp_path):
    archive = "EUC_LE1_VIS-00001-1-W_20230405T060701.000000Z_01_01_01.00_EUCLIDSOC"
    raw = name(1).removesuffix("_01_01") + ".fits"
    (tmp_path / "names.txt").write_text(f'"Header","Raw"\r\n"{archive}","{raw}"\r\n')
    (tmp_path / "c.yaml").write_text(f"legacy: {{archive_names: {tmp_path / 'names.txt'}}}\n")
    month.add(1, moments(20))
    month.add(2, moments(20))
    _, rows = month.run("--config", tmp_path / "c.yaml")
    assert [r["ARCHIVE_NAME"] for r in rows] == [archive, ""]


def test_a_month_without_science(month):
    month.add(1, frame_type="DARK")
    _, rows = month.run()
    assert rows == []


def test_other_thresholds(month, tmp_path):
    (tmp_path / "t.yaml").write_text("epochs: [{from: 2023-01-01, psf.R2: {error_above: 1.9}}]\n")
    (tmp_path / "c.yaml").write_text(f"quality: {{thresholds: {tmp_path / 't.yaml'}}}\n")
    month.add(1, moments(400))
    _, (row,) = month.run("--config", tmp_path / "c.yaml")
    assert row["STATUS"] == "error"
    assert row["REASON"].endswith("above 1.9")


def test_the_text_of_a_month_leaves_failures_out(month, tmp_path):
    month.add(1, moments(100))
    month.add(2)
    month.add(3, moments(0))
    month.run()
    out = tmp_path / "text"
    done = CliRunner().invoke(cli, ["legacy", str(month.results / "q.parquet"), "-o", str(out)])
    assert "1 exposures omitted: failed" in done.output
    medians = legacy.read_psfmoments(out / "psfmoments_202304.txt")
    assert list(medians) == [name(1), name(3)]
    assert medians[name(1)]["R2"] == pytest.approx(1.95, abs=0.01)
    assert math.isnan(medians[name(3)]["R2"])


# Real tables.


def imported_month(folder, results, tmp_path):
    """Import a folder and make the month's quality table from nothing else."""
    from visql_lib.pipelines import settings_from_mapping

    runner = CliRunner()
    done = runner.invoke(cli, ["import-legacy", str(folder), "--results", str(results)])
    assert done.exit_code == 0, done.output
    settings = settings_from_mapping({"raw": [str(tmp_path)], "results": str(results)})
    refresh_sheets(settings, VIS, RULES, ["202407"])
    out = results / "psfmoments_202407.parquet"
    done = runner.invoke(cli, ["quality", str(results / "exposures" / "202407.tsv"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    return read_table(out)


def test_every_score_of_the_real_month(reference, tmp_path):
    folder = reference / "vis_202407"
    table = imported_month(folder, tmp_path / "results", tmp_path)
    printed = legacy.read_scores(folder / "psfmoments_202407_le1_score.txt")
    assert len(printed) == 964
    assert table["EXPOSURE"].tolist() == list(printed)
    assert [f"{s:.2f}" for s in table["SCORE"]] == [f"{row.score:.2f}" for row in printed.values()]
    assert table["ARCHIVE_NAME"].tolist() == [row.archive_name for row in printed.values()]
    assert (table["CLASS"] == "long").sum() == 568


def test_the_real_month_ends_as_the_same_text(reference, tmp_path):
    folder = reference / "vis_202407"
    imported_month(folder, tmp_path / "results", tmp_path)
    source, out = tmp_path / "results" / "psfmoments_202407.parquet", tmp_path / "text"
    assert CliRunner().invoke(cli, ["legacy", str(source), "-o", str(out)]).exit_code == 0
    texts = list(out.glob("[!.]*"))
    for path in texts:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert len(texts) == 5


def test_the_seven_medians_of_the_real_exposure(reference, tmp_path):
    table = imported_month(reference / "vis_20240713", tmp_path / "results", tmp_path)
    found = [f"{table[name][0]:.{3 if name == 'R2' else 4}f}" for name in SUMMARY]
    assert found == ["1.985", "0.0334", "-0.0178", "-0.0215", "0.0078", "-0.2300", "0.0354"]
    assert table["SOURCE"].tolist() == ["imported moments"]
    assert table["N_STARS"].tolist() == [765]
    assert table["EXPTIME"].tolist() == [560.52]
