"""Text-EASE at its edges: catalogs without texts, with one text, of one item, and texts that many items share."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.signals.products import unit_rows
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.text_ease import L2, TextEase

Floats = npt.NDArray[np.float32]


def draw_texts(num_items: int, num_dims: int = 6, seed: int = 0) -> Floats:
    """Texts that lie near to each other, as those of an encoder do."""
    random = np.random.default_rng(seed)
    return unit_rows(random.normal(size=(num_items, num_dims)) + 3)


def history(*items: int) -> SparseRows:
    """One user who took these items, each with the same share."""
    rows = np.zeros(len(items), dtype=np.int64)
    return SparseRows.of(rows, np.array(items, dtype=np.int64), np.ones(len(items)), 1).shares()


def weights(model: TextEase, taken: SparseRows) -> Floats:
    """[I]."""
    return model.weights(taken, model.sum_up(taken), np.arange(len(model.rows))[None])[0]


@pytest.mark.parametrize(
    "texts",
    [
        np.zeros((4, 3), dtype=np.float32),
        np.tile(draw_texts(1), (5, 1)),
        draw_texts(1),
        np.concatenate([draw_texts(1, 3), np.zeros((2, 3), dtype=np.float32)]),
    ],
    ids=["no texts", "one text for all", "one item", "one item with a text"],
)
def test_where_no_text_differs_the_model_says_nothing(texts: Floats) -> None:
    model = TextEase.of(texts)
    assert not weights(model, history(0)).any()
    query = unit_rows(np.ones((1, texts.shape[1])))
    everything = np.arange(len(texts))[None]
    np.testing.assert_allclose(model.cosines(query, everything), query @ texts.T, atol=1e-6)
    assert np.isfinite(model.whitened(query)).all()


@pytest.mark.parametrize("num_items", [20, 500, 20_000])
def test_an_average_item_weighs_one_to_an_item_with_its_text(num_items: int) -> None:
    """In a catalog of any size: so weights that were fitted on one fit another."""
    texts = draw_texts(num_items // 2, seed=num_items)
    model = TextEase.of(np.concatenate([texts, texts]))
    to_twins = [weights(model, history(item))[item + len(texts)] for item in range(min(len(texts), 200))]
    assert np.mean(to_twins) == pytest.approx(1, abs=0.05)


def test_an_item_without_a_text_has_no_weight() -> None:
    texts = draw_texts(6)
    texts[2] = 0
    model = TextEase.of(texts)
    assert not weights(model, history(2)).any()
    assert weights(model, history(0, 1))[2] == 0


@given(st.integers(2, 40), st.sampled_from([1e-9, L2]), st.integers(0, 999))
def test_leverage_stays_below_one(num_items: int, l2: float, seed: int) -> None:
    """An item is never explained by itself alone, also where there are fewer items than dimensions and hardly any λ."""
    model = TextEase.of(draw_texts(num_items, 8, seed), l2)
    leverage = np.square((model.rows / model.gain[:, None]).astype(np.float64)).sum(axis=1)
    assert (leverage <= 1 / (1 + l2) + 1e-6).all()
    assert all(np.isfinite(part).all() for part in (model.rows, model.gain, model.own))


@given(st.integers(1, 40), st.integers(0, 999))
def test_cosines_are_those_of_the_text_vectors(num_items: int, seed: int) -> None:
    """They are computed from the model's rows, so that no second copy of the catalog is kept."""
    texts, queries = draw_texts(num_items, seed=seed), draw_texts(3, seed=seed + 1)
    texts[::3] = 0
    model = TextEase.of(texts)
    everything = np.tile(np.arange(num_items), (3, 1))
    np.testing.assert_allclose(model.cosines(queries, everything), queries @ texts.T, atol=2e-6)
    cosines = model.all_cosines(queries, model.unwhitened(queries) @ model.rows.T)
    np.testing.assert_allclose(cosines, queries @ texts.T, atol=2e-6)


def test_a_block_of_the_catalog_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = draw_texts(50)
    whole = TextEase.of(texts)
    monkeypatch.setattr("recsys.signals.text_ease._AT_A_TIME", 7)
    np.testing.assert_allclose(TextEase.of(texts).rows, whole.rows, rtol=1e-5, atol=1e-6)
