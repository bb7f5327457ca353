"""Counting pairs equals counting them one by one, whatever the shards; what is kept are the strongest, in 0 … 1.

Shapes: N interactions, I items, M most neighbours of an item.
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import ITEM_NEIGHBOURS, TIME_SCALES
from recsys.signals import transitions
from recsys.signals.neighbours import Neighbours
from recsys.signals.transitions import (
    count_transitions,
    item_ranges,
    merge_transitions,
    strongest_transitions,
    sum_pairs,
)

NUM_ITEMS = 6
HALF_LIFE_DAYS = 10.0

#: (item, age in days) of each user's events, oldest first.
Histories = list[list[tuple[int, float]]]
Weights = dict[tuple[int, int], tuple[float, float]]

histories = st.lists(
    st.lists(st.tuples(st.integers(0, NUM_ITEMS - 1), st.integers(-20, 60)), max_size=9).map(
        lambda events: sorted(((item, float(age)) for item, age in events), key=lambda event: -event[1])
    ),
    max_size=6,
)


def columns(users: Histories) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    rows = [(number, item, age) for number, events in enumerate(users) for item, age in events]
    user, item, age = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return user.astype(np.int64), item.astype(np.int64), age


def counted(users: Histories, window: int = 3, weights: list[float] | None = None) -> pa.Table:
    user, item, age = columns(users)
    of_events = np.ones(len(user)) if weights is None else np.array(weights)
    return count_transitions(
        user, item, age, of_events, num_items=NUM_ITEMS, window=window, half_life_days=HALF_LIFE_DAYS
    )


def by_hand(users: Histories, window: int) -> Weights:
    """Each pair of each user, one at a time."""
    found: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for events in users:
        for place, (first, _) in enumerate(events):
            for distance, (second, age) in enumerate(events[place + 1 : place + 1 + window], start=1):
                if first != second:
                    fresh = 0.5 ** (max(age, 0.0) / HALF_LIFE_DAYS)
                    for pair, share in (((first, second), 1.0), ((second, first), 0.5)):
                        found[pair][0] += share / distance**0.5
                        found[pair][1] += share / distance**0.5 * fresh
    return {pair: (all_time, decayed) for pair, (all_time, decayed) in found.items()}


def weights_of(table: pa.Table) -> Weights:
    columns = (table[name].to_pylist() for name in ITEM_NEIGHBOURS.names)
    return {(item, following): (all_time, decayed) for item, following, all_time, decayed in zip(*columns, strict=True)}


def assert_equal_weights(found: Weights, expected: Weights) -> None:
    assert list(found) == sorted(expected), "by item and the item after it, each pair once"
    for pair, both in expected.items():
        assert found[pair] == pytest.approx(both, rel=1e-5, abs=1e-9)


@given(histories, st.integers(1, 10))
def test_counting_equals_counting_by_hand(users: Histories, window: int) -> None:
    table = counted(users, window)
    assert table.schema.equals(ITEM_NEIGHBOURS, check_metadata=True)
    assert_equal_weights(weights_of(table), by_hand(users, window))


def test_a_pair_that_is_two_apart() -> None:
    """Two apart, the second a half-life old: 1/√2 forwards and half of it back; again half of both for `decayed`."""
    found = weights_of(counted([[(0, 30.0), (0, 20.0), (1, 10.0)]], window=2))
    forward = 1 + 2**-0.5
    assert found[0, 1] == pytest.approx((forward, forward / 2))
    assert found[1, 0] == pytest.approx((forward / 2, forward / 4))
    assert set(found) == {(0, 1), (1, 0)}, "an item does not follow itself"


def test_a_pair_has_the_weight_of_the_event_that_it_leads_to() -> None:
    """From a view (0.5) to a purchase (3): 3 forwards, and half of 0.5 back."""
    found = weights_of(counted([[(0, 10.0), (1, 10.0)]], weights=[0.5, 3.0]))
    assert found == {(0, 1): (3.0, 1.5), (1, 0): (0.25, 0.125)}


def test_an_event_after_the_view_is_as_fresh_as_can_be() -> None:
    assert weights_of(counted([[(0, 5.0), (1, -5.0)]]))[0, 1] == (1.0, 1.0)


@given(histories, st.integers(0, 6))
def test_shards_add_up_to_the_whole(users: Histories, cut: int) -> None:
    whole, parts = counted(users), [counted(users[:cut]), counted(users[cut:])]
    merged = merge_transitions(parts, NUM_ITEMS)
    assert merged.schema.equals(ITEM_NEIGHBOURS, check_metadata=True)
    assert_equal_weights(weights_of(merged), weights_of(whole))
    np.testing.assert_allclose(sum_pairs(parts, NUM_ITEMS), sum_pairs([whole], NUM_ITEMS), rtol=1e-5)


def test_without_shards_there_is_no_transition() -> None:
    assert merge_transitions([], NUM_ITEMS).equals(ITEM_NEIGHBOURS.empty_table())
    assert not sum_pairs([], 3).any()


@given(histories)
def test_totals_sum_the_rows_and_the_columns(users: Histories) -> None:
    pairs = weights_of(counted(users))
    totals = sum_pairs([counted(users)], NUM_ITEMS)
    for place in range(len(TIME_SCALES)):
        for end in (0, 1):
            expected = [
                sum(both[place] for pair, both in pairs.items() if pair[end] == item) for item in range(NUM_ITEMS)
            ]
            np.testing.assert_allclose(totals[place, end], expected, rtol=1e-6, atol=1e-9)


def strongest_by_hand(users: Histories, neighbours: int) -> Weights:
    pairs = weights_of(counted(users))

    def share(pair: tuple[int, int], scale: int) -> float:
        as_first = sum(both[scale] for other, both in pairs.items() if other[0] == pair[0])
        as_second = sum(both[scale] for other, both in pairs.items() if other[1] == pair[1])
        return pairs[pair][scale] / (as_first * as_second) ** 0.5

    shares = {pair: (share(pair, 0), share(pair, 1)) for pair in pairs}
    kept: Weights = {}
    for item in range(NUM_ITEMS):
        of_item = [pair for pair in shares if pair[0] == item]
        kept |= {pair: shares[pair] for pair in sorted(of_item, key=lambda pair: -sum(shares[pair]))[:neighbours]}
    return kept


@given(histories, st.integers(1, NUM_ITEMS))
def test_the_strongest_are_kept_with_weights_up_to_one(users: Histories, neighbours: int) -> None:
    counts = counted(users)
    found = weights_of(strongest_transitions(counts, sum_pairs([counts], NUM_ITEMS), neighbours))
    expected = strongest_by_hand(users, neighbours)
    assert list(found) == sorted(found)
    for item in range(NUM_ITEMS):
        own, wanted = (
            sorted(sum(both) for pair, both in each.items() if pair[0] == item) for each in (found, expected)
        )
        assert len(own) <= neighbours
        assert own == pytest.approx(wanted, rel=1e-4), "which of equal sums is kept may depend on the last bit"
    assert all(0 < weight <= 1 + 1e-6 for both in found.values() for weight in both)


def test_the_lower_index_of_equal_sums_is_kept() -> None:
    star = [[(3, 0.0), (other, 0.0)] for other in (5, 1, 2)]
    counts = counted(star)
    kept = strongest_transitions(counts, sum_pairs([counts], NUM_ITEMS), 2)
    assert [pair for pair in weights_of(kept) if pair[0] == 3] == [(3, 1), (3, 2)]


def test_ranges_of_items_may_be_kept_apart() -> None:
    """The totals are those of all items, so the pairs of some items give the same weights as all pairs."""
    counts = counted([[(0, 9.0), (1, 8.0), (2, 7.0)], [(2, 3.0), (0, 2.0), (4, 1.0)]])
    totals = sum_pairs([counts], NUM_ITEMS)
    low = counts["item"].to_numpy() < 2
    parts = [strongest_transitions(counts.filter(pa.array(part)), totals, 2) for part in (low, ~low)]
    assert 0 < len(parts[0]) < len(strongest_transitions(counts, totals, 2))
    assert pa.concat_tables(parts).equals(strongest_transitions(counts, totals, 2))


def test_ranges_hold_every_item_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "ITEMS_PER_RANGE", 4)
    assert [item for part in item_ranges(9) for item in part] == list(range(9))
    assert list(item_ranges(0)) == [range(0)], "a catalog without items has one empty range"


@given(histories)
def test_neighbours_hold_the_weights(users: Histories) -> None:
    counts = counted(users)
    kept = strongest_transitions(counts, sum_pairs([counts], NUM_ITEMS), 3)
    neighbours = Neighbours.from_table(kept, NUM_ITEMS)
    found = {}
    for item in range(NUM_ITEMS):
        for pair in range(neighbours.starts[item], neighbours.starts[item + 1]):
            found[item, int(neighbours.others[pair])] = tuple(neighbours.weights[pair].tolist())
    assert found == weights_of(kept)


def test_none_has_no_pair() -> None:
    empty = Neighbours.none(4)
    assert empty.starts.tolist() == [0] * 5
    assert empty.weights.shape == (0, 2)
