"""Find the files of an input."""

import posixpath
from typing import Any

import fsspec

from recsys.data.compression import without_gzip
from recsys.data.formats.input_format import FileInfo, InputFormat
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError


def list_files(
    fs: fsspec.AbstractFileSystem,
    path: str,
    format: str,  # noqa: A002 - the config's word
    *,
    required: bool = True,
) -> list[FileInfo]:
    """Files of a file, folder (recursive, by ending) or glob, sorted by path.

    Files and folders whose name begins with `_` or `.` are left out.

    Raises:
        InputError: the path cannot be listed, or there is no file and one is `required`.
    """
    form = FORMATS[format]
    try:
        if fs.isfile(path):
            return [_file_info(fs.info(path))]
        found = _under(fs, path, form) if fs.isdir(path) else _matching(fs, path, form)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed: {error}") from error
    files = sorted((_file_info(info) for info in found), key=lambda file: file.path)
    if required and not files:
        endings = ", ".join(form.endings)
        raise InputError(f"{path}: no {format} file there; give a file, a folder with {endings} files, or a glob")
    return files


def _file_info(info: dict[str, Any]) -> FileInfo:
    changed = info.get("mtime", info.get("LastModified", info.get("created", "")))
    version = info.get("ETag") or (str(int(changed * 1_000_000_000)) if isinstance(changed, float) else str(changed))
    return FileInfo(path=str(info["name"]), size=int(info["size"] or 0), version=str(version).strip('"'))


def _under(fs: fsspec.AbstractFileSystem, folder: str, form: InputFormat) -> list[dict[str, Any]]:
    root = str(fs._strip_protocol(folder)).rstrip("/") + "/"
    found = fs.find(folder, detail=True).values()
    return [
        info
        for info in found
        if info["type"] == "file"
        and not _hidden(str(info["name"]).removeprefix(root))
        and _has_ending(str(info["name"]), form)
    ]


def _matching(fs: fsspec.AbstractFileSystem, pattern: str, form: InputFormat) -> list[dict[str, Any]]:
    if not any(character in pattern for character in "*?["):
        return []
    found: dict[str, dict[str, Any]] = {}
    for name, info in fs.glob(pattern, detail=True).items():
        if _hidden(posixpath.basename(str(name).rstrip("/"))):
            continue
        inside = _under(fs, name, form) if info["type"] == "directory" else [info]
        found.update({str(file["name"]): file for file in inside})
    return list(found.values())


def _hidden(relative: str) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def _has_ending(name: str, form: InputFormat) -> bool:
    return (without_gzip(name) if form.compressible else name.lower()).endswith(form.endings)
