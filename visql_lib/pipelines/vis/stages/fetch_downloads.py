"""The downloads of `visql fetch`."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from visql_lib.archives.credentials import CredentialsError
from visql_lib.archives.download import StoppedError, download
from visql_lib.archives.errors import (
    ForbiddenError,
    MissingError,
    PasswordError,
    SourceError,
    TransientError,
)
from visql_lib.archives.euclid import FILE_HEADERS, file_url
from visql_lib.archives.parts import BrokenFileError, DiskFullError, DownloadBusyError, remove_stale
from visql_lib.archives.web import ArchiveClient
from visql_lib.errors import FrameError
from visql_lib.frames.header import BEFORE_NAME
from visql_lib.frames.look import inspect
from visql_lib.frames.raw_file import most_unpacked
from visql_lib.pipelines.vis.schemas import archive_names as names
from visql_lib.pipelines.vis.settings import VisSettings
from visql_lib.pipelines.vis.stages.fetch_plan import FetchPlan, stamp
from visql_lib.pipelines.vis.stages.fetch_products import ArchiveProduct, old_version_path, target_of
from visql_lib.products.context import Context

log = logging.getLogger(__name__)

_GIVE_UP = 3  # files in a row that failed: the archive is down, or refuses all
_STALE = 30 * 86_400.0  # s: parts that were not resumed are removed
_SHOWN = 5  # failures in a message


@dataclass
class Outcome:
    """The result of a run."""

    selection: str = ""
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)  # of states, before the run
    loaded: list[Path] = field(default_factory=list)
    size: int = 0  # bytes, unpacked
    received: int = 0  # bytes over the network
    seconds: float = 0.0
    busy: int = 0  # loaded by another process
    left: int = 0  # missing, and left for the next run
    failures: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)  # exposures, in a dry run

    @property
    def summary(self) -> str:
        """A few lines for the user."""
        states = ", ".join(f"{n} {state}" for state, n in sorted(self.counts.items())) or "nothing"
        lines = [f"{self.selection}: {states}"]
        if self.dry_run:
            lines += [*self.planned, f"{len(self.planned)} would be downloaded, {self.left} left for later"]
            return "\n".join(lines)
        rate = f" in {self.seconds:.0f} s" if self.loaded else ""
        text = f"{len(self.loaded)} downloaded ({self.size / 1e9:.3g} GB, "
        text += f"{self.received / 1e9:.3g} GB received{rate})"
        text += f", {len(self.failures)} failures, {self.left} left for later"
        lines.append(text + f", {self.busy} being downloaded by another process" * bool(self.busy))
        return "\n".join(lines)

    @property
    def failure_summary(self) -> str:
        """The failures, in one line."""
        more = len(self.failures) - _SHOWN
        return "; ".join(self.failures[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


class Downloads:
    """Downloads frames, some at once."""

    def __init__(
        self,
        context: Context[VisSettings],
        folder: Path,
        client: ArchiveClient,
        plan: FetchPlan,
        outcome: Outcome,
    ) -> None:
        self.settings = context.settings
        self.folder = folder
        self.client = client
        self.plan = plan
        self.outcome = outcome
        self.stop = threading.Event()
        self.instrument = context.instrument
        self.progress = context.progress
        self._checking = threading.Lock()  # warnings are of the whole process
        self._failures_in_a_row = 0

    def run(self, products: Sequence[ArchiveProduct]) -> None:
        """Download products until all are here, or further attempts make no sense."""
        remove_stale(self.folder, _STALE)
        start = datetime.now(UTC)
        started = 0
        # Closed also on an interruption: running downloads must not continue to their end.
        with self.progress("Loading", len(products)) as advance, closing(self._results(products)) as results:
            for product, future in results:
                started += 1
                self._take(product, future)
                advance()
        self.outcome.seconds = (datetime.now(UTC) - start).total_seconds()
        self.outcome.left += len(products) - started
        self.plan.unfinished |= self.outcome.left > 0

    def _results(self, products: Sequence[ArchiveProduct]) -> Generator[tuple[ArchiveProduct, Future[Any]]]:
        """Yield the downloads that ended; none is started after a stop."""
        waiting = list(reversed(products))
        running: dict[Future[Any], ArchiveProduct] = {}
        with ThreadPoolExecutor(self.settings.fetch.parallel) as pool:
            try:
                while running or (waiting and not self.stop.is_set()):
                    while waiting and len(running) < self.settings.fetch.parallel and not self.stop.is_set():
                        product = waiting.pop()
                        running[pool.submit(self._load, product)] = product
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        yield running.pop(future), future
            finally:  # also when interrupted by the user
                self.stop.set()

    def _load(self, product: ArchiveProduct) -> Any:

        target = target_of(self.folder, product)
        version = self.plan.replaced.get(product.exposure)
        return download(
            file_url(self.settings.fetch, product.name),
            target,
            self.client,
            check=lambda path: self._check(path, product),
            magic=b"SIMPLE  =",
            headers=FILE_HEADERS,
            largest=most_unpacked(self.instrument),
            min_free=self.settings.fetch.min_free * 1e9,
            stop=self.stop,
            keep_as=old_version_path(target, version) if version else None,
        )

    def _check(self, path: Path, product: ArchiveProduct) -> None:
        """Refuse a file that is no whole frame of the instrument, or another exposure."""
        with self._checking:
            found = inspect(path, self.instrument)
        if found.quadrants == ():
            raise FrameError(f"{path}: holds none of the quadrants of {self.instrument.name}")
        header = found.header
        if header.start_source != "DATE-OBS" or header.start is None:
            return
        late = timedelta(seconds=self.settings.index.date_after_name)
        if not -BEFORE_NAME <= header.start - product.start <= late:
            raise FrameError(
                f"{path}: is of {header.start:%Y-%m-%dT%H:%M:%S} according to its header (DATE-OBS), not of "
                f"{product.start:%Y-%m-%dT%H:%M:%S} as requested (index.date_after_name says how long "
                "after the time in its name an exposure may begin)"
            )

    def _take(self, product: ArchiveProduct, future: Future[Any]) -> None:
        """Note the result of a download, and whether to continue."""
        try:
            loaded = future.result()
        except DownloadBusyError as error:
            log.info("%s", error)
            self.outcome.busy += 1
            self.plan.unfinished = True
        except StoppedError as error:
            log.info("%s", error)
            self.outcome.left += 1
        except (DiskFullError, PasswordError, CredentialsError) as error:
            self._fail(product, names.MISSING, error, ends=True)
        except (BrokenFileError, MissingError) as error:
            self._fail(product, names.REFUSED if isinstance(error, BrokenFileError) else names.FAILED, error)
            self._failures_in_a_row = 0
        except (SourceError, OSError) as error:
            self._failures_in_a_row += 1
            self.plan.unfinished |= isinstance(error, TransientError | OSError)
            ends = self._failures_in_a_row >= _GIVE_UP or isinstance(error, OSError)
            state = names.REFUSED if isinstance(error, ForbiddenError) else names.FAILED
            self._fail(product, state, error, ends=ends)
        else:
            self._failures_in_a_row = 0
            self._loaded(product, loaded)

    def _loaded(self, product: ArchiveProduct, loaded: Any) -> None:

        self._note(product, names.HERE, "")
        if loaded is None:  # another process was faster
            return
        log.info("%s: %.2f GB in %.0f s", loaded.path, loaded.size / 1e9, loaded.seconds)
        self.outcome.loaded.append(loaded.path)
        self.outcome.size += loaded.size
        self.outcome.received += loaded.received

    def _fail(self, product: ArchiveProduct, state: str, error: Exception, *, ends: bool = False) -> None:
        """Note a failure; `ends`: the others would fail in the same way."""
        log.error("%s: %s", product.exposure, error)
        self.outcome.failures.append(f"{product.exposure}: {error}")
        self._note(product, state, str(error))
        if ends and not self.stop.is_set():
            log.error("no further frames are downloaded in this run")
            self.stop.set()
            self.plan.unfinished = True

    def _note(self, product: ArchiveProduct, state: str, reason: str) -> None:
        row = self.plan.rows[product.name]
        self.plan.rows[product.name] = replace(
            row, state=state, reason=reason, tried=stamp(datetime.now(UTC))
        )
