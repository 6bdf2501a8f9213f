"""Dated thresholds: what they say on a day, and what a wrong file is told."""

import math
from datetime import date

import pytest

from visql_lib.errors import ConfigError
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.qc.evaluate import check, evaluate
from visql_lib.qc.limits import Limits, load_thresholds

DAY = date(2024, 7, 13)


def thresholds(tmp_path, text):
    path = tmp_path / "limits.yaml"
    path.write_text(text)
    return load_thresholds(str(path), QUANTITIES)


def judged(limits, values, day=DAY):
    """Judge values of columns of the table psfmoments."""
    return evaluate({f"psf.{name}": value for name, value in values.items()}, limits, day, QUANTITIES)


def vis():
    return load_thresholds("euclid_vis", QUANTITIES)


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
    judgement = judged(vis(), {"SCORE": score, "N_STARS": 800}, DAY)
    assert (judgement.status, judgement.reason) == (status, reason)


def test_a_finding_carries_value_limit_and_status():
    (score, stars) = judged(vis(), {"SCORE": 30.0, "N_STARS": 5}, DAY).results
    assert (score.quantity, score.value, score.limit, score.status, score.side) == (
        "psf.SCORE",
        30,
        27,
        "warn",
        "above",
    )
    assert (stars.quantity, stars.value, stars.limit, stars.status, stars.side) == (
        "psf.N_STARS",
        5,
        10,
        "warn",
        "below",
    )


def test_the_worst_finding_comes_first():
    judgement = judged(vis(), {"N_STARS": 5, "SCORE": 2000}, DAY)
    assert judgement.status == "error"
    assert judgement.reason == "SCORE 2000 above 1000; N_STARS 5 below 10"


def test_nan_and_what_has_no_limits_are_not_judged():
    judgement = judged(vis(), {"SCORE": math.nan, "R2": 99.0}, DAY)
    assert judgement.status == "ok"
    assert [(r.status, r.reason) for r in judgement.results] == [
        ("not judged", "no value"),
        ("not judged", "no limits"),
    ]


def test_the_epoch_of_the_day_counts(tmp_path):
    limits = thresholds(
        tmp_path,
        """
epochs:
  - {from: 2023-01-01, psf.SCORE: {warn_above: 27}}
  - {from: 2024-03-01, psf.SCORE: {warn_above: 20}, psf.e1: {warn_above: 0.1, warn_below: -0.1}}
""",
    )
    assert judged(limits, {"SCORE": 25}, date(2024, 2, 29)).status == "ok"
    assert judged(limits, {"SCORE": 25}, date(2024, 3, 1)).status == "warn"
    assert judged(limits, {"e1": -0.2}, date(2024, 3, 1)).reason == "e1 -0.2 below -0.1"
    assert judged(limits, {"e1": -0.2}, date(2024, 2, 29)).status == "ok"


def test_an_epoch_may_say_why_limits_changed(tmp_path):
    limits = thresholds(
        tmp_path,
        """
epochs:
  - {from: 2023-01-01, reason: first light, psf.SCORE: {warn_above: 27}}
  - {from: 2024-03-01, psf.SCORE: {warn_above: 20}}
""",
    )
    assert limits.epoch(date(2022, 12, 31)) is None
    assert limits.epoch(date(2024, 2, 29)).reason == "first light"
    assert limits.epoch(date(2024, 3, 1)).reason == ""
    assert "reason" not in limits.epoch(date(2024, 3, 1)).limits
    assert all(epoch.reason for epoch in vis().epochs)


@pytest.mark.parametrize(("day", "why"), [(date(2022, 12, 31), "before 2023-01-01"), (None, "no date")])
def test_what_cannot_be_judged_is_not_good(day, why):
    judgement = judged(vis(), {"SCORE": 1.0}, day)
    assert judgement.status == "warn"
    assert why in judgement.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: []", "epochs"),
        ("epoch: []", "did you mean 'epochs'"),
        ("epochs: [{psf.SCORE: {warn_above: 1}}]", r"epoch 1 .*from"),
        ("epochs: [{from: 2023-01-01, psf.SCOER: {warn_above: 1}}]", "did you mean 'psf.SCORE'"),
        ("epochs: [{from: 2023-01-01, SCOER: {warn_above: 1}}]", "did you mean 'psf.SCORE'"),
        ("epochs: [{from: 2023-01-01, R2: {warn_above: 1}}]", "R2: write psf.R2$"),
        ("epochs: [{from: 2023-01-01, R2G: {warn_above: 1}}]", "R2G: write ratio.R2$"),
        ("epochs: [{from: 2023-01-01, 17: {warn_above: 1}}]", "unknown quantity '17'"),
        ("epochs: [{from: 2023-01-01, psf.SCORE: 17}]", "psf.SCORE: must hold limits such as"),
        (
            "epochs: [{from: 2023-01-01, psf.SCORE: {warn_below: 1}}]",
            "low values are not bad; remove warn_below",
        ),
        ("epochs: [{from: 2023-01-01, trend.LOSS: {warn_above: 1}}]", "are the settings trend.warn_loss"),
        ("epochs: [{from: 2023-01-01, psf.SCORE: {warn_abov: 1}}]", "did you mean 'warn_above'"),
        ("epochs: [{from: 2023-01-01, psf.SCORE: {warn_above: 5, error_above: 4}}]", "error_above 4 must be"),
        ("epochs: [{from: 2023-01-01, psf.e1: {warn_below: 5, error_below: 6}}]", "error_below 6 must be"),
        ("epochs: [{from: 2023-01-01, psf.e1: {warn_below: 5, warn_above: 4}}]", "no value is within"),
        ("epochs: [{from: 2023-01-01, psf.e1: {warn_above: .nan}}]", "finite"),
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
        load_thresholds("nothing", QUANTITIES)


def test_no_limits_is_no_opinion():
    assert check(1e9, Limits()).status == "ok"
