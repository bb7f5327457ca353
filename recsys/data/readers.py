"""Streams source files as tables of their own columns, with the lines that are no rows set aside.

It knows nothing of which part a column plays: no users, no items, no times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.columns import distinct_columns
from recsys.data.config import TableInput
from recsys.data.csv_rows import read_csv
from recsys.data.files import BROKEN, unpacked
from recsys.data.jsonl_rows import read_jsonl
from recsys.errors import InputError
from recsys.schema import QUARANTINE

_CHUNK_ROWS = 65_536
_CHUNK_BYTES = 16 << 20
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A bounded piece of a file: about 64k rows or 16 MB."""

    table: pa.Table
    """The rows, under their own column names and types (CSV: all strings, empty is null)."""
    malformed: pa.Table
    """QUARANTINE of the lines that are no rows."""


def read_chunks(
    fs: fsspec.AbstractFileSystem, path: str, spec: TableInput, row_groups: tuple[int, int] | None = None
) -> Iterator[Chunk]:
    """Stream one file as bounded chunks; a file without rows gives one chunk without rows.

    Raises:
        InputError: the file is missing, empty, cut off or corrupt, or two of its columns share a name.
        ConfigError: the encoding is unknown.
    """
    try:
        with fs.open(path, "rb") as stream:
            yield from _chunks(stream, path, spec, row_groups)
    except (ConnectionError, TimeoutError):
        raise  # the network's fault, not the file's: the task may be tried again
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except BROKEN as error:
        raise InputError(
            f"{path}: cannot be read as {spec.format}: {error}; it may be cut off, hold a quote that never closes or a "
            "very long row: repair or remove it, or correct `format`, `delimiter` or `encoding`"
        ) from error


def _chunks(stream: IO[bytes], path: str, spec: TableInput, row_groups: tuple[int, int] | None) -> Iterator[Chunk]:
    if spec.format == "parquet":
        yield from _read_parquet(stream, path, row_groups)
        return
    text = unpacked(stream, path)
    blocks = (
        read_jsonl(text, path, block_bytes=_BLOCK_BYTES)
        if spec.format == "jsonl"
        else read_csv(text, path, encoding=spec.encoding, delimiter=spec.delimiter, block_bytes=_BLOCK_BYTES)
    )
    for table, malformed in blocks:
        yield from _bounded(table, malformed)


def _bounded(table: pa.Table, malformed: pa.Table) -> Iterator[Chunk]:
    rows = _rows_a_chunk(table.num_rows, table.nbytes)
    for start in range(0, max(table.num_rows, 1), rows):
        # The end is given in full: of a table without columns, Arrow would make as many rows as were asked for.
        yield Chunk(table=table.slice(start, min(rows, table.num_rows - start)), malformed=malformed)
        malformed = malformed.slice(0, 0)


def _rows_a_chunk(num_rows: int, num_bytes: int) -> int:
    return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES * max(num_rows, 1) // max(num_bytes, 1)))


def _read_parquet(stream: IO[bytes], path: str, row_groups: tuple[int, int] | None) -> Iterator[Chunk]:
    file = pq.ParquetFile(stream)
    names = distinct_columns(file.schema_arrow.names, path)
    groups = list(range(*(row_groups or (0, file.num_row_groups))))
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    num_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    batch_size = _rows_a_chunk(rows, num_bytes)
    empty = True
    for batch in file.iter_batches(batch_size=batch_size, row_groups=groups, use_threads=False) if rows else ():
        empty = False
        yield Chunk(table=_without_views(pa.Table.from_batches([batch])), malformed=QUARANTINE.empty_table())
    if empty:
        yield Chunk(table=file.schema_arrow.empty_table().select(names), malformed=QUARANTINE.empty_table())


def _without_views(table: pa.Table) -> pa.Table:
    """View types as plain ones: Arrow cannot filter them."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields)) if pa.schema(fields) != table.schema.remove_metadata() else table
