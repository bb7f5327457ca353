"""Maximal marginal relevance: greedy by its own formula, exact in any batch, and what it says it does to lists."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.ranking.order import Floats, Ints, best_first
from recsys.ranking.rules import diversity as room
from recsys.ranking.rules.diversity import Directions, directions, select_diverse

NUM_ITEMS = 80
WEIGHTS = st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0])


def problem(seed: int, num_users: int = 3, pool: int = 20, dim: int = 6) -> tuple[Ints, Floats, Directions]:
    """Pools in order, some with holes at the end, over items in a few bundles of like vectors."""
    random = np.random.default_rng(seed)
    bundles = random.normal(size=(8, dim))
    vectors = bundles[random.integers(0, 8, NUM_ITEMS)] + 0.4 * random.normal(size=(NUM_ITEMS, dim))
    items = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, :pool]
    scores = random.normal(size=items.shape).astype(np.float32)
    holes = np.arange(pool) >= random.integers(pool // 2, pool + 1, size=(num_users, 1))
    items[holes], scores[holes] = -1, -np.inf
    return *best_first(items, scores), directions(vectors)


def cosines(directions: Directions) -> np.ndarray:
    whole = directions.astype(np.int64)
    return (whole @ whole.T) / 2**22


@given(st.integers(0, 9999), WEIGHTS, st.integers(1, 20))
def test_each_choice_has_the_largest_marginal_relevance(seed: int, weight: float, num: int) -> None:
    items, scores, vectors = problem(seed)
    likeness = cosines(vectors)
    columns, values = select_diverse(items, scores, vectors, num, weight)
    assert columns.shape == values.shape == (len(items), num)
    assert values.dtype == np.float32
    for user, row in enumerate(items):
        there = np.flatnonzero(row >= 0)
        known = scores[user, there].astype(np.float64)
        best, worst = known.max(), known.min()
        chosen: list[int] = []
        for place in range(num):
            if place >= len(there):
                assert values[user, place] == -np.inf
                continue
            rest = [column for column in there if column not in chosen]
            marginal = {
                column: (1 - weight) * (scores[user, column] - worst) / (best - worst)
                - weight * max(0.0, *(likeness[row[column], row[other]] for other in chosen), 0.0)
                for column in rest
            }
            picked = columns[user, place]
            assert picked in rest, "no item twice"
            assert marginal[picked] >= max(marginal.values()) - 1e-12
            on_scale = best - (best - worst) * (1 - weight - marginal[picked])
            np.testing.assert_allclose(values[user, place], on_scale, atol=1e-6)
            chosen.append(picked)


@given(st.integers(0, 9999), WEIGHTS, st.integers(1, 20))
def test_values_never_rise_and_begin_with_the_best_score(seed: int, weight: float, num: int) -> None:
    items, scores, vectors = problem(seed)
    columns, values = select_diverse(items, scores, vectors, num, weight)
    assert (values[:, 1:] <= values[:, :-1]).all()
    assert (columns[:, 0] == 0).all()
    assert (values[:, 0] == scores[:, 0]).all()


@given(st.integers(0, 9999), st.integers(1, 20))
def test_a_weight_of_0_is_the_order_of_scores(seed: int, num: int) -> None:
    items, scores, vectors = problem(seed)
    columns, values = select_diverse(items, scores, vectors, num, 0.0)
    there = values > -np.inf
    assert (columns[there] == np.broadcast_to(np.arange(num), columns.shape)[there]).all()
    np.testing.assert_allclose(values, scores[:, :num], atol=1e-6)


@given(st.integers(0, 9999), WEIGHTS, st.floats(0.01, 1000), st.integers(-50, 50))
def test_the_scale_of_the_scores_does_not_matter(seed: int, weight: float, scale: float, shift: int) -> None:
    """By powers of 2 and whole numbers, under which floats keep their digits."""
    items, scores, vectors = problem(seed)
    columns, _ = select_diverse(items, scores, vectors, 10, weight)
    power = np.float32(2.0 ** np.floor(np.log2(scale)))
    scaled = scores * power
    assert (select_diverse(items, scaled, vectors, 10, weight)[0] == columns).all()
    shifted = (np.round(scores * 64) / 64).astype(np.float32)  # exact under a shift by whole numbers
    ordered, shifted = best_first(items, shifted)
    there = shifted > -np.inf
    first = select_diverse(ordered, shifted, vectors, 10, weight)[0]
    assert (select_diverse(ordered, np.where(there, shifted + shift, shifted), vectors, 10, weight)[0] == first).all()


@settings(max_examples=30)
@given(st.integers(0, 9999), WEIGHTS, st.sampled_from([1, 100, 2**12, 2**30]))
def test_blocks_and_other_users_change_nothing(seed: int, weight: float, cells: int) -> None:
    items, scores, vectors = problem(seed, num_users=7, dim=33)
    columns, values = select_diverse(items, scores, vectors, 10, weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_BLOCK_CELLS", cells)
        again = select_diverse(items, scores, vectors, 10, weight)
    np.testing.assert_array_equal(again[0], columns)
    np.testing.assert_array_equal(again[1], values)
    for user in range(len(items)):
        alone = select_diverse(items[user : user + 1], scores[user : user + 1], vectors, 10, weight)
        np.testing.assert_array_equal(alone[0][0], columns[user])
        np.testing.assert_array_equal(alone[1][0], values[user])


@given(st.integers(0, 999), st.sampled_from([1, 7, 128, 1000]))
def test_similarities_are_whole_steps_that_float32_adds_without_rounding(seed: int, dim: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(6, dim)).astype(np.float32)
    rounded = directions(vectors)
    whole = rounded.astype(np.int64)
    assert (np.abs(whole)[:, None] * np.abs(whole)[None]).sum(axis=2).max() < 2**24
    in_float32 = rounded.astype(np.float32) @ rounded.astype(np.float32).T
    np.testing.assert_array_equal(in_float32, whole @ whole.T)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(rounded), unit @ unit.T, atol=2e-3)


def intra_list_similarity(items: Ints, columns: Ints, directions: Directions) -> float:
    """Mean cosine of two items of a list, over users."""
    listed = np.take_along_axis(items, columns, 1)
    upper = np.triu_indices(columns.shape[1], 1)
    pairs = cosines(directions)[listed[:, :, None], listed[:, None, :]]
    return float(pairs[:, upper[0], upper[1]].mean())


@settings(max_examples=25)
@given(st.integers(0, 9999))
def test_a_larger_weight_does_not_make_lists_more_similar(seed: int) -> None:
    """Over 100 users; greedy choice promises it on average only."""
    items, scores, vectors = problem(seed, num_users=100, pool=40)
    items, scores = items[:, :20], scores[:, :20]  # where there is no hole
    similarities = [
        intra_list_similarity(items, select_diverse(items, scores, vectors, 8, weight)[0], vectors)
        for weight in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for lower, higher in itertools.pairwise(similarities):
        assert higher <= lower + 0.01
    assert similarities[2] < similarities[0] - 0.02, "half of the weight has an effect"


def test_twins_are_parted_and_equals_go_by_index() -> None:
    vectors = directions(np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 0]]))
    items = np.array([[0, 1, 2, 3]])
    columns, values = select_diverse(items, np.zeros((1, 4), np.float32), vectors, 4, 0.3)
    assert columns.tolist() == [[0, 2, 1, 3]], "equal scores are all relevant, so likeness decides"
    assert values.tolist() == [[0, 0, 0, 0]]
    scores = np.array([[0, -1, -2, -10]], dtype=np.float32)
    columns, values = select_diverse(items, scores, vectors, 4, 0.5)
    assert columns.tolist() == [[0, 2, 1, 3]]
    np.testing.assert_allclose(values, [[0, -1, -5.5, -10]])


def test_unlike_is_no_better_than_unrelated() -> None:
    """A cosine below 0 does not pay, else values could rise."""
    vectors = directions(np.array([[1.0, 0], [0, 1], [-1, 0]]))
    columns, _ = select_diverse(np.array([[0, 1, 2]]), np.zeros((1, 3), np.float32), vectors, 3, 1.0)
    assert columns.tolist() == [[0, 1, 2]]


def test_a_zero_vector_is_like_nothing() -> None:
    rounded = directions(np.array([[0.0, 0], [3, 4]]))
    assert rounded.tolist() == [[0, 0], [1229, 1638]]
    assert rounded.dtype == np.int16


@pytest.mark.parametrize(("users", "pool", "num"), [(0, 3, 2), (2, 0, 0), (2, 3, 0)])
def test_nothing_to_choose(users: int, pool: int, num: int) -> None:
    items, scores = np.full((users, pool), -1), np.full((users, pool), -np.inf, dtype=np.float32)
    columns, values = select_diverse(items, scores, directions(np.ones((1, 2))), num, 0.5)
    assert columns.shape == values.shape == (users, num)


def test_a_user_without_candidates_gets_none() -> None:
    items, scores = np.array([[-1, -1], [0, -1]]), np.array([[-np.inf] * 2, [-3.0, -np.inf]], dtype=np.float32)
    columns, values = select_diverse(items, scores, directions(np.ones((1, 2))), 2, 0.5)
    assert values.tolist() == [[-np.inf, -np.inf], [-3.0, -np.inf]]
    assert columns[1, 0] == 0
