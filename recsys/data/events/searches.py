"""Searches: events with a text and without an item.

They have a table of their own, because code that counts, splits or predicts items must not see them. All tables are
sorted as `histories.sort_interactions` sorts.
"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import before_held_out
from recsys.schema import INTERACTIONS_WITH_TEXT


def split_searches(events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Split a table of INTERACTIONS_WITH_TEXT into the interactions with items and the searches."""
    search = pc.equal(events["item_id"], "")
    return events.filter(pc.invert(search)), events.filter(search)


def searches_before(searches: pa.Table, held_out: pa.Table, cutoff: dt.datetime) -> pa.Table:
    """Searches that a model may read: before the cutoff, and not after the user's first held-out interaction.

    A search at the same time as that interaction may be read, because a search comes before what it leads to.

    Args:
        searches: Searches of any users.
        held_out: Interactions on which a model is measured, sorted.
        cutoff: End of the days that the model may see.
    """
    return before_held_out(searches, held_out, cutoff, and_at_once=True)


def followed_searches(searches: pa.Table, interactions: pa.Table) -> pa.Table:
    """Searches with an interaction of the same user at the same time or later: only these can be learned from."""
    last = interactions.group_by("user_id", use_threads=False).aggregate([("timestamp", "max")])
    rows = pc.index_in(searches["user_id"], value_set=last["user_id"].combine_chunks())
    bound = last["timestamp_max"].combine_chunks().take(rows.combine_chunks())
    return searches.filter(pc.fill_null(pc.less_equal(searches["timestamp"], bound), False))


def merge_searches(interactions: pa.Table, searches: pa.Table) -> pa.Table:
    """Both tables in one, by user and time; at one time the searches come first, and each table keeps its order."""
    table = pa.concat_tables([searches, interactions]).select(INTERACTIONS_WITH_TEXT.names)
    timestamps = np.asarray(table["timestamp"].cast(pa.int64()))
    users = pc.rank(table["user_id"], tiebreaker="dense").to_numpy()
    return table.take(pa.array(np.lexsort((timestamps, users)))).combine_chunks()  # a stable sort
