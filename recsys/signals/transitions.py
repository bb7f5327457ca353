"""Transitions: what users take soon after what.

A sparse first-order model, after the neighbourhood methods that still compete with deep sequence models (Ludewig &
Jannach, UMUAI 2018; Sarwar et al., WWW 2001). Every pair of items counts on two time scales: on `all_time` all pairs
count the same, on `decayed` a pair halves with its age, so that a season or a fashion shows beside what is always so.

Shapes: B users, C candidates, N events, I items, P pairs, M most neighbours of an item.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from recsys.config.section import Positive, Section
from recsys.schema import ITEM_NEIGHBOURS, TIME_SCALES, table_of
from recsys.signals.history_items import HistoryItems
from recsys.signals.neighbour_evidence import LoadedNeighbours, NeighbourEvidence
from recsys.signals.neighbours import ALL_SUMS, Neighbours, Sums
from recsys.signals.signal import (
    CountedShards,
    Counting,
    DataView,
    Explanation,
    NightSource,
    ShardEvents,
    Signal,
)

#: A pair of events that are d events apart counts d to this power.
DISTANCE_POWER = -0.5
#: What a pair counts in the direction against time: the order matters, but less than that both were taken.
BACKWARD = 0.5
#: Items whose pairs are merged together, to bound the memory.
ITEMS_PER_RANGE = 50_000
#: Added before the logarithm, so that a pair that was never seen is unlikely and not impossible.
UNSEEN = np.float32(3e-5)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: [P] weights of pairs on the scales `all_time` and `decayed`.
Totals = npt.NDArray[np.float64]


class TransitionsConfig(Section):
    """What users take soon after what."""

    window: Positive = 20
    """Most events from an item to the items that follow it."""
    half_life_days: Annotated[float, Field(gt=0)] = 10.0
    """Age in days at which a pair counts half on the time scale `decayed`."""
    neighbours: Positive = 200
    """Strongest successors that are kept of an item; as many cold items are added to them."""


class Transitions(Signal):
    """What other users took soon after the items that this user took."""

    name = "transitions"
    columns: ClassVar = {
        "transitions_last_all_time": "what follows the user's last items, over all time",
        "transitions_last_decayed": "what follows the user's last items, mostly of late",
        "transitions_history_all_time": "what follows the items of the whole history, over all time",
        "transitions_history_decayed": "what follows the items of the whole history, mostly of late",
    }
    relates_items = True
    sentences = ("often chosen with {}",)
    default_weights: ClassVar = {"transitions_last_all_time": 0.5}
    section = "transitions"
    views: ClassVar[tuple[DataView, ...]] = ("validation", "test", "full")
    counted = ITEM_NEIGHBOURS
    merged = ITEM_NEIGHBOURS
    imputed = True

    def count(self, events: ShardEvents, counting: Counting) -> pa.Table:
        """Weighted counts of the pairs of one shard, by (item, other)."""
        settings: TransitionsConfig = counting.settings
        return count_transitions(
            events.users,
            events.items,
            events.age_days,
            events.weights,
            num_items=counting.num_items,
            window=settings.window,
            half_life_days=settings.half_life_days,
        )

    def merge(self, shards: CountedShards, counting: Counting) -> Iterable[pa.Table]:
        """The strongest successors of each item, by (item, other)."""
        settings: TransitionsConfig = counting.settings
        totals = sum_pairs(shards.tables(), counting.num_items)
        for items in item_ranges(counting.num_items):
            counts = merge_transitions(list(shards.tables(items)), counting.num_items)
            yield strongest_transitions(counts, totals, settings.neighbours)

    def load(self, source: NightSource) -> "LoadedTransitions":
        """The merged pairs of the view."""
        settings: TransitionsConfig = source.settings
        return LoadedTransitions(Neighbours.from_table(source.counted(), len(source.item_ids)), settings.neighbours)


class TransitionsEvidence(NeighbourEvidence):
    """The successors of a block of users' items."""

    columns = ALL_SUMS
    cold_column = Sums.HISTORY_ALL_TIME

    def propose(self, num: int) -> Ints:
        """Half as many items as are asked for: what always follows the last items and lately follows the history."""
        return self.sums.best((Sums.LAST_ALL_TIME, Sums.HISTORY_DECAYED), max(num // 2, 1))

    def measure(self, items: Ints) -> npt.NDArray[np.float32]:
        """[B, C, 4] log(ε + Σ share of the history · weight of the pair)."""
        return np.asarray(np.log(self.sums.of(items) + UNSEEN))

    def explain(self, rows: Ints, items: Ints, weights: npt.NDArray[np.float32]) -> Explanation:
        """Names the history item from which most of the weighted sum comes."""
        history = HistoryItems.of(self.users.profiles, rows)
        pairs = self.loaded.neighbours.weights_to(history.items, items)
        all_time, decayed = pairs[:, :, 0], pairs[:, :, 1]
        weight = {column: weights[:, column, None] for column in Sums}
        share = history.last * (weight[Sums.LAST_ALL_TIME] * all_time + weight[Sums.LAST_DECAYED] * decayed)
        share += history.history * (weight[Sums.HISTORY_ALL_TIME] * all_time + weight[Sums.HISTORY_DECAYED] * decayed)
        return Explanation.by(history.with_most(share))


class LoadedTransitions(LoadedNeighbours):
    """The pairs of `strongest_transitions`."""

    evidence = TransitionsEvidence


def count_transitions(
    users: Ints,
    items: Ints,
    age_days: Floats,
    event_weights: Floats,
    *,
    num_items: int,
    window: int,
    half_life_days: float,
) -> pa.Table:
    """Weighted counts of the ordered pairs of different items within `window` events of one user.

    A pair counts as much as the event that it leads to, like a target of the training.

    Args:
        users: [N] number of each event's user, events of a user together and oldest first.
        items: [N] catalog indices, −1 for an item that the catalog does not hold.
        age_days: [N] days from each event to the end of the data view; below 0 counts as 0.
        event_weights: [N] weight of each event, above 0.
        num_items: I.
        window: Most events from the first to the second of a pair.
        half_life_days: Of the scale `decayed`; a pair has the age of its second event.

    Returns:
        ITEM_NEIGHBOURS, by (item, other), with a row for each direction of a pair.
    """
    assert len(users) == len(items) == len(age_days) == len(event_weights), "one user, item, age and weight an event"
    freshness = np.exp2(-np.maximum(age_days, 0) / half_life_days)
    keys, weights = [], []
    for distance in range(1, min(window, len(users) - 1) + 1):
        is_pair = (users[:-distance] == users[distance:]) & (items[:-distance] != items[distance:])
        first = np.flatnonzero(is_pair & (np.minimum(items[:-distance], items[distance:]) >= 0))
        second = first + distance
        weight = distance**DISTANCE_POWER * np.stack([np.ones(len(first)), freshness[second]])
        keys += [items[first] * num_items + items[second], items[second] * num_items + items[first]]
        weights += [weight * event_weights[second], BACKWARD * weight * event_weights[first]]
    if not keys:
        return ITEM_NEIGHBOURS.empty_table()
    return _summed(np.concatenate(keys), np.concatenate(weights, axis=1), num_items)


def merge_transitions(parts: Sequence[pa.Table], num_items: int) -> pa.Table:
    """ITEM_NEIGHBOURS summed over shards; their order matters only to the last bit of a sum."""
    table = pa.concat_tables([ITEM_NEIGHBOURS.empty_table(), *parts])
    keys = table["item"].to_numpy().astype(np.int64) * num_items + table["other"].to_numpy()
    return _summed(keys, np.stack([table[scale].to_numpy() for scale in TIME_SCALES]), num_items)


def item_ranges(num_items: int) -> Iterator[range]:
    """Ranges of at most `ITEMS_PER_RANGE` items, at least one range."""
    for start in range(0, max(num_items, 1), ITEMS_PER_RANGE):
        yield range(start, min(start + ITEMS_PER_RANGE, num_items))


def sum_pairs(tables: Iterable[pa.Table], num_items: int) -> Totals:
    """[2 scales, 2 ends, I] sum of the weights of each item's pairs, as the first and as the second item."""
    totals = np.zeros((len(TIME_SCALES), 2, num_items))
    for table in tables:
        for scale, name in enumerate(TIME_SCALES):
            for end, column in enumerate(("item", "other")):
                totals[scale, end] += np.bincount(table[column].to_numpy(), table[name].to_numpy(), minlength=num_items)
    return totals


def strongest_transitions(counts: pa.Table, totals: Totals, neighbours: int) -> pa.Table:
    """The best M successors of each item, weighted by w(i, j) / √(Σ w(i, ·) · Σ w(·, j)) in 0 … 1, the cosine's form.

    Args:
        counts: ITEM_NEIGHBOURS, all pairs of some items.
        totals: `sum_pairs` of all pairs of all items.
        neighbours: M; chosen by the sum of both scales, equal sums by index.

    Returns:
        ITEM_NEIGHBOURS by (item, other).
    """
    item, other = counts["item"].to_numpy(), counts["other"].to_numpy()
    weights = []
    for scale, name in enumerate(TIME_SCALES):
        whole = np.sqrt(totals[scale, 0][item] * totals[scale, 1][other])
        weight = counts[name].to_numpy() / np.maximum(whole, np.finfo(np.float64).tiny)
        weights.append(weight.astype(np.float32))
    order = np.lexsort((other, -(weights[0] + weights[1]), item))
    starts = np.searchsorted(item[order], item[order])
    kept = np.sort(order[np.arange(len(order)) - starts < neighbours])
    return table_of(ITEM_NEIGHBOURS, *(column[kept] for column in (item, other, *weights)))


def _summed(keys: Ints, weights: Floats, num_items: int) -> pa.Table:
    """Sum the weights [2, P] of equal keys `item · I + other`."""
    distinct, place = np.unique(keys, return_inverse=True)
    item, other = np.divmod(distinct, max(num_items, 1))
    sums = (np.bincount(place, row, minlength=len(distinct)).astype(np.float32) for row in weights)
    return table_of(ITEM_NEIGHBOURS, item, other, *sums)
