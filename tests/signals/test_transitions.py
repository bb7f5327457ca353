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

from recsys.schema import TRANSITION_TOTALS, TRANSITIONS
from recsys.signals.neighbours import Neighbours
from recsys.signals.transitions import (
    count_transitions,
    merge_totals,
    merge_transitions,
    strongest_transitions,
    total_transitions,
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


def counted(users: Histories, window: int = 3) -> pa.Table:
    return count_transitions(*columns(users), NUM_ITEMS, window, HALF_LIFE_DAYS)


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
    return {pair: (lasting, recent) for pair, (lasting, recent) in found.items()}


def weights_of(table: pa.Table) -> Weights:
    columns = (table[name].to_pylist() for name in TRANSITIONS.names)
    return {(item, following): (lasting, recent) for item, following, lasting, recent in zip(*columns, strict=True)}


def assert_equal_weights(found: Weights, expected: Weights) -> None:
    assert list(found) == sorted(expected), "by item and what follows it, each pair once"
    for pair, both in expected.items():
        assert found[pair] == pytest.approx(both, rel=1e-5, abs=1e-9)


@given(histories, st.integers(1, 10))
def test_counting_equals_counting_by_hand(users: Histories, window: int) -> None:
    table = counted(users, window)
    assert table.schema.equals(TRANSITIONS, check_metadata=True)
    assert_equal_weights(weights_of(table), by_hand(users, window))


def test_a_pair_in_words() -> None:
    """Two apart, the second a half-life old: 1/√2 forwards and half of it back; again half of both for `recent`."""
    found = weights_of(counted([[(0, 30.0), (0, 20.0), (1, 10.0)]], window=2))
    forward = 1 + 2**-0.5
    assert found[0, 1] == pytest.approx((forward, forward / 2))
    assert found[1, 0] == pytest.approx((forward / 2, forward / 4))
    assert set(found) == {(0, 1), (1, 0)}, "an item does not follow itself"


def test_what_comes_later_than_the_moment_is_as_fresh_as_can_be() -> None:
    assert weights_of(counted([[(0, 5.0), (1, -5.0)]]))[0, 1] == (1.0, 1.0)


@given(histories, st.integers(0, 6))
def test_shards_add_up_to_the_whole(users: Histories, cut: int) -> None:
    whole, parts = counted(users), [counted(users[:cut]), counted(users[cut:])]
    merged = merge_transitions(parts, NUM_ITEMS)
    assert merged.schema.equals(TRANSITIONS, check_metadata=True)
    assert_equal_weights(weights_of(merged), weights_of(whole))
    totals = merge_totals([total_transitions(part, NUM_ITEMS) for part in parts])
    assert totals.schema.equals(TRANSITION_TOTALS, check_metadata=True)
    for name in TRANSITION_TOTALS.names:
        expected = total_transitions(whole, NUM_ITEMS)[name].to_numpy()
        np.testing.assert_allclose(totals[name].to_numpy(), expected, rtol=1e-5)


def test_no_shard_at_all_is_no_transition() -> None:
    assert merge_transitions([], NUM_ITEMS).equals(TRANSITIONS.empty_table())
    assert (
        total_transitions(TRANSITIONS.empty_table(), 3).to_pylist() == [dict.fromkeys(TRANSITION_TOTALS.names, 0.0)] * 3
    )


@given(histories)
def test_totals_sum_the_rows_and_the_columns(users: Histories) -> None:
    pairs = weights_of(counted(users))
    totals = total_transitions(counted(users), NUM_ITEMS)
    for place, scale in enumerate(("lasting", "recent")):
        for end in (0, 1):
            expected = [
                sum(both[place] for pair, both in pairs.items() if pair[end] == item) for item in range(NUM_ITEMS)
            ]
            name = f"{scale}_{('item', 'next')[end]}"
            np.testing.assert_allclose(totals[name].to_numpy(), expected, rtol=1e-6, atol=1e-9)


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
    found = weights_of(strongest_transitions(counts, total_transitions(counts, NUM_ITEMS), neighbours))
    expected = strongest_by_hand(users, neighbours)
    assert list(found) == sorted(found)
    for item in range(NUM_ITEMS):
        own, wanted = (
            sorted(sum(both) for pair, both in each.items() if pair[0] == item) for each in (found, expected)
        )
        assert len(own) <= neighbours
        assert own == pytest.approx(wanted, rel=1e-4), "which of equals is kept may hang on the last bit"
    assert all(0 < weight <= 1 + 1e-6 for both in found.values() for weight in both)


def test_of_equals_the_lower_index_is_kept() -> None:
    star = [[(3, 0.0), (other, 0.0)] for other in (5, 1, 2)]
    counts = counted(star)
    kept = strongest_transitions(counts, total_transitions(counts, NUM_ITEMS), 2)
    assert [pair for pair in weights_of(kept) if pair[0] == 3] == [(3, 1), (3, 2)]


def test_ranges_of_items_may_be_kept_apart() -> None:
    """The totals are those of all items, so the pairs of some items give the same weights as all pairs."""
    counts = counted([[(0, 9.0), (1, 8.0), (2, 7.0)], [(2, 3.0), (0, 2.0), (4, 1.0)]])
    totals = total_transitions(counts, NUM_ITEMS)
    low = counts["item"].to_numpy() < 2
    parts = [strongest_transitions(counts.filter(pa.array(part)), totals, 2) for part in (low, ~low)]
    assert 0 < len(parts[0]) < len(strongest_transitions(counts, totals, 2))
    assert pa.concat_tables(parts).equals(strongest_transitions(counts, totals, 2))


@given(histories)
def test_matrices_hold_the_weights(users: Histories) -> None:
    counts = counted(users)
    kept = strongest_transitions(counts, total_transitions(counts, NUM_ITEMS), 3)
    matrices = Neighbours.from_table(kept, NUM_ITEMS)
    expected = np.zeros((2, NUM_ITEMS, NUM_ITEMS), dtype=np.float32)
    for pair, both in weights_of(kept).items():
        expected[:, pair[0], pair[1]] = both
    np.testing.assert_array_equal(matrices.weights.real.toarray(), expected[0])
    np.testing.assert_array_equal(matrices.weights.imag.toarray(), expected[1])
    assert matrices.weights.has_canonical_format


def test_none_is_an_empty_matrix() -> None:
    empty = Neighbours.none(4)
    assert empty.weights.shape == (4, 4)
    assert empty.weights.nnz == 0
