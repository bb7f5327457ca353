"""The DeepSpeed config, derived from ours: nobody writes it by hand."""

from typing import Any

from recsys.training.config import TrainConfig
from recsys.training.objective import TrainableRanker


def deepspeed_config(train: TrainConfig) -> dict[str, Any]:
    """The dict for `deepspeed.initialize`; the learning rate's schedule is `plan.Plan.rate`."""
    turns = 2 if train.adversarial else 1  # a batch and its perturbed copy are two micro-batches of one step
    return {
        "train_batch_size": train.batch_size * turns,
        "train_micro_batch_size_per_gpu": micro_batch_size(train),
        "gradient_accumulation_steps": train.accumulation_steps * turns,
        "gradient_clipping": train.clip_norm,
        "zero_optimization": {"stage": train.zero_stage},
        "bf16": {"enabled": train.precision == "bf16"},
        "fp16": {"enabled": train.precision == "fp16"},
        "optimizer": {
            "type": "AdamW",
            # torch's own AdamW: the fused ones are compiled at run time and gain nothing at these sizes
            "params": {"lr": train.learning_rate, "weight_decay": train.weight_decay, "torch_adam": True},
        },
        "steps_per_print": 2**31 - 1,  # the loop reports progress itself
        "wall_clock_breakdown": False,
    }


def parameter_groups(ranker: TrainableRanker, encoder_learning_rate: float) -> list[Any]:
    """What DeepSpeed's optimiser trains; an encoder that learns has a peak learning rate of its own."""
    encoder = [] if ranker.encoder is None else [each for each in ranker.encoder.parameters() if each.requires_grad]
    theirs = {id(parameter) for parameter in encoder}
    own = [each for each in ranker.parameters() if each.requires_grad and id(each) not in theirs]
    return [{"params": own}, {"params": encoder, "lr": encoder_learning_rate}] if encoder else own


def micro_batch_size(train: TrainConfig) -> int:
    """Windows a worker reads at a time."""
    return train.batch_size // (train.num_workers * train.accumulation_steps)
