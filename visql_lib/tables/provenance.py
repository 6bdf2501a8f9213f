"""Provenance of a product: a record embedded in the product, or in a sidecar file.

Tables keep it at the end of the Parquet file, pictures in a text of the PNG file,
movies in a box of their own at the end of the MP4 file, FITS images in a last
extension. Plate solutions and text
tables have nothing to hold it: theirs is in a hidden file beside them,
``.NAME.json``. A record holds a checksum of all of the file but the record.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from visql_lib import __version__, run_record
from visql_lib.checksum import new_hash
from visql_lib.config.load import digest
from visql_lib.errors import TableError

# What may differ between two runs on one machine that are otherwise the same byte for byte.
DECLARED = ("made", "host", "duration")

PARQUET_KEY = b"visql_provenance"
PARQUET_CHECKSUM = b"visql_checksum"  # once more, to be had without reading the record
PARQUET_META = b"visql"
_DATED = ("made", "asked")
_PARQUET = b"PAR1"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEY = b"visql\0\0"  # keyword of a compressed text, and its method
_PNG_HEAD = 33  # bytes of the signature and the first chunk
_PNG_DATED = (b"tEXtCreation Time\0",)
_MP4_BOX = bytes.fromhex("c1a3e1f07e5c4f0a9d55766973716c00")
_FITS = b"SIMPLE  ="
_FITS_BLOCK = 2880
_FITS_PART = 350 * _FITS_BLOCK  # bytes, about 1 MB
_CHUNK = 1 << 22  # bytes
_LARGEST_RECORD = 1 << 24  # bytes; a larger one is looked for no further
_UP = 3  # folders: inputs farther away from a product are recorded by name only


class NoRecordError(TableError):
    """A file has no provenance: it is no product, or of a version of VISQL without records."""


def record(
    path: Path, stages: Mapping[str, int], checksum: str, inputs: Iterable[Path] = (), product: str = ""
) -> dict[str, Any]:
    """Compose the record of a product that the running step is about to finish.

    Parameters
    ----------
    path : Path
        The product.
    stages : mapping
        The stages that made it, with their versions.
    checksum : str
        Of its content.
    inputs : iterable of Path, optional
        What it was made from, beside what the step was seen to read.
    product : str, optional
        What it is.
    """
    seen = run_record.current()
    here = os.path.abspath(path)  # noqa: PTH100 resolve() would follow links
    for name in [name for name, what in seen.inputs.items() if not what]:
        seen.inputs[name] = _input_checksum(Path(name))  # once for all products of the step
    found = dict(seen.inputs)
    for other in inputs:
        if (absolute := os.path.abspath(other)) not in found and other.is_file():  # noqa: PTH100
            found[absolute] = checksum_of(other)
    found.pop(here, None)  # what stood there before
    folder = os.path.dirname(here)  # noqa: PTH120
    named = [(_input_name(name, folder), what) for name, what in found.items()]
    return {
        "product": product or path.name,
        "visql": __version__,
        "stages": dict(stages),
        "settings": {n: s.model_dump(mode="json") for n, s in sorted(seen.settings.items())},
        "facts": {name: fact_digest(value) for name, value in sorted(seen.facts.items())},
        "inputs": dict(sorted(named, key=itemgetter(0))),
        "checksum": checksum,
        **seen.environment(),
    }


def fact_digest(value: Any) -> str:
    """Hash a fact of the instrument, or of a file of facts."""
    return digest(value if hasattr(value, "model_dump") else {"value": value})


def _input_checksum(path: Path) -> str:
    """Compute the checksum of an input that was just read."""
    return checksum_of(path) if path.is_file() else "gone"


def _input_name(path: str, folder: str) -> str:
    """Format the path of an input for a record: relative to the product's folder, or only its name."""
    near = os.path.relpath(path, folder)
    far = near.startswith("../" * (_UP + 1))
    return os.path.basename(path) if far else near  # noqa: PTH119


def as_bytes(entry: Mapping[str, Any]) -> bytes:
    """Serialise a record."""
    return json.dumps(entry, separators=(",", ":"), default=str).encode("ascii")


def sidecar(path: Path) -> Path:
    """Compose the path of the sidecar with the record of a product that cannot hold it."""
    return path.with_name(f".{path.name}.json")


def write_sidecar(path: Path, stages: Mapping[str, int], inputs: Iterable[Path] = ()) -> None:
    """Write the provenance of a finished text table or plate solution to its sidecar file."""
    from visql_lib.atomic import atomic_path

    content = as_bytes(record(path, stages, _plain_checksum(path), inputs))
    with atomic_path(sidecar(path)) as temporary:
        temporary.write_bytes(content)


def png_with_provenance(
    path: Path, content: bytes, stages: Mapping[str, int], inputs: Iterable[Path] = ()
) -> bytes:
    """Embed its provenance in a PNG file, right after the first chunk."""
    checksum = _png_checksum(content)
    body = b"zTXt" + _PNG_KEY + zlib.compress(as_bytes(record(path, stages, checksum, inputs)))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return content[:_PNG_HEAD] + chunk + content[_PNG_HEAD:]


def append_to_mp4(path: Path, final: Path, stages: Mapping[str, int], inputs: Iterable[Path] = ()) -> None:
    """Append its provenance to the finished movie `path`, which will be moved to `final`."""
    content = as_bytes(record(final, stages, _stream_checksum(path, path.stat().st_size), inputs))
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(content), b"uuid") + _MP4_BOX + content)


def append_to_fits(path: Path, final: Path, stages: Mapping[str, int], inputs: Iterable[Path] = ()) -> None:
    """Append its provenance to the finished FITS file `path`, which will be moved to `final`."""
    _append_fits_record(path, record(final, stages, _stream_checksum(path, path.stat().st_size), inputs))


def rewrite_fits_record(path: Path, entry: Mapping[str, Any]) -> None:
    """Put the record of a FITS file, whose header was changed, in place of the one at its end."""
    with path.open("r+b") as file:
        _, end = _fits_record(file)
        file.truncate(end)
    _append_fits_record(path, {**entry, "checksum": _stream_checksum(path, end)})


def _append_fits_record(path: Path, entry: Mapping[str, Any]) -> None:
    content = as_bytes(entry)
    cards = (
        *(("XTENSION", "'IMAGE   '"), ("BITPIX", "8"), ("NAXIS", "1"), ("NAXIS1", str(len(content)))),
        *(("PCOUNT", "0"), ("GCOUNT", "1"), ("EXTNAME", f"'{run_record.FITS_RECORD}'")),
    )
    head = b"".join(_fits_card(name, value) for name, value in cards) + b"END".ljust(80)
    with path.open("ab") as file:
        file.write(head.ljust(_FITS_BLOCK))
        file.write(content.ljust(-(-len(content) // _FITS_BLOCK) * _FITS_BLOCK, b"\0"))


def _fits_card(name: str, value: str) -> bytes:
    return f"{name:<8}= {value:>20}".ljust(80).encode("ascii")


def _fits_record(file: BinaryIO) -> tuple[bytes, int]:
    """Read the record of a FITS file, in its last extension, and its offset (without one: the file's end)."""
    size = file.seek(0, 2)
    start, name = _fits_card("XTENSION", "'IMAGE   '"), _fits_card("EXTNAME", f"'{run_record.FITS_RECORD}'")
    end = place = size - size % _FITS_BLOCK
    while place > 0 and end - place < _LARGEST_RECORD:
        # Most records are in the first of these parts; raw frames have none, and are looked through.
        first = max(0, place - _FITS_PART)
        file.seek(first)
        part = file.read(place - first)
        at = len(part)
        while (at := part.rfind(start, 0, at)) >= 0:
            head = part[at : at + _FITS_BLOCK]
            if at % _FITS_BLOCK == 0 and name in head:
                length = next(
                    head[n + 10 : n + 30] for n in range(0, 800, 80) if head[n:].startswith(b"NAXIS1 ")
                )
                file.seek(first + at + _FITS_BLOCK)
                return file.read(int(length)), first + at
        place = first
    return b"", size


def read_record(path: Path) -> dict[str, Any]:
    """Read the provenance of a product.

    Raises
    ------
    NoRecordError
        If the file holds none.
    TableError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_PNG_HEAD)
            if start.startswith(_PARQUET):
                content = parquet_texts(path).get(PARQUET_KEY, b"")
            elif start.startswith(_PNG):
                content = _png_record(file)
            elif start[4:8] == b"ftyp":
                content = _mp4_record(file)[0]
            else:
                content = _fits_record(file)[0] if start.startswith(_FITS) else b""
                if not content and sidecar(path).is_file():  # of what another program writes
                    content = sidecar(path).read_bytes()
    except (OSError, struct.error, zlib.error) as error:
        raise TableError(f"{path}: cannot be read ({getattr(error, 'strerror', '') or error})") from error
    if not content:
        raise NoRecordError(
            f"{path}: has no provenance record: not a product of VISQL, or of an early version"
        )
    try:
        entry: dict[str, Any] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"{path}: its provenance record cannot be parsed ({error}); make it again"
        ) from error
    if not isinstance(entry, dict):
        raise TableError(
            f"{path}: its provenance record cannot be parsed (no names and values); make it again"
        )
    return entry


def checksum_of(path: Path) -> str:
    """Look up the checksum of a file's content in its record, or else compute it."""
    try:
        return str(read_record(path)["checksum"])
    except TableError:
        return actual_checksum(path)


def actual_checksum(path: Path) -> str:
    """Compute the checksum of a file's content, without its record.

    Raises
    ------
    TableError
        If the file cannot be read, or is cut short.
    """
    try:
        with path.open("rb") as file:
            start = file.read(12)
            if start.startswith(_PARQUET):
                return _parquet_checksum(file, path)
            if start.startswith(_PNG):
                return _png_checksum(path.read_bytes())
            if start[4:8] == b"ftyp":
                return _stream_checksum(path, _mp4_record(file)[1])
            if start.startswith(_FITS):
                return _stream_checksum(path, _fits_record(file)[1])
        return _plain_checksum(path)
    except (OSError, struct.error) as error:
        raise TableError(f"{path}: cannot be read ({getattr(error, 'strerror', '') or error})") from error


def check_whole(path: Path) -> str:
    """Check the ends of a file, which is cheap; return the problem, "" if there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(max(0, file.seek(0, 2) - 12))
            end = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    wanted = {".parquet": (_PARQUET, _PARQUET), ".png": (_PNG, b"IEND\xaeB`\x82")}
    first, last = wanted.get(path.suffix, (b"", b""))
    return "" if start.startswith(first) and end.endswith(last) else "empty, cut short or of another kind"


def _plain_checksum(path: Path) -> str:
    return _stream_checksum(path, path.stat().st_size)


def _stream_checksum(path: Path, end: int, more: bytes = b"") -> str:
    """Compute the checksum of a file up to a byte, and of further content."""
    found = new_hash()
    with path.open("rb") as file:
        while end > 0 and (part := file.read(min(end, _CHUNK))):
            found.update(part)
            end -= len(part)
    found.update(more)
    return str(found.hexdigest())


def parquet_texts(path: Path) -> dict[bytes, bytes]:
    """Read the metadata texts of a Parquet table, without its rows.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).metadata or {}
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror or 'not a Parquet file'})") from error
    except pa.ArrowException as error:
        raise TableError(f"{path}: not a Parquet table; make it again") from error


def meta_for_checksum(meta: Mapping[str, Any]) -> bytes:
    """Serialise the metadata of a table without the times at which it was made and queried."""
    return as_bytes({name: meta[name] for name in sorted(meta) if name not in _DATED})


def _parquet_checksum(file: BinaryIO, path: Path) -> str:
    """Compute the checksum of the rows and the metadata of a table."""
    size = file.seek(-8, 2) + 8
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != _PARQUET or length > size:
        raise TableError(f"{path}: cut short; make it again")
    try:
        meta = json.loads(parquet_texts(path).get(PARQUET_META, b"{}"))
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path}: its metadata cannot be read; make it again") from error
    return _stream_checksum(path, size - 8 - length, meta_for_checksum(meta))


def _png_record(file: BinaryIO) -> bytes:
    """Read the record of a PNG file, right after its first chunk."""
    length, kind = struct.unpack(">I4s", file.read(8))
    body = file.read(length) if kind == b"zTXt" else b""
    return zlib.decompress(body.removeprefix(_PNG_KEY)) if body.startswith(_PNG_KEY) else b""


def _png_checksum(content: bytes) -> str:
    """Compute the checksum of a PNG file without its record and its creation time."""
    found, place = new_hash(), len(_PNG)
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunk = memoryview(content)[place + 4 : place + 12 + length]
        if not bytes(chunk[:32]).startswith((b"zTXt" + _PNG_KEY, *_PNG_DATED)):
            found.update(chunk)
        place += 12 + length
    return str(found.hexdigest())


def _mp4_record(file: BinaryIO) -> tuple[bytes, int]:
    """Read the record of a movie, and its offset (without one: the file's end)."""
    size, place = file.seek(0, 2), 0
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if kind == b"uuid" and file.read(16) == _MP4_BOX:
            return file.read(length - 24), place
        if length < 8:  # to the end of the file, or broken
            break
        place += length
    return b"", size
