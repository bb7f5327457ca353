"""What holds for every registered metric. Shapes: U users, K length of the lists, I items."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import evaluation
from recsys.evaluation import metrics
from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.measure import exposure, hits_matrix
from recsys.evaluation.metrics.metric import AccuracyMetric, CatalogMetric, ListMetric, Metric
from recsys.evaluation.metrics.registry import METRICS, accuracy_metrics, catalog_metrics, list_metrics, parse_metric

NUM_ITEMS = 12
FACTS = ItemFacts(
    num_interactions=np.array([40, 30, 9, 8, 7, 6, 5, 3, 2, 1, 0, 0]),
    num_users=np.array([30, 30, 9, 8, 7, 6, 4, 3, 2, 1, 0, 0]),
    total_users=50,
    vectors=np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32),
)
ACCURACY, LISTS, CATALOG = (
    pytest.mark.parametrize("metric", found, ids=[metric.name for metric in found])
    for found in (accuracy_metrics(), list_metrics(), catalog_metrics())
)


@st.composite
def lists(draw: st.DrawFn) -> np.ndarray:
    """[U, K] lists of distinct items; some are short, some are empty."""
    num_users, width = draw(st.integers(0, 6)), draw(st.integers(0, NUM_ITEMS))
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    recommended = random.permuted(np.tile(np.arange(NUM_ITEMS), (num_users, 1)), axis=1)[:, :width]
    recommended[np.arange(width) >= random.integers(0, width + 1, size=(num_users, 1))] = -1
    return recommended.reshape(num_users, width)


def wanted(num_users: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [U + 1] and items of what the users want; some want nothing."""
    random = np.random.default_rng(seed)
    sets = [random.permutation(NUM_ITEMS)[: random.integers(0, 5)] for _ in range(num_users)]
    return np.cumsum([0, *map(len, sets)]), np.concatenate([np.zeros(0, dtype=np.int64), *sets])


@pytest.mark.parametrize("name", METRICS.names)
def test_a_metric_is_described(name: str) -> None:
    metric = METRICS[name]
    assert isinstance(metric, Metric)
    assert isinstance(metric, AccuracyMetric | ListMetric | CatalogMetric)
    assert metric.summary.endswith(".")
    examples = doctest.DocTestFinder(recurse=False).find(type(metric))
    assert any(example.examples for example in examples), f"the docstring of {type(metric).__name__} has no example"


@pytest.mark.parametrize(
    "module",
    [
        module.name
        for package in (evaluation, metrics)
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        if not module.ispkg
    ],
)
def test_examples_in_docstrings_hold(module: str) -> None:
    loaded = importlib.import_module(module)
    found = doctest.testmod(loaded)
    assert found.failed == 0
    assert found.attempted == Path(str(loaded.__file__)).read_text(encoding="utf-8").count(">>> ")


@ACCURACY
@given(recommended=lists(), seed=st.integers(0, 999), k=st.integers(1, 15))
def test_an_accuracy_metric(metric: AccuracyMetric, recommended: np.ndarray, seed: int, k: int) -> None:
    indptr, indices = wanted(len(recommended), seed)
    hits, num_relevant = hits_matrix(recommended, indptr, indices), np.diff(indptr)
    values = metric.values(hits, num_relevant, k)
    assert values.shape == (len(recommended),)
    assert values.dtype == np.float64
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    assert not values[~hits[:, :k].any(axis=1)].any(), "no hit, no value"
    assert (values[hits[:, :k].any(axis=1)] > 0).all()
    order = np.random.default_rng(seed).permutation(len(recommended))
    np.testing.assert_array_equal(metric.values(hits[order], num_relevant[order], k), values[order])
    for user in range(len(recommended)):
        one = slice(user, user + 1)
        np.testing.assert_array_equal(metric.values(hits[one], num_relevant[one], k), values[one])


@ACCURACY
@given(num_relevant=st.integers(1, 8), k=st.integers(1, 10))
def test_no_list_is_better_than_the_perfect_one(metric: AccuracyMetric, num_relevant: int, k: int) -> None:
    perfect = np.arange(8)[None] < num_relevant
    best = metric.values(perfect, np.array([num_relevant]), k)
    assert best[0] == pytest.approx(min(1.0, k / num_relevant) if metric.name == "recall" else 1.0)
    other = np.random.default_rng(k).permuted(perfect, axis=1)
    assert metric.values(other, np.array([num_relevant]), k)[0] <= best[0] + 1e-12


@LISTS
@given(recommended=lists(), seed=st.integers(0, 999))
def test_a_metric_of_lists(metric: ListMetric, recommended: np.ndarray, seed: int) -> None:
    values = metric.values(recommended, FACTS)
    assert values.shape == (len(recommended),)
    assert np.isfinite(values).all()
    assert not values[(recommended < 0).all(axis=1)].any(), "an empty list has 0"
    random = np.random.default_rng(seed)
    order = random.permutation(len(recommended))
    np.testing.assert_array_equal(metric.values(recommended[order], FACTS), values[order])
    shuffled = random.permuted(recommended, axis=1)
    np.testing.assert_allclose(metric.values(shuffled, FACTS), values, atol=1e-12, err_msg="the order of a list counts")


@CATALOG
@given(recommended=lists(), seed=st.integers(0, 999))
def test_a_metric_of_the_catalog(metric: CatalogMetric, recommended: np.ndarray, seed: int) -> None:
    shown = exposure(recommended, NUM_ITEMS)
    value = metric.value(shown)
    assert isinstance(value, float)
    assert -1e-12 <= value <= 1 + 1e-12
    order = np.random.default_rng(seed).permutation(NUM_ITEMS)
    assert metric.value(shown[order]) == pytest.approx(value)


@pytest.mark.parametrize("metric", accuracy_metrics(), ids=lambda metric: metric.name)
def test_a_metric_is_found_by_its_name(metric: AccuracyMetric) -> None:
    assert parse_metric(f"{metric.name}@20") == (metric, 20)
