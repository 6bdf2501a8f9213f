"""The plan of a night: sets, chunks, which master is for which frames, what is lacking."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.instruments.sets import SetRules
from visql_lib.pipelines import make_plan, settings_from_mapping
from visql_lib.pipelines.reduction.choice import MasterPool, NightSet
from visql_lib.pipelines.reduction.sets import CalibrationSet

RULES = SetRules()


def write(path, kind, start, **cards):
    """A raw frame of four by four pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"DATE-OBS": start, "EXPTIME": 1.0, "IMAGETYP": kind, "CCD-TEMP": -20.0, **cards})
    fits.writeto(path, np.zeros((4, 4), "i2"), header)


def plan_of(folder, **values):
    given = {"pipeline": "reduction", "raw": str(folder / "raw"), "results": str(folder / "results")}
    settings = settings_from_mapping(given | {"index": {"growing_age": 0}} | values, "test")
    return make_plan(settings, refresh=True)


def test_two_nights_may_have_files_of_one_name(tmp_path, caplog):
    """Cameras begin to count anew every night."""
    for folder, start in (("one", "2021-02-27T20:00:00"), ("two", "2021-02-28T20:00:00")):
        write(tmp_path / "raw" / folder / "img-0001.fit", "Light Frame", start)
    for _ in range(2):
        sheets = plan_of(tmp_path).sheets
        assert {night: [row.exposure for row in rows] for night, rows in sheets.items()} == {
            "20210227": ["img-0001"],
            "20210228": ["img-0001"],
        }
    assert "found twice" not in caplog.text


@pytest.fixture
def night(tmp_path):
    """Two biases, darks, flats of V and lights of V and R, chunks of two."""
    raw = tmp_path / "raw"
    for i in range(2):
        write(raw / f"b{i}.fit", "Bias Frame", f"2021-02-27T18:0{i}:00", EXPTIME=0.0)
        write(raw / f"d{i}.fit", "Dark Frame", f"2021-02-27T18:1{i}:00", EXPTIME=60.0)
        write(raw / f"f{i}.fit", "Flat Field", f"2021-02-27T18:2{i}:00", FILTER="V")
    for i in range(3):
        write(raw / f"v{i}.fit", "Light Frame", f"2021-02-27T20:0{i}:00", FILTER="V", OBJECT="M67")
    write(raw / "r0.fit", "Light Frame", "2021-02-27T21:00:00", FILTER="R", OBJECT="M67")
    return plan_of(tmp_path, reduce={"chunk": 2})


def stack(plan, name_filter):
    (found,) = [n for n in plan.words_of("20210227")["stack"] if f"_{name_filter}_" in f"{n}_"]
    return found


def test_a_set_of_lights_is_reduced_in_chunks_in_order_of_time(night):
    name = stack(night, "V")
    assert [n for n in night.words_of("20210227")["chunk"] if n.startswith(name)] == [
        f"{name}.01",
        f"{name}.02",
    ]
    files = [[path.rpartition("/")[2] for path in night.frames("20210227", f"{name}.0{i}")] for i in (1, 2)]
    assert files == [["v0.fit", "v1.fit"], ["v2.fit"]]
    assert len(night.chunk_tables("20210227", name)) == 2


def test_one_more_light_changes_its_own_chunk_alone(night, tmp_path):
    name = stack(night, "V")
    before = [night.fingerprints("20210227", f"{name}.0{i}") for i in (1, 2)]
    write(tmp_path / "raw" / "v3.fit", "Light Frame", "2021-02-27T20:09:00", FILTER="V", OBJECT="M67")
    later = plan_of(tmp_path, reduce={"chunk": 2})
    after = [later.fingerprints("20210227", f"{name}.0{i}") for i in (1, 2)]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_masters_are_handed_over_by_name(night):
    words = night.master_options("20210227", stack(night, "V"))
    assert words[::2] == ["--bias", "--dark", "--flat", "--bad-pixels"]
    assert all("/nights/20210227/masters/" in path for path in words[1::2])
    (dark,) = night.words_of("20210227")["dark"]
    assert night.master_options("20210227", dark)[::2] == ["--bias"]


def test_unfinished_files_are_searched_where_products_are(night):
    below = {path.relative_to(night.results).as_posix() for path in night.folders()}
    assert below == {"nights/20210227", "nights/20210227/frames"}


def test_what_is_lacking_is_said_with_what_would_fit(night):
    name = stack(night, "R")
    assert night.master_options("20210227", name)[::2] == ["--bias", "--dark", "--bad-pixels"]
    (_, said) = night.lacking_options("20210227")
    assert said == (
        f"{name}=no flat with FILTER R in this night or within 30 d of it (flat_V_1x1_m20 has FILTER V)"
    )


# --- which master ------------------------------------------------------------------------------------


def made(night, kind, start, **facts):
    members = CalibrationSet(kind, {"CCD-TEMP": "-20", "FILTER": "V", "BINNING": "1 1"} | facts, ("a",))
    return NightSet(night, members, datetime.fromisoformat(start))


LIGHT = made("20210227", "SCIENCE", "2021-02-27T20:00:00")


def chosen(kind, *known, age=30.0):
    return [s.night for s in MasterPool(known, RULES, age).fitting(kind, LIGHT)]


def test_the_own_night_comes_first_then_the_nearest_in_time():
    nights = ("20210225", "20210301", "20210227")
    known = [made(n, "FLAT", f"{n[:4]}-{n[4:6]}-{n[6:]}T22:00:00") for n in nights]
    assert chosen("FLAT", *known) == ["20210227", "20210225", "20210301"]


def test_older_than_max_age_is_none():
    old = made("20210101", "FLAT", "2021-01-01T20:00:00")
    assert chosen("FLAT", old) == []
    assert chosen("FLAT", old, age=60) == ["20210101"]
    assert (
        MasterPool([old], RULES, 30)
        .lacking("FLAT", LIGHT)
        .endswith(
            "within 30 d of it (flat_V_1x1_m20 of 20210101 fits, but is farther away in time, or failed)"
        )
    )


@pytest.mark.parametrize(
    ("kind", "facts", "fits_it"),
    [
        ("FLAT", {"FILTER": "R"}, False),
        ("FLAT", {"BINNING": "2 2"}, False),
        ("FLAT", {"CCD-TEMP": "-10"}, True),  # a flat has lost its own dark
        ("DARK", {"CCD-TEMP": "-10"}, False),
        ("DARK", {"CCD-TEMP": "-20.4"}, True),
        ("DARK", {"FILTER": "R"}, True),
        ("BIAS", {"GAIN": "2"}, False),
        ("BIAS", {"CCD-TEMP": ""}, False),  # what is not known equals only what is not known
    ],
)
def test_what_a_master_must_share(kind, facts, fits_it):
    assert bool(chosen(kind, made("20210227", kind, "2021-02-27T18:00:00", **facts))) == fits_it


def test_of_two_in_one_night_the_nearer_in_temperature():
    a = made("20210227", "DARK", "2021-02-27T18:00:00", **{"CCD-TEMP": "-20.9"})
    b = made("20210227", "DARK", "2021-02-27T23:00:00", **{"CCD-TEMP": "-20.1"})
    (first, _) = MasterPool([a, b], RULES, 30).fitting("DARK", LIGHT)
    assert first is b


def test_a_flat_is_compared_with_that_of_the_nearest_earlier_night(tmp_path):
    for night, start in (("a", "2021-02-20"), ("b", "2021-02-25"), ("c", "2021-02-27")):
        write(tmp_path / "raw" / night / f"{night}.fit", "Flat Field", f"{start}T20:00:00", FILTER="V")
    plan = plan_of(tmp_path)
    (name,) = plan.words_of("20210227")["flat"]
    (path,) = plan.earlier_flats("20210227")
    assert path.endswith(f"nights/20210225/masters/{name}.fits")
    assert plan.earlier_options("20210220") == []


NIGHTS = st.integers(0, 80).map(lambda day: f"{datetime(2021, 1, 1) + timedelta(days=day):%Y%m%d}")
FACTS = st.fixed_dictionaries(
    {
        "FILTER": st.sampled_from(["", "V", "R"]),
        "CCD-TEMP": st.sampled_from(["", "-20", "-20.8", "-25"]),
        "BINNING": st.sampled_from(["1 1", "2 2"]),
    }
)


@given(
    st.lists(st.tuples(NIGHTS, st.sampled_from(["BIAS", "DARK", "FLAT"]), FACTS), max_size=30),
    st.floats(0, 60),
)
def test_all_that_fit_are_found_and_nothing_else(made_of, age):
    known = [
        NightSet(
            night,
            CalibrationSet(kind, facts, (f"e{i}",)),
            datetime.strptime(night, "%Y%m%d") + timedelta(hours=i % 24),
        )
        for i, (night, kind, facts) in enumerate(made_of)
    ]
    pool = MasterPool(known, RULES, age)

    def fits_light(s):
        a, b = LIGHT.members.facts, s.members.facts
        same = a["BINNING"] == b["BINNING"] and (s.members.frame_type != "FLAT" or a["FILTER"] == b["FILTER"])
        warm = s.members.frame_type == "FLAT" or (b["CCD-TEMP"] != "" and abs(float(b["CCD-TEMP"]) + 20) <= 1)
        near = s.night == LIGHT.night or abs((s.start - LIGHT.start).total_seconds()) <= age * 86400
        return same and warm and near

    for kind in ("BIAS", "DARK", "FLAT"):
        expected = {s.members.frames for s in known if s.members.frame_type == kind and fits_light(s)}
        assert {s.members.frames for s in pool.fitting(kind, LIGHT)} == expected
        assert pool.lacking(kind, LIGHT).startswith(f"no {kind.lower()}")
