"""Finds the files of an input and shares them out among tasks; of their content it reads Parquet footers only."""

import gzip
import posixpath
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.config import Format
from recsys.errors import InputError

#: What the libraries raise for a file that is cut off or corrupt.
BROKEN = (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeError)

_EXTENSIONS: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".tsv", ".txt", ".inter", ".item", ".user"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One source file."""

    path: str
    size: int
    """Bytes."""
    version: str
    """Changes when the content does: nanoseconds of the local change time, or the object's ETag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What one task reads: several small files, or some row groups of a large one."""

    index: int
    """Place among the splits; rows keep the order of the files."""
    files: tuple[str, ...]
    row_groups: tuple[int, int] | None
    """Row groups [first, last) of the only file; None: whole files."""
    num_bytes: int


def list_files(
    fs: fsspec.AbstractFileSystem,
    path: str,
    format: Format,  # noqa: A002 - the config's word
    *,
    required: bool = True,
) -> list[FileInfo]:
    """Files of a file, folder (recursive, by extension) or glob, sorted by path, but none whose name begins with _ or .

    Raises:
        InputError: the path cannot be listed, or there is no file and one is `required`.
    """
    try:
        if fs.isfile(path):
            return [_file_info(fs.info(path))]
        found = _under(fs, path, format) if fs.isdir(path) else _matching(fs, path, format)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed: {error}") from error
    files = sorted((_file_info(info) for info in found), key=lambda file: file.path)
    if required and not files:
        endings = ", ".join(_EXTENSIONS[format])
        raise InputError(f"{path}: no {format} file there; give a file, a folder with {endings} files, or a glob")
    return files


def plan_splits(
    fs: fsspec.AbstractFileSystem,
    files: Sequence[FileInfo],
    format: Format,  # noqa: A002 - the config's word
    target_bytes: int = 64 << 20,
) -> list[Split]:
    """Tasks of about `target_bytes` in file order: small files are packed, large Parquet files cut by row groups.

    Raises:
        InputError: a large Parquet file is corrupt.
    """
    parts: list[tuple[tuple[str, ...], tuple[int, int] | None, int]] = []
    packed: list[FileInfo] = []

    def flush() -> None:
        if packed:
            parts.append((tuple(file.path for file in packed), None, sum(file.size for file in packed)))
            packed.clear()

    for file in files:
        if packed and sum(other.size for other in packed) + file.size > target_bytes:
            flush()
        if format == "parquet" and file.size > target_bytes:
            parts.extend(
                ((file.path,), groups, num_bytes) for groups, num_bytes in _cut_by_row_groups(fs, file, target_bytes)
            )
        else:
            packed.append(file)
    flush()
    return [
        Split(index=index, files=paths, row_groups=groups, num_bytes=num_bytes)
        for index, (paths, groups, num_bytes) in enumerate(parts)
    ]


def num_row_groups(fs: fsspec.AbstractFileSystem, path: str) -> int:
    """Row groups of a Parquet file, from its footer.

    Raises:
        InputError: the file is missing or corrupt.
    """
    return len(_row_group_bytes(fs, path))


def is_gzip(path: str) -> bool:
    """Whether the file's name says that gzip packed it."""
    return path.lower().endswith(".gz")


def unpacked(stream: IO[bytes], path: str) -> IO[bytes]:
    """The content of a file: what gzip packed where the name ends in .gz, else the stream itself."""
    opened: Any = gzip.GzipFile(fileobj=stream) if is_gzip(path) else stream
    return opened  # type: ignore[no-any-return]


def _file_info(info: dict[str, Any]) -> FileInfo:
    moment = info.get("mtime", info.get("LastModified", info.get("created", "")))
    version = info.get("ETag") or (str(int(moment * 1_000_000_000)) if isinstance(moment, float) else str(moment))
    return FileInfo(path=str(info["name"]), size=int(info["size"] or 0), version=str(version).strip('"'))


def _under(fs: fsspec.AbstractFileSystem, folder: str, format: Format) -> list[dict[str, Any]]:  # noqa: A002
    root = str(fs._strip_protocol(folder)).rstrip("/") + "/"
    found = fs.find(folder, detail=True).values()
    return [
        info
        for info in found
        if info["type"] == "file"
        and not _hidden(str(info["name"]).removeprefix(root))
        and _without_gz(str(info["name"]), format).endswith(_EXTENSIONS[format])
    ]


def _matching(fs: fsspec.AbstractFileSystem, pattern: str, format: Format) -> list[dict[str, Any]]:  # noqa: A002
    if not any(character in pattern for character in "*?["):
        return []
    found: dict[str, dict[str, Any]] = {}
    for name, info in fs.glob(pattern, detail=True).items():
        if _hidden(posixpath.basename(str(name).rstrip("/"))):
            continue
        inside = _under(fs, name, format) if info["type"] == "directory" else [info]
        found.update({str(file["name"]): file for file in inside})
    return list(found.values())


def _hidden(relative: str) -> bool:
    return any(part.startswith(("_", ".")) for part in relative.split("/"))


def _without_gz(name: str, format: Format) -> str:  # noqa: A002
    lowered = name.lower()
    return lowered if format == "parquet" else lowered.removesuffix(".gz")


def _cut_by_row_groups(
    fs: fsspec.AbstractFileSystem, file: FileInfo, target_bytes: int
) -> Iterator[tuple[tuple[int, int], int]]:
    sizes = _row_group_bytes(fs, file.path)
    scale = file.size / max(sum(sizes), 1)  # the footer counts bytes before compression
    first, gathered = 0, 0.0
    for index, size in enumerate(sizes):
        if index > first and gathered + size * scale > target_bytes:
            yield (first, index), int(gathered)
            first, gathered = index, 0.0
        gathered += size * scale
    yield (first, len(sizes)), int(gathered)


def _row_group_bytes(fs: fsspec.AbstractFileSystem, path: str) -> list[int]:
    try:
        with fs.open(path, "rb") as stream:
            footer = pq.ParquetFile(stream).metadata
            return [footer.row_group(index).total_byte_size for index in range(footer.num_row_groups)]
    except FileNotFoundError as error:
        raise InputError(f"{path}: does not exist") from error
    except BROKEN as error:
        raise InputError(f"{path}: is no readable Parquet file: {error}; write it again or remove it") from error
