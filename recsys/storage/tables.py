"""Tables as Parquet files. The same rows give the same bytes, and a file appears whole or not at all."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import InputError
from recsys.storage.failures import explained
from recsys.storage.filesystem import Storage


@dataclasses.dataclass(frozen=True, slots=True)
class FileStats:
    """What was written: the number of rows, the size, and the hex digest of the file."""

    rows: int
    bytes: int
    sha256: str


def write_table(
    storage: Storage,
    path: str,
    rows: pa.Table | Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    row_group_size: int = 65_536,
) -> FileStats:
    """Write rows of exactly `schema` as one Parquet file (zstd, page checksums); nothing appears if `rows` raises.

    The same rows give the same bytes, no matter how they are cut into batches. At most one row group is held in memory.
    """
    batches = [rows] if isinstance(rows, pa.Table) else rows
    plain = schema.remove_metadata()
    num_rows = 0
    options = {"compression": "zstd", "compression_level": 3, "version": "2.6", "write_page_checksum": True}
    with storage.new_file(path) as file, pq.ParquetWriter(file.path, plain, **options) as writer:
        for group in _regroup(batches, plain, row_group_size):
            writer.write_table(group, row_group_size=row_group_size)
            num_rows += group.num_rows
    return FileStats(num_rows, file.bytes, file.sha256)


def _regroup(batches: Iterable[pa.Table | pa.RecordBatch], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """Cut batches into tables of `size` rows (the last may be smaller), each column in one piece."""
    waiting: list[pa.Table] = []
    num_waiting = 0
    for batch in batches:
        if not batch.schema.equals(schema):
            raise AssertionError(f"schema differs from the contract:\n{batch.schema}\nis not\n{schema}")
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        table = table.replace_schema_metadata(None)
        while table.num_rows:
            head = table.slice(0, size - num_waiting)
            waiting.append(head)
            num_waiting += head.num_rows
            table = table.slice(head.num_rows)
            if num_waiting == size:
                # Page borders follow chunk borders, so one chunk a group makes the bytes depend on the rows alone.
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, num_waiting = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def read_table(storage: Storage, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole table, or some of its columns.

    Raises:
        InputError: the file is missing, truncated, damaged, or lacks a column.
        ConfigError: it may not be read.
    """
    with _opened(storage, path, columns) as file:
        return file.read(columns=None if columns is None else list(columns))


def iter_batches(
    storage: Storage, path: str, batch_size: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The table in pieces of at most `batch_size` rows, one row group in memory at a time.

    Raises:
        InputError: the file is missing, truncated, damaged, or lacks a column.
    """
    with _opened(storage, path, columns) as file:
        batches = file.iter_batches(batch_size, columns=None if columns is None else list(columns))
        for batch in batches:
            yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def _opened(storage: Storage, path: str, columns: Sequence[str] | None) -> Iterator[pq.ParquetFile]:
    url = storage.url(path)
    with contextlib.ExitStack() as stack:
        # A local copy, so that an error below comes from the file and not from the network.
        try:
            local = stack.enter_context(storage.local_file(path))
        except FileNotFoundError as error:
            raise InputError(f"table {url}: there is no such file; run the stage that writes it again") from error
        try:
            with explained(url):
                file = stack.enter_context(pq.ParquetFile(local, page_checksum_verification=True))
            names = file.schema_arrow.names
            if missing := [column for column in columns or () if column not in names]:
                raise InputError(f"table {url}: has no column {missing[0]!r}; it has {', '.join(names)}")
            yield file
        except (pa.ArrowException, OSError) as error:
            message = (
                f"table {url}: is truncated or damaged ({error}); delete it and run the stage that writes it again"
            )
            raise InputError(message) from error
