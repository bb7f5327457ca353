"""How many rows an input holds, told from footers and samples, for a plan that reads next to nothing."""

import zlib
from collections.abc import Sequence

import fsspec
import pyarrow.parquet as pq

from recsys.data.config import Format
from recsys.data.files import BROKEN, FileInfo, is_gzip
from recsys.errors import InputError

SAMPLE_BYTES = 1 << 16
#: Files looked into; the others are taken to be alike.
SAMPLE_FILES = 8

_GZIP_HEADER = 31  # zlib's word for: with a gzip header


def estimate_rows(fs: fsspec.AbstractFileSystem, files: Sequence[FileInfo], format: Format) -> int:  # noqa: A002
    """About how many rows `files` hold: exact counts or line lengths of a few files, scaled by bytes.

    Raises:
        InputError: a sampled file cannot be read.
    """
    step = max(1, len(files) // SAMPLE_FILES)
    sample = [file for file in files[::step] if file.size]
    if not sample:
        return 0
    rows = sum(_rows(fs, file, format) for file in sample)
    return round(rows * sum(file.size for file in files) / sum(file.size for file in sample))


def _rows(fs: fsspec.AbstractFileSystem, file: FileInfo, format: Format) -> float:  # noqa: A002
    try:
        with fs.open(file.path, "rb") as stream:
            if format == "parquet":
                return float(pq.ParquetFile(stream).metadata.num_rows)
            head = stream.read(SAMPLE_BYTES)
        text, num_bytes = _first_member(head, file) if is_gzip(file.path) else (head, len(head))
    except BROKEN as error:
        raise InputError(f"{file.path}: cannot be read as {format}: {error}") from error
    header = 1 if format == "csv" else 0
    return max(max(text.count(b"\n"), 1) * file.size / max(num_bytes, 1) - header, 0.0)


def _first_member(head: bytes, file: FileInfo) -> tuple[bytes, int]:
    """The text in the head of a gzip file, as far as its first member goes, and the packed bytes that it took."""
    member = zlib.decompressobj(_GZIP_HEADER)
    text = member.decompress(head)
    if len(head) >= file.size and not member.eof:
        raise EOFError("it is cut off")
    return text, len(head) - len(member.unused_data)
