"""Non-positives: events of weight 0 or less, such as returns and dislikes.

They have a table of their own, because code that counts, splits or predicts interactions must not see them. Histories
keep two things of them: their items are seen, and an item whose newest event has a negative weight is rejected.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import item_lists, rank_ids, user_lists
from recsys.schema import REJECTED

_PAIR = ["user_id", "item_id"]


def split_non_positives(events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The positives and the non-positives of a table of INTERACTIONS; both keep its order.

    Searches, which have no item and need no weight, are positives.
    """
    positive = pc.or_(pc.greater(events["weight"], 0.0), pc.equal(events["item_id"], ""))
    return events.filter(positive), events.filter(pc.invert(positive))


def with_equal_weights(events: pa.Table) -> pa.Table:
    """The events with weight 1 in the place of 0, for inputs in which no event has a positive weight."""
    weights = pc.if_else(pc.equal(events["weight"], 0.0), pa.scalar(1.0, pa.float32()), events["weight"])
    return events.set_column(events.column_names.index("weight"), events.schema.field("weight"), weights)


def with_seen(histories: pa.Table, non_positives: pa.Table) -> pa.Table:
    """HISTORIES where `seen_item_ids` also holds the items of the users' non-positives."""
    lists = histories["seen_item_ids"].combine_chunks()
    owners = _numpy(pc.list_parent_indices(lists))
    places = pc.index_in(non_positives["user_id"], value_set=histories["user_id"].combine_chunks())
    known = non_positives.filter(pc.is_valid(places))
    users = np.concatenate([owners, _numpy(pc.drop_null(places))])
    items, item = rank_ids(pa.chunked_array([lists.flatten(), *known["item_id"].chunks], pa.string()))
    seen = item_lists(np.unique(users * len(items) + item), len(histories), items)
    place = histories.column_names.index("seen_item_ids")
    return histories.set_column(place, histories.schema.field(place), seen)


def rejections(interactions: pa.Table, non_positives: pa.Table) -> pa.Table:
    """`user_id`, `item_id` and `timestamp` of each item that a user rejected, by user and item.

    An event of negative weight rejects its item until the user takes the item again. Events of weight 0 do not matter.
    Of a positive and a negative event at one time the negative one counts.

    Args:
        interactions: The positives of these users.
        non_positives: The other events.
    """
    negative = non_positives.filter(pc.less(non_positives["weight"], 0.0))
    newest = _newest(negative)
    taken = _newest(interactions.filter(pc.is_in(interactions["user_id"], value_set=pc.unique(newest["user_id"]))))
    both = newest.join(taken, _PAIR, join_type="left outer", right_suffix="_taken", use_threads=False)
    stays = pc.fill_null(pc.less_equal(both["timestamp_taken"], both["timestamp"]), True)
    return both.filter(stays).select(newest.column_names).sort_by([(name, "ascending") for name in _PAIR])


def with_rejections(histories: pa.Table, rejected: pa.Table) -> pa.Table:
    """HISTORIES with the columns of REJECTED.

    Args:
        histories: Of any users.
        rejected: The answer of `rejections`.
    """
    users = pc.index_in(rejected["user_id"], value_set=histories["user_id"].combine_chunks())
    own = pc.is_valid(users)
    users, rejected = _numpy(pc.drop_null(users)), rejected.filter(own)
    order = np.argsort(users, kind="stable")
    users, rejected = users[order], rejected.take(pa.array(order))
    for field, name in zip(REJECTED, ("item_id", "timestamp"), strict=True):
        histories = histories.append_column(field, user_lists(users, len(histories), rejected[name]))
    return histories


def _newest(events: pa.Table) -> pa.Table:
    grouped = events.group_by(_PAIR, use_threads=False).aggregate([("timestamp", "max")])
    return grouped.rename_columns([*_PAIR, "timestamp"])


def _numpy(column: Any) -> Any:
    return np.asarray(column).astype(np.int64)
