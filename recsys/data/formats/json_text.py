"""Bring JSON text into the form of JSON lines: arrays of objects, and objects that are written over several lines."""

import codecs
import json
import re
from collections.abc import Iterator

from recsys.data.files.decoding import Readable, Utf8Stream
from recsys.errors import InputError

#: A longer object is not a row. Characters.
LONGEST_OBJECT = 64 << 20

_READ_BYTES = 1 << 20
_BOMS_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: `{"user":{"0":"u1","1":…`
_BY_COLUMN = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"0"\s*:[^\n]*\Z')
_BETWEEN = re.compile(r"[\s\ufeff,\[\]]*")


class JsonLines:
    """A stream of JSON lines from a stream of any JSON text."""

    def __init__(self, stream: Readable, path: str) -> None:
        """Look at the first line; the path is for messages.

        Raises:
            InputError: the text is a table by column, in one line.
        """
        first = stream.read(_READ_BYTES)
        if _BY_COLUMN.match(first.rstrip()):
            raise InputError(
                f"{path}: is one object with all rows of each column, as pandas writes it: write one object a line "
                f"(to_json(…, orient='records', lines=True))"
            )
        if first.startswith(_BOMS_16):
            text = Utf8Stream(_Joined(first, stream), "utf-16")
            first, stream = text.read(_READ_BYTES), text
        self._stream: Readable | _Generated = _Joined(first, stream)
        if _is_written_over_lines(first):
            self._stream = _Generated(_objects(_Joined(first, stream), path))

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes or fewer; none at the end."""
        return self._stream.read(size)


class _Joined:
    """Bytes that were read already, and the rest of their stream."""

    def __init__(self, first: bytes, stream: Readable) -> None:
        self._first = first
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        data, self._first = self._first[:size], self._first[size:]
        return data or self._stream.read(size)


class _Generated:
    """A stream of the pieces of a generator."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""

    def read(self, size: int, /) -> bytes:
        gathered, length = [self._buffer], len(self._buffer)
        while length < size and (piece := next(self._pieces, b"")):
            gathered.append(piece)
            length += len(piece)
        data = b"".join(gathered)
        self._buffer = data[size:]
        return data[:size]


def _is_written_over_lines(first: bytes) -> bool:
    """Whether the text is an array, or its first object does not end in its line."""
    line, newline, rest = first.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")
    line = line.rstrip()
    if line.startswith(b"["):
        return True
    if not (newline and line.startswith(b"{") and line.endswith((b"{", b"[", b","))):
        return False
    if line.endswith(b"[") or not rest.lstrip().startswith(b"{"):
        return True
    try:
        json.loads(line.removesuffix(b","))  # a comma after each object
    except ValueError:
        return False  # the next line is a new object, so this one was cut off
    return True


def _objects(stream: Readable, path: str) -> Iterator[bytes]:
    """Each object of the text, or of the arrays in it, as one line."""
    decoder, scan = codecs.getincrementaldecoder("utf-8")("surrogateescape"), json.JSONDecoder().raw_decode
    text, place, ended = "", 0, False
    while True:
        match = _BETWEEN.match(text, place)
        place = match.end() if match else place
        try:
            _, end = scan(text, place)
        except (ValueError, RecursionError) as error:
            if ended and place == len(text):
                return
            if ended or len(text) - place > LONGEST_OBJECT:
                raise InputError(
                    f"{path}: cannot be read as a JSON array ({error}); it may be cut off: write it again, best as one "
                    "object a line (jq -c '.[]')"
                ) from error
            data = stream.read(_READ_BYTES)
            ended = not data
            text, place = text[place:] + decoder.decode(data, ended), 0
            continue
        yield text[place:end].replace("\n", " ").replace("\r", " ").encode(errors="surrogateescape") + b"\n"
        place = end
