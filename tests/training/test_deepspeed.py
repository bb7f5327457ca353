"""The derived DeepSpeed config: it adds up, DeepSpeed takes it, and the schedule ends with the training."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import TrainConfig
from recsys.training.deepspeed import deepspeed_config, micro_batch_size, num_optimizer_steps


@st.composite
def trainings(draw: st.DrawFn) -> TrainConfig:
    """Settings whose batch divides among workers and accumulation steps, as `Config` demands."""
    workers, accumulation, micro = (draw(st.integers(1, 6)) for _ in range(3))
    return TrainConfig(
        epochs=draw(st.integers(1, 5)),
        batch_size=workers * accumulation * micro,
        num_workers=workers,
        accumulation_steps=accumulation,
        zero_stage=draw(st.integers(0, 3)),
        precision=draw(st.sampled_from(["fp32", "bf16", "fp16"])),
        warmup=draw(st.floats(0, 1)),
        clip_norm=draw(st.floats(0.01, 10)),
        learning_rate=draw(st.floats(1e-6, 1)),
    )


@given(trainings(), st.integers(0, 10_000))
def test_the_config_adds_up(train: TrainConfig, num_steps: int) -> None:
    config = deepspeed_config(train, num_steps)
    micro = config["train_micro_batch_size_per_gpu"]
    assert micro == micro_batch_size(train) >= 1
    assert config["train_batch_size"] == train.batch_size
    assert train.batch_size == micro * config["gradient_accumulation_steps"] * train.num_workers
    assert config["zero_optimization"]["stage"] == train.zero_stage
    assert {name for name in ("bf16", "fp16") if config[name]["enabled"]} == {train.precision} - {"fp32"}
    assert config["gradient_clipping"] == train.clip_norm
    assert config["optimizer"]["params"]["lr"] == train.learning_rate
    schedule = config["scheduler"]["params"]
    assert 1 <= schedule["warmup_num_steps"] <= schedule["total_num_steps"]
    assert schedule["warmup_num_steps"] == pytest.approx(train.warmup * num_steps, abs=1)


@given(trainings(), st.integers(1, 200))
def test_the_number_of_steps_is_that_of_an_engine(train: TrainConfig, num_windows: int) -> None:
    """Counted as DeepSpeed counts: micro-steps run on from epoch to epoch, each full accumulation is a step."""
    share, micro_steps, steps = num_windows // train.num_workers, 0, 0
    for _ in range(train.epochs):
        for _start in range(0, share, micro_batch_size(train)):
            micro_steps += 1
            steps += micro_steps % train.accumulation_steps == 0
    assert num_optimizer_steps(train, num_windows) == max(steps, 1)


@pytest.fixture(scope="module")
def runtime() -> Any:
    """DeepSpeed on the CPU; its import takes seconds and leaves warnings of its own."""
    import warnings

    os.environ["DS_ACCELERATOR"] = "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepspeed.runtime import config, lr_schedules
    return config, lr_schedules


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_deepspeed_takes_it(runtime: Any, zero_stage: int, precision: Any) -> None:
    train = TrainConfig(batch_size=12, accumulation_steps=3, zero_stage=zero_stage, precision=precision)
    taken = runtime[0].DeepSpeedConfig(deepspeed_config(train, 40))
    assert taken.zero_optimization_stage == zero_stage
    assert taken.train_micro_batch_size_per_gpu == 4
    assert taken.gradient_accumulation_steps == 3
    assert taken.gradient_clipping == 1.0
    assert (taken.bfloat16_config.enabled, taken.float16_config.enabled) == (precision == "bf16", precision == "fp16")
    assert (taken.optimizer_name, taken.scheduler_name) == ("adamw", "WarmupCosineLR")


@pytest.mark.parametrize(("num_steps", "warmup"), [(100, 0.05), (100, 0.0), (100, 1.0), (3, 0.5), (1, 0.05)])
def test_the_learning_rate_rises_and_ends_at_nothing(runtime: Any, num_steps: int, warmup: float) -> None:
    import torch

    train = TrainConfig(learning_rate=0.1, warmup=warmup)
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=train.learning_rate)
    settings = deepspeed_config(train, num_steps)["scheduler"]["params"]
    schedule = runtime[1].WarmupCosineLR(optimizer, **settings)
    rates = []
    for _ in range(max(num_steps, 3)):
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak == pytest.approx(warmup * num_steps, abs=2)
    assert 0 < max(rates) <= 0.1
    if warmup < 1:
        assert rates[-1] < 0.1 * train.learning_rate
