"""Local files that appear whole or not at all: each is written beside its destination, then moved there in one step."""

import contextlib
import fcntl
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

#: A writer's file before it gets its name; listings and `*.parquet` globs never show it.
PARTIAL_SUFFIX = ".partial"
#: As `partial_file` names them.
_PARTIAL = re.compile(rf"\..+\.[0-9a-f]{{32}}{re.escape(PARTIAL_SUFFIX)}", re.DOTALL)
#: Seconds after which nobody writes to such a file any more: its writer was killed.
LEFT_BEHIND_S = 86_400.0


@contextlib.contextmanager
def partial_file(native: str) -> Iterator[Path]:
    """Give a hidden name beside the destination, so that the last step is a rename within one filesystem.

    The folder is made. A file that still has the hidden name when the block ends is removed.
    """
    destination = Path(native)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(f"{destination.parent} is a file") from error
    partial = destination.parent / f".{destination.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(native: str) -> Iterator[None]:
    """Hold the lock of a file among the processes and threads of this machine. The system frees it if they die."""
    destination = Path(native)
    with (destination.parent / f".{destination.name}.lock{PARTIAL_SUFFIX}").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and sync it to the disk."""
    stream: IO[bytes]
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def commit(move: Callable[[Path, str], None], partial: Path, native: str) -> None:
    """Give the file its name by `move` (os.replace, or os.link where it must be new)."""
    move(partial, native)
    # The new name itself must survive a power cut, not only the content.
    sync_folder(partial.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_left_behind(folder: Path) -> None:
    """Remove the hidden files of writers that were killed long ago, in a folder and below it.

    Files of `locked` stay: they are never written, so that their age does not say whether somebody holds them. A folder
    that cannot be read is left out.
    """
    before = time.time() - LEFT_BEHIND_S
    for place, _, names in os.walk(folder):
        for name in filter(_PARTIAL.fullmatch, names):
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                if os.lstat(partial := f"{place}/{name}").st_mtime < before:
                    os.unlink(partial)


def remove_empty_folders(folder: Path) -> None:
    """Remove a folder and those below it, as far as they hold nothing; a missing one is fine."""
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # a file is in it
            os.rmdir(place)
