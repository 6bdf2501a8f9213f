"""Skip exposures that are up to date.

Snakemake looks at every product of a job to find that there is nothing to do, which is most of what
planning a month costs. After a run, the fingerprint of each exposure whose jobs are all done is kept:
its products (names, sizes, times), and what they were made from. The next plan leaves out the jobs of
exposures whose fingerprints still hold; Snakemake takes their products for files that are there.
Anything else, and Snakemake judges for itself: other settings, stage versions or rules, a changed, new
or missing file, a target that was not yet made, a run that is asked for more than to make what is missing.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol

from visql_lib import __version__
from visql_lib.config.load import digest
from visql_lib.products.expected import GroupPlan, Row
from visql_lib.products.fingerprints import Fingerprints

log = logging.getLogger(__name__)


class CachePlan(GroupPlan, Protocol):
    """A pipeline's plan, as far as the cache of fingerprints depends on it."""

    def common(self) -> str:
        """Hash what all jobs share: settings, the instrument, installed programs."""

    def folder(self, group: str, exposure: str) -> str:
        """Compose the folder of an exposure's products."""

    def outside_files(self, group: str, row: Row) -> list[str]:
        """List the shared inputs of an exposure's products."""

    def outside_products(self, group: str, exposure: str) -> list[str]:
        """List an exposure's products in other folders."""


class UpToDateCache:
    """The fingerprints of a plan's exposures.

    Parameters
    ----------
    plan : CachePlan
        The plan, made just now.
    targets : collection of str or None
        What is to be made; None: nothing is left out and nothing kept.
    rules : iterable of Path
        The files of the workflow: where they change, no fingerprint holds.
    """

    def __init__(self, plan: CachePlan, targets: Collection[str] | None, rules: Iterable[Path]) -> None:
        # A path among the targets is for Snakemake: it must find the rule that makes it.
        by_name = targets is not None and not any("/" in t or "." in t for t in targets)
        self.plan, self._targets = plan, frozenset(targets or ()) if by_name else frozenset()
        self._key = self._common(rules) if self._targets else ""
        self._sources = dict(self._outside()) if self._targets else {}
        groups = plan.groups() if self._targets else ()
        self._kept = {group: Fingerprints(self._path(group), self._key) for group in groups}

    @cached_property
    def exposures(self) -> frozenset[str]:
        """The exposures that need no jobs."""
        return frozenset(
            exposure
            for group, kept in self._kept.items()
            for exposure in kept.entries
            if self._targets <= set(kept.notes.get(exposure, ()))
            and kept.holds(exposure, self._fingerprint(group, exposure))
        )

    def keep(self, unfinished: Collection[str] = ()) -> None:
        """Save the fingerprints of complete exposures at the end of a run.

        Parameters
        ----------
        unfinished : collection of str
            Exposures with jobs that failed, or were not begun.
        """
        for group, kept in self._kept.items():
            found, targets = {}, {}
            for row in self.plan.rows(group):
                name, now = row.exposure, self._fingerprint(group, row.exposure)
                if now is not None and name not in unfinished:
                    before = kept.notes.get(name, ()) if kept.holds(name, now) else ()
                    found[name], targets[name] = now, sorted({*self._targets, *before})
            kept.entries, kept.notes = found, targets
            try:
                kept.save()
            except OSError as error:  # a full disk: the run itself has ended well
                log.warning("%s: cannot be written (%s); everything is checked", kept.path, error.strerror)

    def _common(self, rules: Iterable[Path]) -> str:
        """Hash everything that all exposures share."""
        texts = [Path(path).read_text(encoding="utf-8") for path in sorted(rules)]
        return digest(self.plan.common(), self.plan.registry.versions, __version__, *texts)

    def _outside(self) -> Iterator[tuple[tuple[str, str], tuple[str, dict[str, str]]]]:
        """Yield, for each exposure, its row and the state of the other files it is made from, as of now."""
        for group in self.plan.groups():
            for row in self.plan.rows(group):
                others = self.plan.outside_files(group, row)
                yield (group, row.exposure), (str(row), {path: _stat(path) for path in others})

    def _fingerprint(self, group: str, exposure: str) -> str | None:
        """Compute the fingerprint of an exposure: its row, inputs and products; None if it does not exist."""
        folder = self.plan.folder(group, exposure)
        if (group, exposure) not in self._sources or not Path(folder).is_dir():
            return None
        row, others = self._sources[group, exposure]
        found = hashlib.sha256(row.encode())
        for path, state in others.items():
            # One that came since the plan was made came before the products it was made for.
            found.update(f"{path} {state or _stat(path)}\n".encode())
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                found.update(f"{entry.name} {_stat(entry.path)}\n".encode())
        for path in self.plan.outside_products(group, exposure):
            found.update(_stat(path).encode())
        return found.hexdigest()[:20]

    def _path(self, group: str) -> Path:
        return Path(self.plan.results) / "up_to_date" / f"{group}.json"


def _stat(path: str) -> str:
    """Read size and modification time of a file; "" if it does not exist."""
    try:
        stat = Path(path).stat()
    except OSError:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns}"
