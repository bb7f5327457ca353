"""An object in S3 as a file for random reads; it knows no format and keeps nothing of what it read."""

import io
import os
from typing import Any

from recsys.storage.failures import explained


class ObjectFile(io.RawIOBase):
    """Each read is one request for exactly its range.

    The file of s3fs asks for the object's details at every opening, a round trip that a look-up of few ms has not got.
    """

    def __init__(self, fs: Any, native: str, size: int):
        """Of the object that `fs` calls `native`, of `size` bytes."""
        self._fs = fs
        self._native = native
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read anywhere."""
        return True

    def tell(self) -> int:
        """Where the next read begins, bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; nothing is asked for yet."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"s3://{self._native}: byte {base + offset} is before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the object goes; answers how many bytes that were.

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
