"""Divide the files of an input among tasks of about the same size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import fsspec

from recsys.data.files.compression import compression_of
from recsys.data.files.text_pieces import Piece
from recsys.data.files.whole_lines import may_grow
from recsys.data.formats.input_format import BROKEN_FILE, DivisibleFormat, FileInfo, InputFormat, Span
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError

#: What a file costs beyond its bytes: while an object store answers one request, so much is read and parsed.
FILE_BYTES = 128 << 10
#: Bytes of text in a byte of a compressed file, about.
_EXPANSION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTask:
    """What one task reads: several small files, or a part of a large one."""

    index: int
    """Place among the tasks; rows keep the order of the files."""
    files: tuple[str, ...]
    span: Span | None
    """Part of the only file; None: whole files."""
    num_bytes: int
    """About; of a compressed file, of its content."""
    pieces: Mapping[str, tuple[Piece, ...]]
    """Of files that are read in part, the bytes of their texts that are read."""

    @property
    def label(self) -> str:
        """What the task reads, for people."""
        first = self.files[0] if self.span is None else f"a part of {self.files[0]}"
        return first if len(self.files) == 1 else f"{first} and {len(self.files) - 1} more"


def plan_reads(
    fs: fsspec.AbstractFileSystem,
    files: Sequence[FileInfo],
    format: str,  # noqa: A002 - the config's word
    target_bytes: int = 64 << 20,
) -> list[ReadTask]:
    """Tasks of about `target_bytes` in file order: small files share a task, and a large file is cut if its format can.

    A file counts as `FILE_BYTES` more than it has, so that no task has very many files.

    Raises:
        InputError: a large file is missing or corrupt.
    """
    form = FORMATS[format]
    parts: list[tuple[tuple[str, ...], Span | None, int]] = []
    packed: list[FileInfo] = []

    cost = 0

    def flush() -> None:
        if packed:
            parts.append((tuple(file.path for file in packed), None, sum(content_bytes(file, form) for file in packed)))
            packed.clear()

    for file in files:
        file_cost = FILE_BYTES + content_bytes(file, form)
        if packed and cost + file_cost > target_bytes:
            flush()
            cost = 0
        cut = _cut(fs, file, form, target_bytes)
        if cut:
            parts.extend(((file.path,), span, num_bytes) for span, num_bytes in cut)
        else:
            packed.append(file)
            cost += file_cost
    flush()
    pieces = {file.path: _pieces(file) for file in files if file.pieces or may_grow(fs, file.path, form)}
    return [
        ReadTask(
            index=index,
            files=paths,
            span=span,
            num_bytes=num_bytes,
            pieces={path: pieces[path] for path in paths if path in pieces},
        )
        for index, (paths, span, num_bytes) in enumerate(parts)
    ]


def content_bytes(file: FileInfo, form: InputFormat) -> int:
    """Bytes of a file's content, about: a compressed text is larger than its file."""
    is_packed = form.compressible and not file.pieces and compression_of(file.path) is not None
    return file.size * _EXPANSION if is_packed else file.size


def _pieces(file: FileInfo) -> tuple[Piece, ...]:
    return file.pieces or ((0, file.size),)


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
