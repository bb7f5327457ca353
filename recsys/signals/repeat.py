"""Repeat consumption: what this user took before, and what people take again.

People come back for some items and not for others, more than chance explains: the repeat customer probability of "Buy
It Again" (Bhagat et al., KDD 2018).

Shapes: B users, C candidates, I items, N events.
"""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.compiled import compiled
from recsys.schema import ITEM_RETURNS, table_of
from recsys.signals.selection import best_items
from recsys.signals.signal import (
    NONE,
    CountedShards,
    Counting,
    DataView,
    Evidence,
    Explanation,
    LoadedSignal,
    NightSource,
    ShardEvents,
    Signal,
)
from recsys.signals.sparse_rows import Rows
from recsys.signals.user_profiles import first_of_basket
from recsys.signals.users import UserBlock

# Compiled in, see tests/test_compiled.py: recsys.signals.selection c4aff58ded6b

#: Users with the average probability that are added to the users of each item: few users say little.
PRIOR_USERS = 10
#: Added before the logarithm, so that an item that the user never took is unlikely and not impossible.
UNSEEN = np.float32(0.02)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Repeat(Signal):
    """Whether the user took the item before, how lately, and how often people come back for it."""

    name = "repeat"
    columns: ClassVar = {
        "repeat": "how often, and how lately, this user took the item",
        "seen": "whether this user took the item before",
        "returns": "how often others who took the item came back for it, where this user took it",
    }
    sentences = ("you chose it before",)
    default_weights: ClassVar = {"repeat": 0.3}
    views: ClassVar[tuple[DataView, ...]] = ("validation", "test", "full")
    counted = ITEM_RETURNS
    merged = ITEM_RETURNS

    def count(self, events: ShardEvents, counting: Counting) -> pa.Table:
        """How many users took each item, and how many of them more than once."""
        return count_returns(events.users, events.items, events.age_days, counting.num_items)

    def merge(self, shards: CountedShards, counting: Counting) -> Iterable[pa.Table]:
        """The sums of the shards."""
        sums = np.zeros((len(ITEM_RETURNS), counting.num_items), dtype=np.int64)
        for table in shards.tables():
            sums += [table[name].to_numpy() for name in ITEM_RETURNS.names]
        yield table_of(ITEM_RETURNS, *sums)

    def load(self, source: NightSource) -> "LoadedRepeat":
        """The merged counts of the view."""
        return LoadedRepeat(log_returns(source.counted()))


class LoadedRepeat(LoadedSignal):
    """How likely people come back for each item; nobody comes back for a cold item."""

    def __init__(self, returns: Floats) -> None:
        """``returns`` [I] of `log_returns`."""
        self.returns = returns

    def read(self, users: UserBlock) -> "RepeatEvidence":
        """What these users took before."""
        return RepeatEvidence(self, users)


class RepeatEvidence(Evidence):
    """What a block of users took before."""

    loaded: LoadedRepeat

    def propose(self, num: int) -> Ints:
        """Half as many items as are asked for, those that the user took most often and most lately."""
        found = np.full((len(self.users), max(num // 2, 1)), NONE, dtype=np.int64)
        _most_repeated(self.users.profiles.repeats.arrays, found)
        return found

    def measure(self, items: Ints) -> Floats:
        """[B, C, 3] log(ε + decayed number of times), 0 or 1, and `log_returns` of what the user took before."""
        times = np.zeros(items.shape, dtype=np.float32)
        _times_taken(self.users.profiles.repeats.arrays, items, len(self.loaded.returns), times)
        seen = times > 0
        returns = np.where(seen, self.loaded.returns[np.maximum(items, 0)], np.float32(0))
        return np.stack([np.log(UNSEEN + times), seen.astype(np.float32), returns], axis=2)

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:  # noqa: ARG002
        """Only what the user took before is in a list because of that."""
        times = np.zeros((len(rows), 1), dtype=np.float32)
        repeats = self.users.profiles.repeats.rows(rows)
        _times_taken(repeats.arrays, items[:, None], len(self.loaded.returns), times)
        return Explanation(sentence=np.where(times[:, 0] > 0, 0, NONE), item=np.full(len(rows), NONE))


@compiled
def _most_repeated(repeats: Rows, found: Ints) -> None:
    starts, items, times = repeats
    for user in range(len(found)):
        own = slice(starts[user], starts[user + 1])
        best = best_items(times[own], items[own], found.shape[1])
        for place in range(len(best)):
            found[user, place] = best[place]


@compiled
def _times_taken(repeats: Rows, wanted: Ints, num_items: int, out: Floats) -> None:
    starts, items, times = repeats
    taken = np.zeros(num_items, dtype=np.float32)
    for user in range(len(wanted)):
        for place in range(starts[user], starts[user + 1]):
            taken[items[place]] = times[place]
        for column in range(wanted.shape[1]):
            if wanted[user, column] >= 0:
                out[user, column] = taken[wanted[user, column]]
        for place in range(starts[user], starts[user + 1]):
            taken[items[place]] = 0


def count_returns(users: Ints, items: Ints, moments: npt.NDArray[np.number], num_items: int) -> pa.Table:
    """ITEM_RETURNS: how many users took each item, and how many of them at more than one moment.

    Args:
        users: [N].
        items: [N] catalog indices; −1 is left out.
        moments: [N] in any unit; the events of one moment count once.
        num_items: I.
    """
    known = items >= 0
    users, items = users[known], items[known]
    once = first_of_basket(users, items, moments[known])
    pairs, times = np.unique(users[once] * num_items + items[once], return_counts=True)
    item = pairs % num_items
    return table_of(ITEM_RETURNS, *(np.bincount(some, minlength=num_items) for some in (item, item[times > 1])))


def log_returns(returns: pa.Table) -> Floats:
    """[I] log of the probability that a user of an item takes it again, over that of all items; 0 if nobody returns."""
    users, again = (returns[name].to_numpy() for name in ITEM_RETURNS.names)
    average = again.sum() / max(users.sum(), 1)
    if average == 0:
        return np.zeros(len(users), dtype=np.float32)
    probability = (again + PRIOR_USERS * average) / (users + PRIOR_USERS)
    return np.asarray(np.log(probability / average), dtype=np.float32)
