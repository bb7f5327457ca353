"""Compressed text files, which their names say."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from recsys.errors import InputError

_FIRST_BYTES = 16
SAMPLE_BYTES = 1 << 16
#: Text that is decompressed for a sample: long enough that what a decompressor reads ahead is little.
_COMPRESSED_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Compression:
    """One way to compress a file."""

    endings: tuple[str, ...]
    """Lower-case endings of names."""
    first_bytes: re.Pattern[bytes]
    """What such a file begins with."""
    open: Callable[[IO[bytes], str], Any]
    """Opens the content of a stream; the path is for messages."""


def _by_arrow(codec: str) -> Callable[[IO[bytes], str], Any]:
    return lambda stream, _: io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec))


def _open_xz(stream: IO[bytes], _: str) -> Any:
    return lzma.open(stream)


def _open_zip(stream: IO[bytes], path: str) -> Any:
    """The only file in a zip archive."""
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise OSError(f"it is not a whole zip archive: {error}") from error
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if {"[Content_Types].xml", "mimetype"} & set(names):
        raise InputError(f"{path}: is a spreadsheet; export it as CSV")
    # Archives of macOS hold a second, hidden tree.
    names = [name for name in names if not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")]
    if len(names) != 1:
        raise InputError(f"{path}: is a zip archive of {len(names)} files; unpack it into a folder")
    if archive.getinfo(names[0]).flag_bits & 1:
        raise InputError(f"{path}: is encrypted; unpack it with its password")
    return archive.open(names[0])


COMPRESSIONS = (
    Compression((".gz", ".gzip"), re.compile(rb"\x1f\x8b\x08"), lambda stream, _: gzip.GzipFile(fileobj=stream)),
    Compression(
        (".bz2",), re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)"), lambda stream, _: bz2.BZ2File(stream)
    ),
    Compression((".xz",), re.compile(rb"\xfd7zXZ\x00"), _open_xz),
    Compression((".zst", ".zstd"), re.compile(rb"\x28\xb5\x2f\xfd"), _by_arrow("zstd")),
    Compression((".lz4",), re.compile(rb"\x04\x22\x4d\x18"), _by_arrow("lz4")),
    Compression((".zip",), re.compile(rb"PK(?:\x03\x04|\x05\x06)"), _open_zip),
)
#: Endings of archives and compressions that are not read.
UNREADABLE_ENDINGS = (
    *(".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar", ".z"),
    *(".snappy", ".sz", ".br", ".lzo", ".lzma", ".deflate"),
)


def compression_of(path: str) -> Compression | None:
    """The compression that the file's name says."""
    return next((way for way in COMPRESSIONS if path.lower().endswith(way.endings)), None)


def without_compression(path: str) -> str:
    """The file's name in lower case, without the ending of a compression."""
    found = compression_of(path)
    return path.lower()[: -len(_ending(path, found.endings))] if found is not None else path.lower()


def decompressed(stream: IO[bytes], path: str) -> IO[bytes]:
    """The content of a file: decompressed where the name says so, else the stream itself.

    Raises:
        InputError: it is an archive of several files.
        OSError: the content is not compressed as the name says.
    """
    found = compression_of(path)
    if found is None:
        return stream
    first = stream.read(_FIRST_BYTES)
    stream.seek(0)
    if not first:
        return stream
    if not found.first_bytes.match(first):
        raise OSError(
            f"its name ends in {_ending(path, found.endings)}, but its content is not compressed so; rename it"
        )
    return found.open(stream, path)  # type: ignore[no-any-return]


def first_text(stream: IO[bytes], path: str, size: int) -> tuple[bytes, int]:
    """Content at the beginning of a file of `size` bytes, and about how many bytes of the file hold that content.

    Raises:
        EOFError, OSError, zlib.error, pa.ArrowException: the file is cut off, or it is not what its name says.
    """
    sample = SAMPLE_BYTES if compression_of(path) is None else _COMPRESSED_SAMPLE_BYTES
    text = decompressed(stream, path).read(sample)
    return text, size if len(text) < sample else min(stream.tell(), size)


def _ending(path: str, endings: tuple[str, ...]) -> str:
    return next(ending for ending in endings if path.lower().endswith(ending))
