"""What the driver gives to the workers that train a smaller text encoder. It imports no torch, as `train_entry`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.pipeline.checkpoint_store import CheckpointStore
from recsys.pipeline.run import Run
from recsys.pipeline.windows import Kind, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillFit:
    """One training of a smaller encoder, see `recsys.pipeline.train_entry.Training`."""

    run: Run
    """The published night whose texts are learned."""
    name: str
    """Of the encoder."""
    start_path: str
    """Folder of the encoder to start from."""
    lessons_path: str
    """Folder of the texts with the teacher's vectors, see `recsys.pipeline.lessons`."""
    threads: int
    """Threads of a worker on CPUs."""
    windows: Mapping[Kind, Windows] = field(default_factory=dict)
    """None: workers read the texts themselves."""

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
        from recsys.pipeline.distill_worker import learn

        learn(self, rank, checkpoints)
