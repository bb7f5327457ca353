"""New items borrow from the nearest by text, and nobody else's weights change."""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.recommend.cold import Lending, find_lenders
from recsys.recommend.neighbours import Neighbours
from recsys.schema import LENDERS

NUM_ITEMS, SHARE = 14, 0.75


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit text vectors [I, 3], some of them empty, and which items are new."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(NUM_ITEMS, 3)) * (random.random((NUM_ITEMS, 1)) < 0.9)
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return (vectors / norms).astype(np.float32), random.random(NUM_ITEMS) < 0.4


def lenders_of(table: pa.Table) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for row in table.to_pylist():
        found.setdefault(row["item"], set()).add(row["lender"])
    return found


@given(st.integers(0, 999))
def test_the_lender_is_the_nearest_that_somebody_took(seed: int) -> None:
    vectors, cold = problem(seed)
    table = find_lenders(vectors, cold)
    assert table.schema.equals(LENDERS)
    found = lenders_of(table)
    for item in range(NUM_ITEMS):
        near = sorted(
            (other for other in range(NUM_ITEMS) if not cold[other]), key=lambda i: -vectors[i] @ vectors[item]
        )
        expected = {other for other in near[:1] if vectors[other] @ vectors[item] > 0} if cold[item] else set()
        assert found.get(item, set()) == expected


@given(st.integers(0, 999))
def test_a_new_item_has_a_share_of_what_its_lender_has(seed: int) -> None:
    vectors, cold = problem(seed)
    table = find_lenders(vectors, cold)
    lending, found = Lending(table, NUM_ITEMS, SHARE), lenders_of(table)
    random = np.random.default_rng(seed)
    weights = random.random((NUM_ITEMS, NUM_ITEMS)) + 1j * random.random((NUM_ITEMS, NUM_ITEMS))
    weights[:, cold] = 0  # nobody took them
    counts = random.integers(0, 50, (2, NUM_ITEMS)) * ~cold
    richer = lending.neighbours(Neighbours(weights=sp.csr_array(weights.astype(np.complex64))))
    popular = np.expm1(lending.popularity(np.log1p(counts).astype(np.float32)))
    assert richer.weights.dtype == np.complex64
    for item in range(NUM_ITEMS):
        own = sorted(found.get(item, set()))
        expected = SHARE * weights[:, own].mean(axis=1) if own else weights[:, item]
        np.testing.assert_allclose(richer.weights.toarray()[:, item], expected, rtol=1e-5)
        np.testing.assert_allclose(
            popular[:, item], SHARE * counts[:, own].mean(axis=1) if own else counts[:, item], rtol=1e-4
        )
        assert lending.borrows[item] == bool(own)


def test_a_share_of_0_lends_nothing() -> None:
    lending = Lending(find_lenders(*problem(0)), NUM_ITEMS, 0.0)
    weights = Neighbours(weights=sp.csr_array(np.ones((NUM_ITEMS, NUM_ITEMS), dtype=np.complex64)))
    assert (lending.neighbours(weights).weights != weights.weights).nnz == 0
    assert not lending.borrows.any()


def test_where_nothing_is_new_or_all_is_nothing_is_lent() -> None:
    vectors, _ = problem(0)
    for cold in (np.zeros(NUM_ITEMS, dtype=bool), np.ones(NUM_ITEMS, dtype=bool)):
        assert len(find_lenders(vectors, cold)) == 0
