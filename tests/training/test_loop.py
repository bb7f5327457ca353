"""The training loop with the engine of plain PyTorch: the losses fall.

Shapes: B windows, L history length, I items, D dimensions.
"""

import math
from typing import Any

import pyarrow as pa
import pytest
import torch

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker_spec import RankerSpec
from recsys.training import loop
from recsys.training.config import TrainConfig
from recsys.training.engine import parameter_groups
from recsys.training.engine_torch import TorchEngine
from recsys.training.examples import windows_schema
from recsys.training.loop import draw_positions, train_epoch
from recsys.training.objective import Objective, TrainableRanker
from recsys.training.validation import validate, validate_candidate_pass
from recsys.training.window_batch import WindowBatch

NUM_ITEMS, LENGTH = 8, 3
CPU = torch.device("cpu")


def windows(rows: list[list[int]], length: int = LENGTH) -> pa.Table:
    """Windows of these items, padded as `build_windows` pads."""
    table = {
        "items": [row + [-1] * (length + 1 - len(row)) for row in rows],
        "gaps": [[0] * length for _ in rows],
        "events": [[1] * (len(row) - 1) + [0] * (length + 1 - len(row)) for row in rows],
        "weights": [[1.0] * (len(row) - 1) + [0.0] * (length + 1 - len(row)) for row in rows],
    }
    return pa.table(table, schema=windows_schema(length))


def batches(rows: list[list[int]], size: int) -> list[WindowBatch]:
    table = windows(rows)
    return [WindowBatch.of(table.slice(start, size), NUM_ITEMS, CPU) for start in range(0, len(rows), size)]


def make_engine(**settings: Any) -> TorchEngine:
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
    train = TrainConfig(**{"learning_rate": 0.02, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        counts = torch.ones(NUM_ITEMS, dtype=torch.int64)
        ranker = TrainableRanker(spec, torch.randn(NUM_ITEMS, 4), counts, Objective.of(train, exclude_seen=True))
    return TorchEngine(ranker, parameter_groups(ranker, 1e-3, 0.0), train, constant_rate)


def constant_rate(_step: int) -> float:
    return 1.0


#: Who reads one item reads the next one after it.
ROUND = [[(start + step) % NUM_ITEMS for step in range(LENGTH + 1)] for start in range(NUM_ITEMS)]


def test_windows_become_histories_and_targets() -> None:
    batch = WindowBatch.of(pa.concat_tables([windows([[3, 4, 5, 6]]), windows([[7, 1]])]), NUM_ITEMS, CPU)
    assert batch.items.tolist() == [[3, 4, 5], [7, 8, 8]]
    assert batch.targets.tolist() == [[4, 5, 6], [1, -1, -1]]
    assert batch.events.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.weights.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert {grid.dtype for grid in (batch.items, batch.gaps, batch.events, batch.targets)} == {torch.int64}
    assert batch.weights.dtype == torch.float32


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_training_lowers_the_loss_and_raises_validation(accumulation_steps: int) -> None:
    engine = make_engine(accumulation_steps=accumulation_steps)
    data = batches(ROUND, 3)
    before = validate(engine, data, NUM_ITEMS, exclude_history=True, k=1)
    figures = [train_epoch(engine, data) for epoch in range(40)]
    assert figures[-1]["loss"] < 0.2 < 1 < figures[0]["loss"]
    assert figures[0]["windows"] == len(ROUND)
    assert figures[0]["windows_per_s"] > 0
    assert engine.model.training
    assert before < 1
    assert validate(engine, data, NUM_ITEMS, exclude_history=True, k=1) == 1
    assert not engine.model.training


def test_the_mean_loss_is_over_windows() -> None:
    engine = make_engine(learning_rate=1e-12)
    data = batches(ROUND, 3)
    losses = [engine(batch.items, batch.gaps, batch.events, targets=batch.targets).item() for batch in data]
    expected = sum(loss * len(batch.items) for loss, batch in zip(losses, data, strict=True)) / len(ROUND)
    assert train_epoch(engine, data)["loss"] == pytest.approx(expected, abs=1e-5)


def test_progress_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PROGRESS_S", -1.0)
    heard: list[tuple[int, float]] = []
    figures = train_epoch(make_engine(), batches(ROUND, 4), heard=lambda *told: heard.append(told))
    assert [windows for windows, _ in heard] == [4, 8]
    assert heard[-1][1] == pytest.approx(figures["loss"])


def test_an_epoch_without_windows_is_no_trouble() -> None:
    engine = make_engine()
    assert train_epoch(engine, [])["loss"] == 0
    assert math.isnan(validate(engine, [], NUM_ITEMS, exclude_history=True))


def test_weights_say_what_is_learned() -> None:
    """Of two windows that contradict each other, the one that weighs nothing is not learned."""
    rows = [[0, 1], [0, 2]]
    weights = pa.array([[1.0, 0, 0], [0.0, 0, 0]], pa.list_(pa.float32(), LENGTH))
    table = windows(rows).set_column(3, windows_schema(LENGTH).field("weights"), weights)
    data = [WindowBatch.of(table, NUM_ITEMS, CPU)]
    engine = make_engine()
    for _ in range(30):
        train_epoch(engine, data)
    engine.eval()
    with torch.no_grad():
        users, items = engine(data[0].items, data[0].gaps, data[0].events)
    assert ((users @ items.T).softmax(dim=1)[0, :3] > 0.5).tolist() == [False, True, False]


def test_the_listwise_phase_trains_the_candidate_pass() -> None:
    """Its loss falls, its head learns, and it ranks as well as retrieval; the first phase leaves it as it is."""
    engine = make_engine()
    data = batches(ROUND, 4)
    head = engine.model.get_parameter("candidate_head.weight")
    train_epoch(engine, data)
    assert not head.any()
    torch.manual_seed(0)
    figures = [train_epoch(engine, data, listwise=True) for _ in range(60)]
    assert figures[-1]["loss"] < 0.2 < 1 < figures[0]["loss"]
    assert head.any()
    assert validate_candidate_pass(engine, data, NUM_ITEMS, True, num_candidates=4, k=1) == (1, 1)


def test_positions_are_drawn_evenly_from_the_targets_that_count() -> None:
    targets = torch.tensor([[4, 5, 6], [1, -1, -1], [2, 3, -1], [4, 5, 6], [7, 8, -1]]).repeat(1000, 1)
    weights = torch.tensor([[1.0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 5, 0.1], [0, 0, 0]]).repeat(1000, 1)
    torch.manual_seed(0)
    drawn = draw_positions(targets, weights)
    counts = torch.stack([torch.bincount(drawn[row::5], minlength=3) for row in range(5)])
    expected = torch.tensor([[1000 / 3] * 3, [1000, 0, 0], [500, 500, 0], [0, 500, 500], [500, 500, 0]])
    torch.testing.assert_close(counts.float(), expected, atol=60, rtol=0)
    assert (counts > 0).equal(expected > 0)
    torch.manual_seed(0)
    assert torch.equal(draw_positions(targets, weights), drawn)


@pytest.mark.parametrize("listwise", [False, True])
def test_an_adversarial_pass_is_learned_beside_the_plain_one(listwise: bool) -> None:
    """Two micro-batches a step; the perturbed pass changes the weights, and the loss falls too."""
    engine = make_engine(adversarial_epsilon=2.0)
    plain = make_engine()
    data = batches(ROUND, 4)
    torch.manual_seed(0)
    figures = [train_epoch(engine, data, listwise=listwise, adversarial=True) for _ in range(60)]
    torch.manual_seed(0)
    for _ in range(60):
        train_epoch(plain, data, listwise=listwise)
    assert engine.micro_batches == 2 * plain.micro_batches
    assert figures[-1]["loss"] < 0.3 < 1 < figures[0]["loss"]
    assert validate(engine, data, NUM_ITEMS, exclude_history=True, k=1) == 1
    gates = [each.model.get_parameter("text_adapter.weight") for each in (engine, plain)]
    assert (gates[0] - gates[1]).abs().max() > 1e-3
