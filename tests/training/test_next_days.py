"""Targets of the next days: what lies ahead of an event, and what is drawn from it.

Shapes: B windows, L history length.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.training.augment import augment
from recsys.training.examples import build_windows, windows_schema
from recsys.training.next_days import draw_targets, events_ahead
from recsys.training.window_batch import WindowBatch
from tests.training.test_augment import KINDS as AUGMENTATIONS
from tests.training.test_augment import LENGTH, drawn, make_batch
from tests.training.test_examples import ITEMS, KINDS, Event, as_table, shops

DAY = 86_400


@given(st.lists(st.lists(st.integers(0, 9 * DAY), max_size=8), max_size=4), st.integers(1, 9))
def test_events_ahead_equal_the_plain_way(users: list[list[int]], days: int) -> None:
    times = [sorted(user) for user in users]
    numbers = np.repeat(np.arange(len(times)), [len(user) for user in times])
    stamps = pa.chunked_array([pa.array([1_000_000 * second for user in times for second in user], pa.timestamp("us"))])
    expected = [
        sum(second <= later <= second + days * DAY for later in user[place + 1 :])
        for user in times
        for place, second in enumerate(user)
    ]
    assert events_ahead(numbers, stamps, days).tolist() == expected


@given(shops, st.integers(1, 5), st.integers(2, 12))
def test_windows_say_what_lies_ahead(users: list[list[Event]], length: int, max_events: int) -> None:
    """Everything else in them stays as it is."""
    table = as_table(users)
    plain = build_windows(table, ITEMS, KINDS, length, max_events)
    windows = build_windows(table, ITEMS, KINDS, length, max_events, target_days=1)
    assert windows.schema == windows_schema(length, with_ahead=True)
    assert windows.drop_columns("ahead").equals(plain)
    ahead = np.array(windows["ahead"].to_pylist(), dtype=np.int64).reshape(len(windows), length)
    targets = np.array(plain["items"].to_pylist(), dtype=np.int64).reshape(len(windows), length + 1)[:, 1:]
    assert (ahead[targets < 0] == 0).all()


def batch_of(counts: list[int], ahead: int) -> WindowBatch:
    """`make_batch`, where so many events are ahead of each."""
    batch = make_batch(counts)
    return replace(batch, ahead=torch.full_like(batch.targets, ahead))


@given(st.lists(st.integers(1, LENGTH), min_size=1, max_size=5), st.integers(0, LENGTH), st.integers(0, 99))
def test_a_target_is_one_of_those_ahead_with_its_weight(counts: list[int], ahead: int, seed: int) -> None:
    batch = batch_of(counts, ahead)
    found = draw_targets(batch, drawn(seed))
    for row, count in enumerate(counts):
        for place in range(LENGTH):
            target = found.targets[row, place].item()
            if place >= count:
                assert (target, found.weights[row, place]) == (-1, 0)
                continue
            assert place + 1 <= target <= min(place + max(ahead, 1), count)
            assert found.weights[row, place] == 40 + target
    assert torch.equal(found.items, batch.items)


def test_targets_are_drawn_evenly() -> None:
    batch = batch_of([LENGTH] * 3000, 4)
    counted = Counter(draw_targets(batch, drawn(0)).targets[:, 0].tolist())
    assert sorted(counted) == [1, 2, 3, 4]
    assert all(count == pytest.approx(750, rel=0.15) for count in counted.values())


@given(shops, st.integers(1, 5), st.integers(0, 99))
def test_windows_are_read_drawn_and_changed_in_turn(users: list[list[Event]], length: int, seed: int) -> None:
    """As a training worker does: every window keeps a target."""
    windows = build_windows(as_table(users), ITEMS, KINDS, length, 100, target_days=1)
    batch = WindowBatch.of(windows, len(ITEMS), torch.device("cpu"))
    rows = batch.at(torch.arange(len(batch)).flip(0))
    found = augment(draw_targets(rows, drawn(seed)), len(ITEMS), AUGMENTATIONS, 0.5, 0.5, drawn(seed))
    assert (found.targets >= 0).any(dim=1).all()
    assert (found.targets < len(ITEMS)).all()


def test_a_search_ahead_is_no_target() -> None:
    batch = batch_of([LENGTH], LENGTH)
    batch.targets[0, 1:] = -1
    batch.targets[0, -1] = 7
    assert set(draw_targets(batch, drawn(0)).targets[0].tolist()) <= {1, -1, 7}
    assert draw_targets(batch, drawn(0)).targets[0, 0] in (1, 7)
