"""The workflow as users run it: real Snakemake on a small month of the toy camera."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numbers_of_stages import check_month
from raised import in_all_commands
from toy_month import ROOT, Month, check_steps, stems, verified

from visql_lib.pipelines.vis.registry import REGISTRY, VERSIONS
from visql_lib.tables import read_meta, read_table

pytestmark = [pytest.mark.slow]

ZOOMS = [a + b for a in "tcl" for b in "lcr"]


@pytest.fixture(scope="module")
def month(toy_month, tmp_path_factory):
    """The six toy frames, run through once."""
    return toy_month.copy(tmp_path_factory.mktemp("month"))


def test_a_frame_of_other_content_under_the_same_size_and_time_is_told(month, tmp_path):
    """Nothing but its pixels tells: whoever reads them compares with what the catalogue was made from."""
    other = month.copy(tmp_path / "m")
    frame = next(other.raw.glob("*_0200*.fits"))
    stat, data = frame.stat(), bytearray(frame.read_bytes())
    data[-4000] ^= 1
    frame.write_bytes(data)
    os.utime(frame, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert other.missing() == {}
    made = other.exposure(frame.stem) / frame.stem

    def visql(*arguments):
        command = [Path(sys.executable).parent / "visql", *arguments, "--config", other.config]
        done = subprocess.run(
            list(map(str, command)), cwd=other.folder, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert "all well" in visql("verify", "202407")[1]
    assert f"made from another {frame.name}" in visql("verify", "202407", "--deep")[1]
    for step in (
        ["moments", frame, f"{made}_stars2.parquet", "-o", other.folder / "m.parquet"],
        ["pyramid", frame, "--quadrants", f"{made}_quadrants.parquet", "-o", other.folder / "tiles"],
    ):
        code, said = visql(*step)
        assert code == 1
        assert "its pixels are not those from which" in said
        assert "Traceback" not in said
    os.utime(frame)  # as the message says
    assert {"catalog": 1, "moments": 1, "image_quality": 1}.items() <= other.missing().items()


def test_the_site_expects_what_the_month_made(month):
    check_steps(month, "image_quality", "quality_pictures", "month_status", "qc", "last_month")


def test_captions_of_the_report_are_those_the_rules_name():
    text = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").rglob("*.smk"))
    named = set(re.findall(r'"\.\./\.\./report/(\w+)\.rst"', text)) | {"radiation", "leak"}  # by name
    assert named == {path.stem for path in (ROOT / "workflow" / "report").glob("*.rst")}
    assert text.count("caption=") == text.count("labels=") == text.count("category=") > 5


OF_THE_QUALITY = dict.fromkeys(
    ("image_quality", "quality_pictures", "last_month", "month_status", "qc", "month_complete", "month"), 1
)


def test_a_run_makes_exactly_the_products_of_each_type(month):
    expected = {
        "SCIENCE": [".cat.parquet", "_quadrants.parquet", "_stars2.parquet", "_stars2_mom.parquet"]
        + ["_stars2_stamps.parquet", ".png"]
        + [f"_{name}.png" for name in ZOOMS]
        + list(REGISTRY["pictures"].endings),
        "DARK": [".cat.parquet", "_quadrants.parquet", ".png", *(f"_{z}.png" for z in ZOOMS)],
        "BIAS": ["_quadrants.parquet", ".png", *(f"_{z}.png" for z in ZOOMS)],
    }
    expected["FLAT"] = [*expected["DARK"], "_stars2.parquet", "_chimney2.png"]
    for kind, endings in expected.items():
        for stem in stems(month, kind):
            found = {p.name.removeprefix(stem): p.stat().st_size for p in month.exposure(stem).iterdir()}
            assert set(found) == set(endings), kind
            assert min(found.values()) > 500
    found = {p.name for p in (month.results / "months" / "202407").iterdir()}
    names = {"psfmoments_202407.parquet", "psfmoments_202407.png", "IQ_timeline_202407.png", "status.tsv"}
    names |= {
        "qc_202407.parquet",
        "complete.tsv",
        ".complete.tsv.json",
        ".status.tsv.json",
    }  # records of what cannot hold one
    assert found == names


def test_a_second_run_has_nothing_to_do(month):
    assert month.missing() == {}


def test_exposures_without_jobs_are_there_for_who_asks_for_more(month, tmp_path):
    """What a run left complete is not planned, but can be forced, listed and made again alone."""
    other = month.copy(tmp_path / "m")
    assert len(json.loads((other.results / "up_to_date" / "202407.json").read_text())["entries"]) == 6
    assert other.missing("--forcerun", "moments") == {"moments": 3, "pictures": 3} | MONTH_JOBS
    stem = stems(month, "SCIENCE")[0]
    product = other.exposure(stem) / f"{stem}_iq.png"
    assert product.name in other.run("--summary")[1]
    assert other.missing("--force", "--", "month", product.relative_to(other.folder))["pictures"] == 1
    product.unlink()
    looked_at = other.missing("--rerun-triggers", "mtime", "params", "input", "software-env", "code")
    assert other.missing() == looked_at == {"pictures": 1, "month": 1}


def test_numbers_change_with_their_stage_only(month):
    check_month(month.results, ("catalog", "stars", "moments", "quality"))


def test_tables_carry_their_origin(month):
    for stem in stems(month, "SCIENCE"):
        meta = read_meta(month.exposure(stem) / f"{stem}_stars2_mom.parquet")
        assert meta["inputs"] == [f"{stem}.fits", f"{stem}_stars2.parquet"]
        assert meta["exposure"] == stem
        assert (meta["stage"], meta["frame_type"]) == ("moments", "SCIENCE")


def test_image_quality_of_the_month(month):
    table = read_table(month.results / "months" / "202407" / "psfmoments_202407.parquet")
    assert list(table["EXPOSURE"]) == stems(month, "SCIENCE")
    assert (table["N_STARS"] >= 10).all()
    assert list(table["CLASS"]) == ["long", "short", "long"]
    # The third was simulated with a blurred PSF.
    assert table["R2"][2] > table["R2"][:2].max() + 0.05
    assert table["SCORE"][2] > table["SCORE"][:2].max()


def test_every_job_has_its_log_and_benchmark(month):
    for kind in ("catalog", "moments", "pictures"):
        for stem in stems(month, "SCIENCE"):
            assert (month.results / "logs" / kind / "202407" / f"{stem}.log").is_file()
            assert (month.results / "benchmarks" / kind / "202407" / f"{stem}.tsv").is_file()


@pytest.mark.parametrize(
    ("changes", "jobs"),
    [
        ({"stars": {"min_stars": 11}}, {"stars": 4, "moments": 3, "pictures": 3, "pictures_flat": 1}),
        ({"moments": {"iterations": 6}}, {"moments": 3, "pictures": 3}),
        ({"index": {"growing_age": 1}}, None),
    ],
    ids=["stars", "moments", "index"],
)
def test_a_changed_setting_reruns_what_depends_on_it(month, tmp_path, changes, jobs):
    other = month.copy(tmp_path / "m")
    other.configure(**changes)
    assert other.missing() == ({} if jobs is None else jobs | MONTH_JOBS)


def test_a_changed_limit_reruns_only_the_month(month, tmp_path):
    other = month.copy(tmp_path / "m")
    limits = tmp_path / "limits.yaml"
    limits.write_text((ROOT / "config" / "thresholds" / "euclid_vis.yaml").read_text())
    other.configure(quality={"thresholds": str(limits)})
    assert other.missing() == OF_THE_QUALITY
    assert other.run("--quiet", "rules")[0] == 0
    limits.write_text(limits.read_text().replace("27", "0.001"))
    assert other.missing() == OF_THE_QUALITY
    judged = other.results / "months" / "202407" / "psfmoments_202407.parquet"
    assert other.run("--quiet", "rules", "--", judged.relative_to(other.folder))[0] == 0
    table = read_table(judged)
    assert set(table["STATUS"]) <= {"warn", "error"}


def test_a_raised_stage_version_reruns_that_stage(month, tmp_path, monkeypatch):
    other = month.copy(tmp_path / "m")
    (tmp_path / "sitecustomize.py").write_text(in_all_commands("quality"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert other.missing() == OF_THE_QUALITY
    # What Snakemake would make again and what verify calls stale or made from it are the same.
    (stale,) = verified(other)
    said = f"stage quality is {VERSIONS['quality'] + 1}, was {VERSIONS['quality']}"
    assert stale == ("stale", "months/202407/psfmoments_202407.parquet", said)


def test_a_finished_month_is_verified(month):
    assert verified(month) == verified(month, "--deep") == []


def test_verify_finds_what_is_wrong(month, tmp_path):
    other = month.copy(tmp_path / "m")
    long, short = (other.exposure(stem) / stem for stem in stems(other, "SCIENCE")[:2])
    missing, cut, changed = (Path(f"{long}{end}") for end in ("_iq.png", "_tl.png", "_stars2.parquet"))
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-5])
    content = bytearray(changed.read_bytes())
    content[50] ^= 1
    changed.write_bytes(content)
    foreign = [long.with_name("notes.txt"), long.with_name(".part-x-y.png")]
    foreign.append(other.results / "months" / "202407" / "psf_202407.png")
    foreign.append(other.exposure("C_20240101_000000_W_00000000.VIS.bin_01_01"))
    for path in foreign:
        path.mkdir() if path == foreign[-1] else path.write_text("x")
    status = other.results / "months" / "202407" / "status.tsv"
    status.write_text(status.read_text().replace("ok", "OK"))
    os.utime(other.raw / f"{short.name}.fits", (1.8e9, 1.8e9))
    found = {
        (kind, (other.results / product).name): reason for kind, product, reason in verified(other, "--deep")
    }
    raw = [f"{short.name}{end}" for end in (".cat.parquet", "_stars2_mom.parquet", "_cc.png", ".png")]
    wanted = {("missing", missing.name), *(("damaged", path.name) for path in (cut, changed, status))}
    wanted |= {*(("foreign", path.name) for path in foreign), *(("stale", name) for name in raw)}
    assert wanted <= found.keys()
    rest = found.keys() - wanted
    assert all(kind == "stale" and name.startswith(short.name) for kind, name in rest), rest
    assert found["stale", f"{short.name}.png"] == f"made from another {short.name}.fits"
    # A look that is not deep sees all but what is changed within.
    seen = {(kind, (other.results / product).name) for kind, product, _ in verified(other)}
    assert found.keys() - seen == {("damaged", changed.name), ("damaged", status.name)}


def test_verify_sees_a_changed_setting(month, tmp_path):
    other = month.copy(tmp_path / "m")
    other.configure(moments={"iterations": 6}, calibration={"hot_sigma": 9})
    found = {
        product.rpartition("/")[2]: reason for kind, product, reason in verified(other) if kind == "stale"
    }
    moments = [f"{stem}_stars2_mom.parquet" for stem in stems(other, "SCIENCE")]
    assert found.keys() >= {*moments, f"{stems(other, 'DARK')[0]}_quadrants.parquet"}
    assert all("moments.iterations is 6, was 5" in found[name] for name in moments)
    assert f"{stems(other, 'SCIENCE')[0]}_quadrants.parquet" not in found


def test_a_changed_fact_reruns_what_depends_on_it(month, tmp_path, monkeypatch):
    other = month.copy(tmp_path / "m")
    (tmp_path / "sitecustomize.py").write_text(
        "import visql_lib.instruments.model as i, datetime\n"
        "load = i.load_instrument\n"
        "day = datetime.datetime(2023, 7, 2, tzinfo=datetime.UTC)\n"
        "change = lambda name: load(name).model_copy(update={'mission_epoch': day})\n"
        "i.load_instrument = change\n"
        "import visql_lib.pipelines.vis.plan; visql_lib.pipelines.vis.plan.load_instrument = change\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert other.missing() == {"quality_pictures": 1, "last_month": 1, "month": 1}


def test_a_raw_file_broken_later_keeps_what_was_measured(month, tmp_path):
    other = month.copy(tmp_path / "m")
    frame = science_frame(other)
    frame.write_bytes(frame.read_bytes()[:100_000])
    code, said = other.run("--quiet", "rules")
    assert code != 0
    assert f"{frame.name}: cut short" in said
    ours, theirs = (
        read_table(m.results / "months" / "202407" / "psfmoments_202407.parquet") for m in (month, other)
    )
    assert list(theirs["R2"]) == list(ours["R2"])


def new_frame(month, source, date):
    """Put a copy of a raw frame into a month under another date."""
    start = re.sub("[-:]", "", date).replace("T", "_")
    target = month.raw / re.sub(r"^C_\d{8}_\d{6}", f"C_{start}", source.name)
    shutil.copy(source, target)
    return target


def science_frame(month):
    return month.raw / f"{stems(month, 'SCIENCE')[0]}.fits"


MONTH_JOBS = {
    "image_quality": 1,
    "quality_pictures": 1,
    "month_status": 1,
    "qc": 1,
    "month_complete": 1,
    "last_month": 1,
    "month": 1,
}


def test_a_new_frame_adds_only_its_own_jobs(month, tmp_path):
    other = month.copy(tmp_path / "m")
    new_frame(other, science_frame(other), "2024-07-20T00:00:00")
    assert other.missing() == {"catalog": 1, "stars": 1, "moments": 1, "pictures": 1} | MONTH_JOBS


def test_a_replaced_frame_is_done_again(month, tmp_path):
    other = month.copy(tmp_path / "m")
    frame = science_frame(other)
    os.utime(frame, (1.8e9, 1.8e9))
    assert other.missing() == {"catalog": 1, "stars": 1, "moments": 1, "pictures": 1} | MONTH_JOBS


def test_a_frame_that_goes_leaves_its_products(month, tmp_path):
    """Raw frames are archived; the month's numbers stay."""
    other = month.copy(tmp_path / "m")
    science_frame(other).unlink()
    assert other.missing() == {k: n for k, n in MONTH_JOBS.items() if k != "last_month"} | {"last_month": 1}
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert other.missing() == {}
    ours, theirs = (
        read_table(m.results / "months" / "202407" / "psfmoments_202407.parquet") for m in (month, other)
    )
    assert list(theirs["R2"]) == list(ours["R2"])


def test_broken_frames_cost_themselves_only(month, tmp_path):
    """One frame cut short, one that breaks only when its pixels are read, one that is fine.

    Of the fine one a killed process left half a table behind, which is never taken for a product.
    """
    other = month.copy(tmp_path / "m")
    cut = new_frame(other, science_frame(other), "2024-07-21T00:00:00")
    cut.write_bytes(cut.read_bytes()[:100_000])
    sly = new_frame(other, science_frame(other), "2024-07-22T00:00:00")
    data = sly.read_bytes().replace(b"NAXIS1  =                  640", b"NAXIS1  =                  600", 1)
    sly.write_bytes(data)
    fine = new_frame(other, science_frame(other), "2024-07-23T00:00:00")
    other.exposure(fine.stem).mkdir(parents=True)
    (other.exposure(fine.stem) / f".part-x-{fine.stem}.cat.parquet").write_bytes(b"half")
    code, said = other.run("--quiet", "rules")
    assert code != 0
    for frame in (cut, sly):
        assert frame.name in said
    kept = json.loads((other.results / "up_to_date" / "202407.json").read_text())["entries"]
    assert set(kept) == {*stems(month, "SCIENCE", "DARK", "FLAT", "BIAS"), fine.stem, sly.stem}
    text = (other.results / "months" / "202407" / "status.tsv").read_text()
    assert f"{cut.stem}\tUNKNOWN\tunreadable\t" in text
    assert f"{sly.stem}\tSCIENCE\tfailed\t" in text
    assert f"{fine.stem}\tSCIENCE\tok\t" in text
    assert not (other.results / "months" / "202407" / "complete.tsv").exists()
    found = {(kind, Path(product).name) for kind, product, _ in verified(other)}
    # The record it left is not foreign, as what the killed process left is.
    assert found == {("missing", "complete.tsv"), ("foreign", f".part-x-{fine.stem}.cat.parquet")}
    table = read_table(other.results / "months" / "202407" / "psfmoments_202407.parquet")
    rows = dict(zip(table["EXPOSURE"], zip(table["STATUS"], table["REASON"], strict=True), strict=True))
    assert fine.stem in rows
    assert rows[fine.stem][0] != "failed"
    assert rows[sly.stem][0] == "failed"
    assert "600" in rows[sly.stem][1]
    assert cut.stem not in rows
    assert (other.exposure(fine.stem) / f"{fine.stem}_iq.png").is_file()
    assert read_table(other.exposure(fine.stem) / f"{fine.stem}.cat.parquet").n_rows > 0
    other.configure(known_bad=[cut.stem, sly.stem])
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert other.missing() == {}


@pytest.mark.heavy
def test_a_damaged_table_is_not_blamed_on_its_frame(month, tmp_path):
    """What the end of the run advises mends it."""
    other = month.copy(tmp_path / "copy")
    (name, *_) = stems(month, "SCIENCE")
    table = other.exposure(name) / f"{name}_stars2.parquet"
    table.write_bytes(b"garbage")
    code, said = other.run("--quiet", "rules")
    assert code == 1
    assert "1 of 6 exposures failed:" in said
    assert f"{table.name}: not a Parquet table; make it again\n" in said
    assert "Make a damaged table again: snakemake --force TABLE. Then run again." in said
    assert "known_bad" not in said
    code, said = other.run("--quiet", "rules", "--force", "--", str(table.relative_to(other.folder)))
    assert code == 0, said
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert read_table(table).n_rows > 0
    assert other.missing() == {}


def test_a_month_without_exposures_is_told_at_the_end(tmp_path):
    """A wrong folder is as empty as a month that is yet to come, which is no error."""
    other = Month(tmp_path)
    other.raw.mkdir()
    other.configure()
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert "No products of 202407: no exposures in raw" in said


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mnth": 1}, "configuration: unknown key 'mnth'; did you mean 'months'?"),
        ({"raw": "nowhere"}, "raw: folder 'nowhere' does not exist; create it, or set raw=FOLDER"),
        ({"index": {"growing_age": "3 km"}}, "growing_age: '3 km' is not a value in s"),
        ({"instrument": "hubble"}, "instruments: no 'hubble'; there are: andicam, ecam, euclid_vis"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(month, tmp_path, changes, line):
    other = Month(tmp_path)
    other.raw.mkdir()
    other.configure(**changes)
    code, said = other.run("--dry-run")
    assert code == 1
    assert line in said
    assert "Traceback" not in said
    assert not other.results.exists()


def test_command_line_keys_override_the_file(month, tmp_path):
    code, said = month.run(
        "--dry-run", "--quiet", "rules", "--config", "months=202301", f"results={tmp_path}"
    )
    assert code == 0
    assert "catalog" not in said
    assert (tmp_path / "exposures" / "202301.tsv").is_file()


@pytest.fixture(scope="module")
def in_texts(month, tmp_path_factory):
    """The month with its text tables and timeline."""
    made = month.copy(tmp_path_factory.mktemp("in_texts"))
    code, said = made.run("legacy", "timeline", "--quiet", "rules")
    assert code == 0, said
    return made


def test_legacy_and_timeline_targets(in_texts):
    texts = sorted(p.name for p in (in_texts.results / "months" / "202407").glob("*.[tc][xs][tv]"))
    assert [t for t in texts if t.startswith("psf")] == [
        "psfmoments_202407.txt",
        "psfmoments_202407_le1_score.csv",
        "psfmoments_202407_le1_score.txt",
        "psfmoments_202407_score.csv",
        "psfmoments_202407_score.txt",
    ]
    stem = stems(in_texts, "SCIENCE")[0]
    for ending in (".cat.gz", "_stars2.cat", "_stars2_mom.cat"):
        assert (in_texts.exposure(stem) / f"{stem}{ending}").stat().st_size > 100
    assert (in_texts.results / "timeline" / "IQ_timeline_lastmonth.png").is_file()


def test_a_month_of_imported_tables_runs_without_raw_frames(in_texts, tmp_path):
    """The text tables of one month, read back into empty results, give the same image quality."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for path in in_texts.results.rglob("*.cat"):
        shutil.copy(path, texts)
    for path in in_texts.results.rglob("psfmoments*.[tc][xs][tv]"):
        shutil.copy(path, texts)
    other = Month(tmp_path / "other")
    other.raw.mkdir(parents=True)
    other.configure()
    command = [sys.executable, "-c", "from visql_lib.cli import main; main()", "import-legacy", str(texts)]
    config = ["--results", str(other.results), "--config", str(other.config)]
    first = subprocess.run([*command, *config], check=True, capture_output=True, text=True)
    assert "imported" in first.stdout
    assert other.missing() == {
        "image_quality": 1,
        "quality_pictures": 1,
        "pictures_without_raw": 3,
        "month_status": 1,
        "qc": 1,
        "month_complete": 1,
        "last_month": 1,
        "month": 1,
    }
    code, said = other.run("--quiet", "rules")
    assert code == 0, said
    assert other.missing() == {}
    ours, theirs = (
        read_table(m.results / "months" / "202407" / "psfmoments_202407.parquet") for m in (in_texts, other)
    )
    assert list(theirs["EXPOSURE"]) == list(
        ours["EXPOSURE"]
    )  # the FLAT, of which stars were imported, is none
    assert set(theirs["SOURCE"]) == {"imported moments"}
    for name in ("R2", "e1", "e2", "tr1"):
        assert abs(theirs[name] - ours[name]).max() < 2e-5
