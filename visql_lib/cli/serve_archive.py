"""`visql serve-archive`: an archive on this machine, to practise with."""

from __future__ import annotations

import logging
import os
import signal
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from visql_lib.cli.common import INPUT, step

if TYPE_CHECKING:
    from visql_lib.archives.loopback import Served

log = logging.getLogger(__name__)

_ENDINGS = (".fits", ".fits.gz")


@step(
    "serve-archive",
    """Serve the raw frames of FOLDER on 127.0.0.1, as the Euclid archive does.

    Frames may be .fits (packed on request) or .fits.gz; the time a file was
    changed last is the archive's creation date. Prints its address, for the
    settings fetch.query_url and fetch.file_url, and runs until it is stopped.
    FOLDER is read again every two seconds. Other machines cannot reach it.""",
    "visql serve-archive raw --port 8080",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
@click.option("--user", default="", help="User name that is required.")
@click.option("--password-file", type=INPUT, metavar="FILE", help="File whose first line is the password.")
@click.option("--older", is_flag=True, help="List every frame under an older version, too.")
def command(
    folder: Path,
    port: int,
    user: str,
    password_file: Path | None,
    older: bool,
    config: Path | None,
) -> None:
    """Serve until stopped."""
    from visql_lib.archives.loopback import LoopbackArchive

    if bool(user) != (password_file is not None):
        raise click.UsageError("give --user and --password-file together")
    password = _password(password_file) if password_file else ""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    products = products_of(folder, older=older)
    with LoopbackArchive(products, user=user, password=password, port=port) as archive:
        click.echo(archive.url)
        while not ended.wait(2.0):
            archive.products = products_of(folder, older=older)


def _password(path: Path) -> str:
    """Read the first line of a file that nobody else can read."""
    from visql_lib.archives.credentials import CredentialsError

    with path.open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialsError(
                f"{path}: can be read by others, so it is not used; run `chmod 600 {path}`"
            )
        return file.readline().rstrip("\r\n")


def products_of(folder: Path, *, older: bool = False) -> list[Served]:
    """List the raw frames below a folder as the archive would have them.

    Numbers of observations are made up from the frames' names. `older`: each is
    listed under an older version of the processing, too.
    """
    from visql_lib.archives.loopback import Served
    from visql_lib.errors import NameFormatError
    from visql_lib.instruments.euclid_names import ArchiveName, RawName

    products = []
    for path in sorted(folder.rglob("*.fits*")):
        if not path.name.endswith(_ENDINGS):
            continue
        try:
            raw = RawName.parse(path.name)
            created = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (NameFormatError, FileNotFoundError):
            continue
        for processing in ("01.00", "00.90") if older else ("01.00",):
            archive = ArchiveName(
                int(raw.hex_id, 16) % 100_000, 1, raw.mode, raw.start, raw.exposure, raw.version, processing
            )
            products.append(Served(path, str(archive), f"{raw.stem.rpartition('_')[0][:-3]}", created))
    return products
