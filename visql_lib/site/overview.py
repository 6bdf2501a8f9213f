"""The pages of all groups: front, missing, trends, calibration, about."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from visql_lib.config import Settings, find_data_file
from visql_lib.products.pages import Pages
from visql_lib.products.registry import Registry
from visql_lib.qc.limits import load_thresholds
from visql_lib.qc.summary import STATUSES
from visql_lib.site.pages import ShownFile

_PACKAGES = ("numpy", "scipy", "astropy", "pyarrow", "matplotlib", "jinja2", "bokeh", "pillow", "snakemake")
_ALERTS = 12  # that the front page names
_OF_ALERT = (
    *("label", "metric", "category", "status", "value", "threshold", "side", "unit"),
    *("first_exposure", "count", "link"),
)
_FRAMES = 500
_SECRET = ("webhook", "dead_man")  # addresses that may hold a key

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Day:
    """A day of the front page: its counts of statuses by category."""

    day: str
    group: str  # "" without a page
    counts: Counts

    def worst(self, category: str) -> str:
        """The worst status of the day; "none" without exposures."""
        return min(self.counts.get(category, {}), key=STATUSES.index, default="none")

    def n(self, category: str) -> int:
        """Exposures with something to judge."""
        return sum(n for status, n in self.counts.get(category, {}).items() if status != "none")


@dataclass(frozen=True)
class Overview:
    """Content of the pages of all groups, from the summary of each group."""

    results: Path
    out: Path
    settings: Settings
    groups: Mapping[str, dict[str, Any]]
    now: datetime
    registry: Registry
    pages: Pages

    def front(self) -> dict[str, Any]:
        """Compose the content of the front page."""
        days = self._days()
        last = days[-1].counts if days else {}
        return {
            "days": days,
            "past": bool(days) and days[-1].day != f"{self.now:%Y-%m-%d}",
            "tiles": [
                (key, label, last.get(key, {}), _sum(days, key))
                for key, label in self.registry.terms.categories.items()
            ],
            "newest": self._newest(),
            "groups": [(name, self.groups[name]) for name in sorted(self.groups, reverse=True)],
            "alerts": self._alerts(),
            "heartbeat": (self.results / "watch" / "heartbeat.js").is_file(),
            "feed": (self.out / "feed.xml").is_file(),
        }

    def _days(self) -> list[Day]:
        """List the last days up to today, or up to the newest exposure if that is long ago."""
        known = {
            day: (name, counts) for name, m in self.groups.items() for day, counts in m["days"].items() if day
        }
        length, last = timedelta(days=self.settings.site.days - 1), self.now.date()
        if not known:
            return []
        newest = date.fromisoformat(max(known))
        if newest < last - length:
            last = newest
        days = [last - length + timedelta(days=n) for n in range(self.settings.site.days)]
        return [Day(f"{d}", *known.get(f"{d}", (self._group_of(f"{d}"), {}))) for d in days]

    def _group_of(self, day: str) -> str:
        """Find the group that a day without exposures belongs to, "" if there is none."""
        shown = self.registry.grouping.shown
        return next((group for group in self.groups if day.startswith(shown(group))), "")

    def _newest(self) -> list[dict[str, Any]]:
        rows = [(name, row) for name, m in self.groups.items() for row in m["newest"]]
        rows.sort(key=lambda item: item[1][1], reverse=True)
        keys = ("name", "date", "type", "cls", "status")
        found = []
        for group, row in rows[:12]:
            entry = {"group": group, **dict(zip(keys, row, strict=True))}
            small = f"thumbs/{group}/{entry['name']}.jpg"
            found.append({**entry, "thumb": small if (self.out / small).is_file() else ""})
        return found

    def _alerts(self) -> list[dict[str, Any]]:
        """Read the open alerts; none if the file is missing or cannot be parsed."""
        try:
            values = json.loads((self.out / "alerts.json").read_text(encoding="utf-8"))
            alerts = [dict(a) for a in values["alerts"] if a["state"] == "open"]
        except (OSError, ValueError, TypeError, KeyError):
            return []
        kind = self.registry.grouping.kind
        found = [{key: alert.get(key) for key in _OF_ALERT} for alert in alerts[:_ALERTS]]
        for alert, whole in zip(found, alerts, strict=False):
            names = [(e.get("name"), e.get(kind)) for e in whole.get("exposures", ())]
            alert["noun"] = kind if names and all(name == group for name, group in names) else "exposure"
            if alert["status"] not in STATUSES:
                alert["status"] = "none"
            alert["link"] = _inside(self.out, str(alert["link"] or ""), self.groups)
        return found

    def missing(self, of_all: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """Compose the page of missing products, of all groups (see `data.missing_of_group`) and by group."""
        keys = ("expected", "lost", "n_lacking", "lacking", "unreadable", "n", "own")
        return {
            "of_all": of_all,
            "groups": [
                (name, {k: self.groups[name][k] for k in keys}) for name in sorted(self.groups, reverse=True)
            ],
        }

    def trends(self) -> dict[str, Any]:
        """Compose the page of the pictures, tables and movies of all groups."""
        return {"groups": self.pages.timeline(_files(self.results, "timeline", "**/*"))}

    def calibration(self) -> dict[str, Any]:
        """Compose the page of calibration frames and pictures of the detectors, newest first."""
        frames = [
            {
                "group": name,
                **dict(zip(("name", "date", "type", "cls", "status", "values"), row, strict=True)),
            }
            for name in sorted(self.groups, reverse=True)
            for row in self.groups[name]["frames"]
        ]
        pictures = [
            (name, _files(self.results, self._folder(name), "detector_*.png"))
            for name in sorted(self.groups, reverse=True)
        ]
        return {
            "frames": frames[:_FRAMES],
            "total": len(frames),
            "pictures": [(name, found) for name, found in pictures if found],
            "types": sorted({f["type"] for f in frames}),
        }

    def _folder(self, group: str) -> str:
        grouping = self.registry.grouping
        return grouping.folder.format(**grouping.fields(group))

    def about(self) -> dict[str, Any]:
        """Compose the page of versions, settings and limits."""
        values = self.settings.in_order()
        for name in _SECRET:
            if values["alerts"].get(name):
                values["alerts"][name] = "(set; not shown)"
        limits = find_data_file("thresholds", self.settings.thresholds)
        return {
            "packages": [("Python", platform.python_version()), *((p, _version(p)) for p in _PACKAGES)],
            "stages": sorted(self.registry.versions.items()),
            "settings": yaml.safe_dump(values, sort_keys=False, allow_unicode=True),
            "limits_name": limits.name,
            "epochs": load_thresholds(self.settings.thresholds, self.registry.quantities).epochs,
            "limits": limits.read_text(encoding="utf-8"),
        }


def _sum(days: Iterable[Day], category: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for day in days:
        found.update(day.counts.get(category, {}))
    return dict(found)


def _inside(out: Path, link: str, groups: Collection[str]) -> str:
    """Check a link: returned if it leads to a page of the site and an existing group, else ""."""
    page, _, place = link.partition("#")
    if not page or ".." in page or ":" in page or not (out / page).is_file():
        return ""
    if page == "missing.html" and place.removeprefix("m") not in groups:
        return page
    return f"{page}#{place}" if place else page


def _files(results: Path, folder: str, pattern: str = "*") -> list[ShownFile]:
    paths = [
        p for p in sorted((results / folder).glob(pattern)) if p.is_file() and not p.name.startswith(".")
    ]
    return [
        ShownFile(
            p.name,
            p.relative_to(results).as_posix(),
            p.stem.replace("_", " "),
            p.stat().st_size,
            p.suffix,
        )
        for p in paths
    ]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
