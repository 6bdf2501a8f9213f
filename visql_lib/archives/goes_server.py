"""The server of the GOES files: folders by satellite, product, year and month, listed as pages.

Files are issued again under a new version and the old name goes away, so
names are never guessed: the folder is listed and the highest version taken.
"""

from __future__ import annotations

import logging
import re
import uuid
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from urllib.parse import unquote

from visql_lib.archives.errors import MissingError, SourceError, TransientError
from visql_lib.archives.goes_files import GoesFormatError, GoesName, parse_name, read_goes
from visql_lib.archives.http import Request
from visql_lib.archives.pages import excerpt, links
from visql_lib.archives.services import query_service
from visql_lib.atomic import put_in_place
from visql_lib.config.network_settings import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from visql_lib.config import GoesSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

PRODUCTS = ("xrsf-l2-avg1m_science", "xrsf-l2-avg1m")  # the final one first
KEPT = "files"  # the folder of the netCDF files, within that of the series
_LOCK = "goes"  # one request at a time goes to the server
_ROUNDS = 3  # the folder is listed again if a file went away or arrived damaged
_LISTING = ("index of", "directory listing", "parent directory")
_LARGEST_LISTING = 1 << 22  # bytes: twenty thousand files; a folder holds those of a month
_LARGEST_FILE = 1 << 26  # bytes; a day of one-second samples has 10 MB


def fetch_file(
    satellite: int, product: str, day: date, settings: GoesSettings, folder: Path, proxy: str = ENVIRONMENT
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
        Address, attempts and time limits.
    folder : Path
        Of the series. Files are kept in its folder `KEPT`; it also holds the lock that
        lets only one request at a time go to the server.
    proxy : str, optional
        See `visql_lib.config.network_settings.NetworkSettings`.

    Returns
    -------
    series : dict of arrays
        See `visql_lib.archives.goes_files.read_goes`.
    name : GoesName
        Which file it was.
    None, if the server has no file of that satellite, product and day.

    Raises
    ------
    TransientError
        If there is no valid response after all attempts.
    SourceError
        If it refuses, or sends nothing but damaged or vanishing files.
    """
    url = f"{folder_url(satellite, product, settings)}/{day:%Y}/{day:%m}"
    failure: SourceError | None = None
    for _ in range(_ROUNDS):
        found = list_folder(url, settings, folder, proxy)
        names = [n for n in found if _is_wanted(n, satellite, product, day)]
        if not names:
            return None
        name = max(names, key=_version)
        try:
            series = _download(f"{url}/{name}", name, settings, folder, proxy)
        except (MissingError, GoesFormatError) as error:  # it is being replaced: list the folder again
            log.info("%s", error)
            failure = error
        else:
            return series, cast(GoesName, parse_name(name))
    raise SourceError(f"{failure}; {_ROUNDS} times")


def folder_url(satellite: int, product: str, settings: GoesSettings) -> str:
    """Build the address of a product's folder, without a slash at its end."""
    return f"{settings.url.rstrip('/')}/goes{satellite:02d}/l2/data/{product}"


def list_folder(url: str, settings: GoesSettings, locks: Path, proxy: str = ENVIRONMENT) -> list[str]:
    """List the names in a folder of the server; none if there is no such folder.

    Raises
    ------
    TransientError
        If there is no listing after all attempts.
    SourceError
        If it refuses.
    """
    try:
        read = partial(read_listing, url=url)
        return _query(f"{url}/", read, settings, locks, proxy, _LARGEST_LISTING)
    except MissingError:
        return []


def exists(url: str, settings: GoesSettings, locks: Path, proxy: str = ENVIRONMENT) -> bool:
    """Check that the server has anything under an address.

    Raises
    ------
    SourceError
        If it does not respond.
    """
    try:
        return _query(f"{url.rstrip('/')}/", lambda body: True, settings, locks, proxy, _LARGEST_LISTING)
    except MissingError:
        return False


def read_listing(body: bytes, url: str) -> list[str]:
    """Parse the names a listing of a folder links to, without those of sorting and of other folders.

    Raises
    ------
    TransientError
        If it is another page, such as one of maintenance, or cut short.
    """
    text = body.decode("utf-8", errors="replace")
    paths = [re.split("[?#]", target, maxsplit=1)[0] for target in links(text)]  # what follows a ? only sorts
    names = [unquote(path.rstrip("/").rsplit("/", 1)[-1]) for path in paths]
    lower = text.lower()
    if not any(parse_name(n) for n in names) and not any(words in lower for words in _LISTING):
        raise TransientError(f"{url}/: the response is a page that lists no folder: {excerpt(body)}")
    if "<html" in lower and "</html" not in lower:
        raise TransientError(f"{url}/: the listing was cut short after {len(body)} bytes")
    return sorted({name for name in names if name not in ("", ".", "..")})


def _is_wanted(name: str, satellite: int, product: str, day: date) -> bool:
    found = parse_name(name)
    return found is not None and (found.satellite, found.product, found.day) == (satellite, product, day)


def _version(name: str) -> tuple[tuple[int, ...], str]:
    found = parse_name(name)
    return (found.version if found else (), name)


def _download(url: str, name: str, settings: GoesSettings, folder: Path, proxy: str) -> dict[str, NDArray]:
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
    body = _query(url, lambda body: body, settings, folder, proxy, _LARGEST_FILE)
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


def _query(
    url: str, read: Callable[[bytes], T], settings: GoesSettings, locks: Path, proxy: str, largest: int
) -> T:
    """Read what one address holds; one process at a time sends requests to the server."""
    return query_service(
        _LOCK, Request(url), lambda response: read(response.body(largest)), settings, locks, proxy
    )
