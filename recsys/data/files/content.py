"""What a file holds, by its first bytes: compressed text is decompressed, and what is no text is refused by name."""

import io
import re
from typing import IO, Any

from recsys.data.files.compression import COMPRESSIONS
from recsys.errors import InputError

#: First bytes of a file by which `content_kind` knows it.
KIND_BYTES = 512
PARQUET = "a Parquet file"

_TAR_MARK = slice(257, 262)
#: The mark of ORC may also begin the header of a CSV file, such as `ORCID,name`. Text has no control characters.
_ORC = re.compile(rb"ORC.{0,61}[\x00-\x08\x0e-\x1f]", re.DOTALL)
#: First bytes, what such a file is, and the way out.
_KINDS = (
    (b"PAR1", PARQUET, "set `format: parquet`"),
    (b"ARROW1", "an Arrow file", "convert it to Parquet, or register a format with `plugins`"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet or JSON lines"),
    (b"SQLite format 3\0", "a SQLite database", "export the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "export it as CSV"),
    (b"%PDF", "a PDF", "name files with rows"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
)


def text_content(stream: IO[bytes], path: str) -> Any:
    """The text of a stream, decompressed if its first bytes say so, though its name does not.

    Raises:
        InputError: it is no text; the message says what it is, and the way out.
    """
    content, first = _peeked(stream)
    for way in COMPRESSIONS:
        if way.first_bytes.match(first):
            content, first = _peeked(way.open(content, path))
            break
    kind, way_out = content_kind(first)
    if kind:
        raise InputError(f"{path}: is {kind}, not text; {way_out}")
    return content


def content_kind(first: bytes) -> tuple[str, str]:
    """What a file with these first bytes is, and what to do with it; two empty texts if that is not known."""
    if first[_TAR_MARK] == b"ustar":
        return "a tar archive", "unpack it into a folder"
    if _ORC.match(first):
        return "an ORC file", "convert it to Parquet"
    if first.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page", "download the file again: a login or an error page came instead of it"
    return next(((kind, way_out) for mark, kind, way_out in _KINDS if first.startswith(mark)), ("", ""))


def _peeked(stream: Any) -> tuple[Any, bytes]:
    """A stream with the same content, and its first bytes."""
    content = stream if hasattr(stream, "peek") else io.BufferedReader(stream)
    return content, content.peek(KIND_BYTES)[:KIND_BYTES]
