"""X-ray flux of the Sun on one day, from the first satellite and source that has it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.goes_files import GoesFormatError, GoesName, parse_name, read_goes
from visql_lib.archives.goes_server import KEPT, PRODUCTS, exists, fetch_file
from visql_lib.config.network_settings import ENVIRONMENT

if TYPE_CHECKING:
    from visql_lib.config import GoesSettings

    FluxSeries = dict[str, NDArray]
    Fetch = Callable[[int, str], tuple[FluxSeries, GoesName] | None]

log = logging.getLogger(__name__)

FINAL, PROVISIONAL, NONE, FAILED = "final", "provisional", "none", "failed"
_ONE_SECOND = ("xrsf-l2-flx1s_science", "xrsf-l2-flx1s")  # in a user's folder, where there are no averages


@dataclass(frozen=True)
class GoesDayFlux:
    """The X-ray flux of the Sun on one day (UTC), and where it is from.

    Attributes
    ----------
    columns : dict of arrays, shape (n,)
        The series, in order of time and within the day: see
        `visql_lib.archives.goes_files.read_goes`. Without a row if there is none.
    state : str
        ``final``: from the final (science) product of the first satellite that has the
        day; ``provisional``: from the operational product, or while something better
        could not be queried; ``none``: no source has a file; ``failed``: a source could
        not be queried, and no other has a file.
    reason : str
        The reason why the state is not ``final``; empty if it is.
    satellite, product, version, source : str
        Such as GOES-16, xrsf-l2-avg1m_science, 2-2-0, server; empty where there is no series.
    asked : str
        Time of the query, UTC.
    """

    columns: FluxSeries
    state: str
    reason: str
    satellite: str = ""
    product: str = ""
    version: str = ""
    source: str = ""
    asked: str = ""


@dataclass(frozen=True)
class _Candidate:
    series: FluxSeries
    name: GoesName
    source: str

    @property
    def useful(self) -> bool:
        return bool(self.series["GOOD"].any())


def fetch_day(day: date, settings: GoesSettings, folder: Path, proxy: str = ENVIRONMENT) -> GoesDayFlux:
    """Fetch the X-ray flux of a day.

    Sources are queried in the order of ``settings.sources``; in each, the satellites
    in the order of ``settings.satellites`` and the final product before the
    operational one. A file without a good sample counts only if there is no other.

    Parameters
    ----------
    day : date
        UTC.
    settings : GoesSettings
        Sources, satellites with their dates, address, attempts.
    folder : Path
        Of the series; see `visql_lib.archives.goes_server.fetch_file`.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Returns
    -------
    GoesDayFlux
        Always; if the sources failed, its state is ``failed``, with the reason.
    """
    queried = _now()
    satellites = settings.satellites_on(day)
    if not satellites or not settings.sources:
        missing = "no satellite is configured for that day" if settings.sources else "no source is configured"
        return _nothing(NONE, missing, queried)
    causes: list[str] = []
    found: list[_Candidate] = []
    for source in settings.sources:
        for candidate in _from(source, day, settings, folder, proxy, causes):
            found.append(candidate)
            if candidate.useful:
                break
        if found and found[-1].useful and found[-1].name.science:
            break
    if not found and causes:  # better an older file of that day than nothing
        found = list(_from_files(folder / KEPT, day, satellites, "kept", causes))
    if not found:
        return _nothing(*_state_without_series(day, settings, folder, proxy, causes), queried)
    best = max(found, key=lambda f: (f.useful, f.name.science))  # the first of equals
    reasons = list(dict.fromkeys(causes)) + (
        [] if best.name.science else ["operational product; the final one is not there yet"]
    )
    return _day(best, reasons, queried)


def failed_day(reason: str) -> GoesDayFlux:
    """Build the entry of a day that could not be fetched."""
    return _nothing(FAILED, reason, _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _day(best: _Candidate, reasons: list[str], queried: str) -> GoesDayFlux:
    return GoesDayFlux(
        columns=best.series,
        state=PROVISIONAL if reasons else FINAL,
        reason="; ".join(reasons),
        satellite=f"GOES-{best.name.satellite}",
        product=best.name.product,
        version=best.name.label,
        source=best.source,
        asked=queried,
    )


def _nothing(state: str, reason: str, queried: str) -> GoesDayFlux:
    return GoesDayFlux({}, state, reason, asked=queried)


def _state_without_series(
    day: date, settings: GoesSettings, folder: Path, proxy: str, causes: list[str]
) -> tuple[str, str]:
    """Find state and reason of a day without a series."""
    if "server" in settings.sources and not causes:
        # A wrong address has no folder either, and must not look like a day without files.
        try:
            if not exists(settings.url, settings, folder, proxy):
                causes.append(f"{settings.url}: does not exist; goes.url is wrong, or the server has moved")
        except SourceError as error:
            causes.append(str(error))
    if causes:
        return FAILED, "; ".join(dict.fromkeys(causes))
    names = ", ".join(f"GOES-{n}" for n in settings.satellites_on(day))
    return NONE, f"{' and '.join(settings.sources)}: no file of {names}"


def _from(
    source: str, day: date, settings: GoesSettings, folder: Path, proxy: str, causes: list[str]
) -> Iterator[_Candidate]:
    """Yield the series a source has of a day, best first; note failed queries in `causes`."""
    satellites = settings.satellites_on(day)
    if source == "folder":
        if not settings.folder:
            causes.append("goes.folder is not set")
            return
        yield from _from_files(Path(settings.folder), day, satellites, "folder", causes)
        return
    for satellite in satellites:
        for product in PRODUCTS:
            try:
                fetched = fetch_file(satellite, product, day, settings, folder, proxy)
                if fetched is not None:
                    yield _Candidate(_cut(fetched[0], day, settings.url), fetched[1], source)
            except TransientError as error:  # the others are on the same server
                causes.append(str(error))
                return
            except SourceError as error:
                log.warning("%s: %s", day, error)
                causes.append(str(error))


def _from_files(
    folder: Path, day: date, satellites: list[int], source: str, causes: list[str]
) -> Iterator[_Candidate]:
    """Yield the series that the files of a folder and its subfolders have of a day, best first."""
    if not folder.is_dir():
        if source == "folder":
            causes.append(f"{folder}: no such folder")
        return
    order = [*PRODUCTS, *_ONE_SECOND]
    named = [(name, path) for path in folder.rglob("*.nc") if (name := parse_name(path.name))]
    candidates = [
        (satellites.index(n.satellite), order.index(n.product), tuple(-v for v in n.version), str(path))
        for n, path in named
        if n.day == day and n.satellite in satellites
    ]
    for *_, path in sorted(candidates):
        name = parse_name(Path(path).name)
        try:
            if name is not None:
                yield _Candidate(_cut(read_goes(Path(path)), day, path), name, source)
        except GoesFormatError as error:
            log.warning("%s", error)
            causes.append(str(error))


def _cut(series: FluxSeries, day: date, where: str) -> FluxSeries:
    """Select the samples of a day, in order of time."""
    start = np.datetime64(day, "us")
    keep = (series["TIME"] >= start) & (series["TIME"] < start + np.timedelta64(1, "D"))
    if not keep.any():
        raise GoesFormatError(f"{where}: the file of {day} holds no sample of that day")
    order = np.argsort(series["TIME"][keep], kind="stable")
    return {name: values[keep][order] for name, values in series.items()}
