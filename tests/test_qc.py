"""QC: limits of an open list of quantities, results as rows of a table, sentences made of them at the end."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import visql_lib.qc
from visql_lib.cli.qc import command
from visql_lib.errors import ConfigError
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.pipelines.vis.quantities import CATEGORIES, QUANTITIES, TABLE_OF_CATEGORY
from visql_lib.pipelines.vis.schemas.all import ALL
from visql_lib.pipelines.vis.stages.qc import trend_results
from visql_lib.qc import (
    NOT_JUDGED,
    Limits,
    Quantities,
    Quantity,
    Thresholds,
    check,
    evaluate,
    load_thresholds,
    worst_status,
)
from visql_lib.qc.group import group_results
from visql_lib.qc.sentences import called, limits_text, sentence, why_not_judged
from visql_lib.qc.table import by_frame, columns_of, read_results, results_of
from visql_lib.sheets.sheet import SheetRow, write_sheet
from visql_lib.tables import PSFMOMENTS, read_meta, write_table
from visql_lib.tables.qc import QC

DAY = date(2024, 7, 13)
SEVERITY = {"ok": 0, "warn": 1, "error": 2}

# A camera on a hill that nobody here knows.
SKY = Quantities(
    (
        Quantity("sky.LEVEL", "sky", "mag", "night", "nights", "LEVEL", "LEVEL_ERR", bad="low", expected=("LIGHT",)),
        Quantity("dome.OPEN", "dome", "", "night", "nights", "OPEN", formerly="OPEN"),
        Quantity("dome.TEMPERATURE", "dome", "°C", "house", "nights", "TEMPERATURE", digits=1),
        Quantity("guide.RATE", "drift", "px/h", "house", "guiding", "RATE", reaching=True, bad="high"),
    ),
    {"night": "Night", "house": "House"},
)  # fmt: skip
NIGHT = Thresholds.model_validate(
    {
        "epochs": [
            {"from": "2024-01-01", "sky.LEVEL": {"warn_below": 20, "error_below": 18}},
            {
                "from": "2024-07-13",
                "reason": "a new lamp on the hill",
                "sky.LEVEL": {"warn_below": 21},
                "guide.RATE": {"warn_above": 2, "error_above": 3},
                "dome.OPEN": {},
            },
        ]
    }
)


def nights(**columns: list[float]) -> dict[str, np.ndarray]:
    n = len(next(iter(columns.values())))
    dates = ["2024-07-12T20:00:00", "2024-07-13T20:00:00", "NaT", "2020-01-01T00:00:00"][:n]
    table = {"EXPOSURE": np.array([f"E{i}" for i in range(n)]), "DATE_OBS": np.array(dates, "datetime64[us]")}
    return table | {name: np.array(values) for name, values in columns.items()}


def test_a_table_of_quantities_of_another_pipeline() -> None:
    """Limits, results, the table and sentences follow from the rows of the quantities alone."""
    table = nights(LEVEL=[19.0, 20.5, 10.0, 10.0], LEVEL_ERR=[0.1] * 4, OPEN=[1.0, math.nan, 1.0, 1.0])
    found = results_of(table, "nights", SKY, NIGHT, frame_type=lambda name: "LIGHT")
    said = [(r.frame, r.quantity, r.status, r.reason, r.epoch) for r in found]
    none = "no thresholds in force before 2024-01-01"
    assert said == [
        ("E0", "sky.LEVEL", "warn", "", "2024-01-01"),
        ("E0", "dome.OPEN", "not judged", "no limits", "2024-01-01"),
        ("E1", "sky.LEVEL", "warn", "", "2024-07-13"),  # it has no value of the dome, and need not
        ("E2", "sky.LEVEL", "not judged", "no date", ""),
        ("E2", "dome.OPEN", "not judged", "no date", ""),
        ("E3", "sky.LEVEL", "not judged", none, ""),
        ("E3", "dome.OPEN", "not judged", none, ""),
    ]
    assert sentence(found[0], SKY) == "sky 19 mag below 20"
    assert sentence(found[1], SKY) == "dome not judged: no limits"
    assert (found[0].value, found[0].error, found[0].limit, found[0].side) == (19.0, 0.1, 20.0, "below")
    columns = columns_of(found, SKY)
    assert columns["UNIT"].tolist()[:2] == ["mag", ""]
    assert set(columns) == set(QC.names)


def test_a_missing_value_that_should_be_there_is_a_row() -> None:
    table = nights(LEVEL=[math.nan, math.inf], OPEN=[math.nan, math.nan])
    light = results_of(table, "nights", SKY, NIGHT, frame_type=lambda name: "LIGHT")
    assert [(r.quantity, r.status, r.reason) for r in light] == [("sky.LEVEL", "not judged", "no value")] * 2
    assert all(math.isnan(r.value) for r in light)  # an infinite number is none
    assert results_of(table, "nights", SKY, NIGHT, frame_type=lambda name: "BIAS") == []


def test_the_room_knows_no_quantity() -> None:
    text = "".join(p.read_text() for p in Path(visql_lib.qc.__file__).parent.glob("*.py"))
    own = (
        {q.name for q in QUANTITIES}
        | {q.column for q in QUANTITIES if len(q.column) > 3}
        | {"Euclid", "VIS ", "month"}
    )
    assert {name for name in own if re.search(rf"\b{re.escape(name)}\b", text)} == set()


def test_quantities_are_told_by_their_names() -> None:
    assert SKY["sky.LEVEL"].label == "sky"
    assert SKY.get("sky.R2") is None
    assert "dome.OPEN" in SKY
    assert SKY.tables == ("nights", "guiding")
    assert SKY.unknown("OPEN") == "OPEN: write dome.OPEN"
    assert SKY.unknown("TEMPERATURE") == "TEMPERATURE: write dome.TEMPERATURE"
    assert SKY.unknown("sky.LEVLE") == "unknown quantity 'sky.LEVLE'; did you mean 'sky.LEVEL'?"
    assert SKY.unknown("zzz").startswith("unknown quantity 'zzz'; there are: sky.LEVEL, ")
    for items, why in (
        ([SKY["sky.LEVEL"]] * 2, "two quantities"),
        ([replace(SKY["sky.LEVEL"], name="LEVEL")], "qualified"),
        ([replace(SKY["sky.LEVEL"], category="sea")], "no category sea"),
    ):
        with pytest.raises(ValueError, match=why):
            Quantities(items, SKY.categories)


# --- values against limits


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    st.floats(-1e7, 1e7),
    st.floats(0, 1e7),
    st.booleans(),
    st.booleans(),
)
def test_a_status_never_improves_as_a_value_moves_away(
    edges: list[float], value: float, further: float, up: bool, reaching: bool
) -> None:
    low, warn_low, warn_high, high = sorted(edges)
    limits = Limits(error_below=low, warn_below=warn_low, warn_above=warn_high, error_above=high)
    beyond = value >= warn_high if up else value <= warn_low
    start = value if beyond else (warn_high if up else warn_low)
    near = check(start, limits, reaching=reaching)
    far = check(start + further if up else start - further, limits, reaching=reaching)
    if near.side in ("", "above" if up else "below"):
        assert SEVERITY[far.status] >= SEVERITY[near.status]
    middle = check((warn_low + warn_high) / 2, limits)
    assert middle.status == "ok" or warn_low == warn_high


@given(st.floats(allow_nan=False), st.floats(-1e9, 1e9))
def test_a_value_at_a_limit_is_within_it_unless_it_reaches(value: float, edge: float) -> None:
    limits = Limits(warn_above=edge)
    assert (check(value, limits).status == "warn") == (value > edge)
    assert (check(value, limits, reaching=True).status == "warn") == (value >= edge)


def test_an_epoch_holds_from_its_day_on() -> None:
    def status(day: date, level: float) -> tuple[str, str]:
        (result,) = evaluate({"sky.LEVEL": level}, NIGHT, day, SKY).results
        return result.status, result.epoch

    assert status(date(2024, 7, 12), 17.0) == ("error", "2024-01-01")
    assert status(date(2024, 7, 12), 20.5) == ("ok", "2024-01-01")
    assert status(date(2024, 7, 13), 20.5) == ("warn", "2024-07-13")
    assert status(date(2024, 7, 13), 17.0) == ("warn", "2024-07-13")  # there is no error limit any more
    assert status(date(2023, 12, 31), 17.0) == ("not judged", "")
    assert NIGHT.from_day("2024-07-13").reason == "a new lamp on the hill"  # type: ignore[union-attr]
    assert NIGHT.from_day("2024-07-14") is None


def test_nothing_judged_is_not_ok() -> None:
    nothing = evaluate({"dome.OPEN": 1.0, "sky.LEVEL": math.nan}, NIGHT, DAY, SKY)
    assert [r.reason for r in nothing.results] == ["no limits", "no value"]
    assert worst_status(nothing.results) == worst_status([]) == NOT_JUDGED
    assert why_not_judged(nothing.results) == "not judged: no limits, no value"
    undated = evaluate({"sky.LEVEL": 21.0}, NIGHT, None, SKY)
    assert (undated.status, undated.reason) == ("warn", "not judged: no date")  # of the table's own columns


# --- the file of limits


def limits(tmp_path: Path, text: str) -> Thresholds:
    path = tmp_path / "l.yaml"
    path.write_text(f"epochs: [{{from: 2024-01-01, {text}}}]\n")
    return load_thresholds(str(path), SKY)


def test_limits_of_any_quantity_of_the_table(tmp_path: Path) -> None:
    found = limits(
        tmp_path, "guide.RATE: {warn_above: 2}, dome.TEMPERATURE: {warn_below: -5, warn_above: 30}"
    )
    assert set(found.on(DAY) or ()) == {"guide.RATE", "dome.TEMPERATURE"}
    assert limits_text((found.on(DAY) or {})["dome.TEMPERATURE"]) == "warning < -5, warning > 30"
    assert limits_text(Limits()) == limits_text(None) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("OPEN: {warn_above: 1}", "OPEN: write dome.OPEN"),
        ("sky.LEVLE: {warn_below: 1}", "did you mean 'sky.LEVEL'"),
        ("guide.RATE: {warn_below: 1}", "guide.RATE: low values are not bad; remove warn_below"),
        ("sky.LEVEL: {error_above: 1}", "sky.LEVEL: high values are not bad; remove error_above"),
        ("psf.R2: {warn_above: 1}", "unknown quantity 'psf.R2'"),
        ("limits: {sky.LEVEL: {warn_below: 1}}", "unknown quantity 'limits'"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        limits(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 1
    assert "l.yaml: epoch 1 (from 2024-01-01): " in str(caught.value)


# --- the quantities of VIS


def test_the_table_of_vis_names_columns_that_there_are() -> None:
    kinds = {"radiation": "month_radiation", "trend": "month_trend"}
    schemas = {schema.product: schema for schema in ALL}
    for q in QUANTITIES:
        names = schemas[kinds.get(q.table, q.table)].names
        assert {q.column, *filter(None, [q.error])} <= set(names), q
        assert q.category in CATEGORIES
        assert q.bad in ("high", "low", "both")
    assert set(TABLE_OF_CATEGORY) == set(CATEGORIES) - {"acquisition"}


def test_former_names_are_understood() -> None:
    assert QUANTITIES.current_metric("R2") == QUANTITIES.current_metric("psf.R2") == "psf.R2"
    assert QUANTITIES.current_metric("R2G") == "ratio.R2"
    assert QUANTITIES.current_metric("flux_loss_long_0.75") == "trend.LOSS_long_BP-RP_0.75"
    for state in ("failed", "error", "warn", "missing", "month_missing", "status", "flux_loss_odd"):
        assert QUANTITIES.current_metric(state) == state
    former = [q.formerly for q in QUANTITIES if q.formerly]
    assert len(former) == len(set(former))


# --- a month


def row(number: int) -> SheetRow:
    start = f"2024-07-13T0{number}:00:00"
    words = dict.fromkeys(
        ("obs_id", "calblkid", "calblkvr", "dithobs", "img_t1", "img_t2", "context", "reason"), ""
    )
    angles = dict.fromkeys(("ra", "dec", "pa", "saa", "alpha"), math.nan)
    own = {
        "frame_type": "SCIENCE",
        "date_obs": start,
        "date_source": "DATE-OBS",
        "status": "ok",
        "exptime": 560.0,
    }
    return SheetRow(
        exposure=f"E{number}", file=f"raw/E{number}.fits", size=1, mtime=1, **own, **words, **angles
    )


def moments(folder: Path, rows: list[SheetRow], **columns: list[float]) -> Path:
    """Write a table of image quality."""
    n = len(rows)
    table = {c.name: np.full(n, "") if c.dtype == "str" else np.zeros(n) for c in PSFMOMENTS.columns}
    table["EXPOSURE"] = np.array([r.exposure for r in rows])
    table["DATE_OBS"] = np.array([r.date_obs for r in rows], dtype="datetime64[us]")
    table["CLASS"] = np.full(n, "long")
    table |= {name: np.array(values) for name, values in columns.items()}
    path = folder / "psfmoments_202407.parquet"
    write_table(path, table, PSFMOMENTS, stage="quality", stage_version=1)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A month of three exposures: a good one, one with few stars and a bad score, one that failed."""
    rows = [row(i) for i in range(3)]
    write_sheet(tmp_path / "exposures" / "202407.tsv", rows)
    folder = tmp_path / "months" / "202407"
    nan = math.nan
    moments(
        folder,
        rows,
        N_STARS=[800, 5, nan],
        SCORE=[5.0, 99.0, nan],
        R2=[1.9, 2.4, nan],
        R2_ERR=[0.01, 0.02, nan],
    )
    return tmp_path


def judge(results: Path, *words: str) -> list:
    path = results / "months" / "202407" / "qc_202407.parquet"
    call = [str(results / "exposures" / "202407.tsv"), "-o", str(path), *words]
    done = CliRunner().invoke(command, call, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return read_results(path)


def test_the_command_judges_the_tables_that_are_there(results: Path) -> None:
    found = by_frame(judge(results))
    assert set(found) == {"E0", "E1", "E2"}
    assert [len(found[name]) for name in ("E0", "E1", "E2")] == [len(QUANTITIES.of_table("psfmoments"))] * 3
    bad = {r.quantity: r for r in found["E1"] if r.is_bad}
    assert {name: (r.status, r.value, r.limit, r.side) for name, r in bad.items()} == {
        "psf.SCORE": ("warn", 99.0, 27.0, "above"),
        "psf.N_STARS": ("warn", 5.0, 10.0, "below"),
    }
    size = next(r for r in found["E1"] if r.quantity == "psf.R2")
    assert (size.value, size.error, size.status, size.reason) == (
        pytest.approx(2.4), pytest.approx(0.02), "not judged", "no limits"
    )  # fmt: skip
    assert (size.cls, size.epoch, size.date_obs) == ("long", "2023-01-01", "2024-07-13T01:00:00.000000")
    of_score = next(r for r in found["E2"] if r.quantity == "psf.SCORE")
    assert (of_score.status, of_score.reason) == ("not judged", "no value")
    assert worst_status(found["E2"]) == NOT_JUDGED
    assert worst_status(found["E0"]) == "ok"
    path = results / "months" / "202407" / "qc_202407.parquet"
    meta = read_meta(path)
    assert meta["stage"] == "qc"
    assert meta["thresholds"] == "euclid_vis.yaml"


def test_new_limits_of_a_quantity_without_any_need_no_code(results: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: [{from: 2024-01-01, psf.com1: {warn_below: 1}}]\n")
    (tmp_path / "c.yaml").write_text(f"quality: {{thresholds: {tmp_path}/mine.yaml}}\n")
    found = judge(results, "--config", str(tmp_path / "c.yaml"))
    assert {(r.frame, r.quantity) for r in found if r.is_bad} >= {("E0", "psf.com1"), ("E1", "psf.com1")}
    assert {r.quantity for r in found if r.is_bad} == {"psf.com1"}


def test_results_come_back_from_their_table(results: Path) -> None:
    found = judge(results)
    path = results / "months" / "202407" / "again.parquet"
    write_table(path, columns_of(found, QUANTITIES), QC, stage="qc", stage_version=1)
    assert repr(read_results(path)) == repr(found)  # NaN is not equal to itself
    write_table(path, columns_of([], QUANTITIES), QC, stage="qc", stage_version=1)
    assert read_results(path) == []


def test_a_month_that_nobody_judged_has_its_values(results: Path) -> None:
    tables = {"psfmoments": results / "months" / "202407" / "psfmoments_202407.parquet"}
    rows = [row(i) for i in range(3)]
    found = group_results(tables, rows, None, QUANTITIES, note="nobody did")
    assert [(r.frame, r.quantity, r.value) for r in found if r.value > 0] == [
        (r.frame, r.quantity, r.value) for r in judge(results) if r.value > 0
    ]
    assert {(r.status, r.reason) for r in found} == {("not judged", "nobody did")}


# --- the trend of the flux ratios


@pytest.mark.parametrize(
    ("loss", "rate", "status", "of_loss", "of_rate"),
    [
        (3.0, 0.1, "ok", "ok", "ok"),
        (20.0, 0.1, "warn", "warn", "ok"),  # at its limit
        (45.0, 0.1, "error", "error", "ok"),
        (3.0, 0.5, "warn", "ok", "warn"),
        (25.0, 2.0, "error", "warn", "error"),
        (3.0, 0.5, "ok", "ok", "not judged"),  # a rate that is not significant
        (25.0, 0.5, "warn", "warn", "not judged"),  # no worse than the loss
        (25.0, math.nan, "warn", "warn", "not judged"),
        (math.nan, math.nan, "unknown", "not judged", "not judged"),
        (25.0, 0.5, "unknown", "not judged", "not judged"),
    ],
)
def test_which_of_loss_and_rate_a_status_comes_from(
    loss: float, rate: float, status: str, of_loss: str, of_rate: str
) -> None:
    found = trend_results(loss, rate, 0.01, status, TrendLimits())
    assert [(r.quantity, r.status) for r in found] == [("trend.LOSS", of_loss), ("trend.RATE", of_rate)]
    assert worst_status(found) == status or status == "unknown"
    for result in found:
        assert math.isnan(result.limit) == (not result.is_bad)
        assert bool(result.reason) == (result.status == NOT_JUDGED)


def test_sentences_of_a_part_of_a_month() -> None:
    loss, _ = trend_results(45.123456, 0.1, 0.01, "error", TrendLimits())
    of_class = replace(loss, cls="long", part="BP-RP 0.75")
    assert called(of_class, QUANTITIES) == "flux loss at BP-RP 0.75, long exposures"
    assert sentence(of_class, QUANTITIES) == "flux loss at BP-RP 0.75, long exposures 45.1235 mmag above 40"
    assert sentence(replace(of_class, quantity="of.another"), QUANTITIES).startswith("of.another at BP-RP")
