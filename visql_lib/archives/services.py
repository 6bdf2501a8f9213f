"""Services that give stars over the network: VizieR, and TAP as the Gaia archive has it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from visql_lib import __version__
from visql_lib.archives.columns import Columns, joined
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.tiles import circle_of
from visql_lib.archives.wire import LARGEST, gist, read_answer

if TYPE_CHECKING:
    import requests
    from tenacity import RetryCallState

    from visql_lib.config.sky_settings import GaiaSettings

    Call = Callable[[requests.Session, tuple[float, float]], requests.Response]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Patience(Protocol):
    """How long and how often a service is asked: the settings' `timeout`, `attempts`, `backoff`, `rest`."""

    @property
    def timeout(self) -> float:
        """Silence [s] that is borne."""

    @property
    def attempts(self) -> int:
        """Times it is asked."""

    @property
    def backoff(self) -> float:
        """First pause [s] between attempts."""

    @property
    def rest(self) -> float:
        """Time [s] it is left alone after it failed."""


_AGENT = f"VISQL/{__version__} (Euclid VIS quick look)"
_MARGIN = 0.05  # deg around a tile: archives look for stars where they were in 2000
_CONNECT = 15.0  # s, at most, until a service takes the call
_LONGEST = 10  # timeouts until an answer that trickles in is given up
_LONGEST_PAUSE = 300.0  # s, at most, between attempts
_MOST_ROWS = 1_000_000  # of one answer that we ask for; services have limits of their own
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


def ask_vizier(tile: int, settings: GaiaSettings, locks: Path) -> Columns:
    """Ask VizieR for the stars of a circle around a tile, all at once.

    Raises
    ------
    SourceError
        If it has not given a complete answer after all attempts.
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

    def read(body: bytes) -> Columns:
        stars, overflow = read_answer(body, settings.vizier_url)
        if overflow:
            raise SourceError(
                f"{settings.vizier_url}: gives only {len(stars['RA'])} stars, and has more; raise gaia.nside"
            )
        return stars

    def call(session: requests.Session, timeout: tuple[float, float]) -> requests.Response:
        return session.get(settings.vizier_url, params=query, timeout=timeout, stream=True)

    return ask("vizier", settings.vizier_url, call, read, settings, locks)


def ask_tap(tile: int, settings: GaiaSettings, locks: Path) -> Columns:
    """Ask a TAP service for the stars of a circle around a tile, in as many answers as it likes.

    Archives cut answers short (the Gaia archive: at 2000 rows), and not all of
    them say so. Stars are asked for in the order of their numbers, each time
    from the last one on, until there are no more.

    Raises
    ------
    SourceError
        If it has not given complete answers after all attempts.
    """
    pages: list[Columns] = []
    last = -1
    for _ in range(_MOST_PAGES):
        page = _tap_page(tile, last, settings, locks)
        if not len(page["SOURCE_ID"]):
            return joined(pages)
        pages.append(page)
        last = int(page["SOURCE_ID"][-1])
    raise SourceError(f"{settings.tap_url}: gives only a few stars at a time; raise gaia.nside")


def _tap_page(tile: int, last: int, settings: GaiaSettings, locks: Path) -> Columns:
    """Ask for the stars with numbers above `last`."""
    form = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "votable",
        "MAXREC": str(_MOST_ROWS),
        "QUERY": _adql(tile, last, settings),
    }

    def read(body: bytes) -> Columns:
        stars, overflow = read_answer(body, settings.tap_url)
        numbers = stars["SOURCE_ID"]
        if overflow and not len(numbers):
            raise PassingError(f"{settings.tap_url}: gives no star, and says that it has some")
        if len(numbers) and (numbers[0] <= last or (numbers[1:] < numbers[:-1]).any()):
            raise PassingError(f"{settings.tap_url}: the stars are not those above {last}, in order")
        return stars

    def call(session: requests.Session, timeout: tuple[float, float]) -> requests.Response:
        return session.post(settings.tap_url, data=form, timeout=timeout, stream=True)

    return ask("tap", settings.tap_url, call, read, settings, locks)


def _adql(tile: int, last: int, settings: GaiaSettings) -> str:
    ra, dec, radius = circle_of(tile, settings.nside)
    return (
        f"SELECT {', '.join(_TAP_COLUMNS)} FROM {settings.tap_table} "  # noqa: S608 (the user's own table)
        "WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), "
        f"CIRCLE('ICRS', {ra:.6f}, {dec:.6f}, {radius + _MARGIN:.6f})) "
        f"AND phot_g_mean_mag < {settings.faintest:g} AND source_id > {last} ORDER BY source_id"
    )


def ask(
    name: str,
    url: str,
    call: Call,
    read: Callable[[bytes], T],
    settings: Patience,
    locks: Path,
) -> T:
    """Ask until there is an answer that can be read; nobody else asks this service meanwhile.

    A service that failed all attempts is left alone for a while.
    """
    from filelock import FileLock
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

    def note(state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        log.info("attempt %d of %d: %s", state.attempt_number, settings.attempts, failure)

    locks.mkdir(parents=True, exist_ok=True)
    attempts = Retrying(
        stop=stop_after_attempt(settings.attempts),
        wait=lambda state: _pause(state, settings.backoff),
        retry=retry_if_exception_type(PassingError),
        before_sleep=note,
        reraise=True,
    )
    with FileLock(locks / f".{name}.lock"):
        down = locks / f".{name}.down"
        if down.is_file() and time.time() - down.stat().st_mtime < settings.rest:
            raise SourceError(f"{down.read_text()}; left alone for {settings.rest:g} s since then")
        try:
            return attempts(_ask_once, url, call, read, settings.timeout)
        except PassingError as error:  # or every tile of a month would wait for it anew
            down.write_text(str(error))
            raise


def _ask_once(url: str, call: Call, read: Callable[[bytes], T], silence: float) -> T:
    """Make one attempt; `silence` [s] is the longest that is borne."""
    import requests
    from requests.exceptions import ChunkedEncodingError, ContentDecodingError

    with requests.Session() as session:
        session.headers["User-Agent"] = _AGENT
        try:
            with call(session, (min(silence, _CONNECT), silence)) as response:
                return read(_body(response, url, _LONGEST * silence))
        except requests.Timeout as error:
            raise PassingError(f"{url}: did not answer within {silence:g} s") from error
        except (requests.ConnectionError, ChunkedEncodingError, ContentDecodingError) as error:
            raise PassingError(f"{url}: {_reason(error)}") from error
        except requests.RequestException as error:
            raise SourceError(f"{url}: {_reason(error)}") from error


def _pause(state: RetryCallState, first: float) -> float:
    """Return the time [s] until the next attempt: doubled each time, or longer if the service wants that."""
    failure = state.outcome.exception() if state.outcome else None
    wanted = failure.pause if isinstance(failure, PassingError) else 0.0
    return float(min(max(first * 2.0 ** min(state.attempt_number - 1, 30), wanted), _LONGEST_PAUSE))


def _body(response: requests.Response, url: str, longest: float) -> bytes:
    """Read an answer to its end.

    Raises
    ------
    PassingError
        If the service is overloaded, broken, or takes longer than `longest` [s].
    SourceError
        If it refuses the query.
    """
    status = response.status_code
    if status == 429 or status >= 500:
        wanted = response.headers.get("Retry-After", "")
        pause = float(wanted) if wanted.isdigit() else 0.0
        raise PassingError(f"{url}: status {status} ({gist(response.content)})", pause)
    if status >= 400:
        raise SourceError(f"{url}: refused the query with status {status} ({gist(response.content)})")
    start, parts, size = time.monotonic(), [], 0
    for part in response.iter_content(1 << 10):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise SourceError(f"{url}: the answer is larger than {LARGEST} bytes")
        if time.monotonic() - start > longest:
            raise PassingError(f"{url}: the answer had not ended after {longest:g} s")
    return b"".join(parts)


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error of the network, without the layers above it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"
