"""The files below a folder, also where they are reached by symbolic links."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recsys.data.formats.input_format import FileInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFile:
    """A file below a folder."""

    info: FileInfo
    is_linked: bool = False
    """Whether the file or one of its folders is a symbolic link."""
    is_missing: bool = False
    """Whether it is a link to nothing."""


def files_below(fs: fsspec.AbstractFileSystem, folder: str) -> list[FolderFile]:
    """All files below a folder, in any order. A link back to a folder that is being read is not followed."""
    if isinstance(fs, LocalFileSystem):
        root = os.stat(folder)
        return list(_walk(folder, frozenset([(root.st_dev, root.st_ino)]), linked=False))
    found = fs.find(folder, detail=True).values()
    return [FolderFile(info=file_info(info)) for info in found if info["type"] == "file"]


def file_info(info: dict[str, Any]) -> FileInfo:
    """What we need of fsspec's details of a file."""
    changed = info.get("mtime", info.get("LastModified", info.get("created", "")))
    version = info.get("ETag") or (str(int(changed * 1_000_000_000)) if isinstance(changed, float) else str(changed))
    return FileInfo(path=str(info["name"]), size=int(info["size"] or 0), version=str(version).strip('"'))


def _walk(folder: str, above: frozenset[tuple[int, int]], *, linked: bool) -> Iterator[FolderFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            is_linked = linked or entry.is_symlink()
            try:
                found = entry.stat()
            except OSError:  # a link to nothing, or to itself
                yield FolderFile(info=FileInfo(path=entry.path, size=0, version=""), is_linked=True, is_missing=True)
                continue
            if stat.S_ISDIR(found.st_mode):
                key = found.st_dev, found.st_ino
                if key not in above:
                    yield from _walk(entry.path, above | {key}, linked=is_linked)
            elif stat.S_ISREG(found.st_mode):
                details = {"name": entry.path, "size": found.st_size, "mtime": found.st_mtime}
                yield FolderFile(info=file_info(details), is_linked=is_linked)
