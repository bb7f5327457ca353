"""Parquet files: columns keep their types, and a large file is divided by its row groups."""

from collections.abc import Iterator
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.columns import distinct_columns
from recsys.data.formats.input_format import Chunk, DivisibleFormat, FileInfo, Source, Span, rows_per_chunk


class ParquetFormat(DivisibleFormat):
    """Apache Parquet."""

    name = "parquet"
    endings = (".parquet", ".pq")
    compressible = False

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Stream the chosen row groups."""
        file = pq.ParquetFile(stream)
        names = distinct_columns(file.schema_arrow.names, source.path)
        groups = list(range(*(source.span or (0, file.num_row_groups))))
        rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        num_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        batch_size = rows_per_chunk(rows, num_bytes)
        empty = True
        for batch in file.iter_batches(batch_size=batch_size, row_groups=groups, use_threads=False) if rows else ():
            empty = False
            yield Chunk(table=_without_views(pa.Table.from_batches([batch])))
        if empty:
            yield Chunk(table=file.schema_arrow.empty_table().select(names))

    def cut(self, fs: fsspec.AbstractFileSystem, file: FileInfo, target_bytes: int) -> list[tuple[Span, int]]:
        """Ranges of row groups, by the sizes in the footer."""
        with fs.open(file.path, "rb") as stream:
            footer = pq.ParquetFile(stream).metadata
            sizes = [footer.row_group(index).total_byte_size for index in range(footer.num_row_groups)]
        scale = file.size / max(sum(sizes), 1)  # the footer counts bytes before compression
        parts: list[tuple[Span, int]] = []
        first, gathered = 0, 0.0
        for index, size in enumerate(sizes):
            if index > first and gathered + size * scale > target_bytes:
                parts.append(((first, index), int(gathered)))
                first, gathered = index, 0.0
            gathered += size * scale
        return [*parts, ((first, len(sizes)), int(gathered))]

    def estimate_rows(self, fs: fsspec.AbstractFileSystem, file: FileInfo) -> float:
        """The exact number, from the footer."""
        with fs.open(file.path, "rb") as stream:
            return float(pq.ParquetFile(stream).metadata.num_rows)


def _without_views(table: pa.Table) -> pa.Table:
    """View types as plain ones: Arrow cannot filter them."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(plain.get(field.type, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields)) if pa.schema(fields) != table.schema.remove_metadata() else table
