"""Streams CSV as tables of texts, with the lines that are no rows set aside; it knows no column's meaning."""

import csv
import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recsys.data.columns import distinct_columns
from recsys.data.decoding import UNREADABLE_PATTERN, Utf8Stream, show_unreadable
from recsys.data.quarantine import Reason, quarantined, raw_rows, rows_as_json
from recsys.errors import InputError
from recsys.schema import QUARANTINE

_RECBOLE_TYPES = frozenset({"token", "token_seq", "float", "float_seq"})


def read_csv(
    stream: IO[bytes], path: str, *, encoding: str, delimiter: str, block_bytes: int
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Stream (rows, QUARANTINE of the lines that are no rows), a block at a time; cells are texts, empty ones null.

    Raises:
        InputError: there is no header, or two of its columns share a name.
        ConfigError: the encoding is unknown.
    """
    text = Utf8Stream(stream, encoding)
    names = _header(text, path, delimiter)
    bad: list[str] = []

    def set_aside(row: Any) -> str:
        bad.extend(row.text.split("\n"))  # a quote that never closes must not hide a thousand rows in one
        return "skip"

    first = text.read(1 << 20)
    while first and not first.strip(b"\r\n"):
        first = text.read(1 << 20)
    if not first:
        yield _no_rows(names), QUARANTINE.empty_table()
        return
    text.push_back(first)
    batches = pyarrow.csv.open_csv(
        pa.PythonFile(text, mode="r"),
        pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=block_bytes),
        pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=set_aside),
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
            yield _set_apart(waiting, bad, path, text)
        waiting = pa.Table.from_batches([batch])
    if waiting is None:
        waiting = _no_rows(names)
    yield _set_apart(_without_open_quote(waiting, bad, text), bad, path, text)


def _header(text: Utf8Stream, path: str, delimiter: str) -> list[str]:
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
    return distinct_columns([name.strip() for name in names], path)


def _no_rows(names: list[str]) -> pa.Table:
    return pa.table([pa.array([], pa.string())] * len(names), names=names)


def _without_open_quote(table: pa.Table, bad: list[str], text: Utf8Stream) -> pa.Table:
    """The parser lets a quote that never closes swallow the rest of the file into one cell: those lines are no row."""
    if not table.num_rows or text.last_byte == b'"':
        return table
    last = table[table.num_columns - 1][-1].as_py() or ""
    if "\n" not in last:
        return table
    cells = [value.as_py() or "" for value in (column[-1] for column in table.columns)]
    bad.extend(",".join(cells).rstrip("\n").split("\n"))
    return table.slice(0, table.num_rows - 1)


def _set_apart(table: pa.Table, bad: list[str], path: str, text: Utf8Stream) -> tuple[pa.Table, pa.Table]:
    """Rows that are text throughout, and QUARANTINE of the others and of the `bad` lines so far."""
    lines = bad[:]
    del bad[: len(lines)]  # not clear(): the parser may read ahead and add to it meanwhile
    malformed = raw_rows(path, [show_unreadable(line) for line in lines], [Reason.MALFORMED_ROW] * len(lines))
    if text.has_unreadable:
        table, unreadable = _split_unreadable(table, path)
        malformed = pa.concat_tables([malformed, unreadable])
    return table, malformed


def _split_unreadable(table: pa.Table, path: str) -> tuple[pa.Table, pa.Table]:
    first = pa.nulls(table.num_rows, pa.string())
    for name in table.column_names:
        marked = pc.fill_null(pc.match_substring_regex(table[name], pattern=UNREADABLE_PATTERN), False)
        first = pc.coalesce(first, pc.if_else(marked, name, pa.scalar(None, pa.string())))
    bad = pc.is_valid(first)
    rows = [show_unreadable(row) for row in rows_as_json(table.filter(bad))]
    columns = pc.drop_null(first).to_pylist()
    return table.filter(pc.invert(bad)), quarantined(path, rows, columns, [Reason.INVALID_ENCODING] * len(rows))
