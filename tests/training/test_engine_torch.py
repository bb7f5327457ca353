"""The engine of plain PyTorch computes what DeepSpeed computes on one worker, and continues from its checkpoints."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.ranker_spec import RankerSpec
from recsys.training.config import TrainConfig
from recsys.training.engine import Engine, open_engine
from recsys.training.loop import train_epoch
from recsys.training.objective import Objective, TrainableRanker
from recsys.training.phases import plan_training
from recsys.training.window_batch import WindowBatch
from tests.training.test_loop import CPU, windows

NUM_ITEMS, LENGTH = 12, 6
#: 20 windows: an epoch of 5 micro-batches of 4, the last ones of which do not complete an accumulation of 2 or 4.
ROWS = [[(start * 5 + step * (1 + start % 3)) % NUM_ITEMS for step in range(LENGTH + 1)] for start in range(20)]
DEFAULTS: dict[str, Any] = {"epochs": 4, "min_steps": 0, "learning_rate": 0.01, "engine": "torch"}
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {"batch_size": 4},
    "accumulation": {"batch_size": 8, "accumulation_steps": 2, "clip_norm": 0.1, "weight_decay": 0.3},
    "adversarial": {"batch_size": 4, "adversarial_epsilon": 0.5},
    "gbce": {"batch_size": 4, "objective": "gbce", "pointwise_negatives": 8},
    "rating": {"batch_size": 4, "objective": "rating", "rating_max": 1.0},
    "relative time": {"batch_size": 4, "learning_rate": 0.002},  # the time bias learns 30 times as fast
}


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What Ray Train makes for DeepSpeed, for this process alone."""
    file = tmp_path_factory.mktemp("group") / "group"
    before = dict(os.environ)
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)


def make_engine(train: TrainConfig, relative_time: bool = False) -> Engine:
    config = RankerConfig(hidden_size=16, layers=1, heads=2, dropout=0.1, id_dropout=0.1)
    spec = RankerSpec(
        num_items=NUM_ITEMS,
        text_dim=4,
        item_dim=16,
        num_event_kinds=1,
        decoder=decoder_config(config, LENGTH),
        dropout=config.dropout,
        id_dropout=config.id_dropout,
        logit_bias=train.objective != "softmax",
        relative_time=relative_time,
    )
    torch.manual_seed(0)
    counts = torch.ones(NUM_ITEMS, dtype=torch.int64)
    ranker = TrainableRanker(spec, torch.randn(NUM_ITEMS, 4), counts, Objective.of(train, exclude_seen=True))
    torch.nn.init.normal_(ranker.id_embedding.weight, std=0.02)  # AdamW blows up rounding where gradients begin near 0
    return open_engine(ranker, train, 0.0, plan_training(train, len(ROWS), 0).rate)


def train_epochs(engine: Engine, train: TrainConfig, epochs: int, first: int = 0) -> list[float]:
    """The losses; candidates are trained too."""
    table = windows(ROWS, LENGTH)
    size = train.micro_batch_size
    batches = [WindowBatch.of(table.slice(start, size), NUM_ITEMS, CPU) for start in range(0, len(ROWS), size)]
    if "time_bias" in weights_of(engine):  # without time between events it has no gradient but rounding
        for batch in batches:
            batch.gaps[:, 1:] = 1 + 7 * (batch.items[:, 1:] % 3)
    losses = []
    for epoch in range(first, first + epochs):
        torch.manual_seed(epoch)
        adversarial = train.adversarial_epsilon > 0
        losses.append(train_epoch(engine, batches, listwise=True, adversarial=adversarial)["loss"])
    return losses


def weights_of(engine: Engine) -> dict[str, torch.Tensor]:
    ranker: TrainableRanker = engine.model  # type: ignore[attr-defined]
    return {name: tensor.clone() for name, tensor in ranker.whole_weights().items()}


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_both_engines_learn_the_same(name: str, process_group: None) -> None:
    found = {}
    for engine in ("torch", "deepspeed"):
        train = TrainConfig(**DEFAULTS | {"engine": engine} | TRAININGS[name])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # DeepSpeed and what it imports warn of their own use of torch
            made = make_engine(train, name == "relative time")
            found[engine] = train_epochs(made, train, 4), weights_of(made)
    losses, weights = found["torch"]
    assert losses[-1] < losses[0] - 0.1
    assert losses == pytest.approx(found["deepspeed"][0], rel=1e-4)
    for key, expected in found["deepspeed"][1].items():
        torch.testing.assert_close(weights[key], expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", sorted(TRAININGS))
def test_training_continues_from_a_checkpoint_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    # in a step that a checkpoint interrupts, gradients are lost: this one comes after a complete step
    train = TrainConfig(**DEFAULTS | TRAININGS[name])
    engine = make_engine(train, name == "relative time")
    train_epochs(engine, train, 2)
    engine.save(tmp_path)
    expected = train_epochs(engine, train, 2, first=2)
    again = make_engine(train, name == "relative time")
    train_epochs(again, train, 1)
    again.load(tmp_path)
    assert train_epochs(again, train, 2, first=2) == expected


def test_the_schedule_continues_from_a_step() -> None:
    engine = make_engine(TrainConfig(epochs=4, min_steps=0, batch_size=4, learning_rate=0.01, engine="torch"))
    schedule = plan_training(TrainConfig(epochs=4, min_steps=0, batch_size=4), len(ROWS), 0).rate
    for step in (0, 7, 19):
        engine.go_to_step(step)
        rates = [group["lr"] for group in engine.optimizer.param_groups]  # type: ignore[attr-defined]
        assert rates == pytest.approx([0.01 * schedule(step)])
