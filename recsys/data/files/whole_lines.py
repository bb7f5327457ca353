"""Local text files that may still be written: whether a file is one, and where its last whole line ends."""

import os
import time

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recsys.data.files.compression import COMPRESSIONS, compression_of
from recsys.data.files.decoding import MARKED_ENCODINGS
from recsys.data.formats.input_format import FileInfo, InputFormat

#: A file that was changed less than so many seconds ago may still be written, up to the middle of a line. With more
#: seconds, files that people have just made by hand would lose their last line.
STILL_WRITTEN_S = 60.0

_HEAD_BYTES = 16
_BLOCK_BYTES = 1 << 16


def may_grow(fs: fsspec.AbstractFileSystem, path: str, form: InputFormat) -> bool:
    """Whether a writer may append rows to a file: to plain text on a disk. Objects and packed files never change."""
    return form.appendable and isinstance(fs, LocalFileSystem) and compression_of(path) is None


def whole_bytes(file: FileInfo, form: InputFormat, encoding: str) -> int:
    """Bytes of a file that `may_grow` up to the end of its last whole line.

    All of them where the file was not changed lately: many finished files end without a line break. So it is where the
    last line shows that it is whole, and where no line break is found.
    """
    if _one_byte_breaks(encoding) and time.time() - os.stat(file.path).st_mtime < STILL_WRITTEN_S:
        return _up_to_break(file, form)
    return file.size


def _up_to_break(file: FileInfo, form: InputFormat) -> int:
    with open(file.path, "rb") as stream:
        head = stream.read(min(_HEAD_BYTES, file.size))
        if head.startswith(tuple(mark for mark, _ in MARKED_ENCODINGS)):
            return file.size
        if any(way.first_bytes.match(head) for way in COMPRESSIONS):
            return file.size
        end = file.size
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            stream.seek(start)
            block = stream.read(end - start)
            if end == file.size and form.closings and block.rstrip().endswith(form.closings):
                return file.size
            if found := 1 + max(block.rfind(b"\n"), block.rfind(b"\r")):
                return start + found
            end = start
    return file.size


def _one_byte_breaks(encoding: str) -> bool:
    try:
        return "\n".encode(encoding) == b"\n"
    except LookupError:
        return False  # the reader names the unknown encoding
