"""Build histories: one row for each user, from the interactions of one shard.

The ids of one shard must fit into Arrow's 32-bit offsets, 2 GiB of text in each column. Larger inputs need more shards.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.cells import one_chunk
from recsys.schema import HISTORIES, INTERACTIONS, INTERACTIONS_WITH_TEXT, TEXTS

#: Columns of histories with one value for each event.
_OF_EVENTS = {"item_ids", "timestamps", "events", "weights", TEXTS.name}
_SHARD_KEY = "recsys-shard-key"
_ITEM_KEY = "recsys-item--key"
_USER_KEY = "recsys-user--key"


def hash_ids(ids: pa.Array | pa.ChunkedArray, key: str) -> npt.NDArray[np.uint64]:
    """Hash ids [N] to uint64 [N], the same on every machine and in every process. Different keys give unrelated hashes.

    The hash is SipHash of the UTF-8 bytes with a key of 16 bytes. Each distinct id is hashed once.
    """
    assert len(key.encode()) == 16, f"SipHash takes a key of 16 bytes, got {key!r}"
    distinct = pc.unique(ids)
    hashes = pd.util.hash_array(_numpy(distinct).astype(object), hash_key=key, categorize=False)
    codes = _numpy(pc.index_in(ids, value_set=distinct))
    return np.asarray(hashes[codes], dtype=np.uint64)


def shard_of(user_ids: pa.Array | pa.ChunkedArray, num_shards: int) -> npt.NDArray[np.int32]:
    """Shard of each user id [N]: int32, 0 … num_shards − 1; it depends on the id and on num_shards only."""
    assert num_shards > 0, f"num_shards={num_shards}"
    return (hash_ids(user_ids, _SHARD_KEY) % np.uint64(num_shards)).astype(np.int32)


def shard_name(number: int) -> str:
    """What the files of a shard are called."""
    return f"shard-{number:05d}"


def shards_of(user_ids: pa.Array | pa.ChunkedArray, num_shards: int) -> list[str]:
    """Names of the shards that hold these users [N], sorted, each once."""
    return [shard_name(number) for number in np.unique(shard_of(user_ids, num_shards)).tolist()]


def newest_events(users: npt.NDArray[np.int64], num: int) -> npt.NDArray[np.bool_]:
    """Mask over rows [N]: the last `num` of each user. The rows are grouped by user (int [N]), oldest first."""
    ends = np.cumsum(np.bincount(users))
    mask: npt.NDArray[np.bool_] = ends[users] - np.arange(len(users)) <= num
    return mask


def sort_interactions(interactions: pa.Table) -> tuple[pa.Table, int]:
    """Sort the INTERACTIONS of one shard by user and time, and drop duplicates, whose columns are all equal.

    Events of one user at the same time are in a pseudo-random order of their items, which is fixed for each user. The
    items of one invoice share a timestamp, and in alphabetical order a model would learn the alphabet. The order of the
    input does not matter.

    Returns:
        The sorted interactions, and how many duplicates were removed.
    """
    schema = INTERACTIONS_WITH_TEXT if "text" in interactions.column_names else INTERACTIONS
    table = interactions.select(schema.names).cast(schema)
    users, user = rank_ids(table["user_id"])
    items, item = rank_ids(table["item_id"])
    tie = _mix(hash_ids(users, _USER_KEY)[user] ^ hash_ids(items, _ITEM_KEY)[item])
    time = _numpy(table["timestamp"].cast(pa.int64()))
    event = rank_ids(table["event"])[1]
    weight = _numpy(table["weight"])
    keys = [user, time, item, event, weight]
    if "text" in schema.names:
        keys.append(rank_ids(table["text"])[1])
    order = np.lexsort((*keys[:1:-1], tie, time, user))  # lexsort sorts by its last key first
    first = np.zeros(len(order), dtype=bool)
    first[:1] = True
    for key in keys:
        ordered = key[order]
        first[1:] |= ordered[1:] != ordered[:-1]
    kept = order[first]
    return table.take(pa.array(kept)).combine_chunks(), len(order) - len(kept)


def user_runs(sorted_interactions: pa.Table) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Distinct user ids [U] of a table that is grouped by user, and the offsets [U + 1] of their rows."""
    runs = pc.run_end_encode(one_chunk(sorted_interactions["user_id"]), run_end_type=pa.int64())
    assert pc.count_distinct(runs.values).as_py() == len(runs.values), (
        "the rows of a user are not together: call sort_interactions"
    )
    return runs.values, np.concatenate([[0], _numpy(runs.run_ends)]).astype(np.int64)


def build_histories(sorted_interactions: pa.Table, max_length: int) -> pa.Table:
    """HISTORIES from a table of `sort_interactions`: the newest `max_length` events of each user, oldest first.

    `seen_item_ids` holds every item of the user once, sorted, also items that are older than the history. A table with
    texts, which may contain searches, gives the column `texts` too.
    """
    assert max_length > 0, f"max_length={max_length}"
    users, offsets = user_runs(sorted_interactions)
    counts = np.diff(offsets)
    from_end = np.repeat(offsets[1:], counts) - np.arange(offsets[-1])
    newest = sorted_interactions.filter(pa.array(from_end <= max_length))
    bounds = _bounds(np.minimum(counts, max_length))
    columns = [one_chunk(newest[name]) for name in ("item_id", "timestamp", "event", "weight")]
    items, item = rank_ids(sorted_interactions["item_id"])
    user = np.repeat(np.arange(len(users)), counts)
    if len(items) and items[0].as_py() == "":  # a search has no item
        user, item = user[item > 0], item[item > 0]
    pairs = np.unique(user * len(items) + item)
    lists = [pa.ListArray.from_arrays(bounds, column) for column in columns]
    histories = pa.Table.from_arrays([users, *lists, item_lists(pairs, len(users), items)], schema=HISTORIES)
    if "text" not in newest.column_names:
        return histories
    return histories.append_column(TEXTS, pa.ListArray.from_arrays(bounds, one_chunk(newest["text"])))


def newest_items(histories: pa.Table, num: int) -> pa.Table:
    """HISTORIES cut to the newest events, as many as contain at most `num` different items.

    A search does not count as an item. What was seen or rejected does not change.
    """
    assert num > 0, f"num={num}"
    lists = histories["item_ids"].combine_chunks()
    items, item = rank_ids(lists.flatten())
    user = _numpy(pc.list_parent_indices(lists)).astype(np.int64)
    newest_first = (user * max(len(items), 1) + item)[::-1]
    at_last = np.zeros(len(item), dtype=np.int64)  # 1 at the last event of an item
    at_last[len(item) - 1 - np.unique(newest_first, return_index=True)[1]] = 1
    at_last[_numpy(pc.equal(items, "")).astype(bool)[item]] = 0
    until = np.cumsum(at_last)
    ends = np.cumsum(np.bincount(user, minlength=len(histories)))
    items_from_here = until[ends[user] - 1] - until + at_last
    kept = items_from_here <= num
    bounds = _bounds(np.bincount(user[kept], minlength=len(histories)))
    for place, field in enumerate(histories.schema):
        if field.name in _OF_EVENTS:
            events = histories[field.name].combine_chunks().flatten().filter(pa.array(kept))
            histories = histories.set_column(place, field, pa.ListArray.from_arrays(bounds, events))
    return histories


def rank_ids(ids: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Distinct ids in ascending order, and the place of each id [N] among them."""
    distinct = pc.unique(ids)
    distinct = distinct.take(pc.sort_indices(distinct))
    return distinct, _numpy(pc.index_in(ids, value_set=distinct)).astype(np.int64)


def item_lists(pairs: npt.NDArray[np.int64], num_users: int, items: pa.Array) -> pa.ListArray:
    """One list of item ids for each user, from ascending pairs `user · len(items) + item`; it may be empty."""
    user, item = np.divmod(pairs, max(len(items), 1))
    return user_lists(user, num_users, items.take(pa.array(item)))


def user_lists(users: npt.NDArray[np.int64], num_users: int, values: pa.Array | pa.ChunkedArray) -> pa.ListArray:
    """One list of values for each user, which may be empty; the values [N] are grouped by ``users`` [N], ascending."""
    return pa.ListArray.from_arrays(_bounds(np.bincount(users, minlength=num_users)), one_chunk(values))


def empty_histories(user_ids: pa.Array) -> pa.Table:
    """HISTORIES of users without events [N]: all lists are empty."""
    offsets = pa.array(np.zeros(len(user_ids) + 1, dtype=np.int32))
    lists = [pa.ListArray.from_arrays(offsets, pa.array([], field.type.value_type)) for field in list(HISTORIES)[1:]]
    return pa.Table.from_arrays([user_ids, *lists], schema=HISTORIES)


def _bounds(counts: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())


def _mix(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Finaliser of SplitMix64. Without it, XOR with a user hash orders the items equally for half of the users."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    assert column.null_count == 0, f"{column.null_count} nulls, which should be in quarantine"
    array: npt.NDArray[Any] = np.asarray(column)
    return array
