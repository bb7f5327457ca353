"""What a training worker sets in its process before it begins."""

import logging

import torch

from recsys.pipeline.cluster import quiet_ray
from recsys.pipeline.memory import reset_peak_memory
from recsys.training.config import TrainConfig


def begin_worker(config: TrainConfig, threads: int, seed: int) -> None:
    """Show the progress of the training, and set threads (on CPUs) and the seed of torch."""
    reset_peak_memory()
    logging.basicConfig(format="%(message)s")
    logging.getLogger().setLevel(logging.INFO)
    quiet_ray()
    if not config.use_gpu:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
