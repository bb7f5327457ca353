"""Lists are in order, without duplicates and independent of other users, and every candidate is counted.

The same for a single rule: `rules/test_every_rule.py`.
"""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints
from recsys.ranking.rerank import Reranked, Reranker
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.rules.exploration import num_places
from recsys.ranking.rules.registry import list_rules
from recsys.ranking.rules.rule import NightFacts

DATE = dt.date(2026, 11, 22)
NUM_ITEMS = 40
RANDOM = np.random.default_rng(0)
POPULARITY = RANDOM.zipf(1.3, NUM_ITEMS).clip(0, 10_000) - 1
RECOMMENDABLE = np.ones(NUM_ITEMS, dtype=bool)
VECTORS = RANDOM.normal(size=(6, 17))[RANDOM.integers(0, 6, NUM_ITEMS)] + 0.4 * RANDOM.normal(size=(NUM_ITEMS, 17))

settings_of_rules = st.fixed_dictionaries(
    {
        "long_tail_boost": st.sampled_from([0.0, 0.3, 2.0]),
        "diversity": st.sampled_from([0.0, 0.3, 1.0]),
        "diversity_pool": st.sampled_from([1, 8, 100]),
        "exploration": st.sampled_from([0.0, 0.2, 0.5]),
        "cold_item_slots": st.sampled_from([0.0, 0.3]),
    }
)


def reranker(seed: int = 0, date: dt.date = DATE, **chosen: float) -> Reranker:
    return Reranker.build(RerankConfig.model_validate(chosen), facts(seed=seed, date=date))


def facts(**others: Any) -> NightFacts:
    known = {"popularity": POPULARITY, "recommendable": RECOMMENDABLE, "vectors": VECTORS.astype(np.float32)}
    given = known | {"seed": 0, "date": DATE} | others
    return NightFacts(**{"is_cold": given["popularity"] == 0} | given)


def users(num: int) -> pa.Array:
    return pa.array([f"u{number}" for number in range(num)])


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Ints, Floats]:
    """Ties, duplicates, holes of either kind, users without any candidate, lists shorter than K."""
    random = np.random.default_rng(draw(st.integers(0, 99_999)))
    shape = draw(st.integers(0, 6)), draw(st.integers(0, 25))
    items = random.integers(-1, draw(st.sampled_from([4, NUM_ITEMS])), size=shape)
    scores = random.normal(scale=3, size=shape) - 8
    if draw(st.booleans()):
        scores = np.round(scores)
    scores[random.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.9]))] = -np.inf
    return items, scores.astype(np.float32)


def rerank(found: tuple[Ints, Floats], top_k: int, **chosen: float) -> Reranked:
    return reranker(**chosen).rerank(users(len(found[0])), *found, top_k)


def best_scores(items: Ints, scores: Floats) -> list[dict[int, float]]:
    """Each user's distinct candidates."""
    found: list[dict[int, float]] = [{} for _ in items]
    for user, place in zip(*np.nonzero((items >= 0) & (scores > -np.inf)), strict=True):
        item = int(items[user, place])
        found[user][item] = max(found[user].get(item, -np.inf), float(scores[user, place]))
    return found


@settings(max_examples=100)
@given(candidates(), settings_of_rules, st.integers(1, 12))
def test_the_contract_of_a_list(found: tuple[Ints, Floats], chosen: dict[str, float], top_k: int) -> None:
    got = rerank(found, top_k, **chosen)
    assert got.items.shape == got.scores.shape == got.explored.shape == (len(found[0]), top_k)
    assert (got.items.dtype, got.scores.dtype, got.explored.dtype) == (np.int64, np.float32, np.bool_)
    np.testing.assert_array_equal(got.items >= 0, got.scores > -np.inf)
    assert not got.explored[got.items < 0].any()
    num_explored = num_places(chosen["exploration"], top_k)
    for user, known in enumerate(best_scores(*found)):
        length = min(top_k, len(known))
        row, scores = got.items[user, :length], got.scores[user, :length]
        assert (got.items[user, length:] == -1).all(), "a list is as long as it can be, without gaps"
        assert len(set(row.tolist())) == length
        assert set(row.tolist()) <= set(known)
        assert (scores[1:] <= scores[:-1]).all()
        assert (row[np.lexsort((row, -scores))] == row).all()
        explored = np.flatnonzero(got.explored[user])
        assert len(explored) == max(0, min(num_explored, len(known) - (top_k - num_explored)))
        assert explored.tolist() == list(range(length - len(explored), length)), "the last places"


@settings(max_examples=100)
@given(candidates(), settings_of_rules, st.integers(1, 12))
def test_the_counts_add_up(found: tuple[Ints, Floats], chosen: dict[str, float], top_k: int) -> None:
    got = rerank(found, top_k, **chosen)
    counts, known = got.counts, best_scores(*found)
    assert counts.users == len(found[0])
    assert counts.candidates == ((found[0] >= 0) & (found[1] > -np.inf)).sum()
    assert counts.candidates - counts.duplicates == sum(map(len, known))
    assert counts.listed == (got.items >= 0).sum()
    assert counts.candidates == counts.duplicates + counts.listed + counts.left_out
    assert counts.moved["exploration"] == got.explored.sum()
    assert list(counts.moved) == [rule.name for rule in list_rules()]
    for name, moved in counts.moved.items():
        assert 0 <= moved <= (counts.listed if chosen.get(name) else 0)
    halves = [
        reranker(**chosen).rerank(users(len(found[0]))[part], found[0][part], found[1][part], top_k).counts
        for part in (slice(0, 2), slice(2, None))
    ]
    assert RerankCounts.sum(halves) == counts


@settings(max_examples=100)
@given(candidates(), settings_of_rules, st.integers(1, 12), st.integers(0, 999))
def test_neither_the_order_of_candidates_nor_other_users_change_a_list(
    found: tuple[Ints, Floats], chosen: dict[str, float], top_k: int, seed: int
) -> None:
    got = rerank(found, top_k, **chosen)
    random = np.random.default_rng(seed)
    order = random.permuted(np.tile(np.arange(found[0].shape[1]), (len(found[0]), 1)), axis=1)
    shuffled = np.take_along_axis(found[0], order, 1), np.take_along_axis(found[1], order, 1)
    someone = random.permutation(len(found[0]))
    again = reranker(**chosen).rerank(
        users(len(found[0])).take(pa.array(someone)), shuffled[0][someone], shuffled[1][someone], top_k
    )
    for part in ("items", "scores", "explored"):
        np.testing.assert_array_equal(getattr(again, part), getattr(got, part)[someone])
    for user in range(len(found[0])):
        only = slice(user, user + 1)
        alone = reranker(**chosen).rerank(users(len(found[0]))[only], found[0][only], found[1][only], top_k)
        for part in ("items", "scores", "explored"):
            np.testing.assert_array_equal(getattr(alone, part), getattr(got, part)[only])


@given(candidates(), st.integers(1, 12))
def test_with_everything_off_it_is_a_plain_sort(found: tuple[Ints, Floats], top_k: int) -> None:
    got = rerank(found, top_k, cold_item_slots=0.0)
    for user, known in enumerate(best_scores(*found)):
        expected = sorted(known.items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]
        there = got.items[user] >= 0
        assert list(zip(got.items[user, there], got.scores[user, there], strict=True)) == expected
    assert not got.explored.any()
    assert not any(rule.reorder for rule in reranker(cold_item_slots=0.0).prepared)


@given(candidates(), settings_of_rules, st.integers(4, 12))
def test_exploration_leaves_the_head_of_a_list_alone(
    found: tuple[Ints, Floats], chosen: dict[str, float], top_k: int
) -> None:
    chosen["exploration"] = 0.25
    merit = top_k - num_places(0.25, top_k)
    got = rerank(found, top_k, **chosen)
    head = rerank(found, merit, **(chosen | {"exploration": 0.0}))
    np.testing.assert_array_equal(got.items[:, :merit], head.items)
    np.testing.assert_array_equal(got.scores[:, :merit], head.scores)


@given(candidates(), st.sampled_from([0.0, 0.3, 2.0]), st.integers(2, 12))
def test_without_diversity_drawn_items_keep_their_own_score(
    found: tuple[Ints, Floats], boost: float, top_k: int
) -> None:
    got = rerank(found, top_k, exploration=0.5, long_tail_boost=boost, cold_item_slots=0)
    everything = rerank(found, 30, long_tail_boost=boost, cold_item_slots=0)
    for user, place in zip(*np.nonzero(got.explored), strict=True):
        own = everything.scores[user, everything.items[user] == got.items[user, place]]
        assert got.scores[user, place] == own[0]


@given(candidates(), st.sampled_from([0.0, 0.5]), st.integers(1, 12), st.integers(0, 12))
def test_a_shorter_list_is_the_head_of_a_longer_one(
    found: tuple[Ints, Floats], boost: float, top_k: int, more: int
) -> None:
    short, long = (
        rerank(found, length, long_tail_boost=boost, cold_item_slots=0.3) for length in (top_k, top_k + more)
    )
    np.testing.assert_array_equal(long.items[:, :top_k], short.items)
    np.testing.assert_array_equal(long.scores[:, :top_k], short.scores)


@given(candidates(), settings_of_rules, st.integers(1, 12))
def test_a_setting_changed_later_has_the_same_effect(
    found: tuple[Ints, Floats], chosen: dict[str, float], top_k: int
) -> None:
    changed = reranker(**chosen | {"long_tail_boost": 0.5, "exploration": 0.1})
    for name in ("long_tail_boost", "exploration"):
        changed = changed.with_setting(name, chosen[name])
    got, expected = changed.rerank(users(len(found[0])), *found, top_k), rerank(found, top_k, **chosen)
    np.testing.assert_array_equal(got.items, expected.items)
    np.testing.assert_array_equal(got.scores, expected.scores)
    assert changed.config == RerankConfig.model_validate(chosen)


def test_exploration_is_another_one_by_seed_night_and_user() -> None:
    items = np.tile(np.arange(NUM_ITEMS), (50, 1))
    scores = -items.astype(np.float32)
    first = reranker(exploration=0.5, cold_item_slots=0).rerank(users(50), items, scores, 10).items
    for other in (
        reranker(exploration=0.5, cold_item_slots=0, seed=1),
        reranker(exploration=0.5, cold_item_slots=0, date=dt.date(2026, 11, 23)),
    ):
        assert (other.rerank(users(50), items, scores, 10).items[:, 5:] != first[:, 5:]).any(axis=1).mean() > 0.9
    assert len(np.unique(first[:, 5:], axis=0)) > 45
    assert (first[:, :5] == np.arange(5)).all()
    np.testing.assert_array_equal(
        reranker(exploration=0.5, cold_item_slots=0).rerank(users(50), items, scores, 10).items, first
    )


def test_what_each_rule_moves_is_counted() -> None:
    popularity = np.array([1000, 1000, 0, 0])
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    items, scores = np.array([[0, 1, 2, 3]]), np.array([[-1, -2, -3, -4]], dtype=np.float32)

    def build(**chosen: float) -> Reranker:
        own = facts(popularity=popularity, recommendable=popularity >= 0, vectors=vectors)
        return Reranker.build(RerankConfig.model_validate(chosen), own)

    got = build(long_tail_boost=3.5).rerank(users(1), items, scores, 3)
    assert got.items.tolist() == [[1, 2, 3]]
    assert got.counts.moved["long_tail_boost"] == 1
    np.testing.assert_allclose(got.scores, [[-2, -3, -4]], rtol=1e-6)
    got = build(diversity=0.9).rerank(users(1), items, scores, 2)
    assert got.items.tolist() == [[0, 3]]
    assert got.counts.moved["diversity"] == 1
    np.testing.assert_allclose(got.scores, [[-1, -1.3]], rtol=1e-6)
    got = build(diversity=0.9, diversity_pool=3).rerank(users(1), items, scores, 2)
    assert got.items.tolist() == [[0, 1]], "nothing outside of the pool is chosen"
    assert got.counts.moved["diversity"] == 0
    got = build(diversity=0.9, diversity_pool=1).rerank(users(1), items, scores, 4)
    assert got.items.tolist() == [[0, 3, 1, 2]], "the pool is as long as the list at least"


def test_facts_of_other_catalogs_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="40 counts, 39 vectors"):
        Reranker.build(RerankConfig(), facts(vectors=VECTORS[1:]))
    with pytest.raises(AssertionError, match="1 users, candidates of 2"):
        reranker().rerank(users(1), np.zeros((2, 1), np.int64), np.zeros((2, 1), np.float32), 1)


def test_no_batch_counts_nothing() -> None:
    counts = RerankCounts.sum([])
    assert counts == RerankCounts()
    assert (counts.users, counts.candidates, counts.listed, counts.moved) == (0, 0, 0, {})


def test_counts_of_rules_that_only_one_batch_has_are_kept() -> None:
    counts = RerankCounts(moved={"diversity": 3})
    more = RerankCounts(moved={"diversity": 1, "max_per_category": 2})
    assert (counts + more).moved == {"diversity": 4, "max_per_category": 2}


def test_few_cold_items_are_shown_to_some_users_and_every_night_to_others() -> None:
    """2 of 40 items are half a place of ten, so half of the users have the fourth place."""
    items = np.tile(np.arange(NUM_ITEMS), (500, 1))
    scores = -items.astype(np.float32)
    popularity = np.where(np.arange(NUM_ITEMS) >= NUM_ITEMS - 2, 0, 5)

    def who(date: dt.date) -> Bools:
        made = Reranker.build(RerankConfig(), facts(popularity=popularity, date=date))
        got = made.rerank(users(500), items, scores, 6)
        shown = (popularity[got.items] == 0).sum(axis=1)
        assert set(shown.tolist()) == {0, 1}
        assert got.counts.moved["cold_item_slots"] == shown.sum()
        return shown > 0

    first, second = who(DATE), who(DATE + dt.timedelta(days=1))
    expected = 10 * 2 / NUM_ITEMS
    for night in (first, second):
        assert night.mean() == pytest.approx(expected, abs=0.06)
    assert (first & second).mean() == pytest.approx(expected**2, abs=0.04)


def test_items_that_people_only_send_back_get_no_cold_item_slot() -> None:
    """They have no positive event, so their popularity is 0, but they are not new."""
    popularity = np.where(np.arange(NUM_ITEMS) == NUM_ITEMS - 1, 0, 5)
    items = np.tile(np.arange(NUM_ITEMS), (200, 1))
    rejected = Reranker.build(RerankConfig(), facts(popularity=popularity, is_cold=np.zeros(NUM_ITEMS, dtype=bool)))
    got = rejected.rerank(users(200), items, -items.astype(np.float32), 10)
    assert (got.items == np.arange(10)).all()
    assert got.counts.moved["cold_item_slots"] == 0
    new = Reranker.build(RerankConfig(), facts(popularity=popularity))
    assert (new.rerank(users(200), items, -items.astype(np.float32), 10).items == NUM_ITEMS - 1).any()


def test_diversity_leaves_the_cold_item_slots() -> None:
    """The cold items are alike and stand last, so that neither their scores nor diversity would choose them."""
    popularity = np.where(np.arange(NUM_ITEMS) >= 30, 0, 5)
    vectors = np.where((np.arange(NUM_ITEMS) >= 30)[:, None], 1, VECTORS).astype(np.float32)
    items = np.tile(np.arange(NUM_ITEMS), (50, 1))
    scores = -items.astype(np.float32)
    settings = RerankConfig(diversity=0.5, cold_item_slots=0.2)
    made = Reranker.build(settings, facts(popularity=popularity, vectors=vectors))
    got = made.rerank(users(50), items, scores, 12)
    assert (np.cumsum(got.items >= 30, axis=1)[:, [1, 6, 11]] >= [1, 2, 3]).all(), "every fifth place"
    assert (np.diff(got.scores, axis=1) <= 0).all()
    diverse = Reranker.build(
        RerankConfig(diversity=0.5, cold_item_slots=0), facts(popularity=popularity, vectors=vectors)
    )
    rest = diverse.rerank(users(50), items, scores, 12).items
    assert (got.items[:, 0] == rest[:, 0]).all()
    for own, chosen in zip(got.items, rest, strict=True):
        assert [item for item in own if item < 30] == [item for item in chosen if item < 30][: int((own < 30).sum())]
