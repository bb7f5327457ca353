"""Which items become a user's candidates: the retriever's, what follows the history, is popular, was had, or is new.

It knows sparse matrices and catalog indices, no models and no weights. Its cost hangs on the neighbours of what users
took, not on the size of the catalog. Shapes: B users, C candidates, I items, N events and F found items of a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.signals.item_features import Beside
from recsys.signals.order import NO_ITEM
from recsys.signals.selection import best_positive, nth_largest
from recsys.signals.sparse_rows import Rows, row_starts
from recsys.signals.user_profiles import Profiles

#: What is summed over the neighbours of a user's items. All transitions count for both profiles; of the linear model
#: what is always so is asked of the newest events, and what is so of late of the whole history.
FOLLOWING = ("newest_lasting", "newest_recent", "whole_lasting", "whole_recent", "linear_lasting", "linear_recent")

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Items = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Of B users, and what was summed to find them."""

    items: Ints
    """[B, C] catalog indices, ascending, −1 for none, which come first; no item twice. C ≥ 1 is as many as some user
    has."""
    following: Floats
    """[B, C, F] sums over the neighbours of the profiles, in the order of `FOLLOWING`."""
    had: Floats
    """[B, C] as `Profiles.repeats`."""


@dataclass(frozen=True, kw_only=True)
class Barred:
    """Items that must not be candidates of B users: what they saw, and what they do not want."""

    starts: Ints
    """[B + 1] first item of each user."""
    items: Ints
    """Catalog indices by user."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[Ints, Ints]], num_users: int) -> "Barred":
        """From (users, items) in any order, of `num_users` users."""
        none = np.zeros(0, dtype=np.int64)
        users = np.concatenate([none, *(users for users, _ in pairs)])
        items = np.concatenate([none, *(items for _, items in pairs)])
        return cls(
            starts=row_starts(np.bincount(users, minlength=num_users)),
            items=items[np.argsort(users, kind="stable")],
        )

    def pairs(self) -> tuple[Ints, Ints]:
        """(user, item) of all."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts)), self.items


def find_candidates(
    retrieved: Ints,
    profiles: Profiles,
    beside: Beside,
    moment: Ints,
    barred: Barred,
    also: Ints | None = None,
) -> Candidates:
    """The union of what speaks for an item.

    Args:
        retrieved: [B, C₀] catalog indices, −1 for none; what is popular adds up to C₀, transitions, what was had
            before and what is near to a search C₀ / 2, the linear model on each time scale and new items C₀ / 4.
        profiles: Of B users.
        beside: Of I items.
        moment: [B] row of `beside.popularity` that holds for the user.
        barred: Of B users.
        also: [B, X] further ones, −1 for none.
    """
    assert np.array_equal(profiles.newest.items, profiles.whole.items), "both profiles are of the same events"
    num = max(retrieved.shape[1] // 2, 1)
    given = [retrieved, beside.most_popular(2 * num)[moment]]
    if profiles.searched.any():
        given.append(_near_searches(profiles, beside, num))
    if also is not None:
        given.append(also)
    whole = np.concatenate(given, axis=1)
    few = max(num // 2, 1)
    most = min(whole.shape[1] + 2 * num + 3 * few, max(len(beside.recommendable), 1))
    items = np.full((len(whole), most), NO_ITEM, dtype=np.int64)
    following = np.zeros((*items.shape, len(FOLLOWING)), dtype=np.float32)
    had = np.zeros(items.shape, dtype=np.float32)
    width = _find(
        profiles.newest.arrays,
        profiles.whole.values,
        profiles.repeats.arrays,
        beside.transitions.rows,
        beside.linear.rows,
        beside.recommendable,
        beside.new,
        (barred.starts, barred.items),
        whole,
        (num, few),
        (items, following, had),
    )
    last = slice(most - max(width, 1), None)
    return Candidates(items=items[:, last], following=following[:, last], had=had[:, last])


@compiled
def _find(
    newest: Rows,
    whole_shares: Floats,
    repeats: Rows,
    transitions: Rows,
    linear: Rows,
    recommendable: Bools,
    new: Items,
    barred: tuple[Ints, Ints],
    given: Ints,
    sizes: tuple[int, int],
    out: tuple[Ints, Floats, Floats],
) -> int:
    """Fill the last columns of each row of `out`; how many columns the longest row takes."""
    history_starts, history, newest_shares = newest
    repeat_starts, repeat_items, repeat_values = repeats
    barred_starts, barred_items = barred
    num, few = sizes
    items, following, had = out
    most, num_items = items.shape[1], len(recommendable)
    sums = np.zeros((num_items, 6), dtype=np.float32)
    everything, some = np.arange(num_items, dtype=np.int32), np.empty(num_items + 1, dtype=np.int32)
    taken, times_had = np.zeros(num_items, dtype=np.bool_), np.zeros(num_items, dtype=np.float32)
    found = np.empty(most, dtype=np.int32)
    values, those = np.empty(num_items, dtype=np.float32), np.empty(num_items, dtype=np.int32)
    width = 0
    for user in range(len(given)):
        bars = barred_items[barred_starts[user] : barred_starts[user + 1]]
        events = slice(history_starts[user], history_starts[user + 1])
        num_neighbours = _sum_up(
            history[events], newest_shares[events], whole_shares[events], transitions, linear, sums
        )
        # with fewer neighbours than items it is cheaper to note which they are than to look at all items
        followers = everything
        if num_neighbours < num_items:
            followers = _followers(history[events], transitions, linear, taken, some)
        for item in bars:
            taken[item] = True

        num_found = 0
        for item in given[user]:
            if item >= 0:
                num_found = _take(item, recommendable, taken, found, num_found)
        for first, second, wanted in ((0, 3, num), (4, 4, few), (5, 5, few)):
            count = _positive(sums, first, second, followers, values, those)
            for item in _best(values[:count], those[:count], wanted):
                num_found = _take(item, recommendable, taken, found, num_found)
        if len(new):
            count = _positive(sums, 2, 5, new, values, those)
            for item in _best(values[:count], those[:count], few):
                num_found = _take(item, recommendable, taken, found, num_found)
        start, stop = repeat_starts[user], repeat_starts[user + 1]
        for item in _best(repeat_values[start:stop], repeat_items[start:stop], num):
            num_found = _take(item, recommendable, taken, found, num_found)

        for place in range(start, stop):
            times_had[repeat_items[place]] = repeat_values[place]
        width = max(width, num_found)
        own = found[:num_found]
        own.sort()
        for place, item in enumerate(own):
            column = most - num_found + place
            items[user, column] = item
            had[user, column] = times_had[item]
            for plane in range(6):
                following[user, column, plane] = sums[item, plane]
            taken[item] = False
        for item in bars:
            taken[item] = False
        if len(followers) == num_items:
            sums[:] = 0
        else:
            for item in followers:
                sums[item] = 0
        for place in range(start, stop):
            times_had[repeat_items[place]] = 0
    return width


@compiled
def _sum_up(history: Items, newest: Floats, whole: Floats, transitions: Rows, linear: Rows, sums: Floats) -> int:
    """Add what a user's items say for their neighbours to the sums [I, F]; how many neighbours that were."""
    num_neighbours = 0
    for event, item in enumerate(history):
        share, whole_share = newest[event], whole[event]
        starts, others, weights = transitions
        first, last = starts[item], starts[item + 1]
        num_neighbours += last - first
        for place in range(first, last):
            other, weight = others[place], weights[place]
            sums[other, 0] += share * weight.real
            sums[other, 1] += share * weight.imag
            sums[other, 2] += whole_share * weight.real
            sums[other, 3] += whole_share * weight.imag
        starts, others, weights = linear
        first, last = starts[item], starts[item + 1]
        num_neighbours += last - first
        for place in range(first, last):
            other, weight = others[place], weights[place]
            sums[other, 4] += share * weight.real
            sums[other, 5] += whole_share * weight.imag
    return num_neighbours


@compiled
def _followers(history: Items, transitions: Rows, linear: Rows, noted: Bools, followers: Items) -> Items:
    """The neighbours of a user's items, none twice, in the front of an array; nothing stays noted."""
    num = 0
    for starts, others, _ in (transitions, linear):
        for item in history:
            for other in others[starts[item] : starts[item + 1]]:
                followers[num] = other
                num += not noted[other]
                noted[other] = True
    for other in followers[:num]:
        noted[other] = False
    return followers[:num]


@compiled
def _positive(sums: Floats, first: int, second: int, items: Items, values: Floats, those: Items) -> int:
    """Write down for which items the sum of two columns, or the one, is above 0, and what it is; how many they are."""
    count = 0
    if first == second:
        for item in items:
            values[count], those[count] = sums[item, first], item
            count += sums[item, first] > 0
    else:
        for item in items:
            value = sums[item, first] + sums[item, second]
            values[count], those[count] = value, item
            count += value > 0
    return count


@compiled
def _take(item: int, recommendable: Bools, taken: Bools, found: Items, num_found: int) -> int:
    """Write an item down if it may be and is not yet; how many there are then."""
    if taken[item] or not recommendable[item]:
        return num_found
    found[num_found] = item
    taken[item] = True
    return num_found + 1


@compiled
def _best(values: Floats, items: Items, num: int) -> Items:
    """The items of the `num` largest of the values, which are positive, in any order; of equals the lowest items."""
    if len(values) <= num:
        return items
    keys = values.view(np.uint32)  # of positive floats the bits are in their order
    least = nth_largest(keys, num)
    best, equal = np.empty(num, dtype=np.int32), np.empty(len(keys), dtype=np.int32)
    above = equals = 0
    for place, key in enumerate(keys):
        if key > least:
            best[above] = items[place]
            above += 1
        elif key == least:
            equal[equals] = items[place]
            equals += 1
    if equals > num - above:
        equal[:equals].sort()
    best[above:] = equal[: num - above]
    return best


def _near_searches(profiles: Profiles, beside: Beside, num: int) -> Ints:
    """[B, num] items that may be recommended whose texts are nearest to what was searched for; −1 for none."""
    found = np.full((len(profiles.searches), num), NO_ITEM, dtype=np.int64)
    searched = np.flatnonzero(profiles.searched)
    similarity = profiles.searches[searched] @ beside.text_vectors.T
    nearest = best_positive(np.where(beside.recommendable, similarity, np.float32(0)), num)
    found[searched, : nearest.shape[1]] = nearest
    return found
