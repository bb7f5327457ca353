"""Blocks of bytes that survive a crash once they are appended; it knows nothing of what is in them.

On local storage blocks are appended to a file and synced, on `s3://` each block is an object. A file is written by one
process only, and never again after it was closed or a write to it failed: a torn end is always the end of a file.
"""

import contextlib
import dataclasses
import datetime as dt
import os
import re
import time
import uuid
from pathlib import Path

from recsys.errors import ConfigError
from recsys.storage.atomic import sync_folder
from recsys.storage.failures import explained
from recsys.storage.filesystem import Storage

_WRITER = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclasses.dataclass(slots=True)
class _OpenFile:
    descriptor: int
    began: float
    """Seconds of the steady clock."""
    size: int = 0
    """Bytes."""


class AppendLog:
    """One writer's files in a folder; for one thread at a time.

    Names are `20261122T101500Z-<writer>-<random>-000000<suffix>`: two writers never share a file, even of one name.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        writer: str,
        *,
        suffix: str = ".jsonl",
        max_bytes: int = 64 << 20,
        max_age_s: float = 900.0,
    ) -> None:
        """Touch nothing yet: folder and file come with the first block.

        Args:
            storage: Where the folder is.
            folder: Below the storage's root.
            writer: Who writes, for people who look at the files.
            suffix: Of the files' names.
            max_bytes: A block that would make a file larger begins a new one; no block is cut.
            max_age_s: A block that comes later than this after a file's first one begins a new file.

        Raises:
            ConfigError: the writer's name cannot be part of a file's.
        """
        if not _WRITER.fullmatch(writer):
            raise ConfigError(f"writer {writer!r}: must be 1 to 100 letters, digits, dots, dashes or underscores")
        self._storage = storage
        self._folder = folder
        self._name = f"{writer}-{uuid.uuid4().hex[:12]}"
        self._suffix = suffix
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._begun = 0
        self._file: _OpenFile | None = None

    def append(self, data: bytes) -> None:
        """Return when the block is on the disk or in the bucket.

        Where this raises, the block may be there, in part (local) or whole, and the next one begins a new file.

        Raises:
            ConfigError: the storage cannot be used: no bucket, no credentials, no right to write.
            OSError: the disk or the bucket failed.
        """
        if not self._storage.is_local:
            self._storage.write_bytes(self._new_path(), data)
            return
        with explained(self._storage.url(self._folder)):
            self._append_to_file(data)

    def close(self) -> None:
        """Leave the file; another block would begin a new one."""
        if self._file is not None:
            descriptor, self._file = self._file.descriptor, None
            os.close(descriptor)

    def _append_to_file(self, data: bytes) -> None:
        file = self._file
        if file is None or self._is_full(file, len(data)):
            self.close()
            file = self._file = self._begin()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file.descriptor, rest) :]
            # A failed sync may have lost what was written before, too: nothing is ever added to such a file.
            os.fsync(file.descriptor)
        except BaseException:
            with contextlib.suppress(OSError):  # the first fault is the one to tell
                self.close()
            raise
        file.size += len(data)

    def _is_full(self, file: _OpenFile, num_bytes: int) -> bool:
        return file.size + num_bytes > self._max_bytes or time.monotonic() - file.began > self._max_age_s

    def _begin(self) -> _OpenFile:
        path = Path(self._storage.path(self._new_path()))
        missing = [folder for folder in path.parents if not folder.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(f"{path.parent} is a file") from error
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            # The names themselves must survive a power cut, not only the content.
            for folder in (path.parent, *(folder.parent for folder in missing)):
                sync_folder(folder)
        except BaseException:
            os.close(descriptor)
            raise
        return _OpenFile(descriptor, time.monotonic())

    def _new_path(self) -> str:
        name = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{self._name}-{self._begun:06d}{self._suffix}"
        self._begun += 1
        return f"{self._folder}/{name}"
