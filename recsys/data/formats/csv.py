"""CSV files: every cell is text, and an empty cell is null."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recsys.data.checks.quarantine import Reason, quarantined, raw_rows, rows_as_json
from recsys.data.config import Quoting
from recsys.data.files.content import text_content
from recsys.data.files.decoding import UNREADABLE_PATTERN, Utf8Stream, show_unreadable
from recsys.data.formats.csv_header import Header, read_header
from recsys.data.formats.csv_records import RecordBlock, plain_blocks, quoted_blocks
from recsys.data.formats.input_format import BLOCK_BYTES, Chunk, InputFormat, Source
from recsys.errors import InputError


class CsvFormat(InputFormat):
    """Delimited text with a header, as RFC 4180 describes it; also the typed headers of RecBole (`user_id:token`)."""

    name = "csv"
    endings = (".csv", ".tsv", ".txt", ".inter", ".item", ".user")
    appendable = True
    header_lines = 1

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Stream the rows, a block at a time."""
        options = source.options
        return read_csv(
            stream, source.path, encoding=options.encoding, delimiter=options.delimiter, quoting=options.quoting
        )


def read_csv(
    stream: IO[bytes],
    path: str,
    *,
    encoding: str,
    delimiter: str,
    quoting: Quoting | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Chunk]:
    """Stream the rows of a CSV file, a block at a time.

    A line with another number of fields, a quote that never closes, a header in the middle of the file and a cell that
    is not text in the encoding make their rows malformed.

    Raises:
        InputError: the header cannot be used, see `read_header`, or a line is longer than 64 MB.
        ConfigError: the encoding is unknown.
    """
    text = Utf8Stream(text_content(stream, path), encoding)
    header = read_header(text, path, delimiter, quoting)
    if header.quoting == "none":
        blocks = plain_blocks(text, path, block_bytes)
    else:
        blocks = quoted_blocks(text, path, delimiter, len(header.names), block_bytes)
    nothing = True
    for block in blocks:
        nothing = False
        yield _read_block(block, header, path, delimiter, text)
    if nothing:
        yield Chunk(table=_no_rows(header.names))


def _read_block(block: RecordBlock, header: Header, path: str, delimiter: str, text: Utf8Stream) -> Chunk:
    bad: list[str] = []

    def set_aside(row: Any) -> str:
        bad.extend(row.text.split("\n"))
        return "skip"

    table = _no_rows(header.names)
    if block.records.strip(b"\n"):
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block.records),
            pyarrow.csv.ReadOptions(column_names=header.names, use_threads=False, block_size=len(block.records) + 1),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char=False if header.quoting == "none" else '"',
                newlines_in_values=block.has_line_breaks,
                invalid_row_handler=set_aside,
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header.names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                check_utf8=False,  # the stream already did
            ),
        )
    table, repeated = _split_repeated_headers(table, header.written, path)
    malformed = [_raw(path, bad, Reason.MALFORMED_ROW), _raw(path, block.unclosed, Reason.UNCLOSED_QUOTE), repeated]
    if text.has_unreadable:
        table, unreadable = _split_unreadable(table, path)
        malformed.append(unreadable)
    return Chunk(table=table, malformed=pa.concat_tables(malformed))


def _no_rows(names: list[str]) -> pa.Table:
    return pa.table([pa.array([], pa.string())] * len(names), names=names)


def _raw(path: str, lines: list[str], reason: Reason) -> pa.Table:
    return raw_rows(path, [show_unreadable(line) for line in lines], [reason] * len(lines))


def _split_repeated_headers(table: pa.Table, names: list[str], path: str) -> tuple[pa.Table, pa.Table]:
    """Without the rows that repeat the names of the columns: files with headers were joined.

    Raises:
        InputError: such a row has the names in another order, so that what follows is in other columns.
    """
    first = pc.utf8_trim(table[0], "\ufeff ")
    seen = pc.fill_null(pc.is_in(first, value_set=pa.array(names)), False)
    if len(names) < 2 or not pc.any(seen).as_py():
        return table, raw_rows(path, [], [])
    places: list[int] = []
    for place in pc.indices_nonzero(seen).to_pylist():
        cells = [(column[place].as_py() or "").strip("\ufeff ") for column in table.columns]
        if cells == names:
            places.append(place)
        elif sorted(cells) == sorted(names):
            raise InputError(
                f"{path}: has a second header, with the columns in another order: {', '.join(cells)}; "
                "divide the file before that line"
            )
    repeated = np.zeros(len(table), bool)
    repeated[places] = True
    rows = rows_as_json(table.filter(pa.array(repeated)))
    return table.filter(pa.array(~repeated)), quarantined(
        path, rows, [""] * len(rows), [Reason.REPEATED_HEADER] * len(rows)
    )


def _split_unreadable(table: pa.Table, path: str) -> tuple[pa.Table, pa.Table]:
    first = pa.nulls(table.num_rows, pa.string())
    for name in table.column_names:
        marked = pc.fill_null(pc.match_substring_regex(table[name], pattern=UNREADABLE_PATTERN), False)
        first = pc.coalesce(first, pc.if_else(marked, name, pa.scalar(None, pa.string())))
    bad = pc.is_valid(first)
    rows = [show_unreadable(row) for row in rows_as_json(table.filter(bad))]
    columns = pc.drop_null(first).to_pylist()
    return table.filter(pc.invert(bad)), quarantined(path, rows, columns, [Reason.INVALID_ENCODING] * len(rows))
