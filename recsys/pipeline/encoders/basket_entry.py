"""What the driver gives to the workers that train an encoder on baskets. It imports no torch, as `train_entry`."""

from dataclasses import dataclass

from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.train_entry import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class BasketFit(Training):
    """One training of an encoder on baskets."""

    start_id: str
    """Digest of the encoder to start from."""
    start_model: str | None
    """Model whose folder holds that encoder; None: it is the configured one."""

    def train(self, rank: int, checkpoints: CheckpointStore) -> None:
        """See `Training`."""
        from recsys.pipeline.encoders.basket_worker import learn

        learn(self, rank, checkpoints)
