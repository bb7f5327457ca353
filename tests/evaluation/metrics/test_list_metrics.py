"""Metrics of lists alone, compared with plain loops over their formulas."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.data.item_counts import head_items
from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.measure import exposure, measure_lists
from recsys.evaluation.metrics import intra_list_diversity
from recsys.evaluation.metrics.average_popularity import AveragePopularity
from recsys.evaluation.metrics.coverage import Coverage
from recsys.evaluation.metrics.gini import Gini
from recsys.evaluation.metrics.intra_list_diversity import IntraListDiversity
from recsys.evaluation.metrics.longtail_share import LongtailShare
from recsys.evaluation.metrics.novelty import Novelty

NUM_ITEMS, NUM_DIMENSIONS = 11, 3

lists = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, max_size=5), max_size=6)
per_item = arrays.arrays(np.int64, NUM_ITEMS, elements=st.integers(0, 9))
vectors = arrays.arrays(np.float32, (NUM_ITEMS, NUM_DIMENSIONS), elements=st.sampled_from([-2.0, -0.5, 0.0, 1.0, 3.0]))


def as_array(rows: list[list[int]], width: int = 5) -> np.ndarray:
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), width)


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def facts(counts=None, texts=None, total_users: int = 9) -> ItemFacts:
    counts = np.ones(NUM_ITEMS, dtype=np.int64) if counts is None else counts
    vectors = np.eye(len(counts), dtype=np.float32) if texts is None else texts
    return ItemFacts(num_interactions=counts, num_users=counts, total_users=total_users, vectors=vectors)


@given(lists, per_item)
def test_means_over_lists_are_those_of_the_papers(rows, counts):
    recommended, head = as_array(rows), head_items(counts)
    assert LongtailShare().values(recommended, facts(counts)).tolist() == pytest.approx(
        [mean(not head[item] for item in row) for row in rows]
    )
    assert AveragePopularity().values(recommended, facts(counts)).tolist() == pytest.approx(
        [mean(int(counts[item]) for item in row) for row in rows]
    )
    assert Novelty().values(recommended, facts(counts)).tolist() == pytest.approx(
        [mean(-math.log2(max(int(counts[item]), 1) / 9) for item in row) for row in rows]
    )


@given(lists, vectors)
def test_diversity_is_that_of_all_pairs(rows, texts):
    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        lengths = np.linalg.norm(one) * np.linalg.norm(other)
        return float(one @ other / lengths) if lengths else 0.0

    expected = [mean(1 - cosine(texts[i], texts[j]) for i, j in itertools.combinations(row, 2)) for row in rows]
    assert IntraListDiversity().values(as_array(rows), facts(texts=texts)).tolist() == pytest.approx(expected, abs=1e-6)


def test_diversity_does_not_depend_on_the_blocks(monkeypatch):
    random = np.random.default_rng(0)
    recommended = as_array([random.permutation(NUM_ITEMS)[:5].tolist() for _ in range(7)])
    texts = random.normal(size=(NUM_ITEMS, NUM_DIMENSIONS)).astype(np.float32)
    whole = IntraListDiversity().values(recommended, facts(texts=texts))
    monkeypatch.setattr(intra_list_diversity, "_VECTOR_CELLS", 2 * 5 * NUM_DIMENSIONS)  # two users at a time
    np.testing.assert_array_equal(IntraListDiversity().values(recommended, facts(texts=texts)), whole)
    monkeypatch.setattr(intra_list_diversity, "_VECTOR_CELLS", 1)
    np.testing.assert_array_equal(IntraListDiversity().values(recommended, facts(texts=texts)), whole)


@given(arrays.arrays(np.int64, st.integers(2, 8), elements=st.integers(0, 6)))
def test_gini_is_half_the_relative_mean_difference(shown):
    """Another definition: the mean difference of all pairs of distinct items, over twice the mean."""
    pairs = np.abs(shown[:, None] - shown).sum() / (len(shown) * (len(shown) - 1))
    assert Gini().value(shown) == pytest.approx(pairs / (2 * shown.mean()) if shown.any() else 0)
    assert -1e-12 < Gini().value(shown) < 1 + 1e-12


@pytest.mark.parametrize("shown", [[], [3], [0, 0]])
def test_gini_without_anything_unequal_is_zero(shown):
    assert Gini().value(np.array(shown, dtype=np.int64)) == 0


@given(lists)
def test_an_exposure_counts_every_place_once(rows):
    shown = exposure(as_array(rows), NUM_ITEMS)
    assert shown.tolist() == [sum(item in row for row in rows) for item in range(NUM_ITEMS)]
    assert Coverage().value(shown) == len({item for row in rows for item in row}) / NUM_ITEMS


def test_names_end_with_the_length_of_the_list():
    of_items = ItemFacts(
        num_interactions=np.array([6, 2, 0, 1, 1]),
        num_users=np.array([4, 2, 0, 1, 1]),
        total_users=4,
        vectors=np.eye(5, dtype=np.float32),
    )
    assert of_items.cold.tolist() == [False, False, True, False, False]
    measured = measure_lists(np.array([[0, 2], [1, 3]]), of_items)
    assert {name: values.tolist() for name, values in measured.items()} == {
        "longtail_share@2": [0.5, 1.0],
        "average_popularity@2": [3.0, 1.5],
        "novelty@2": [1.0, 1.5],
        "diversity@2": [1.0, 1.0],
    }
