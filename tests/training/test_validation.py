"""Validation ranks as lists do, by retrieval and by the candidate pass.

Shapes: B windows, L history length, C candidates, I items.
"""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from recsys.training import validation
from recsys.training.validation import validate, validate_candidate_pass
from recsys.training.window_batch import WindowBatch

NUM_ITEMS, LENGTH = 8, 3


class Fixed:
    """An engine that gives each window the logits written down for its last item: users are rows, items axes."""

    device = torch.device("cpu")

    def __init__(self, logits: Tensor, scored: Tensor | None = None):
        self.logits, self.scored, self.training, self.modes = logits, scored, True, list[bool]()

    def __call__(
        self, items: Tensor, _gaps: Tensor, _events: Tensor, candidates: Tensor | None = None, texts: None = None
    ) -> Any:
        assert texts is None
        self.modes.append(self.training or torch.is_grad_enabled())
        last = (items < NUM_ITEMS).sum(dim=1) - 1
        rows = items.gather(1, last[:, None]).squeeze(1)
        if candidates is None:
            return self.logits[rows], torch.eye(NUM_ITEMS)
        assert self.scored is not None
        padded = nn.functional.pad(self.scored, (0, 1), value=-torch.inf)
        return padded[rows].gather(1, candidates)

    def train(self, mode: bool = True) -> None:
        self.training = mode

    def eval(self) -> None:
        self.training = False

    def backward(self, _loss: Tensor) -> None:
        raise AssertionError("validation learns nothing")

    def step(self) -> None:
        raise AssertionError("validation learns nothing")


def batches(rows: list[list[int]], size: int) -> list[WindowBatch]:
    """Windows of these items, ``size`` of them at a time."""
    made = []
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        items, targets = torch.full((len(block), LENGTH), NUM_ITEMS), torch.full((len(block), LENGTH), -1)
        for place, row in enumerate(block):
            items[place, : len(row) - 1], targets[place, : len(row) - 1] = torch.tensor(row[:-1]), torch.tensor(row[1:])
        zeros = torch.zeros_like(items)
        made.append(WindowBatch(items=items, gaps=zeros, events=zeros, targets=targets, weights=zeros.float()))
    return made


def findable(rows: list[list[int]], exclude_history: bool) -> list[list[int]]:
    """The windows whose target may be in a list."""
    found = [row for row in rows if not exclude_history or row[-1] not in row[:-1]]
    assume(found)
    return found


def ndcg(logits: list[float], row: list[int], exclude_history: bool, k: int) -> float:
    """NDCG@k of one window, the list written out: best score first, equals by index."""
    wanted, history = row[-1], set(row[:-1]) if exclude_history else set()
    ranked = sorted(range(len(logits)), key=lambda item: (-logits[item], item))
    place = [item for item in ranked if item not in history].index(wanted) + 1
    return 1 / math.log2(place + 1) if place <= k else 0.0


sequences = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), min_size=2, max_size=LENGTH + 1), min_size=1, max_size=9)
tables = st.lists(
    st.lists(st.integers(-3, 3), min_size=NUM_ITEMS, max_size=NUM_ITEMS), min_size=NUM_ITEMS, max_size=NUM_ITEMS
)


@given(sequences, tables, st.booleans(), st.integers(1, 10), st.integers(1, 4))
def test_validation_equals_the_plain_way(
    rows: list[list[int]], table: list[list[int]], exclude_history: bool, k: int, size: int
) -> None:
    rows = findable(rows, exclude_history)
    model = Fixed(torch.tensor(table, dtype=torch.float32))
    found = validate(model, batches(rows, size), NUM_ITEMS, exclude_history, k)
    values = [ndcg([float(value) for value in table[row[-2]]], row, exclude_history, k) for row in rows]
    assert found == pytest.approx(sum(values) / len(values), abs=1e-6)
    assert not any(model.modes)


def candidate_pass_ndcg(
    logits: list[int], scored: list[int], row: list[int], exclude_history: bool, num_candidates: int, k: int
) -> float:
    """NDCG@k of one window: the best candidates by the one table, in the order of the other; equals by index."""
    wanted, history = row[-1], set(row[:-1]) if exclude_history else set()
    ranked = sorted(range(NUM_ITEMS), key=lambda item: -logits[item])
    candidates = [item for item in ranked if item not in history][:num_candidates]
    ranked = sorted(candidates, key=lambda item: (-scored[item], item))
    return 1 / math.log2(ranked.index(wanted) + 2) if wanted in ranked[:k] else 0.0


@given(sequences, tables, st.permutations(range(NUM_ITEMS)), st.booleans(), st.integers(1, 10), st.integers(1, 4))
def test_the_candidate_pass_ranking_equals_the_plain_way(
    rows: list[list[int]], table: list[list[int]], order: list[int], exclude_history: bool, num: int, k: int
) -> None:
    """Retrieval without ties, of which any may come in; the candidate pass may have them."""
    rows = findable(rows, exclude_history)
    logits = [[item + 10 * user % 7 for item in order] for user in range(NUM_ITEMS)]
    model = Fixed(torch.tensor(logits, dtype=torch.float32), torch.tensor(table, dtype=torch.float32))
    found = validate_candidate_pass(model, batches(rows, 2), NUM_ITEMS, exclude_history, num, k)
    values = [candidate_pass_ndcg(logits[row[-2]], table[row[-2]], row, exclude_history, num, k) for row in rows]
    assert found[1] == pytest.approx(sum(values) / len(values), abs=1e-6)
    assert found[0] == pytest.approx(validate(model, batches(rows, 3), NUM_ITEMS, exclude_history, k))
    assert not any(model.modes)


def test_without_windows_there_is_nothing_to_find() -> None:
    model = Fixed(torch.zeros(NUM_ITEMS, NUM_ITEMS))
    assert math.isnan(validate(model, [], NUM_ITEMS, exclude_history=True))
    assert all(map(math.isnan, validate_candidate_pass(model, [], NUM_ITEMS, True, 5)))


def test_blocks_of_users_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fixed(torch.randn(NUM_ITEMS, NUM_ITEMS, generator=torch.Generator().manual_seed(0)))
    rows = [[number % 8, (3 * number + 1) % 8] for number in range(11)]
    whole = validate(model, batches(rows, 11), NUM_ITEMS, exclude_history=False)
    monkeypatch.setattr(validation, "USER_BLOCK", 3)
    assert validate(model, batches(rows, 11), NUM_ITEMS, exclude_history=False) == whole
    assert 0 < whole < 1


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_model_that_fell_apart_does_not_look_good(value: float) -> None:
    """No number and nothing but equals: neither may put the wanted item first."""
    table = torch.full((NUM_ITEMS, NUM_ITEMS), value)
    data = batches([[0, 7]], 1)
    assert validate(Fixed(table), data, NUM_ITEMS, exclude_history=False, k=NUM_ITEMS - 1) == 0
    falling = torch.arange(NUM_ITEMS).float().expand(NUM_ITEMS, NUM_ITEMS)
    found = validate_candidate_pass(Fixed(falling, table), data, NUM_ITEMS, False, NUM_ITEMS, k=NUM_ITEMS - 1)
    assert found == (1, 0)
