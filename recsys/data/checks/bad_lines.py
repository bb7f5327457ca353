"""Where a quarantined row stands in its file: the line of a text file, or the number of the row."""

import csv
import itertools
import json
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.bad_values import BadValue
from recsys.data.checks.quarantine import rows_as_json
from recsys.data.config import TableInput
from recsys.data.files.compression import decompressed
from recsys.data.files.decoding import Utf8Stream, show_unreadable
from recsys.data.files.partitions import partition_values
from recsys.data.files.readers import read_chunks
from recsys.data.formats.input_format import BROKEN_FILE
from recsys.data.values.cells import as_text
from recsys.errors import RecsysError

#: The search ends after so many lines or rows: a refusal must not read a large file again.
_MOST_LINES = 1_000_000
_BLOCK_BYTES = 1 << 20
_LONGEST_LINE = 300
_TEXT_FORMATS = ("csv", "jsonl")


def describe_place(fs: fsspec.AbstractFileSystem, options: TableInput, bad: BadValue) -> str:
    """`path line 3: u1,i2,31.12.2020`, or what is known of it."""
    try:
        if options.format in _TEXT_FORMATS:
            for number, line in _lines(fs, options, bad.source):
                if _is_line_of(bad, line, options):
                    return f"{bad.source} line {number}: {_cut(line)}"
        elif (row := _row_number(fs, options, bad)) is not None:
            return f"{bad.source} row {row}: {_cut(bad.row)}"
    except (RecsysError, *BROKEN_FILE):  # the file changed meanwhile, or storage fails: the row itself is still known
        pass
    return f"{bad.source}: {_cut(bad.row)}"


def _lines(fs: fsspec.AbstractFileSystem, options: TableInput, path: str) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of the lines of a file."""
    encoding = options.encoding if options.format == "csv" else "utf-8"
    with fs.open(path, "rb") as stream:
        lines = _split_lines(Utf8Stream(decompressed(stream, path), encoding))
        for number, line in enumerate(itertools.islice(lines, _MOST_LINES), 1):
            yield number, show_unreadable(line.decode().rstrip("\r"))


def _split_lines(stream: Utf8Stream) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _is_line_of(bad: BadValue, line: str, options: TableInput) -> bool:
    cells = json.loads(bad.row)
    if "raw" in cells and not bad.column:
        return line == str(cells["raw"]).split("\n")[0]
    if options.format == "jsonl":
        try:
            row = json.loads(line)
        except ValueError:
            return False
        return isinstance(row, dict) and _plain(row) == _plain(cells)
    try:
        found = next(csv.reader([line], delimiter=options.delimiter), [])
    except csv.Error:
        return False
    # After the file's own cells there may be those of folders, and columns that the file lacks.
    own, added = list(cells.values())[: len(found)], list(cells.items())[len(found) :]
    folders = partition_values(bad.source)
    return found == [str(value or "") for value in own] and all(
        value is None or folders.get(name) == value for name, value in added
    )


def _plain(row: dict[str, Any]) -> dict[str, str]:
    """The values that are not null, as text: the types of a file's column and of one line may differ."""
    return {name: str(value) for name, value in row.items() if value is not None}


def _row_number(fs: fsspec.AbstractFileSystem, options: TableInput, bad: BadValue) -> int | None:
    """Number of the first row from 1 that is the row of the bad value."""
    offset = 0
    for chunk in read_chunks(fs, bad.source, options):
        table = chunk.table
        if bad.column in table.column_names:
            for index in _candidates(table[bad.column], bad.value):
                if rows_as_json(table.slice(index, 1))[0] == bad.row:
                    return offset + index + 1
        offset += len(table)
        if offset > _MOST_LINES:
            return None
    return None


def _candidates(column: pa.ChunkedArray, value: str | None) -> list[int]:
    """Rows that may hold the value."""
    if value is None or pa.types.is_nested(column.type):
        found = pc.is_null(column)
    else:
        found = pc.fill_null(pc.equal(as_text(column), value), False)
    return [int(row) for row in pc.indices_nonzero(found).to_pylist()[:100]]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…"
