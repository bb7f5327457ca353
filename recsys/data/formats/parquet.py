"""Parquet files: columns keep their types, and a large file is divided by its row groups."""

from collections.abc import Iterator
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.data.files.content import KIND_BYTES, PARQUET, content_kind
from recsys.data.formats.input_format import Chunk, DivisibleFormat, FileInfo, Source, Span, rows_per_chunk
from recsys.data.values.columns import distinct_columns
from recsys.errors import InputError


class ParquetFormat(DivisibleFormat):
    """Apache Parquet."""

    name = "parquet"
    endings = (".parquet", ".pq")
    compressible = False

    def read(self, stream: IO[bytes], source: Source) -> Iterator[Chunk]:
        """Stream the chosen row groups; the fields of a struct are columns too (`user.id`)."""
        file = _opened(stream, source.path)
        names = distinct_columns(file.schema_arrow.names, source.path)
        groups = list(range(*(source.span or (0, file.num_row_groups))))
        rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        num_bytes = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        batch_size = rows_per_chunk(rows, num_bytes)
        empty = True
        for batch in file.iter_batches(batch_size=batch_size, row_groups=groups, use_threads=False) if rows else ():
            empty = False
            yield Chunk(table=_with_fields(_without_views(pa.Table.from_batches([batch]))))
        if empty:
            yield Chunk(table=_with_fields(file.schema_arrow.empty_table().select(names)))

    def cut(self, fs: fsspec.AbstractFileSystem, file: FileInfo, target_bytes: int) -> list[tuple[Span, int]]:
        """Ranges of row groups, by the sizes in the footer."""
        with fs.open(file.path, "rb") as stream:
            footer = _opened(stream, file.path).metadata
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
            return float(_opened(stream, file.path).metadata.num_rows)


def _opened(stream: IO[bytes], path: str) -> pq.ParquetFile:
    first = stream.read(KIND_BYTES)
    stream.seek(0)
    kind, way_out = content_kind(first)
    if kind and kind != PARQUET:
        raise InputError(f"{path}: is {kind}, not Parquet; {way_out}")
    if first and first[:4] not in (b"PAR1", b"PARE"):
        raise InputError(f"{path}: is no Parquet file: it begins with {first[:20]!r}; correct `format`, or remove it")
    # in nanoseconds, the usual unit of old timestamps (INT96), the year 9999 would become 1816
    return pq.ParquetFile(stream, coerce_int96_timestamp_unit="us")


def _without_views(table: pa.Table) -> pa.Table:
    """View types as plain ones, also in lists, structs and maps: Arrow cannot filter them."""
    fields = [_plain_field(field) for field in table.schema]
    return table.cast(pa.schema(fields)) if pa.schema(fields) != table.schema.remove_metadata() else table


def _plain_field(field: pa.Field) -> pa.Field:
    kind = field.type
    if kind == pa.string_view():
        return field.with_type(pa.large_string())
    if kind == pa.binary_view():
        return field.with_type(pa.large_binary())
    if pa.types.is_list(kind):
        return field.with_type(pa.list_(_plain_field(kind.value_field)))
    if pa.types.is_large_list(kind):
        return field.with_type(pa.large_list(_plain_field(kind.value_field)))
    if pa.types.is_struct(kind):
        return field.with_type(pa.struct([_plain_field(child) for child in kind.fields]))
    if pa.types.is_map(kind):
        return field.with_type(pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field)))
    return field


def _with_fields(table: pa.Table) -> pa.Table:
    """The table, with the fields of its structs as columns such as `user.id`."""
    for name in table.column_names:
        kind = table[name].type
        for field in kind.fields if pa.types.is_struct(kind) else ():
            column = f"{name}.{field.name}"
            if column not in table.column_names:
                table = table.append_column(column, pc.struct_field(table[name], field.name))
                if pa.types.is_struct(field.type):
                    table = _with_fields(table)
    return table
