"""The Euclid archive: which raw frames it has, and where their files are.

The query is the one the mission's own tools make: one line of CSV per product.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.http import LONGEST, plain
from visql_lib.archives.pages import gist, short
from visql_lib.archives.tries import again
from visql_lib.archives.web import Web, server_time

if TYPE_CHECKING:
    from visql_lib.config import FetchSettings

ARCHIVE_FIELD = "Header.ProductId.LimitedString"
RAW_FIELD = "Data.InputRawFiles.RawFile"
FILE_HEADERS = {"Pragma": "DSSGET"}  # what the file service wants to hear
_STEM_LENGTH = 57  # of an archive name: what its file is called
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_LARGEST = 1 << 26  # bytes of an answer
_MOST = 500_000  # products of an answer: those of ten years


@dataclass(frozen=True)
class Listed:
    """One product as the archive lists it; both names are plain file names."""

    archive: str
    raw: str


@dataclass(frozen=True)
class Listing:
    """The answer to a query.

    Attributes
    ----------
    products : tuple of Listed
        In the archive's order, each once.
    refused : tuple of str
        Names that are no plain file names, such as ``../x``; never to be used as paths.
    clock : float
        How far [s] our clock is ahead of the archive's, 0 where it does not say.
    """

    products: tuple[Listed, ...]
    refused: tuple[str, ...]
    clock: float = 0.0


def query_url(settings: FetchSettings, since: date) -> str:
    """Return the query for all raw frames the archive got since a day (UTC) and that are not invalid."""
    conditions = (
        "class_name=DpdVisRawFrame",
        "project=EUCLID",
        "Header.ManualValidationStatus!=INVALID",
        "allow_array=True",
        f"Header.CreationDate>dt({since.year},{since.month},{since.day})",
        f"fields={ARCHIVE_FIELD}:{RAW_FIELD}",
    )
    return f"{settings.query_url.rstrip('/')}/REST?{'&'.join(conditions)}"


def file_url(settings: FetchSettings, archive: str) -> str:
    """Return the address of a product's file."""
    return f"{settings.file_url.rstrip('/')}/{archive[:_STEM_LENGTH]}.fits.gz"


def ask_archive(since: date, settings: FetchSettings, web: Web) -> Listing:
    """Ask which raw frames the archive got since a day.

    Parameters
    ----------
    since : date
        UTC; the archive's own creation date counts, not that of the observation.
    settings : FetchSettings
        Address and patience.
    web : Web
        Asks.

    Returns
    -------
    Listing
        No product is an answer.

    Raises
    ------
    PassingError
        If it has not given a complete answer after all attempts.
    SourceError
        If it refuses.
    """
    url = query_url(settings, since)
    return again(lambda: _ask_once(url, web), settings.attempts, settings.backoff)


def _ask_once(url: str, web: Web) -> Listing:
    with web.open(url, longest=LONGEST) as answer:
        there = server_time(answer)
        clock = (datetime.now(UTC) - there).total_seconds() if there else 0.0
        body = answer.body(_LARGEST)
    listing = parse_listing(body, plain(url), lambda page: web.gist(url, page))
    return Listing(listing.products, listing.refused, clock)


def parse_listing(body: bytes, where: str, show: Callable[[bytes], str] = gist) -> Listing:
    """Parse the archive's answer: the names of the fields, then quoted values, one product per line.

    Parameters
    ----------
    body : bytes
        CSV, lines end with CRLF.
    where : str
        Names the archive in messages.
    show : callable, optional
        Shortens what was answered instead, for messages.

    Returns
    -------
    Listing
        Its clock is 0.

    Raises
    ------
    PassingError
        If the answer is empty, a page, cut short, or not such a table.
    """
    start = body.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not start:
        raise PassingError(f"{where}: the answer is empty")
    if start.startswith(b"<"):
        raise PassingError(f"{where}: answered with a page, not with a table: {show(body)}")
    if not body.endswith(b"\n"):
        raise PassingError(f"{where}: the answer is cut short (no line end at its end)")
    lines = _lines(start, where)
    if next(lines, [])[:2] != [ARCHIVE_FIELD, RAW_FIELD]:
        raise PassingError(f"{where}: answered with {show(start)!r}, not with {ARCHIVE_FIELD},{RAW_FIELD}")
    products: dict[Listed, None] = {}  # in order, each once
    refused: dict[str, None] = {}
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        if number > _MOST:
            raise SourceError(f"{where}: lists more than {_MOST} products; ask for fewer days")
        if len(line) < 2:
            raise PassingError(f"{where}: line {number} has {len(line)} values, not two")
        bad = next((name for name in line[:2] if not is_safe(name)), None)
        if bad is None:
            products[Listed(*line[:2])] = None
        else:
            refused[short(bad)] = None
    return Listing(tuple(products), tuple(refused))


def _lines(text: bytes, where: str) -> Iterator[list[str]]:
    """Yield the lines of CSV, one in memory at a time."""
    file = io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")
    try:
        yield from csv.reader(file, strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise PassingError(f"{where}: the answer cannot be read ({error})") from error


def is_safe(name: str) -> bool:
    """Tell whether a name is a plain file name that stays in its folder."""
    return _SAFE.fullmatch(name) is not None and ".." not in name
