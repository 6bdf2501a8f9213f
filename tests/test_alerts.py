"""Alerts: simulated days of exposures, real servers on this machine, an injected clock."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import math
import os
import pickle
import re
import signal
import socketserver
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from visql_lib.archives.credentials import Credentials
from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.notify import ping_heartbeat_url, post_json, send_mail
from visql_lib.archives.retry import RetryPolicy
from visql_lib.cli.alerts import command
from visql_lib.config import FetchSettings
from visql_lib.errors import ConfigError
from visql_lib.live.alerts import refresh
from visql_lib.live.errors import BusyError
from visql_lib.live.lock import InstanceLock
from visql_lib.photometry.trend_records import TrendLimits
from visql_lib.pipelines import settings_from_mapping
from visql_lib.pipelines.vis.quantities import QUANTITIES
from visql_lib.pipelines.vis.registry import REGISTRY
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.qc import trend_results
from visql_lib.qc.alerts import Alert, Notification, due, stamp, update, with_notification
from visql_lib.qc.checks import checks_of
from visql_lib.qc.evaluate import QCResult, evaluate, worst_status
from visql_lib.qc.feed import feed_text
from visql_lib.qc.history import history, history_text, parse_history
from visql_lib.qc.limits import LimitFile, Thresholds
from visql_lib.qc.messages import alerts_text, mail, parse_alerts
from visql_lib.qc.sentences import sentence
from visql_lib.qc.summary import ExposureSummary, GroupSummary, MissingProducts, StatusReason
from visql_lib.qc.table import day_of
from visql_lib.sheets.sheet import SheetRow, write_sheet

HASTE = RetryPolicy(attempts=2, first_delay=0.01, timeout=2.0)
DAYS = timedelta(days=30)
DAY = timedelta(days=1)
TERMS = REGISTRY.terms
LIMITS = LimitFile(
    "toy.yaml",
    "abc123",
    Thresholds.model_validate(
        {
            "epochs": [
                {
                    "from": "2024-01-01",
                    "psf.R2": {"warn_above": 2.5, "error_above": 3},
                    "detector.N_HOT": {"warn_above": 9},
                },
                {
                    "from": "2024-07-20",
                    "reason": "mirrors <heated>",
                    "psf.R2": {"warn_above": 2.8, "error_above": 3.2},
                    "psf.SCORE": {"warn_above": 27},
                },
            ]
        }
    ),
)
NS = {"a": "http://www.w3.org/2005/Atom"}
SECRET = "hook5ecret7790"
PASSWORD = "p4ss w0rd"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = utc("2024-07-14T06:00:00")


def judged(values: dict[str, float], date: str) -> tuple[QCResult, ...]:
    """QC results as the month's table has them."""
    return evaluate(values, LIMITS.thresholds, day_of(date or "NaT"), QUANTITIES).results


def exposure(date: str, R2: float | None = 2.3, **facts: Any) -> ExposureSummary:
    """An exposure whose status follows from the QC result of its R2."""
    results = judged({} if R2 is None else {"psf.R2": R2}, date)
    results = tuple(replace(r, frame="an exposure", date_obs=date) for r in facts.pop("results", results))
    status = worst_status(results)
    known: dict[str, Any] = {
        "name": f"C_{re.sub('[-:]', '', date).replace('T', '_')}_W_1",
        "group": date[:7].replace("-", ""),
        "date_obs": date,
        "frame_type": "SCIENCE",
        "cls": "long",
        "exptime": 560.0,
        "obs_id": "1",
        **dict.fromkeys(("ra", "dec", "pa", "saa", "alpha")),
        "sheet_status": "ok",
        "sheet_reason": "",
        "statuses": {"quality": "ok" if status == "not judged" else status, "acquisition": "ok"},
        "results": results,
        "findings": tuple(
            StatusReason("quality", r.status, sentence(r, QUANTITIES), of_qc=True)
            for r in results
            if r.is_bad
        ),
    }
    return ExposureSummary(**known | facts)


def night(day: str, *values: float) -> list[ExposureSummary]:
    return [exposure(f"{day}T{i // 2:02d}:{i % 2 * 30:02d}:00", v) for i, v in enumerate(values, 2)]


def months_of(*exposures: ExposureSummary) -> list[GroupSummary]:
    names = sorted({e.group for e in exposures})
    return [GroupSummary(name, tuple(e for e in exposures if e.group == name)) for name in names]


def step(
    previous: Sequence[Alert] | None,
    exposures: Sequence[ExposureSummary],
    now: datetime = NOW,
    limits: LimitFile = LIMITS,
) -> list[Alert]:
    months = months_of(*exposures)
    return update(previous, months, checks_of(months, TERMS), limits, now, DAYS, TERMS)


BAD_NIGHT = night("2024-07-13", *[2.3] * 5, *[2.7] * 30, *[3.4, 3.2], *[2.3])


# --- what is an alert


def test_a_bad_night_is_one_alert_with_value_limit_and_version() -> None:
    alerts = step(None, BAD_NIGHT)
    assert len(alerts) == 1
    found = alerts[0]
    assert found.id == "quality-psf.R2-20240713T033000"
    assert (found.category, found.metric, found.state, found.status) == ("quality", "psf.R2", "open", "error")
    assert (found.value, found.threshold, found.side) == (3.4, 3.0, "above")
    assert (found.threshold_file, found.threshold_epoch, found.threshold_hash) == (
        "toy.yaml",
        "2024-01-01",
        "abc123",
    )
    assert found.count == len(found.exposures) == 32
    assert found.first_seen == found.last_seen == "2024-07-14T06:00:00Z"
    assert found.link == "months/202407.html"
    assert found.exposures[0].link == f"exposures/202407/{found.exposures[0].name}.html"
    assert (found.exposures[0].value, found.exposures[0].threshold) == (2.7, 2.5)


def test_the_limits_of_the_epoch_of_the_day_hold() -> None:
    (found,) = step(None, night("2024-07-21", 2.7, 2.9), NOW + 8 * DAY)
    assert (found.count, found.status, found.threshold, found.threshold_epoch) == (
        1,
        "warn",
        2.8,
        "2024-07-20",
    )
    assert found.threshold_epoch_reason == "mirrors <heated>"
    _, text = mail([(found, "new")], "VISQL", TERMS)
    assert "epoch from 2024-07-20: mirrors <heated> (content abc123)" in text
    (before,) = step(None, BAD_NIGHT)
    assert before.threshold_epoch_reason == ""
    values = json.loads(alerts_text([found], LIMITS, NOW, TERMS))
    assert values["alerts"][0].pop("threshold_epoch_reason") == "mirrors <heated>"
    assert (
        parse_alerts(json.dumps(values), TERMS)[0].threshold_epoch_reason == ""
    )  # an older file is understood


def trend(cls: str, colour: float, loss: float, rate: float, status: str) -> list[QCResult]:
    """QC results of the flux loss of a class at a colour."""
    found = trend_results(loss, rate, 0.01, status, TrendLimits())
    return [replace(r, cls=cls, part=f"BP-RP {colour:g}") for r in found]


def month_with(
    name: str, results: Sequence[QCResult] = (), lacks: Sequence[MissingProducts] = ()
) -> GroupSummary:
    """A month of one good exposure of its last days; its exposures have what its trend says."""
    said = [
        StatusReason("photometry", r.status, "trend", of_group=True, of_qc=True) for r in results if r.is_bad
    ]
    statuses = {"photometry": said[0].status} if said else {}
    day = exposure(f"{name[:4]}-{name[4:]}-28T02:00:00", statuses=statuses, findings=tuple(said))
    return GroupSummary(name, (day,), results=tuple(results), missing=tuple(lacks))


def test_the_trend_of_the_newest_month_is_one_alert() -> None:
    def run_on(previous: Sequence[Alert] | None, now: datetime, *months: GroupSummary) -> list[Alert]:
        return update(previous, months, checks_of(months, TERMS), LIMITS, now, DAYS, TERMS)

    bad = [
        *trend("long", 0.75, 45.1, 0.5, "error"),
        *trend("long", 1.75, 3.0, 0.5, "warn"),
        *trend("short", 0.75, 3.0, 0.5, "ok"),  # a rate that is not significant
    ]
    june, july = month_with("202406"), month_with("202407", bad)
    first = run_on(None, utc("2024-07-29T00:00:00"), june, july)
    assert [(a.category, a.metric, a.status) for a in first] == [
        ("photometry", "trend.LOSS_long_BP-RP_0.75", "error"),
        ("photometry", "trend.LOSS_long_BP-RP_1.75", "warn"),
    ]
    assert (first[0].value, first[0].threshold, first[0].unit, first[0].side) == (45.1, 40, "mmag", "above")
    assert (first[1].value, first[1].threshold, first[1].unit) == (0.5, 0.3, "mmag/d")
    assert {a.link for a in first} == {"trends.html"}
    subject, text = mail([(first[0], "new")], "VISQL", TERMS)
    assert subject.endswith("flux loss at BP-RP 0.75, long exposures 45.1 mmag above 40, 1 month")
    subject, _ = mail([(first[1], "new")], "VISQL", TERMS)
    assert subject.endswith("rate of flux loss at BP-RP 1.75, long exposures 0.5 mmag/d above 0.3, 1 month")
    assert "since 2024-07-29T00:00:00Z\n" in text
    assert due(first[0], "mail", "error", DAY, utc("2024-07-29T00:00:00"), DAYS, TERMS) == "new"
    again = run_on(first, utc("2024-07-30T00:00:00"), june, july)
    assert [(a.id, a.first_seen) for a in again] == [(a.id, a.first_seen) for a in first]
    assert parse_alerts(alerts_text(again, LIMITS, NOW, TERMS), TERMS) == again
    clean = [r for colour in (0.75, 1.75) for r in trend("long", colour, 3.0, 0.01, "ok")]
    later = run_on(again, utc("2024-08-29T00:00:00"), june, july, month_with("202408", clean))
    assert {a.state for a in later} == {"closed"}


@pytest.mark.parametrize(
    ("loss", "rate", "status", "expected"),
    [
        (45.12, 0.01, "error", (45.12, "error_loss", "mmag")),
        (40.0, 0.01, "error", (40.0, "error_loss", "mmag")),  # at a limit it is beyond it
        (1.0, 3.21, "error", (3.21, "error_rate", "mmag/d")),
        (25.0, 3.21, "error", (3.21, "error_rate", "mmag/d")),
        (25.0, 3.21, "warn", (25.0, "warn_loss", "mmag")),  # a rate that is not significant
        (1.0, 0.3, "warn", (0.3, "warn_rate", "mmag/d")),
    ],
)
def test_value_and_limit_of_the_trend_are_data(
    loss: float, rate: float, status: str, expected: tuple[float, str, str]
) -> None:
    month = month_with("202407", trend("long", 0.75, loss, rate, status))
    (alert,) = update(
        None, [month], checks_of([month], TERMS), LIMITS, utc("2024-07-29T00:00:00"), DAYS, TERMS
    )
    value, limit, unit = expected
    assert (alert.status, alert.side) == (status, "above")
    assert (alert.value, alert.threshold, alert.unit) == (value, getattr(TrendLimits(), limit), unit)


def test_missing_products_of_a_month_are_an_alert_per_category() -> None:
    lacks = [
        MissingProducts(
            "ratios",
            ("r/months/202407/ratios_202407.parquet",),
            "its log ends: <disk full>",
            "",
            "photometry",
        ),
        MissingProducts("movie", ("r/months/202407/XCOSMIX202407.mp4",), "never tried", "", "radiation"),
    ]
    month = month_with("202407", lacks=lacks)
    alerts = update(None, [month], checks_of([month], TERMS), LIMITS, utc("2024-07-29T00:00:00"), DAYS, TERMS)
    assert {(a.category, a.metric, a.status, a.link) for a in alerts} == {
        ("photometry", "month_missing", "missing", "missing.html#m202407"),
        ("radiation", "month_missing", "missing", "missing.html#m202407"),
    }
    _, text = mail([(a, "new") for a in alerts], "VISQL", TERMS)
    assert "1 month, products missing" in text
    assert "ratios_202407.parquet: its log ends: <disk full>" in text


def test_links_lead_to_the_site_from_anywhere(hook: Hook, post: Post, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url, mail_to=["a@x.org"], mail_server=post.address)
    address = "https://host.invalid/results/site/"
    served = settings.model_copy(update={"site": settings.site.model_copy(update={"url": address})})
    assert run(tmp_path, served, BAD_NIGHT) == []
    alert = hook.got[0]["alert"]
    assert alert["link"] == f"{address}months/202407.html"
    assert alert["exposures"][0]["link"].startswith(f"{address}exposures/202407/C_")
    message = email.message_from_bytes(post.mails[0], policy=email.policy.default)
    assert f"page: {address}months/202407.html" in message.get_content()
    feed = ET.fromstring((tmp_path / "results/site/feed.xml").read_text())
    assert {link.get("href") for link in feed.findall("a:link", NS)} == {
        f"{address}feed.xml",
        f"{address}index.html",
    }
    assert feed.find("a:entry/a:link", NS).get("href") == f"{address}months/202407.html"  # type: ignore[union-attr]
    assert written(tmp_path)[0].link == "months/202407.html"  # the site's own pages read this


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("", ""),
        ("https://host/site", "https://host/site/"),
        ("http://host:8000/", "http://host:8000/"),
        ("file:///data/results/site//", "file:///data/results/site/"),
    ],
)
def test_the_address_of_the_site(url: str, kept: str) -> None:
    assert settings_from_mapping({"site": {"url": url}}, "test").site.url == kept


@pytest.mark.parametrize(
    "url",
    ["host/site", "ftp://host/site", "https://", "file://data", "https://h/a b", "https://h/index.html", "http://h/?a=b", "http://[h/"],
)  # fmt: skip
def test_a_wrong_address_of_the_site_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"site\.url: must be"):
        settings_from_mapping({"site": {"url": url}}, "test")


def test_numbers_of_a_category_without_a_status_are_no_alert() -> None:
    unjudged = exposure("2024-07-13T03:00:00", 9.0, statuses={}, findings=())
    assert step(None, [unjudged]) == []


def test_states_are_alerts_with_their_texts() -> None:
    broken = exposure(
        "2024-07-13T02:00:00",
        None,
        statuses={"acquisition": "failed", "quality": "missing"},
        findings=(StatusReason("acquisition", "failed", "unreadable: <b>cut short</b>"),),
    )
    alerts = step(None, [broken, exposure("2024-07-13T04:00:00")])
    assert [(a.category, a.metric, a.status) for a in alerts] == [
        ("acquisition", "failed", "failed"),
        ("quality", "missing", "missing"),
    ]
    assert alerts[0].value is None
    assert alerts[0].threshold_file == ""
    assert alerts[0].exposures[0].text == "unreadable: <b>cut short</b>"


def dark(date: str, n_hot: float) -> ExposureSummary:
    """A DARK with its hot pixels, which are no column of the month's page."""
    results = judged({"detector.N_HOT": n_hot}, date)
    status = worst_status(results)
    facts: dict[str, Any] = {"frame_type": "DARK", "statuses": {"calibration": status}, "results": results}
    return exposure(date, None, findings=(), **facts)


def test_a_limited_quantity_the_site_does_not_show() -> None:
    hot = dark("2024-07-13T02:00:00", 30.0)
    alerts = step(None, [hot])
    assert [(a.metric, a.label, a.value, a.threshold) for a in alerts] == [
        ("detector.N_HOT", "hot pixels", 30.0, 9.0)
    ]
    later = step(alerts, [hot, dark("2024-07-14T03:00:00", 3.0)])
    assert {a.metric: a.state for a in later} == {"detector.N_HOT": "closed"}


def test_a_state_beside_a_number_is_told_too() -> None:
    said = (StatusReason("calibration", "warn", "the lamp was on"),)
    hot = replace(dark("2024-07-13T02:00:00", 30.0), findings=said)
    alerts = step(None, [hot])
    assert [(a.metric, a.value) for a in alerts] == [("detector.N_HOT", 30.0), ("warn", None)]
    assert alerts[1].exposures[0].text == "the lamp was on"


def test_an_alert_keeps_its_numbers_when_its_sentence_is_reworded(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers() -> list[tuple[str, float | None, float | None, str]]:
        month = month_with("202407", trend("long", 0.75, 45.0, 0.5, "error"))
        months = [*months_of(*BAD_NIGHT, dark("2024-07-13T02:00:00", 30.0)), month]
        alerts = update(None, months, checks_of(months, TERMS), LIMITS, NOW, DAYS, TERMS)
        return [(a.metric, a.value, a.threshold, a.side) for a in alerts]

    before = numbers()
    assert {value for _, value, _, _ in before} == {3.4, 45.0, 30.0}
    monkeypatch.setattr("visql_lib.qc.checks.sentence", lambda *_: "it is not as it should be")
    monkeypatch.setattr(sys.modules[__name__], "sentence", lambda *_: "it is not as it should be")
    assert numbers() == before


def test_an_unreadable_frame_without_date_lasts_until_mended() -> None:
    lost = exposure("", None, name="X", group="202407", statuses={"acquisition": "failed"})
    alerts = step(None, [lost])
    assert [(a.id, a.state) for a in alerts] == [("acquisition-failed-20240714T060000", "open")]
    assert due(alerts[0], "mail", "error", DAY, NOW, DAYS, TERMS) == "new"
    mended = step(alerts, [exposure("2024-07-13T02:00:00", name="X")], NOW + DAY)
    assert [(a.state, a.closed, a.why_closed) for a in mended] == [
        ("closed", "2024-07-15T06:00:00Z", "mended, judged anew, or removed")
    ]
    again = step(mended, [lost], NOW + 2 * DAY)
    assert [(a.id, a.state) for a in again] == [
        ("acquisition-failed-20240716T060000", "open"),
        ("acquisition-failed-20240714T060000", "closed"),
    ]


# --- its life


def test_an_alert_lasts_closes_after_a_good_day_and_keeps_its_identity() -> None:
    first = step(None, BAD_NIGHT)
    good = [*BAD_NIGHT, *night("2024-07-14", 2.3, 2.3)]  # hours later: too early to say
    second = step(first, good, NOW + timedelta(hours=3))
    assert [(a.id, a.state, a.first_seen, a.changed) for a in second] == [
        (first[0].id, "open", first[0].first_seen, first[0].changed)
    ]
    assert second[0].last_seen == "2024-07-14T09:00:00Z"
    third = step(second, [*good, *night("2024-07-15", *[2.3] * 40)], NOW + DAY)
    assert [(a.id, a.state, a.why_closed) for a in third] == [(first[0].id, "closed", "within limits again")]
    assert (third[0].closed, third[0].last_seen) == ("2024-07-15T06:00:00Z", "2024-07-14T09:00:00Z")
    worse = [*good, *night("2024-07-15", *[2.3] * 40), *night("2024-07-17", 2.9)]
    fourth = step(third, worse, NOW + 4 * DAY)
    assert [(a.state, a.first_exposure[:10]) for a in fourth] == [
        ("open", "2024-07-17"),
        ("closed", "2024-07-13"),
    ]


def test_exposures_that_come_late_do_not_make_another_alert() -> None:
    early, late = night("2024-07-13", 2.9, 2.9), night("2024-07-12", *[2.3] * 40, 2.9, 2.9)
    first = step(None, early)
    second = step(first, [*early, *late])
    assert [(a.id, a.count, a.first_seen) for a in second] == [(first[0].id, 4, first[0].first_seen)]


def test_a_pause_of_the_mission_closes_nothing_until_the_look_back_ends() -> None:
    first = step(None, BAD_NIGHT)
    assert step(first, BAD_NIGHT, NOW + 20 * DAY)[0].state == "open"
    other = exposure("2024-08-20T02:00:00", None, statuses={"quality": "none"})  # something newer, not judged
    later = step(first, [*BAD_NIGHT, other], NOW + 40 * DAY)
    assert [(a.state, a.why_closed) for a in later] == [("closed", "nothing newer for 30 d")]
    assert step(later, [*BAD_NIGHT, other], NOW + 450 * DAY) == []  # forgotten


def older(text: str) -> str:
    """What alerts.json, or the history of status, held before quantities had qualified names."""
    for new, old in (
        ("psf.R2", "R2"),
        ("detector.N_HOT", "N_HOT"),
        ("trend.LOSS_long_BP-RP_", "flux_loss_long_"),
    ):
        text = text.replace(new, old)
    return text


def test_alerts_under_their_former_names_go_on() -> None:
    """Nothing is told twice, nothing ends silently: also while a month has no table of QC results yet."""
    months = [*months_of(*BAD_NIGHT), month_with("202406", trend("long", 0.75, 45.0, 0.5, "error"))]
    first = [
        with_notification(a, "mail", NOW)
        for a in update(None, months, checks_of(months, TERMS), LIMITS, NOW, DAYS, TERMS)
    ]
    text = older(alerts_text(first, LIMITS, NOW, TERMS))
    assert '"metric": "R2"' in text
    assert '"metric": "flux_loss_long_0.75"' in text
    before = parse_alerts(text, TERMS)
    assert [a.metric for a in before] == ["trend.LOSS_long_BP-RP_0.75", "psf.R2"]
    assert [a.metric for a in first] == [a.metric for a in before]
    assert before[1].id == "quality-R2-20240713T033000"  # what its messages and the feed know it by

    def occasions(alerts: Sequence[Alert], now: datetime) -> list[tuple[str, str, str]]:
        return [(a.id, a.state, due(a, "mail", "warn", 10 * DAY, now, DAYS, TERMS)) for a in alerts]

    nobody = [
        replace(
            m,
            unjudged=QUANTITIES.tables,
            results=(),
            exposures=tuple(unjudged(e) for e in m.exposures),
        )
        for m in months
    ]
    later = NOW + timedelta(hours=3)
    waiting = update(before, nobody, checks_of(nobody, TERMS), LIMITS, later, DAYS, TERMS)
    assert sorted(occasions(waiting, later)) == sorted((a.id, "open", "") for a in before)
    again = update(waiting, months, checks_of(months, TERMS), LIMITS, later, DAYS, TERMS)
    assert sorted(occasions(again, later)) == sorted((a.id, "open", "") for a in before)
    assert update(before, months, checks_of(months, TERMS), LIMITS, later, DAYS, TERMS) == again


def test_alerts_wait_while_their_own_table_is_not_there() -> None:
    months = months_of(*BAD_NIGHT, dark("2024-07-13T02:00:00", 30.0))
    first = update(None, months, checks_of(months, TERMS), LIMITS, NOW, DAYS, TERMS)
    assert {a.metric for a in first} == {"psf.R2", "detector.N_HOT"}
    gone = [replace(e, results=(), statuses={"quality": "missing"}, findings=()) for e in BAD_NIGHT]
    without = [replace(m, unjudged=("psfmoments",)) for m in months_of(*gone)]
    later = update(first, without, checks_of(without, TERMS), LIMITS, NOW + timedelta(hours=1), DAYS, TERMS)
    states = {a.metric: a.state for a in later}
    assert states == {"psf.R2": "open", "detector.N_HOT": "closed", "missing": "open"}


def unjudged(one: ExposureSummary) -> ExposureSummary:
    """An exposure whose numbers nobody judged yet."""
    results = tuple(replace(r, status="not judged", side="", limit=math.nan) for r in one.results)
    return replace(one, results=results, statuses={"quality": "unjudged"}, findings=())


def test_the_history_under_former_names_goes_on() -> None:
    months = months_of(*BAD_NIGHT)
    rows = history([], months, checks_of(months, TERMS), TERMS)
    assert parse_history(older(history_text(rows, LIMITS)), TERMS) == rows
    every = QUANTITIES.tables
    nobody = [replace(m, unjudged=every, exposures=tuple(unjudged(e) for e in m.exposures)) for m in months]
    kept = history(rows, nobody, checks_of(nobody, TERMS), TERMS)
    assert [r for r in kept if r[2] == "psf.R2"] == [r for r in rows if r[2] == "psf.R2"] != []
    assert not [r for r in kept if r[1] == "quality" and r[2] == "status"]  # not judged is never ok


def test_other_limits_close_and_reopen() -> None:
    wide = LimitFile(
        "wide.yaml",
        "f",
        Thresholds.model_validate({"epochs": [{"from": "2024-01-01", "psf.R2": {"warn_above": 9}}]}),
    )
    first = step(None, BAD_NIGHT)
    fine = [
        replace(e, statuses={"quality": "ok"}, findings=(), results=(replace(r, status="ok", side=""),))
        for e in BAD_NIGHT
        for r in e.results
    ]
    closed = step(first, fine, NOW + timedelta(hours=1), wide)
    assert [(a.state, a.why_closed) for a in closed] == [("closed", "mended, judged anew, or removed")]
    again = step(closed, BAD_NIGHT, NOW + timedelta(hours=2))
    assert [(a.id, a.state, a.closed) for a in again] == [(first[0].id, "open", "")]


def test_a_date_in_the_future_does_not_hide_the_present() -> None:
    mad = exposure("2099-01-01T00:00:00")
    assert [a.state for a in step(None, [*BAD_NIGHT, mad])] == ["open"]


def test_a_month_processed_years_later_is_no_news() -> None:
    (found,) = step(None, BAD_NIGHT, NOW + 800 * DAY)
    assert found.state == "open"
    assert due(found, "mail", "warn", DAY, NOW + 800 * DAY, DAYS, TERMS) == ""


def test_an_alert_names_its_newest_exposures_and_counts_all() -> None:
    many = [
        exposure(f"2024-07-{d:02d}T{h:02d}:{m:02d}:00", 2.9)
        for d in (12, 13)
        for h in range(24)
        for m in range(0, 60, 5)
    ]
    (found,) = step(None, many)
    assert (found.count, len(found.exposures), found.exposures[-1].name) == (576, 200, many[-1].name)


# --- who is told when


def told(alert: Alert, now: datetime, state: str = "open", status: str = "error") -> Alert:
    return replace(alert, sent={"mail": Notification(1, stamp(now), state, status)})


def test_what_is_due() -> None:
    (found,) = step(None, BAD_NIGHT)

    def ask(alert: Alert, hours: float = 0.0, least: str = "error") -> str:
        return due(alert, "mail", least, DAY, NOW + timedelta(hours=hours), DAYS, TERMS)

    assert ask(found) == "new"
    assert ask(replace(found, status="warn")) == ""
    assert ask(replace(found, status="warn"), least="warn") == "new"
    assert ask(replace(found, status="missing"), least="warn") == ""
    known = told(found, NOW)
    assert [ask(known, h) for h in (0, 1, 23, 23.9, 24, 48)] == ["", "", "", "repeat", "repeat", "repeat"]
    assert ask(told(found, NOW, status="warn"), 1) == "worse"
    over = replace(known, state="closed")
    assert ask(over) == "closed"
    assert ask(told(over, NOW, "closed"), 100) == ""
    assert ask(told(found, NOW, "closed")) == "again"
    missed = replace(found, state="closed")
    assert [ask(missed), ask(missed, 30), ask(replace(missed, quiet=True))] == ["over", "", ""]


def test_what_was_over_before_anybody_looked_is_told_to_nobody() -> None:
    past = [*BAD_NIGHT, *night("2024-07-15", *[2.3] * 10)]
    (first,) = step(None, past, NOW + DAY)
    assert (first.state, first.quiet) == ("closed", True)
    (later,) = step([], past, NOW + DAY)  # but it is where a run looked before
    assert due(later, "mail", "error", DAY, NOW + DAY, DAYS, TERMS) == "over"


@hypothesis.settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from([2.3, 2.3, 2.7, 3.4]), st.integers(0, 6)), max_size=25
    )
)
def test_whatever_order_they_come_in(plan: list[tuple[int, float, int]]) -> None:
    """Exposures by hour, value and the run that first sees them; a run every 25 hours, all after the fact."""
    start = utc("2024-07-01T00:00:00")
    made = {h: (exposure(f"{start + timedelta(hours=h):%Y-%m-%dT%H:%M:%S}", v), n) for h, v, n in plan}
    alerts: list[Alert] | None = None
    messages: list[tuple[str, str]] = []
    for n in range(7):
        now = start + timedelta(hours=401 + 25 * n)
        seen = [e for e, first in made.values() if first <= n]
        alerts = step(alerts, seen, now)
        assert len({a.id for a in alerts}) == len(alerts)
        now_open = [a for a in alerts if a.state == "open"]
        assert len({a.key for a in now_open}) == len(now_open)
        assert [a.key for a in now_open] == [a.key for a in step(None, seen, now) if a.state == "open"]
        assert parse_alerts(alerts_text(alerts, LIMITS, now, TERMS), TERMS) == alerts
        check_feed(feed_text(alerts, "VISQL", TERMS))
        for i, alert in enumerate(alerts):
            if occasion := due(alert, "mail", "warn", DAY, now, DAYS, TERMS):
                messages.append((alert.id, occasion))
                alerts[i] = with_notification(alert, "mail", now)
                assert due(alerts[i], "mail", "warn", DAY, now, DAYS, TERMS) == ""
    for name in {name for name, _ in messages}:
        said = [occasion for other, occasion in messages if other == name]
        assert said[0] in ("new", "over")
        assert said.count("new") + said.count("over") == 1
        ends = [o for o in said if o in ("closed", "over", "again")]
        assert all(a != b for a, b in pairwise(ends))  # nothing closes twice


# --- the files


def test_json_comes_back_and_is_stable() -> None:
    alerts = step(None, [*BAD_NIGHT, exposure("2024-07-13T23:00:00", None, statuses={"quality": "failed"})])
    text = alerts_text(alerts, LIMITS, NOW, TERMS)
    assert parse_alerts(text, TERMS) == alerts
    shuffled = step(
        None, [*reversed(BAD_NIGHT), exposure("2024-07-13T23:00:00", None, statuses={"quality": "failed"})]
    )
    assert alerts_text(shuffled, LIMITS, NOW, TERMS) == text
    assert "NaN" not in text
    values = json.loads(text)
    assert values["thresholds"] == {"file": "toy.yaml", "hash": "abc123"}
    for broken in (
        "",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1, "alerts": [{}]}',
        '{"version": 1, "alerts": [3]}',
    ):
        with pytest.raises(ValueError, match=r"version|broken|Expecting"):
            parse_alerts(broken, TERMS)


def test_values_that_are_not_numbers_are_left_out() -> None:
    results = judged({"psf.R2": math.nan, "psf.e1": math.nan}, "2024-07-13T02:00:00")
    odd = exposure("2024-07-13T02:00:00", results=results)
    assert odd.values == {}
    assert step(None, [odd]) == []


def test_history_has_a_line_per_day_and_metric() -> None:
    days = [*BAD_NIGHT, *night("2024-07-21", 2.3, 2.9, 3.5)]
    rows = history([], months_of(*days), checks_of(months_of(*days), TERMS), TERMS)
    by_key = {row[:3]: row[3:] for row in rows}
    assert by_key["2024-07-13", "quality", "psf.R2"] == ((6, 30, 2, 0, 0), "2024-01-01")
    assert by_key["2024-07-21", "quality", "psf.R2"] == ((1, 1, 1, 0, 0), "2024-07-20")
    assert by_key["2024-07-13", "acquisition", "status"] == ((38, 0, 0, 0, 0), "")
    text = history_text(rows, LIMITS)
    assert parse_history(text, TERMS) == rows == sorted(rows)
    assert sum('"psf.R2"' in line for line in text.splitlines()) == 2
    august = night("2024-08-01", 2.3)
    more = history(rows, months_of(*august), checks_of(months_of(*august), TERMS), TERMS)
    assert [r for r in more if r[0] < "2024-08"] == rows  # months that are not looked at are kept
    fewer = history(more, months_of(*BAD_NIGHT), checks_of(months_of(*BAD_NIGHT), TERMS), TERMS)
    assert {r[0] for r in fewer} == {"2024-07-13", "2024-08-01"}  # those that are, are counted anew
    assert parse_history(history_text([], LIMITS), TERMS) == []


def check_feed(text: str) -> list[ET.Element]:
    """Check a feed as RFC 4287 wants it, return its entries."""
    root = ET.fromstring(text)
    assert root.tag == f"{{{NS['a']}}}feed"
    allowed = {"id", "title", "updated", "author", "generator", "link", "entry"}
    assert {child.tag.partition("}")[2] for child in root} <= allowed
    ids = []
    for element in (root, *root.findall("a:entry", NS)):
        for tag in ("id", "title", "updated"):
            (one,) = element.findall(f"a:{tag}", NS)
            assert one.text
            assert one.text.strip()
        ids.append(element.findtext("a:id", "", NS))
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", ids[-1])
        for tag in ("updated", "published"):
            for one in element.findall(f"a:{tag}", NS):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.text or "")
        links = [link.attrib for link in element.findall("a:link", NS)]
        assert len([link for link in links if link.get("rel") == "alternate"]) == 1
        assert all(re.fullmatch(r"[\w./%-]+(#\w+)?", link["href"]) for link in links)
    assert root.find("a:author/a:name", NS) is not None
    assert len(set(ids)) == len(ids)
    entries = root.findall("a:entry", NS)
    for entry in entries:
        (content,) = entry.findall("a:content", NS)
        assert content.get("type") == "text"
        assert len(content) == 0
    newest = max((e.findtext("a:updated", "", NS) for e in entries), default="")
    assert root.findtext("a:updated", "", NS) >= newest
    return entries


def test_the_feed_is_valid_escaped_and_stable() -> None:
    assert check_feed(feed_text([], "VISQL", TERMS)) == []
    evil = exposure(
        "2024-07-13T02:00:00",
        None,
        name='E"><script>alert(1)</script>&\x07\ud800',
        statuses={"acquisition": "failed"},
        findings=(StatusReason("acquisition", "failed", "<img src=x onerror=alert(1)>\x00]]>"),),
    )
    first = step(None, [*BAD_NIGHT, replace(evil, name="<E>&")])
    text = feed_text(first, "A <b>&amp;</b> title", TERMS)
    assert "<b>" not in text
    entries = check_feed(text)
    assert len(entries) == 2
    titles = [e.findtext("a:title", "", NS) for e in entries]
    assert "error: Image quality: R² 3.4 px² above 3, 32 exposures" in titles
    lasts = step(first, [*BAD_NIGHT, replace(evil, name="<E>&")], NOW + timedelta(hours=9))
    assert feed_text(lasts, "A <b>&amp;</b> title", TERMS) == text  # what merely lasts is no news
    closed = step(first, [*BAD_NIGHT, *night("2024-07-15", *[2.3] * 20)], NOW + DAY)
    anew = check_feed(feed_text(closed, "A <b>&amp;</b> title", TERMS))
    assert {e.findtext("a:id", "", NS) for e in anew} == {e.findtext("a:id", "", NS) for e in entries}
    dirty = check_feed(feed_text(step(None, [replace(evil, name="E\x07")]), "V", TERMS))
    assert "\ufffd" in (dirty[0].findtext("a:content", "", NS))


def test_the_mail_says_what_who_and_since_when() -> None:
    (one,) = step(None, BAD_NIGHT)
    subject, text = mail([(one, "new")], "VISQL", TERMS)
    assert subject == "VISQL: new: Image quality: R² 3.4 px² above 3, 32 exposures"
    assert "limit of toy.yaml, epoch from 2024-01-01 (content abc123)" in text
    assert "and 27 more" in text
    subject, _ = mail([(one, "repeat"), (replace(one, state="closed"), "closed")], "VISQL", TERMS)
    assert subject == "VISQL: 2 alerts (1 error, 1 closed)"


# --- servers


class Hook:
    """A real HTTP server that notes what it gets, and answers as the list of plans says (200 at its end)."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.plans: list[int] = []
        self.location = ""
        self.before_answer: Callable[[], None] = lambda: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(json.loads(body))
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                hook.asked.append(f"{self.command} {self.path}")
                hook.headers.append(dict(self.headers))
                hook.before_answer()
                status = hook.plans.pop(0) if hook.plans else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", hook.location)
                text = (
                    b""
                    if status == 200
                    else f"<p>No: {self.path} {self.headers['Authorization']}</p>".encode()
                )
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass  # clients that were killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}?token={SECRET}x"

    @property
    def keys(self) -> list[tuple[str, str]]:
        return [(v["key"], v["occasion"]) for v in self.got]


class Post:
    """A real SMTP server, small, that notes the mails it gets."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.said: list[str] = []
        self.logins: list[str] = []
        self.offers_auth = self.wants_auth = False
        self.refuses: dict[str, str] = {}  # first word of a command, or recipient, -> answer
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 here")
                allowed = False
                while line := self.rfile.readline().decode().strip():
                    verb = line.split()[0].upper()
                    post.said.append(line if verb != "AUTH" else "AUTH")
                    refusal = next((a for k, a in post.refuses.items() if k == verb or k in line), "")
                    if refusal:
                        self._say(refusal)
                    elif verb == "EHLO":
                        self._say("250-here\r\n250 AUTH PLAIN" if post.offers_auth else "250 here")
                    elif verb == "AUTH":
                        post.logins.append(line.split()[2])
                        allowed = base64.b64decode(line.split()[2]) == f"\0me\0{PASSWORD}".encode()
                        self._say("235 welcome" if allowed else f"535 wrong: {line.split()[2]} {PASSWORD}")
                    elif verb == "MAIL" and post.wants_auth and not allowed:
                        self._say("530 5.7.0 authentication required")
                    elif verb == "DATA":
                        self._say("354 go on")
                        self._data()
                    elif verb == "QUIT":
                        return self._say("221 bye")
                    else:
                        self._say("250 ok")
                return None

            def _data(self) -> None:
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
                post.mails.append(b"".join(lines))
                self._say("250 taken")

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from _served(Hook())


@pytest.fixture
def post() -> Iterator[Post]:
    yield from _served(Post())


def _served(one: Any) -> Iterator[Any]:
    thread = threading.Thread(target=one.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.fixture
def logins(tmp_path: Path) -> Callable[..., Credentials]:
    def make(text: str = "") -> Credentials:
        path = tmp_path / "netrc"
        path.write_text(text)
        path.chmod(0o600)
        return Credentials(FetchSettings(netrc=str(path)))

    return make


ENTRY = f'machine 127.0.0.1 login me password "{PASSWORD}"\n'


def test_webhook_gets_json_with_a_key(hook: Hook, logins: Any) -> None:
    post_json(hook.url, {"a": "ü"}, "k/1", logins(), HASTE)
    assert hook.got == [{"a": "ü"}]
    assert hook.headers[0]["Idempotency-Key"] == "k/1"
    assert hook.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in hook.headers[0]
    post_json(hook.url, {}, "k/2", logins(ENTRY), HASTE)
    assert hook.headers[1]["Authorization"].startswith("Basic ")


def test_webhook_tries_again_but_not_where_it_is_refused(hook: Hook, logins: Any) -> None:
    hook.plans = [503]
    post_json(hook.url, {}, "k", logins(), HASTE)
    assert len(hook.got) == 2
    hook.plans = [400]
    with pytest.raises(SourceError, match="refused with status 400") as caught:
        post_json(hook.url, {}, "k", logins(ENTRY), HASTE)
    assert len(hook.got) == 3
    hook.plans = [500, 500, 500]
    with pytest.raises(TransientError, match="status 500") as again:
        post_json(hook.url, {}, "k", logins(ENTRY), HASTE)
    for error in (caught.value, again.value):  # the page repeats address and login
        assert SECRET not in str(error)
        assert PASSWORD not in str(error)
        assert "Basic ***" in str(error)


def test_nobody_is_sent_on(hook: Hook, logins: Any) -> None:
    hook.location = hook.url + "/elsewhere"
    for status in (301, 302, 303, 307, 308):
        hook.plans = [status]
        with pytest.raises(SourceError, match="not followed") as caught:
            post_json(hook.url, {"secret": 1}, "k", logins(), HASTE)
        assert SECRET not in str(caught.value)
    hook.plans = [302]
    with pytest.raises(SourceError, match="not followed"):
        ping_heartbeat_url(hook.url, HASTE)
    assert len(hook.asked) == 6


def test_a_webhook_that_is_silent_or_not_there(hook: Hook, logins: Any) -> None:
    release = threading.Event()
    hook.before_answer = lambda: release.wait(5) and None
    with pytest.raises(TransientError, match=r"did not respond for 0\.2 s"):
        post_json(hook.url, {}, "k", logins(), RetryPolicy(1, timeout=0.2))
    release.set()
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1") as caught:
        post_json(f"http://127.0.0.1:1/{SECRET}", {}, "k", logins(), HASTE)
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigError, match="an address with @"):
        post_json(f"http://u:{SECRET}@h/", {}, "k", logins(), HASTE)
    with pytest.raises(ConfigError, match="unencrypted"):
        post_json("http://h.invalid/", {}, "k", logins("machine h.invalid login a password b\n"), HASTE)


def send(
    post: Post, credentials: Credentials, to: Sequence[str] = ("a@x.org", "b@x.org"), **more: Any
) -> list[str]:
    server = more.get("server", post.address)
    return send_mail(server, "visql@x.org", to, "R² is\nout", "Grüße\n.\nend\n", NOW, credentials, HASTE)


def test_mail_arrives_whole(post: Post, logins: Any) -> None:
    assert send(post, logins()) == []
    message = email.message_from_bytes(post.mails[0], policy=email.policy.default)
    assert message["Subject"] == "R² is out"
    assert message["To"] == "a@x.org, b@x.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOW
    assert "Grüße\n.\nend" in message.get_content().replace("\r\n", "\n")
    assert post.logins == []


def test_mail_logs_in_where_the_server_asks(post: Post, logins: Any) -> None:
    post.offers_auth = post.wants_auth = True
    with pytest.raises(SourceError, match=r"requires a login .* netrc"):
        send(post, logins())
    assert send(post, logins(ENTRY)) == []
    assert len(post.mails) == 1
    with pytest.raises(SourceError, match="does not accept the login") as caught:
        send(post, logins(f"machine 127.0.0.1 login you password {PASSWORD.split()[0]}\n"))
    token = base64.b64encode(f"\0you\0{PASSWORD.split()[0]}".encode()).decode()
    assert token not in str(caught.value)
    assert PASSWORD.split()[0] not in str(caught.value)


def test_mail_that_is_refused(post: Post, logins: Any) -> None:
    post.refuses = {"b@x.org": "550 no such user"}
    assert send(post, logins()) == [f"{post.address}: b@x.org not accepted (550 no such user)"]
    assert len(post.mails) == 1
    with pytest.raises(SourceError, match="none of the recipients"):
        send(post, logins(), ["b@x.org"])
    post.refuses = {"MAIL": "451 later"}
    with pytest.raises(TransientError, match="for now"):
        send(post, logins())
    assert sum(line.upper().startswith("MAIL") for line in post.said) == 4  # the last twice
    post.refuses = {"QUIT": "500 what?"}
    assert send(post, logins()) == []
    assert len(post.mails) == 2  # not again because of bad manners
    with pytest.raises(TransientError, match="cannot be reached"):
        send(post, logins(), server="127.0.0.1:1")
    for server in ("me:secret@h:25", "h:port", "", "smtp://h"):
        with pytest.raises(ConfigError) as caught:
            send(post, logins(), server=server)
        assert "secret" not in str(caught.value)
    for address in ("", "a", "@b", "a b@c", "a@", "a@b\nBcc: c@d"):
        with pytest.raises(ConfigError, match="no mail address"):
            send(post, logins(), [address])


# --- the whole


def settings_for(tmp_path: Path, **alerts: Any) -> VisSettings:
    (tmp_path / "netrc").touch(0o600)
    return settings_from_mapping({"alerts": alerts, "fetch": {"netrc": str(tmp_path / "netrc")}})


def run(
    tmp_path: Path,
    settings: VisSettings,
    exposures: Sequence[ExposureSummary],
    now: datetime = NOW,
    *,
    send: bool = True,
) -> list[str]:
    months = months_of(*exposures)
    return refresh(months, tmp_path / "results", settings, LIMITS, TERMS, now, send=send, policy=HASTE)


def written(tmp_path: Path) -> list[Alert]:
    return parse_alerts((tmp_path / "results/site/alerts.json").read_text(), TERMS)


def test_a_week_of_messages(hook: Hook, post: Post, tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, webhook=hook.url, mail_to=["a@x.org"], mail_server=post.address, dead_man=hook.url
    )
    known = list(BAD_NIGHT)
    for hour in range(0, 24 * 5, 6):  # a run every six hours; it is good again from the 15th on
        now = NOW + timedelta(hours=hour)
        if now > utc("2024-07-15T12:00:00"):
            known += night(f"{now - timedelta(hours=6):%Y-%m-%d}", 2.3)
        assert run(tmp_path, settings, known, now) == []
        if hour == 0:
            assert written(tmp_path)[0].sent["webhook"].times == 1
    name = "quality-psf.R2-20240713T033000"
    assert hook.keys == [(f"{name}/1", "new"), (f"{name}/2", "repeat"), (f"{name}/3", "closed")]
    assert len(post.mails) == 3
    assert sum(a.startswith("GET") for a in hook.asked) == 20
    subjects = [email.message_from_bytes(m, policy=email.policy.default)["Subject"] for m in post.mails]
    assert [s.split(":")[1].strip() for s in subjects] == ["new", "still", "closed"]
    (alert,) = written(tmp_path)
    assert {c: (t.times, t.state) for c, t in alert.sent.items()} == {
        "mail": (3, "closed"),
        "webhook": (3, "closed"),
    }
    check_feed((tmp_path / "results/site/feed.xml").read_text())
    for path in (tmp_path / "results").rglob("*"):
        assert not path.is_file() or SECRET not in path.read_text(), path
        assert not path.is_file() or "x.org" not in path.read_text(), path


def test_nothing_is_sent_unless_asked_for(hook: Hook, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url, dead_man=hook.url)
    assert run(tmp_path, settings, BAD_NIGHT, send=False) == []
    assert hook.asked == []
    assert written(tmp_path)[0].sent == {}
    assert run(tmp_path, settings, BAD_NIGHT) == []
    assert hook.keys == [("quality-psf.R2-20240713T033000/1", "new")]


def test_one_channel_that_fails_does_not_silence_the_other(hook: Hook, post: Post, tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, webhook=hook.url, mail_to=["a@x.org"], mail_server=post.address, dead_man=hook.url
    )
    hook.plans = [404]
    (failure,) = run(tmp_path, settings, BAD_NIGHT)
    assert failure.startswith("webhook: 1 of 1 messages: http://127.0.0.1:")
    assert SECRET not in failure
    assert not any(a.startswith("GET") for a in hook.asked)  # so that the dead man rings
    assert len(post.mails) == 1
    assert list(written(tmp_path)[0].sent) == ["mail"]
    assert run(tmp_path, settings, BAD_NIGHT, NOW + timedelta(hours=1)) == []
    assert [occasion for _, occasion in hook.keys] == ["new", "new"]
    assert len(post.mails) == 1


def test_a_dead_man_that_does_not_answer_is_told(hook: Hook, tmp_path: Path) -> None:
    hook.plans = [404]
    (failure,) = run(tmp_path, settings_for(tmp_path, dead_man=hook.url), BAD_NIGHT)
    assert failure.startswith("dead-man switch: http://127.0.0.1")
    assert SECRET not in failure


_CHILD = """
import pickle, sys
from itertools import pairwise
from pathlib import Path
from visql_lib.archives.retry import RetryPolicy
from visql_lib.live.alerts import refresh
from visql_lib.pipelines.vis.registry import REGISTRY
folder = Path(sys.argv[1])
months, settings, limits, now = pickle.loads((folder / "job").read_bytes())
print(refresh(months, folder / "results", settings, limits, REGISTRY.terms, now, send=True, policy=RetryPolicy(1, timeout=9.0)))
"""


def children(
    tmp_path: Path, settings: VisSettings, exposures: Sequence[ExposureSummary], n: int
) -> list[subprocess.Popen[str]]:
    (tmp_path / "job").write_bytes(pickle.dumps((months_of(*exposures), settings, LIMITS, NOW)))
    call = [sys.executable, "-c", _CHILD, str(tmp_path)]
    return [
        subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        for _ in range(n)
    ]


def test_who_dies_between_sending_and_writing_sends_again(hook: Hook, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url)
    failed = exposure("2024-07-13T23:50:00", None, statuses={"radiation": "failed"})
    running: list[subprocess.Popen[str]] = []

    def kill() -> None:
        if len(hook.got) == 2:  # it got the second of two, and has not said so
            os.kill(running[0].pid, signal.SIGKILL)
            running[0].wait(10)

    hook.before_answer = kill
    running += children(tmp_path, settings, [*BAD_NIGHT, failed], 1)
    running[0].communicate(timeout=20)
    assert running[0].returncode == -signal.SIGKILL
    assert [sorted(a.sent) for a in written(tmp_path)] == [["webhook"], []]
    hook.before_answer = lambda: None
    assert (
        run(tmp_path, settings, [*BAD_NIGHT, failed], NOW + timedelta(minutes=5)) == []
    )  # its lock is no hindrance
    second = ("quality-psf.R2-20240713T033000/1", "new")
    assert hook.keys == [("radiation-failed-20240713T235000/1", "new"), second, second]
    assert run(tmp_path, settings, [*BAD_NIGHT, failed], NOW + timedelta(minutes=9)) == []
    assert len(hook.got) == 3


def test_several_at_once_send_once(hook: Hook, post: Post, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url, mail_to=["a@x.org"], mail_server=post.address)
    hook.before_answer = lambda: threading.Event().wait(0.3) and None
    for child in children(tmp_path, settings, BAD_NIGHT, 3):
        out, err = child.communicate(timeout=30)
        assert (out.strip(), child.returncode) == ("[]", 0), err
    assert len(hook.got) == 1
    assert len(post.mails) == 1
    assert written(tmp_path)[0].sent["mail"].times == 1


def test_who_lost_the_lock_sends_nothing_more(hook: Hook, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url)
    failed = exposure("2024-07-13T23:50:00", None, statuses={"radiation": "failed"})
    hook.before_answer = lambda: (tmp_path / "results/watch/alerts.lock").unlink()
    (failure,) = run(tmp_path, settings, [*BAD_NIGHT, failed])
    assert "took over the lock" in failure
    assert len(hook.got) == 1


def test_waiting_for_another_one_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visql_lib.live.alerts._WAIT", 0.3)
    with (
        InstanceLock(tmp_path / "results/watch/alerts.lock", 900.0),
        pytest.raises(BusyError, match="in use by"),
    ):
        run(tmp_path, settings_for(tmp_path), BAD_NIGHT)


def test_a_broken_file_of_the_last_run_is_begun_anew(hook: Hook, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, webhook=hook.url)
    run(tmp_path, settings, BAD_NIGHT)
    for name in ("alerts.json", "status_history.json"):
        (tmp_path / "results/site" / name).write_text('{"version": 1, "al')
    assert run(tmp_path, settings, BAD_NIGHT) == []
    assert len(hook.got) == 2
    assert len(written(tmp_path)) == 1


# --- the command


@pytest.fixture
def config(tmp_path: Path, hook: Hook) -> Path:
    """Settings of results that hold one unreadable frame."""
    nan = float("nan")
    numbers = dict.fromkeys(("exptime", "ra", "dec", "pa", "saa", "alpha"), nan)
    words = dict.fromkeys(("obs_id", "calblkid", "calblkvr", "dithobs", "img_t1", "img_t2", "context"), "")
    row = SheetRow(
        exposure="C_20240713_032840_W_1.VIS.bin_01_01",
        file="raw/x.fits",
        frame_type="SCIENCE",
        date_obs="2024-07-13T03:28:40",
        date_source="name",
        status="unreadable",
        reason="cut <short>",
        size=1,
        mtime=1,
        **numbers,
        **words,
    )
    write_sheet(tmp_path / "results/exposures/202407.tsv", [row])
    (tmp_path / "netrc").touch(0o600)
    path = tmp_path / "visql.yaml"
    path.write_text(
        f"results: {tmp_path}/results\nalerts: {{webhook: {hook.url!r}}}\nfetch: {{netrc: {tmp_path}/netrc}}\n"
    )
    return path


def visql(*arguments: str) -> Any:
    return CliRunner().invoke(command, arguments)


def test_the_command_writes_and_sends(config: Path, hook: Hook, tmp_path: Path) -> None:
    at = ("--config", str(config), "--now", "2024-07-14T06:00:00")
    assert visql(*at).exit_code == 0
    assert hook.got == []
    hook.plans = [403]
    failed = visql(*at, "--send")
    assert failed.exit_code == 1
    assert "will be sent again" in str(failed.exception)
    assert SECRET not in str(failed.exception)
    alert, *others = written(tmp_path)
    assert (alert.key, alert.sent) == (("acquisition", "failed"), {})
    assert {a.metric for a in others} == {"month_missing"}  # nothing was made of the month: that is not told
    assert "cut <short>" in alert.exposures[0].text
    assert alert.link == "exposures/202407/C_20240713_032840_W_1.VIS.bin_01_01.html"
    assert visql(*at, "--send").exit_code == 0
    assert [v["occasion"] for v in hook.got] == ["new", "new"]
    assert [v["alert"]["id"] for v in hook.got] == [alert.id, alert.id]
    check_feed((tmp_path / "results/site/feed.xml").read_text())
    assert sorted(p.name for p in (tmp_path / "results/site").iterdir()) == [
        "alerts.json",
        "feed.xml",
        "status_history.json",
    ]


def test_the_command_without_any_results(tmp_path: Path) -> None:
    assert visql("--results", str(tmp_path / "none")).exit_code == 0
    assert json.loads((tmp_path / "none/site/alerts.json").read_text())["alerts"] == []
    wrong = visql("--now", "yesterday")
    assert wrong.exit_code == 2
    assert "is wanted" in wrong.output


def test_the_version_of_a_threshold_file_is_its_content(tmp_path: Path) -> None:
    ours = LimitFile.load("euclid_vis", QUANTITIES)
    assert (ours.name, len(ours.digest)) == ("euclid_vis.yaml", 12)
    assert ours.reason("2023-01-01").startswith("first limits")
    assert ours.reason("2020-01-01") == ours.reason("") == ""
    path = tmp_path / "mine.yaml"
    path.write_text("epochs:\n  - from: 2024-01-01\n    psf.R2: {warn_above: 2}\n")
    first = LimitFile.load(str(path), QUANTITIES)
    path.write_text("epochs:\n  - from: 2024-01-01\n    psf.R2: {warn_above: 3}\n")
    assert LimitFile.load(str(path), QUANTITIES).digest != first.digest
    assert first.name == "mine.yaml"
