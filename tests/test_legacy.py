"""The text tables of the original system, read, imported and written."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.cli import cli
from visql_lib.errors import LegacyFormatError
from visql_lib.flags import MomentFlag
from visql_lib.instruments.model import load_instrument
from visql_lib.pipelines.vis.legacy import read as legacy
from visql_lib.pipelines.vis.legacy import write as writers
from visql_lib.pipelines.vis.legacy.imported import ImportedRow, imported_path, merge_imported, read_imported
from visql_lib.psf.score import image_quality_score
from visql_lib.tables import CATALOGUE, MOMENTS, STARS, read_table, write_table

VIS = load_instrument("euclid_vis")
E1, E2, E3 = (f"C_20230405_06070{i}_W_0123456{i}.VIS.bin_01_01" for i in (1, 2, 3))
ARCHIVE = "EUC_LE1_VIS-00001-1-W_20230405T060701.000000Z_01_01_01.00_EUCLIDSOC"
MEDIANS_HEADER = "#|   catalogue   |   R2  | COMA1 | COMA 2 | ELL 1 | ELL 2 | TREF 1 | TREF 2 |\n"
MEDIANS = {
    E1: dict(zip(legacy.MEDIANS, (1.95, 0.03, -0.02, -0.0236, 0.0065, -0.24, -0.0), strict=True)),
    E2: dict.fromkeys(legacy.MEDIANS, np.nan),
    E3: dict(zip(legacy.MEDIANS, (7.57, 0.1, 0.2, 0.0412, -0.4133, 0.5, 0.6), strict=True)),
}


def month_table(names=(ARCHIVE, "", "")):
    columns = {name: np.array([m[name] for m in MEDIANS.values()]) for name in legacy.MEDIANS}
    return columns | {"EXPOSURE": np.array(list(MEDIANS)), "ARCHIVE_NAME": np.array(names)}


def moments_table(n=20, seed=1):
    rng = np.random.default_rng(seed)
    columns = {c.name: np.round(rng.normal(size=n), 4) for c in MOMENTS.columns}
    return columns | {"EXT": np.array(["1-1.E", "6-6.G"] * (n // 2)), "FLAGS": np.zeros(n, int)}


def stars_table(n=20, seed=2):
    """Stars at known pixels of known quadrants."""
    rng = np.random.default_rng(seed)
    names = rng.choice(list(VIS.quadrants), n)
    x, y = rng.uniform(60, 2000, (2, n)).round(2)
    world = np.array([VIS.quadrants[q].wcs.to_world(a, b) for q, a, b in zip(names, x, y, strict=True)])
    columns = {c.name: rng.uniform(1, 5, n).round(3) for c in STARS.columns}
    columns |= {"EXT": names, "X_IMAGE": x, "Y_IMAGE": y, "X_WORLD": world[:, 0], "Y_WORLD": world[:, 1]}
    return columns | {"FLAGS": rng.integers(0, 4, n), "FIELDRAD": np.hypot(*world.T)}


@pytest.fixture
def old(tmp_path):
    """A small folder of the original's tables."""
    folder = tmp_path / "old" / "some" / "where"
    folder.mkdir(parents=True)
    writers.write_month(folder, "202304", month_table(), VIS.score)
    writers.write_moments(folder / f"{E1}_stars2_mom.cat", moments_table())
    writers.write_stars2(folder / f"{E1}_stars2.cat", stars_table())
    (folder / "vis-over-gaia-202304_long.txt").write_text(
        f"{E1}_stars2_mom.cat VIS/GaiaBpRp 0.75 1.75 2.75  0.88  1.13  1.26    560.52\n"
        "C_ALL20230405_long_stars2_mom.cat 1212VIS/Gaia 0.75 1.75 2.75  0.88  1.13  1.26    560.52\n"
    )
    return tmp_path / "old"


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def import_folder(folder, results):
    return run("import-legacy", folder, "--results", results)


def snapshot(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


# Formats.


def test_the_lines_of_a_month(tmp_path):
    writers.write_month(tmp_path, "202304", month_table(), VIS.score)
    text = (tmp_path / "psfmoments_202304.txt").read_text().splitlines()
    assert text[1] == (
        f"| {E1}_stars2_mom.cat    |"
        "    1.950 |   0.0300 | -0.0200 |  -0.0236 |  0.0065 |  -0.2400 | -0.0000 |"
    )
    assert text[2] == (
        f"| {E2}_stars2_mom.cat    |"
        "    9.900 |   0.9999 |  0.9999 |   0.9999 |  0.9999 |   0.9999 |  0.9999 |"
    )
    score = (tmp_path / "psfmoments_202304_score.txt").read_text().splitlines()
    assert score[3] == f"| {E3}_  |    7.570 |   0.0412 |  -0.4133 | 179737.28 |"
    csv = (tmp_path / "psfmoments_202304_le1_score.csv").read_text().splitlines()
    assert csv[0] == "image ; R2 ; e1 ; e2 ; score ; EASname "
    assert csv[1].endswith(f" ;  {ARCHIVE}")


def test_medians_are_read_into_the_columns_the_original_meant(tmp_path):
    """By the names of its header, not by ours: COMA, ELL and TREF are com, e and tr."""
    line = f"| {E1}_stars2_mom.cat | 1.95 | 0.11 | 0.12 | 0.21 | 0.22 | 0.31 | 0.32 |\n"
    (tmp_path / "psfmoments_202304.txt").write_text(MEDIANS_HEADER + line)
    expected = {"R2": 1.95, "com1": 0.11, "com2": 0.12, "e1": 0.21, "e2": 0.22, "tr1": 0.31, "tr2": 0.32}
    assert legacy.read_psfmoments(tmp_path / "psfmoments_202304.txt") == {E1: expected}


def score(R2, e1, e2):
    """The score against the calibration of VIS."""
    s = VIS.score
    covariance = (s.cov_R2_R2, s.cov_R2_e1, s.cov_e1_e1)
    return image_quality_score(R2, e1, e2, centre=(s.R2, s.e1, s.e2), covariance=covariance, var_e2=s.var_e2)


def test_the_score_of_an_exposure_without_stars_follows_from_what_was_printed(tmp_path):
    writers.write_month(tmp_path, "202304", month_table(), VIS.score)
    line = (tmp_path / "psfmoments_202304_score.csv").read_text().splitlines()[2]
    expected = float(score(9.9, 0.9999, 0.9999))
    assert expected > 1000
    assert float(line.split(",")[4]) == pytest.approx(expected, abs=0.005)


def test_the_score_is_that_of_the_printed_medians(tmp_path):
    table = month_table()
    table["R2"] = table["R2"] + 0.0004
    writers.write_month(tmp_path, "202304", table, VIS.score)
    row = legacy.read_scores(tmp_path / "psfmoments_202304_score.txt")[E1]
    assert row.R2 == 1.95
    assert row.score == round(float(score(1.95, -0.0236, 0.0065)), 2)


def test_a_month_comes_back(tmp_path):
    for path in writers.write_month(tmp_path, "202304", month_table(), VIS.score):
        if "score" not in path.name:
            assert repr(legacy.read_psfmoments(path)) == repr(MEDIANS)
            continue
        rows = legacy.read_scores(path)
        assert list(rows) == list(MEDIANS)
        assert np.isnan([rows[E2].R2, rows[E2].e1, rows[E2].score]).all()
        assert (rows[E1].archive_name == ARCHIVE) == ("le1" in path.name)


def test_columns_go_by_their_names(tmp_path):
    """Not by their place; blanks in names do not count."""
    path = tmp_path / "psfmoments_202304_score.csv"
    path.write_text(f"score , e1 , image , R2 , e2\n15.06 , -0.0236 , {E1}_ , 1.978 , 0.0065\n")
    assert legacy.read_scores(path) == {E1: legacy.ScoreRow(1.978, -0.0236, 0.0065, 15.06)}
    path = tmp_path / "psfmoments_202304.txt"
    path.write_text(
        "#| catalogue | ELL1 | ELL2 | R2 | COMA 1 | COMA 2 | TREF 1 | TREF 2 |\n"
        f"| {E1}_stars2_mom.cat | -0.0236 | 0.0065 | 1.95 | 0.03 | -0.02 | -0.24 | -0.0 |\n"
    )
    assert legacy.read_psfmoments(path) == {E1: MEDIANS[E1]}


def test_an_exposure_that_comes_twice_and_infinite_values_are_told(tmp_path, caplog):
    path = tmp_path / "psfmoments_202304_score.csv"
    path.write_text(f"image,R2,e1,e2,score\n{E1}_,1.978,-0.02,0.006,inf\n{E1}_,9,9,9,9\n")
    row = legacy.read_scores(path)[E1]
    assert row.R2 == 1.978
    assert np.isnan(row.score)
    assert "line 2: an infinite value is taken as unknown" in caplog.text
    assert f"line 3: {E1} is listed twice; the first line is used" in caplog.text


def test_moments_come_back_and_flagged_stars_stay_out(tmp_path):
    table = moments_table()
    table["FLAGS"][3] = MomentFlag.LOST_CENTRE
    writers.write_moments(tmp_path / "m.cat", table)
    found = legacy.read_flagged_moments(tmp_path / "m.cat")
    keep = table["FLAGS"] == 0
    assert_array_equal(found["EXT"], table["EXT"][keep])
    for name in ("XWORLD", "DX", "R2", "e1", "com2"):
        assert_array_equal(found[name], table[name][keep])
    assert not found["FLAGS"].any()


def test_a_moment_that_is_no_number_is_flagged(tmp_path):
    table = moments_table()
    table["e1"][2] = np.nan
    writers.write_moments(tmp_path / "m.cat", table)
    found = legacy.read_flagged_moments(tmp_path / "m.cat")
    assert found["FLAGS"].tolist() == [0, 0, MomentFlag.NO_FLUX] + [0] * 17
    assert np.isnan(found["R2"][2])


def test_stars_come_back_with_quadrant_and_pixel(tmp_path):
    table = stars_table()
    writers.write_stars2(tmp_path / "s.cat", table)
    found = legacy.read_stars2(tmp_path / "s.cat", VIS)
    assert_array_equal(found["EXT"], table["EXT"])
    assert_allclose(found["X_IMAGE"], table["X_IMAGE"], atol=0.02)  # X_WORLD is printed with six digits
    assert_allclose(found["Y_IMAGE"], table["Y_IMAGE"], atol=1e-4)
    assert_array_equal(found["FLUX_AUTO"], table["FLUX_AUTO"])
    assert_array_equal(found["NUMBER"], np.arange(1, 21))


def test_a_position_outside_every_quadrant_has_none():
    found = legacy.locate(np.array([0.0, 5.0]), np.array([5.0, 0.0]), VIS)
    assert found["EXT"].tolist() == ["", ""]
    assert np.isnan(found["X_IMAGE"]).all()


def test_every_pixel_of_the_image_sections_is_found_and_no_other():
    for quadrant in list(VIS.quadrants.values())[::17]:
        first, last = quadrant.image_columns.start + 1, quadrant.image_columns.stop
        bottom, top = quadrant.image_rows.start + 1, quadrant.image_rows.stop
        world = quadrant.wcs.to_world([first, last, first - 1, last], [bottom, top, bottom, top + 1])
        assert legacy.locate(*world, VIS)["EXT"][:2].tolist() == [quadrant.name] * 2
        assert quadrant.name not in legacy.locate(*world, VIS)["EXT"][2:]


def test_a_table_without_stars(tmp_path):
    writers.write_stars2(tmp_path / "s.cat", STARS.empty())
    writers.write_moments(tmp_path / "m.cat", MOMENTS.empty())
    assert len(legacy.read_stars2(tmp_path / "s.cat", VIS)["EXT"]) == 0
    assert len(legacy.read_flagged_moments(tmp_path / "m.cat")["FLAGS"]) == 0


def test_the_catalogue_is_the_same_twice(tmp_path):
    table = stars_table()
    for name in ("a.gz", "b.gz"):
        writers.write_catalogue(tmp_path / name, table)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    with gzip.open(tmp_path / "a.gz", "rt") as file:
        header, *lines = file.read().splitlines()
    assert header == f"# {' '.join(CATALOGUE.names)}"
    assert len(lines) == 20
    first = dict(zip(CATALOGUE.names, lines[0].split(), strict=True))
    assert first["EXT"] == table["EXT"][0]
    assert_allclose(float(first["X_IMAGE"]), table["X_IMAGE"][0])
    assert_allclose(float(first["Y_WORLD"]), table["Y_WORLD"][0], atol=1e-8)


@pytest.mark.parametrize(
    ("reader", "name", "text", "message"),
    [
        (legacy.read_moments, "m.cat", "# EXT XWORLD\n", "line 1: expected the header"),
        (legacy.read_moments, "m.cat", "", "line 1: expected the header"),
        (legacy.read_stars2, "s.cat", "1 2 3\n", "line 1: 3 values, expected 11"),
        (legacy.read_stars2, "s.cat", "1 2 3 4 5 6 7 8 9 1 x\n", "line 1: FIELDRAD 'x' is not a number"),
        (legacy.read_stars2, "s.cat", "1 2 3 4 5 6 7 8 9 1.5 2\n", "FLAGS must be whole numbers"),
        (legacy.read_stars2, "s.cat", "1 2 3 4 5 6 7 8 9 1 2", "line 1: no line end"),
        (legacy.read_psfmoments, "p.txt", "no table\n", "line 1: expected a header"),
        (
            legacy.read_psfmoments,
            "p.txt",
            "#| c |\n| a | 1 |\n",
            "line 1: expected the columns 'catalogue | R2",
        ),
        (legacy.read_psfmoments, "p.txt", f"{MEDIANS_HEADER}| a | 1 |\n", "line 2: 2 cells, expected 8"),
        (legacy.read_psfmoments, "p.txt", f"{MEDIANS_HEADER}| {'a | ' * 8}\n", "line 2: 'a' is no exposure"),
        (
            legacy.read_scores,
            "p_score.csv",
            f"image , R2 , e1 , e2 , score\n{E1}_ , 1, 2, 3, ?\n",
            r"line 2: '\?' is not a number",
        ),
        (
            legacy.read_scores,
            "p_score.csv",
            f"image,R2,e1,score\n{E1}_ ,1,2,3\n",
            "line 1: expected the columns",
        ),
        (
            legacy.read_scores,
            "p_le1_score.csv",
            f"image ; R2 ; e1 ; e2 ; score ; EASname\n{E1}_ ; 1;2;3;4;5\n",
            "line 2: '5' is no archive name",
        ),
        (legacy.read_archive_names, "n", f'"a.b","c"\r\n"{ARCHIVE}"\r\n', "line 2: expected archive name"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path, reader, name, text, message):
    (tmp_path / name).write_text(text, newline="")
    with pytest.raises(LegacyFormatError, match=message) as error:
        reader(tmp_path / name)
    assert name in str(error.value)


def test_a_picture_is_no_table(tmp_path):
    (tmp_path / "s.cat").write_bytes(b"\x89PNG\n")
    with pytest.raises(LegacyFormatError, match="not a text table"):
        legacy.read_stars2(tmp_path / "s.cat")


@pytest.mark.parametrize("line", ['"{a}","{r}"\r\n', "{a} {r}\n"])
def test_archive_names_with_commas_or_blanks(tmp_path, line):
    raw = "C_20230405_060701_W_01234561.VIS.bin.fits"
    (tmp_path / "names").write_text(
        '"Header.ProductId","Data.RawFile"\r\n' + line.format(a=ARCHIVE, r=raw), newline=""
    )
    assert legacy.read_archive_names(tmp_path / "names") == {E1: ARCHIVE}


# Importing.


def test_importing_a_folder(old, tmp_path):
    results = tmp_path / "results"
    told = import_folder(old, results)
    assert told.exit_code == 0, told.output
    assert "stars (*_stars2.cat): 1 imported" in told.output
    assert "month 202304, exposures: 3 new" in told.output
    table = read_imported(results, "202304")
    assert table["EXPOSURE"].tolist() == [E1, E2, E3]
    assert table["EXPTIME"].tolist()[0] == 560.52
    assert np.isnan(table["EXPTIME"][1:]).all()
    assert table["ARCHIVE_NAME"].tolist() == [ARCHIVE, "", ""]
    assert str(table["DATE_OBS"][0]) == "2023-04-05T06:07:01.000000"
    assert table["HAS_MOMENTS"].tolist() == [1, 0, 0]
    assert table["HAS_MEDIANS"].tolist() == [1, 1, 1]
    assert_array_equal(table["R2"], [1.95, np.nan, 7.57])
    moments = read_table(results / "exposures" / "202304" / E1 / f"{E1}_stars2_mom.parquet")
    wanted = {"exposure": E1, "frame_type": "SCIENCE", "exptime": 560.52, "instrument": "euclid_vis"}
    assert wanted.items() <= moments.meta.items()
    assert moments.meta["origin"] == "imported"
    assert_array_equal(moments["R2"], moments_table()["R2"])


def test_importing_twice_changes_nothing(old, tmp_path):
    results = tmp_path / "results"
    import_folder(old, results)
    before = snapshot(results)
    told = import_folder(old, results)
    assert snapshot(results) == before
    assert "stars (*_stars2.cat): 1 unchanged" in told.output
    assert "0 new, 0 changed, 3 unchanged" in told.output


def test_a_later_import_adds_and_never_forgets(old, tmp_path):
    results = tmp_path / "results"
    times = next(old.rglob("vis-over-gaia-*"))
    text = times.read_text()
    times.unlink()
    import_folder(old, results)
    moments = results / "exposures" / "202304" / E1 / f"{E1}_stars2_mom.parquet"
    assert read_table(moments).meta["exptime"] is None
    times.write_text(text)
    told = import_folder(old, results)
    assert "0 new, 1 changed, 2 unchanged" in told.output
    assert read_table(moments).meta["exptime"] == 560.52
    times.unlink()
    assert "1 unchanged" in import_folder(old, results).output
    assert read_table(moments).meta["exptime"] == 560.52
    assert read_imported(results, "202304")["EXPTIME"][0] == 560.52


def test_our_own_measurement_is_never_overwritten(old, tmp_path):
    path = tmp_path / "results" / "exposures" / "202304" / E1 / f"{E1}_stars2_mom.parquet"
    write_table(path, moments_table(seed=9), MOMENTS, meta={"exposure": E1})
    before = snapshot(path.parent)
    told = import_folder(old, tmp_path / "results")
    assert "VISQL measured this exposure itself" in told.output
    assert told.exit_code == 0
    assert before.items() <= snapshot(path.parent).items()
    assert read_imported(tmp_path / "results", "202304")["HAS_MOMENTS"].tolist() == [0, 0, 0]


def test_a_changed_table_is_imported_again(old, tmp_path):
    results = tmp_path / "results"
    import_folder(old, results)
    writers.write_moments(next(old.rglob("*_mom.cat")), moments_table(seed=5))
    assert "moments (*_stars2_mom.cat): 1 imported" in import_folder(old, results).output
    moments = read_table(results / "exposures" / "202304" / E1 / f"{E1}_stars2_mom.parquet")
    assert_array_equal(moments["R2"], moments_table(seed=5)["R2"])


def test_a_broken_table_is_named_and_the_rest_imported(old, tmp_path):
    folder = next(old.rglob("*_mom.cat")).parent
    broken = folder / f"{E3}_stars2_mom.cat"
    text = next(old.rglob("*_mom.cat")).read_text()
    broken.write_text(text[:900])
    told = import_folder(old, tmp_path / "results")
    assert told.exit_code == 1
    assert f"broken: {broken}: line " in told.output
    assert "moments (*_stars2_mom.cat): 1 imported" in told.output
    assert read_imported(tmp_path / "results", "202304")["HAS_MOMENTS"].tolist() == [1, 0, 0]
    assert not (tmp_path / "results" / "exposures" / "202304" / E3).exists()


def test_what_is_skipped_is_told(old, tmp_path):
    folder = next(old.rglob("*_mom.cat")).parent
    for name in (
        f"{E1}.wcs",
        f"{E2}.wcs",
        f"{E1}_stars2_gaia.cat",
        f"{E1}.png",
        "notes.md",
        "C_x_stars2.cat",
    ):
        (folder / name).write_text("")
    (old / "again").mkdir()
    (old / "again" / f"{E1}_stars2.cat").write_text("")
    told = import_folder(old, tmp_path / "results").output
    assert "skipped: plate solutions (*.wcs), 2 files: known, but not imported yet" in told
    assert "skipped: Gaia stars (*_gaia.cat), 1 file:" in told
    assert "notes.md: unknown file" in told
    assert "C_x_stars2.cat: C_x: not a raw file's name" in told
    assert "is the same table of the same exposure" in told


def test_an_exposure_time_alone_is_no_exposure(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "vis-over-gaia-202304_long.txt").write_text(
        f"{E1}_stars2_mom.cat VIS/GaiaBpRp 1 560.52\n"
    )
    told = import_folder(tmp_path / "old", tmp_path / "results")
    assert "only their exposure time is known" in told.output
    assert read_imported(tmp_path / "results", "202304") is None


def test_an_empty_folder(tmp_path):
    (tmp_path / "old").mkdir()
    told = import_folder(tmp_path / "old", tmp_path / "results")
    assert told.exit_code == 0
    assert "contains no table" in told.output


def test_a_merge_without_news_leaves_the_file_alone(tmp_path):
    rows = [ImportedRow(E1, medians={"R2": np.nan}), ImportedRow(E2, 89.52, ARCHIVE)]
    assert merge_imported(tmp_path, "202304", rows).new == 2
    path = imported_path(tmp_path, "202304")
    os.utime(path, (1, 1))
    assert merge_imported(tmp_path, "202304", rows).unchanged == 2
    assert merge_imported(tmp_path, "202304", [ImportedRow(E2)]).unchanged == 1
    assert path.stat().st_mtime == 1


# Writing.


def test_our_tables_become_text(tmp_path):
    write_table(tmp_path / "m.parquet", moments_table(), MOMENTS, meta={"exposure": E1})
    write_table(tmp_path / "s.parquet", stars_table(), STARS, meta={"exposure": E1})
    write_table(tmp_path / "c.parquet", stars_table(), CATALOGUE, meta={"exposure": E1})
    done = run("legacy", *(tmp_path / f"{n}.parquet" for n in "msc"), "-o", tmp_path / "text")
    assert done.exit_code == 0, done.output
    names = {p.name for p in (tmp_path / "text").glob("[!.]*")}
    assert names == {f"{E1}_stars2.cat", f"{E1}_stars2_mom.cat", f"{E1}.cat.gz"}
    found = legacy.read_moments(tmp_path / "text" / f"{E1}_stars2_mom.cat")
    assert_array_equal(found["R2"], moments_table()["R2"])


def test_a_table_that_does_not_say_its_exposure_is_refused(tmp_path):
    write_table(tmp_path / "m.parquet", moments_table(), MOMENTS)
    done = run("legacy", tmp_path / "m.parquet", "-o", tmp_path / "text")
    assert "has no exposure" in str(done.exception)


# Real tables.


def test_the_real_month_comes_back_byte_by_byte(reference, tmp_path):
    month = reference / "vis_202407"
    names = {
        e: row.archive_name
        for e, row in legacy.read_scores(month / "psfmoments_202407_le1_score.txt").items()
    }
    medians = legacy.read_psfmoments(month / "psfmoments_202407.txt")
    assert len(medians) == 964
    assert list(names) == list(medians)
    columns = {name: np.array([m[name] for m in medians.values()]) for name in legacy.MEDIANS}
    columns |= {"EXPOSURE": np.array(list(medians)), "ARCHIVE_NAME": np.array(list(names.values()))}
    written = writers.write_month(tmp_path, "202407", columns, VIS.score)
    assert len(written) == 5
    for path in written:
        assert path.read_bytes() == (month / path.name).read_bytes(), path.name


def test_real_moments_come_back_byte_by_byte(reference, tmp_path):
    path = next((reference / "vis_20240713").glob("*_stars2_mom.cat"))
    writers.write_moments(tmp_path / "m.cat", legacy.read_flagged_moments(path))
    assert (tmp_path / "m.cat").read_bytes() == path.read_bytes()


def test_real_stars_come_back(reference, tmp_path):
    """Through our Parquet table: every column as printed but NUMBER (not kept) and Y_WORLD (to 1e-8 deg)."""
    path = next((reference / "vis_20240713").glob("*_stars2.cat"))
    write_table(tmp_path / "s.parquet", legacy.read_stars2(path, VIS), STARS)
    writers.write_stars2(tmp_path / "s.cat", read_table(tmp_path / "s.parquet"))
    old, new = ([line.split() for line in p.read_text().splitlines()] for p in (path, tmp_path / "s.cat"))
    assert [[*w[:1], *w[2:8], *w[9:]] for w in new] == [[*w[:1], *w[2:8], *w[9:]] for w in old]
    assert_allclose([float(w[1]) for w in new], [float(w[1]) for w in old], atol=0.5001e-8, rtol=0)


def test_quadrants_and_pixels_of_real_stars_agree_with_the_moments_table(reference):
    folder = reference / "vis_20240713"
    stars = legacy.read_stars2(next(folder.glob("*_stars2.cat")), VIS)
    moments = legacy.read_moments(next(folder.glob("*_stars2_mom.cat")))
    distance = np.hypot(
        stars["X_WORLD"] - moments["XWORLD"][:, None], stars["Y_WORLD"] - moments["YWORLD"][:, None]
    )
    pair = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-6
    assert_array_equal(stars["EXT"][pair], moments["EXT"])
    assert "" not in stars["EXT"]
    for image, centroid, offset in (("X_IMAGE", "XIMAGE", "DX"), ("Y_IMAGE", "YIMAGE", "DY")):
        nearest = moments[centroid] - moments[offset]
        assert np.abs(stars[image][pair] - nearest).max() < 0.5 + 2e-4  # 4 decimals of XIMAGE and DX
    assert_allclose(stars["FLUX_AUTO"][pair], moments["FLUX"], rtol=5.1e-6)


def test_real_moments_with_colours(reference: Path):
    table = legacy.read_moments_with_colours(next((reference / "vis_20240713").glob("*_mom_col.cat")))
    assert len(table["G"]) == 722
    assert (table["G"] < 21).all()
