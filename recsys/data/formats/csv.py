"""CSV files: every cell is text, and an empty cell is null."""

import csv
import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recsys.data.columns import distinct_columns
from recsys.data.decoding import UNREADABLE_PATTERN, Utf8Stream, show_unreadable
from recsys.data.formats.input_format import BLOCK_BYTES, Chunk, InputFormat, Source
from recsys.data.quarantine import Reason, quarantined, raw_rows, rows_as_json
from recsys.errors import InputError

_RECBOLE_TYPES = frozenset({"token", "token_seq", "float", "float_seq"})
_HEADER_BYTES = 1 << 20


class CsvFormat(InputFormat):
    """Delimited text with a header, as RFC 4180 describes it; also the typed headers of RecBole (`user_id:token`)."""

    name = "csv"
    endings = (".csv", ".tsv", ".txt", ".inter", ".item", ".user")
    appendable = True
    header_lines = 1

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Stream the rows, a block at a time."""
        options = source.options
        return read_csv(stream, source.path, encoding=options.encoding, delimiter=options.delimiter)


def read_csv(
    stream: IO[bytes], path: str, *, encoding: str, delimiter: str, block_bytes: int = BLOCK_BYTES
) -> Iterator[Chunk]:
    """Stream the rows of a CSV file, a block at a time.

    A line with another number of fields, a quote that never closes and a cell that is not text in the encoding make
    their rows malformed.

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

    first = text.read(_HEADER_BYTES)
    while first and not first.strip(b"\r\n"):
        first = text.read(_HEADER_BYTES)
    if not first:
        yield Chunk(table=_no_rows(names))
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
    data = text.read(_HEADER_BYTES)
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
    """Without the last row, where a quote that never closes made the parser read the rest of the file as one cell."""
    if not table.num_rows or text.last_byte == b'"':
        return table
    last = table[table.num_columns - 1][-1].as_py() or ""
    if "\n" not in last:
        return table
    cells = [value.as_py() or "" for value in (column[-1] for column in table.columns)]
    bad.extend(",".join(cells).rstrip("\n").split("\n"))
    return table.slice(0, table.num_rows - 1)


def _set_apart(table: pa.Table, bad: list[str], path: str, text: Utf8Stream) -> Chunk:
    """The rows whose cells are all text; the other rows and the `bad` lines so far are malformed."""
    lines = bad[:]
    del bad[: len(lines)]  # not clear(): the parser may read ahead and add to it meanwhile
    malformed = raw_rows(path, [show_unreadable(line) for line in lines], [Reason.MALFORMED_ROW] * len(lines))
    if text.has_unreadable:
        table, unreadable = _split_unreadable(table, path)
        malformed = pa.concat_tables([malformed, unreadable])
    return Chunk(table=table, malformed=malformed)


def _split_unreadable(table: pa.Table, path: str) -> tuple[pa.Table, pa.Table]:
    first = pa.nulls(table.num_rows, pa.string())
    for name in table.column_names:
        marked = pc.fill_null(pc.match_substring_regex(table[name], pattern=UNREADABLE_PATTERN), False)
        first = pc.coalesce(first, pc.if_else(marked, name, pa.scalar(None, pa.string())))
    bad = pc.is_valid(first)
    rows = [show_unreadable(row) for row in rows_as_json(table.filter(bad))]
    columns = pc.drop_null(first).to_pylist()
    return table.filter(pc.invert(bad)), quarantined(path, rows, columns, [Reason.INVALID_ENCODING] * len(rows))
