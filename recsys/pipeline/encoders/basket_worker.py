"""What each worker runs that trains an encoder on baskets; validation users measure it."""

import numpy as np
import torch

from recsys.pipeline.encoders.basket_entry import BasketFit
from recsys.pipeline.encoders.basket_files import read_baskets, read_targets
from recsys.pipeline.encoders.encoder_worker import EncoderWorker
from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.train_task import learning_encoder
from recsys.pipeline.training.worker_process import worker_process
from recsys.pipeline.workers.cpu_time import cpu_since_report
from recsys.training.basket_encoder import BasketEncoder
from recsys.training.basket_sampling import Baskets, draw_step
from recsys.training.basket_validation import HeldOutTargets, held_out_ndcg
from recsys.training.progress import CPU, RETRIEVAL
from recsys.training.refresh import encode_rows


def learn(fit: BasketFit, rank: int, checkpoints: CheckpointStore) -> None:
    """Train until all steps are done, see `EncoderWorker.learn`; ``rank`` is the number of this worker, from 0."""
    with worker_process(fit, rank) as tell:
        _Worker(fit, rank).learn("baskets", checkpoints, tell)


class _Worker(EncoderWorker):
    """The engine, and the baskets of this worker."""

    decides = RETRIEVAL  # without validation users the last check is the best

    def __init__(self, fit: BasketFit, rank: int) -> None:
        config = fit.run.config
        self.spec = config.encoder.baskets
        encoder = learning_encoder(fit.run, fit.start_id, fit.start_model)
        super().__init__(
            config,
            rank,
            BasketEncoder(encoder, config.train.precision),
            steps=self.spec.steps,
            checks=self.spec.checks,
            rows=self.spec.users,
            rate=config.encoder.peak_learning_rate,
        )
        self.catalog_size, baskets = read_baskets(fit.run)
        # each worker has users of its own; the smallest share has one at least, see `learn_baskets`
        self.baskets: Baskets = baskets.every(config.train.num_workers, rank)
        self.held_out = HeldOutTargets.of(read_targets(fit.run), self.catalog_size, config.seed)

    def draw(self, random: np.random.Generator) -> dict[str, torch.Tensor]:
        """Items, and what some users have of them."""
        drawn = draw_step(self.baskets, self.spec.users, self.spec.items, self.catalog_size, random)
        return {"rows": torch.from_numpy(drawn.rows), "baskets": torch.from_numpy(drawn.baskets)}

    def measure(self) -> dict[str, float]:
        """NDCG@10 of the validation users, if there are any."""
        figures = {}
        if len(self.held_out.targets):
            vectors = encode_rows(self.engine, self.encoder, torch.from_numpy(self.held_out.rows))
            figures[RETRIEVAL] = float(held_out_ndcg(vectors.cpu().numpy(), self.held_out).mean())
        return figures | {CPU: cpu_since_report()}
