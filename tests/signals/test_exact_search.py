"""Exact search equals brute force for blocks of all sizes, and keeps equal items in the order of the catalog."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.signals.exact_search import ItemIndex, products_with, retrieve
from recsys.signals.excluded import ExcludedItems
from recsys.signals.int8_vectors import Int8Vectors, multiplies_int8

Pair = tuple[int, int]

#: Older CPUs round int8 products; the product never screens there.
WITH_INT8 = multiplies_int8(torch.device("cpu"))
needs_int8 = pytest.mark.skipif(not WITH_INT8, reason="the CPU has no instructions for int8 products")


def problem(num_users: int, num_items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors of small integers: inner products are exact and many are equal."""
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randint(-2, 3, (rows, 3), generator=generator).float() for rows in (num_users, num_items))
    return users, items


def excluding(pairs: list[Pair]) -> ExcludedItems:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return ExcludedItems.of([(users, items)])


def brute_force(users: Tensor, items: Tensor, pairs: set[Pair], num_candidates: int) -> list[list[Pair]]:
    """For each user, item and logit of the best, equals by index."""
    logits = (users @ items.T).tolist()
    return [
        sorted(
            ((item, logit) for item, logit in enumerate(row) if (user, item) not in pairs),
            key=lambda found: (-found[1], found[0]),
        )[:num_candidates]
        for user, row in enumerate(logits)
    ]


@given(st.data())
def test_equals_brute_force(data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 25))
    users, items = problem(num_users, num_items, data.draw(st.integers(0, 99)))
    tile = data.draw(st.sampled_from([1, 2, 7])), data.draw(st.sampled_from([1, 2, 7, 8, 16, 1000]))
    num_candidates = data.draw(st.integers(1, 30))
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(-1, num_items - 1))
    pairs = data.draw(st.lists(pair, max_size=40)) if num_users else []
    found = retrieve(users, ItemIndex.of(items), excluding(pairs), num_candidates, tile)
    assert found.items.shape == found.logits.shape == (num_users, min(num_candidates, num_items))
    assert found.items.dtype == torch.int64
    expected = brute_force(users, items, set(pairs), num_candidates)
    for user in range(num_users):
        kept = found.logits[user].isfinite()
        rows = list(zip(found.items[user, kept].tolist(), found.logits[user, kept].tolist(), strict=True))
        assert rows == expected[user]
        assert kept.tolist() == sorted(kept.tolist(), reverse=True)
    found = retrieve(users, ItemIndex.of(items), excluding(pairs), num_candidates, tile, in_order=False)
    for user, (own, logits) in enumerate(zip(found.items.tolist(), found.logits.tolist(), strict=True)):
        best = {(item, logit) for item, logit in zip(own, logits, strict=True) if logit > -math.inf}
        assert best == set(expected[user]), "the same in any order"


@given(st.integers(1, 6), st.integers(1, 40), st.sampled_from([1, 5, 16, 64]), st.integers(0, 99))
def test_real_vectors_too(num_users: int, num_items: int, block: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randn(rows, 8, generator=generator) for rows in (num_users, num_items))
    found = retrieve(users, ItemIndex.of(items), ExcludedItems.none(), 10, (2, block))
    logits = users @ items.T
    torch.testing.assert_close(found.logits, logits.topk(min(10, num_items), dim=1).values)
    torch.testing.assert_close(found.logits, logits.gather(1, found.items))


def spread(generator: torch.Generator, rows: int) -> Tensor:
    return torch.randn(rows, 8, generator=generator)


def with_equals(generator: torch.Generator, rows: int) -> Tensor:
    return torch.randint(-2, 3, (rows, 8), generator=generator).float()


def close(generator: torch.Generator, rows: int) -> Tensor:
    """So close that rounding to bfloat16 hides the differences."""
    return 100 + 1e-2 * torch.randn(rows, 8, generator=generator)


def of_all_lengths(generator: torch.Generator, rows: int) -> Tensor:
    return torch.randn(rows, 8, generator=generator) * torch.randn(rows, 1, generator=generator).mul(3).exp()


def along_one_axis(generator: torch.Generator, rows: int) -> Tensor:
    """One dimension is a thousand times as long as the others, and one is the same everywhere."""
    vectors = torch.randn(rows, 8, generator=generator)
    vectors[:, 0] *= 1000
    vectors[:, 1] = 5
    return vectors


@pytest.mark.parametrize("screens", [pytest.param(True, marks=needs_int8), False])
@pytest.mark.parametrize("vectors", [spread, with_equals, close, of_all_lengths, along_one_axis])
@pytest.mark.parametrize(("num_items", "block"), [(300, 1000), (5_000, 2_000), (9_001, 100_000)])
def test_rounded_products_lose_none(
    vectors: Callable[[torch.Generator, int], Tensor], screens: bool, num_items: int, block: int
) -> None:
    """In a large catalog int8 products only tell which items are looked at; the lists are those of float32."""
    generator = torch.Generator().manual_seed(num_items)
    users, items = vectors(generator, 7), vectors(generator, num_items)
    left_out = torch.randint(0, num_items, (7, 40), generator=generator).numpy()
    excluded = ExcludedItems.of([(np.repeat(np.arange(7), 40), left_out.ravel())])
    index = dataclasses.replace(ItemIndex.of(items), rounded=Int8Vectors.of(items) if screens else None)
    found = retrieve(users, index, excluded, 5, (3, block))
    logits = users.double() @ items.double().T
    logits[torch.arange(7)[:, None], torch.from_numpy(left_out)] = -torch.inf
    best = logits.sort(dim=1, descending=True, stable=True)
    close_enough = {"rtol": 1e-6, "atol": 1e-5 * max(1.0, float(best.values[:, 0].max()) / 100)}
    torch.testing.assert_close(found.logits.double(), best.values[:, :5], **close_enough)
    torch.testing.assert_close(logits.gather(1, found.items), best.values[:, :5], **close_enough)
    if vectors is with_equals:
        assert torch.equal(found.items, best.indices[:, :5])


@needs_int8
@settings(max_examples=25)
@given(st.integers(1, 60_000), st.sampled_from([1, 2, 3, 7, 50]), st.integers(0, 99))
@example(50_000, 1, 0)
def test_rounded_products_are_for_catalogs_of_all_sizes(num_items: int, num_candidates: int, seed: int) -> None:
    """Groups of items are put together in equal numbers, whatever the size of the catalog."""
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randn(rows, 2, generator=generator) for rows in (2, num_items))
    index = dataclasses.replace(ItemIndex.of(items), rounded=Int8Vectors.of(items))
    found = retrieve(users, index, ExcludedItems.none(), num_candidates)
    best = (users @ items.T).topk(min(num_candidates, num_items), dim=1).values
    torch.testing.assert_close(found.logits, best)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_an_index_of_few_dimensions_is_exact(dimensions: int) -> None:
    """As the device screens by itself: torch multiplies int8 vectors of one dimension wrongly."""
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(rows, dimensions, generator=generator) for rows in (3, 5_000))
    found = retrieve(users, ItemIndex.of(items), ExcludedItems.none(), 20)
    torch.testing.assert_close(found.logits, (users @ items.T).topk(20, dim=1).values)


@needs_int8
def test_a_user_without_a_direction_has_the_first_items() -> None:
    """All products are 0 or not known; nothing may be lost by dividing by 0."""
    items = torch.randn(5_000, 4, generator=torch.Generator().manual_seed(0))
    items[:, 3] = 7
    index = dataclasses.replace(ItemIndex.of(items), rounded=Int8Vectors.of(items))
    users = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    found = retrieve(users, index, ExcludedItems.none(), 3)
    assert found.items[:2].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert torch.equal(found.logits[2], items[:, 0].topk(3).values)


def test_screening_stores_a_quarter_and_shares_the_vectors() -> None:
    items = torch.randn(1000, 16)
    index = dataclasses.replace(ItemIndex.of(items), rounded=Int8Vectors.of(items))
    assert index.rounded is not None
    assert 4 * index.rounded.numbers.nbytes == items.nbytes
    assert index.vectors.data_ptr() == items.data_ptr()


@needs_int8
@settings(max_examples=50)
@given(st.integers(2, 40), st.integers(1, 30), st.integers(0, 10_000), st.sampled_from([spread, close, of_all_lengths]))
def test_int8_products_are_within_their_bound(
    num_items: int, num_users: int, seed: int, vectors: Callable[[torch.Generator, int], Tensor]
) -> None:
    """The exactness of all lists stands on this bound."""
    generator = torch.Generator().manual_seed(seed)
    users, items = vectors(generator, num_users), vectors(generator, num_items)
    rounded = Int8Vectors.of(items)
    numbers, unit, error = rounded.read(users)
    products = numbers.double() @ rounded.numbers.double().T
    exact = (users.double() @ items.double().T) / unit
    centred = (exact - products) - (users.double() @ rounded.centre.double())[:, None] / unit
    assert (centred.abs() <= error * (1 + 1e-5) + 1e-3).all()


@pytest.mark.parametrize("block", [1, 3, 100])
def test_a_user_whose_items_are_all_excluded_has_nothing(block: int) -> None:
    users, items = problem(2, 9)
    everything = [(0, item) for item in range(9)]
    found = retrieve(users, ItemIndex.of(items), excluding(everything), 4, (1, block))
    assert (found.logits[0] == -torch.inf).all()
    assert found.logits[1].isfinite().all()


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_equals_at_the_cut_are_the_first(block: int) -> None:
    """`topk` alone keeps any of them; then a list would depend on the sizes of batches and blocks."""
    items = torch.ones(300, 4)
    items[::3] *= 2
    found = retrieve(torch.ones(2, 4), ItemIndex.of(items), excluding([(1, 3), (1, 1)]), 110, (2, block))
    doubles = list(range(0, 300, 3))
    singles = [item for item in range(300) if item % 3]
    assert found.items[0].tolist() == doubles + singles[:10]
    assert found.items[1].tolist() == [item for item in doubles if item != 3] + singles[1:12]


def test_a_catalog_without_items_has_no_candidates() -> None:
    found = retrieve(torch.ones(2, 3), ItemIndex.of(torch.ones(0, 3)), ExcludedItems.none(), 5)
    assert found.items.shape == found.logits.shape == (2, 0)


@given(st.integers(0, 99), st.integers(1, 7), st.integers(0, 9), st.sampled_from([torch.float32, torch.bfloat16]))
def test_inner_products_are_those_of_the_named_items(seed: int, users: int, width: int, precision: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, vectors = (torch.randn(num, 4, generator=generator).to(precision) for num in (users, 30))
    items = torch.randint(0, 30, (users, width), generator=generator)
    found = products_with(rows, vectors, items)
    expected = torch.einsum("bd,bcd->bc", rows.double(), vectors.double()[items])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
