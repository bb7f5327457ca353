"""Training on one worker by plain PyTorch: no process group, no compilation at start.

It computes what `engine_deepspeed` computes with one worker, to float32 rounding; a test compares them.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recsys.model.history_states import HistoryTexts
from recsys.training.config import TrainConfig
from recsys.training.engine import Schedule

STATE_FILE = "engine.pt"


class TorchEngine:
    """AdamW (Loshchilov & Hutter, 2019) with clipping and accumulation, see `recsys.training.engine.Engine`."""

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]], train: TrainConfig, schedule: Schedule) -> None:
        """Arguments as in `recsys.training.engine.engine_of`."""
        self.device = torch.device("cuda" if train.use_gpu else "cpu")
        self.model = model.to(self.device)
        self.clip_norm, self.accumulation = train.clip_norm, train.micro_batches_per_step
        self.optimizer = torch.optim.AdamW(groups, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
        self.schedule = schedule
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.micro_batches = 0
        self.go_to_step(0)
        self._parameters = [each for group in self.optimizer.param_groups for each in group["params"]]

    def __call__(self, *tensors: Tensor, **named: Tensor | HistoryTexts | bool | None) -> Any:
        """Forward pass of the model."""
        return self.model(*tensors, **named)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on."""
        self.model.train(mode)

    def eval(self) -> None:
        """Switch dropout off."""
        self.model.eval()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a micro-batch."""
        (loss / self.accumulation).backward()  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """Count a micro-batch; take an optimiser step if it completes an accumulation."""
        self.micro_batches += 1
        if self.micro_batches % self.accumulation:
            return
        for parameter in self._parameters:
            if parameter.grad is None:  # DeepSpeed decays weights without a gradient, too
                parameter.grad = torch.zeros_like(parameter)
        nn.utils.clip_grad_norm_(self._parameters, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.go_to_step(self.steps + 1)

    def save(self, folder: Path) -> None:
        """Write the state that `load` reads."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }
        torch.save(state, folder / STATE_FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; an accumulation that was not complete starts again."""
        state = torch.load(folder / STATE_FILE, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer.zero_grad(set_to_none=False)
        self.micro_batches = 0
        self.go_to_step(state["steps"])

    def go_to_step(self, step: int) -> None:
        """Continue the learning rate schedule from this optimiser step."""
        self.steps = step
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * self.schedule(step)

    def whole_weights(self) -> AbstractContextManager[Any]:
        """The weights are always whole here."""
        return nullcontext()
