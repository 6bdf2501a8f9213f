"""Headers that lie, by the hundred: what they cost is that frame, and nothing else."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import corpus
import liars
import numpy as np
import pytest
import yaml
from PIL import Image

from visql_lib.pipelines import load_settings, make_plan
from visql_lib.pipelines.vis.grouping import MONTHS as GROUPING
from visql_lib.sheets.sheet import read_sheet
from visql_lib.tables import read_table

ROOT = Path(__file__).parents[1]
FRAMES, MONTHS = 20, 25  # of a month; months of the whole
HONEST = (1400, 1410, 1420)  # seeds of frames that tell the truth, in every month


def honest(good):
    times = {seed: f"{seed // 60 % 24:02d}:{seed % 60:02d}:30.0" for seed in HONEST}
    return [liars.Liar(seed, "", liars.truthful(good, time), ".fits") for seed, time in times.items()]


def configured(folder, **more):
    """Write the settings of a small month, and return their file."""
    camera = corpus.small_camera(folder / "small_camera.yaml")
    values = {
        "months": liars.MONTH, "raw": str(folder / "raw"), "results": str(folder / "results"), "instrument": str(camera),
        "index": {"growing_age": 0}, "ratios": {"gain": "toy"}, "goes": {"sources": ["folder"], "folder": str(folder)},
        "gaia": {"sources": []}, "plate": {"solve": "no"},
    }  # fmt: skip
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(values | more))
    return path


def planned(folder, frames, **more):
    """Return the plan of a month of some frames, and how long planning took [s]."""
    folder.mkdir(parents=True, exist_ok=True)
    liars.write(folder / "raw", frames)
    config = configured(folder, **more)
    start = time.perf_counter()
    plan = make_plan(load_settings(config), refresh=True)
    return plan, time.perf_counter() - start


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camera")
    return corpus.good_frame(corpus.small_camera(folder / "small_camera.yaml"), folder / "good")


def test_thirty_headers_through_index_and_planning(good, tmp_path):
    truth = honest(good)
    frames = [liars.liar(good, seed, "few") for seed in range(30)]
    alone, _ = planned(tmp_path / "alone", truth)
    # Time is compared with that of a month of as many honest frames, which read as many headers.
    plain = [liars.Liar(seed, "", liars.truthful(good), ".fits") for seed in range(30)]
    _, usual = planned(tmp_path / "plain", [*truth, *plain])
    plan, seconds = planned(tmp_path / "all", [*truth, *frames])
    rows = {row.exposure: row for row in plan.sheets[liars.MONTH]}
    assert set(rows) == {frame.stem for frame in (*truth, *frames)}
    for frame in frames:
        row = rows[frame.stem]
        assert row.status == "ok", (frame.what, row)
        assert liars.senseless(row) == [], (frame.what, row)
    for row in alone.sheets[liars.MONTH]:
        same = rows[row.exposure]
        assert (same.date_obs, same.exptime, same.ra, same.flags, same.reason) == (
            *(row.date_obs, row.exptime, row.ra, 0, ""),
        )
    assert len(plan.radiation.month_days(liars.MONTH)) <= 4
    assert seconds < 2 * usual + 0.5


def made_month(folder, frames, truth):
    """Make a month in this process; return its findings, and the values of the honest frames."""
    found = []
    plan, _ = planned(folder, [*truth, *frames])
    for frame in frames:
        row = plan.row(liars.MONTH, frame.stem)
        if row is None or liars.senseless(row):
            found.append(f"{frame.what}: {row and liars.senseless(row)}")
    try:
        liars.month_of(plan, folder / "settings.yaml")
    except liars.Finding as finding:
        return [*found, str(finding)], {}
    states = (folder / "results" / "months" / liars.MONTH / "status.tsv").read_text().splitlines()[1:]
    if len(states) != len(frames) + len(truth):
        found.append(f"{len(states)} states")
    found += [line for line in states if "unexpected" in line or line.split("\t")[2] not in ("ok", "failed")]
    return found, {frame.stem: liars.numbers_of(plan, frame.stem) for frame in truth}


def one_month(number, good, folder, expected):
    """Make a month of lying frames; return what is wrong with it."""
    frames = [
        liars.liar(good, number * FRAMES + n, os.environ.get("VISQL_CORPUS_SEED", "")) for n in range(FRAMES)
    ]
    found, values = made_month(folder / f"{number}", frames, honest(good))
    for stem, numbers in values.items():
        found += [f"month {number}: {stem}: {what}" for what in liars.differences(expected[stem], numbers)]
    shutil.rmtree(folder / f"{number}")
    return found


@pytest.mark.heavy
def test_months_of_lying_frames(good, tmp_path):
    """A row with status and reason for each; honest frames equal in every value; no traceback."""
    found, expected = made_month(tmp_path / "honest", [], honest(good))
    assert not found
    start = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        months = [pool.submit(one_month, number, good, tmp_path, expected) for number in range(MONTHS)]
        findings = [line for month in months for line in month.result()]
    print(f"{MONTHS * FRAMES} frames: {time.perf_counter() - start:.0f} s, {len(findings)} findings")
    assert not findings


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.slow
def test_a_real_month_with_lying_frames(good, tmp_path):
    """By Snakemake: tables and pictures of the honest frame equal those of its steps alone."""
    truth, frames = honest(good)[0], [liars.liar(good, seed, "real") for seed in (1,)]
    liars.write(tmp_path / "raw", [truth, *frames])
    config = configured(tmp_path, parts=[])
    folder = tmp_path / "results" / "months" / liars.MONTH
    wanted = folder / f"psfmoments_{liars.MONTH}.parquet"
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", config]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*command, "--quiet", "rules", "--cores", "2", wanted],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logs = "".join(p.read_text() for p in (tmp_path / "results" / "logs").rglob("*.log"))
    assert "Traceback" not in logs + done.stderr
    rows = read_sheet(GROUPING.sheet_path(tmp_path / "results", liars.MONTH))
    assert {(row.exposure, row.status) for row in rows} == {(f.stem, "ok") for f in (truth, *frames)}
    assert [bool(row.reason) for row in rows if row.exposure != truth.stem] == [True]
    assert sorted(read_table(wanted)["EXPOSURE"]) == [
        row.exposure for row in rows if row.frame_type == "SCIENCE"
    ]
    made = tmp_path / "results" / "exposures" / liars.MONTH / truth.stem
    alone, raw = tmp_path / "alone" / truth.stem, tmp_path / "raw" / f"{truth.stem}.fits"
    tables = {name: alone / f"{truth.stem}{name}.parquet" for name in liars.TABLES[:4]}
    named = ("--quadrants", tables["_quadrants"], "--previews", alone / truth.stem)
    liars.visql("catalog", raw, "-o", tables[".cat"], *named, "--config", config)
    liars.visql("stars", tables[".cat"], "-o", tables["_stars2"], "--config", config)
    liars.visql("moments", raw, tables["_stars2"], "-o", tables["_stars2_mom"], "--config", config)
    for table in tables.values():
        numbers = [{"": dict(read_table(p))} for p in (table, made / table.name)]
        assert liars.differences(*numbers) == []
    pictures = sorted(alone.glob("*.png"))
    assert len(pictures) == 10
    for picture in pictures:
        assert np.array_equal(pixels(picture), pixels(made / picture.name)), picture.name
