"""The DeepSpeed config, derived from ours: nobody writes it by hand."""

from typing import Any

from recsys.config import TrainConfig


def deepspeed_config(train: TrainConfig, num_steps: int) -> dict[str, Any]:
    """The dict for `deepspeed.initialize`.

    Args:
        train: Our settings.
        num_steps: Optimiser steps of the whole training; the cosine ends there.
    """
    return {
        "train_batch_size": train.batch_size,
        "train_micro_batch_size_per_gpu": micro_batch_size(train),
        "gradient_accumulation_steps": train.accumulation_steps,
        "gradient_clipping": train.clip_norm,
        "zero_optimization": {"stage": train.zero_stage},
        "bf16": {"enabled": train.precision == "bf16"},
        "fp16": {"enabled": train.precision == "fp16"},
        "optimizer": {
            "type": "AdamW",
            # torch's own AdamW: the fused ones are compiled at run time and gain nothing at these sizes
            "params": {"lr": train.learning_rate, "weight_decay": train.weight_decay, "torch_adam": True},
        },
        "scheduler": {
            "type": "WarmupCosineLR",
            "params": {
                "total_num_steps": max(num_steps, 2),
                "warmup_num_steps": max(int(train.warmup * num_steps), 1),
                "warmup_type": "linear",
                "cos_min_ratio": 0.0,
            },
        },
        "steps_per_print": 2**31 - 1,  # the loop reports progress itself
        "wall_clock_breakdown": False,
    }


def micro_batch_size(train: TrainConfig) -> int:
    """Windows a worker reads at a time."""
    return train.batch_size // (train.num_workers * train.accumulation_steps)


def num_optimizer_steps(train: TrainConfig, num_windows: int) -> int:
    """Optimiser steps of all epochs; the last, smaller batch of an epoch counts too.

    DeepSpeed carries an accumulation that is not full into the next epoch.
    """
    windows_per_worker = num_windows // train.num_workers
    micro_steps = -(-windows_per_worker // micro_batch_size(train))
    return max(train.epochs * micro_steps // train.accumulation_steps, 1)
