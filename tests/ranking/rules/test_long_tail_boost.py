"""The long-tail boost gives the best exchange of expected hits for hits in the tail, and is monotone."""

import itertools
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.item_counts import head_items
from recsys.ranking.order import Bools, Floats, Ints, best_first
from recsys.ranking.rules.long_tail_boost import discounted

NUM_ITEMS = 60
BOOSTS = [0.0, 0.25, 0.5, 1.0, 2.0, 10.0]


def problem(seed: int, num_users: int = 4, num_candidates: int = 30) -> tuple[Ints, Floats, Bools]:
    """Candidates whose scores lean to what is popular, on a grid of sixteenths, and the head of a long tail."""
    random = np.random.default_rng(seed)
    popularity = random.zipf(1.3, NUM_ITEMS).clip(0, 100_000) - 1
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, :num_candidates]
    scores = 0.7 * np.log1p(popularity)[items] + random.normal(size=items.shape) - 12
    return items, (np.round(scores * 16) / 16).astype(np.float32), head_items(popularity)


def listed(items: Ints, scores: Floats, head: Bools, boost: float, top_k: int) -> Ints:
    return best_first(items, discounted(items, scores, head, boost))[0][:, :top_k]


@given(st.integers(0, 999))
def test_a_boost_of_0_changes_nothing(seed: int) -> None:
    items, scores, head = problem(seed)
    np.testing.assert_array_equal(discounted(items, scores, head, 0.0), scores)


def test_only_scores_of_the_head_are_lowered() -> None:
    scores = np.array([[-1.0, -2.0, -np.inf]], dtype=np.float32)
    got = discounted(np.array([[1, 0, -1]]), scores, np.array([False, True]), 0.5)
    assert got.dtype == np.float32
    assert got.tolist() == [[-1.5, -2.0, -np.inf]]
    empty = discounted(np.array([[-1]]), scores[:, 2:], np.zeros(0, dtype=bool), 2.0)
    assert empty.tolist() == [[-np.inf]]


@given(st.integers(0, 99), st.sampled_from(BOOSTS), st.integers(1, 4))
def test_no_other_list_has_more_hits_at_as_many_in_the_tail(seed: int, boost: float, top_k: int) -> None:
    items, scores, head = problem(seed, num_users=1, num_candidates=8)
    chance = dict(zip(items[0].tolist(), np.exp(scores[0].astype(np.float64)), strict=True))

    def expected(listed: Iterable[int]) -> tuple[float, float]:
        """Hits, and those in the tail."""
        listed = list(listed)
        return sum(chance[item] for item in listed), sum(chance[item] for item in listed if not head[item])

    hits, in_tail = expected(listed(items, scores, head, boost, top_k)[0].tolist())
    for other in itertools.combinations(items[0].tolist(), top_k):
        other_hits, other_in_tail = expected(other)
        assert other_in_tail < in_tail * (1 + 1e-6) or other_hits <= hits * (1 + 1e-6)


@given(st.integers(0, 999), st.integers(1, 30))
def test_a_larger_boost_never_removes_a_users_items_of_the_tail(seed: int, top_k: int) -> None:
    items, scores, head = problem(seed)
    lists = {boost: listed(items, scores, head, boost, top_k) for boost in BOOSTS}
    for lower, higher in itertools.pairwise([(~head[lists[boost]]).sum(axis=1) for boost in BOOSTS]):
        assert (higher >= lower).all()
    by_item = np.zeros((len(items), NUM_ITEMS))
    np.put_along_axis(by_item, items, scores.astype(np.float64), axis=1)
    worth = [np.take_along_axis(by_item, lists[boost], axis=1).mean(axis=1) for boost in BOOSTS]
    for lower, higher in itertools.pairwise(worth):
        assert (higher <= lower + 1e-5).all()


def test_the_boost_has_an_effect() -> None:
    items, scores, head = problem(3, num_users=50)
    off, on = (listed(items, scores, head, boost, 10) for boost in (0.0, 3.0))
    assert head[on].mean() < 0.6 * head[off].mean()
