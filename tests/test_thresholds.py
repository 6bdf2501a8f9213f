"""Dated thresholds: what they say on a day, and what a wrong file is told."""

import math
from datetime import date

import pytest

from visql_lib.config.thresholds import Limits, load_thresholds
from visql_lib.errors import ConfigError

DAY = date(2024, 7, 13)


def thresholds(tmp_path, text):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    return load_thresholds(str(path))


@pytest.mark.parametrize(
    ("score", "status", "reason"),
    [
        (12.3, "ok", ""),
        (27, "ok", ""),
        (27.01, "warn", "SCORE 27.01 above 27"),
        (1000, "warn", "SCORE 1000 above 27"),
        (1506.06, "error", "SCORE 1506.06 above 1000"),
    ],
)
def test_the_score_of_euclid_vis(score, status, reason):
    judgement = load_thresholds("euclid_vis").judge({"SCORE": score, "N_STARS": 800}, DAY)
    assert (judgement.status, judgement.reason) == (status, reason)


def test_a_finding_carries_value_limit_and_status():
    (score, stars) = load_thresholds("euclid_vis").judge({"SCORE": 30.0, "N_STARS": 5}, DAY).findings
    assert (score.name, score.value, score.limit, score.status, score.side) == (
        "SCORE",
        30,
        27,
        "warn",
        "above",
    )
    assert (stars.name, stars.value, stars.limit, stars.status, stars.side) == (
        "N_STARS",
        5,
        10,
        "warn",
        "below",
    )


def test_the_worst_finding_comes_first():
    judgement = load_thresholds("euclid_vis").judge({"N_STARS": 5, "SCORE": 2000}, DAY)
    assert judgement.status == "error"
    assert judgement.reason == "SCORE 2000 above 1000; N_STARS 5 below 10"


def test_nan_and_what_has_no_limits_are_not_judged():
    judgement = load_thresholds("euclid_vis").judge({"SCORE": math.nan, "R2": 99.0, "OTHER": 1.0}, DAY)
    assert judgement.status == "ok"
    assert [f.name for f in judgement.findings] == ["R2"]


def test_the_epoch_of_the_day_counts(tmp_path):
    limits = thresholds(
        tmp_path,
        """
epochs:
  - {from: 2023-01-01, SCORE: {warn_above: 27}}
  - {from: 2024-03-01, SCORE: {warn_above: 20}, e1: {warn_above: 0.1, warn_below: -0.1}}
""",
    )
    assert limits.judge({"SCORE": 25}, date(2024, 2, 29)).status == "ok"
    assert limits.judge({"SCORE": 25}, date(2024, 3, 1)).status == "warn"
    assert limits.judge({"e1": -0.2}, date(2024, 3, 1)).reason == "e1 -0.2 below -0.1"
    assert limits.judge({"e1": -0.2}, date(2024, 2, 29)).status == "ok"


def test_an_epoch_may_say_why_limits_changed(tmp_path):
    limits = thresholds(
        tmp_path,
        """
epochs:
  - {from: 2023-01-01, reason: first light, SCORE: {warn_above: 27}}
  - {from: 2024-03-01, SCORE: {warn_above: 20}}
""",
    )
    assert limits.epoch(date(2022, 12, 31)) is None
    assert limits.epoch(date(2024, 2, 29)).reason == "first light"
    assert limits.epoch(date(2024, 3, 1)).reason == ""
    assert "reason" not in limits.epoch(date(2024, 3, 1)).limits
    assert all(epoch.reason for epoch in load_thresholds("euclid_vis").epochs)


@pytest.mark.parametrize(("day", "why"), [(date(2022, 12, 31), "before 2023-01-01"), (None, "no date")])
def test_what_cannot_be_judged_is_not_good(day, why):
    judgement = load_thresholds("euclid_vis").judge({"SCORE": 1.0}, day)
    assert judgement.status == "warn"
    assert why in judgement.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: []", "epochs"),
        ("epoch: []", "did you mean 'epochs'"),
        ("epochs: [{SCORE: {warn_above: 1}}]", r"epoch 1 .*from"),
        ("epochs: [{from: 2023-01-01, SCOER: {warn_above: 1}}]", "did you mean 'SCORE'"),
        ("epochs: [{from: 2023-01-01, SCORE: {warn_abov: 1}}]", "did you mean 'warn_above'"),
        ("epochs: [{from: 2023-01-01, SCORE: {warn_above: 5, error_above: 4}}]", "error_above 4 must be"),
        ("epochs: [{from: 2023-01-01, e1: {warn_below: 5, error_below: 6}}]", "error_below 6 must be"),
        ("epochs: [{from: 2023-01-01, e1: {warn_below: 5, warn_above: 4}}]", "no value is within"),
        ("epochs: [{from: 2023-01-01, e1: {warn_above: .nan}}]", "finite"),
        ("epochs: [{from: 2024-01-01}, {from: 2023-01-01}]", "stands after"),
        ("epochs: [{from: 2024-01-01}, {from: 2024-01-01}]", "stands after"),
        ("epochs: [17]", "epoch 1: must hold"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        thresholds(tmp_path, text)
    assert all("limits.yaml" in line for line in str(error.value).splitlines())


def test_a_missing_file_lists_those_there_are():
    with pytest.raises(ConfigError, match="euclid_vis"):
        load_thresholds("nothing")


def test_no_limits_is_no_opinion():
    assert Limits().check("SCORE", 1e9).status == "ok"
