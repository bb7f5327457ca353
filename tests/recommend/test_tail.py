"""The long-tail dial: lift at 1, a monotone exchange of score for popularity, and the frontier of its values."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.recommend.order import Floats, Ints
from recsys.recommend.tail import discounted, item_popularity, log_popularity, tail_frontier
from recsys.schema import ITEM_COUNTS

NUM_ITEMS = 60
TAILS = [0.0, 0.25, 0.5, 1.0, 2.0, 10.0]


def problem(seed: int, num_users: int = 4, num_candidates: int = 30) -> tuple[Ints, Floats, Ints]:
    """Candidates whose scores lean to what is popular, on a grid of sixteenths, and counts with a long tail."""
    random = np.random.default_rng(seed)
    popularity = random.zipf(1.3, NUM_ITEMS).clip(0, 100_000) - 1
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, :num_candidates]
    scores = 0.7 * np.log1p(popularity)[items] + random.normal(size=items.shape) - 12
    return items, (np.round(scores * 16) / 16).astype(np.float32), popularity


def test_counts_stand_at_their_items_and_strangers_are_passed_over() -> None:
    counts = pa.table({"item_id": ["c", "x", "a"], "num": [7, 5, 2]}, schema=ITEM_COUNTS)
    assert item_popularity(counts, pa.array(["a", "b", "c"])).tolist() == [2, 0, 7]
    assert item_popularity(ITEM_COUNTS.empty_table(), pa.array(["a"])).tolist() == [0]


def test_a_negative_count_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="negative"):
        log_popularity(np.array([3, -1]))


@given(st.integers(0, 999))
def test_a_dial_of_0_changes_nothing(seed: int) -> None:
    items, scores, popularity = problem(seed)
    np.testing.assert_array_equal(discounted(items, scores, log_popularity(popularity), 0.0), scores)


@given(st.integers(0, 999))
def test_at_1_the_order_is_that_of_the_lift(seed: int) -> None:
    """P(item | user) = share · exp(taste): the dial at 1 leaves the taste."""
    items, _, popularity = problem(seed, num_users=1)
    taste = np.random.default_rng(seed).normal(size=NUM_ITEMS)
    share = (popularity + 1) / (popularity + 1).sum()
    log_probability = (np.log(share) + taste)[items].astype(np.float32)
    lift = discounted(items, log_probability, log_popularity(popularity), 1.0)
    gaps = lift - taste[items]
    np.testing.assert_allclose(gaps, gaps[0, 0], atol=1e-5)
    assert (lift <= log_probability).all()


def test_what_is_none_stays_none() -> None:
    scores = np.array([[-1.0, -np.inf]], dtype=np.float32)
    got = discounted(np.array([[1, -1]]), scores, log_popularity(np.array([0, 9])), 2.0)
    np.testing.assert_allclose(got, [[-1 - 2 * np.log(10), -np.inf]], rtol=1e-6)
    empty = discounted(np.array([[-1]]), scores[:, 1:], log_popularity(np.zeros(0, np.int64)), 2.0)
    assert empty.tolist() == [[-np.inf]]


@given(st.integers(0, 999), st.integers(1, 30))
def test_a_larger_dial_never_makes_a_users_list_more_popular(seed: int, top_k: int) -> None:
    """Exact for each user's mean of log(1 + n), but for float32's rounding; the dial gives something up for it."""
    items, scores, popularity = problem(seed)
    logs = log_popularity(popularity)
    lists = tail_frontier(items, scores, logs, TAILS, top_k)
    means = [logs[lists[tail]].mean(axis=1) for tail in TAILS]
    for lower, higher in itertools.pairwise(means):
        assert (higher <= lower + 1e-5).all()
    by_item = np.zeros((len(items), NUM_ITEMS))
    np.put_along_axis(by_item, items, scores.astype(np.float64), axis=1)
    worth = [np.take_along_axis(by_item, lists[tail], axis=1).mean(axis=1) for tail in TAILS]
    for lower, higher in itertools.pairwise(worth):
        assert (higher <= lower + 1e-5).all()


def test_the_dial_is_felt() -> None:
    items, scores, popularity = problem(3, num_users=50)
    logs = log_popularity(popularity)
    lists = tail_frontier(items, scores, logs, [0.0, 1.0], 10)
    assert logs[lists[1.0]].mean() < 0.6 * logs[lists[0.0]].mean()


def test_the_frontiers_lists_are_padded_and_without_duplicates() -> None:
    items = np.array([[2, 0, 2, -1], [-1, -1, -1, -1]])
    scores = np.array([[-1.0, -2.0, -0.5, 0.0], [0.0] * 4], dtype=np.float32)
    lists = tail_frontier(items, scores, log_popularity(np.array([0, 0, 1000])), [0.0, 1.0], 5)
    assert lists[0.0].tolist() == [[2, 0, -1, -1, -1], [-1] * 5]
    assert lists[1.0].tolist() == [[0, 2, -1, -1, -1], [-1] * 5]
    assert tail_frontier(items, scores, log_popularity(np.array([0, 0, 9])), [0.0], 1)[0.0].tolist() == [[2], [-1]]
