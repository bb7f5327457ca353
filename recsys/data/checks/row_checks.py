"""Checks that rows of events, items and users share: the filter, and the quarantine of bad rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason, quarantined, rows_as_json
from recsys.data.checks.row_filter import row_filter
from recsys.schema import QUARANTINE


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


def quarantine_faults(table: pa.Table, source: str, faults: list[RowFault]) -> tuple[Any, pa.Table]:
    """Find the bad rows of a table.

    Args:
        table: The rows [N].
        source: Path of their file.
        faults: In order of importance: a row is quarantined with its first one.

    Returns:
        Bool [N], which rows are bad; and QUARANTINE, one row for each of them.
    """
    first = np.full(table.num_rows, -1)
    for place, fault in reversed(list(enumerate(faults))):
        first[fault.rows] = place
    bad = first >= 0
    if not bad.any():
        return bad, QUARANTINE.empty_table()
    found = [faults[place] for place in first[bad]]
    rows = rows_as_json(table.filter(pa.array(bad)))
    aside = quarantined(source, rows, [fault.column for fault in found], [fault.reason for fault in found])
    return bad, aside


def flags(values: Any) -> Any:
    """Bool [N] as numpy, from Arrow; null is false."""
    return np.asarray(pc.fill_null(values, False))
