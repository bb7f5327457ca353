"""How many rows an input holds, told from footers and samples, for a plan that reads next to nothing."""

import gzip
from collections.abc import Sequence

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.config import Format
from recsys.data.readers import FileInfo
from recsys.errors import InputError

SAMPLE_BYTES = 1 << 16
#: Files looked into; the others are taken to be alike.
SAMPLE_FILES = 8
#: What gzip usually makes of text like this.
GZIP_RATIO = 5.0


def estimate_rows(fs: fsspec.AbstractFileSystem, files: Sequence[FileInfo], format: Format) -> int:  # noqa: A002
    """About how many rows `files` hold: exact counts or line lengths of a few files, scaled by bytes.

    Raises:
        InputError: a sampled file cannot be read.
    """
    step = max(1, len(files) // SAMPLE_FILES)
    sample = [file for file in files[::step] if file.size]
    if not sample:
        return 0
    rows = sum(_rows(fs, file, format) for file in sample)
    return round(rows * sum(file.size for file in files) / sum(file.size for file in sample))


def _rows(fs: fsspec.AbstractFileSystem, file: FileInfo, format: Format) -> float:  # noqa: A002
    try:
        with fs.open(file.path, "rb") as stream:
            if format == "parquet":
                return float(pq.ParquetFile(stream).metadata.num_rows)
            zipped = file.path.endswith(".gz")
            head = (gzip.GzipFile(fileobj=stream) if zipped else stream).read(SAMPLE_BYTES)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise InputError(f"{file.path}: cannot be read as {format}: {error}") from error
    size = file.size * (GZIP_RATIO if zipped else 1.0)
    lines = max(head.count(b"\n"), 1)
    header = 1 if format == "csv" else 0
    return max(lines * max(size / max(len(head), 1), 1.0) - header, 0.0)
