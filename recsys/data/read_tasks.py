"""Divide the files of an input among tasks of about the same size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import fsspec

from recsys.data.formats.input_format import BROKEN_FILE, DivisibleFormat, FileInfo, InputFormat, Span
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTask:
    """What one task reads: several small files, or a part of a large one."""

    index: int
    """Place among the tasks; rows keep the order of the files."""
    files: tuple[str, ...]
    span: Span | None
    """Part of the only file; None: whole files."""
    num_bytes: int
    first_bytes: Mapping[str, int]
    """Of files that have grown since they were listed, the bytes that are read."""


def plan_reads(
    fs: fsspec.AbstractFileSystem,
    files: Sequence[FileInfo],
    format: str,  # noqa: A002 - the config's word
    target_bytes: int = 64 << 20,
) -> list[ReadTask]:
    """Tasks of about `target_bytes` in file order: small files share a task, and a large file is cut if its format can.

    Raises:
        InputError: a large file is missing or corrupt.
    """
    form = FORMATS[format]
    parts: list[tuple[tuple[str, ...], Span | None, int]] = []
    packed: list[FileInfo] = []

    def flush() -> None:
        if packed:
            parts.append((tuple(file.path for file in packed), None, sum(file.size for file in packed)))
            packed.clear()

    for file in files:
        if packed and sum(other.size for other in packed) + file.size > target_bytes:
            flush()
        cut = _cut(fs, file, form, target_bytes)
        if cut:
            parts.extend(((file.path,), span, num_bytes) for span, num_bytes in cut)
        else:
            packed.append(file)
    flush()
    grown = {file.path: file.size for file in files if file.grown}
    return [
        ReadTask(
            index=index,
            files=paths,
            span=span,
            num_bytes=num_bytes,
            first_bytes={path: grown[path] for path in paths if path in grown},
        )
        for index, (paths, span, num_bytes) in enumerate(parts)
    ]


def _cut(fs: fsspec.AbstractFileSystem, file: FileInfo, form: InputFormat, target_bytes: int) -> list[tuple[Span, int]]:
    """Parts of a large file; none where it is small, or is read as a whole."""
    if file.size <= target_bytes or not isinstance(form, DivisibleFormat):
        return []
    try:
        return form.cut(fs, file, target_bytes)
    except FileNotFoundError as error:
        raise InputError(f"{file.path}: does not exist") from error
    except BROKEN_FILE as error:
        raise InputError(f"{file.path}: cannot be read as {form.name}: {error}; write it again or remove it") from error
