"""What the driver gives to the workers that train a smaller text encoder. It imports no torch, as `train_entry`."""

from dataclasses import dataclass

from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.train_entry import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillFit(Training):
    """One training of a smaller encoder, on the texts of a published night."""

    start_path: str
    """Folder of the encoder to start from."""
    lessons_path: str
    """Folder of the texts with the teacher's vectors, see `recsys.pipeline.encoders.lessons`."""

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """See `Training`."""
        from recsys.pipeline.encoders.distill_worker import learn

        learn(self, rank, checkpoints)
