"""Our tables on disk: Parquet with units, descriptions and provenance.

astropy's ``Table.read``, pandas and pyarrow all read them. This module avoids
importing astropy, so that a small step starts quickly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray

from visql_lib import __version__, run_record
from visql_lib.atomic import atomic_path
from visql_lib.checksum import new_hash
from visql_lib.errors import TableError
from visql_lib.tables.metadata import M, facts_in
from visql_lib.tables.provenance import (
    PARQUET_CHECKSUM,
    PARQUET_KEY,
    PARQUET_META,
    as_bytes,
    meta_for_checksum,
    parquet_texts,
    record,
)
from visql_lib.tables.schema import Column, TableSchema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_GROUP = 1 << 17  # rows that are rounded and packed at once: a million would double the memory of a step
_UNREMARKABLE, _DENSEST = 100_000_000, 200  # bytes of a table in memory; its size in units of its file's
_META = PARQUET_META
_ASTROPY_META = b"table_meta_yaml"


class Table(dict[str, NDArray]):
    """Columns by name, with the metadata of the table in ``meta``."""

    def __init__(self, columns: Mapping[str, NDArray], meta: Mapping[str, Any]) -> None:
        super().__init__(columns)
        self.meta = dict(meta)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values()))) if self else 0


def write_table(
    path: Path,
    columns: Mapping[str, Any],
    schema: TableSchema,
    *,
    stage: str = "",
    stage_version: int = 0,
    inputs: Sequence[Path] = (),
    settings_hash: str = "",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a table with its provenance.

    Parameters
    ----------
    path : Path
        Where to; written under a temporary name and renamed.
    columns : mapping of arrays
        At least the columns of `schema`; others are left out.
    schema : TableSchema
        Types, units, rounding and descriptions.
    stage, stage_version, inputs, settings_hash : optional
        Provenance: what made the table, from which files, with which settings.
    meta : mapping, optional
        More to keep with the table; values JSON can hold, those of `schema` of their kind.

    Raises
    ------
    TableError
        If a column is missing or of the wrong length, or a value of the metadata of another kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if schema.metadata is not None:
        facts_in(meta or {}, schema.metadata, path)
    n_rows = schema.length(columns)
    first = schema.cast(_rows(columns, schema, 0))
    fields = [_field(c, first[c.name]) for c in schema.columns]
    kept = {
        **(meta or {}),
        "made": run_record.now(),
        "product": schema.product,
        "visql_version": __version__,
        "stage": stage,
        "stage_version": stage_version,
        "inputs": [p.name for p in inputs],
        "settings": settings_hash,
    }
    metadata = {
        _META: json.dumps(kept, default=_plain).encode(),
        _ASTROPY_META: _astropy_yaml(schema, first, kept).encode(),
        **_string_lengths(schema, columns),
    }
    arrow_schema = pa.schema(fields, metadata=metadata)
    split = [c.name for c in schema.columns if c.split]
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 5,
        "use_dictionary": [name for name in schema.names if name not in split],
        "use_byte_stream_split": split,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        sink = _HashedFile(file)
        with pq.ParquetWriter(sink, arrow_schema, **options) as writer:
            for start in range(0, max(n_rows, 1), _GROUP):
                cast = first if start == 0 else schema.cast(_rows(columns, schema, start))
                arrays = [
                    _to_arrow(c, cast[c.name], f.type) for c, f in zip(schema.columns, fields, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=arrow_schema))
            # Until now only rows were written: the footer comes last.
            checksum = sink.checksum(meta_for_checksum(json.loads(metadata[_META])))
            origin = as_bytes(record(path, {stage: stage_version}, checksum, inputs, schema.product))
            writer.add_key_value_metadata({PARQUET_KEY: origin, PARQUET_CHECKSUM: checksum.encode()})


class _HashedFile:
    """A file that is written from its beginning to its end, and a checksum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash, self.closed = file, new_hash(), False

    def write(self, data: Any) -> int:
        """Write and count."""
        self._hash.update(data)
        return self._file.write(data)

    def checksum(self, more: bytes) -> str:
        """Compute the checksum of what was written until now, and of more."""
        self._hash.update(more)
        return str(self._hash.hexdigest())

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def writable(self) -> bool:
        """Report that the stream is writable."""
        return True

    def close(self) -> None:
        """Leave the file open: its opener closes it."""
        self.closed = True


def _rows(columns: Mapping[str, Any], schema: TableSchema, start: int) -> dict[str, Any]:
    """Slice one group of rows."""
    return {name: columns[name][start : start + _GROUP] for name in schema.names}


@contextmanager
def _opened(path: Path, columns: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """Open a table once for all that is read of it: a run may replace the file meanwhile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.OSFile(str(path)) as source:
        metadata = pq.read_metadata(source)
        schema = metadata.schema.to_arrow_schema()
        size = metadata.num_rows * max(1, len(schema.names)) * 8
        if size > max(_UNREMARKABLE, _DENSEST * source.size()):  # equal values pack to nothing
            raise TableError(
                f"{path}: its metadata gives {metadata.num_rows} rows, more than the file can hold"
            )
        missing = [c for c in columns if c not in schema.names]
        if missing:
            raise TableError(f"{path}: has no column {', '.join(missing)}")
        _note(path, metadata.metadata)
        texts = [f.name for f in schema if pa.types.is_string(f.type)]
        with pq.ParquetFile(source, metadata=metadata, read_dictionary=texts) as file:
            yield file


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read one of our tables, all columns or only some.

    Raises
    ------
    TableError
        If the file is no Parquet table or lacks a wanted column.
    """
    with _broken_told(path), _opened(path, columns or ()) as file:
        table = file.read(columns=list(columns) if columns is not None else None, use_threads=False)
        read = {n: _to_numpy(table.column(n)) for n in table.column_names}
    return Table(read, _meta_of(path, table.schema))


def column_names(path: Path) -> list[str]:
    """List the columns of a table.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    with _broken_told(path), _opened(path, ()) as file:
        return list(file.schema_arrow.names)


def read_parts(path: Path, columns: Sequence[str]) -> Iterator[Table]:
    """Yield some columns of one of our tables, some ten thousand rows at a time; at least one part.

    Raises
    ------
    TableError
        If the file is no Parquet table or lacks a wanted column.
    """
    with _broken_told(path), _opened(path, columns) as file:
        for number in range(file.num_row_groups):
            part = file.read_row_group(number, columns=list(columns), use_threads=False)
            yield Table({n: _to_numpy(part.column(n)) for n in columns}, _meta_of(path, part.schema))
        if file.num_row_groups == 0:
            part = file.read(columns=list(columns), use_threads=False)
            yield Table({n: _to_numpy(part.column(n)) for n in columns}, _meta_of(path, part.schema))


@contextmanager
def _broken_told(path: Path) -> Iterator[None]:
    """Convert Arrow's errors on broken tables, or on foreign columns, to a `TableError`."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror or 'not a Parquet file'})") from error
    except (pa.ArrowException, ValueError, TypeError, NotImplementedError) as error:  # or columns of lists
        raise TableError(f"{path}: not a Parquet table; make it again") from error


def read_meta(path: Path) -> dict[str, Any]:
    """Read the metadata of a table, without its rows."""
    texts = parquet_texts(path)
    _note(path, texts)
    return _meta_in(path, texts)


def read_facts(path: Path, model: type[M]) -> M:
    """Read the values of a model from the metadata of a table, without its rows.

    Raises
    ------
    TableError
        If the table cannot be read, or a value is of another kind.
    """
    return facts_in(read_meta(path), model, path)


def _note(path: Path, texts: Mapping[bytes, bytes] | None) -> None:
    run_record.current().read(path, (texts or {}).get(PARQUET_CHECKSUM, b"").decode())


def _meta_of(path: Path, schema: pa.Schema) -> dict[str, Any]:
    return _meta_in(path, schema.metadata or {})


def _meta_in(path: Path, texts: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        meta = json.loads(texts.get(_META, b"{}"))
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise TableError(f"{path}: its metadata cannot be read; make it again")
    return meta


def _string_lengths(schema: TableSchema, columns: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Compute the longest length of each text column, where astropy looks for it."""
    texts = {
        c.name: np.asarray(columns[c.name], dtype=np.str_).dtype for c in schema.columns if c.dtype == "str"
    }
    return {
        f"table::len::{name}".encode(): str(max(1, t.itemsize // 4)).encode() for name, t in texts.items()
    }


def _plain(value: Any) -> Any:
    """Turn NumPy numbers and other odd values into what JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


def _arrow_type(column: Column) -> pa.DataType:
    import pyarrow as pa

    if column.dtype == "str":
        return pa.string()  # Parquet keeps it as a dictionary; astropy refuses Arrow's own
    if column.dtype == "time":
        return pa.timestamp("us")
    return pa.from_numpy_dtype(np.dtype(column.dtype))


def _field(column: Column, values: NDArray) -> pa.Field:
    import pyarrow as pa

    kind = _arrow_type(column)
    if column.size:
        kind = pa.list_(kind, values.shape[1])
    return pa.field(column.name, kind, metadata={"unit": column.unit, "description": column.doc})


def _to_arrow(column: Column, values: NDArray, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if column.size:
        return pa.FixedSizeListArray.from_arrays(_buffer(values.ravel()), type=kind)
    if column.dtype == "str":
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])  # names come in runs
        names, codes = np.unique(values[starts], return_inverse=True)
        codes = np.repeat(codes.astype(np.int32), np.diff(starts, append=len(values)))
        coded = pa.DictionaryArray.from_arrays(_buffer(codes), _texts(names))
        return coded.dictionary_decode()
    return _buffer(values, kind)


def _buffer(values: NDArray, kind: pa.DataType | None = None) -> pa.Array:
    """Wrap numbers as they are; `pyarrow.array` would import pandas, which takes longer than many a step."""
    import pyarrow as pa

    if values.dtype == bool:  # Arrow packs eight to a byte
        packed = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])
    values = np.ascontiguousarray(values)
    kind = kind or pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values.view(np.uint8))])


def _texts(names: NDArray) -> pa.Array:
    """Wrap texts; see `_buffer`."""
    import pyarrow as pa

    encoded = [str(name).encode() for name in names]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _to_numpy(column: pa.ChunkedArray) -> NDArray:
    import pyarrow as pa

    kind = column.type
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no chunk or several
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, kind)
    if pa.types.is_fixed_size_list(kind):
        return _numbers(array.flatten()).reshape(-1, kind.list_size)
    if pa.types.is_dictionary(kind):
        names = np.asarray(array.dictionary.to_pylist() or [""], dtype=np.str_)
        return names[_numbers(array.indices)]
    return _numbers(array)


def _numbers(array: pa.Array) -> NDArray:
    """Extract the numbers of an array, read-only; `to_numpy` would import pandas, see `_buffer`."""
    if array.type.bit_width == 1 and not array.null_count and len(array):  # Arrow packs eight to a byte
        bits = np.unpackbits(np.frombuffer(array.buffers()[1], np.uint8), bitorder="little")
        return bits[array.offset : array.offset + len(array)].astype(bool)
    if array.null_count or not len(array) or array.type.bit_width < 8:  # no plain row of numbers
        return array.to_numpy(zero_copy_only=False)
    dtype = np.dtype(array.type.to_pandas_dtype())
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _astropy_yaml(schema: TableSchema, cast: Mapping[str, NDArray], meta: Mapping[str, Any]) -> str:
    """Compose the header astropy looks for, so that ``Table.read`` gives columns with units."""
    columns = []
    for c in schema.columns:
        kind = {"str": "string", "time": "datetime64[us]"}.get(c.dtype, c.dtype)
        entry = {"name": c.name, "unit": c.unit, "datatype": kind, "description": c.doc}
        if c.size:
            entry.update(datatype="string", subtype=f"{c.dtype}[{cast[c.name].shape[1]}]")
        columns.append({k: v for k, v in entry.items() if v})
    plain = json.loads(json.dumps(dict(meta), default=_plain))
    return yaml.safe_dump({"datatype": columns, "meta": plain}, sort_keys=False)
