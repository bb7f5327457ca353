"""Checks that rows of events, items and users share: the filter, the ids, and the quarantine of bad rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.cells import as_text
from recsys.data.quarantine import Reason, quarantined, rows_as_json
from recsys.data.row_filter import row_filter
from recsys.errors import InputError
from recsys.schema import QUARANTINE

_UNPRINTABLE = r"[\p{Cc}\x{2028}\x{2029}]"


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing that is wrong with some rows of a table."""

    reason: Reason
    column: str
    """Column in which the fault is."""
    rows: Any
    """Bool [N]: rows that have the fault."""


def filtered(table: pa.Table, where: str | None, source: str, key: str) -> pa.Table:
    """The rows that pass the condition of the config key `key`; all rows where it is None."""
    return table if where is None else table.filter(row_filter(where, key).mask(table, source))


def read_ids(table: pa.Table, column: str) -> pa.ChunkedArray:
    """Ids [N] as text without blanks around it, null where missing. The numbers 17850 and 17850.0 become "17850".

    Raises:
        InputError: values of the column's type cannot be ids, such as lists.
    """
    if pa.types.is_nested(table[column].type):
        raise InputError(f"column {column!r} is {table[column].type}; an id must be text or a number")
    ids = pc.utf8_trim_whitespace(as_text(table[column]))
    return pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)


def id_faults(ids: pa.ChunkedArray, column: str, max_id_chars: int) -> list[RowFault]:
    """Faults of ids that are not missing."""
    return [
        RowFault(Reason.ID_TOO_LONG, column, flags(pc.greater(pc.utf8_length(ids), max_id_chars))),
        RowFault(Reason.UNPRINTABLE_ID, column, flags(pc.match_substring_regex(ids, pattern=_UNPRINTABLE))),
    ]


def quarantine_faults(table: pa.Table, source: str, faults: list[RowFault], counts: Any) -> tuple[Any, pa.Table]:
    """Find the bad rows of a table.

    Args:
        table: The rows [N].
        source: Path of their file.
        faults: In order of importance: a row is quarantined with its first one.
        counts: Bool [N]; other rows are never bad.

    Returns:
        Bool [N], which rows are bad; and QUARANTINE, one row for each of them.
    """
    first = np.full(table.num_rows, -1)
    for place, fault in reversed(list(enumerate(faults))):
        first[fault.rows] = place
    bad = (first >= 0) & counts
    if not bad.any():
        return bad, QUARANTINE.empty_table()
    found = [faults[place] for place in first[bad]]
    rows = rows_as_json(table.filter(pa.array(bad)))
    aside = quarantined(source, rows, [fault.column for fault in found], [fault.reason for fault in found])
    return bad, aside


def flags(values: Any) -> Any:
    """Bool [N] as numpy, from Arrow; null is false."""
    return np.asarray(pc.fill_null(values, False))
