"""A small Euclid archive on this machine, over real HTTP: to practise with, and for tests.

It answers queries and sends files as the archive does, from a folder of frames. It
listens on 127.0.0.1 only.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from visql_lib.archives.errors import ArchiveError
from visql_lib.archives.euclid import ARCHIVE_FIELD, FILE_HEADERS, RAW_FIELD

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
CHUNK = 1 << 14  # bytes sent at once
_LEVEL = 1  # of compression: the files need not be small here
_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Served:
    """One product: a file, ``.fits`` or ``.fits.gz``, its names, and when the archive got it (UTC)."""

    path: Path
    archive: str
    raw: str
    created: datetime


class ArchiveHandler(BaseHTTPRequestHandler):
    """Handles the requests to a `LoopbackArchive`: queries and files."""

    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def archive(self) -> LoopbackArchive:
        """The archive these requests are for."""
        return self.server.archive

    def do_GET(self) -> None:
        """Handle one request."""
        login = self.headers.get("Authorization", "")
        self.archive.record(self.requestline, bool(login))
        parts = urlsplit(self.path)
        if not self.archive.accepts(login):
            self.send_page(401, "A login is required.", {"WWW-Authenticate": 'Basic realm="archive"'})
        elif parts.path.rstrip("/").endswith("/REST"):
            self.handle_query(parts.query)
        else:
            self.handle_file(parts.path.lstrip("/"))

    def log_message(self, format: str, *args: Any) -> None:
        """Log to our own log."""
        log.debug("%s", format % args)

    def send_page(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a page of HTML."""
        body = f"<html><head><title>Archive</title></head><body><p>{text}</p></body></html>".encode()
        self.send_body(status, body, {"Content-Type": "text/html", **(headers or {})})

    def send_body(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a response whose body is in memory."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle_query(self, query: str) -> None:
        """Send the list of products."""
        conditions = [unquote(part) for part in query.split("&") if part]
        if not conditions:
            return self.send_page(400, "An empty query is refused.")
        fields = f"fields={ARCHIVE_FIELD}:{RAW_FIELD}"
        if "class_name=DpdVisRawFrame" not in conditions or fields not in conditions:
            return self.send_page(400, "Only raw frames, and their two names, are here.")
        since = _START
        for condition in conditions:
            if found := re.fullmatch(r"Header\.CreationDate>dt\((\d+),(\d+),(\d+)\)", condition):
                since = datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[arg-type, misc]
        lines = [f"{ARCHIVE_FIELD},{RAW_FIELD}", *(f'"{a}","{r}"' for a, r in self.archive.rows(since))]
        body = "".join(f"{line}\r\n" for line in lines).encode()
        return self.send_body(200, body, {"Content-Type": "text/csv"})

    def handle_file(self, name: str) -> None:
        """Send a product's file."""
        if any(self.headers.get(key) != value for key, value in FILE_HEADERS.items()):
            return self.send_page(400, "Only the archive's own clients are served.")
        path = self.archive.packed(name)
        if path is None:
            return self.send_page(404, f"No file {name}.")
        return self.send_file(path)

    def send_file(self, path: Path) -> None:
        """Send a file, or the rest of it that is requested."""
        size, first = path.stat().st_size, self.first_byte()
        if first >= size:
            return self.send_body(416, b"", {"Content-Range": f"bytes */{size}"})
        headers = {"Content-Type": "application/gzip", "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
        headers["Content-Length"] = str(size - first)
        self.send_response(206 if first else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            while data := file.read(CHUNK):
                self.wfile.write(data)
                self.archive.count_sent(len(data))
        return None

    def first_byte(self) -> int:
        """Parse the first byte that is requested."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0


class LoopbackArchive:
    """The server; use it in a ``with`` statement, or call `start` and `stop`.

    Parameters
    ----------
    products : sequence of Served
        The products of the archive; may be replaced at any time.
    user, password : str, optional
        Required from every client.
    port : int, optional
        0: any that is free.

    Attributes
    ----------
    url : str
        Address, both of queries and of files.
    requests : list of str
        Lines of the requests, in their order.
    logins : list of tuple
        Path and whether a login was sent with it.
    sent : int
        Bytes of files that were sent.
    """

    handler: type[ArchiveHandler] = ArchiveHandler

    def __init__(
        self, products: Sequence[Served], *, user: str = "", password: str = "", port: int = 0
    ) -> None:
        self.products = list(products)
        self.requests: list[str] = []
        self.logins: list[tuple[str, bool]] = []
        self.sent = 0
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._guard = threading.Lock()
        self._store = Path(tempfile.mkdtemp(prefix="visql-archive-"))
        try:
            self._server = _Server((HOST, port), self.handler)
        except OSError as error:
            shutil.rmtree(self._store)
            raise ArchiveError(f"port {port}: cannot be used ({error.strerror})") from error
        self._server.archive = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://{HOST}:{self._server.server_port}"

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving, and remove the packed files."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        shutil.rmtree(self._store, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def record(self, line: str, login: bool) -> None:
        """Keep the first line of a request."""
        with self._guard:
            self.requests.append(line)
            self.logins.append((line.split()[1] if " " in line else line, login))

    def accepts(self, header: str) -> bool:
        """Check a header ``Authorization``."""
        return not self._token or hmac.compare_digest(header.encode(), f"Basic {self._token}".encode())

    def rows(self, since: datetime) -> list[tuple[str, str]]:
        """List the names of the products the archive got since a time."""
        return [(p.archive, p.raw) for p in self.products if p.created >= since]

    def packed(self, name: str) -> Path | None:
        """Find the gzipped file of a name such as ``EUC_..._01.00.fits.gz``; pack it at need."""
        stem = name.removesuffix(".fits.gz")
        found = next((p for p in self.products if p.archive.startswith(stem) and stem), None)
        if found is None or not found.path.is_file():
            return None
        path = found.path
        if path.name.endswith(".gz"):
            return path
        with self._guard:
            packed = self._store / f"{path.name}.gz"
            return packed if packed.is_file() else _pack(path, packed)

    def count_sent(self, size: int) -> None:
        """Count the bytes of files."""
        with self._guard:
            self.sent += size


def _pack(path: Path, target: Path) -> Path:
    part = target.with_name(f"{target.name}.part")
    with path.open("rb") as file, part.open("wb") as out, gzip.GzipFile("", "wb", _LEVEL, out, 0) as packed:
        shutil.copyfileobj(file, packed, 1 << 20)
    return part.replace(target)


class _Server(ThreadingHTTPServer):
    archive: LoopbackArchive
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that close the connection."""
        log.debug("%s closed the connection", client_address)
