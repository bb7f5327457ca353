"""The linear model is EASE: rows by hand, weights by the definition of what they minimise, and what is kept of them."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.schema import TRANSITIONS
from recsys.signals import ease as module
from recsys.signals.ease import add_products, ease_weights, strongest_weights, user_rows


def draw_rows(seed: int, users: int, items: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    return (random.random((users, items)) * (random.random((users, items)) < 0.4)).astype(np.float32)


matrices = st.builds(draw_rows, st.integers(0, 9999), st.integers(1, 12), st.integers(1, 7))


def test_a_users_item_counts_once_with_its_newest_age() -> None:
    users, items = np.array([0, 0, 0, 1, 1]), np.array([2, 0, 2, -1, 1])
    lasting, recent = user_rows(users, items, np.array([30.0, 20.0, 10.0, 5.0, -1.0]), 3, 10.0)
    assert lasting.toarray().tolist() == [[1, 0, 1], [0, 1, 0]]
    assert recent.toarray().tolist() == [[0.25, 0, 0.5], [0, 1, 0]]
    assert lasting.dtype == recent.dtype == np.float32


def test_nobody_and_nothing() -> None:
    nobody = user_rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 3, 10.0)[0]
    assert nobody.shape == (0, 3)
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
def test_weights_rebuild_each_item_from_the_others_with_least_squares(
    rows: npt.NDArray[np.float32], ridge: float
) -> None:
    """Column j is the ridge regression of item j on all the others: the definition, without the closed form."""
    weights = ease_weights(rows.T @ rows, ridge)
    assert weights.dtype == np.float32
    size = rows.shape[1]
    for item in range(size):
        others = np.arange(size) != item
        x, y = rows[:, others].astype(np.float64), rows[:, item]
        expected = np.linalg.solve(x.T @ x + ridge * np.eye(size - 1), x.T @ y)
        np.testing.assert_allclose(weights[others, item], expected, rtol=1e-3, atol=1e-5)
        assert weights[item, item] == 0


@given(matrices, st.integers(1, 4))
def test_the_largest_of_either_scale_are_kept(rows: npt.NDArray[np.float32], neighbours: int) -> None:
    lasting, recent = ease_weights(rows.T @ rows, 1.0), ease_weights(rows[::2].T @ rows[::2], 1.0)
    items = np.arange(rows.shape[1]) * 2 + 1
    table = strongest_weights(lasting, recent, items, neighbours)
    assert table.schema.equals(TRANSITIONS)
    found = {(row["item"], row["next"]): (row["lasting"], row["recent"]) for row in table.to_pylist()}
    assert list(found) == sorted(found)
    for place, item in enumerate(items):
        kept = [pair for pair in found if pair[0] == item]
        for scale, weights in enumerate((lasting, recent)):
            own = sorted((found[pair][scale] for pair in kept), reverse=True)[:neighbours]
            best = [value for value in sorted(weights[place].tolist(), reverse=True)[:neighbours] if value > 0]
            assert own[: len(best)] == pytest.approx(best)
            assert all(found[pair][scale] == max(weights[place, pair[1] // 2], 0) for pair in kept)
