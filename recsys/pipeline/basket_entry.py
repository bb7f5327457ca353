"""What the driver gives to the workers that train an encoder on baskets. It imports no torch, as `train_entry`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.pipeline.checkpoint_store import CheckpointStore
from recsys.pipeline.run import Run
from recsys.pipeline.windows import Kind, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class BasketFit:
    """One training of an encoder, see `recsys.pipeline.train_entry.Training`."""

    run: Run
    start_id: str
    """Digest of the encoder to start from."""
    start_model: str | None
    """Model whose folder holds that encoder; None: it is the configured one."""
    threads: int
    """Threads of a worker on CPUs."""
    windows: Mapping[Kind, Windows] = field(default_factory=dict)
    """None: workers read the baskets themselves."""

    @property
    def name(self) -> str:
        """Of the training, unlike that of the ranker's."""
        return f"{self.run.model_id}-baskets"

    def fetches(self, kind: Kind) -> bool:  # noqa: ARG002
        """See `Training`."""
        return True

    @property
    def in_one_task(self) -> bool:
        """See `Training`."""
        return not self.run.config.train.uses_deepspeed

    @property
    def checkpoints_path(self) -> str:
        """See `Training`."""
        return f"{self.run.train_dir}/{self.name}"

    @property
    def progress_path(self) -> str:
        """See `Training`."""
        return f"{self.run.train_dir}/{self.name}-progress.json"

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """See `Training`."""
        from recsys.pipeline.basket_worker import learn

        learn(self, rank, checkpoints)
