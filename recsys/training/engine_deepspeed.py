"""Training by DeepSpeed: several workers, GPUs, ZeRO, bf16 and fp16. Its config is derived from ours."""

import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from recsys.model.history_states import HistoryTexts
from recsys.training.config import TrainConfig
from recsys.training.deepspeed_build import load_extensions
from recsys.training.engine import Schedule

#: Name of a checkpoint inside of its folder.
_TAG = "deepspeed"


class DeepSpeedEngine:
    """DeepSpeed's engine over this worker's part of the model, see `recsys.training.engine.Engine`.

    The process group must exist: Ray Train's Torch backend makes it.
    """

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]], train: TrainConfig, schedule: Schedule) -> None:
        """Arguments as in `recsys.training.engine.engine_of`."""
        if not train.use_gpu:
            os.environ["DS_ACCELERATOR"] = "cpu"
        # DeepSpeed compiles at run time with ninja. It is in the folder of this Python, which may not be on the path.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        import deepspeed  # not at the top: it chooses its accelerator when it is imported

        # once a step DeepSpeed calls collectives by names that torch has deprecated
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
        load_extensions()
        self.model = model
        self._engine, *_ = deepspeed.initialize(
            model=model,
            # a single group goes as plain parameters: DeepSpeed then gives it the optimiser's own settings
            model_parameters=groups if len(groups) > 1 else groups[0]["params"],
            config=deepspeed_config(train),
            lr_scheduler=partial(LambdaLR, lr_lambda=schedule),
            dist_init_required=False,
        )
        self.device = self._engine.device

    def __call__(self, *tensors: Tensor, **named: Tensor | HistoryTexts | bool | None) -> Any:
        """Forward pass of the model."""
        return self._engine(*tensors, **named)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on."""
        self._engine.train(mode)

    def eval(self) -> None:
        """Switch dropout off."""
        self._engine.eval()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a micro-batch."""
        self._engine.backward(loss)

    def step(self) -> None:
        """Count a micro-batch; take an optimiser step if it completes an accumulation."""
        self._engine.step()

    def save(self, folder: Path) -> None:
        """Write the state that `load` reads; only a training with the same number of workers can read it."""
        self._engine.save_checkpoint(str(folder), tag=_TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. DeepSpeed unpickles it: the folder must be one of this run's own."""
        self._engine.load_checkpoint(str(folder), tag=_TAG)

    def go_to_step(self, step: int) -> None:
        """Continue the learning rate schedule from this optimiser step."""
        self._engine.lr_scheduler.last_epoch = step - 1
        self._engine.lr_scheduler.step()

    def whole_weights(self) -> AbstractContextManager[Any]:
        """Gather the weights: under ZeRO-3 each worker holds only its share."""
        if not any(hasattr(parameter, "ds_id") for parameter in self.model.parameters()):
            return nullcontext()
        import deepspeed

        gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(list(self.model.parameters()))
        return gathered


def deepspeed_config(train: TrainConfig) -> dict[str, Any]:
    """The dict for `deepspeed.initialize`, without the learning rate schedule, which is `phases.Plan.rate`."""
    return {
        "train_batch_size": train.micro_batch_size * train.micro_batches_per_step * train.num_workers,
        "train_micro_batch_size_per_gpu": train.micro_batch_size,
        "gradient_accumulation_steps": train.micro_batches_per_step,
        "gradient_clipping": train.clip_norm,
        "zero_optimization": {"stage": train.zero_stage},
        "bf16": {"enabled": train.precision == "bf16"},
        "fp16": {"enabled": train.precision == "fp16"},
        "optimizer": {
            "type": "AdamW",
            # torch's own AdamW: DeepSpeed's fused ones are compiled at run time and gain nothing at these sizes
            "params": {"lr": train.learning_rate, "weight_decay": train.weight_decay, "torch_adam": True},
        },
        "steps_per_print": 2**31 - 1,  # the training loop reports the progress
        "wall_clock_breakdown": False,
    }
