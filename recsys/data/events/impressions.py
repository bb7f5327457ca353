"""Impressions: events that say that a user was shown an item. They are never positives, and do not make an item seen.

They have a table of their own. Histories keep those that the user did not follow: the item was not taken since then.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.events.event_weights import IMPRESSION, are_of_kinds
from recsys.data.histories import newest_events, user_lists
from recsys.schema import SERVED

#: Newest impressions of a user that a history keeps.
MOST_SERVED = 500
_PAIR = ["user_id", "item_id"]


def is_impression(events: pa.Table) -> Any:
    """Bool [N]: events of the kind `impression`, however it is spelled, whatever their weight."""
    return are_of_kinds(events["event"], [IMPRESSION])


def split_impressions(events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The other events and the impressions of a table of INTERACTIONS; both keep its order."""
    shown = is_impression(events)
    return events.filter(pa.array(~shown)), events.filter(pa.array(shown))


def with_served(histories: pa.Table, impressions: pa.Table, interactions: pa.Table) -> pa.Table:
    """HISTORIES with the columns of SERVED: the newest impressions of each user since the user last took the item.

    Args:
        histories: Of any users.
        impressions: INTERACTIONS of these users, sorted by user and time; searches are left out.
        interactions: Positives of these users.
    """
    users = pc.index_in(impressions["user_id"], value_set=histories["user_id"].combine_chunks())
    stays = pc.and_(pc.is_valid(users), pc.not_equal(impressions["item_id"], ""))
    shown = impressions.select([*_PAIR, "timestamp"]).append_column("user", users).filter(stays)
    takers = interactions.filter(pc.is_in(interactions["user_id"], value_set=pc.unique(shown["user_id"])))
    taken = takers.group_by(_PAIR, use_threads=False).aggregate([("timestamp", "max")])
    joined = shown.join(taken, _PAIR, join_type="left outer", use_threads=False)
    joined = joined.filter(pc.fill_null(pc.less(joined["timestamp_max"], joined["timestamp"]), True))
    joined = joined.sort_by([("user", "ascending"), ("timestamp", "ascending"), ("item_id", "ascending")])
    owners = np.asarray(joined["user"], dtype=np.int64)
    newest = newest_events(owners, MOST_SERVED) if len(owners) else np.zeros(0, dtype=bool)
    joined, owners = joined.filter(pa.array(newest)), owners[newest]
    for field, name in zip(SERVED, ("item_id", "timestamp"), strict=True):
        histories = histories.append_column(field, user_lists(owners, len(histories), joined[name]))
    return histories
