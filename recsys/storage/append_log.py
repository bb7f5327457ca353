"""A log of blocks of bytes. A block that was appended survives a crash.

On local storage, blocks are appended to a file and synced. On `s3://`, each block is an object. Only one process writes
to a file, and it writes no more after the file was closed or a write failed. So an incomplete block can only be at the
end of a file. The process locks its file as long as it may write, so that others can ask `is_closed`.
"""

import contextlib
import dataclasses
import datetime as dt
import fcntl
import os
import re
import time
import uuid
from pathlib import Path

from recsys.errors import ConfigError
from recsys.storage.atomic import sync_folder
from recsys.storage.failures import explained
from recsys.storage.filesystem import Storage

#: A block that comes later than this after the first block of a file begins a new file.
MAX_FILE_AGE_S = 900.0
_WRITER = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclasses.dataclass(slots=True)
class _OpenFile:
    descriptor: int
    began: float
    """Seconds of the steady clock."""
    size: int = 0
    """Bytes."""


class AppendLog:
    """One writer's files in a folder. Only one thread may use it at a time.

    Names are `20261122T101500Z-<writer>-<random>-000000.jsonl`: two writers never share a file, even if they have the
    same name.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        writer: str,
        *,
        max_bytes: int = 64 << 20,
        max_age_s: float = MAX_FILE_AGE_S,
    ) -> None:
        """Prepare only: the first block makes the folder and the file.

        Args:
            storage: Where the folder is.
            folder: Below the storage's root.
            writer: Name of the writer, for people who look at the files.
            max_bytes: A block that would make a file larger than this begins a new file. No block is cut.
            max_age_s: A block that comes later than this after the first block of a file begins a new file.

        Raises:
            ConfigError: the writer's name cannot be part of a file's.
        """
        if not _WRITER.fullmatch(writer):
            raise ConfigError(f"writer {writer!r}: must be 1 to 100 letters, digits, dots, dashes or underscores")
        self._storage = storage
        self._folder = folder
        self._name = f"{writer}-{uuid.uuid4().hex[:12]}"
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._begun = 0
        self._file: _OpenFile | None = None

    def append(self, data: bytes) -> None:
        """Append a block. It is on the disk or in the bucket when this returns.

        If this raises, the block may be there, in part (local) or whole. The next block does not come behind it: it
        begins a new file, or takes the one that is still empty.

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
        """Close the file; the next block begins a new file."""
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
            # A failed sync may also have lost earlier blocks: nothing more is added to such a file.
            os.fsync(file.descriptor)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to report
                # A full disk takes no byte of the block. Then the file stays in use: else each try would leave one.
                if os.fstat(file.descriptor).st_size > 0:
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
            with contextlib.suppress(OSError):  # a filesystem without locks: there `is_closed` is never true
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The names themselves must survive a power cut, not only the content.
            for folder in (path.parent, *(folder.parent for folder in missing)):
                sync_folder(folder)
        except BaseException:
            os.close(descriptor)
            raise
        return _OpenFile(descriptor, time.monotonic())

    def _new_path(self) -> str:
        name = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{self._name}-{self._begun:06d}.jsonl"
        self._begun += 1
        return f"{self._folder}/{name}"


def is_closed(storage: Storage, path: str) -> bool:
    """Whether no writer will ever append to a file that has a block. Objects on S3 are written once.

    The kernel frees the lock of a writer that is dead. False where the filesystem has no locks.
    """
    if not storage.is_local:
        return True
    try:
        with Path(storage.path(path)).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
