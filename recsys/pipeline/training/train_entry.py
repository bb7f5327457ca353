"""What the driver gives to the workers of a training, and the functions that Ray calls in them.

Ray Train's controller loads this file too. It imports no torch, so that the controller starts fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from recsys.pipeline.run import Run
from recsys.pipeline.training.checkpoint_store import CheckpointStore, RayTrainStore, StoredCheckpoints
from recsys.pipeline.training.windows import SHUFFLE_WINDOWS, Kind, Windows
from recsys.training.phases import Plan


class Training(Protocol):
    """What `run_training` needs to know of a training."""

    @property
    def run(self) -> Run:
        """The run, whose `train` settings name the workers and their devices."""

    @property
    def name(self) -> str:
        """No other training of the run has it."""

    @property
    def threads(self) -> int:
        """Threads of a worker on CPUs."""

    @property
    def windows(self) -> Mapping[Kind, Windows]:
        """What Ray Data may bring to the workers."""

    @property
    def in_one_task(self) -> bool:
        """Whether a plain Ray task trains, and not Ray Train."""

    @property
    def checkpoints_path(self) -> str:
        """Folder of the checkpoints of a training in one task."""

    @property
    def progress_path(self) -> str:
        """File that brings the progress to the driver, see `recsys.pipeline.training.training_progress`."""

    def fetches(self, kind: Kind) -> bool:
        """Whether a worker takes these windows from the object store itself."""

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """Train in a worker, whose number is from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One training."""

    run: Run
    plan: Plan
    model_id: str
    """Of the model to make."""
    warm_model: str | None
    """Id of the model to start from; None: random weights."""
    threads: int
    """Threads of a worker on CPUs."""
    windows: Mapping[Kind, Windows]
    """Windows of all workers together."""

    def fetches(self, kind: Kind) -> bool:
        """Whether the only worker takes the windows of this kind from the object store, because they are few.

        Otherwise Ray Data splits them among the workers, or streams them. It starts a process for each kind.
        """
        return self.run.config.train.num_workers == 1 and self.windows[kind].count <= SHUFFLE_WINDOWS

    @property
    def name(self) -> str:
        """That of the model."""
        return self.model_id

    @property
    def in_one_task(self) -> bool:
        """Whether a plain Ray task trains: one worker on CPUs without DeepSpeed, which keeps all windows in memory."""
        return not self.run.config.train.uses_deepspeed and all(self.fetches(kind) for kind in self.windows)

    @property
    def checkpoints_path(self) -> str:
        """Folder of the checkpoints of a training in one task."""
        return f"{self.run.train_dir}/{self.model_id}"

    @property
    def progress_path(self) -> str:
        """See `Training`."""
        return f"{self.run.train_dir}/{self.name}-progress.json"

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """Train in a worker, see `recsys.pipeline.training.train_worker`."""
        from recsys.pipeline.training.train_worker import train

        train(self, rank, checkpoints)


def train_worker(settings: dict[str, Training]) -> None:
    """Train as ``settings["fit"]`` says, in a worker of Ray Train."""
    import ray.train

    settings["fit"].train(ray.train.get_context().get_world_rank(), RayTrainStore())


def train_in_task(fit: Training) -> None:
    """Train in a Ray task whose process other stages use too: its threads are set back at the end."""
    import torch

    threads = torch.get_num_threads()
    try:
        fit.train(0, StoredCheckpoints(fit.run.storage, fit.checkpoints_path))
    finally:
        torch.set_num_threads(threads)
