"""Bad input of nights of CCD frames: each has a status with a reason, and costs itself alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from tests.faulty_nights import NIGHT, Nights, frame, frames, many_faults, other_nights, with_pixels
from visql_lib.errors import ConfigError, RequestError, VisqlError
from visql_lib.flags import PixelFlag
from visql_lib.images.masters import write_failed_master
from visql_lib.pipelines.reduction.sets import calibration_sets
from visql_lib.run_record import FITS_RECORD
from visql_lib.sheets.sheet import OK, empty_row
from visql_lib.tables.store import read_table

ROOT = Path(__file__).parents[1]
KILLS, SEED = 20, 20210227
LONGEST = 900  # s: no run of a small night takes nearly as long
FLATS = "100.0 % of its pixels are saturated"

# Frame -> status, and a part of its reason.
EXPECTED = {
    "time-none": ("uncalibrated", "EXPTIME is missing"),
    "time-zero": ("uncalibrated", "EXPTIME = 0 is not between"),
    "time-negative": ("uncalibrated", "EXPTIME = -5 is not between"),
    "cut": ("unreadable", "cut short, 40000 of 112320 bytes"),
    "packed": ("ok", ""),
    "tiles": ("ok", ""),
    "no-image": ("unreadable", "holds no image"),
    "zero-by-zero": ("unreadable", "holds no image"),
    "bayer": ("failed", "a colour frame (BAYERPAT = RGGB)"),
    "twice": ("left_out", f"the same pixels as science-{NIGHT}-1.fits"),
    "other-field": ("not_registered", "they do not fit: another field?"),
    "no-stars": ("not_registered", "0 stars, the reference"),
    "floats": ("ok", "its pixels are floats"),
    "nan": ("ok", "its pixels are floats"),
    "blank": ("ok", ""),
    "all-nan": ("failed", "the overscan holds no number"),
    "pedestal": ("ok", ""),
    "bits12": ("ok", "all numbers are multiples of 16"),
    "bias-of-60-s": ("ok", "contradicts an exposure time of 60 s"),
    "dark-of-0-s": ("failed", "no exposure time in its header; a dark needs one"),
    "dark-like-bias": ("odd", "pixel by pixel the bias bias-20210227-1.fit"),
    "half": ("uncalibrated", "no bias with SHAPE 280x96 in this night"),
    "binned": ("uncalibrated", "BINNING 2 2"),
    "gain": ("uncalibrated", "GAIN 3"),
    "old-master": ("product", "a master, no raw frame"),
    "halpha": ("uncalibrated", "no flat with FILTER Halpha"),
    "flat-I-0": ("saturated", FLATS),
    "light-I": ("uncalibrated", f"flat_I_1x1_m20.fits could not be made: none of 3 flats can be used: flat-I-0: {FLATS}"),
    "path": ("uncalibrated", "no flat with FILTER ../../x"),
    "bin-text": ("ok", ""),
    "wcs-text": ("failed", "CRPIX1 = 'x' is no number; correct the header"),
    "section-beyond": ("failed", "TRIMSEC = '[1:300,1:192]' is not within 280 columns and 192 rows"),
    "<B>50%#?&": ("ok", ""),
    "tiles-cut": ("unreadable", "cut short, 20000 of"),
    "long": ("uncalibrated", "no flat with FILTER FFFF"),
    **dict.fromkeys(
        ("a,b", " M67 V", 'it\'s "q"', "über α", "$HOME;x", "[1]*", "@x", "!x", "-x"), ("ok", "")
    ),
    **{f"{kind}-{NIGHT}-{i}": ("ok", "") for kind in ("bias", "dark", "flat", "science") for i in range(3)},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """Nights with one fault of each kind, after all their commands."""
    nights = Nights(tmp_path_factory.mktemp("faults"))
    many_faults(nights)
    other_nights(nights)
    nights.run()
    assert "Traceback" not in nights.said
    return nights


@pytest.mark.parametrize("name", EXPECTED)
def test_each_fault_has_a_status_with_a_reason(made: Nights, name: str) -> None:
    status, reason = made.states()[name]
    wanted, part = EXPECTED[name]
    assert status == wanted
    assert part in reason
    assert bool(reason) == bool(part)


def test_every_file_in_the_raw_folder_is_listed(made: Nights) -> None:
    listed = [row for date in made.plan().groups() for row in made.table(date).values()]
    assert {row["FILE"] for row in listed} == {path.name for path in made.raw.iterdir()}
    assert not [row["FILE"] for row in listed if row["STATUS"] != "ok" and not row["REASON"]]


def test_what_is_not_dated_is_listed_under_the_time_of_its_file(made: Nights) -> None:
    (last,) = [date for date in made.plan().groups() if date > "2021-06-01".replace("-", "")]
    states = made.states(last)
    assert states["text"] == (
        "unreadable",
        f"{made.raw}/text.fit: not a readable FITS file (does not begin with SIMPLE)",
    )
    assert states["nothing"][1].endswith("empty file; fetch it again")
    assert states["growing"][0] == "growing"
    assert states["no-date"][0] == "uncalibrated"
    assert states["no-date"][1].startswith("DATE-OBS is missing")
    assert states["n" * 200][1].endswith("too long for the names of its products; rename the file")
    for name in ("braces{x}", "<b>"):
        assert states[name][1].endswith("rename the file, or its folder")


def test_masters_without_a_good_frame_stop_no_other(made: Nights) -> None:
    masters = made.table(kind="masters", key="PART")
    states = {name: row["STATUS"] for name, row in masters.items()}
    assert states.pop("flat_I_1x1_m20") == "failed"
    assert set(states.values()) == {"ok"}
    assert "1 darks are biases, pixel by pixel" in masters["dark_1x1_m20"]["REASON"]


def test_stacks_without_a_light_say_why(made: Nights) -> None:
    stacks = made.table(kind="stacks", key="SET")
    assert stacks["science_I_1x1_m20_M67"]["STATUS"] == "failed"
    assert (
        "none of 1 lights is reduced: light-I: uncalibrated: no master flat"
        in stacks["science_I_1x1_m20_M67"]["REASON"]
    )
    assert sum(row["N_USED"] for row in stacks.values() if row["STATUS"] == "ok") == sum(
        status == "ok" and kind == "SCIENCE" for status, kind in _states(made)
    )


def _states(made: Nights) -> list[tuple[str, str]]:
    return [(str(row["STATUS"]), str(row["TYPE"])) for row in made.table().values()]


def _reduced(made: Nights, name: str) -> fits.HDUList:
    return fits.open(made.results / "nights" / NIGHT / "frames" / f"{name}.fits", memmap=False)


@pytest.mark.parametrize("name", ["nan", "blank"])
def test_pixels_that_are_not_known_are_masked_and_only_they(made: Nights, name: str) -> None:
    with _reduced(made, name) as hdus:
        bad = np.zeros(hdus[0].shape, bool)
        bad[20:40] = True
        mask = hdus["MASK"].data
        dark = (mask & PixelFlag.BAD_FLAT) != 0  # nothing is divided by these
        np.testing.assert_array_equal(np.isnan(hdus[0].data), bad | dark)
        assert dark.mean() < 1e-3
        assert (mask[bad] & PixelFlag.NOT_FINITE).all()
        assert (mask[~bad] != 0).mean() < 0.02


def test_a_pedestal_changes_nothing_where_the_overscan_is_taken_off(made: Nights) -> None:
    with _reduced(made, "pedestal") as hdus, _reduced(made, f"science-{NIGHT}-1") as plain:
        np.testing.assert_allclose(hdus[0].data, plain[0].data, atol=1e-2)
        assert "PEDESTAL" not in hdus[0].header
    assert made.table()["pedestal"]["BIAS_LEVEL"] == pytest.approx(
        made.table()[f"science-{NIGHT}-1"]["BIAS_LEVEL"]
    )


def test_a_night_without_biases_darks_or_flats_says_what_it_needs(made: Nights) -> None:
    for date, kind in (("20200701", "dark"), ("20200901", "flat")):
        status, reason = made.states(date)[f"science-{date}-0"]
        assert status == "uncalibrated"
        assert reason.startswith(f"no {kind} in this night or within 30 d of it")
        assert reason.endswith("fits, but is farther away in time, or failed)")
    # Darks of the lights' exposure time hold the bias.
    assert made.states("20200501")["science-20200501-0"][0] == "ok"
    masters = made.table("20200501", "masters", "PART")
    assert masters["dark_1x1_m20"]["REASON"].startswith("no master bias: the dark holds the bias")
    assert masters["flat_V_1x1_m20"]["REASON"].startswith("no master bias is taken off")


def test_one_frame_of_a_kind_is_used_and_told(made: Nights) -> None:
    assert {status for status, _ in made.states("20201101").values()} == {"ok"}
    masters = made.table("20201101", "masters", "PART")
    for name, said in (
        ("bias", "one frame only"),
        ("dark", "darks of one time only"),
        ("flat", "1 frame: trails"),
    ):
        (reason,) = [row["REASON"] for part, row in masters.items() if part.startswith(name)]
        assert said in reason


def test_nights_with_nothing_to_use_have_their_tables(made: Nights) -> None:
    assert made.states("20201231")["science"][0] == "failed"
    assert made.states("20210115") == {
        "only-cut": (
            "unreadable",
            f"{made.raw}/only-cut.fit: cut short, 50000 of 112320 bytes; fetch it again",
        )
    }


@pytest.mark.parametrize(
    "date", [NIGHT, "20200501", "20200701", "20200901", "20201101", "20201231", "20210115"]
)
def test_nothing_is_missing_and_nothing_foreign(made: Nights, date: str) -> None:
    assert "all well" in made.visql("verify", date)


def test_a_failed_master_of_another_night_is_passed_over(made: Nights, tmp_path: Path) -> None:
    shutil.copytree(made.results, tmp_path / "results")
    later = Nights(tmp_path, raw=str(made.raw), nights="20200901", masters={"max_age": 100})
    (light,) = later.plan().words_of("20200901")["stack"]
    flats = [
        tmp_path / f"results/nights/{night}/masters/flat_V_1x1_m20.fits" for night in ("20201101", "20200701")
    ]
    for flat in flats:
        words = later.plan().master_options("20200901", light)
        assert words[words.index("--flat") + 1] == str(flat)
        write_failed_master(flat, "MASTER FLAT", "for this test", {})
    assert "--flat" not in later.plan().master_options("20200901", light)


# --- one command, one fault --------------------------------------------------------------------------


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """An empty folder."""
    return Nights(tmp_path)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: with_pixels(frame("BIAS", 1, TRIMSEC="[1:256,1:96]", BIASSEC="[257:280,1:96]"), lambda d: d[:96]), "a size of 256 x 192 px, b.fit 256 x 96 px"),
        (lambda: frame("BIAS", 1, CCDSUM="2 2"), "a binning of 1x1, b.fit 2x2"),
        (lambda: frame("BIAS", 1, GAIN=3.0), "gains of 1.5, b.fit 3"),
    ],
)  # fmt: skip
def test_unlike_frames_in_one_list_are_refused_naming_both(nights: Nights, other: Any, said: str) -> None:
    names = [nights.add("a.fit", frame("BIAS", 0)), nights.add("b.fit", other())]
    out = nights.path / "out.fits"
    message = nights.visql("master-bias", *names, "-o", out, code=RequestError.exit_code)
    assert f"a.fit has {said}: make their masters apart" in message
    assert not out.exists()
    table = nights.path / "t.parquet"
    nights.visql("master-bias", *names, "-o", out, "--table", table, "--record-failure")
    assert fits.getheader(out)["STATUS"] == "failed"
    assert list(read_table(table)["STATUS"]) == ["failed", "failed"]
    message = nights.visql("master-dark", *names, "--bias", out, "-o", nights.path / "d.fits", code=1)
    assert "it is failed: a.fit has" in message


def test_a_dark_without_a_bias_holds_it_and_serves_lights_of_its_time(nights: Nights) -> None:
    """Many a camera has darks of its lights' exposure time, and no bias."""
    dark, out, table = nights.add("d.fit", frame("DARK")), nights.path / "d.fits", nights.path / "d.parquet"
    nights.visql("master-dark", dark, "-o", out, "--table", table)
    header = fits.getheader(out)
    assert (header["STATUS"], header["BIASCOR"]) == ("ok", False)
    assert "the dark holds the bias" in header["REASON"]
    nights.configure(reduce={"allow_missing": ["flat"]})
    light, rows = nights.add("l.fit", frame("SCIENCE")), nights.path / "l.parquet"
    nights.visql("reduce", light, "-o", nights.path / "frames", "--table", rows, "--dark", out)
    assert read_table(rows)["STATUS"][0] == "ok"
    raw = [fits.getdata(path).astype(float)[:, :256] for path in (light, dark)]
    levels = fits.getdata(nights.path / "frames/l.fits") - (raw[0] - raw[1])  # of both overscans
    np.testing.assert_allclose(levels, np.median(levels), atol=1e-2)
    bias = nights.path / "b.fits"
    nights.visql(
        "master-bias", nights.add("b1.fit", frame("BIAS")), nights.add("b2.fit", frame("BIAS", 2)), "-o", bias
    )
    nights.visql("reduce", light, "-o", nights.path / "twice", "--table", rows, "--dark", out, "--bias", bias)
    assert "the bias would be taken off twice" in read_table(rows)["REASON"][0]


def test_masters_that_may_be_missing_are_told(nights: Nights) -> None:
    nights.configure(reduce={"allow_missing": ["bias", "dark", "flat"]})
    light, table = nights.add("l.fit", frame("SCIENCE")), nights.path / "t.parquet"
    nights.visql("reduce", light, "-o", nights.path / "frames", "--table", table)
    rows = read_table(table)
    assert (rows["STATUS"][0], (nights.path / "frames/l.fits").is_file()) == ("ok", True)
    assert "without bias; without dark; without flat" in rows["REASON"][0]


def test_a_chunk_without_a_good_light_is_registered_and_its_stack_fails(nights: Nights) -> None:
    light, table = nights.add("l.fit", frame("SCIENCE")), nights.path / "frames" / "m67.01.parquet"
    nights.visql("reduce", light, "-o", table.parent, "--table", table)
    registration, out = nights.path / "r.parquet", nights.path / "s.fits"
    nights.visql("register", table, "-o", registration)
    assert len(read_table(registration)["STATUS"]) == 0
    words = ("stack", table, "-o", out, "--registration", registration)
    assert "none of 1 lights is reduced: l: uncalibrated: no master bias" in nights.visql(*words, code=1)
    assert not out.exists()
    nights.visql(*words, "--record-failure")
    assert fits.getheader(out)["STATUS"] == "failed"


def test_frames_of_another_camera_without_sections_keep_their_pedestal(nights: Nights) -> None:
    """SBIG: PEDESTAL is added to each pixel where no overscan is taken off."""
    bare = frame("BIAS", 0, PEDESTAL=-100, BIASSEC=None)
    names = [nights.add("a.fit", bare), nights.add("b.fit", frame("BIAS", 1, PEDESTAL=-100, BIASSEC=None))]
    nights.visql("master-bias", *names, "-o", nights.path / "out.fits")
    wanted = np.mean([frames()["BIAS"][i].data[:, :256] for i in range(2)]) - 100
    assert fits.getdata(nights.path / "out.fits").mean() == pytest.approx(wanted, abs=0.1)


def test_names_of_sets_fit_into_the_names_of_files() -> None:
    long = {"FILTER": "é" * 68, "OBJECT": "x" * 68, "SECTIONS": "[1:512,1:512]" * 20, "SHAPE": "1024x1024"}
    rows = [
        replace(
            empty_row(f"e{gain}"),
            status=OK,
            frame_type="SCIENCE",
            date_obs="2021-02-27T20:00:00",
            extra=long | {"GAIN": gain * 30, "SECTIONS": gain * 200},
        )
        for gain in "12"
    ]
    names = [one.name for one in calibration_sets(rows)]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"masters": {"odd_sigma": -1}}, "odd_sigma"),
        ({"masters": {"flat_low": "bright"}}, "flat_low"),
        ({"reduce": {"allow_missing": ["flats"]}}, "'flats' is none of bias, dark, flat"),
        ({"reduce": {"chunks": 3}}, "chunks"),
        ({"overscan": {"method": "mean"}}, "overscan"),
        ({"stack": {"footprint": "all"}}, "footprint"),
        ({"instrument": "no_such_camera"}, "no_such_camera"),
        ({"instrument": "broken.yaml"}, "broken.yaml"),
    ],
)
def test_wrong_settings_and_camera_files_are_told_by_name(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(nights.path)
    Path("broken.yaml").write_text("name: broken\nheader: {date: [DATE-OBS]\n")
    nights.configure(**settings)
    bias = nights.add("b.fit", frame("BIAS"))
    words = ("master-bias", bias, "-o", "out.fits", "--record-failure")
    assert said in nights.visql(*words, code=ConfigError.exit_code)
    assert not Path("out.fits").exists()
    with pytest.raises(VisqlError, match=said.replace("[", "\\[")):
        nights.plan()


# --- real runs of the workflow -----------------------------------------------------------------------


class Run:
    """The workflow in a folder with a raw night; paths are relative, so that copies give the same records."""

    def __init__(self, path: Path) -> None:
        self.path, self.results = path, path / "results"

    def start(self, *words: str, results: str = "results") -> subprocess.Popen[bytes]:
        """Start it as the leader of a group of processes."""
        given = ["pipeline=reduction", "raw=raw", f"results={results}", "index={growing_age: 3600}"]
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-c2"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with (self.path / "said.txt").open("a") as said:
            return subprocess.Popen(
                [*command, *words, "--config", *given, "reduce={chunk: 4}"],
                cwd=self.path,
                env=os.environ | {"PATH": path, "PYTHONWARNINGS": ""},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *words: str, code: int = 0, **more: str) -> str:
        """Run it to its end; return what it says."""
        (self.path / "said.txt").unlink(missing_ok=True)
        assert self.start(*words, **more).wait(timeout=LONGEST) == code, self.said()
        assert "Traceback" not in self.said()
        return self.said()

    def said(self) -> str:
        """Return all that it has said."""
        return (self.path / "said.txt").read_text()

    def logs(self) -> str:
        """Return the logs of all jobs."""
        return "\n".join(path.read_text() for path in sorted((self.results / "logs").rglob("*.log")))

    def contents(self) -> dict[str, Any]:
        """Return what each product of the nights holds, but for when it was made."""
        paths = sorted(p for p in (self.results / "nights").rglob("*") if p.is_file() and p.name[0] != ".")
        return {str(path.relative_to(self.results)): _content(path) for path in paths}


def _content(path: Path) -> Any:
    """Read a product; raises where it is cut short."""
    if path.suffix == ".parquet":
        table = read_table(path)
        return {name: np.ascontiguousarray(table[name]).tobytes() for name in table}
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return picture.size, picture.tobytes()
    with fits.open(path, memmap=False) as hdus:
        images = [hdu for hdu in hdus if hdu.name != FITS_RECORD]
        cards = json.dumps([[str(card) for card in hdu.header.cards] for hdu in images])
        return cards, [None if hdu.data is None else hdu.data.tobytes() for hdu in images]


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    assert [name for name, content in one.items() if content != other[name]] == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A raw night of one filter."""
    nights = Nights(tmp_path_factory.mktemp("small"))
    nights.add_good()
    return nights


@pytest.fixture(scope="module")
def calm(small: Nights, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The night as a run that nobody disturbs makes it."""
    run = copied(small, tmp_path_factory.mktemp("calm") / "night")
    run.run("night")
    return run


def copied(small: Nights, path: Path) -> Run:
    """Return the raw night in another folder."""
    shutil.copytree(small.raw, path / "raw")  # with the times of the files
    return Run(path)


@pytest.mark.heavy
def test_the_workflow_finishes_nights_with_all_faults(
    made: Nights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    shutil.copytree(made.raw, tmp_path / "raw")
    run.run("night", "site")
    assert "Traceback" not in run.logs()
    for date in made.plan().groups():
        table = read_table(run.results / "nights" / date / f"frames_{date}.parquet")
        states = {
            str(name): str(status) for name, status in zip(table["EXPOSURE"], table["STATUS"], strict=True)
        }
        wanted = {name: status for name, (status, _) in made.states(date).items()}
        assert states == wanted
    assert "Nothing to be done" in run.run("night")
    there = Nights(tmp_path)
    there.configure(raw="raw", results="results")
    monkeypatch.chdir(tmp_path)
    assert "all well" in there.visql("verify", NIGHT)


@pytest.mark.heavy
def test_twenty_kills_at_random_leave_the_products_of_a_calm_run(
    small: Nights, calm: Run, tmp_path: Path
) -> None:
    chance, killed, rounds = random.Random(SEED), 0, 0
    wanted = calm.contents()
    while killed < KILLS:
        run = copied(small, tmp_path / f"round{rounds}")
        rounds += 1
        while True:
            process = run.start("night")
            until = time.monotonic() + chance.uniform(2.0, 25.0)
            while process.poll() is None and time.monotonic() < until and killed < KILLS:
                time.sleep(0.02)
            if process.poll() is None and killed < KILLS:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
            code = process.wait(timeout=LONGEST)
            run.contents()  # whatever has its final name is whole
            if code == 0:
                break
            assert code == -signal.SIGKILL, run.said()
        _same(wanted, run.contents())
        shutil.rmtree(run.path)


@pytest.mark.heavy
def test_a_full_disk_fails_jobs_not_frames(small: Nights, calm: Run, tmp_path: Path) -> None:
    run, disk = copied(small, tmp_path / "night"), tmp_path / "night" / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        run.run("night", code=1)
        assert "No space left" in run.logs() + run.said()
        assert "Traceback" not in run.logs()
        for path in (run.results / "nights").rglob("*.fits"):
            if path.name[0] != ".":
                assert fits.getheader(path).get("STATUS") != "failed"
        subprocess.run(["mount", "-o", "remount,size=200M", str(disk)], check=True)
        run.run("night")
        _same(calm.contents(), run.contents())
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


@pytest.mark.heavy
def test_of_two_runs_at_once_the_second_says_so(small: Nights, calm: Run, tmp_path: Path) -> None:
    run = copied(small, tmp_path / "night")
    first = run.start("night")
    until = time.monotonic() + 120
    while not (run.results / ".run.lock").is_file() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    second = copied(small, tmp_path / "second")
    assert "another run is at work" in second.run("night", code=1, results=str(run.results))
    assert first.wait(timeout=LONGEST) == 0, run.said()
    _same(calm.contents(), run.contents())
