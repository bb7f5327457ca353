"""Read the source files of a task as chunks of bounded size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any

import fsspec

from recsys.data.config import TableInput
from recsys.data.files.compression import decompressed
from recsys.data.files.partitions import partition_values, with_partitions
from recsys.data.files.text_pieces import Piece, TextPieces
from recsys.data.formats.input_format import BROKEN_FILE, Chunk, Source, Span, rows_per_chunk
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError


def read_chunks(
    fs: fsspec.AbstractFileSystem,
    path: str,
    options: TableInput,
    span: Span | None = None,
    pieces: Sequence[Piece] = (),
    opened: Callable[[], AbstractContextManager[IO[bytes]]] | None = None,
) -> Iterator[Chunk]:
    """Read one file, or the part `span` of it, as chunks of about 64k rows or 16 MB at most.

    With `pieces` only these bytes of its text are read. Folders such as `date=2026-10-14` give their files a column
    `date`. A file without rows gives one chunk without rows. The rows of a CSV file are text, with null for empty
    cells. `opened` opens the file where it is read ahead.

    Raises:
        InputError: the file is missing, empty, cut off or corrupt, or two of its columns share a name.
        ConfigError: the format or the encoding is unknown.
    """
    form = FORMATS[options.format]
    partitions = partition_values(path)
    try:
        with fs.open(path, "rb") if opened is None else opened() as stream:
            content: Any = decompressed(stream, path) if form.compressible else stream
            text: Any = TextPieces(content, pieces) if pieces else content
            for chunk in form.read(text, Source(path=path, options=options, span=span)):
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
    table = chunk.table
    if table.num_columns:  # a block that holds only malformed lines has none
        chunk = Chunk(table=with_partitions(table, partitions), malformed=chunk.malformed)
    size = rows_per_chunk(table.num_rows, chunk.table.nbytes)
    for start in range(0, max(table.num_rows, 1), size):
        # The end is given in full: of a table without columns, Arrow would make as many rows as were asked for.
        yield chunk.part(start, min(start + size, table.num_rows))
