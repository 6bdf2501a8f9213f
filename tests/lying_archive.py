"""A loopback archive that misbehaves as a test wants."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from visql_lib.archives.loopback import CHUNK, ArchiveHandler, LoopbackArchive, Served

_MOVED = "/moved"

# Kind -> N, where one is needed; None: always. N is the number of times it happens, or as below.
FAULTS: dict[str, int | None] = {
    "500": None,  # status of the first N responses
    "503": None,  # the same
    "404": None,  # the first N files are missing
    "403": None,  # the first N files are refused
    "html": None,  # a page instead of the first N files
    "html-query": None,  # a page instead of the first N responses to queries
    "cut": None,  # the connection breaks in the middle of the first N files
    "hang": None,  # silence instead of the first N files
    "long": None,  # the first N files announce more bytes than they have
    "short": None,  # the first N files announce fewer bytes than they have
    "half": None,  # the first N files are packed halves, whole as gzip files
    "truncated": None,  # the first N files end in the middle, as if meant to
    "garbage": None,  # the first N files are damaged in the middle
    "redirect": None,  # files are elsewhere on this server
    "redirect-away": None,  # files are on another host, which requires no password
    "no-range": None,  # files are always sent from their beginning
    "no-length": None,  # files come without their length, and not in parts
    "slow": 100,  # files come at N kB/s
    "names": 10_000,  # N names of files that are not there are in every list
    "escape": None,  # names that lead out of the folder are in every list
    "clock": 24,  # the server's clock is N hours behind
    "echo": None,  # pages repeat the login that was sent
}


class LyingHandler(ArchiveHandler):
    """Handles requests with the faults of its archive."""

    archive: LyingArchive  # type: ignore[assignment]

    def do_GET(self) -> None:
        archive, path = self.archive, urlsplit(self.path).path
        login = self.headers.get("Authorization", "")
        if path.startswith(_MOVED) and "redirect-away" in archive.faults:  # the other host
            archive.record(self.requestline, bool(login))
            self.handle_file(path.lstrip("/"))
        elif archive.accepts(login) and (status := next(filter(archive.takes, ("500", "503")), "")):
            archive.record(self.requestline, bool(login))
            self.send_page(int(status), "Out of order.")
        else:
            super().do_GET()

    def date_time_string(self, timestamp: float | None = None) -> str:
        late = self.archive.faults.get("clock") or 0
        when = (time.time() if timestamp is None else timestamp) - 3600.0 * late
        return format_datetime(datetime.fromtimestamp(when, UTC), usegmt=True)

    def send_page(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        if "echo" in self.archive.faults:
            sent = self.headers.get("Authorization", "")
            text += f"{'x' * 30} {sent} {sent}"
        super().send_page(status, text, headers)

    def handle_query(self, query: str) -> None:
        if query and self.archive.takes("html-query"):
            return self.send_page(200, "The archive is being looked after.")
        return super().handle_query(query)

    def handle_file(self, name: str) -> None:
        faults, moved = self.archive.faults, name.startswith(_MOVED.lstrip("/"))
        name = name.removeprefix(_MOVED.lstrip("/")).lstrip("/")
        if not moved and "redirect" in faults:
            return self.send_body(302, b"", {"Location": f"{_MOVED}/{name}"})
        if not moved and "redirect-away" in faults:
            port = self.server.server_port
            return self.send_body(302, b"", {"Location": f"http://localhost:{port}{_MOVED}/{name}"})
        if self.archive.takes("hang"):
            self.archive.closing.wait(3600.0)
            self.close_connection = True
            return None
        if self.archive.takes("403"):
            return self.send_page(403, "Not for you.")
        if self.archive.takes("404"):
            return self.send_page(404, f"No file {name}.")
        return super().handle_file(name)

    def send_file(self, path: Path) -> None:
        archive = self.archive
        if archive.takes("html"):
            return self.send_page(200, "Please log in.")
        whole = path.stat().st_size
        size = whole * 6 // 10 if archive.takes("truncated") else whole
        first = self.first_byte()
        if first >= size:
            return self.send_body(416, b"", {"Content-Range": f"bytes */{size}"})
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
        for data in self._chunks(path, first, end):
            self.wfile.write(data)
        return None

    def first_byte(self) -> int:
        return 0 if {"no-range", "no-length"} & self.archive.faults.keys() else super().first_byte()

    def _chunks(self, path: Path, first: int, end: int) -> Iterator[bytes]:
        archive = self.archive
        chunked = "no-length" in archive.faults
        middle = path.stat().st_size // 2 if archive.takes("garbage") else -1
        with path.open("rb") as file:
            file.seek(first)
            while rest := end - file.tell():
                start = file.tell()
                data = file.read(min(CHUNK, rest))
                if start <= middle < start + len(data):
                    data = bytes(255 - b for b in data)
                yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
                archive.count_sent(len(data))
        if chunked and not self.close_connection:
            yield b"0\r\n\r\n"


class LyingArchive(LoopbackArchive):
    """An archive with faults: kind (see `FAULTS`) -> N, None: always."""

    handler = LyingHandler

    def __init__(
        self, products: Sequence[Served], *, faults: Mapping[str, int | None] | None = None, **options: Any
    ) -> None:
        self.closing = threading.Event()
        self.faults = faults or {}
        super().__init__(products, **options)

    @property
    def faults(self) -> dict[str, int | None]:
        return self._faults

    @faults.setter
    def faults(self, faults: Mapping[str, int | None]) -> None:
        """Begin with new faults, none of which has happened yet."""
        self._faults = {kind: FAULTS[kind] if times is None else times for kind, times in faults.items()}
        self._happened: Counter[str] = Counter()

    def stop(self) -> None:
        self.closing.set()
        super().stop()

    def takes(self, kind: str) -> bool:
        """Tell whether a fault happens now, and count it."""
        with self._guard:
            if kind not in self.faults:
                return False
            self._happened[kind] += 1
            times = self.faults[kind]
            return times is None or self._happened[kind] <= times

    def rows(self, since: datetime) -> list[tuple[str, str]]:
        rows = super().rows(since)
        rows += [_names_of_nothing(i) for i in range(self.faults.get("names") or 0)]
        if "escape" in self.faults:
            rows += [("../../escaped", "../escaped.VIS.bin"), ("/etc/escaped", "..")]
        return rows

    def packed(self, name: str) -> Path | None:
        path = super().packed(name)
        if path is None or not self.takes("half"):
            return path
        with gzip.open(path) as file:
            content = file.read()
        half = self._store / f"half-{path.name}"
        half.write_bytes(gzip.compress(content[: len(content) // 2], 1))
        return half

    def count_sent(self, size: int) -> None:
        super().count_sent(size)
        if (rate := self.faults.get("slow")) is not None:
            self.closing.wait(size / (1000.0 * rate))


def _names_of_nothing(i: int) -> tuple[str, str]:
    """Return the names of a product that is not there, older than any that is."""
    day, second = divmod(i, 86_400)
    start = f"202301{day + 1:02d}", f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
    archive = f"EUC_LE1_VIS-{i % 100_000:05d}-1-W_{start[0]}T{start[1]}.000000Z_01_01_01.00_EUCLIDSOC"
    return archive, f"C_{start[0]}_{start[1]}_W_{i:08X}.VIS.bin"
