"""The trend of the flux ratios: rates, steps, forecasts and their errors on histories with known truth."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from visql_lib.photometry.history import MMAG, daily, losses
from visql_lib.photometry.month_trend import month_trend
from visql_lib.photometry.segments import (
    Series,
    find_breaks,
    fit_lines,
    persistence,
    scatter,
    slow_noise,
    vet,
)
from visql_lib.photometry.trend import COLOURS, place_trend, trends
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.photometry.trend_status import deciding_limit, statuses
from visql_lib.pipelines.vis.schemas.gaia import MONTH_TREND, TREND

HOW = {"clean_epoch": ("2024-03-16", "2024-03-21"), "limits": TrendLimits()}
LEVEL = np.array([0.886, 1.134, 1.260])
RATES = (0.3, 0.2, 0.1)
DAY = np.timedelta64(1, "D")
NOON = np.timedelta64(12, "h")


def a_history(rng, n=365, rates=RATES, steps=(), noise=1.0, start="2024-03-16", persist=0.0):
    """Daily dates, ratios and true losses [mmag]; noise [mmag] of every colour, steps as (day, sizes)."""
    x = np.arange(n)
    dates = np.datetime64(start, "us") + NOON + x * DAY
    loss = x[:, None] * np.array(rates, dtype=float)
    for day, sizes in steps:
        loss = loss + np.where(x[:, None] >= day, np.array(sizes, dtype=float), 0.0)
    off = rng.normal(0, noise, (n, 3))
    for i in range(1, n if persist else 0):
        off[i] = persist * off[i - 1] + np.sqrt(1 - persist**2) * off[i]
    return dates, LEVEL * np.exp(-(loss + off) / MMAG), loss


def an_ice_age(rng, noise=1.0):
    """A history as that of 2023 and 2024: slow loss, a decontamination, an s-shaped loss, another one."""
    x = np.delete(np.arange(350), np.r_[20:40, 100:112, 150:153])
    slow = 100 + 0.3 * x - 0.0003 * x**2
    fast = 215 * (1 - np.cos(np.pi * (x - 228) / 83 / 1.3))
    loss = np.select([x < 228, x < 311], [slow, fast], 0.0)[:, None] * [1, 0.8, 0.7]
    dates = np.datetime64("2023-08-01T12", "us") + x * DAY
    return dates, LEVEL * np.exp(-(loss + rng.normal(0, noise, loss.shape)) / MMAG), loss


def unknown(ratios):
    return np.full_like(ratios, np.nan)


def days_off(date, dates, index):
    return float((date - (dates[index] - NOON)) / DAY)


# --- rates and steps ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_rates_and_steps_come_back_within_their_errors(known):
    """Pulls over 40 histories have mean 0 and width 1, whether the errors are given or estimated."""
    rng = np.random.default_rng(1)
    steps = ((120, (-50, -40, -30)), (260, (20, 15, 10)))
    rate_pulls, step_pulls = [], []
    for _ in range(40):
        dates, ratios, _ = a_history(rng, steps=steps)
        found = place_trend(dates, ratios, ratios / MMAG if known else unknown(ratios), **HOW)
        assert len(found.steps) == 2
        for step, (day, sizes) in zip(found.steps, steps, strict=True):
            assert abs(days_off(step.date, dates, day)) < 1
            assert 0.2 < step.date_err < 1
            step_pulls.append((step.sizes - np.array(sizes)) / step.errors)
        rate_pulls.append((found.rate[[0, 200, 364]] - np.array(RATES)) / found.rate_err[[0, 200, 364]])
    for pulls in (np.ravel(rate_pulls), np.ravel(step_pulls)):
        assert abs(pulls.mean()) < 3.5 / np.sqrt(len(pulls))
        assert 0.85 < pulls.std() < 1.15


def test_errors_given_too_small_are_scaled_up_and_never_down():
    dates, ratios, _ = a_history(np.random.default_rng(2))
    right, small, large = (
        place_trend(dates, ratios, ratios / MMAG * factor, **HOW).rate_err[0] for factor in (1, 0.3, 3)
    )
    assert_allclose(small, right, rtol=0.1)
    assert_allclose(large, 3 * right, rtol=0.1)


def test_false_steps_are_rare():
    """None in 60 quiet years; with noise that persists, bad weeks, or odd days none in 10 each.

    The rates quoted in the module's text are from a thousand years each.
    """
    rng = np.random.default_rng(3)
    for _ in range(60):
        dates, ratios, _ = a_history(rng)
        found = place_trend(dates, ratios, unknown(ratios), **HOW)
        assert not found.steps
    for _ in range(10):
        dates, ratios, _ = a_history(rng, persist=0.5)
        assert not place_trend(dates, ratios, unknown(ratios), **HOW).steps
        dates, ratios, _ = a_history(rng)
        ratios[200:260] *= np.exp(rng.normal(0, 4, (60, 3)) / MMAG)
        assert not place_trend(dates, ratios, ratios / MMAG, **HOW).steps
        dates, ratios, _ = a_history(rng)
        ratios[2 * rng.choice(180, 11, replace=False)] *= 1.05
        assert not place_trend(dates, ratios, unknown(ratios), **HOW).steps


def test_steps_are_found_from_six_times_the_noise_of_their_days():
    """The mean of three colours has 0.58 mmag of noise here; at most 2 of 30 are missed."""
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(30):
        dates, ratios, _ = a_history(rng, steps=((200, (-3.5,) * 3),))
        found = place_trend(dates, ratios, unknown(ratios), **HOW)
        missed += not any(abs(days_off(step.date, dates, 200)) <= 2 for step in found.steps)
    assert missed <= 2


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_a_curved_history_with_gaps_has_its_two_decontaminations_and_no_other_step(noise):
    rng = np.random.default_rng(5)
    for _ in range(8):
        dates, ratios, loss = an_ice_age(rng, noise)
        found = place_trend(dates, ratios, unknown(ratios), **HOW)
        assert [str(step.date.astype("M8[D]")) for step in found.steps] == ["2024-03-16", "2024-06-07"]
        assert all((step.sizes < -100).all() for step in found.steps)
        epoch = (dates >= np.datetime64("2024-03-16")) & (dates < np.datetime64("2024-03-22"))
        assert np.abs(found.model - (loss - loss[epoch].mean(axis=0))).max() < 4 * noise + 1


def test_one_odd_day_is_no_step_also_when_it_is_the_last_and_three_are():
    dates, ratios, _ = a_history(np.random.default_rng(6), n=60)
    for days in ([30], [59], [30, 31], [58, 59]):
        odd = ratios.copy()
        odd[days] *= 1.05
        found = place_trend(dates, odd, unknown(odd), **HOW)
        assert not found.steps
        assert found.odd_days >= len(days)
        assert any("days set aside" in note for note in found.notes)
        assert_allclose(found.rate[-1], RATES, atol=0.05)
    odd = ratios.copy()
    odd[57:] *= 1.05
    (step,) = place_trend(dates, odd, unknown(odd), **HOW).steps
    assert days_off(step.date, dates, 57) == 0


def test_a_change_of_rate_is_no_step():
    dates, ratios, _ = a_history(np.random.default_rng(7), n=200, rates=(0, 0, 0))
    bend = np.maximum(np.arange(200) - 100, 0)[:, None] * [1.0, 0.8, 0.6]
    found = place_trend(dates, ratios * np.exp(-bend / MMAG), unknown(ratios), **HOW)
    assert not found.steps
    assert len(found.breaks) == 1
    assert abs(days_off(found.breaks[0], dates, 100)) < 6
    assert_allclose(found.rate[0], 0, atol=4 * found.rate_err[0].max())
    assert_allclose(found.rate[-1], [1.0, 0.8, 0.6], atol=0.06)


# --- the clean epoch, forecasts, status -----------------------------------------------------------


def test_losses_are_relative_to_the_clean_epoch_or_else_the_earliest_days():
    dates, ratios, loss = a_history(np.random.default_rng(8), n=60, start="2024-03-01")
    found = place_trend(dates, ratios, ratios / MMAG, **HOW)
    assert not found.notes
    assert_allclose(found.loss, loss - loss[15:21].mean(axis=0), atol=5)
    assert_allclose(found.loss_err, 1, rtol=1e-6)
    clean_err = found.clean_err * np.sqrt(6)  # of six days; scaled up where these scatter more
    assert (clean_err > 0.99).all()
    assert (clean_err < 1.5).all()
    late = place_trend(dates + 100 * DAY, ratios, ratios / MMAG, **HOW)
    assert_allclose(late.loss, loss - loss[:6].mean(axis=0), atol=5)
    assert late.notes == (
        "no data in 2024-03-16 to 2024-03-21: losses are relative to 2024-06-09 to 2024-06-14",
    )


def test_forecasts_cover_the_truth_as_often_as_they_say():
    """Of 40 histories in three colours 16 % reach the loss before the interval, and 16 % after it."""
    rng = np.random.default_rng(9)
    below, above = [], []
    for _ in range(40):
        dates, ratios, loss = a_history(rng, n=120)
        found = place_trend(dates, ratios, unknown(ratios), **HOW)
        zero = loss[:6].mean(axis=0)
        for c, forecast in enumerate(found.forecasts):
            truth = dates[-1] + ((50 - (loss[-1, c] - zero[c])) / RATES[c] * 86400e6).astype("m8[us]")
            assert forecast.early < forecast.date < forecast.late
            below.append(truth < forecast.early)
            above.append(truth > forecast.late)
    assert 0.07 < np.mean(below) < 0.27
    assert 0.07 < np.mean(above) < 0.27


def test_there_is_no_forecast_without_a_significant_loss_and_a_past_date_where_it_is_reached():
    rng = np.random.default_rng(10)
    for rates in ((0, 0, 0), (-0.3, -0.3, -0.3)):
        dates, ratios, _ = a_history(rng, rates=rates)
        for forecast in place_trend(dates, ratios, unknown(ratios), **HOW).forecasts:
            assert forecast.record() == {
                "colour": forecast.colour,
                "loss": 50.0,
                "reached": False,
                "date": None,
                "early": None,
                "late": None,
            }
    dates, ratios, _ = a_history(rng, rates=(1, 1, 1), n=100)
    found = place_trend(dates, ratios, unknown(ratios), **HOW)
    for forecast in found.forecasts:
        assert forecast.reached
        assert abs(days_off(forecast.date, dates, 52)) < 3


def test_the_status_follows_loss_and_rate():
    rng = np.random.default_rng(11)
    dates, ratios, _ = a_history(rng, rates=(1.5, 0.5, 0.05), n=100)
    found = place_trend(dates, ratios, unknown(ratios), **HOW)
    assert (found.status[:, 0] == "error").all()  # by its rate from the first day on
    assert found.status[5, 1] == "warn"
    assert found.status[-1, 1] == "error"  # by its loss
    assert (found.status[:, 2] == "ok").all()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("known", [True, False])
def test_a_few_days_give_what_they_can(n, known):
    dates, ratios, _ = a_history(np.random.default_rng(12), n=n)
    found = place_trend(dates, ratios, ratios / MMAG if known else unknown(ratios), **HOW)
    assert np.isfinite(found.loss).all()
    assert np.isfinite(found.model).all()
    assert np.isfinite(found.rate).all() == (n > 1)
    assert np.isfinite(found.rate_err).all() == (n > (1 if known else 2))
    assert not found.steps
    assert (found.status == "ok").all()


def test_a_place_without_ratios_is_unknown():
    dates, ratios, _ = a_history(np.random.default_rng(13), n=10)
    for bad in (np.nan, 0.0, -1.0, np.inf):
        found = place_trend(dates, np.full_like(ratios, bad), unknown(ratios), **HOW)
        assert (found.status == "unknown").all()
        assert np.isnan(found.model).all()
        assert found.notes == ("no ratios",)
    assert place_trend(dates[:0], ratios[:0], ratios[:0], **HOW).loss.shape == (0, 3)


def test_a_colour_without_data_is_unknown_and_hides_no_step_of_the_others():
    dates, ratios, _ = a_history(np.random.default_rng(14), n=100, steps=((50, (-9, -9, -9)),))
    ratios[:, 2] = np.nan
    ratios[10:13, 0] = np.nan
    found = place_trend(dates, ratios, unknown(ratios), **HOW)
    (step,) = found.steps
    assert np.isnan(step.sizes[2])
    assert step.record()["size"][2] is None
    assert (found.status[:, 2] == "unknown").all()
    assert np.isnan(found.loss[10:13, 0]).all()
    assert np.isfinite(found.model[10:13, 0]).all()


def test_a_history_without_noise_has_no_steps_and_no_warnings():
    dates, ratios, _ = a_history(np.random.default_rng(15), n=50, noise=0.0)
    found = place_trend(dates, np.round(ratios, 4), unknown(ratios), **HOW)
    assert not found.steps
    assert_allclose(found.rate[-1], RATES, atol=0.01)


def test_exposures_give_the_trend_of_their_days_and_odd_exposures_do_not_count():
    rng = np.random.default_rng(16)
    dates, ratios, _ = a_history(rng, n=80, noise=0.0, steps=((40, (-30, -20, -10)),))
    rows = np.repeat(np.arange(80), 8)
    many = ratios[rows] * np.exp(rng.normal(0, 4, (640, 3)) / MMAG)
    when = dates[rows] + np.tile(np.arange(-4, 4), 80) * np.timedelta64(1, "h")
    many[::90] *= 1.3
    order = rng.permutation(640)
    found = place_trend(when[order], many[order], unknown(many), **HOW)
    (step,) = found.steps
    assert (np.abs(step.sizes - [-30, -20, -10]) < 4 * step.errors).all()
    assert (np.abs(found.rate[0] - RATES) < 4 * found.rate_err[0]).all()
    assert_allclose(np.median(found.loss_err), 4, rtol=0.1)


# --- tables ---------------------------------------------------------------------------------------


def a_table(rng, places, n, **how):
    parts = []
    for space, name, kind in places:
        dates, ratios, _ = a_history(rng, n=n, **how)
        part = {"DATE": dates, "SPACE": space, "SPACE_BIN": name, "CLASS": kind, "FIELD": "all"}
        part |= {f"R{i + 1}": ratios[:, i] for i in range(3)}
        part |= {f"R{i + 1}_ERR": ratios[:, i] / MMAG for i in range(3)}
        parts.append({k: v if isinstance(v, np.ndarray) else np.full(n, v) for k, v in part.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_a_table_of_places_becomes_the_columns_of_trend_and_records_in_plain_json():
    rng = np.random.default_rng(17)
    places = [("fpa", "fpa", "short"), ("ccd", "1-1", "long"), ("ccd", "1-2", "long")]
    table = a_table(rng, places, 50, steps=((25, (-20, -20, -20)),))
    order = rng.permutation(150)
    table = {name: values[order] for name, values in table.items()}
    table["DATE"][3] = np.datetime64("NaT")
    found = trends(table, **HOW)
    columns = TREND.cast(found.table)
    assert set(found.table) == set(TREND.names)
    assert len(columns["DATE"]) == 3 * 149
    assert set(columns["COLOUR"]) == set(COLOURS)
    assert not np.isnat(columns["DATE"]).any()
    assert {(r["SPACE"], r["SPACE_BIN"], r["CLASS"]) for r in found.steps} == set(places)
    assert len(found.forecast) == 9
    again = json.loads(json.dumps([found.steps, found.forecast, found.notes], allow_nan=False))
    assert again[0] == found.steps
    one = found.table["SPACE_BIN"] == "1-1"
    assert (np.diff(found.table["DATE"][one]) >= np.timedelta64(0)).all()


def test_every_colour_of_the_table_has_its_own_numbers():
    table = a_table(np.random.default_rng(22), [("fpa", "fpa", "long")], 60, noise=0.1)
    found = trends(table, **HOW).table
    for colour, rate in zip((0.75, 1.75, 2.75), RATES, strict=True):
        rows = found["COLOUR"] == colour
        assert_array_equal(found["DATE"][rows], table["DATE"])
        assert_allclose(found["RATE"][rows], rate, atol=0.02)
        growth = rate * np.arange(60)
        for name in ("LOSS", "MODEL"):
            assert_allclose(found[name][rows] - found[name][rows][0], growth, atol=0.6)


def test_what_stands_in_the_columns_of_a_month():
    """Three days of one place, no two numbers alike: means over the month, the rest from its last day."""
    days = np.array(["2024-06-30T12:00", "2024-07-02T12:00", "2024-07-04T12:00"], dtype="datetime64[us]")
    table = {"DATE": days, "COLOUR": np.full(3, 1.75)}
    place = {"SPACE": "ccd", "SPACE_BIN": "2-3", "CLASS": "long", "FIELD": "all"}
    table |= {name: np.full(3, text) for name, text in place.items()}
    table |= {"LOSS": np.array([99.0, 10.0, 16.0]), "LOSS_ERR": np.array([0.1, 1.0, 2.0])}
    table |= {"MODEL": np.array([98.0, 21.0, 22.0]), "RATE": np.array([0.9, 0.1, 0.2])}
    table |= {"RATE_ERR": np.array([0.8, 0.03, 0.04]), "STATUS": np.array(["error", "ok", "warn"])}
    steps = [place | {"date": "2024-07-03T00:00:00", "size": [-1.0, -2.0, -3.0]}]
    dates = {"date": "2025-01-02T00:00:00", "early": "2024-12-01T00:00:00", "late": "2025-03-04T00:00:00"}
    forecast = [place | {"colour": 1.75, **dates}, place | {"colour": 0.75, **dict.fromkeys(dates)}]
    found = month_trend(table, steps, forecast, "202407", limits=HOW["limits"])
    got = {name: values.tolist()[0] for name, values in found.items()}
    error = 1 / np.sqrt(1 + 1 / 4)
    numbers = {"COLOUR": 1.75, "N": 2, "LOSS": (10 + 16 / 4) * error**2, "LOSS_ERR": error, "LOSS_END": 22.0}
    numbers |= {"RATE": 0.2, "RATE_ERR": 0.04, "N_STEPS": 1, "STEP": -2.0}
    assert {name: got[name] for name in numbers} == pytest.approx(numbers)
    assert {name: got[name] for name in (*place, "STATUS")} == {**place, "STATUS": "warn"}
    for name, key in (("FORECAST", "date"), ("EARLY", "early"), ("LATE", "late")):
        assert found[name][0] == np.datetime64(dates[key])


def test_an_empty_table_has_an_empty_trend():
    table = a_table(np.random.default_rng(18), [("fpa", "fpa", "long")], 3)
    found = trends({name: values[:0] for name, values in table.items()}, **HOW)
    assert len(TREND.cast(found.table)["DATE"]) == 0
    assert not found.steps + found.forecast + found.notes


def test_a_month_is_told_its_own_losses_steps_and_limits():
    rng = np.random.default_rng(19)
    table = a_table(rng, [("fpa", "fpa", "long"), ("ccd", "1-1", "long")], 50, steps=((25, (-20, -20, -20)),))
    found = trends(table, **HOW)
    april = month_trend(found.table, found.steps, found.forecast, "202404", limits=HOW["limits"])
    columns = MONTH_TREND.cast(april)
    assert set(april) == set(MONTH_TREND.names)
    assert list(columns["N"]) == [30] * 6
    # The step comes on 10 April: 14 days of 16 + 0.3 x, 16 less 20 (rates per colour: RATES).
    truth = [np.mean(rate * np.arange(16, 46)) - 20 * 21 / 30 for rate in RATES]
    assert np.all(np.abs(columns["LOSS"][:3] - truth) < 5 * columns["LOSS_ERR"][:3] + 0.5)
    assert list(columns["N_STEPS"]) == [1] * 6
    assert_allclose(columns["STEP"], -20, atol=2)
    march = month_trend(found.table, found.steps, found.forecast, "202403", limits=HOW["limits"])
    assert list(march["N_STEPS"]) == [0] * 6
    assert list(march["STEP"]) == [0] * 6


def test_a_month_says_which_limit_was_passed_and_one_without_data_is_empty():
    table = a_table(np.random.default_rng(20), [("fpa", "fpa", "long")], 60, rates=(1.5, 0.1, 0.1), noise=0.2)
    found = trends(table, **HOW)
    may = month_trend(found.table, found.steps, found.forecast, "202405", limits=HOW["limits"])
    assert may["STATUS"][0] == "error"
    assert may["REASON"][0].startswith("loss 8")
    assert may["REASON"][0].endswith("mmag reaches 40")
    assert may["REASON"][1] == ""
    none = month_trend(found.table, found.steps, found.forecast, "202301", limits=HOW["limits"])
    assert len(MONTH_TREND.cast(none)["LOSS"]) == 0


def test_two_days_make_no_forecast_however_sure_their_rate():
    dates, ratios, _ = a_history(np.random.default_rng(21), n=2, rates=(20, 20, 20), noise=0.01)
    found = place_trend(dates, ratios, ratios * 0.001, **HOW)
    assert all(np.isnat(forecast.date) for forecast in found.forecasts)
    assert "error" not in found.status


# --- the parts ------------------------------------------------------------------------------------


def a_series(rng, n=300, noise=1.0):
    x = np.cumsum(rng.uniform(0.2, 2, n))
    return Series(x, 0.3 * x + rng.normal(0, noise, n), np.ones(n))


def test_the_scatter_is_that_of_the_noise_in_units_of_the_errors():
    rng = np.random.default_rng(19)
    series = a_series(rng, 4000, 2.5)
    assert_allclose(scatter(series), 2.5, rtol=0.05)
    assert slow_noise(series) == 1
    assert persistence(series.y - 0.3 * series.x) == 1
    assert np.isnan(scatter(series.chosen(np.arange(2))))
    walk = Series(series.x, np.cumsum(rng.normal(0, 1, 4000)), series.e)
    assert slow_noise(walk) > 2
    assert persistence(walk.y - walk.y.mean()) == 10


def test_a_loud_stretch_is_told_and_a_quiet_history_is_not():
    rng = np.random.default_rng(20)
    series = a_series(rng)
    assert_array_equal(vet(series)[0].e, 1)
    assert not vet(series)[1].any()
    loud = series._replace(y=series.y + np.where(np.arange(300) >= 200, rng.normal(0, 6, 300), 0))
    errors = vet(loud)[0].e
    assert np.median(errors[210:]) > 3
    assert_array_equal(errors[:180], 1)


def test_the_best_partition_is_found():
    """Against every way to place two breaks."""
    rng = np.random.default_rng(21)
    x = np.arange(24.0)
    y = np.select([x < 9, x < 16], [0.5 * x, 8 - 0.5 * x], 3.0) + rng.normal(0, 0.3, 24)
    series = Series(x, y, np.full(24, 0.3))

    def chi2(ends):
        parts = np.split(np.arange(24), ends)
        return sum(fit_lines(series.chosen(rows), [], []).chi2 for rows in parts)

    pairs = [(i, j) for i in range(3, 19) for j in range(i + 3, 22)]
    assert find_breaks(series, 25.0) == list(min(pairs, key=chi2))


def test_lines_say_nothing_about_what_the_data_do_not_tell():
    series = Series(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]), np.ones(3))
    lines = fit_lines(series, [2.5], [True])
    value, error = lines.evaluate(lines.terms([1.0, 2.0, 3.0]))
    assert_allclose(value[:2], [1, 2], atol=1e-12)
    assert np.isnan(value[2])
    assert np.isnan(error[2])
    assert np.isnan(lines.evaluate(lines.jump_terms())[0]).all()
    assert_allclose(lines.evaluate(lines.rate_terms([0.0]))[0], 1)


@settings(max_examples=25, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-30, 30), st.integers(0, 10**6), st.floats(0.01, 100))
def test_breaks_and_outliers_do_not_depend_on_level_slope_or_unit(level, slope, seed, unit):
    rng = np.random.default_rng(seed)
    series = a_series(rng, 60)
    series.y[30:] += 12
    series.y[10] += 40
    moved = Series(series.x, unit * (series.y + level + slope * series.x), unit * series.e)
    assert_array_equal(vet(moved)[1], vet(series)[1])
    assert find_breaks(moved, 25.0) == find_breaks(series, 25.0)


def test_days_are_weighted_means():
    dates = np.array(["2024-07-01T01", "2024-07-01T05", "2024-07-02T03"], "M8[us]")
    ratios, errors = np.full((3, 3), 1.0), np.full((3, 3), 0.001)
    ratios[1], errors[1] = np.exp(-10 / MMAG), 0.003
    days = daily(losses(dates, ratios, errors))
    assert_allclose(days.loss[:, 0], [1.0, 0.0], atol=0.02)
    assert_allclose(days.error[1], MMAG * 0.001)
    assert_allclose(np.diff(days.x), 1.0)


# --- what made a status


@given(
    st.sampled_from([np.nan, -5.0, 0.0, 19.9, 20.0, 39.9, 40.0, 60.0]),
    st.sampled_from([np.nan, -1.0, 0.0, 0.29, 0.3, 0.99, 1.0, 2.0]),
    st.booleans(),
)
def test_the_limit_that_made_a_status_is_found_from_it(loss, rate, counts):
    """That of the loss where it explains the status, else that of the rate, which then must have counted."""
    (status,) = statuses(np.array([loss]), np.array([rate]), np.array([counts]), TrendLimits()).tolist()
    found = deciding_limit(status, loss, rate, TrendLimits())
    assert (found is None) == (status in ("ok", "unknown"))
    if found is None:
        return
    assert (found.status, found.side) == (status, "above")
    assert found.value == {"loss": loss, "rate": rate}[found.quantity] >= found.limit
    assert found.limit == getattr(TrendLimits(), f"{status}_{found.quantity}")
    alone = statuses(np.array([loss]), np.array([rate]), np.array([False]), TrendLimits()).item()
    assert found.quantity == ("loss" if alone == status else "rate")
    assert counts or found.quantity == "loss"


# --- the real month -------------------------------------------------------------------------------


def test_the_real_month_after_the_decontamination_has_no_step_and_no_loss(reference):
    """568 exposures of 2024-07-01 to 07-08, text without errors: flat within 4 standard errors."""
    lines = (reference / "vis_202407" / "vis-over-gaia-202407_long.txt").read_text().splitlines()
    words = [line.split() for line in lines if line.startswith("C_2024")]
    stamp = [w[0][2:17] for w in words]
    dates = np.array([f"{s[:4]}-{s[4:6]}-{s[6:8]}T{s[9:11]}:{s[11:13]}:{s[13:15]}" for s in stamp], "M8[us]")
    ratios = np.array([w[5:8] for w in words], dtype=float)
    found = place_trend(dates, ratios, unknown(ratios), **HOW)
    assert not found.steps
    assert (np.abs(found.rate[-1]) < 4 * found.rate_err[-1]).all()
    assert (found.rate_err[-1] < 0.5).all()
    assert (np.abs(found.model) < 5).all()
    assert (found.status == "ok").all()
    assert 3 < np.median(found.loss_err) < 10
    assert "losses are relative to 2024-07-01" in found.notes[0]
