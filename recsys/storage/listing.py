"""Listing all files below a folder. What cannot be read is an error, never an empty folder."""

import contextlib
from typing import Any


def files_below(fs: Any, folder: str, *, is_local: bool) -> dict[str, dict[str, Any]]:
    """The files of a folder and of those below it: address → what `fs.info` tells. No link to a folder is followed.

    A folder that is missing, or that another process deletes meanwhile, is empty. Local folders are not listed by
    `fs.find`, since that leaves out a folder that cannot be read (EIO, ESTALE, EACCES), and says nothing: callers
    delete what they do not find there.

    Args:
        fs: The fsspec filesystem.
        folder: As it spells it.
        is_local: Whether `fs` is that of this machine.

    Raises:
        OSError: a folder cannot be read.
    """
    if not is_local:
        return dict(fs.find(folder, detail=True))
    found, waiting = {}, [folder]
    while waiting:
        with contextlib.suppress(FileNotFoundError):
            for info in fs.ls(waiting.pop(), detail=True):
                if info["type"] == "directory":
                    waiting.append(info["name"])
                else:
                    found[info["name"]] = info
    return found
