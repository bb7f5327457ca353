"""Samples of a catalog: who is in them, under which index, and how likely that was.

Shapes: B windows, L history length, I items.
"""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.model.sampling import draw_sample


def batch(sequences: list[list[int]], num_items: int, width: int) -> tuple[Tensor, Tensor]:
    """Items and targets of windows over these sequences, as the loop makes them."""
    items = torch.full((len(sequences), width), num_items)
    targets = torch.full((len(sequences), width), -1)
    for row, sequence in enumerate(sequences):
        items[row, : len(sequence) - 1] = torch.tensor(sequence[:-1])
        targets[row, : len(sequence) - 1] = torch.tensor(sequence[1:])
    return items, targets


sequences = st.lists(st.lists(st.integers(0, 49), min_size=2, max_size=6), min_size=1, max_size=5)


@given(sequences, st.integers(1, 60), st.integers(0, 99))
def test_the_batch_is_in_the_sample_under_its_new_indices(rows: list[list[int]], num: int, seed: int) -> None:
    items, targets = batch(rows, 50, 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sample = draw_sample(items, targets, torch.ones(50, dtype=torch.int64), num)
    assert sample.rows.tolist() == sorted(set(sample.rows.tolist()))
    assert len(sample.rows) == 50 if num >= 50 else len(sample.rows) <= num + len({i for row in rows for i in row})
    back = torch.cat([sample.rows, torch.tensor([50])])
    assert torch.equal(back[sample.items], items)
    assert torch.equal(torch.where(sample.targets >= 0, back[sample.targets], -1), targets)
    assert sample.log_q.dtype == torch.float32
    assert (sample.log_q <= 0).all()


def test_all_that_is_known_is_sure_and_nothing_else_is_a_negative() -> None:
    items, targets = batch([[0, 1, 5]], 8, 4)
    sample = draw_sample(items, targets, torch.tensor([5, 1, 0, 0, 1, 1, 1, 0]), 5)
    assert sample.rows.tolist() == [0, 1, 4, 5, 6]
    assert not sample.log_q.any()


def test_an_items_probability_is_the_share_of_samples_it_is_in() -> None:
    """Batches drawn by popularity, as the formula supposes; what nobody took never comes in."""
    counts = torch.tensor([40, 20, 10, 10, 5, 5, 5, 5, 0, 0])
    generator, num_samples = torch.Generator().manual_seed(0), 4000
    found, expected = torch.zeros(10), torch.zeros(10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(num_samples):
            drawn = torch.multinomial(counts.float(), 8, replacement=True, generator=generator).reshape(2, 4)
            sample = draw_sample(drawn[:, :-1], drawn[:, 1:], counts, 3)
            found[sample.rows] += 1 / num_samples
            expected[sample.rows] = sample.log_q.exp()
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)
    assert 0.5 < expected[7] < 0.6 < 0.9 < expected[0]
    assert not found[8:].any()
