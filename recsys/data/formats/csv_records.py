"""Divide the text of a CSV file into blocks of whole records, and set apart lines with a quote that never closes.

A parser would read on after such a quote, to the next quote or to the end of the file, and hide all rows in one cell.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from recsys.data.files.decoding import Utf8Stream
from recsys.errors import InputError

#: A quote that is still open after so many bytes is taken for one that never closes.
LONGEST_RECORD = 1 << 20
#: A longer line is not text. Bytes.
LONGEST_LINE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBlock:
    """Records in the order of the file."""

    records: bytes
    """Whole records, each with its line end (LF)."""
    has_line_breaks: bool
    """Whether a cell of a record has several lines."""
    unclosed: list[str] = field(default_factory=list)
    """Lines that were set apart because of their quotes."""


def plain_blocks(text: Utf8Stream, path: str, block_bytes: int) -> Iterator[RecordBlock]:
    """Blocks of whole lines of a file in which a quote is a character like any other.

    Raises:
        InputError: a line is longer than 64 MB.
    """
    rest = b""
    while data := text.read(block_bytes):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        _check_line(rest, path)
        if newline:
            yield RecordBlock(records=lines + newline, has_line_breaks=False)
    if rest:
        yield RecordBlock(records=rest + b"\n", has_line_breaks=False)


def quoted_blocks(
    text: Utf8Stream, path: str, delimiter: str, num_columns: int, block_bytes: int
) -> Iterator[RecordBlock]:
    """Blocks of whole records of a file in which cells may be in quotes, as RFC 4180 describes it.

    A line is set apart, and the next line is read by itself, if a quote of it opens a cell and

    - the next quote does not close the cell: something else than a delimiter or the end of a line follows;
    - or no quote closes it within 1 MiB.

    All lines of a record are set apart if each of them has as many delimiters as a row: they may be rows, the first and
    the last of them with a stray quote.

    Raises:
        InputError: a line is longer than 64 MB.
    """
    scanner = _Scanner(delimiter.encode(), num_columns)
    data, ended = b"", False
    wanted = block_bytes + LONGEST_RECORD
    while True:
        while len(data) < wanted and not ended:
            more = text.read(block_bytes)
            ended = not more
            data += more
        if ended and data and not data.endswith(b"\n"):
            data += b"\n"
        block, rest = scanner.scan(data, block_bytes)
        if len(rest) == len(data) and not ended:  # the first line is longer than all that was read
            _check_line(rest, path)
            wanted = len(data) + block_bytes
            continue
        yield block
        if ended and not rest:
            return
        data, wanted = rest, block_bytes + LONGEST_RECORD


class _Scanner:
    """Finds the end of each record. The rules for one line are those of Arrow's parser."""

    def __init__(self, delimiter: bytes, num_columns: int) -> None:
        mark = re.escape(delimiter)
        # After the closing quote Arrow takes what follows as it is, up to the delimiter.
        closed = rb'(?:"(?:[^"\n]++|"")*+"[^%b\n]*+|[^"%b\n][^%b\n]*+|)' % (mark, mark, mark)
        strict = rb'(?:"(?:[^"]++|"")*+"(?=[%b\n])|[^"%b\n][^%b\n]*+|)' % (mark, mark, mark)
        self._lines = re.compile(rb"(?:%b(?:%b%b)*+\n)*+" % (closed, mark, closed))
        self._record = re.compile(rb"%b(?:%b%b)*+\n" % (strict, mark, strict))
        self._delimiter = delimiter
        self._num_columns = num_columns

    def scan(self, data: bytes, block_bytes: int) -> tuple[RecordBlock, bytes]:
        """The records that begin in the first `block_bytes` of the data, and the data after them.

        The data begins with a record. Unless the file ends, it holds `LONGEST_RECORD` bytes more than the block.
        """
        good: list[bytes] = []
        unclosed: list[bytes] = []
        has_line_breaks = False
        place = 0
        last = data.rfind(b"\n", 0, max(block_bytes, data.find(b"\n") + 1)) + 1
        while place < last:
            quote = data.find(b'"', place, last)
            line = last if quote < 0 else max(place, data.rfind(b"\n", place, quote) + 1)
            end = max(line, self._end_of_closed_lines(data, line, last))
            if end > place:
                good.append(data[place:end])
                place = end
                continue
            record = self._record.match(data, place, place + LONGEST_RECORD)
            if record is None:
                end = data.find(b"\n", place) + 1
                unclosed.append(data[place : end - 1])
            elif self._looks_like_rows(record[0]):
                end = record.end()
                unclosed += record[0].splitlines()
            else:
                end = record.end()
                has_line_breaks = True
                good.append(record[0])
            place = end
        texts = [line.decode() for line in unclosed]
        return RecordBlock(records=b"".join(good), has_line_breaks=has_line_breaks, unclosed=texts), data[place:]

    def _end_of_closed_lines(self, data: bytes, start: int, last: int) -> int:
        found = self._lines.match(data, start, last)
        return start if found is None else found.end()

    def _looks_like_rows(self, record: bytes) -> bool:
        lines = record.removesuffix(b"\n").split(b"\n")
        if self._num_columns < 2 or len(lines) <= (2 if self._num_columns == 2 else 1):
            return False  # a text of two lines often has one comma in the second
        return all(line.count(self._delimiter) == self._num_columns - 1 for line in lines)


def _check_line(line: bytes, path: str) -> None:
    if len(line) > LONGEST_LINE:
        raise InputError(
            f"{path}: a line is longer than {LONGEST_LINE >> 20} MB; is it text? Correct `format` or remove the file"
        )
