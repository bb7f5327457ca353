"""Retrieval equals brute force, whatever the blocks, and keeps equals in the order of the items."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.recommend.retrieve import Excluded, retrieve

Pair = tuple[int, int]


def problem(num_users: int, num_items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Vectors of small integers: inner products are exact and many are equal."""
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randint(-2, 3, (rows, 3), generator=generator).float() for rows in (num_users, num_items))
    return users, items


def excluding(pairs: list[Pair]) -> Excluded:
    users, items = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Excluded.of(users, items)


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
    found = retrieve(users, items, excluding(pairs), num_candidates, tile)
    assert found.items.shape == found.logits.shape == (num_users, min(num_candidates, num_items))
    assert found.items.dtype == torch.int64
    expected = brute_force(users, items, set(pairs), num_candidates)
    for user in range(num_users):
        kept = found.logits[user].isfinite()
        rows = list(zip(found.items[user, kept].tolist(), found.logits[user, kept].tolist(), strict=True))
        assert rows == expected[user]
        assert kept.tolist() == sorted(kept.tolist(), reverse=True)


@given(st.integers(1, 6), st.integers(1, 40), st.sampled_from([1, 5, 16, 64]), st.integers(0, 99))
def test_real_vectors_too(num_users: int, num_items: int, block: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    users, items = (torch.randn(rows, 8, generator=generator) for rows in (num_users, num_items))
    found = retrieve(users, items, Excluded.none(), 10, (2, block))
    logits = users @ items.T
    torch.testing.assert_close(found.logits, logits.topk(min(10, num_items), dim=1).values)
    torch.testing.assert_close(found.logits, logits.gather(1, found.items))


@pytest.mark.parametrize("block", [1, 3, 100])
def test_of_whom_all_is_excluded_has_nothing(block: int) -> None:
    users, items = problem(2, 9)
    everything = [(0, item) for item in range(9)]
    found = retrieve(users, items, excluding(everything), 4, (1, block))
    assert (found.logits[0] == -torch.inf).all()
    assert found.logits[1].isfinite().all()


def test_exclusions_of_no_item_are_ignored() -> None:
    excluded = Excluded.of(np.array([2, 0, 1, 0, 3]), np.array([5, -1, 0, 5, 2]))
    assert excluded.items.tolist() == [5, 0, 5, 2]
    assert excluded.users.tolist() == [2, 1, 0, 3]
    assert len(Excluded.none().items) == 0


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_equals_at_the_cut_are_the_first(block: int) -> None:
    """`topk` alone keeps any of them; then a list would hang on sizes of batches and blocks."""
    items = torch.ones(300, 4)
    items[::3] *= 2
    found = retrieve(torch.ones(2, 4), items, excluding([(1, 3), (1, 1)]), 110, (2, block))
    doubles = list(range(0, 300, 3))
    singles = [item for item in range(300) if item % 3]
    assert found.items[0].tolist() == doubles + singles[:10]
    assert found.items[1].tolist() == [item for item in doubles if item != 3] + singles[1:12]


def test_a_catalog_without_items_has_no_candidates() -> None:
    found = retrieve(torch.ones(2, 3), torch.ones(0, 3), Excluded.none(), 5)
    assert found.items.shape == found.logits.shape == (2, 0)
