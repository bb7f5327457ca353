"""What an input format is: how its files are found, divided among tasks, read and counted."""

import lzma
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import fsspec
import pyarrow as pa

from recsys.data.config import TableInput
from recsys.data.files.compression import first_text
from recsys.data.files.text_pieces import Piece
from recsys.schema import QUARANTINE

#: What the libraries raise for a file that is cut off or corrupt.
BROKEN_FILE = (
    *(pa.ArrowException, OSError, EOFError, UnicodeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
#: Bytes of text that a reader takes at a time.
BLOCK_BYTES = 8 << 20

_CHUNK_ROWS = 65_536
_CHUNK_BYTES = 16 << 20

#: A part [first, last) of a file, counted in units of the format: Parquet counts row groups.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One source file."""

    path: str
    size: int
    """Bytes that belong to the input; something may be appended after the file was listed."""
    version: str
    """Changes when the content does: nanoseconds of the local change time, or the object's ETag."""
    pieces: tuple[Piece, ...] = ()
    """Parts of its text that belong to the input, of `size` bytes together; (): the first `size` bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a format needs to know about the file that it reads."""

    path: str
    """For messages and the quarantine."""
    options: TableInput
    """The input's part of the config."""
    span: Span | None = None
    """A part that `cut` gave; None: the whole file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a file."""

    table: pa.Table
    """The rows, under the column names and in the types of the file."""
    malformed: pa.Table = field(default_factory=QUARANTINE.empty_table)
    """QUARANTINE of the lines that are not rows."""

    def part(self, start: int, end: int) -> "Chunk":
        """The rows [start, end), where 0 ≤ start ≤ end ≤ all rows, with their share of the malformed lines.

        Nobody knows where the malformed lines were. The first part has at least one of them, and parts without a gap
        have all of them together.
        """
        first, last = self._malformed_before(start) if start else 0, self._malformed_before(end)
        return Chunk(table=self.table.slice(start, end - start), malformed=self.malformed.slice(first, last - first))

    def _malformed_before(self, row: int) -> int:
        rows, lines = self.table.num_rows, len(self.malformed)
        return lines if row == rows else max(round(lines * row / rows), min(lines, row, 1))


def rows_per_chunk(num_rows: int, num_bytes: int) -> int:
    """Rows of a chunk of about 16 MB, at most 64k, of a table with this many rows and bytes."""
    return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES * max(num_rows, 1) // max(num_bytes, 1)))


class InputFormat(ABC):
    """One format of files. A subclass gives `name`, `endings` and `read`; the rest has defaults for text formats."""

    name: str
    """What `inputs.*.format` says."""
    endings: tuple[str, ...]
    """Lower-case endings of the names of files that a folder is searched for."""
    compressible: bool = True
    """Whether the files may be compressed as well; their names then also end in `.gz`, `.bz2`, `.xz`, `.zst` …"""
    appendable: bool = False
    """Whether the first bytes of a file that is still written are good input: each row is a line."""
    closings: tuple[bytes, ...] = ()
    """How a last line ends that is whole, also without a line break."""
    header_lines: int = 0
    """Lines of a file that are not rows, for estimates."""

    @abstractmethod
    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Read one file, from its first row to its last.

        Chunks may have any size: `readers.read_chunks` divides large ones. A file without rows should give one chunk
        without rows, so that its columns are known. Bad rows belong in `Chunk.malformed`, with their original content
        (`quarantine.raw_rows`).

        Args:
            stream: The content, decompressed.
            source: The path, the options of the input, and the part to read.

        Raises:
            InputError: the file cannot be used. One of `BROKEN_FILE` becomes an InputError that names the path.
        """

    def estimate_rows(self, fs: fsspec.AbstractFileSystem, file: FileInfo) -> float:
        """About how many rows a file holds. The default counts the lines of its first 64 KiB."""
        with fs.open(file.path, "rb") as stream:
            text, num_bytes = first_text(stream, file.path, file.size)
        lines = max(text.count(b"\n"), 1) * file.size / max(num_bytes, 1)
        return max(lines - self.header_lines, 0.0)


class DivisibleFormat(InputFormat):
    """A format whose large files can be read in parts, by several tasks."""

    @abstractmethod
    def cut(self, fs: fsspec.AbstractFileSystem, file: FileInfo, target_bytes: int) -> list[tuple[Span, int]]:
        """Parts of a file, in order and without gaps, of about `target_bytes` each, with their bytes."""
