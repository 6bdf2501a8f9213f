"""Services of reference stars: VizieR, and TAP as the Gaia archive has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from visql_lib.archives.columns import Columns, joined
from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.http import DEADLINE, HttpClient, Request
from visql_lib.archives.responses import Response
from visql_lib.archives.retry import RetryPolicy, RetrySettings
from visql_lib.archives.tiles import circle_of
from visql_lib.archives.wire import read_answer
from visql_lib.config.network_settings import ENVIRONMENT

if TYPE_CHECKING:
    from visql_lib.config import GaiaSettings

T = TypeVar("T")


class ServiceSettings(RetrySettings, Protocol):
    """The settings of a service that many jobs query: a retry policy, and a pause after a failure."""

    @property
    def rest(self) -> float:
        """Time [s] without queries after all attempts failed."""


_MARGIN = 0.05  # deg around a tile: archives search by the positions of 2000
_PACKED = {"Accept-Encoding": "gzip"}
_MOST_ROWS = 1_000_000  # requested at once; services have limits of their own
_MOST_PAGES = 2000

_VIZIER_COLUMNS = ("Source", "RA_ICRS", "DE_ICRS", "pmRA", "pmDE", "Gmag", "FG", "e_FG", "BP-RP")
_TAP_COLUMNS = (
    "source_id",
    "ra",
    "dec",
    "pmra",
    "pmdec",
    "phot_g_mean_mag",
    "phot_g_mean_flux_over_error",
    "bp_rp",
)


def query_vizier(tile: int, settings: GaiaSettings, locks: Path, proxy: str = ENVIRONMENT) -> Columns:
    """Query VizieR for the stars of a circle around a tile, all at once.

    Raises
    ------
    SourceError
        If there is no complete response after all attempts.
    """
    ra, dec, radius = circle_of(tile, settings.nside)
    query = {
        "-source": settings.vizier_catalogue,
        "-c": f"{ra:.6f} {dec:+.6f}",
        "-c.eq": "J2000",
        "-c.rd": f"{radius + _MARGIN:.6f}",
        "-out": ",".join(_VIZIER_COLUMNS),
        "-out.max": "unlimited",
        "-oc.form": "D.",
        "Gmag": f"<{settings.faintest:g}",
    }

    def read(response: Response) -> Columns:
        stars, overflow = read_answer(response.body(), settings.vizier_url)
        if overflow:
            raise SourceError(
                f"{settings.vizier_url}: sends only {len(stars['RA'])} stars, and has more; raise gaia.nside"
            )
        return stars

    request = Request(settings.vizier_url, params=query, headers=_PACKED)
    return query_service("vizier", request, read, settings, locks, proxy)


def query_tap(tile: int, settings: GaiaSettings, locks: Path, proxy: str = ENVIRONMENT) -> Columns:
    """Query a TAP service for the stars of a circle around a tile, in as many responses as it needs.

    Archives truncate responses (the Gaia archive: at 2000 rows), and not all of
    them say so. Stars are requested in the order of their numbers, each time
    from the last one on, until there are no more.

    Raises
    ------
    SourceError
        If there are no complete responses after all attempts.
    """
    pages: list[Columns] = []
    last = -1
    for _ in range(_MOST_PAGES):
        page = _tap_page(tile, last, settings, locks, proxy)
        if not len(page["SOURCE_ID"]):
            return joined(pages)
        pages.append(page)
        last = int(page["SOURCE_ID"][-1])
    raise SourceError(f"{settings.tap_url}: sends only a few stars at a time; raise gaia.nside")


def _tap_page(tile: int, last: int, settings: GaiaSettings, locks: Path, proxy: str) -> Columns:
    """Query for the stars with numbers above `last`."""
    form = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "votable",
        "MAXREC": str(_MOST_ROWS),
        "QUERY": _adql(tile, last, settings),
    }

    def read(response: Response) -> Columns:
        stars, overflow = read_answer(response.body(), settings.tap_url)
        numbers = stars["SOURCE_ID"]
        if overflow and not len(numbers):
            raise TransientError(f"{settings.tap_url}: sends no star, and says that it has some")
        if len(numbers) and (numbers[0] <= last or (numbers[1:] < numbers[:-1]).any()):
            raise TransientError(f"{settings.tap_url}: the stars are not those above {last}, in order")
        return stars

    request = Request(settings.tap_url, "POST", data=form, headers=_PACKED)
    return query_service("tap", request, read, settings, locks, proxy)


def _adql(tile: int, last: int, settings: GaiaSettings) -> str:
    ra, dec, radius = circle_of(tile, settings.nside)
    return (
        f"SELECT {', '.join(_TAP_COLUMNS)} FROM {settings.tap_table} "  # noqa: S608 (the user's own table)
        "WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), "
        f"CIRCLE('ICRS', {ra:.6f}, {dec:.6f}, {radius + _MARGIN:.6f})) "
        f"AND phot_g_mean_mag < {settings.faintest:g} AND source_id > {last} ORDER BY source_id"
    )


def query_service(
    name: str,
    request: Request,
    read: Callable[[Response], T],
    settings: ServiceSettings,
    locks: Path,
    proxy: str = ENVIRONMENT,
) -> T:
    """Send a request until its response can be read; one process at a time does so for a service.

    After all attempts failed, there are no further requests for a while.

    Parameters
    ----------
    name : str
        Of the service; all who share `locks` wait for each other by it.
    request : Request
        The request.
    read : callable
        Reads the response; raises a `TransientError` where another attempt may help.
    settings : ServiceSettings
        Attempts, delays and time limits.
    locks : Path
        Folder of the locks.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Raises
    ------
    SourceError
        If all attempts failed, or another one would not help.
    """
    from filelock import FileLock

    policy = RetryPolicy.from_settings(settings, deadline=DEADLINE * settings.timeout)
    client = HttpClient(policy.timeout, policy.deadline, proxy)

    def once() -> T:
        with client.open(request) as response:
            return read(response)

    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f".{name}.lock"):
        down = locks / f".{name}.down"
        if down.is_file() and time.time() - down.stat().st_mtime < settings.rest:
            raise SourceError(f"{down.read_text()}; no further request for {settings.rest:g} s since then")
        try:
            return policy.call(once)
        except TransientError as error:  # or every tile of a month would wait for it again
            down.write_text(str(error))
            raise
