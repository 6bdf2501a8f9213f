"""Servers that answer as badly as they can, and clients that must bear it.

Answers are made from a seed and a number: headers, bodies, pace and encodings are
chosen anew for each. To look at them, without pytest::

    python tests/hostile.py serve SEED NUMBER      prints the answer of one number
"""

from __future__ import annotations

import gzip
import json
import random
import re
import resource
import socket
import socketserver
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

SILENCE = 0.15  # s, of all clients
ATTEMPTS = 2
USER, PASSWORD, OTHERS = "observer", "s3cret+/word", "everybodys"
LAST = 8.0  # s, for one client and all its attempts: twenty timeouts each, and what it takes to read
_ENDLESS = 3 << 30  # bytes: as good as that

VOTABLE = (
    '<?xml version="1.0"{encoding}?>{before}<VOTABLE version="1.4"><RESOURCE>{info}<TABLE {table}>'
    '<FIELD name="Source" datatype="long"/><FIELD name="RA_ICRS" datatype="{kind}" {array}/>'
    '<FIELD name="DE_ICRS" datatype="double"/><FIELD name="Gmag" datatype="float"/>'
    "<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"
)
ROW = "<TR><TD>1</TD><TD>{ra}</TD><TD>-55.7</TD><TD>15</TD></TR>"
CELL = '{"metadata": [{"name": "source_id"}, {"name": "ra"}, {"name": "dec"}, {"name": "g"}], "data": %s}'


def votable(chance: random.Random, other: str) -> bytes:
    """Return a VOTable that is nearly right."""
    parts = {"encoding": "", "before": "", "info": "", "table": "", "kind": "double", "array": ""}
    parts["data"] = f"<TABLEDATA>{ROW.format(ra=56.2)}</TABLEDATA>"
    for name, value in chance.choice(
        [
            {"table": 'nrows="300000000"'},
            {"table": f'nrows="{10**12}"'},
            {"table": 'nrows="²"'},
            {"table": f'nrows="{"9" * 5000}"'},
            {"data": f'<BINARY><STREAM href="http://{other}/stars"/></BINARY>'},
            {"data": '<BINARY2><STREAM href="file:///etc/hostname"/></BINARY2>'},
            {"data": '<FITS><STREAM href="file:///etc/hostname"/></FITS>'},
            {"data": '<BINARY><STREAM encoding="base64">AAAA</STREAM></BINARY>'},
            {"before": '<!DOCTYPE x [<!ENTITY a "b">]>'},
            {"before": '<!DOCTYPE x SYSTEM "file:///etc/hostname">'},
            {"info": "<RESOURCE>" * 20_000},
            {"info": "<GROUP>" * 60},
            {
                "kind": "char",
                "array": 'arraysize="*"',
                "data": f"<TABLEDATA>{ROW.format(ra='east')}</TABLEDATA>",
            },
            {"array": 'arraysize="1000000000"'},
            {"array": 'arraysize="2"', "data": f"<TABLEDATA>{ROW.format(ra='1 2')}</TABLEDATA>"},
            {"data": f"<TABLEDATA>{'<TR/>' * 1000}</TABLEDATA>", "array": 'arraysize="1000000"'},
            {"encoding": ' encoding="UTF-16"'},
            {"encoding": ' encoding="UTF-7"'},
            {},
        ]
    ).items():
        parts[name] = value
    text = VOTABLE.format(**parts)
    return text.encode(
        chance.choice(["utf-8", "utf-8", "utf-8", "latin-1", "utf-16", "utf-16-be"]), "replace"
    )


def bomb(chance: random.Random) -> bytes:
    """Return entities that would grow to gigabytes."""
    laughs = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{"a" * 99}">{laughs}]><VOTABLE>&m;</VOTABLE>'
    return text.encode(chance.choice(["utf-8", "utf-16", "utf-16-le"]))


def as_json(chance: random.Random, other: str) -> bytes:
    """Return JSON that is nearly right."""
    rows = ['[[1, "east", 2, 3]]', "[[[1], [2], [3], [4]]]", "[" * 20_000, "[1]", '[{"0": 1}]', "{}"]
    rows += [
        f"[[{'9' * 5000}, 1, 2, 3]]",
        "[[1, 1e999, NaN, 3]]",
        "[[true, true, false, null]]",
        "[[1,2,3,4]]",
    ]
    return (CELL % chance.choice(rows)).encode()


def as_text(chance: random.Random, other: str) -> bytes:
    """Return text that is nearly CSV."""
    head = "source_id,ra,dec,g\n"
    texts = ["#\n" * 2_000_000, "# x" * 1_000_000, f"{head}1,east,2,3\n", f'{head}"1,2,3\n', f"{head}1,2\n"]
    texts += [f"{head}{'9' * 5000},1,2,3\n", f"{head}1,56.2,-55.7,15\n", head * 1000, "," * 500_000 + "\n"]
    return chance.choice(texts).encode()


def listing(chance: random.Random, other: str) -> bytes:
    """Return a page that is nearly the listing of a folder."""
    name = "sci_xrsf-l2-avg1m_g16_d20240713_v{}.nc"
    good = name.format("2-2-0")
    texts = ["<a " * 200_000, "<a href='" * 70_000, "<" * 600_000, "&#" + "9" * 5000, "<script>" * 70_000]
    texts += [f"<a href='{name.format('9' * 5000)}'>x</a>", f"<a href='{name.format('²')}'>x</a>"]
    texts += [
        f"<a href='&#{'9' * 5000};'>x</a>",
        f"<a href='http://[{good}'>x</a>",
        "<a href=" + "x" * 600_000,
    ]
    texts += [f"<a href='{good}'>x</a>"]
    return f"<html>Index of /{chance.choice(texts)}</html>".encode()


def archive(chance: random.Random, other: str) -> bytes:
    """Return what is nearly a list of the archive."""
    head = "Header.ProductId.LimitedString,Data.InputRawFiles.RawFile\r\n"
    texts = [head + '"a","b"\r\n' * 100_000, head + '"' * 500_001 + "\r\n", head + "x" * 500_000 + ",y\r\n"]
    texts += [head + "../x,y\r\n" * 50_000, head + "a\0,b\r\n", head, head + "a\r\n", "²" * 1000 + "\n"]
    return chance.choice(texts).encode()


def horizons(chance: random.Random, other: str) -> bytes:
    """Return what is nearly an ephemeris."""
    rows = [
        "2460504.5, A.D., 1, 2, 3,\n",
        "²,,²,²,²\n",
        "1,2\n",
        f"{'9' * 5000},a,1,2,3\n",
        "nan,a,1,2,3\n",
        "\n",
    ]
    row = chance.choice(rows)
    return f"$$SOE\n{row * min(chance.choice([1, 3, 300_000]), 4_000_000 // len(row))}$$EOE\n".encode()


def frame(chance: random.Random, other: str) -> bytes:
    """Return what is nearly a packed frame."""
    card = b"SIMPLE  =                    T".ljust(80)
    bodies = [bytes(30 << 20), card * 36, card * 36 * 3000, b"<html>log in</html>", card + bytes(5 << 20)]
    packed = gzip.compress(chance.choice(bodies), 1)
    return packed[: chance.choice([len(packed), len(packed) // 2])]


def noise(chance: random.Random, other: str) -> bytes:
    """Return bytes."""
    return chance.randbytes(chance.choice([0, 1, 100, 100_000]))


BODIES = [votable, votable, as_json, as_text, listing, archive, horizons, frame, noise]
OF_CLIENT = {
    "vizier": [votable, as_json, as_text],
    "tap": [votable, as_json, as_text],
    "goes": [listing],
    "horizons": [horizons],
    "list": [archive],
    "file": [frame],
}

STATUS = ["200 OK"] * 24 + [
    "204 x",
    "206 x",
    "304 x",
    "401 x",
    "403 x",
    "404 x",
    "416 x",
    "429 x",
    "500 x",
    "503 x",
]
STATUS += ["301 x", "302 x", "303 x", "307 x", "308 x", "²00 x", "999 x", "-1", ""]
ODD = [
    "Content-Length: ²",
    "Content-Length: -5",
    f"Content-Length: {10**18}",
    f"Content-Length: {'9' * 5000}",
    "Content-Length: 5, 7",
    "Retry-After: ²",
    f"Retry-After: {'9' * 5000}",
    "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT",
    "Date: ²",
    "Date: Mon, 01 Jan 99999999999 00:00:00 GMT",
    "Date: Mon, 01 Jan 2024 00:00:00 -0000",
    f"Date: Mon, 01 Jan {'9' * 5000} 00:00:00 GMT",
    "Content-Encoding: gzip",
    "Content-Encoding: gzip, gzip, gzip",
    "Content-Encoding: br",
    "Content-Encoding: ²",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: ²",
    "Content-Range: bytes ²-²/²",
    f"Content-Range: bytes 0-1/{'9' * 5000}",
    "Content-Type: text/html; charset=²",
    "Content-Type: multipart/mixed; boundary=",
    "Set-Cookie: a=b; expires=²; Max-Age=²; path=" + "/" * 5000,
    f"Set-Cookie: a=b; Max-Age={'9' * 5000}",
    "Connection: keep-alive, ²",
    "no colon",
    ": no name",
    "NUL\0: \0",
    "Folded: a\r\n b\r\n\tc",
    f"Long: {'x' * 70_000}",
    *["Many: x\r\n" * 200],
]


def targets(other: str) -> list[str]:
    """Return where answers send on to."""
    return [
        f"http://{other}/there",
        f"//{other}/there",
        f"http://{USER}:x@{other}/",
        "?again",
        "file:///etc/passwd",
        "http://[",
        "http://127.0.0.1:99999/",
        f"http://{'a' * 300}.invalid/",
        "http://²/",
        "ftp://127.0.0.1/",
        "\t",
        "?" + "x" * 60_000,
    ]


PACE = ["at once"] * 14 + ["trickle headers", "trickle body", "drip", "stall", "hang up", "continue"]


class Answer:
    """The answer to one request: chosen by seed, number, and how often this number was asked."""

    def __init__(self, seed: int, number: int, times: int, client: str, other: str) -> None:
        chance = random.Random(f"{seed} {number} {times}")
        self.status = chance.choice(STATUS)
        self.pace = chance.choice(PACE)
        self.headers = [chance.choice(ODD) for _ in range(chance.choice([0, 0, 1, 1, 2]))]
        if self.status[:1] == "3":
            self.headers.append(f"Location: {chance.choice(targets(other))}")
        self.endless = chance.choice(["", "", "", "", "", "", "zeros", "gzip"])
        own = OF_CLIENT.get(client, [noise])
        make = chance.choice(own * 2 + BODIES + [lambda c, _: bomb(c)])
        self.body = make(chance, other)
        if chance.random() < 0.2:
            self.body = self.body[: chance.randrange(len(self.body) + 1)]
        if chance.random() < 0.2:
            self.body = gzip.compress(self.body, 1)

    def __str__(self) -> str:
        ending = f", then endless {self.endless}" if self.endless else ""
        body = f"{len(self.body)} bytes {self.body[:60]!r}{ending}"
        return f"{self.status!r}, {self.pace}, {[h[:60] for h in self.headers]}, {body}"

    def parts(self) -> Iterator[tuple[bytes, float]]:
        """Yield what is sent, and how long [s] to wait then."""
        lines = [f"HTTP/1.1 {self.status}", *self.headers, "", ""]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        if self.pace == "continue":
            for _ in range(10_000_000):
                yield b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01
        slow = {"trickle headers": head, "trickle body": self.body or b"x" * 1000}.get(self.pace, b"")
        if self.pace != "trickle headers":
            yield head, 0.0
        for byte in slow:
            yield bytes([byte]), 0.05
        if self.pace == "stall":
            yield self.body[: len(self.body) // 2], 20.0
        elif self.pace == "hang up":
            yield self.body[: len(self.body) // 2], 0.0
            return
        elif self.pace == "drip":
            for start in range(0, len(self.body), 200):
                yield self.body[start : start + 200], 0.02
        elif not slow:
            yield self.body, 0.0
            yield from ((part, 0.0) for part in self._more())

    def _more(self) -> Iterator[bytes]:
        zeros = bytes(1 << 20)
        packer = zlib.compressobj(1, wbits=31)
        for _ in range(_ENDLESS >> 20 if self.endless else 0):
            yield zeros if self.endless == "zeros" else packer.compress(zeros)


class Server(socketserver.ThreadingTCPServer):
    """Answers over HTTP, or as a mail server of ten commands, and notes who was shown what."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, seed: int, mail: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Mail if mail else _Web)
        self.seed = seed
        self.other = ""
        self.asked: list[str] = []  # first lines
        self.shown: list[str] = []  # first lines of those that sent a login, or any of our secrets
        self.closing = threading.Event()
        self.count: dict[int, int] = {}
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it is."""
        return int(self.server_address[1])

    def stop(self) -> None:
        """End all."""
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are no news."""


class _Web(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        """Answer one request."""
        self.request.settimeout(20)
        head = b""
        while b"\r\n\r\n" not in head and (data := self.request.recv(65536)):
            head += data
        first = head.split(b"\r\n")[0].decode("latin-1")
        self.server.asked.append(first)
        if re.search(rb"(?i)\nauthorization:", head) or PASSWORD.encode() in head or OTHERS.encode() in head:
            self.server.shown.append(first)
        found = re.match(r"\w+ /(\d+)/(\w+)", first)
        number, client = (int(found[1]), found[2]) if found else (0, "")
        times = self.server.count[number] = self.server.count.get(number, 0) + 1
        _give(self, Answer(self.server.seed, number, times, client, self.server.other).parts())


class _Mail(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        """Say things."""
        self.request.settimeout(20)
        self.server.asked.append("mail")
        chance = random.Random(f"{self.server.seed} mail {len(self.server.asked)}")
        says = [
            "220 x\r\n",
            "250-x\r\n250 AUTH PLAIN STARTTLS\r\n",
            "250 x\r\n",
            "²²² x\r\n",
            "-1\r\n",
            "\r\n",
        ]
        says += [
            "535 x\r\n",
            "354 x\r\n",
            "421 x\r\n",
            "x" * 9000 + "\r\n",
            "250-x\r\n" * 500_000,
            "25",
            "\0\xff\r\n",
        ]
        _give(self, self._lines(chance, says))

    def _lines(self, chance: random.Random, says: list[str]) -> Iterator[tuple[bytes, float]]:
        for number in range(12):
            text = says[0] if number == 0 and chance.random() < 0.7 else chance.choice(says)
            if chance.random() < 0.15:
                yield from ((b, 0.05) for b in (bytes([c]) for c in b"250-" + b"x" * 1000))
            yield text.encode("latin-1", "replace"), 0.0
            if not self.request.recv(65536):
                return


def _give(handler: Any, parts: Iterator[tuple[bytes, float]]) -> None:
    try:
        for data, pause in parts:
            handler.request.sendall(data)
            if pause and handler.server.closing.wait(pause):
                return
        handler.request.shutdown(socket.SHUT_WR)
    except OSError:  # the client has had enough
        return


# Clients


def clients(folder: Path, port: int, mail: int) -> dict[str, Callable[[int], str]]:
    """Return what asks a hostile server, by name; each returns what it got."""
    from visql_lib.archives.credentials import Credentials
    from visql_lib.archives.download import download
    from visql_lib.archives.euclid import query_archive
    from visql_lib.archives.gaia import fetch_tile
    from visql_lib.archives.goes import fetch_day
    from visql_lib.archives.notify import ping_heartbeat_url, post_json, send_mail
    from visql_lib.archives.retry import RetryPolicy
    from visql_lib.archives.web import ArchiveClient
    from visql_lib.pipelines import settings_from_mapping

    policy = RetryPolicy(ATTEMPTS, 0.01, timeout=SILENCE)

    def url(number: int, name: str) -> str:
        return f"http://127.0.0.1:{port}/{number}/{name}"

    def settings(number: int) -> Any:
        tries = {"timeout": SILENCE, "attempts": ATTEMPTS, "backoff": 0.01}
        gaia = {"vizier_url": url(number, "vizier"), "tap_url": url(number, "tap"), "rest": 0, **tries}
        goes = {"url": url(number, "goes"), "satellites": "16", "rest": 0, **tries}
        goes |= {"sources": "server,folder", "folder": str(folder)}
        fetch = {"query_url": url(number, "list"), "netrc": str(folder / ".netrc"), **tries}
        stars = {"folder": str(folder), "nside": 256, **gaia}
        return settings_from_mapping({"gaia": stars, "goes": goes, "fetch": fetch})

    def tile(number: int, source: str) -> str:
        values = settings(number).gaia.model_copy(update={"sources": (source, "folder")})
        return str(fetch_tile(537895, values, folder / "locks").meta["source"])

    def file(number: int) -> str:
        client = ArchiveClient(Credentials(settings(number).fetch), policy)
        target = folder / "frames" / f"{number}.raw"
        magic = b"SIMPLE  ="
        loaded = download(
            url(number, "file"),
            target,
            client,
            check=lambda _: None,
            magic=magic,
            largest=1 << 22,
        )
        return f"{loaded.size if loaded else 0} bytes"

    def listed(number: int) -> str:
        wanted = settings(number).fetch
        client = ArchiveClient(Credentials(wanted), policy)
        return f"{len(query_archive(date(2024, 7, 1), wanted, client).products)} products"

    def sun(number: int) -> str:
        import numpy as np
        from astroquery.jplhorizons import conf

        from visql_lib.archives import horizons as module

        module._TIMEOUT, module._DEADLINE = SILENCE, 10 * SILENCE
        type(conf).horizons_server = url(number, "horizons")
        when = np.datetime64("2024-07-13", "us")
        return f"{len(module.spacecraft_positions('-680', when, when)[0])} positions"

    def hook(number: int) -> str:
        credentials = Credentials(settings(number).fetch)
        ping_heartbeat_url(url(number, "sign"), policy)
        post_json(url(number, "hook"), {"a": 1}, "k", credentials, policy)
        return "told"

    def letter(number: int) -> str:
        from datetime import UTC, datetime

        credentials = Credentials(settings(number).fetch)
        where, to = f"127.0.0.1:{mail}", ["a@x.org"]
        return str(send_mail(where, "b@x.org", to, "s", "t", datetime.now(UTC), credentials, policy))

    return {
        "vizier": lambda n: tile(n, "vizier"),
        "list": listed,
        "goes": lambda n: fetch_day(date(2024, 7, 13), settings(n).goes, folder / "goes").source,
        "file": file,
        "tap": lambda n: tile(n, "tap"),
        "hook": hook,
        "horizons": sun,
        "mail": letter,
    }


def ask_all(folder: Path, port: int, mail: int, first: int, count: int) -> None:
    """Ask so many times, and print a line of JSON about each; any error but ours ends it all."""
    from visql_lib.errors import VisqlError

    for name, nobody in clients(
        folder, 9, 9
    ).items():  # loads the libraries, whose memory is not that of answers
        with suppress(VisqlError):
            nobody(0)
        _tell(-1, name, 0.0, "", "")
    asking = clients(folder, port, mail)
    names = list(asking)
    for number in range(first, first + count):
        name = names[number % len(names)]
        start = time.monotonic()
        try:
            said, got = "", asking[name](number)
        except VisqlError as error:
            said, got = str(error), ""
        _tell(number, name, time.monotonic() - start, said, got)


def _tell(number: int, client: str, seconds: float, said: str, got: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = {"number": number, "client": client, "seconds": seconds, "peak": peak, "said": said, "got": got}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        for client in OF_CLIENT:
            print(client, Answer(int(sys.argv[2]), int(sys.argv[3]), 1, client, "localhost:1"))
    else:
        ask_all(Path(sys.argv[2]), *map(int, sys.argv[3:]))
