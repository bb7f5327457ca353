"""Rows that stand for users who cannot be ranked, so that the numbers of all other users stay the same.

Users are scored in blocks of similar length. A block of another shape rounds some sums differently.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

#: Columns with one entry for each event of the history.
_OF_EVENTS = ("item_ids", "timestamps", "events", "weights", "texts")


def with_stand_ins(histories: pa.Table, rows: Sequence[int]) -> pa.Table | None:
    """The table in which each of these rows has as many events as before, and all its content is another user's.

    Args:
        histories: HISTORIES table of B users.
        rows: Rows to replace.

    Returns:
        None where there is no other user to take the content from.
    """
    replaced = set(rows)
    others = [row for row in range(len(histories)) if row not in replaced]
    if not others:
        return None
    taken = histories.take(pa.array(rows)).to_pylist()
    with_events = [row for row in others if len(histories["item_ids"][row])]
    donor = histories.slice((with_events or others)[0], 1).to_pylist()[0]
    stand_ins = pa.Table.from_pylist([_stand_in(row, donor) for row in taken], schema=histories.schema)
    order = list(range(len(histories)))
    for place, row in enumerate(rows):
        order[row] = len(histories) + place
    return pa.concat_tables([histories, stand_ins]).take(pa.array(order))


def _stand_in(row: dict[str, Any], donor: dict[str, Any]) -> dict[str, Any]:
    length, known = len(row["item_ids"]), len(donor["item_ids"])
    made = dict(donor)
    for name in _OF_EVENTS:
        if name in donor:
            values = [donor[name][place % known] for place in range(length)] if known else []
            made[name] = sorted(values) if name == "timestamps" else values
    return made
