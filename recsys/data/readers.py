"""Streams source files as tables of their own columns, with the lines that are no rows set aside.

It knows nothing of which part a column plays: no users, no items, no times.
"""

import codecs
import csv
import gzip
import io
import json
import math
import posixpath
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from recsys.config import Format, TableInput
from recsys.errors import ConfigError, InputError
from recsys.schema import QUARANTINE

_CHUNK_ROWS = 65_536
_CHUNK_BYTES = 16 << 20
_BLOCK_BYTES = 8 << 20
_LONGEST_CELL = 10_000
_EXTENSIONS: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv", ".txt", ".inter", ".item", ".user"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
}
_RECBOLE_TYPES = frozenset({"token", "token_seq", "float", "float_seq"})
#: Bytes that are not text in the file's encoding travel through the CSV parser as these private characters.
_UNREADABLE = 0x10FF00
_UNREADABLE_PREFIX = chr(_UNREADABLE).encode()[:2]
_UNREADABLE_PATTERN = r"[\x{10FF00}-\x{10FFFF}]"
_UNREADABLE_CHARACTERS = re.compile("[\U0010ff00-\U0010ffff]")
_BROKEN = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError)


class Reason(StrEnum):
    """Why a row is in quarantine."""

    MALFORMED_ROW = "malformed_row"
    INVALID_ENCODING = "invalid_encoding"
    MISSING_USER = "missing_user"
    MISSING_ITEM = "missing_item"
    ID_TOO_LONG = "id_too_long"
    UNPRINTABLE_ID = "unprintable_id"
    UNREADABLE_TIMESTAMP = "unreadable_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    UNREADABLE_WEIGHT = "unreadable_weight"
    NON_FINITE_WEIGHT = "non_finite_weight"
    NEGATIVE_WEIGHT = "negative_weight"
    UNKNOWN_ITEM = "unknown_item"
    UNREADABLE_AVAILABLE = "unreadable_available"
    TEXT_TOO_LONG = "text_too_long"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A bounded piece of a file: about 64k rows or 16 MB."""

    table: pa.Table
    """The rows, under their own column names and types (CSV: all strings, empty is null)."""
    malformed: pa.Table
    """QUARANTINE of the lines that are no rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One source file."""

    path: str
    size: int
    """Bytes."""
    version: str
    """Changes when the content does: nanoseconds of the local change time, or the object's ETag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one task reads: several small files, or some row groups of a large one."""

    index: int
    """Place among the splits; rows keep the order of the files."""
    files: tuple[str, ...]
    row_groups: tuple[int, int] | None
    """Row groups [first, last) of the only file; None: whole files."""
    num_bytes: int


def list_files(fs: fsspec.AbstractFileSystem, path: str, format: Format) -> list[FileInfo]:  # noqa: A002 - the config's word
    """Files of a file, folder (recursive, by extension) or glob, sorted by path, but none whose name begins with _ or .

    Raises:
        InputError: there is none.
    """
    try:
        if fs.isfile(path):
            return [_file_info(fs.info(path))]
        found = _under(fs, path, format) if fs.isdir(path) else _matching(fs, path, format)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed: {error}") from error
    files = sorted((_file_info(info) for info in found), key=lambda file: file.path)
    if not files:
        endings = ", ".join(_EXTENSIONS[format])
        raise InputError(f"{path}: no {format} file there; give a file, a folder with {endings} files, or a glob")
    return files


def plan_splits(
    fs: fsspec.AbstractFileSystem,
    files: Sequence[FileInfo],
    format: Format,  # noqa: A002 - the config's word
    target_bytes: int = 64 << 20,
) -> list[Split]:
    """Tasks of about `target_bytes` in file order: small files are packed, large Parquet files cut by row groups.

    Raises:
        InputError: a large Parquet file is corrupt.
    """
    parts: list[tuple[tuple[str, ...], tuple[int, int] | None, int]] = []
    packed: list[FileInfo] = []

    def flush() -> None:
        if packed:
            parts.append((tuple(file.path for file in packed), None, sum(file.size for file in packed)))
            packed.clear()

    for file in files:
        if packed and sum(other.size for other in packed) + file.size > target_bytes:
            flush()
        if format == "parquet" and file.size > target_bytes:
            parts.extend(
                ((file.path,), groups, num_bytes) for groups, num_bytes in _cut_by_row_groups(fs, file, target_bytes)
            )
        else:
            packed.append(file)
    flush()
    return [
        Split(index=index, files=paths, row_groups=groups, num_bytes=num_bytes)
        for index, (paths, groups, num_bytes) in enumerate(parts)
    ]


def num_row_groups(fs: fsspec.AbstractFileSystem, path: str) -> int:
    """Row groups of a Parquet file, from its footer.

    Raises:
        InputError: the file is missing or corrupt.
    """
    return len(_row_group_bytes(fs, path))


def read_chunks(
    fs: fsspec.AbstractFileSystem, path: str, spec: TableInput, row_groups: tuple[int, int] | None = None
) -> Iterator[Chunk]:
    """Stream one file as bounded chunks; a file without rows gives one chunk without rows.

    Raises:
        InputError: the file is missing, empty, cut off or corrupt, or two of its columns share a name.
        ConfigError: the encoding is unknown.
    """
    readers: dict[Format, Callable[[IO[bytes]], Iterator[Chunk]]] = {
        "csv": lambda stream: _read_csv(_unpacked(stream, path), path, spec),
        "jsonl": lambda stream: _read_jsonl(_unpacked(stream, path), path),
        "parquet": lambda stream: _read_parquet(stream, path, row_groups),
    }
    try:
        with fs.open(path, "rb") as stream:
            yield from readers[spec.format](stream)
    except (ConnectionError, TimeoutError):
        raise  # the network's fault, not the file's: the task may be tried again
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except _BROKEN as error:
        raise InputError(
            f"{path}: cannot be read as {spec.format}: {error}; it may be cut off, hold a quote that never closes or a "
            "very long row: repair or remove it, or correct `format`, `delimiter` or `encoding`"
        ) from error


def require_columns(table_columns: Sequence[str], wanted: Iterable[str], path: str, key: str) -> None:
    """Check that a file has the columns that the config key `key` names.

    Raises:
        InputError: one is missing; names the key, the column, the file and the columns it has.
    """
    for column in wanted:
        if column not in table_columns:
            known = ", ".join(table_columns) or "none"
            raise InputError(f"{key}: column {column!r} is not in {path}; its columns are {known}")


def quarantined(source: str, rows: Sequence[str], columns: Sequence[str], reasons: Sequence[str]) -> pa.Table:
    """QUARANTINE of parallel lists; `rows` are JSON."""
    return pa.table([[source] * len(rows), list(rows), list(columns), list(reasons)], schema=QUARANTINE)


def rows_as_json(table: pa.Table) -> list[str]:
    """Each row as strict JSON: NaN, dates and decimals as text, long values cut. For the few bad rows: it is slow."""
    readable = [
        pc.cast(column, pa.string()) if pa.types.is_temporal(column.type) else column for column in table.columns
    ]
    rows = pa.table(readable, names=table.column_names).to_pylist()
    return [json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) for row in rows]


def _plain(value: Any) -> Any:
    """A value that strict JSON can hold."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    if len(text) > _LONGEST_CELL:
        text = text[:_LONGEST_CELL] + "…"
    return _UNREADABLE_CHARACTERS.sub("\ufffd", text)


def _raw_rows(source: str, lines: Sequence[str | bytes], reasons: Sequence[str]) -> pa.Table:
    """QUARANTINE of lines that are no rows."""
    rows = [json.dumps({"raw": _plain(line)}, ensure_ascii=False) for line in lines]
    return quarantined(source, rows, [""] * len(rows), reasons)


# Finding files


def _file_info(info: dict[str, Any]) -> FileInfo:
    moment = info.get("mtime", info.get("LastModified", info.get("created", "")))
    version = info.get("ETag") or (str(int(moment * 1_000_000_000)) if isinstance(moment, float) else str(moment))
    return FileInfo(path=str(info["name"]), size=int(info["size"] or 0), version=str(version).strip('"'))


def _under(fs: fsspec.AbstractFileSystem, folder: str, format: Format) -> list[dict[str, Any]]:  # noqa: A002
    root = str(fs._strip_protocol(folder)).rstrip("/") + "/"
    found = fs.find(folder, detail=True).values()
    return [
        info
        for info in found
        if info["type"] == "file"
        and not _hidden(str(info["name"]).removeprefix(root))
        and _without_gz(str(info["name"]), format).endswith(_EXTENSIONS[format])
    ]


def _matching(fs: fsspec.AbstractFileSystem, pattern: str, format: Format) -> list[dict[str, Any]]:  # noqa: A002
    if not any(character in pattern for character in "*?["):
        return []
    found: dict[str, dict[str, Any]] = {}
    for name, info in fs.glob(pattern, detail=True).items():
        if _hidden(posixpath.basename(str(name).rstrip("/"))):
            continue
        inside = _under(fs, name, format) if info["type"] == "directory" else [info]
        found.update({str(file["name"]): file for file in inside})
    return list(found.values())


def _hidden(relative: str) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def _without_gz(name: str, format: Format) -> str:  # noqa: A002
    lowered = name.lower()
    return lowered if format == "parquet" else lowered.removesuffix(".gz")


def _cut_by_row_groups(
    fs: fsspec.AbstractFileSystem, file: FileInfo, target_bytes: int
) -> Iterator[tuple[tuple[int, int], int]]:
    sizes = _row_group_bytes(fs, file.path)
    scale = file.size / max(sum(sizes), 1)  # the footer counts bytes before compression
    first, gathered = 0, 0.0
    for index, size in enumerate(sizes):
        if index > first and gathered + size * scale > target_bytes:
            yield (first, index), int(gathered)
            first, gathered = index, 0.0
        gathered += size * scale
    yield (first, len(sizes)), int(gathered)


def _row_group_bytes(fs: fsspec.AbstractFileSystem, path: str) -> list[int]:
    try:
        with fs.open(path, "rb") as stream:
            footer = pq.ParquetFile(stream).metadata
            return [footer.row_group(index).total_byte_size for index in range(footer.num_row_groups)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except _BROKEN as error:
        raise InputError(f"{path}: is no readable Parquet file: {error}; write it again or remove it") from error


# Reading them


def _unpacked(stream: IO[bytes], path: str) -> IO[bytes]:
    opened: Any = gzip.GzipFile(fileobj=stream) if path.lower().endswith(".gz") else stream
    return opened  # type: ignore[no-any-return]


def _bounded(table: pa.Table) -> Iterator[pa.Table]:
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES * max(table.num_rows, 1) // max(table.nbytes, 1)))
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)


def _chunks(table: pa.Table, malformed: pa.Table) -> Iterator[Chunk]:
    for piece in _bounded(table):
        yield Chunk(table=piece, malformed=malformed)
        malformed = malformed.slice(0, 0)


def _distinct(names: Sequence[str], path: str) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: more than one column is called {', '.join(map(repr, twice))}; rename all but one")
    return list(names)


def _read_parquet(stream: IO[bytes], path: str, row_groups: tuple[int, int] | None) -> Iterator[Chunk]:
    file = pq.ParquetFile(stream)
    names = _distinct(file.schema_arrow.names, path)
    groups = list(range(*(row_groups or (0, file.num_row_groups))))
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    num_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    batch_size = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES * max(rows, 1) // max(num_bytes, 1)))
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


def _mark_unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_UNREADABLE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("recsys-mark-unreadable", _mark_unreadable)


class _Utf8Stream(io.RawIOBase):
    """Bytes in any encoding as valid UTF-8 without a byte-order mark; unreadable bytes become private characters."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        try:
            "".encode(encoding)  # refuses what is no text encoding, such as rot13
            codec = codecs.lookup("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
            self._decoder = codec.incrementaldecoder("recsys-mark-unreadable")
        except (LookupError, TypeError) as error:
            raise ConfigError(f"encoding {encoding!r} is unknown; use a name such as utf-8 or latin-1") from error
        self._stream = stream
        self._buffer = b""
        self._begun = self._ended = False
        self.has_unreadable = False
        self.last_byte = b""

    def readable(self) -> bool:
        return True

    def push_back(self, data: bytes) -> None:
        self._buffer = data + self._buffer

    def read(self, size: int = -1) -> bytes:
        while (size < 0 or len(self._buffer) < size) and not self._ended:
            block = self._stream.read(1 << 20)
            self._ended = not block
            text = self._decoder.decode(block, self._ended)
            if not self._begun and text:
                self._begun, text = True, text.removeprefix("\ufeff")
            data = text.encode()
            self.has_unreadable = self.has_unreadable or _UNREADABLE_PREFIX in data
            self.last_byte = data.rstrip(b"\r\n")[-1:] or self.last_byte
            self._buffer += data
        size = len(self._buffer) if size < 0 else size
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def _read_csv(stream: IO[bytes], path: str, spec: TableInput) -> Iterator[Chunk]:
    text = _Utf8Stream(stream, spec.encoding)
    names = _header(text, path, spec.delimiter)
    bad: list[str] = []

    def set_aside(row: Any) -> str:
        bad.extend(row.text.split("\n"))  # a quote that never closes must not hide a thousand rows in one
        return "skip"

    first = text.read(1 << 20)
    while first and not first.strip(b"\r\n"):
        first = text.read(1 << 20)
    if not first:
        table = pa.table([pa.array([], pa.string())] * len(names), names=names)
        yield Chunk(table=table, malformed=QUARANTINE.empty_table())
        return
    text.push_back(first)
    batches = pyarrow.csv.open_csv(
        pa.PythonFile(text, mode="r"),
        pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=_BLOCK_BYTES),
        pyarrow.csv.ParseOptions(delimiter=spec.delimiter, newlines_in_values=True, invalid_row_handler=set_aside),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=False,  # the stream already did
        ),
    )
    waiting: pa.Table | None = None
    for batch in batches:
        if waiting is not None:
            yield from _csv_chunks(waiting, bad, path, text)
        waiting = pa.Table.from_batches([batch])
    if waiting is None:
        waiting = pa.table([pa.array([], pa.string())] * len(names), names=names)
    yield from _csv_chunks(_without_open_quote(waiting, bad, text), bad, path, text)


def _header(text: _Utf8Stream, path: str, delimiter: str) -> list[str]:
    """Column names; leaves the stream at the first row."""
    data = text.read(1 << 20)
    lines = io.StringIO(data.decode(errors="ignore"), newline="")
    used: list[str] = []

    def spend() -> Iterator[str]:
        for line in lines:
            used.append(line)
            yield line

    try:
        names = next((record for record in csv.reader(spend(), delimiter=delimiter) if record), None)
    except csv.Error as error:
        raise InputError(f"{path}: its header cannot be read: {error}") from error
    if names is None:
        raise InputError(f"{path}: is empty, not even a header; write the column names, or remove the file")
    text.push_back(data[len("".join(used).encode()) :])
    types = [name.rpartition(":")[2] for name in names]
    if all(":" in name for name in names) and _RECBOLE_TYPES.issuperset(types):
        names = [name.rpartition(":")[0] for name in names]
    return _distinct([name.strip() for name in names], path)


def _without_open_quote(table: pa.Table, bad: list[str], text: _Utf8Stream) -> pa.Table:
    """The parser lets a quote that never closes swallow the rest of the file into one cell: those lines are no row."""
    if not table.num_rows or text.last_byte == b'"':
        return table
    last = table[table.num_columns - 1][-1].as_py() or ""
    if "\n" not in last:
        return table
    cells = [value.as_py() or "" for value in (column[-1] for column in table.columns)]
    bad.extend(",".join(cells).rstrip("\n").split("\n"))
    return table.slice(0, table.num_rows - 1)


def _csv_chunks(table: pa.Table, bad: list[str], path: str, text: _Utf8Stream) -> Iterator[Chunk]:
    lines = bad[:]
    del bad[: len(lines)]  # not clear(): the parser may read ahead and add to it meanwhile
    malformed = _raw_rows(path, lines, [Reason.MALFORMED_ROW] * len(lines))
    if text.has_unreadable:
        table, unreadable = _split_unreadable(table, path)
        malformed = pa.concat_tables([malformed, unreadable])
    yield from _chunks(table, malformed)


def _split_unreadable(table: pa.Table, path: str) -> tuple[pa.Table, pa.Table]:
    first = pa.nulls(table.num_rows, pa.string())
    for name in table.column_names:
        marked = pc.fill_null(pc.match_substring_regex(table[name], pattern=_UNREADABLE_PATTERN), False)
        first = pc.coalesce(first, pc.if_else(marked, name, pa.scalar(None, pa.string())))
    bad = pc.is_valid(first)
    rows = rows_as_json(table.filter(bad))
    columns = pc.drop_null(first).to_pylist()
    return table.filter(pc.invert(bad)), quarantined(path, rows, columns, [Reason.INVALID_ENCODING] * len(rows))


def _read_jsonl(stream: IO[bytes], path: str) -> Iterator[Chunk]:
    known: dict[str, pa.DataType] = {}
    blocks = _line_blocks(stream, path)
    for block in blocks:
        table = _parsed_block(block)
        malformed = QUARANTINE.empty_table()
        if table is None:
            table, malformed = _parsed_lines(block, path)
        known |= dict(zip(table.column_names, table.schema.types, strict=True))
        for name in known.keys() - set(table.column_names):  # a key that no line of this block has is missing there
            table = table.append_column(name, pa.nulls(table.num_rows, known[name]))
        yield from _chunks(table.select(list(known)) if known else table, malformed)


def _line_blocks(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """Whole lines, about a block of them at a time."""
    data = stream.read(_BLOCK_BYTES)
    if not data:
        raise InputError(f"{path}: is empty; write at least one line, or remove the file")
    data = data.removeprefix(codecs.BOM_UTF8)
    while following := stream.read(_BLOCK_BYTES):
        lines, newline, rest = data.rpartition(b"\n")
        if newline:
            yield lines + newline
        elif len(rest) > 8 * _BLOCK_BYTES:
            raise InputError(f"{path}: a line is longer than {8 * _BLOCK_BYTES >> 20} MB; is it JSON lines?")
        data = rest + following
    yield data + b"\n"  # the last line may have no end


def _parsed_block(block: bytes) -> pa.Table | None:
    """The fast way; None where only a line by line reading keeps every value as it was written."""
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        block.decode()  # the parser would let broken text pass
        table = pyarrow.json.read_json(pa.BufferReader(block), options)
        dated = [field.with_type(pa.string()) if pa.types.is_temporal(field.type) else field for field in table.schema]
        if pa.schema(dated) != table.schema:  # the parser would rewrite texts that look like dates
            parsing = pyarrow.json.ParseOptions(explicit_schema=pa.schema(dated))
            table = pyarrow.json.read_json(pa.BufferReader(block), options, parsing)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    for column in table.columns:
        if pa.types.is_nested(column.type):
            return None
        if pa.types.is_floating(column.type) and pc.any(pc.greater_equal(pc.abs(column), 2.0**53)).as_py():
            return None  # an integer too long for its type may have lost digits
    return table


def _parsed_lines(block: bytes, path: str) -> tuple[pa.Table, pa.Table]:
    """The patient way: every line for itself."""
    rows: list[dict[str, Any]] = []
    bad: list[bytes] = []
    reasons: list[str] = []
    for line in block.split(b"\n"):
        if not line.strip():
            continue
        row = _json_object(line)
        if isinstance(row, Reason):
            bad.append(line)
            reasons.append(row)
        else:
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _common_column([row.get(name) for row in rows]) for name in names}
    return pa.table(columns), _raw_rows(path, bad, reasons)


def _json_object(line: bytes) -> dict[str, Any] | Reason:
    try:
        row = json.loads(line.decode())
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except UnicodeError:
        return Reason.INVALID_ENCODING
    except (ValueError, RecursionError):
        return Reason.MALFORMED_ROW
    return row if isinstance(row, dict) else Reason.MALFORMED_ROW


def _common_column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 and kinds <= {str, bool, float}:
        return pa.array(values)
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds == {int, float} and all(abs(value) <= 2**53 for value in values if type(value) is int):
        return pa.array(values, pa.float64())
    return pa.array([_json_text(value) for value in values], pa.string())


def _json_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
