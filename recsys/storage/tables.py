"""Tables as Parquet files. The same rows give the same bytes, and a file appears whole or not at all."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import InputError
from recsys.storage.failures import explained
from recsys.storage.filesystem import NewFile, Storage


@dataclasses.dataclass(frozen=True, slots=True)
class FileStats:
    """What was written: the number of rows, the size, and the hex digest of the file."""

    rows: int
    bytes: int
    sha256: str


class TableWriter:
    """Writes rows as one Parquet file, piece by piece. At most one row group is held in memory."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, row_group_size: int) -> None:
        self._writer, self._schema, self._size = writer, schema, row_group_size
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0
        self.rows = 0
        """Rows so far."""

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Write rows of exactly the schema."""
        if not rows.schema.equals(self._schema):
            raise AssertionError(f"schema differs from the contract:\n{rows.schema}\nis not\n{self._schema}")
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        table = table.replace_schema_metadata(None)
        self.rows += table.num_rows
        while table.num_rows:
            head = table.slice(0, self._size - self._num_waiting)
            self._waiting.append(head)
            self._num_waiting += head.num_rows
            table = table.slice(head.num_rows)
            if self._num_waiting == self._size:
                self.flush()

    def flush(self) -> None:
        """Write the rows that wait as a row group."""
        if self._waiting:
            # Page borders follow chunk borders, so one chunk a group makes the bytes depend on the rows alone.
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks(), row_group_size=self._size)
            self._waiting, self._num_waiting = [], 0


@contextlib.contextmanager
def new_table(
    storage: Storage, path: str, schema: pa.Schema, row_group_size: int = 65_536
) -> Iterator[tuple[TableWriter, NewFile]]:
    """Write a Parquet file (zstd, page checksums) in a block; nothing appears if the block raises.

    The same rows give the same bytes, no matter how they are cut. The size and the digest of the file are known after
    the block.
    """
    plain = schema.remove_metadata()
    options = {"compression": "zstd", "compression_level": 3, "version": "2.6", "write_page_checksum": True}
    with storage.new_file(path) as file, pq.ParquetWriter(file.path, plain, **options) as parquet:
        writer = TableWriter(parquet, plain, row_group_size)
        yield writer, file
        writer.flush()


def write_table(
    storage: Storage,
    path: str,
    rows: pa.Table | Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    row_group_size: int = 65_536,
) -> FileStats:
    """Write rows of exactly `schema` as one Parquet file, see `new_table`; nothing appears if `rows` raises."""
    with new_table(storage, path, schema, row_group_size) as (writer, file):
        for batch in [rows] if isinstance(rows, pa.Table) else rows:
            writer.add(batch)
    return FileStats(writer.rows, file.bytes, file.sha256)


def read_table(storage: Storage, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole table, or some of its columns.

    Raises:
        InputError: the file is missing, truncated, damaged, or lacks a column.
        ConfigError: it may not be read.
    """
    with _opened(storage, path, columns) as file:
        return file.read(columns=None if columns is None else list(columns))


def read_sorted_range(storage: Storage, path: str, column: str, values: range) -> pa.Table:
    """The rows of a table sorted by an integer column whose value lies in a range.

    Row groups without such a row are not read.

    Raises:
        InputError: the file is missing, truncated, damaged, or lacks the column.
        ConfigError: it may not be read.
    """
    with _opened(storage, path, [column]) as file:
        leaf = file.schema.names.index(column)
        found = [file.metadata.row_group(group).column(leaf).statistics for group in range(file.num_row_groups)]
        groups = [
            group
            for group, known in enumerate(found)
            if known is None or not known.has_min_max or (known.max >= values.start and known.min < values.stop)
        ]
        table = file.read_row_groups(groups)
    first, last = np.searchsorted(table[column].to_numpy(), [values.start, values.stop])
    return table.slice(first, last - first)


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
