"""Estimate how many rows an input holds, from a few of its files, for a plan that reads almost nothing."""

from collections.abc import Sequence

import fsspec

from recsys.data.formats.input_format import BROKEN_FILE, FileInfo
from recsys.data.formats.registry import FORMATS
from recsys.errors import InputError

#: Files that are looked into; the others are taken to hold as many rows for each byte.
SAMPLE_FILES = 8


def estimate_rows(fs: fsspec.AbstractFileSystem, files: Sequence[FileInfo], format: str) -> int:  # noqa: A002
    """About how many rows `files` hold: the estimates of a few files, scaled by bytes.

    Raises:
        InputError: a sampled file cannot be read.
    """
    step = max(1, len(files) // SAMPLE_FILES)
    sample = [file for file in files[::step] if file.size]
    if not sample:
        return 0
    rows = sum(_rows(fs, file, format) for file in sample)
    return round(rows * sum(file.size for file in files) / sum(file.size for file in sample))


def _rows(fs: fsspec.AbstractFileSystem, file: FileInfo, format: str) -> float:  # noqa: A002
    try:
        return FORMATS[format].estimate_rows(fs, file)
    except BROKEN_FILE as error:
        raise InputError(f"{file.path}: cannot be read as {format}: {error}") from error
