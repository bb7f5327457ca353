"""EASE: rows made by hand, weights by the definition of what they minimise, and which of them are kept."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import ITEM_NEIGHBOURS, USER_ITEMS
from recsys.signals import ease as module
from recsys.signals.ease import (
    Ease,
    EaseConfig,
    add_products,
    ease_weights,
    most_shared_items,
    strongest_weights,
    user_items,
    user_rows,
)
from recsys.signals.signal import Counting
from recsys.signals.text_ease import TextEase
from tests.signals.world import Shards


def draw_rows(seed: int, users: int, items: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.random((users, items)) * (random.random((users, items)) < 0.4)).astype(np.float32)


def ages_and_weights(num: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.zeros(num), np.ones(num)


matrices = st.builds(draw_rows, st.integers(0, 9999), st.integers(1, 12), st.integers(1, 7))


def test_a_users_item_counts_once_with_its_newest_age() -> None:
    users, items = np.array([0, 0, 0, 1, 1]), np.array([2, 0, 2, -1, 1])
    table = user_items(users, items, np.array([30.0, 20.0, 10.0, 5.0, -1.0]), np.ones(5), 10.0)
    assert table.schema.equals(USER_ITEMS)
    all_time, decayed = user_rows(table, np.arange(3), 3)
    assert all_time.toarray().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert decayed.toarray().tolist() == [[0.25, 0, 0.5], [0, 1, 0]]
    assert all_time.dtype == decayed.dtype == np.float32


def test_a_users_item_has_the_root_of_its_largest_weight() -> None:
    users, items = np.array([0, 0, 0, 1]), np.array([1, 1, 0, 1])
    table = user_items(users, items, np.array([10.0, 0.0, 0.0, 0.0]), np.array([9.0, 1.0, 0.25, 1.0]), 10.0)
    all_time, decayed = user_rows(table, np.arange(2), 2)
    assert all_time.toarray().tolist() == [[0.5, 3], [0, 1]]
    assert decayed.toarray().tolist() == [[0.5, 1.5], [0, 1]], "9 a half-life ago has more weight than 1 today"


def test_the_items_that_most_users_took_beside_others_are_chosen() -> None:
    """Item 3 was taken most often, but never with another item: it can have no weight."""
    shards = [
        user_items(np.array(users), np.array(items), *ages_and_weights(len(users)), 10.0) for users, items in SHARDS
    ]
    assert most_shared_items(shards, 5, 2).tolist() == [0, 2]
    assert most_shared_items(shards[::-1], 5, 9).tolist() == [0, 1, 2]
    assert most_shared_items(shards, 5, 0).tolist() == []


SHARDS = [([0, 0, 1, 1], [2, 0, 2, 0]), ([0, 0, 1, 2, 3], [1, 0, 3, 3, 3])]


def test_no_user_and_no_item() -> None:
    nobody = user_items(np.zeros(0, np.int64), np.zeros(0, np.int64), *ages_and_weights(0), 10.0)
    assert user_rows(nobody, np.arange(3), 3)[0].shape == (0, 3)
    nothing = np.zeros((0, 0), dtype=np.float32)
    assert ease_weights(nothing, 1.0).shape == (0, 0)
    assert len(strongest_weights(nothing, nothing, np.zeros(0, np.int64), 5)) == 0


@given(matrices, st.integers(1, 3))
def test_products_add_up_over_users_and_columns(rows: npt.NDArray[np.float32], columns: int) -> None:
    total = np.zeros((rows.shape[1],) * 2, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COLUMNS", columns)
        for part in np.array_split(rows, 2):
            add_products(total, sp.csr_array(part))
    np.testing.assert_allclose(total, rows.T @ rows, rtol=1e-5, atol=1e-6)


@given(matrices, st.sampled_from([0.1, 1.0, 30.0]))
def test_weights_rebuild_each_item_from_the_others_with_least_squares(rows: npt.NDArray[np.float32], l2: float) -> None:
    """Column j is the l2 regression of item j on all the others: the definition, without the closed form."""
    weights = ease_weights(rows.T @ rows, l2)
    assert weights.dtype == np.float32
    size = rows.shape[1]
    for item in range(size):
        others = np.arange(size) != item
        x, y = rows[:, others].astype(np.float64), rows[:, item]
        expected = np.linalg.solve(x.T @ x + l2 * np.eye(size - 1), x.T @ y)
        np.testing.assert_allclose(weights[others, item], expected, rtol=1e-3, atol=1e-5)
        assert weights[item, item] == 0


@given(matrices, st.sampled_from([0.1, 1.0, 30.0]), st.floats(0, 1), st.integers(0, 99))
def test_texts_pull_the_weights_to_theirs(rows: npt.NDArray[np.float32], l2: float, share: float, seed: int) -> None:
    """Column j is the regression of item j whose penalty is, by a share, the distance from its column of UVᵀ."""
    size = rows.shape[1]
    left, right = np.random.default_rng(seed).normal(size=(2, size, 3))
    weights = ease_weights(rows.T @ rows, l2, (left, right), share)
    for item in range(size):
        others = np.arange(size) != item
        x, y, target = rows[:, others].astype(np.float64), rows[:, item], left[others] @ right[item]
        expected = np.linalg.solve(x.T @ x + l2 * np.eye(size - 1), x.T @ y + share * l2 * target)
        np.testing.assert_allclose(weights[others, item], expected, rtol=1e-3, atol=1e-4)
        assert weights[item, item] == 0


def test_texts_lead_to_items_that_nobody_took_together() -> None:
    """Users took items 0 and 2 or 1 and 3; items 0 and 1 have one text."""
    users, items = np.repeat(np.arange(8), 2), np.tile([0, 2, 1, 3], 4)
    counted = [user_items(users, items, *ages_and_weights(16), 10.0)]
    texts = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]

    def pairs(text_target: float) -> set[tuple[int, int]]:
        settings = EaseConfig(l2=1.0, text_target=text_target)
        counting = Counting(num_items=4, settings=settings, first_day=0, text_ease=lambda: TextEase.of(texts))
        (table,) = Ease().merge(Shards(counted), counting)
        return {(row["item"], row["other"]) for row in table.to_pylist() if row["all_time"] > 0}

    assert pairs(0.0) == {(0, 2), (2, 0), (1, 3), (3, 1)}
    assert pairs(0.5) >= {(0, 1), (1, 0)}


@given(matrices, st.integers(1, 4))
def test_the_largest_of_either_scale_are_kept(rows: npt.NDArray[np.float32], neighbours: int) -> None:
    all_time, decayed = ease_weights(rows.T @ rows, 1.0), ease_weights(rows[::2].T @ rows[::2], 1.0)
    items = np.arange(rows.shape[1]) * 2 + 1
    table = strongest_weights(all_time, decayed, items, neighbours)
    assert table.schema.equals(ITEM_NEIGHBOURS)
    found = {(row["item"], row["other"]): (row["all_time"], row["decayed"]) for row in table.to_pylist()}
    assert list(found) == sorted(found)
    for place, item in enumerate(items):
        kept = [pair for pair in found if pair[0] == item]
        for scale, weights in enumerate((all_time, decayed)):
            own = sorted((found[pair][scale] for pair in kept), reverse=True)[:neighbours]
            best = [value for value in sorted(weights[place].tolist(), reverse=True)[:neighbours] if value > 0]
            assert own[: len(best)] == pytest.approx(best)
            assert all(found[pair][scale] == max(weights[place, pair[1] // 2], 0) for pair in kept)
