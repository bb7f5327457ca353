"""Files that gzip has compressed, which their names say."""

import gzip
import zlib
from typing import IO, Any

SAMPLE_BYTES = 1 << 16

_GZIP_HEADER = 31  # zlib's number for data with a gzip header


def is_gzip(path: str) -> bool:
    """Whether the file's name says that gzip compressed it."""
    return path.lower().endswith(".gz")


def without_gzip(path: str) -> str:
    """The file's name in lower case, without `.gz`."""
    return path.lower().removesuffix(".gz")


def decompressed(stream: IO[bytes], path: str) -> IO[bytes]:
    """The content of a file: decompressed where the name ends in .gz, else the stream itself."""
    opened: Any = gzip.GzipFile(fileobj=stream) if is_gzip(path) else stream
    return opened  # type: ignore[no-any-return]


def first_text(stream: IO[bytes], path: str, size: int) -> tuple[bytes, int]:
    """Content at the beginning of a file of `size` bytes, and how many bytes of the file hold that content.

    Of a gzip file the content ends with the first member.

    Raises:
        EOFError: the gzip file is cut off.
        zlib.error: it is not a gzip file.
    """
    head = stream.read(SAMPLE_BYTES)
    if not is_gzip(path):
        return head, len(head)
    member = zlib.decompressobj(_GZIP_HEADER)
    text = member.decompress(head)
    if len(head) >= size and not member.eof:
        raise EOFError("it is cut off")
    return text, len(head) - len(member.unused_data)
