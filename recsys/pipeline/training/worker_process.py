"""What a training worker sets in its process before it begins, and how it is heard in the driver."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from recsys.pipeline.stage_progress import StepProgress
from recsys.pipeline.training.train_entry import Training
from recsys.pipeline.training.training_progress import ProgressWriter, Tell
from recsys.pipeline.workers.memory import reset_peak_memory


@contextmanager
def worker_process(fit: Training, rank: int) -> Iterator[Tell]:
    """Set threads (on CPUs) and the seed of torch. Worker 0 gets a function that brings its progress to the driver."""
    reset_peak_memory()
    if not fit.run.config.train.use_gpu:
        torch.set_num_threads(fit.threads)
    torch.manual_seed(fit.run.config.seed)
    if rank:
        yield _unheard
        return
    with ProgressWriter(fit.run.storage, fit.progress_path).open() as tell:
        yield tell


def _unheard(_: StepProgress) -> None:
    """All workers come equally far, so one of them is enough."""
