"""What an encoder learns from in sorted interactions, and what it is measured by: baskets, and those kept out."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import user_runs
from recsys.model.features import index_items
from recsys.training.examples import with_first_target

#: Distinct catalog rows of each user's items.
BASKETS = pa.schema([pa.field("items", pa.list_(pa.int32()), nullable=False)])
#: Catalog rows of a user's history, oldest → newest, and of the item that the user took next.
HELD_OUT_TARGETS = pa.schema(
    [pa.field("history", pa.list_(pa.int32()), nullable=False), pa.field("target", pa.int32(), nullable=False)]
)


def baskets_of(sorted_interactions: pa.Table, item_ids: pa.Array, max_events: int) -> pa.Table:
    """BASKETS of the users with two items or more.

    Args:
        sorted_interactions: Of whole users.
        item_ids: Of the catalog; other items are left out.
        max_events: Newest events of a user that are read.
    """
    found = [np.unique(rows) for rows in _histories(sorted_interactions, item_ids, max_events)]
    return _table([[rows for rows in found if len(rows) > 1]], BASKETS)


def held_out_targets(learned: pa.Table, kept_out: pa.Table, item_ids: pa.Array, max_events: int) -> pa.Table:
    """HELD_OUT_TARGETS of the users who took an item after their history that was not in it.

    Args:
        learned: Sorted interactions that training sees.
        kept_out: Sorted interactions of validation users, which come later.
        item_ids: Of the catalog.
        max_events: Newest events of a user that are read.
    """
    # Without `exclude_seen`, which takes the first later item that is new in the whole history. Here the very next item
    # counts, if it is new among the newest events: what the encoder is measured by does not depend on that setting.
    events = with_first_target(learned, kept_out)
    histories, targets = [], []
    for rows in _histories(events, item_ids, max_events + 1):
        if len(rows) > 1 and rows[-1] not in rows[:-1]:
            histories.append(rows[:-1])
            targets.append(int(rows[-1]))
    return _table([histories, targets], HELD_OUT_TARGETS)


def last_targets(histories: pa.Table, item_ids: pa.Array) -> pa.Table:
    """HELD_OUT_TARGETS of the users whose last item is not among their items before it.

    Args:
        histories: HISTORIES.
        item_ids: Of the catalog; other items are left out.
    """
    lists = histories["item_ids"].combine_chunks()
    rows = index_items(lists.flatten(), item_ids).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(np.asarray(lists.value_lengths(), np.int64))])
    spans = [span[span >= 0] for span in (rows[start:end] for start, end in pairwise(offsets))]
    spans = [span for span in spans if len(span) > 1 and span[-1] not in span[:-1]]
    return _table([[span[:-1] for span in spans], [int(span[-1]) for span in spans]], HELD_OUT_TARGETS)


def _histories(sorted_interactions: pa.Table, item_ids: pa.Array, max_events: int) -> list[npt.NDArray[np.int32]]:
    """Catalog rows int32 of each user's newest events, oldest first."""
    rows = index_items(sorted_interactions["item_id"], item_ids).astype(np.int32)
    _, offsets = user_runs(sorted_interactions)
    spans = [rows[max(start, end - max_events) : end] for start, end in pairwise(offsets)]
    return [span[span >= 0] for span in spans]


def _table(columns: Sequence[Sequence[object]], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
