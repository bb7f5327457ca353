"""Searches: events with a text and no item, which stand at their time beside the interactions of their user.

They are kept in a table of their own, so that nothing that counts, splits or predicts items ever meets them. All tables
are sorted as by `histories.sort_interactions`; it knows no files and no model.
"""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.schema import INTERACTIONS_WITH_TEXT, TIMESTAMP


def split_searches(events: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The interactions with items, and the searches, of a table of INTERACTIONS_WITH_TEXT."""
    search = pc.equal(events["item_id"], "")
    return events.filter(pc.invert(search)), events.filter(search)


def searches_before(searches: pa.Table, kept: pa.Table, cutoff: dt.datetime) -> pa.Table:
    """Those before the cutoff that no user made after the first interaction that was kept from the model.

    A search of the same moment is read: it came before what it led to.

    Args:
        searches: Of any users.
        kept: Interactions on which a model is measured, sorted; its users' first one counts.
        cutoff: For all users.
    """
    early = pc.less(searches["timestamp"], pa.scalar(cutoff, TIMESTAMP))
    if not len(kept):
        return searches.filter(early)
    first = kept.group_by("user_id", use_threads=False).aggregate([("timestamp", "min")])
    rows = pc.index_in(searches["user_id"], value_set=first["user_id"].combine_chunks())
    bound = first["timestamp_min"].combine_chunks().take(rows.combine_chunks())
    return searches.filter(pc.and_(early, pc.fill_null(pc.less_equal(searches["timestamp"], bound), True)))


def followed_searches(searches: pa.Table, interactions: pa.Table) -> pa.Table:
    """Those that some interaction of their user follows, or is of the same moment: all that training can learn from."""
    last = interactions.group_by("user_id", use_threads=False).aggregate([("timestamp", "max")])
    rows = pc.index_in(searches["user_id"], value_set=last["user_id"].combine_chunks())
    bound = last["timestamp_max"].combine_chunks().take(rows.combine_chunks())
    return searches.filter(pc.fill_null(pc.less_equal(searches["timestamp"], bound), False))


def merge_searches(interactions: pa.Table, searches: pa.Table) -> pa.Table:
    """Both by user and time, in their own order within a moment, searches first."""
    table = pa.concat_tables([searches, interactions]).select(INTERACTIONS_WITH_TEXT.names)
    moment = np.asarray(table["timestamp"].cast(pa.int64()))
    users = pc.rank(table["user_id"], tiebreaker="dense").to_numpy()
    return table.take(pa.array(np.lexsort((moment, users)))).combine_chunks()  # a stable sort
