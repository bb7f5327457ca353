"""The derived DeepSpeed config: it adds up, and DeepSpeed takes it."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.training.config import TrainConfig
from recsys.training.engine_deepspeed import deepspeed_config


@st.composite
def trainings(draw: st.DrawFn) -> TrainConfig:
    """Settings whose batch divides among workers and accumulation steps, as `Config` demands."""
    workers, accumulation, micro = (draw(st.integers(1, 6)) for _ in range(3))
    return TrainConfig(
        batch_size=workers * accumulation * micro,
        num_workers=workers,
        accumulation_steps=accumulation,
        zero_stage=draw(st.integers(0, 3)),
        precision=draw(st.sampled_from(["auto", "fp32", "bf16", "fp16"])),
        clip_norm=draw(st.floats(0.01, 10)),
        learning_rate=draw(st.floats(1e-6, 1)),
        adversarial_epsilon=draw(st.sampled_from([0.0, 0.5])),
    )


@given(trainings())
def test_the_config_adds_up(train: TrainConfig) -> None:
    config = deepspeed_config(train)
    micro = config["train_micro_batch_size_per_gpu"]
    assert micro == train.micro_batch_size >= 1
    turns = 2 if train.adversarial_epsilon else 1  # a batch and its perturbed copy make one step
    assert config["gradient_accumulation_steps"] == train.accumulation_steps * turns
    assert config["train_batch_size"] == train.batch_size * turns
    assert config["train_batch_size"] == micro * config["gradient_accumulation_steps"] * train.num_workers
    assert config["zero_optimization"]["stage"] == train.zero_stage
    assert {name for name in ("bf16", "fp16") if config[name]["enabled"]} == {train.precision} - {"auto", "fp32"}
    assert config["gradient_clipping"] == train.clip_norm
    assert config["optimizer"]["params"]["lr"] == train.learning_rate


@pytest.fixture(scope="module")
def runtime() -> Any:
    """DeepSpeed on the CPU; its import takes seconds and leaves warnings of its own."""
    import warnings

    os.environ["DS_ACCELERATOR"] = "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepspeed.runtime import config
    return config


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_deepspeed_takes_it(runtime: Any, zero_stage: int, precision: Any) -> None:
    train = TrainConfig(batch_size=12, accumulation_steps=3, zero_stage=zero_stage, precision=precision)
    taken = runtime.DeepSpeedConfig(deepspeed_config(train))
    assert taken.zero_optimization_stage == zero_stage
    assert taken.train_micro_batch_size_per_gpu == 4
    assert taken.gradient_accumulation_steps == 3
    assert taken.gradient_clipping == 1.0
    assert (taken.bfloat16_config.enabled, taken.float16_config.enabled) == (precision == "bf16", precision == "fp16")
    assert (taken.optimizer_name, taken.scheduler_name) == ("adamw", None)
