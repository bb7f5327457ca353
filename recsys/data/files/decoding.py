"""Decode files in any encoding to UTF-8, and mark the bytes that cannot be decoded.

A byte that is not text in the file's encoding becomes a private character, so that it passes through a parser and can
be found in the rows afterwards.
"""

import codecs
import io
import re
from typing import Protocol

from recsys.errors import ConfigError

#: Matches the private characters, for pyarrow.
UNREADABLE_PATTERN = r"[\x{10FF00}-\x{10FFFF}]"

#: UTF-32 comes first: its mark begins like that of UTF-16.
MARKED_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNREADABLE = 0x10FF00
_UNREADABLE_PREFIX = chr(_UNREADABLE).encode()[:2]
_UNREADABLE_CHARACTERS = re.compile("[\U0010ff00-\U0010ffff]")


def text_codec(encoding: str) -> codecs.CodecInfo:
    """The codec of a text encoding.

    Raises:
        ConfigError: the encoding is unknown.
    """
    try:
        "".encode(encoding)  # refuses codecs that do not encode text, such as rot13
        return codecs.lookup(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"encoding {encoding!r} is unknown; use a name such as utf-8 or latin-1") from error


def show_unreadable(text: str) -> str:
    """The text as people should see it, with � for each private character."""
    return _UNREADABLE_CHARACTERS.sub("\ufffd", text)


def _mark_unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_UNREADABLE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("recsys-mark-unreadable", _mark_unreadable)


class Readable(Protocol):
    """All that is needed of a stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, or fewer; none at the end."""


class Utf8Stream(io.RawIOBase):
    """Bytes in any encoding as valid UTF-8 without a byte-order mark; unreadable bytes become private characters.

    Every line ends in LF, also if it ended in CR LF or CR. A file whose byte-order mark says UTF-16 or UTF-32 is read
    as that, where the encoding is the usual one, UTF-8.

    Raises:
        ConfigError: the encoding is unknown.
    """

    def __init__(self, stream: Readable, encoding: str) -> None:
        self._codec = text_codec(encoding)
        self._stream = stream
        self._buffer = b""
        self._decoder: io.IncrementalNewlineDecoder | None = None
        self._begun = self._ended = False
        self.has_unreadable = False

    def readable(self) -> bool:
        """Parsers ask this before they read."""
        return True

    def push_back(self, data: bytes) -> None:
        """Make the next reads return `data` again, before the rest."""
        self._buffer = data + self._buffer

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer at the end of the file; −1 reads all."""
        while (size < 0 or len(self._buffer) < size) and not self._ended:
            block = self._stream.read(1 << 20)
            self._ended = not block
            if self._decoder is None:
                self._decoder = self._decoder_for(block)
            text = self._decoder.decode(block, self._ended)
            if not self._begun and text:
                self._begun, text = True, text.removeprefix("\ufeff")
            data = text.encode()
            self.has_unreadable = self.has_unreadable or _UNREADABLE_PREFIX in data
            self._buffer += data
        size = len(self._buffer) if size < 0 else size
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _decoder_for(self, first: bytes) -> io.IncrementalNewlineDecoder:
        codec = self._codec
        if codec.name == "utf-8":
            marked = [name for mark, name in MARKED_ENCODINGS if first.startswith(mark)]
            codec = codecs.lookup(marked[0] if marked else "utf-8-sig")
        return io.IncrementalNewlineDecoder(codec.incrementaldecoder("recsys-mark-unreadable"), translate=True)
