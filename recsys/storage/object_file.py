"""An object in S3 as a file for random reads. It has no cache."""

import io
import os
from typing import Any

from recsys.storage.failures import explained


class ObjectFile(io.RawIOBase):
    """Each read is one request for exactly its range.

    The file class of s3fs asks for the object's details whenever it is opened. That is one more round trip: too slow
    for a look-up of a few milliseconds.
    """

    def __init__(self, fs: Any, native: str, size: int):
        """Open the object that `fs` calls `native`, which has `size` bytes."""
        self._fs = fs
        self._native = native
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Position of the next read, in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change the position; this sends no request."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"s3://{self._native}: byte {base + offset} is before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer up to the end of the object, and return the number of bytes.

        Raises:
            FileNotFoundError: the object is gone.
            ConfigError, ConnectionError: S3 refuses, or cannot be reached.
        """
        view = memoryview(buffer)
        end = min(self._position + len(view), self._size)
        if self._position >= end:
            return 0
        with explained(f"s3://{self._native}"):
            data = self._fs.cat_file(self._native, start=self._position, end=end)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
