"""The Euclid archive: which raw frames it has, and where their files are.

The query is the one of the mission's own tools: one line of CSV per product.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from visql_lib.archives.errors import SourceError, TransientError
from visql_lib.archives.http import DEADLINE, redact_url
from visql_lib.archives.pages import excerpt, printable
from visql_lib.archives.web import ArchiveClient, server_time

if TYPE_CHECKING:
    from visql_lib.config import FetchSettings

ARCHIVE_FIELD = "Header.ProductId.LimitedString"
RAW_FIELD = "Data.InputRawFiles.RawFile"
FILE_HEADERS = {"Pragma": "DSSGET"}  # required by the file service
_STEM_LENGTH = 57  # of an archive name: what its file is called
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_LARGEST = 1 << 26  # bytes of a response
_MOST = 500_000  # products of a response: those of ten years


@dataclass(frozen=True)
class ListedProduct:
    """One product as the archive lists it; both names are plain file names."""

    archive: str
    raw: str


@dataclass(frozen=True)
class Listing:
    """The response to a query.

    Attributes
    ----------
    products : tuple of ListedProduct
        In the archive's order, each once.
    refused : tuple of str
        Names that are no plain file names, such as ``../x``; never to be used as paths.
    clock_offset : float
        How far [s] our clock is ahead of the archive's, 0 where that is not known.
    """

    products: tuple[ListedProduct, ...]
    refused: tuple[str, ...]
    clock_offset: float = 0.0


def query_url(settings: FetchSettings, since: date) -> str:
    """Build the query for all raw frames that the archive got since a day (UTC) and that are not invalid."""
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
    """Build the address of a product's file."""
    return f"{settings.file_url.rstrip('/')}/{archive[:_STEM_LENGTH]}.fits.gz"


def query_archive(since: date, settings: FetchSettings, client: ArchiveClient) -> Listing:
    """Query the archive for the raw frames it got since a day.

    Parameters
    ----------
    since : date
        UTC; the archive's own creation date counts, not that of the observation.
    settings : FetchSettings
        The address.
    client : ArchiveClient
        Sends the query, and repeats it by its retry policy.

    Returns
    -------
    Listing
        Possibly without a product.

    Raises
    ------
    TransientError
        If there is no complete response after all attempts.
    SourceError
        If it refuses.
    """
    url = query_url(settings, since)
    return client.retry.call(lambda: _query_once(url, client))


def _query_once(url: str, client: ArchiveClient) -> Listing:
    with client.open(url, deadline=DEADLINE * client.retry.timeout) as response:
        archive_time = server_time(response)
        offset = (datetime.now(UTC) - archive_time).total_seconds() if archive_time else 0.0
        body = response.body(_LARGEST)
    listing = parse_listing(body, redact_url(url), lambda page: client.excerpt(url, page))
    return Listing(listing.products, listing.refused, offset)


def parse_listing(body: bytes, where: str, show: Callable[[bytes], str] = excerpt) -> Listing:
    """Parse the archive's response: the names of the fields, then quoted values, one product per line.

    Parameters
    ----------
    body : bytes
        CSV, lines end with CRLF.
    where : str
        Names the archive in messages.
    show : callable, optional
        Shortens any other response, for messages.

    Returns
    -------
    Listing
        Its clock offset is 0.

    Raises
    ------
    TransientError
        If the response is empty, a page, truncated, or not such a table.
    """
    start = body.lstrip(b"\xef\xbb\xbf \r\n\t")
    if not start:
        raise TransientError(f"{where}: the response is empty")
    if start.startswith(b"<"):
        raise TransientError(f"{where}: the response is a page, not a table: {show(body)}")
    if not body.endswith(b"\n"):
        raise TransientError(f"{where}: the response is cut short (no line end at its end)")
    lines = _lines(start, where)
    if next(lines, [])[:2] != [ARCHIVE_FIELD, RAW_FIELD]:
        raise TransientError(
            f"{where}: the response is {show(start)!r}, not a table of {ARCHIVE_FIELD},{RAW_FIELD}"
        )
    products: dict[ListedProduct, None] = {}  # in order, each once
    refused: dict[str, None] = {}
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        if number > _MOST:
            raise SourceError(f"{where}: lists more than {_MOST} products; query fewer days")
        if len(line) < 2:
            raise TransientError(f"{where}: line {number} has {len(line)} values, not two")
        bad = next((name for name in line[:2] if not is_safe(name)), None)
        if bad is None:
            products[ListedProduct(*line[:2])] = None
        else:
            refused[printable(bad)] = None
    return Listing(tuple(products), tuple(refused))


def _lines(text: bytes, where: str) -> Iterator[list[str]]:
    """Yield the lines of CSV, one in memory at a time."""
    file = io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")
    try:
        yield from csv.reader(file, strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise TransientError(f"{where}: the response cannot be read ({error})") from error


def is_safe(name: str) -> bool:
    """Check that a name is a plain file name that stays in its folder."""
    return _SAFE.fullmatch(name) is not None and ".." not in name
