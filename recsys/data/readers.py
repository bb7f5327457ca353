"""Read the source files of a task as chunks of bounded size."""

import io
from collections.abc import Iterator, Mapping
from typing import IO, Any

import fsspec

from recsys.data.compression import decompressed
from recsys.data.config import TableInput
from recsys.data.formats.input_format import BROKEN_FILE, Chunk, Source, Span, rows_per_chunk
from recsys.data.formats.registry import FORMATS
from recsys.data.partitions import partition_values, with_partitions
from recsys.errors import InputError


def read_chunks(
    fs: fsspec.AbstractFileSystem,
    path: str,
    options: TableInput,
    span: Span | None = None,
    num_bytes: int | None = None,
) -> Iterator[Chunk]:
    """Read one file, or the part `span` of it, as chunks of about 64k rows or 16 MB at most.

    With `num_bytes` only so many of its first bytes are read. Folders such as `date=2026-10-14` give their files a
    column `date`. A file without rows gives one chunk without rows. The rows of a CSV file are text, with null for
    empty cells.

    Raises:
        InputError: the file is missing, empty, cut off or corrupt, or two of its columns share a name.
        ConfigError: the format or the encoding is unknown.
    """
    form = FORMATS[options.format]
    partitions = partition_values(path)
    try:
        with fs.open(path, "rb") as stream:
            first: Any = stream if num_bytes is None else FirstBytes(stream, num_bytes)
            content = decompressed(first, path) if form.compressible else first
            for chunk in form.read(content, Source(path=path, options=options, span=span)):
                yield from _bounded(chunk, partitions)
    except (ConnectionError, TimeoutError):
        raise  # the network failed, not the file: the task may be tried again
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except BROKEN_FILE as error:
        raise InputError(
            f"{path}: cannot be read as {form.name}: {error}; it may be cut off or hold a very long row: repair or "
            "remove it, or correct `format`, `delimiter` or `encoding`"
        ) from error


def _bounded(chunk: Chunk, partitions: Mapping[str, str | None]) -> Iterator[Chunk]:
    table, malformed = chunk.table, chunk.malformed
    if table.num_columns:  # a block that holds only malformed lines has none
        table = with_partitions(table, partitions)
    rows = rows_per_chunk(table.num_rows, table.nbytes)
    for start in range(0, max(table.num_rows, 1), rows):
        # The end is given in full: of a table without columns, Arrow would make as many rows as were asked for.
        yield Chunk(table=table.slice(start, min(rows, table.num_rows - start)), malformed=malformed)
        malformed = malformed.slice(0, 0)


class FirstBytes(io.RawIOBase):
    """The first bytes of a file that is still written."""

    def __init__(self, stream: IO[bytes], num_bytes: int) -> None:
        self._stream, self._left = stream, num_bytes

    def readable(self) -> bool:
        """Parsers ask this before they read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        data = self._stream.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
