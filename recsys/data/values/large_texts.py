"""Columns of texts that hold more than 2 GiB: an Arrow `string` array cannot, a `large_string` array can."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Texts of a slice, in bytes: its columns may be joined, and still fit into one `string` array.
SLICE_BYTES = 256 << 20
#: Each row counts as so many bytes more, for its id and for the words of a template.
_ROW_BYTES = 256


def with_large_text(table: pa.Table, column: str) -> pa.Table:
    """The table with one column as `large_string`. Arrow shares the texts; only their offsets become longer."""
    place = table.column_names.index(column)
    return table.set_column(place, column, table[column].cast(pa.large_string()))


def chosen_rows(column: pa.ChunkedArray, rows: pa.Array) -> Any:
    """The values of a `large_string` column at these rows, null where a row is null.

    Only the chosen rows are copied: `take` alone would first copy the whole column into one piece.
    """
    wanted = np.zeros(len(column), bool)
    wanted[np.asarray(rows.drop_null())] = True
    places = np.cumsum(wanted) - 1
    known = pc.is_valid(rows).to_numpy(zero_copy_only=False)
    chosen = np.where(known, places[np.asarray(pc.fill_null(rows, 0))] if len(column) else 0, 0)
    return column.filter(pa.array(wanted)).take(pa.array(chosen, mask=~known))


def small_slices(table: pa.Table, slice_bytes: int = SLICE_BYTES) -> Iterator[pa.Table]:
    """The rows in slices with `string` columns, each of about `slice_bytes` of text at most; at least one slice."""
    num_bytes = np.full(table.num_rows, _ROW_BYTES)
    for column in table.columns:
        if pa.types.is_large_string(column.type):
            num_bytes += np.asarray(pc.fill_null(pc.binary_length(column), 0))
    numbers = np.cumsum(num_bytes) // slice_bytes
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), table.num_rows]
    plain = [field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field for field in table.schema]
    for start, end in itertools.pairwise(starts):
        yield table.slice(start, end - start).cast(pa.schema(plain))
