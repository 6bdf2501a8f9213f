"""The plan of `visql fetch`: the archive's list compared with the frames that are here."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from visql_lib.archives.euclid import ListedProduct, Listing
from visql_lib.pipelines.vis.grouping import MONTHS
from visql_lib.pipelines.vis.schemas import archive_names as names
from visql_lib.pipelines.vis.schemas.archive_names import ArchiveRow
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.detector import ENDING as QUADRANTS_ENDING
from visql_lib.pipelines.vis.stages.fetch_products import (
    ArchiveProduct,
    LocalFrame,
    frames_in,
    newest_versions,
    parse_products,
    target_of,
)

log = logging.getLogger(__name__)

_REST = timedelta(days=1)  # before a file that the archive refused is requested again
_SHOWN = 5  # names in a message


@dataclass
class FetchPlan:
    """The archive's products with their states, and those to download, newest first."""

    rows: dict[str, ArchiveRow]
    missing: list[ArchiveProduct]
    replaced: dict[str, str] = field(default_factory=dict)  # exposure -> version of the present file
    unfinished: bool = False  # some of it is left for the next run

    @classmethod
    def of(
        cls,
        settings: VisSettings,
        folder: Path,
        listing: Listing,
        known: dict[str, ArchiveRow],
        month: str | None,
        again: bool,
        now: datetime,
    ) -> FetchPlan:
        """Compare the archive's list with the frames that are here."""
        products, unparsed = parse_products(listing.products)
        if unparsed:
            shown = ", ".join(unparsed[:_SHOWN])
            log.warning("%d products are not named like raw frames: %s", len(unparsed), shown)
        listed = {p.name for p in products if month in (None, p.month)}
        roots = {p.identity[0] for p in products if p.name in listed}  # their other versions
        others = [r for r in known.values() if r.exposure.rpartition(".bin_")[0] in roots]
        before, _ = parse_products(
            ListedProduct(r.archive_name, r.raw_name) for r in others if r.archive_name not in listed
        )
        everything = {p.name: p for p in (*before, *(p for p in products if p.name in listed))}
        newest, older = newest_versions(everything.values())
        places = [Path(name) for name in settings.raw]
        found = frames_in(places, settings.index.suffixes, now.timestamp())
        plan = cls({}, [])
        resolver = StateResolver(settings, folder, known, found, again, now)
        touched = {p.identity for p in everything.values() if p.name in listed}
        outdated = {p.name for p in older}
        for product in (*newest, *older):
            if product.identity not in touched:
                continue
            row = resolver.row(product)
            if product.name in outdated:
                plan.rows[product.name] = replace(row, state=names.OLDER)
                continue
            state, reason = resolver.state(product, plan.replaced)
            plan.rows[product.name] = replace(row, state=state, reason=reason)
            if state == names.MISSING:
                plan.missing.append(product)
        return plan


@dataclass(frozen=True)
class StateResolver:
    """Finds out the state of a product."""

    settings: VisSettings
    folder: Path
    known: dict[str, ArchiveRow]
    found: dict[str, LocalFrame]
    again: bool
    now: datetime

    def row(self, product: ArchiveProduct) -> ArchiveRow:
        """Build the row of a product, with the time it was seen first."""
        old = self.known.get(product.name)
        seen = old.first_seen if old else stamp(self.now)
        return ArchiveRow(product.exposure, product.name, product.raw, product.version, seen)

    def state(self, product: ArchiveProduct, replaced: dict[str, str]) -> tuple[str, str]:
        """Find state and reason; note in `replaced` the version of a file it replaces."""
        stem = product.exposure
        if stem in self.settings.known_bad:
            return names.LEFT_OUT, "listed in known_bad"
        target = target_of(self.folder, product)
        if (frame := self.found.get(stem)) is not None:
            version = "broken" if frame.broken else self._older_version(product)
            if not version:
                return names.HERE, ""
            if frame.path != target:
                reason = f"{frame.path} is {version}; remove it to have it downloaded again"
                log.warning("%s: %s", stem, reason)
                return (names.REFUSED if frame.broken else names.HERE), reason
            replaced[stem] = version
            return names.MISSING, f"{target.name} is {version}"
        made = f"{MONTHS.stem(self.settings.results, product.month, stem)}{QUADRANTS_ENDING}"
        if not self.again and os.path.isfile(made):  # noqa: PTH113 (Path takes longer, ten thousand times)
            return names.GONE, "its products are complete; --again downloads it"
        old = self.known.get(product.name)
        if old and old.state == names.REFUSED and not self.again and stamp(self.now - _REST) < old.tried:
            return names.REFUSED, old.reason
        return names.MISSING, ""

    def _older_version(self, product: ArchiveProduct) -> str:
        """Find the version of the file of this name that is here, if it is known to be an older one."""
        rows = self._here.get(product.exposure, [])
        return next((r.version for r in rows if r.archive_name != product.name), "")

    @cached_property
    def _here(self) -> dict[str, list[ArchiveRow]]:
        """The rows of frames that are here, by exposure."""
        rows: dict[str, list[ArchiveRow]] = {}
        for row in self.known.values():
            if row.state == names.HERE:
                rows.setdefault(row.exposure, []).append(row)
        return rows


def stamp(when: datetime) -> np.datetime64:
    """Convert a time to that of tables."""
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "us")
