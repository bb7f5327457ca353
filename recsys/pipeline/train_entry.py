"""What the driver gives to the workers of a training, and the function that Ray Train calls in each.

Ray Train's controller loads this file too. It imports no torch, so that the controller starts fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from recsys.pipeline.run import Run
from recsys.pipeline.windows import SHUFFLE_WINDOWS, Kind, Windows
from recsys.training.plan import Plan


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


def train_worker(settings: dict[str, Fit]) -> None:
    """Train as ``settings["fit"]`` says, see `recsys.pipeline.train_worker`."""
    from recsys.pipeline.train_worker import train

    train(settings["fit"])
