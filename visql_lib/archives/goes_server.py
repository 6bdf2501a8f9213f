"""The server of the GOES files: folders by satellite, product, year and month, listed as pages.

Files are issued again under a new version and the old name goes away, so
names are never guessed: the folder is listed and the highest version taken.
"""

from __future__ import annotations

import logging
import re
import uuid
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import unquote, urlsplit

from visql_lib.archives.errors import PassingError, SourceError
from visql_lib.archives.goes_files import GoesFormatError, GoesName, parse_name, read_goes
from visql_lib.archives.services import ask
from visql_lib.archives.wire import gist
from visql_lib.atomic import put_in_place

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests
    from numpy.typing import NDArray

    from visql_lib.config import GoesSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

PRODUCTS = ("xrsf-l2-avg1m_science", "xrsf-l2-avg1m")  # the final one first
KEPT = "files"  # the folder of the netCDF files, within that of the series
_LOCK = "goes"  # one query at a time goes to the server
_ROUNDS = 3  # the folder is listed anew if a file went away or arrived damaged
_LISTING = re.compile(r"index of|directory listing|parent directory", re.IGNORECASE)


class MissingError(SourceError):
    """The server has nothing under this address."""


def fetch_file(
    satellite: int, product: str, day: date, settings: GoesSettings, folder: Path
) -> tuple[dict[str, NDArray], GoesName] | None:
    """Fetch the newest version of a daily file.

    Parameters
    ----------
    satellite : int
        Such as 16.
    product : str
        One of `PRODUCTS`.
    day : date
        UTC.
    settings : GoesSettings
        Address and patience.
    folder : Path
        Of the series. Files are kept in its folder `KEPT`; it also holds the lock that
        lets only one query at a time go to the server.

    Returns
    -------
    series : dict of arrays
        See `visql_lib.archives.goes_files.read_goes`.
    name : GoesName
        Which file it was.
    None, if the server has no file of that satellite, product and day.

    Raises
    ------
    PassingError
        If the server did not answer, or not properly, after all attempts.
    SourceError
        If it refuses, or gives nothing but damaged or vanishing files.
    """
    url = f"{folder_url(satellite, product, settings)}/{day:%Y}/{day:%m}"
    failure: SourceError | None = None
    for _ in range(_ROUNDS):
        names = [n for n in list_folder(url, settings, folder) if _is_wanted(n, satellite, product, day)]
        if not names:
            return None
        name = max(names, key=_version)
        try:
            series = _download(f"{url}/{name}", name, settings, folder)
        except (MissingError, GoesFormatError) as error:  # it is being replaced: look again
            log.info("%s", error)
            failure = error
        else:
            return series, cast(GoesName, parse_name(name))
    raise SourceError(f"{failure}; {_ROUNDS} times")


def folder_url(satellite: int, product: str, settings: GoesSettings) -> str:
    """Return the address of a product's folder, without a slash at its end."""
    return f"{settings.url.rstrip('/')}/goes{satellite:02d}/l2/data/{product}"


def list_folder(url: str, settings: GoesSettings, locks: Path) -> list[str]:
    """Return the names in a folder of the server; none if there is no such folder.

    Raises
    ------
    PassingError
        If the server did not answer with a listing after all attempts.
    SourceError
        If it refuses.
    """
    try:
        return _query(f"{url}/", lambda body: read_listing(body, url), settings, locks)
    except MissingError:
        return []


def exists(url: str, settings: GoesSettings, locks: Path) -> bool:
    """Tell whether the server has anything under an address.

    Raises
    ------
    SourceError
        If it does not answer.
    """
    try:
        return _query(f"{url.rstrip('/')}/", lambda body: True, settings, locks)
    except MissingError:
        return False


class _Links(HTMLParser):
    """Collects what a page links to, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of a link."""
        self.targets += [value for name, value in attrs if tag == "a" and name == "href" and value]

    def handle_data(self, data: str) -> None:
        """Keep a piece of text."""
        self.texts.append(data)


def read_listing(body: bytes, url: str) -> list[str]:
    """Return the names a listing of a folder links to, without those of sorting and of other folders.

    Raises
    ------
    PassingError
        If it is another page, such as one of maintenance, or cut short.
    """
    text = body.decode("utf-8", errors="replace")
    links = _Links()
    links.feed(text)
    links.close()
    paths = [urlsplit(target).path for target in links.targets]  # what follows a ? only sorts
    names = [unquote(path.rstrip("/").rsplit("/", 1)[-1]) for path in paths]
    if not any(parse_name(n) for n in names) and not _LISTING.search(" ".join(links.texts)):
        raise PassingError(f"{url}/: answered with a page that lists no folder: {gist(body)}")
    if "<html" in text.lower() and "</html" not in text.lower():
        raise PassingError(f"{url}/: the listing was cut short after {len(body)} bytes")
    return sorted({name for name in names if name not in ("", ".", "..")})


def _is_wanted(name: str, satellite: int, product: str, day: date) -> bool:
    found = parse_name(name)
    return found is not None and (found.satellite, found.product, found.day) == (satellite, product, day)


def _version(name: str) -> tuple[tuple[int, ...], str]:
    found = parse_name(name)
    return (found.version if found else (), name)


def _download(url: str, name: str, settings: GoesSettings, folder: Path) -> dict[str, NDArray]:
    """Fetch and read a file; what lies under its own name is always whole.

    A final file never changes under its name, so it is fetched once.
    """
    path = folder / KEPT / name
    found = cast(GoesName, parse_name(name))
    if found.science and path.is_file():
        try:
            return read_goes(path)
        except GoesFormatError as error:
            log.warning("%s; fetched again", error)
    body = _query(url, lambda body: body, settings, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{name}-{uuid.uuid4().hex}.part")  # others may fetch the same file
    try:
        part.write_bytes(body)
        try:
            series = read_goes(part)
        except GoesFormatError as error:
            raise GoesFormatError(str(error).replace(str(part), url)) from error
        put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)
    _remove_older(path, found)
    return series


def _remove_older(path: Path, new: GoesName) -> None:
    """Remove what a file replaces: other versions of it and, if it is final, those that were not."""
    for other in path.parent.glob("*.nc"):
        old = parse_name(other.name)
        same = old is not None and (old.satellite, old.day) == (new.satellite, new.day)
        if old is not None and same and other != path and (new.science or not old.science):
            other.unlink(missing_ok=True)


def _query(url: str, read: Callable[[bytes], T], settings: GoesSettings, locks: Path) -> T:
    """Get one address, with patience; nobody else asks the server meanwhile."""
    announced = [-1]

    def call(session: requests.Session, timeout: tuple[float, float]) -> requests.Response:
        # Packed on the way, the sizes of what is sent and what is read differ.
        headers = {"Accept-Encoding": "identity"}
        response = session.get(url, timeout=timeout, stream=True, headers=headers)
        if response.status_code in (404, 410):
            response.close()
            raise MissingError(f"{url}: is not there (status {response.status_code})")
        length = response.headers.get("Content-Length", "")
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        announced[0] = int(length) if length.isdigit() and not packed else -1
        return response

    def checked(body: bytes) -> T:
        if announced[0] not in (-1, len(body)):
            raise PassingError(f"{url}: gave {len(body)} of {announced[0]} bytes")
        return read(body)

    # The patience of both kinds of settings has the same names.
    return ask(_LOCK, url, call, checked, settings, locks)
