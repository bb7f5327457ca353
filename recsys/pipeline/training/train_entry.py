"""What the driver gives to the workers of a training, and the functions that Ray calls in them.

Ray Train's controller loads this file too. It imports no torch, so that the controller starts fast.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.pipeline.run import Run
from recsys.pipeline.training.checkpoint_store import CheckpointStore, RayTrainStore, StoredCheckpoints
from recsys.pipeline.training.windows import SHUFFLE_WINDOWS, Kind, Windows
from recsys.training.phases import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(ABC):
    """One training. A subclass says what its workers do."""

    run: Run
    """Its `train` settings name the workers and their devices."""
    name: str
    """No other training of the run has it."""
    threads: int
    """Threads of a worker on CPUs."""
    windows: Mapping[Kind, Windows] = field(default_factory=dict)
    """Windows of all workers together; empty: workers read what they learn from themselves."""

    @abstractmethod
    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """Train in a worker, whose number is from 0."""

    def fetches(self, kind: Kind) -> bool:
        """Whether the only worker takes the windows of this kind from the object store, because they are few.

        Otherwise Ray Data splits them among the workers, or streams them. It starts a process for each kind.
        """
        return self.run.config.train.num_workers == 1 and self.windows[kind].count <= SHUFFLE_WINDOWS

    @property
    def in_one_task(self) -> bool:
        """Whether a plain Ray task trains, and not Ray Train: one worker on CPUs without DeepSpeed."""
        return not self.run.config.train.uses_deepspeed and all(self.fetches(kind) for kind in self.windows)

    @property
    def checkpoints_path(self) -> str:
        """Folder of the checkpoints of a training in one task."""
        return f"{self.run.train_dir}/{self.name}"

    @property
    def progress_path(self) -> str:
        """File that brings the progress to the driver, see `recsys.pipeline.training.training_progress`."""
        return f"{self.checkpoints_path}-progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit(Training):
    """A training of the ranker. Its name is the id of the model to make."""

    plan: Plan
    warm_model: str | None
    """Id of the model to start from; None: random weights."""

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """See `Training`."""
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
