"""A Euclid archive on this machine: real HTTP, for tests and the demo.

It answers queries and gives files as the archive does, from files that are
there, and misbehaves on request. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import base64
import gzip
import hmac
import logging
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from visql_lib.archives.errors import ArchiveError
from visql_lib.archives.euclid import ARCHIVE_FIELD, FILE_HEADERS, RAW_FIELD

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_CHUNK = 1 << 14  # bytes
_LEVEL = 1  # of packing: the archive's files need not be small here
_MOVED = "/moved"

# Kind -> (what it means, with N; the N of a fault without one, None: always).
FAULTS: dict[str, tuple[str, int | None]] = {
    "500": ("the first N answers are status 500", None),
    "503": ("the first N answers are status 503", None),
    "404": ("the first N files are missing", None),
    "403": ("the first N files are refused", None),
    "html": ("a page instead of the first N files", None),
    "html-query": ("a page instead of the first N answers to queries", None),
    "cut": ("the connection breaks in the middle of the first N files", None),
    "hang": ("silence instead of the first N files", None),
    "long": ("the first N files announce more bytes than they have", None),
    "short": ("the first N files announce fewer bytes than they have", None),
    "half": ("the first N files are packed halves, whole as gzip files", None),
    "truncated": ("the first N files end in the middle, as if meant to", None),
    "garbage": ("the first N files are damaged in the middle", None),
    "redirect": ("files are elsewhere on this server", None),
    "redirect-away": ("files are on another host, which wants no password", None),
    "no-range": ("files are always given from their beginning", None),
    "no-length": ("files come without their length, nor parts of them", None),
    "slow": ("files come at N kB/s", 100),
    "names": ("N names of files that are not there are in every answer", 10_000),
    "escape": ("names that lead out of the folder are in every answer", None),
    "clock": ("the server's clock is N hours behind", 24),
    "echo": ("pages repeat what was sent", None),
}


@dataclass(frozen=True)
class Served:
    """One product: a file, ``.fits`` or ``.fits.gz``, its names, and when the archive got it (UTC)."""

    path: Path
    archive: str
    raw: str
    created: datetime


class LoopbackArchive:
    """The server; use it in a ``with`` statement, or call `start` and `stop`.

    Parameters
    ----------
    products : sequence of Served
        What the archive has; may be replaced at any time.
    user, password : str, optional
        Wanted of everybody who asks.
    faults : mapping, optional
        Kind (see `FAULTS`) -> N, None: always.
    port : int, optional
        0: any that is free.

    Attributes
    ----------
    url : str
        Address, both of queries and of files.
    asked : list of str
        Lines of the requests, in their order.
    logins : list of tuple
        Path and whether a login was sent with it.
    sent : int
        Bytes of files that were sent.
    """

    def __init__(
        self,
        products: Sequence[Served],
        *,
        user: str = "",
        password: str = "",
        faults: Mapping[str, int | None] | None = None,
        port: int = 0,
    ) -> None:
        self.products = list(products)
        self.faults = check_faults(faults or {})
        self.asked: list[str] = []
        self.logins: list[tuple[str, bool]] = []
        self.sent = 0
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._guard = threading.Lock()
        self._used: Counter[str] = Counter()
        self._store = Path(tempfile.mkdtemp(prefix="visql-archive-"))
        self._closing = threading.Event()
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            shutil.rmtree(self._store)
            raise ArchiveError(f"port {port}: cannot be used ({error.strerror})") from error
        self._server.archive = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self._server.server_port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, and remove what was packed."""
        self._closing.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        shutil.rmtree(self._store, ignore_errors=True)

    def __enter__(self) -> LoopbackArchive:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def takes(self, kind: str) -> bool:
        """Tell whether a fault happens now, and count it."""
        with self._guard:
            if kind not in self.faults:
                return False
            self._used[kind] += 1
            times = self.faults[kind]
            return times is None or self._used[kind] <= times

    def note(self, line: str, login: bool) -> None:
        """Keep what was asked."""
        with self._guard:
            self.asked.append(line)
            self.logins.append((line.split()[1] if " " in line else line, login))

    def lets_in(self, header: str) -> bool:
        """Tell whether a header ``Authorization`` is right."""
        return not self._token or hmac.compare_digest(header.encode(), f"Basic {self._token}".encode())

    def wait(self, seconds: float) -> None:
        """Do nothing for a while, but not when the server stops."""
        self._closing.wait(seconds)

    def answer(self, since: datetime) -> bytes:
        """Return the answer to a query, as the archive writes it."""
        rows = [(p.archive, p.raw) for p in self.products if p.created >= since]
        if (many := self.faults.get("names")) is not None:
            rows += [_no_names(i) for i in range(many)]
        if "escape" in self.faults:
            rows += [("../../escaped", "../escaped.VIS.bin"), ("/etc/escaped", "..")]
        lines = [f"{ARCHIVE_FIELD},{RAW_FIELD}", *(f'"{a}","{r}"' for a, r in rows)]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def packed(self, name: str) -> Path | None:
        """Return the gzipped file of a name such as ``EUC_..._01.00.fits.gz``; it is made at need."""
        stem = name.removesuffix(".fits.gz")
        found = next((p for p in self.products if p.archive.startswith(stem) and stem), None)
        if found is None or not found.path.is_file():
            return None
        path = found.path
        if "half" in self.faults and self.takes("half"):
            return _pack(path, self._store / f"half-{path.name}.gz", half=True)
        if path.name.endswith(".gz"):
            return path
        with self._guard:
            made = self._store / f"{path.name}.gz"
            return made if made.is_file() else _pack(path, made)

    def gave(self, size: int) -> None:
        """Count the bytes of files, and wait as long as they take on a slow line."""
        with self._guard:
            self.sent += size
        if (rate := self.faults.get("slow")) is not None:
            self.wait(size / (1000.0 * rate))


def check_faults(faults: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return faults with the N of those that need one.

    Raises
    ------
    ArchiveError
        If one is not known.
    """
    for kind in faults:
        if kind not in FAULTS:
            raise ArchiveError(f"fault {kind!r}: there are {', '.join(FAULTS)}")
    return {kind: FAULTS[kind][1] if times is None else times for kind, times in faults.items()}


def _no_names(i: int) -> tuple[str, str]:
    """Return the names of a product that is not there, older than any that is."""
    day, second = divmod(i, 86_400)
    start = f"202301{day + 1:02d}", f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    archive = f"EUC_LE1_VIS-{i % 100_000:05d}-1-W_{start[0]}T{start[1]}.000000Z_01_01_01.00_EUCLIDSOC"
    return archive, f"C_{start[0]}_{start[1]}_W_{i:08X}.VIS.bin"


def _pack(path: Path, target: Path, half: bool = False) -> Path:
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        rest = file.seek(0, 2) // (2 if half else 1)
    part = target.with_name(f"{target.name}.part")
    with (
        opened(path, "rb") as file,
        part.open("wb") as out,
        gzip.GzipFile("", "wb", _LEVEL, out, 0) as packed,
    ):
        while rest and (data := file.read(min(1 << 20, rest))):
            packed.write(data)
            rest -= len(data)
    return part.replace(target)


class _Server(ThreadingHTTPServer):
    archive: LoopbackArchive
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are no news."""
        log.debug("%s hung up", client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        archive = self.server.archive
        login = self.headers.get("Authorization", "")
        archive.note(self.requestline, bool(login))
        parts = urlsplit(self.path)
        moved = parts.path.startswith(_MOVED)
        open_host = moved and "redirect-away" in archive.faults
        if not open_host and not archive.lets_in(login):
            return self._page(
                401, f"Who are you?{self._echo()}", {"WWW-Authenticate": 'Basic realm="archive"'}
            )
        for status in (500, 503):
            if archive.takes(str(status)):
                return self._page(status, f"Out of order.{self._echo()}")
        if parts.path.rstrip("/").endswith("/REST"):
            return self._query(parts.query)
        return self._file(parts.path.removeprefix(_MOVED).lstrip("/"), moved)

    def log_message(self, format: str, *args: Any) -> None:
        """Log the way we all do."""
        log.debug("%s", format % args)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the time it is here."""
        late = self.server.archive.faults.get("clock") or 0
        when = (time.time() if timestamp is None else timestamp) - 3600.0 * late
        return format_datetime(datetime.fromtimestamp(when, UTC), usegmt=True)

    def _page(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        body = f"<html><head><title>Archive</title></head><body><p>{text}</p></body></html>".encode()
        self._send(status, body, {"Content-Type": "text/html", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _query(self, query: str) -> None:
        conditions = [unquote(part) for part in query.split("&") if part]
        if not conditions:
            return self._page(400, "An empty query is refused.")
        if self.server.archive.takes("html-query"):
            return self._page(200, f"The archive is being looked after.{self._echo()}")
        fields = f"fields={ARCHIVE_FIELD}:{RAW_FIELD}"
        if "class_name=DpdVisRawFrame" not in conditions or fields not in conditions:
            return self._page(400, "Only raw frames, and their two names, are here.")
        since = datetime(1970, 1, 1, tzinfo=UTC)
        for condition in conditions:
            if found := re.fullmatch(r"Header\.CreationDate>dt\((\d+),(\d+),(\d+)\)", condition):
                since = datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
        return self._send(200, self.server.archive.answer(since), {"Content-Type": "text/csv"})

    def _file(self, name: str, moved: bool) -> None:
        archive = self.server.archive
        if any(self.headers.get(key) != value for key, value in FILE_HEADERS.items()):
            return self._page(400, "Only the archive's own clients are served.")
        if not moved and "redirect" in archive.faults:
            return self._send(302, b"", {"Location": f"{_MOVED}/{name}"})
        if not moved and "redirect-away" in archive.faults:
            port = self.server.server_port
            return self._send(302, b"", {"Location": f"http://localhost:{port}{_MOVED}/{name}"})
        if archive.takes("hang"):
            return self._hang()
        if archive.takes("403"):
            return self._page(403, f"Not for you.{self._echo()}")
        path = None if archive.takes("404") else archive.packed(name)
        if path is None:
            return self._page(404, f"No file {name}.")
        if archive.takes("html"):
            return self._page(200, f"Please log in.{self._echo()}")
        return self._give(path)

    def _echo(self) -> str:
        sent = self.headers.get("Authorization", "")
        return f"{'x' * 30} {sent} {sent}" if "echo" in self.server.archive.faults else ""

    def _hang(self) -> None:
        self.server.archive.wait(3600.0)
        self.close_connection = True

    def _give(self, path: Path) -> None:
        """Send a file, from where it is wanted."""
        archive = self.server.archive
        whole = path.stat().st_size
        size = whole * 6 // 10 if archive.takes("truncated") else whole
        first = self._first()
        if first >= size:
            return self._send(416, b"", {"Content-Range": f"bytes */{size}"})
        headers = {"Content-Type": "application/gzip", "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
        announced = size - first
        end = size
        if archive.takes("long"):
            announced += 1000
        elif archive.takes("short"):
            announced -= min(1000, announced // 2)
        elif archive.takes("cut"):
            end = first + announced * 6 // 10
        self.close_connection = announced != end - first
        if "no-length" in archive.faults:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(announced)
        self.send_response(206 if first else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for data in self._pieces(path, first, end):
            self.wfile.write(data)
        return None

    def _first(self) -> int:
        """Return the byte that is wanted first."""
        faults = self.server.archive.faults
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found and not {"no-range", "no-length"} & faults.keys() else 0

    def _pieces(self, path: Path, first: int, end: int) -> Iterator[bytes]:
        archive = self.server.archive
        chunked = "no-length" in archive.faults
        middle = path.stat().st_size // 2 if archive.takes("garbage") else -1
        with path.open("rb") as file:
            file.seek(first)
            while rest := end - file.tell():
                start = file.tell()
                data = file.read(min(_CHUNK, rest))
                if start <= middle < start + len(data):
                    data = bytes(255 - b for b in data)
                yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
                archive.gave(len(data))
        if chunked and not self.close_connection:
            yield b"0\r\n\r\n"
