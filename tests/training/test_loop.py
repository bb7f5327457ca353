"""The loop with a plain PyTorch engine: loss falls, and validation ranks as lists do.

Shapes: B windows, L history length, I items, D dimensions.
"""

import logging
import math
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recsys.config import RankerConfig
from recsys.model.ranker import Ranker, RankerSpec, decoder_config
from recsys.training import loop
from recsys.training.examples import windows_schema
from recsys.training.loop import WindowBatch, fit_prior_weight, train_epoch, validate

NUM_ITEMS, LENGTH = 8, 3
CPU = torch.device("cpu")


class PlainEngine:
    """Backward, accumulate, clip and step, as DeepSpeed's engine does it, on one process."""

    device = CPU

    def __init__(self, model: nn.Module, learning_rate: float = 0.02, accumulation_steps: int = 1):
        self.model, self.accumulation_steps, self.micro_steps = model, accumulation_steps, 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)

    def __call__(self, *tensors: Tensor) -> Any:
        return self.model(*tensors)

    def backward(self, loss: Tensor) -> None:
        (loss / self.accumulation_steps).backward()

    def step(self) -> None:
        self.micro_steps += 1
        if self.micro_steps % self.accumulation_steps == 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def train(self, mode: bool = True) -> None:
        self.model.train(mode)

    def eval(self) -> None:
        self.model.eval()


class Fixed(nn.Module):
    """A ranker that gives each window the logits written down for its last item: users are rows, items axes."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits, self.modes, self.weight = logits, list[bool](), nn.Parameter(torch.zeros(1))

    def forward(self, items: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        self.modes.append(self.training or torch.is_grad_enabled())
        last = (items < self.logits.shape[1]).sum(dim=1) - 1
        return self.logits[items.gather(1, last[:, None]).squeeze(1)], torch.eye(self.logits.shape[1])


def windows(rows: list[list[int]], length: int = LENGTH) -> pa.Table:
    """Windows of these items, padded as `build_windows` pads."""
    table = {
        "items": [row + [-1] * (length + 1 - len(row)) for row in rows],
        "gaps": [[0] * length for _ in rows],
        "events": [[1] * (len(row) - 1) + [0] * (length + 1 - len(row)) for row in rows],
    }
    return pa.table(table, schema=windows_schema(length))


def batches(rows: list[list[int]], size: int) -> list[WindowBatch]:
    table = windows(rows)
    return [WindowBatch.of(table.slice(start, size), NUM_ITEMS, CPU) for start in range(0, len(rows), size)]


def make_engine(**settings: Any) -> PlainEngine:
    config = RankerConfig(hidden_size=16, layers=1, heads=2, dropout=0.0, id_dropout=0.0)
    spec = RankerSpec(
        num_items=NUM_ITEMS,
        text_dim=4,
        item_dim=16,
        num_event_kinds=1,
        decoder=decoder_config(config, LENGTH),
        dropout=0.0,
        id_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranker = Ranker(spec, torch.randn(NUM_ITEMS, 4), torch.ones(NUM_ITEMS, dtype=torch.bool))
    return PlainEngine(ranker, **settings)


#: Who reads one item reads the next one after it.
ROUND = [[(start + step) % NUM_ITEMS for step in range(LENGTH + 1)] for start in range(NUM_ITEMS)]


def test_windows_become_histories_and_targets() -> None:
    batch = WindowBatch.of(pa.concat_tables([windows([[3, 4, 5, 6]]), windows([[7, 1]])]), NUM_ITEMS, CPU)
    assert batch.items.tolist() == [[3, 4, 5], [7, 8, 8]]
    assert batch.targets.tolist() == [[4, 5, 6], [1, -1, -1]]
    assert batch.events.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert {grid.dtype for grid in (batch.items, batch.gaps, batch.events, batch.targets)} == {torch.int64}


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_training_lowers_the_loss_and_raises_validation(accumulation_steps: int) -> None:
    engine = make_engine(accumulation_steps=accumulation_steps)
    data = batches(ROUND, 3)
    before = validate(engine, data, NUM_ITEMS, exclude_history=True, k=1)
    figures = [train_epoch(engine, data, f"epoch {epoch}") for epoch in range(40)]
    assert figures[-1]["loss"] < 0.2 < 1 < figures[0]["loss"]
    assert figures[0]["windows"] == len(ROUND)
    assert figures[0]["windows_per_s"] > 0
    assert engine.model.training
    assert before < 1
    assert validate(engine, data, NUM_ITEMS, exclude_history=True, k=1) == 1
    assert not engine.model.training


def test_the_mean_loss_is_over_windows() -> None:
    engine = make_engine(learning_rate=0.0)
    data = batches(ROUND, 3)
    losses = [engine(batch.items, batch.gaps, batch.events, batch.targets).item() for batch in data]
    expected = sum(loss * len(batch.items) for loss, batch in zip(losses, data, strict=True)) / len(ROUND)
    assert train_epoch(engine, data, "epoch 1")["loss"] == pytest.approx(expected, abs=1e-5)


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(loop, "PROGRESS_S", -1.0)
    with caplog.at_level(logging.INFO):
        train_epoch(make_engine(), batches(ROUND, 4), "epoch 1")
    assert [record.getMessage().partition(", loss")[0] for record in caplog.records] == [
        "epoch 1: 4 windows",
        "epoch 1: 8 windows",
    ]


def test_an_epoch_without_windows_is_no_trouble() -> None:
    engine = make_engine()
    assert train_epoch(engine, [], "epoch 1")["loss"] == 0
    assert validate(engine, [], NUM_ITEMS, exclude_history=True) == 0


def ndcg(logits: list[float], row: list[int], exclude_history: bool, k: int) -> float:
    """NDCG@k of one window, the list written out: best score first, equals by index."""
    wanted, history = row[-1], set(row[:-1]) if exclude_history else set()
    ranked = sorted(range(len(logits)), key=lambda item: (-logits[item], item))
    place = [item for item in ranked if item == wanted or item not in history].index(wanted) + 1
    return 1 / math.log2(place + 1) if place <= k else 0.0


@given(
    st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), min_size=2, max_size=LENGTH + 1), min_size=1, max_size=9),
    st.lists(st.lists(st.integers(-3, 3), min_size=NUM_ITEMS, max_size=NUM_ITEMS), min_size=NUM_ITEMS,
             max_size=NUM_ITEMS),
    st.booleans(),
    st.integers(1, 10),
    st.integers(1, 4),
)  # fmt: skip
def test_validation_equals_the_plain_way(
    rows: list[list[int]], table: list[list[int]], exclude_history: bool, k: int, size: int
) -> None:
    model = Fixed(torch.tensor(table, dtype=torch.float32))
    found = validate(PlainEngine(model), batches(rows, size), NUM_ITEMS, exclude_history, k)
    values = [ndcg([float(value) for value in table[row[-2]]], row, exclude_history, k) for row in rows]
    assert found == pytest.approx(sum(values) / len(values), abs=1e-6)
    assert not any(model.modes)


def test_blocks_of_users_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fixed(torch.randn(NUM_ITEMS, NUM_ITEMS, generator=torch.Generator().manual_seed(0)))
    rows = [[number % 8, (3 * number + 1) % 8] for number in range(11)]
    whole = validate(PlainEngine(model), batches(rows, 11), NUM_ITEMS, exclude_history=False)
    monkeypatch.setattr(loop, "USER_BLOCK", 3)
    assert validate(PlainEngine(model), batches(rows, 11), NUM_ITEMS, exclude_history=False) == whole
    assert 0 < whole < 1


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_model_that_fell_apart_does_not_look_good(value: float) -> None:
    """No number and nothing but equals: neither may put the wanted item first."""
    model = Fixed(torch.full((NUM_ITEMS, NUM_ITEMS), value))
    assert validate(PlainEngine(model), batches([[0, 7]], 1), NUM_ITEMS, exclude_history=False, k=NUM_ITEMS - 1) == 0


def test_the_weight_of_a_prior_is_the_likeliest() -> None:
    """With equal logits and targets drawn as exp(prior) says, the weight is 1; with targets drawn evenly it is 0."""
    model = Fixed(torch.zeros(NUM_ITEMS, NUM_ITEMS))
    counts = [1, 2, 4, 8, 1, 1, 1, 1][:NUM_ITEMS]
    prior = torch.log(torch.tensor(counts, dtype=torch.float32))
    drawn = batches([[0, item] for item, count in enumerate(counts) for _ in range(count)], 50)
    even = batches([[0, item] for item in range(NUM_ITEMS)], 50)
    engine, weights = PlainEngine(model), (0.0, 0.5, 1.0, 1.5)
    assert fit_prior_weight(engine, drawn, NUM_ITEMS, False, prior, weights) == 1.0
    assert fit_prior_weight(engine, even, NUM_ITEMS, False, prior, weights) == 0.0
    assert fit_prior_weight(engine, [], NUM_ITEMS, False, prior, weights) == 0.0
