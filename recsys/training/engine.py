"""What the training loop needs from an engine: forward, backward, optimiser steps, checkpoints."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recsys.model.history_states import HistoryTexts
from recsys.training.config import TrainConfig
from recsys.training.objective import TrainableRanker

#: Learning rate of a few numbers that are added to logits, as a multiple of that of other weights.
_FAST = 30.0
#: Step number, from 0 → share of the peak learning rate.
Schedule = Callable[[int], float]


class RankerCall(Protocol):
    """A ranker, or an engine around one: its forward pass and its mode."""

    def __call__(self, *tensors: Tensor, **named: Tensor | HistoryTexts | bool | None) -> Any:
        """Forward pass, see `TrainableRanker.forward`."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on."""

    def eval(self) -> Any:
        """Switch dropout off."""


class Engine(RankerCall, Protocol):
    """A model with its optimiser and its learning rate schedule, on one worker of a training."""

    device: torch.device

    def backward(self, loss: Tensor) -> Any:
        """Add the gradients of a micro-batch."""

    def step(self) -> Any:
        """Count a micro-batch; take an optimiser step if it completes an accumulation."""

    def save(self, folder: Path) -> None:
        """Write the state that `load` reads. Every worker calls this, with a folder of its own."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote: weights, optimiser and schedule."""

    def go_to_step(self, step: int) -> None:
        """Continue the learning rate schedule from this optimiser step."""

    def whole_weights(self) -> AbstractContextManager[Any]:
        """Inside of this context the ranker holds its whole weights on every worker."""


def open_engine(
    ranker: TrainableRanker, train: TrainConfig, encoder_learning_rate: float, schedule: Schedule
) -> Engine:
    """The engine of a ranker.

    Args:
        ranker: The model. The engine moves it to its device.
        train: The settings of the training.
        encoder_learning_rate: Peak learning rate of a text encoder that is trained with the ranker.
        schedule: Of the learning rate.
    """
    groups = parameter_groups(ranker, train.learning_rate, encoder_learning_rate)
    return engine_of(ranker, groups, train, schedule)


def engine_of(model: nn.Module, groups: list[dict[str, Any]], train: TrainConfig, schedule: Schedule) -> Engine:
    """The engine that the settings ask for, see `TrainConfig.uses_deepspeed`; ``groups`` are the parameter groups."""
    if train.uses_deepspeed:
        from recsys.training.engine_deepspeed import DeepSpeedEngine  # seconds to import

        return DeepSpeedEngine(model, groups, train, schedule)
    from recsys.training.engine_torch import TorchEngine

    return TorchEngine(model, groups, train, schedule)


def parameter_groups(
    ranker: TrainableRanker, learning_rate: float, encoder_learning_rate: float
) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser, some with a peak learning rate of their own.

    These are a text encoder that is trained, and numbers that belong into logits as they are: the bias and scale of
    `gbce`, and the time bias of attention. AdamW moves a weight by about the learning rate in a step, which is next to
    nothing for them. Until the bias of `gbce` fits, the item vectors would take its part: all of them would turn away
    from all users, and lose what they know.

    Args:
        ranker: The model.
        learning_rate: Peak learning rate of the others.
        encoder_learning_rate: Peak learning rate of the text encoder.
    """
    encoder = [] if ranker.encoder is None else [each for each in ranker.encoder.parameters() if each.requires_grad]
    fast = [ranker.logit_bias, ranker.log_scale] if ranker.objective.name == "gbce" else []
    fast += [ranker.time_bias] if ranker.spec.relative_time else []
    apart = {id(parameter) for parameter in (*encoder, *fast)}
    groups: list[dict[str, Any]] = [
        {"params": [each for each in ranker.parameters() if each.requires_grad and id(each) not in apart]}
    ]
    if encoder:
        groups.append({"params": encoder, "lr": encoder_learning_rate})
    if fast:
        groups.append({"params": fast, "lr": _FAST * learning_rate, "weight_decay": 0.0})
    return groups
