"""Changed windows: what each way may change and what it must leave.

Shapes: B windows, L history length, I items.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recsys.training.augment import augment, crop, mask, reorder
from recsys.training.config import Augmentation
from recsys.training.window_batch import WindowBatch

NUM_ITEMS, LENGTH = 100, 8
GRIDS = ("items", "gaps", "events", "targets", "weights")
KINDS: tuple[Augmentation, ...] = ("crop", "mask", "reorder")


def make_batch(counts: list[int]) -> WindowBatch:
    """Windows with these numbers of targets; every event has an item, a kind, a gap and a weight of its own.

    Event e of a window has the item e, the kind 20 + e and the weight 40 + e; the gap of slot s is 60 + s.
    """
    items, gaps = torch.full((len(counts), LENGTH), NUM_ITEMS), torch.zeros(len(counts), LENGTH, dtype=torch.int64)
    events, targets, weights = gaps.clone(), torch.full_like(items, -1), gaps.float()
    for row, count in enumerate(counts):
        slots = torch.arange(count)
        items[row, :count], targets[row, :count] = slots, slots + 1
        events[row, :count], weights[row, :count], gaps[row, 1:count] = slots + 20, slots + 41.0, slots[1:] + 60
    return WindowBatch(items=items, gaps=gaps, events=events, targets=targets, weights=weights)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(row: Tensor, padding: float) -> list[int]:
    """Values before the padding, which is all that follows."""
    values: list[int] = row.tolist()
    kept = [value for value in values if value != padding]
    assert values[: len(kept)] == kept
    return kept


counts_of_windows = st.lists(st.integers(1, LENGTH), min_size=1, max_size=5)
shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 999)


def same(first: WindowBatch, second: WindowBatch) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in GRIDS)


@given(counts_of_windows, shares, seeds)
def test_a_crop_is_a_stretch_of_the_window(counts: list[int], share: float, seed: int) -> None:
    batch = crop(make_batch(counts), NUM_ITEMS, share, drawn(seed))
    for row, count in enumerate(counts):
        items, targets = filled(batch.items[row], NUM_ITEMS), filled(batch.targets[row], -1)
        kept = len(items)
        assert kept == max(1, -int(-count * (1 - share) // 1))
        start = items[0]
        assert 0 <= start <= count - kept
        assert items == list(range(start, start + kept))
        assert targets == [item + 1 for item in items]
        assert batch.events[row, :kept].tolist() == [item + 20 for item in items]
        assert batch.weights[row, :kept].tolist() == [item + 41 for item in items]
        assert batch.gaps[row, :kept].tolist() == [0, *(item + 60 for item in items[1:])]
        assert not batch.gaps[row, kept:].any()
        assert not batch.events[row, kept:].any()
        assert not batch.weights[row, kept:].any()


@given(counts_of_windows, shares, seeds)
def test_a_mask_hides_items_and_nothing_else(counts: list[int], share: float, seed: int) -> None:
    before = make_batch(counts)
    batch = mask(before, NUM_ITEMS, share, drawn(seed))
    assert ((batch.items == before.items) | (batch.items == NUM_ITEMS)).all()
    assert all(torch.equal(getattr(batch, name), getattr(before, name)) for name in GRIDS[1:])


@given(counts_of_windows, shares, seeds)
def test_reordered_events_keep_their_ends_and_their_targets(counts: list[int], share: float, seed: int) -> None:
    before = make_batch(counts)
    batch = reorder(before, share, drawn(seed))
    assert torch.equal(batch.gaps, before.gaps)
    for row, count in enumerate(counts):
        items, targets = filled(batch.items[row], NUM_ITEMS), filled(batch.targets[row], -1)
        assert sorted(items) == list(range(count))
        assert (items[0], targets[-1]) == (0, count)
        assert targets[:-1] == items[1:], "a target is the item that comes next"
        assert batch.events[row, :count].tolist() == [item + 20 for item in items]
        assert batch.weights[row, :count].tolist() == [target + 40 for target in targets]
        moved = [place for place, item in enumerate(items) if place != item]
        assert not moved or moved[-1] - moved[0] < count * share


def test_every_order_and_every_place_can_come_out() -> None:
    orders = {tuple(reorder(make_batch([5]), 0.61, drawn(seed)).items[0, :5].tolist()) for seed in range(300)}
    stretches = [(1, 2, 3), (2, 3, 4)]
    expected = set()
    for stretch in stretches:
        for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
            items = list(range(5))
            items[stretch[0] : stretch[-1] + 1] = [stretch[place] for place in order]
            expected.add(tuple(items))
    assert orders == expected
    starts = {crop(make_batch([5]), NUM_ITEMS, 0.5, drawn(seed)).items[0, 0].item() for seed in range(100)}
    assert starts == {0, 1, 2}
    hidden = [mask(make_batch([8] * 50), NUM_ITEMS, 0.3, drawn(seed)).items == NUM_ITEMS for seed in range(20)]
    torch.testing.assert_close(torch.stack(hidden).float().mean(dim=(0, 1)), torch.full((8,), 0.3), atol=0.05, rtol=0)


@given(counts_of_windows, st.sampled_from([*[(kind,) for kind in KINDS], KINDS]), seeds)
def test_draws_are_seeded_and_the_batch_is_left_as_it_is(
    counts: list[int], kinds: tuple[Augmentation, ...], seed: int
) -> None:
    batch = make_batch(counts)
    never = augment(batch, NUM_ITEMS, kinds, 0.0, 0.5, drawn(seed))
    assert same(never, batch)
    always = augment(batch, NUM_ITEMS, kinds, 1.0, 0.5, drawn(seed))
    assert same(always, augment(batch, NUM_ITEMS, kinds, 1.0, 0.5, drawn(seed)))
    assert same(batch, make_batch(counts)), "the batch itself was changed"


@pytest.mark.parametrize("probability", [0.3, 0.8])
def test_each_way_has_its_share(probability: float) -> None:
    """Long windows, of which every crop is shorter, every mask hides something and nearly every order is another."""
    before = make_batch([LENGTH] * 4000)
    batch = augment(before, NUM_ITEMS, KINDS, probability, 0.75, drawn(0))
    cropped = (batch.targets < 0).any(dim=1)
    masked = (batch.items == NUM_ITEMS).any(dim=1) & ~cropped
    reordered = (batch.targets != before.targets).any(dim=1) & ~cropped
    for way in (cropped, masked, reordered):
        assert way.float().mean().item() == pytest.approx(probability / 3, abs=0.03)
    assert not (masked & reordered).any()
