"""Data model of the site, as plain values: pages are made from nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from visql_lib.qc.evaluate import QCResult
from visql_lib.qc.quantity import Quantities
from visql_lib.sheets.grouping import Grouping


@dataclass(frozen=True)
class Terms:
    """What a pipeline measures and how it groups frames, for those who write about it."""

    quantities: Quantities
    grouping: Grouping

    @property
    def categories(self) -> dict[str, str]:
        """What is evaluated, in the order of the pages: key -> label."""
        return self.quantities.categories

    def page_of_group(self, group: str) -> str:
        """Return the path of a group's page in the site."""
        return f"{self.grouping.plural}/{group}.html"


# Worst first. ``missing``: expected and not made; ``unjudged``: there are numbers and no limits for them, or
# they were not evaluated yet; ``none``: nothing to evaluate.
STATUSES = ("failed", "error", "warn", "missing", "unjudged", "ok", "none")
BAD = ("failed", "error", "warn", "missing")
UNJUDGED = "unjudged"
_NAMED = 3  # missing products that are named


@dataclass(frozen=True)
class StatusReason:
    """The reason of a status: the category, the status, and an explanation.

    ``of_group``: it is about the group, and the exposure has it from there.
    ``of_qc``: it repeats a QC result in words.
    """

    category: str
    status: str
    text: str
    of_group: bool = False
    of_qc: bool = False


@dataclass(frozen=True)
class ExposureSummary:
    """Everything the site shows of one exposure.

    ``results`` are the QC results of all its quantities. Times are ISO 8601, UTC;
    angles in deg, times in s, NaN never occurs but in QC results (None instead).
    """

    name: str
    group: str  # YYYYMM
    date_obs: str  # "" where not known
    frame_type: str
    cls: str  # exposure class, "" for other frames
    exptime: float | None
    obs_id: str
    ra: float | None
    dec: float | None
    pa: float | None
    saa: float | None
    alpha: float | None
    sheet_status: str  # of the exposure sheet
    sheet_reason: str
    statuses: dict[str, str] = field(default_factory=dict)  # by category
    findings: tuple[StatusReason, ...] = ()
    results: tuple[QCResult, ...] = ()
    missing: tuple[str, ...] = ()  # file names of expected products that are not there
    facts: tuple[tuple[str, str], ...] = ()  # what the group's tables say besides numbers: label and text

    @property
    def status(self) -> str:
        """The worst status of all categories."""
        return min(self.statuses.values(), key=STATUSES.index, default="none")

    @cached_property
    def values(self) -> dict[str, float]:
        """The values that are known, by qualified name."""
        return {r.quantity: r.value for r in self.results if math.isfinite(r.value)}


@dataclass(frozen=True)
class MissingProducts:
    """Missing products of a whole group, or of all groups, which one rule should have made.

    ``paths`` are as the workflow names them; ``log`` is relative to the folder of
    results, "" if it explains nothing; ``category`` that of the products.
    """

    rule: str
    paths: tuple[str, ...]
    reason: str
    log: str = ""
    category: str = ""

    @property
    def described(self) -> str:
        """Which products are missing, the first ones by name."""
        names = [Path(path).name for path in self.paths]
        return f"{', '.join(names[:_NAMED])}" + f" and {len(names) - _NAMED} more" * (len(names) > _NAMED)


@dataclass(frozen=True)
class GroupSummary:
    """One group: its exposures in order of time, its existing and missing products.

    Products are paths relative to the folder of results; ``expected`` is how many the
    settings ask for; ``results`` are the QC results of the group as a whole, and
    ``unjudged`` the kinds of tables whose quantities have none.
    """

    name: str  # YYYYMM
    exposures: tuple[ExposureSummary, ...]
    pictures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    movies: tuple[str, ...] = ()
    expected: int = 0
    missing: tuple[MissingProducts, ...] = ()
    results: tuple[QCResult, ...] = ()
    unjudged: tuple[str, ...] = ()
