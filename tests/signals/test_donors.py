"""Cold items get the average numbers of the items with the most similar text, and other items keep theirs."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker import Ranker, RankerSpec
from recsys.schema import DONORS, ITEM_NEIGHBOURS
from recsys.signals import donors as module
from recsys.signals.donors import SHARPNESS, Donors, find_donors
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import LoadedPopularity
from recsys.signals.products import unit_rows
from recsys.signals.ranker_evidence import imputed_ids
from tests.signals.world import NUM_ITEMS, draw_neighbours, matrices

MOST = 3


@pytest.fixture(autouse=True)
def _few_donors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUM_DONORS", MOST)
    monkeypatch.setattr(module, "_AT_A_TIME", 2)


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit text vectors [I, 3], some of them empty, and which items are cold."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(NUM_ITEMS, 3)) * (random.random((NUM_ITEMS, 1)) < 0.9)
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return (vectors / norms).astype(np.float32), random.random(NUM_ITEMS) < 0.4


def shares_of(table: pa.Table) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for row in table.to_pylist():
        found.setdefault(row["item"], {})[row["donor"]] = row["share"]
    return found


@given(st.integers(0, 999))
def test_donors_are_the_most_similar_items_that_somebody_took(seed: int) -> None:
    vectors, cold = problem(seed)
    table = find_donors(vectors, cold, ~cold)
    assert table.schema.equals(DONORS)
    found, similarity = shares_of(table), vectors @ vectors.T
    for item in range(NUM_ITEMS):
        near = {other: float(similarity[other, item]) for other in range(NUM_ITEMS) if not cold[other]}
        best = sorted(near, key=lambda other: -near[other])[:MOST] if cold[item] else []
        weights = {other: near[other] ** SHARPNESS for other in best if near[other] > 0}
        shares = found.get(item, {})
        # a similarity near 0 may be rounded to 0
        assert {other for other in weights if near[other] > 0.05} <= set(shares) <= set(weights)
        for other in shares:
            assert shares[other] == pytest.approx(weights[other] / sum(weights.values()), rel=1e-3, abs=1e-6)


@given(st.integers(0, 999))
def test_a_cold_item_has_the_average_of_its_donors(seed: int) -> None:
    vectors, cold = problem(seed)
    table = find_donors(vectors, cold, ~cold)
    donors, found = Donors(table, NUM_ITEMS), shares_of(table)
    random = np.random.default_rng(seed)
    neighbours, counts = draw_neighbours(random), random.integers(0, 50, (1, 2, NUM_ITEMS))
    before, after = matrices(neighbours), matrices(neighbours.impute(donors, NUM_ITEMS))
    popularity = np.log1p(counts).astype(np.float32)
    richer = LoadedPopularity(popularity, np.array([0]), ~cold).impute(donors).popularity
    for item in range(NUM_ITEMS):
        own = np.zeros(NUM_ITEMS)
        own[list(found.get(item, {}))] = list(found.get(item, {}).values())
        if item not in found:
            own[item] = 1
        np.testing.assert_allclose(after[:, :, item], before @ own, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(np.expm1(richer[0, :, item]), counts[0] @ own, rtol=1e-3, atol=1e-3)
        assert donors.is_cold[item] == (item in found)


@given(st.integers(0, 999))
def test_imputed_neighbours_are_sorted_and_distinct(seed: int) -> None:
    vectors, cold = problem(seed)
    donors = Donors(find_donors(vectors, cold, ~cold), NUM_ITEMS)
    found = draw_neighbours(np.random.default_rng(seed)).impute(donors, NUM_ITEMS)
    for item in range(NUM_ITEMS):
        others = found.others[found.starts[item] : found.starts[item + 1]].tolist()
        assert others == sorted(set(others))


@hypothesis_settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, NUM_ITEMS))
def test_an_item_leads_to_the_cold_items_with_the_largest_weights(seed: int, most: int) -> None:
    vectors, cold = problem(seed)
    donors = Donors(find_donors(vectors, cold, ~cold), NUM_ITEMS)
    neighbours = draw_neighbours(np.random.default_rng(seed))
    every, some = (matrices(neighbours.impute(donors, num)) for num in (NUM_ITEMS, most))
    for item in range(NUM_ITEMS):
        weights = np.where(donors.is_cold, every[:, item].sum(axis=0), 0)
        best = np.argsort(-weights, kind="stable")[:most]
        kept = ~donors.is_cold | np.isin(np.arange(NUM_ITEMS), best)
        np.testing.assert_array_equal(some[:, item], every[:, item] * kept)


def test_a_catalog_that_is_half_cold_has_no_more_pairs_than_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cold item has donors among popular items, to which nearly every item leads."""
    monkeypatch.setattr(module, "NUM_DONORS", 20)
    monkeypatch.setattr("recsys.signals.cold_neighbours._AT_A_TIME", 100)
    num_items, most, random = 600, 8, np.random.default_rng(0)
    vectors = unit_rows(random.normal(size=(num_items, 6)) + 1)
    cold = np.arange(num_items) % 2 == 1
    first = np.repeat(np.flatnonzero(~cold), most)
    other = 2 * (random.random(len(first)) ** 3 * num_items // 2).astype(np.int64)
    first, other = np.divmod(np.unique(first * num_items + other), num_items)
    weights = random.random((2, len(first)))
    columns = [first, other, *weights]
    table = pa.table(
        [pa.array(each).cast(field.type) for each, field in zip(columns, ITEM_NEIGHBOURS, strict=True)],
        schema=ITEM_NEIGHBOURS,
    )
    neighbours = Neighbours.from_table(table, num_items)
    donors = Donors(find_donors(vectors, cold, ~cold), num_items)
    imputed = neighbours.impute(donors, most)
    assert len(imputed.others) <= num_items * most
    assert np.bincount(imputed.others, minlength=num_items)[cold].any()
    assert len(neighbours.impute(donors, num_items).others) > 3 * num_items * most, "what it would be without a bound"


def test_without_cold_items_nothing_changes() -> None:
    neighbours = draw_neighbours(np.random.default_rng(0))
    same = neighbours.impute(Donors.none(NUM_ITEMS), 4)
    for part in ("starts", "others", "weights"):
        np.testing.assert_array_equal(getattr(same, part), getattr(neighbours, part))
    assert Neighbours.none(NUM_ITEMS).impute(Donors.none(NUM_ITEMS), 4).weights.shape == (0, 2)


def test_a_cold_items_id_is_the_average_of_its_donors_ids_and_the_ranker_stays() -> None:
    config = RankerConfig(hidden_size=8, layers=1, heads=2)
    decoder = decoder_config(config, 4)
    spec = RankerSpec(
        num_items=6, text_dim=3, item_dim=8, num_event_kinds=1, decoder=decoder, dropout=0.0, id_dropout=0.0
    )
    ranker = Ranker(spec, torch.ones(6, 3), torch.ones(6, dtype=torch.bool)).eval()
    ranker.known[0] = ranker.known[1] = False
    rows = [{"donor": donor, "item": 0, "share": share} for donor, share in ((1, 0.5), (2, 0.25), (3, 0.25))]
    before, known = ranker.id_embedding.weight.detach().clone(), ranker.known.clone()
    ids = imputed_ids(ranker, Donors(pa.Table.from_pylist(rows, DONORS), 6))
    torch.testing.assert_close(ids.embedding[0], (before[2] + before[3]) / 4, msg="item 1 has no trained id")
    assert torch.equal(ids.embedding[1:], before[1:])
    assert ids.known.tolist() == [True, False, True, True, True, True]
    assert torch.equal(ranker.id_embedding.weight, before)
    assert torch.equal(ranker.known, known)


@pytest.mark.parametrize("value", [False, True])
def test_where_no_item_or_every_item_is_cold_there_are_no_donors(value: bool) -> None:
    cold = np.full(NUM_ITEMS, value)
    assert len(find_donors(problem(0)[0], cold, ~cold)) == 0
