"""Listing the files of a folder. What cannot be read is an error, never an empty folder."""

import contextlib
from typing import Any

from recsys.storage.atomic import PARTIAL_SUFFIX
from recsys.storage.s3 import aws_code


def file_sizes(fs: Any, folder: str, *, recursive: bool, is_local: bool) -> dict[str, int]:
    """Bytes of each file in a folder, by its name relative to the folder; a missing folder is empty.

    Args:
        fs: The fsspec filesystem.
        folder: As it spells it.
        recursive: List the folders below it, too. No link to a folder is followed.
        is_local: Whether `fs` is that of this machine.

    Raises:
        OSError: a folder cannot be read, or there is no such bucket.
    """
    try:
        if not recursive:
            found = {info["name"]: info for info in fs.ls(folder, detail=True)}
        else:
            found = _walk(fs, folder) if is_local else fs.find(folder, detail=True)
    except FileNotFoundError as error:
        if aws_code(error) == "NoSuchBucket":
            raise
        return {}
    return {
        name.removeprefix(f"{folder}/"): int(info["size"])
        for name, info in sorted(found.items())
        # S3 may hold an empty object named like the folder, and answers with the file where the path is one.
        if info["type"] == "file" and name.startswith(f"{folder}/") and not name.endswith(("/", PARTIAL_SUFFIX))
    }


def _walk(fs: Any, folder: str) -> dict[str, dict[str, Any]]:
    """Address → what `fs` tells, of each file. A folder that another process deletes meanwhile is empty.

    `fs.find` leaves out a folder that cannot be read (EIO, ESTALE, EACCES), without an error: callers delete what they
    do not find there.
    """
    found, waiting = {}, [folder]
    while waiting:
        with contextlib.suppress(FileNotFoundError):
            for info in fs.ls(waiting.pop(), detail=True):
                if info["type"] == "directory":
                    waiting.append(info["name"])
                else:
                    found[info["name"]] = info
    return found
