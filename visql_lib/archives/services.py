"""Services that give stars over the network: VizieR, and TAP as the Gaia archive has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from visql_lib.archives.answers import Answer
from visql_lib.archives.columns import Columns, joined
from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.http import LONGEST, Http, Question
from visql_lib.archives.tiles import circle_of
from visql_lib.archives.tries import again
from visql_lib.archives.wire import read_answer
from visql_lib.config.network_settings import ENVIRONMENT

if TYPE_CHECKING:
    from visql_lib.config.sky_settings import GaiaSettings

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


_MARGIN = 0.05  # deg around a tile: archives look for stars where they were in 2000
_PACKED = {"Accept-Encoding": "gzip"}
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


def ask_vizier(tile: int, settings: GaiaSettings, locks: Path, proxy: str = ENVIRONMENT) -> Columns:
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

    def read(answer: Answer) -> Columns:
        stars, overflow = read_answer(answer.body(), settings.vizier_url)
        if overflow:
            raise SourceError(
                f"{settings.vizier_url}: gives only {len(stars['RA'])} stars, and has more; raise gaia.nside"
            )
        return stars

    question = Question(settings.vizier_url, params=query, headers=_PACKED)
    return ask("vizier", service(settings, proxy), question, read, settings, locks)


def ask_tap(tile: int, settings: GaiaSettings, locks: Path, proxy: str = ENVIRONMENT) -> Columns:
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
        page = _tap_page(tile, last, settings, locks, proxy)
        if not len(page["SOURCE_ID"]):
            return joined(pages)
        pages.append(page)
        last = int(page["SOURCE_ID"][-1])
    raise SourceError(f"{settings.tap_url}: gives only a few stars at a time; raise gaia.nside")


def _tap_page(tile: int, last: int, settings: GaiaSettings, locks: Path, proxy: str) -> Columns:
    """Ask for the stars with numbers above `last`."""
    form = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "votable",
        "MAXREC": str(_MOST_ROWS),
        "QUERY": _adql(tile, last, settings),
    }

    def read(answer: Answer) -> Columns:
        stars, overflow = read_answer(answer.body(), settings.tap_url)
        numbers = stars["SOURCE_ID"]
        if overflow and not len(numbers):
            raise PassingError(f"{settings.tap_url}: gives no star, and says that it has some")
        if len(numbers) and (numbers[0] <= last or (numbers[1:] < numbers[:-1]).any()):
            raise PassingError(f"{settings.tap_url}: the stars are not those above {last}, in order")
        return stars

    question = Question(settings.tap_url, "POST", data=form, headers=_PACKED)
    return ask("tap", service(settings, proxy), question, read, settings, locks)


def _adql(tile: int, last: int, settings: GaiaSettings) -> str:
    ra, dec, radius = circle_of(tile, settings.nside)
    return (
        f"SELECT {', '.join(_TAP_COLUMNS)} FROM {settings.tap_table} "  # noqa: S608 (the user's own table)
        "WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), "
        f"CIRCLE('ICRS', {ra:.6f}, {dec:.6f}, {radius + _MARGIN:.6f})) "
        f"AND phot_g_mean_mag < {settings.faintest:g} AND source_id > {last} ORDER BY source_id"
    )


def ask(
    name: str, http: Http, question: Question, read: Callable[[Answer], T], settings: Patience, locks: Path
) -> T:
    """Ask until there is an answer that can be read; nobody else asks this service meanwhile.

    A service that failed all attempts is left alone for a while.
    """
    from filelock import FileLock

    def once() -> T:
        with http.open(question) as answer:
            return read(answer)

    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f".{name}.lock"):
        down = locks / f".{name}.down"
        if down.is_file() and time.time() - down.stat().st_mtime < settings.rest:
            raise SourceError(f"{down.read_text()}; left alone for {settings.rest:g} s since then")
        try:
            return again(once, settings.attempts, settings.backoff)
        except PassingError as error:  # or every tile of a month would wait for it anew
            down.write_text(str(error))
            raise


def service(settings: Patience, proxy: str) -> Http:
    """Return how a service is asked, as patiently as the settings say."""
    return Http(settings.timeout, LONGEST * settings.timeout, proxy)
