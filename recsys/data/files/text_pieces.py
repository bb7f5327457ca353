"""Parts of a text file: of one that has grown since it was listed, or of one that holds what many files held."""

import io
from collections.abc import Sequence
from typing import IO, Any

#: Bytes [first, last) of the content of a file, decompressed.
Piece = tuple[int, int]

_SKIPPED_BYTES = 1 << 20


class TextPieces(io.RawIOBase):
    """The pieces of a text, one after the other. A piece that ends within a line is ended by a line break."""

    def __init__(self, stream: IO[bytes], pieces: Sequence[Piece]) -> None:
        """Read from the beginning of `stream`.

        Args:
            stream: The whole text.
            pieces: In their order, without overlaps.
        """
        self._stream, self._pieces = stream, list(pieces)
        self._at = 0
        self._last = b"\n"

    def readable(self) -> bool:
        """Parsers ask this before they read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        while self._pieces:
            first, last = self._pieces[0]
            self._skip_to(first)
            data = self._stream.read(min(len(buffer), last - self._at))
            if data:
                self._at += len(data)
                self._last = data[-1:]
                buffer[: len(data)] = data
                return len(data)
            self._pieces.pop(0)
            if self._pieces and self._last != b"\n":
                self._last = buffer[:1] = b"\n"
                return 1
        return 0

    def _skip_to(self, place: int) -> None:
        while self._at < place and (skipped := self._stream.read(min(place - self._at, _SKIPPED_BYTES))):
            self._at += len(skipped)
