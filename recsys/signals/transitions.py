"""Item-to-item transitions: what users take soon after what; it knows catalog indices, no models and no shards.

A sparse first-order model beside the ranker, after the neighbourhood methods that still hold their own against deep
sequence models (Ludewig & Jannach, UMUAI 2018; Sarwar et al., WWW 2001). Every pair counts on two time scales:
`lasting` weighs all pairs alike, `recent` halves with their age, so that a season or a fashion is seen beside what is
always so.

Shapes: N interactions, I items, P pairs, M most neighbours of an item.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.schema import TIME_SCALES, TRANSITION_TOTALS, TRANSITIONS

#: A pair that lies d events apart counts d to this power.
DISTANCE_POWER = -0.5
#: What a pair counts against its direction: taken together matters, taken after matters more.
BACKWARD = 0.5

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def count_transitions(
    users: Ints, items: Ints, age_days: Floats, num_items: int, window: int, half_life_days: float
) -> pa.Table:
    """Weighted counts of the ordered pairs of different items within `window` events of one user.

    Args:
        users: [N] number of each event's user, events of a user together and oldest first.
        items: [N] catalog indices.
        age_days: [N] days from each event to the moment that is looked from; below 0 counts as 0.
        num_items: I.
        window: Most events from the first to the second of a pair.
        half_life_days: Of the scale `recent`; a pair has the age of its second event.

    Returns:
        TRANSITIONS, by (item, next), both directions of a pair as rows of their own.
    """
    assert len(users) == len(items) == len(age_days), "one user, item and age an event"
    freshness = np.exp2(-np.maximum(age_days, 0) / half_life_days)
    keys, weights = [], []
    for distance in range(1, min(window, len(users) - 1) + 1):
        first = np.flatnonzero((users[:-distance] == users[distance:]) & (items[:-distance] != items[distance:]))
        second = first + distance
        weight = distance**DISTANCE_POWER * np.stack([np.ones(len(first)), freshness[second]])
        keys += [items[first] * num_items + items[second], items[second] * num_items + items[first]]
        weights += [weight, BACKWARD * weight]
    if not keys:
        return TRANSITIONS.empty_table()
    return _summed(np.concatenate(keys), np.concatenate(weights, axis=1), num_items)


def merge_transitions(parts: Sequence[pa.Table], num_items: int) -> pa.Table:
    """TRANSITIONS summed over shards, whose order matters only to the last bit."""
    table = pa.concat_tables([TRANSITIONS.empty_table(), *parts])
    keys = table["item"].to_numpy().astype(np.int64) * num_items + table["next"].to_numpy()
    return _summed(keys, np.stack([table[scale].to_numpy() for scale in TIME_SCALES]), num_items)


def total_transitions(counts: pa.Table, num_items: int) -> pa.Table:
    """TRANSITION_TOTALS [I]: on each scale, the sum of an item's pairs as the first and as the second item."""
    columns = [
        np.bincount(counts[end].to_numpy(), counts[scale].to_numpy(), minlength=num_items)
        for scale in TIME_SCALES
        for end in ("item", "next")
    ]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=TRANSITION_TOTALS)


def merge_totals(parts: Sequence[pa.Table]) -> pa.Table:
    """Tables with a row for each item, such as TRANSITION_TOTALS, summed over shards."""
    schema = parts[0].schema
    columns = [np.sum([part[name].to_numpy() for part in parts], axis=0) for name in schema.names]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)


def strongest_transitions(counts: pa.Table, totals: pa.Table, neighbours: int) -> pa.Table:
    """The best M successors of each item, weighted by w(i, j) / √(Σ w(i, ·) · Σ w(·, j)) in 0 … 1, the cosine's form.

    Args:
        counts: TRANSITIONS, all pairs of some items.
        totals: TRANSITION_TOTALS of all pairs of all items.
        neighbours: M; chosen by the sum of both scales, equals by index.

    Returns:
        TRANSITIONS by (item, next).
    """
    item, following = counts["item"].to_numpy(), counts["next"].to_numpy()
    weights = []
    for scale in TIME_SCALES:
        as_first, as_second = (totals[f"{scale}_{end}"].to_numpy() for end in ("item", "next"))
        whole = np.sqrt(as_first[item] * as_second[following])
        weight = counts[scale].to_numpy() / np.maximum(whole, np.finfo(np.float64).tiny)
        weights.append(weight.astype(np.float32))
    order = np.lexsort((following, -(weights[0] + weights[1]), item))
    starts = np.searchsorted(item[order], item[order])
    kept = np.sort(order[np.arange(len(order)) - starts < neighbours])
    return pa.Table.from_arrays([pa.array(column[kept]) for column in (item, following, *weights)], schema=TRANSITIONS)


def _summed(keys: Ints, weights: Floats, num_items: int) -> pa.Table:
    """Sum the weights [2, P] of equal keys `item · I + next`."""
    distinct, place = np.unique(keys, return_inverse=True)
    item, following = np.divmod(distinct, max(num_items, 1))
    sums = [np.bincount(place, row, minlength=len(distinct)).astype(np.float32) for row in weights]
    columns = [item.astype(np.int32), following.astype(np.int32), *sums]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=TRANSITIONS)
