"""Content of each page: plain values for the templates, from the data model and the existing files."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from visql_lib.config import Settings
from visql_lib.errors import TableError
from visql_lib.frames.mosaic import ZOOM_POSITIONS as ZOOMS
from visql_lib.products.pages import Pages, pages_of
from visql_lib.products.registry import Per, Registry, Stage
from visql_lib.qc.evaluate import NOT_JUDGED, QCResult
from visql_lib.qc.limits import Epoch, Thresholds
from visql_lib.qc.quantity import Quantities, Quantity
from visql_lib.qc.sentences import limits_text
from visql_lib.qc.summary import UNJUDGED, ExposureSummary, GroupSummary
from visql_lib.sheets.sheet import SheetRow
from visql_lib.site.products import (
    OTHERS,
    TABLES,
    Commands,
    creation_text,
    log_of,
    product_of,
    stage_of,
)
from visql_lib.site.steps import last_attempt, last_log_line
from visql_lib.tables.store import read_meta

_PICTURES = (".png", ".jpg")


class Stat(NamedTuple):
    """Size [bytes] and modification time [ns] of a file."""

    size: int
    mtime: int


def stat_of(path: Path) -> Stat:
    """Return size and time of a file; zeros if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return Stat(0, 0)
    return Stat(stat.st_size, stat.st_mtime_ns)


def files_in(folder: Path) -> dict[str, Stat]:
    """List the files of a folder by name; none if there is no such folder."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file():
                    stat = entry.stat()
                    found[entry.name] = Stat(stat.st_size, stat.st_mtime_ns)
    except OSError:
        return {}
    return dict(sorted(found.items()))


def files_named(files: Mapping[str, Stat], exposure: str, exposures: Collection[str]) -> dict[str, Stat]:
    """Select the files of an exposure: with a ``light_10``, its ``light_10.fits`` is none of ``light_1``."""
    mine = {name: stat for name, stat in files.items() if name.startswith(exposure)}
    longer = tuple(e for e in exposures if len(e) > len(exposure) and e.startswith(exposure))
    return {name: stat for name, stat in mine.items() if not longer or not name.startswith(longer)}


@dataclass(frozen=True)
class ShownFile:
    """A file on a page. ``path`` is relative to the results; width and height [px] are 0 where not known."""

    name: str
    path: str
    title: str
    size: int
    ending: str
    made: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class MissingOfExposure:
    """Missing products of one exposure, which one rule should have made."""

    rule: str
    endings: tuple[str, ...]
    reason: str
    command: str
    log: str = ""  # relative to the results, "" if there is none


class MeasuredValue(NamedTuple):
    """A measured number with its limits; ``reason``: why it was not evaluated."""

    quantity: Quantity
    value: float
    limits: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Folder:
    """The context of an exposure's page, beside its `ExposureSummary`."""

    registry: Registry
    row: SheetRow
    files: Mapping[str, Stat]
    results: Path
    settings: Settings
    config: str
    metas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def exposure_page(exposure: ExposureSummary, folder: Folder, thresholds: Thresholds) -> dict[str, Any]:
    """Compose the content of the page of an exposure."""
    commands, pages = _commands(exposure, folder), pages_of(folder.registry)
    shown = [_shown(name, stat, exposure, folder, commands.metas) for name, stat in folder.files.items()]
    pictures = [s for s in shown if s.ending.endswith(_PICTURES)]
    by_ending = {s.ending: s for s in pictures}
    order = {ending: i for i, ending in enumerate(folder.registry.frame_products)}
    groups: dict[str, list[ShownFile]] = {}
    for item in sorted(pictures, key=lambda s: order.get(s.ending, len(order))):
        if item.ending[1:3] not in ZOOMS and item.ending != pages.frame_picture:
            groups.setdefault(product_of(folder.registry, item.ending).section, []).append(item)
    return {
        "e": exposure,
        "facts": header_facts(exposure, folder.row, pages),
        "measured": measured(exposure, thresholds, folder.registry.quantities),
        "epoch": _epoch(exposure, thresholds),
        "frame": by_ending.get(pages.frame_picture),
        "zooms": [by_ending[f"_{z}.png"] for z in ZOOMS if f"_{z}.png" in by_ending],
        "groups": groups,
        "files": [s for s in shown if s not in pictures and _is_listed(s, folder.registry)],
        "failed": sorted({str(m["failed"]) for m in commands.metas.values() if m.get("failed")}),
        "commands": _made_by(exposure, folder, commands),
        "lacks": missing_of_exposure(exposure, folder, commands),
        "raw": folder.row.file,
    }


def _is_listed(shown: ShownFile, registry: Registry) -> bool:
    return product_of(registry, shown.ending).section in (TABLES, OTHERS)


def _commands(exposure: ExposureSummary, folder: Folder) -> Commands:
    metas = {}
    for name in folder.files:
        if name.endswith(".parquet"):
            try:
                metas[name.removeprefix(exposure.name)] = read_meta(_folder(exposure, folder) / name)
            except TableError:
                continue  # it is listed with its size; its readers report the error
    return Commands(folder.registry, folder.row, exposure.group, folder.settings, folder.config, metas)


def _folder(exposure: ExposureSummary, folder: Folder) -> Path:
    return Path(folder.registry.grouping.stem(folder.results, exposure.group, exposure.name)).parent


def _shown(
    name: str, stat: Stat, exposure: ExposureSummary, folder: Folder, metas: Mapping[str, Mapping[str, Any]]
) -> ShownFile:
    ending = name.removeprefix(exposure.name)
    grouping = folder.registry.grouping
    stem = grouping.frame.format(**grouping.fields(exposure.group), exposure=exposure.name)
    path = f"{stem.rpartition('/')[0]}/{name}"
    width, height = png_size(folder.results / path) if ending.endswith(".png") else (0, 0)
    made = creation_text(metas.get(ending, {}))
    title = product_of(folder.registry, ending).title or name
    return ShownFile(name, path, title, stat.size, ending, made, width, height)


def png_size(path: Path) -> tuple[int, int]:
    """Read width and height of a PNG file [px] from its first bytes; 0, 0 if it is none."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return 0, 0
    if len(head) < 24 or head[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _made_by(exposure: ExposureSummary, folder: Folder, commands: Commands) -> list[dict[str, Any]]:
    """List the commands of an exposure's products in the order of the data flow."""
    endings = [name.removeprefix(exposure.name) for name in folder.files]
    endings += [name.removeprefix(exposure.name) for name in exposure.missing]
    rules: dict[str, list[str]] = {}
    for ending in endings:
        if stage := stage_of(folder.registry, ending, folder.row):
            rules.setdefault(stage.name, []).append(ending)
    return [
        {
            "rule": stage.name,
            "text": commands.of(stage),
            "endings": sorted(rules[stage.name]),
            "made": _newest(rules[stage.name], commands),
        }
        for stage in folder.registry.of(Per.FRAME)
        if stage.name in rules
    ]


def _newest(endings: Sequence[str], commands: Commands) -> str:
    return max((creation_text(commands.metas.get(ending, {})) for ending in endings), default="")


def missing_of_exposure(
    exposure: ExposureSummary, folder: Folder, commands: Commands | None = None
) -> list[MissingOfExposure]:
    """Group the missing products of an exposure by the rule that makes them."""
    if not exposure.missing:
        return []
    if commands is None:
        commands = Commands(folder.registry, folder.row, exposure.group, folder.settings, folder.config, {})
    by_stage: dict[Stage, list[str]] = {}
    for name in exposure.missing:
        ending = name.removeprefix(exposure.name)
        if stage := stage_of(folder.registry, ending, folder.row):
            by_stage.setdefault(stage, []).append(ending)
    found = []
    for stage, endings in by_stage.items():
        reason, log = _reason(stage, exposure, folder)
        found.append(
            MissingOfExposure(stage.name, tuple(endings), reason, commands.workflow(endings[:1]), log)
        )
    return found


def _reason(stage: Stage, exposure: ExposureSummary, folder: Folder) -> tuple[str, str]:
    """Explain why a stage did not make its products, and find its log."""
    needs = [
        path.format(exposure=exposure.name, **folder.registry.grouping.fields(exposure.group))
        for path in stage.needs
    ]
    lost = [name for name in map(os.path.basename, needs) if name not in folder.files]
    log = log_of(stage, folder.row, exposure.group)
    if lost:
        return f"needs {', '.join(lost)}", log if last_log_line(folder.results / log) else ""
    return last_attempt(folder.results, log)


def header_facts(exposure: ExposureSummary, row: SheetRow, pages: Pages) -> list[tuple[str, str]]:
    """Format the facts of the header as label and text; unknown ones are left out."""
    found = [
        (
            "Start (UTC)",
            f"{exposure.date_obs.replace('T', ' ')}" + (" from the name" * (row.date_source == "name")),
        ),
        ("Exposure time", _with_unit(exposure.exptime, "s", 2)),
        ("Type in the header", " / ".join(t for t in (row.img_t1, row.img_t2) if t)),
        *exposure.facts,
        *pages.header_facts(exposure, row),
        ("Right ascension", _with_unit(exposure.ra, "°", 5)),
        ("Declination", _with_unit(exposure.dec, "°", 5)),
        ("Position angle", _with_unit(exposure.pa, "°", 4)),
        ("Solar aspect angle", _with_unit(exposure.saa, "°", 2)),
        ("Alpha angle", _with_unit(exposure.alpha, "°", 2)),
        ("Raw frame", row.file),
        ("Sheet", f"{row.status}: {row.reason}" if row.reason else row.status),
    ]
    return [(label, text) for label, text in found if text]


def _with_unit(value: float | None, unit: str, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f} {unit}".replace("-", "−")


def measured(
    exposure: ExposureSummary, thresholds: Thresholds, quantities: Quantities
) -> list[MeasuredValue]:
    """List the numbers of an exposure with the limits they were compared with, and their meaning."""
    results = {r.quantity: r for r in exposure.results}
    return [
        _measured(quantity, results[quantity.name], thresholds)
        for quantity in quantities.shown
        if quantity.name in exposure.values
    ]


def _measured(quantity: Quantity, result: QCResult, thresholds: Thresholds) -> MeasuredValue:
    epoch = thresholds.from_day(result.epoch)
    limits = epoch.limits.get(quantity.name) if epoch is not None else None
    status = UNJUDGED if result.status == NOT_JUDGED else result.status
    return MeasuredValue(quantity, result.value, limits_text(limits), status, result.reason)


def _epoch(exposure: ExposureSummary, thresholds: Thresholds) -> Epoch | None:
    """Find the epoch of the limits used for an exposure, None where none was."""
    starts = [r.epoch for r in exposure.results if r.epoch]
    return thresholds.from_day(max(starts)) if starts else None


def shown_file(path: str, sizes: Callable[[str], int]) -> ShownFile:
    """Describe a product of a group for its page."""
    return ShownFile(Path(path).name, path, Path(path).stem.replace("_", " "), sizes(path), Path(path).suffix)


def files_of_group(
    group: GroupSummary, top: str, sizes: Callable[[str], int], elsewhere: Collection[str] = ()
) -> dict[str, Any]:
    """Sort a group's products for its page: those in folders below its own, `top`, apart from the others.

    `elsewhere` are those that sections of the page show.
    """

    def shown(paths: Sequence[str], nested: bool = False) -> list[ShownFile]:
        return [
            shown_file(p, sizes)
            for p in paths
            if ("/" in p.removeprefix(top)) == nested and p not in elsewhere
        ]

    return {
        "pictures": shown(group.pictures),
        "daily": shown(group.pictures, nested=True),
        "tables": [*shown(group.tables), *shown(group.texts), *shown(group.texts, nested=True)],
        "movies": shown(group.movies),
    }


def counted(exposures: Sequence[ExposureSummary], categories: Iterable[str]) -> dict[str, dict[str, int]]:
    """Count the exposures by status, per category and of all ("all")."""
    counts = {c: dict(Counter(e.statuses.get(c, "none") for e in exposures)) for c in categories}
    return {**counts, "all": dict(Counter(e.status for e in exposures))}
