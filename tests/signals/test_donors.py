"""New items borrow from the nearest by text, and nobody else's weights change."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker import Ranker
from recsys.model.ranker_spec import RankerSpec
from recsys.schema import LENDERS
from recsys.signals import donors as cold
from recsys.signals.donors import SHARPNESS, SPELLING, Lending, find_lenders, strangers
from recsys.signals.neighbours import Neighbours
from recsys.signals.spelling import spellings

NUM_ITEMS, MOST = 14, 3
WORDS = ("lantern", "lanterns", "Tee", "灯籠", "фонарь", "")


@pytest.fixture(autouse=True)
def _few_lenders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "NUM_LENDERS", MOST)
    monkeypatch.setattr(cold, "_AT_A_TIME", 2)


@pytest.fixture
def ranker() -> Ranker:
    """Untrained, of six items that all are known."""
    config = RankerConfig(hidden_size=8, layers=1, heads=2)
    spec = RankerSpec(
        num_items=6,
        text_dim=3,
        item_dim=8,
        num_event_kinds=1,
        decoder=decoder_config(config, 4),
        dropout=0.0,
        id_dropout=0.0,
    )
    return Ranker(spec, torch.ones(6, 3), torch.ones(6, dtype=torch.bool)).eval()


def problem(seed: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Unit text vectors [I, 3], some of them empty, texts, and which items are new."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(NUM_ITEMS, 3)) * (random.random((NUM_ITEMS, 1)) < 0.9)
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    texts = [" ".join(random.choice(WORDS, size=2)) for _ in range(NUM_ITEMS)]
    return (vectors / norms).astype(np.float32), texts, random.random(NUM_ITEMS) < 0.4


def shares_of(table: pa.Table) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for row in table.to_pylist():
        found.setdefault(row["item"], {})[row["lender"]] = row["share"]
    return found


@given(st.integers(0, 999))
def test_lenders_are_the_likest_that_somebody_took(seed: int) -> None:
    vectors, texts, new = problem(seed)
    table = find_lenders(vectors, texts, new, ~new)
    assert table.schema.equals(LENDERS)
    found, spelled = shares_of(table), spellings(texts).toarray()
    likeness = vectors @ vectors.T + SPELLING * spelled @ spelled.T
    for item in range(NUM_ITEMS):
        near = {other: float(likeness[other, item]) for other in range(NUM_ITEMS) if not new[other]}
        best = sorted(near, key=lambda other: -near[other])[:MOST] if new[item] else []
        weights = {other: near[other] ** SHARPNESS for other in best if near[other] > 0.05}
        shares = found.get(item, {})
        assert set(weights) <= set(shares) <= {other for other in best if near[other] > 0}
        for other in weights:
            assert shares[other] == pytest.approx(weights[other] / sum(weights.values()), rel=1e-3, abs=1e-6)


@given(st.integers(0, 999))
def test_a_new_item_has_the_mean_of_what_its_lenders_have(seed: int) -> None:
    vectors, texts, new = problem(seed)
    table = find_lenders(vectors, texts, new, ~new)
    lending, found = Lending(table, NUM_ITEMS), shares_of(table)
    random = np.random.default_rng(seed)
    weights = random.random((NUM_ITEMS, NUM_ITEMS)) + 1j * random.random((NUM_ITEMS, NUM_ITEMS))
    weights[:, new] = 0  # nobody took them
    counts = random.integers(0, 50, (2, NUM_ITEMS)) * ~new
    richer = lending.neighbours(Neighbours(weights=sp.csr_array(weights.astype(np.complex64))))
    popular = np.expm1(lending.popularity(np.log1p(counts).astype(np.float32)))
    assert richer.weights.dtype == np.complex64
    for item in range(NUM_ITEMS):
        own = np.zeros(NUM_ITEMS)
        own[list(found.get(item, {}))] = list(found.get(item, {}).values())
        if item not in found:
            own[item] = 1
        np.testing.assert_allclose(richer.weights.toarray()[:, item], weights @ own, rtol=1e-4)
        np.testing.assert_allclose(popular[:, item], counts @ own, rtol=1e-3, atol=1e-3)
        assert lending.borrows[item] == (item in found)


def test_a_new_items_id_is_the_mean_of_its_lenders_ids(ranker: Ranker) -> None:
    num_items = ranker.spec.num_items
    ranker.known[0] = ranker.known[1] = False
    lenders = pa.Table.from_pylist(
        [{"lender": lender, "item": 0, "share": share} for lender, share in ((1, 0.5), (2, 0.25), (3, 0.25))], LENDERS
    )
    before = ranker.id_embedding.weight.detach().clone()
    Lending(lenders, num_items).id_embeddings(ranker)
    embedding = ranker.id_embedding.weight
    torch.testing.assert_close(embedding[0], (before[2] + before[3]) / 4, msg="item 1 has no id that anybody learned")
    assert torch.equal(embedding[1:], before[1:])
    assert ranker.known[0]
    assert not ranker.known[1]


@given(st.integers(0, 999))
def test_who_is_taken_for_new_borrows_from_the_others_and_loses_what_it_had(seed: int) -> None:
    vectors, texts, new = problem(seed)
    table = find_lenders(vectors, texts, ~new, ~new)
    lending, found = Lending(table, NUM_ITEMS), shares_of(table)
    assert not any(item in lenders or new[item] for item, lenders in found.items()), "none lends to itself"
    weights = np.random.default_rng(seed).random((NUM_ITEMS, NUM_ITEMS)).astype(np.complex64)
    richer = lending.neighbours(Neighbours(weights=sp.csr_array(weights)))
    assert richer.weights.has_sorted_indices
    for item, lenders in found.items():
        expected = weights[:, list(lenders)] @ np.array(list(lenders.values()))
        np.testing.assert_allclose(richer.weights.toarray()[:, item], expected, rtol=1e-4, atol=1e-6)


def test_some_known_items_are_taken_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.arange(NUM_ITEMS) % 3 > 0
    assert (strangers(known, 0) == known).all()
    monkeypatch.setattr(cold, "MOST_STRANGERS", 4)
    few = strangers(known, 0)
    assert few.sum() == 4
    assert not (few & ~known).any()
    assert (strangers(known, 0) == few).all()
    assert (strangers(known, 1) != few).any()


def test_where_nothing_is_new_or_all_is_nothing_is_lent() -> None:
    vectors, texts, _ = problem(0)
    for new in (np.zeros(NUM_ITEMS, dtype=bool), np.ones(NUM_ITEMS, dtype=bool)):
        assert len(find_lenders(vectors, texts, new, ~new)) == 0
