"""Looks up all rows of one key in Parquet files.

A look-up decodes the row groups whose statistics say that they may hold the key: most often one. Small row groups and
files that are sorted by the key make it fast; the result is right without them, too.
"""

import contextlib
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.errors import InputError
from recsys.storage.filesystem import Storage
from recsys.storage.s3 import aws_code

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

#: A decoded footer takes about this many times the bytes that it has in the file (measured: 8 to 9).
_FOOTER_FACTOR = 9
#: Memory of a table in addition to its values (measured: 6 to 9 kB at 7 columns).
_TABLE_BYTES = 8_000


class KeyedFiles:
    """Parquet files that never change, in which rows are looked up by the string in one column.

    Any number of threads may look up at once. The footers and answers that were used last are kept; no file stays open.
    """

    def __init__(
        self,
        storage: Storage,
        paths: Mapping[str, str],
        key: str,
        *,
        footer_bytes: int = 64 * 2**20,
        answer_bytes: int = 32 * 2**20,
    ):
        """Nothing is opened yet.

        Args:
            storage: Where the files are.
            paths: The path of each file, by the name that is passed to `rows`.
            key: The column of the keys, strings.
            footer_bytes: Memory for footers. The first look-up in a file reads its footer.
            answer_bytes: Memory for answers; 0: the last one only.
        """
        self._storage = storage
        self._paths = dict(paths)
        self._key = key
        self._footers = _Recent[str, _Footer](footer_bytes)
        self._answers = _Recent[tuple[str, str], pa.Table](answer_bytes)

    def rows(self, name: str, key: str) -> pa.Table:
        """The rows of a key in one file, in the file's order; none: an empty table of the file's schema.

        Raises:
            InputError: the file is missing, truncated, damaged, or lacks the key's column.
            ConfigError, ConnectionError: the storage refuses, or cannot be reached.
        """
        rows = self.kept(name, key)
        if rows is None:
            rows = self._read(self._paths[name], key)
            self._answers.put((name, key), rows, rows.nbytes + _TABLE_BYTES)
        return rows

    def kept(self, name: str, key: str) -> pa.Table | None:
        """What `rows` would return, where that is in memory; else None."""
        return self._answers.get((name, key))

    def _read(self, path: str, key: str) -> pa.Table:
        with self._explained(path):
            footer = self._footer(path)
            groups = footer.groups_with(key)
            if not groups:
                return footer.schema.empty_table()
            with self._storage.open_file(path, footer.size) as stream, self._parquet(stream, footer) as file:
                # All columns at once: reading the keys first would be faster only if the key is absent.
                tables = (file.read_row_group(group, use_threads=False) for group in groups)
                found = [table.filter(pc.equal(table[self._key], key)) for table in tables]
            return pa.concat_tables(found).replace_schema_metadata(None).combine_chunks()

    def _footer(self, path: str) -> "_Footer":
        footer = self._footers.get(path)
        if footer is None:
            with self._storage.open_file(path) as stream, self._parquet(stream) as file:
                footer = _Footer.of(file, self._key, size=stream.seek(0, 2), url=self._storage.url(path))
            self._footers.put(path, footer, footer.metadata.serialized_size * _FOOTER_FACTOR)
        return footer

    def _parquet(self, stream: object, footer: "_Footer | None" = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            stream,
            metadata=footer and footer.metadata,
            pre_buffer=not self._storage.is_local,  # all columns of a row group in one request
            page_checksum_verification=True,
        )

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        url = self._storage.url(path)
        try:
            yield
        except FileNotFoundError as error:
            raise InputError(f"table {url}: there is no such file; run the stage that writes it again") from error
        except (ConnectionError, TimeoutError):
            raise
        except (pa.ArrowException, OSError) as error:
            if aws_code(error) not in ("", "InvalidRange"):  # an error of S3, not of the file
                raise
            message = (
                f"table {url}: is truncated or damaged ({error}); delete it and run the stage that writes it again"
            )
            raise InputError(message) from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Footer:
    """What the footer of a file of G row groups says, before any row is read."""

    metadata: pq.FileMetaData
    schema: pa.Schema
    size: int
    """Bytes of the file."""
    lows: pa.Array
    """[G] UTF-8 bytes that are not above any key of the group, null where unknown."""
    highs: pa.Array
    """[G] UTF-8 bytes that are not below any key of the group, null where unknown."""

    @classmethod
    def of(cls, file: pq.ParquetFile, key: str, *, size: int, url: str) -> "_Footer":
        names = file.schema_arrow.names
        if key not in names:
            raise InputError(f"table {url}: has no column {key!r}; it has {', '.join(names)}")
        kind = file.schema_arrow.field(key).type
        assert pa.types.is_string(kind) or pa.types.is_large_string(kind), f"{url}: keys of {key!r} are {kind}"
        column = [file.schema.column(index).path for index in range(len(file.schema))].index(key)
        groups = (file.metadata.row_group(index) for index in range(file.num_row_groups))
        statistics = [group.column(column).statistics for group in groups]
        # As bytes: bounds may be cut within a character.
        bounds = [
            (known.min_raw, known.max_raw) if known and known.has_min_max else (None, None) for known in statistics
        ]
        return cls(
            metadata=file.metadata,
            schema=file.schema_arrow.remove_metadata(),
            size=size,
            lows=pa.array([low for low, _ in bounds], pa.binary()),
            highs=pa.array([high for _, high in bounds], pa.binary()),
        )

    def groups_with(self, key: str) -> list[int]:
        """The row groups that may hold the key."""
        try:
            value = pa.scalar(key.encode(), pa.binary())
        except UnicodeEncodeError:  # half a surrogate pair: no file can hold it
            return []
        within = pc.and_kleene(pc.less_equal(self.lows, value), pc.greater_equal(self.highs, value))
        groups: list[int] = pc.indices_nonzero(pc.fill_null(within, True)).to_pylist()
        return groups


class _Recent(Generic[Key, Value]):
    """The values that were used last, up to a number of bytes. The newest is always kept, even if it is larger."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Key, value: Value, num_bytes: int) -> None:
        with self._lock:
            self._bytes += num_bytes - self._entries.pop(key, (value, 0))[1]
            self._entries[key] = (value, num_bytes)
            while self._bytes > self._max_bytes and len(self._entries) > 1:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._bytes -= dropped
