"""Split the interactions of one shard into what a model learns from and what it is measured on.

Every function takes a table from `histories.sort_interactions` and keeps its order.
"""

import datetime as dt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import hash_ids, item_lists, rank_ids, user_runs
from recsys.schema import HELD_OUT_BASKETS, TARGETS, TIMESTAMP

#: Key of the hashes in HELD_OUT_BASKETS.
_HELD_OUT_KEY = "held-out-baskets"


class Split(NamedTuple):
    """Two tables of INTERACTIONS, both sorted; every user of `holdout` has rows in `train`."""

    train: pa.Table
    holdout: pa.Table


def cutoff_for(date: dt.date, holdout_days: int) -> dt.datetime:
    """Start of the holdout: the end of `date` (UTC) minus `holdout_days` whole days."""
    midnight = dt.datetime.combine(date, dt.time(), tzinfo=dt.UTC)
    return midnight + dt.timedelta(days=1 - holdout_days)


def split_by_time(sorted_interactions: pa.Table, cutoff: dt.datetime) -> Split:
    """Global time split: train < cutoff ≤ holdout; users without an event in train are left out of the holdout."""
    assert cutoff.tzinfo is not None, f"cutoff {cutoff} has no time zone"
    _, offsets = user_runs(sorted_interactions)
    before = np.asarray(pc.less(sorted_interactions["timestamp"], pa.scalar(cutoff, TIMESTAMP)))
    known = np.repeat(before[offsets[:-1]], np.diff(offsets))  # a user's first row is the oldest
    return _split(sorted_interactions, before, known & ~before)


def split_last_event(sorted_interactions: pa.Table) -> Split:
    """Leave-one-out: hold out the last event of every user with at least two events."""
    _, offsets = user_runs(sorted_interactions)
    last = np.zeros(len(sorted_interactions), dtype=bool)
    last[offsets[1:][np.diff(offsets) > 1] - 1] = True
    return _split(sorted_interactions, ~last, last)


def hold_out_last_basket(sorted_interactions: pa.Table, chosen: npt.NDArray[np.bool_]) -> Split:
    """Hold out the last basket of some users: all events of the newest timestamp, if there are older events.

    The lines of one invoice share a timestamp, and some of them would reveal the others. `chosen` is a mask over rows
    [N] that is equal for all rows of a user, such as that of `validation_users`.
    """
    assert len(chosen) == len(sorted_interactions), f"{len(chosen)} flags for {len(sorted_interactions)} rows"
    _, offsets = user_runs(sorted_interactions)
    timestamps = np.asarray(pc.cast(sorted_interactions["timestamp"], pa.int64()))
    counts = np.diff(offsets)
    newest = timestamps == np.repeat(timestamps[offsets[1:] - 1], counts)
    older = np.repeat(timestamps[offsets[:-1]], counts) < np.repeat(timestamps[offsets[1:] - 1], counts)
    last = newest & older & chosen
    return _split(sorted_interactions, ~last, last)


def validation_users(
    user_ids: pa.Array | pa.ChunkedArray, share: float | npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.bool_]:
    """Choose about `share` of the users by hash: a mask [N] that is equal for equal ids and independent of the shards.

    A larger share with the same seed contains every user of a smaller share.

    Args:
        user_ids: [N].
        share: From 0 to 1, of all or of each row [N]; rows of a user have the same.
        seed: Of the draw.
    """
    assert np.all((np.asarray(share) >= 0) & (np.asarray(share) <= 1)), f"share={share}"
    assert 0 <= seed < 2**31, f"seed={seed}"
    place = (hash_ids(user_ids, f"valid-{seed:010d}") >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    mask: npt.NDArray[np.bool_] = place < share
    return mask


def held_out_baskets(holdout: pa.Table) -> pa.Table:
    """HELD_OUT_BASKETS of a holdout whose users have one basket each: who they are, by hash, and when it was."""
    users, offsets = user_runs(holdout)
    hashes = pa.array(hash_ids(users, _HELD_OUT_KEY))
    return pa.table([hashes, holdout["timestamp"].take(pa.array(offsets[:-1]))], schema=HELD_OUT_BASKETS)


def unlearned(sorted_interactions: pa.Table, trained_until: dt.datetime, held_out: pa.Table) -> npt.NDArray[np.bool_]:
    """Mask over rows [N]: what a model did not learn from, because it came later or was kept out to validate it.

    Args:
        sorted_interactions: Of whole users.
        trained_until: The model learned from no event from this time on.
        held_out: HELD_OUT_BASKETS of the model.
    """
    users, offsets = user_runs(sorted_interactions)
    timestamps = np.asarray(pc.cast(sorted_interactions["timestamp"], pa.int64()))
    mask: npt.NDArray[np.bool_] = timestamps >= np.repeat(
        _learned_until(users, trained_until, held_out), np.diff(offsets)
    )
    return mask


def unseen_last_basket(
    sorted_interactions: pa.Table, trained_until: dt.datetime, held_out: pa.Table
) -> npt.NDArray[np.bool_]:
    """Mask over rows [N]: rows of users whose last basket a model did not learn from.

    It came after the model's training, or the model kept it out itself, to be validated.

    Args:
        sorted_interactions: Of whole users.
        trained_until: The model learned from no event from this time on.
        held_out: HELD_OUT_BASKETS of the model.
    """
    users, offsets = user_runs(sorted_interactions)
    newest = np.asarray(pc.cast(sorted_interactions["timestamp"], pa.int64()))[offsets[1:] - 1]
    # An older last basket than the one that was kept out: that one was taken back since, and the model learned this.
    unseen = newest >= _learned_until(users, trained_until, held_out)
    mask: npt.NDArray[np.bool_] = np.repeat(unseen, np.diff(offsets))
    return mask


def _learned_until(users: pa.Array, trained_until: dt.datetime, held_out: pa.Table) -> npt.NDArray[np.int64]:
    """[U] the first microsecond of each user that a model did not learn from."""
    since = int(pa.scalar(trained_until, TIMESTAMP).cast(pa.int64()).as_py())
    place = pc.index_in(pa.array(hash_ids(users, _HELD_OUT_KEY)), value_set=held_out["user"].combine_chunks())
    kept = np.asarray(pc.fill_null(pc.cast(held_out["timestamp"].combine_chunks().take(place), pa.int64()), since))
    until: npt.NDArray[np.int64] = np.minimum(kept, since)
    return until


def known_lengths(sorted_interactions: pa.Table) -> npt.NDArray[np.int64]:
    """[U] events of each user before the last basket."""
    _, offsets = user_runs(sorted_interactions)
    timestamps = np.asarray(pc.cast(sorted_interactions["timestamp"], pa.int64()))
    counts = np.diff(offsets)
    earlier = timestamps < np.repeat(timestamps[offsets[1:] - 1], counts)
    return np.add.reduceat(earlier, offsets[:-1], dtype=np.int64) if len(counts) else counts.astype(np.int64)


def active_since(sorted_interactions: pa.Table, since: dt.datetime) -> npt.NDArray[np.bool_]:
    """Mask over rows [N]: rows of users whose newest event is at or after `since`."""
    _, offsets = user_runs(sorted_interactions)
    recent = np.asarray(pc.greater_equal(sorted_interactions["timestamp"], pa.scalar(since, TIMESTAMP)))
    mask: npt.NDArray[np.bool_] = np.repeat(recent[offsets[1:] - 1], np.diff(offsets))
    return mask


def before_held_out(events: pa.Table, held_out: pa.Table, cutoff: dt.datetime, and_at_once: bool) -> pa.Table:
    """Events that a model may see: before the cutoff, and before the user's first held-out interaction.

    Args:
        events: Events of any users that are no interactions, such as searches.
        held_out: Interactions on which a model is measured.
        cutoff: End of the days that the model may see.
        and_at_once: Also events at the same time as that interaction.
    """
    early = pc.less(events["timestamp"], pa.scalar(cutoff, TIMESTAMP))
    if not len(held_out):
        return events.filter(early)
    first = held_out.group_by("user_id", use_threads=False).aggregate([("timestamp", "min")])
    rows = pc.index_in(events["user_id"], value_set=first["user_id"].combine_chunks())
    bound = first["timestamp_min"].combine_chunks().take(rows.combine_chunks())
    earlier = pc.less_equal if and_at_once else pc.less
    return events.filter(pc.and_(early, pc.fill_null(earlier(events["timestamp"], bound), True)))


def unseen(holdout: pa.Table, seen: pa.Table) -> npt.NDArray[np.bool_]:
    """Mask over rows [N] of `holdout`: events with an item that the user does not have in `seen`."""
    users, user = rank_ids(holdout["user_id"])
    items, item = rank_ids(holdout["item_id"])
    return ~np.isin(user * len(items) + item, _known_pairs(seen, users, items))


def targets(holdout: pa.Table, seen: pa.Table, exclude_seen: bool) -> pa.Table:
    """TARGETS of each user of `holdout`, by user id: the distinct items that a good list would contain.

    With `exclude_seen`, the items that the user has in `seen` (the train side of the split) are not targets, because no
    list contains them. Users without targets are left out.
    """
    users, user = rank_ids(holdout["user_id"])
    items, item = rank_ids(holdout["item_id"])
    pairs = np.unique(user * len(items) + item)
    if exclude_seen:
        pairs = pairs[~np.isin(pairs, _known_pairs(seen, users, items))]
    lists = item_lists(pairs, len(users), items)
    table = pa.Table.from_arrays([users, lists], schema=TARGETS)
    return table.filter(pc.greater(pc.list_value_length(lists), 0))


def show_first(holdout: pa.Table, wanted: pa.Table, num: int) -> Split:
    """Split a holdout: show the first `num` targets of each user, and keep at least one target hidden.

    All events of an item go to the same side.

    Args:
        holdout: INTERACTIONS, sorted.
        wanted: TARGETS of these users.
        num: Maximum of items that are shown for each user.

    Returns:
        The events that are shown (`train`) and the hidden ones (`holdout`), of the same users.
    """
    users, user = rank_ids(holdout["user_id"])
    items, item = rank_ids(holdout["item_id"])
    lists = wanted["item_ids"].combine_chunks()
    pairs = user * len(items) + item
    to_find = _pairs(wanted["user_id"].take(pc.list_parent_indices(lists)), lists.flatten(), users, items)
    first = np.sort(np.unique(pairs, return_index=True)[1])  # the first event of each pair
    first = first[np.isin(pairs[first], to_find)]
    counts = np.bincount(user[first], minlength=len(users))
    place = np.arange(len(first)) - (np.cumsum(counts) - counts)[user[first]]
    shown = np.isin(pairs, pairs[first[place < np.minimum(num, counts[user[first]] - 1)]])
    return _split(holdout, shown, ~shown)


def _known_pairs(events: pa.Table, users: pa.Array, items: pa.Array) -> npt.NDArray[np.int64]:
    """`_pairs` of the events of these users with these items; the others are left out."""
    touched = events.filter(
        pc.and_(pc.is_in(events["user_id"], value_set=users), pc.is_in(events["item_id"], value_set=items))
    )
    return _pairs(touched["user_id"], touched["item_id"], users, items)


def _pairs(
    user_ids: pa.ChunkedArray, item_ids: pa.Array | pa.ChunkedArray, users: pa.Array, items: pa.Array
) -> npt.NDArray[np.int64]:
    """`user · len(items) + item` [N], from the places of the ids in `users` and `items`, which contain all ids."""
    user, item = (
        np.asarray(pc.index_in(ids, value_set=known)).astype(np.int64)
        for ids, known in ((user_ids, users), (item_ids, items))
    )
    return user * len(items) + item


def _split(table: pa.Table, train: npt.NDArray[np.bool_], holdout: npt.NDArray[np.bool_]) -> Split:
    return Split(train=table.filter(pa.array(train)), holdout=table.filter(pa.array(holdout)))
