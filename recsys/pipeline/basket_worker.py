"""What each worker runs that trains an encoder on baskets: steps, a measurement on validation users, a checkpoint."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.pipeline.basket_entry import BasketFit
from recsys.pipeline.basket_files import read_baskets, read_targets
from recsys.pipeline.checkpoint_store import CheckpointStore
from recsys.pipeline.cpu_time import cpu_since_report
from recsys.pipeline.memory import peak_memory_mb
from recsys.pipeline.steps_told import StepsTold
from recsys.pipeline.train_task import learning_encoder
from recsys.pipeline.worker_process import worker_process
from recsys.settings import Config
from recsys.training.basket_encoder import BasketEncoder
from recsys.training.basket_sampling import Baskets, draw_step
from recsys.training.basket_validation import HeldOutTargets, held_out_ndcg
from recsys.training.config import TrainConfig
from recsys.training.engine import Engine, engine_of
from recsys.training.phases import warmup_and_cosine
from recsys.training.progress import CPU, RETRIEVAL
from recsys.training.refresh import encode_rows

HISTORY_FILE = "history.json"


def learn(fit: BasketFit, rank: int, checkpoints: CheckpointStore) -> None:
    """Train until all steps are done; the first checkpoint is the encoder as it was.

    Args:
        fit: The training.
        rank: Number of this worker, from 0.
        checkpoints: Those of this training; it continues from the last one.
    """
    with worker_process(fit, rank) as tell:
        worker = _Worker(fit, rank)
        history = worker.resume(checkpoints)
        spec, workers = fit.run.config.encoder.baskets, fit.run.config.train.num_workers
        told = StepsTold("baskets", spec.steps, workers * spec.users, history, tell, figure=RETRIEVAL)
        while len(history) <= fit.run.config.encoder.baskets.checks:
            history.append(worker.next_check(len(history), told) | {CPU: cpu_since_report()})
            worker.report(history, checkpoints)


class _Worker:
    """The engine, and the baskets of this worker."""

    def __init__(self, fit: BasketFit, rank: int) -> None:
        self.config, self.rank = fit.run.config, rank
        self.encoder: CatalogEncoder = learning_encoder(fit.run, fit.start_id, fit.start_model)
        train = engine_config(self.config)
        model = BasketEncoder(self.encoder, train.precision)
        groups = [{"params": [each for each in model.parameters() if each.requires_grad]}]
        steps = self.config.encoder.baskets.steps
        self.engine: Engine = engine_of(model, groups, train, warmup_and_cosine(int(train.warmup * steps), steps))
        self.catalog_size, baskets = read_baskets(fit.run)
        workers = train.num_workers
        # each worker has users of its own; the smallest share has one at least, see `learn_baskets`
        self.baskets: Baskets = baskets.every(workers, rank)
        self.held_out = HeldOutTargets.of(read_targets(fit.run), self.catalog_size, self.config.seed)

    def resume(self, checkpoints: CheckpointStore) -> list[dict[str, float]]:
        """Load the last checkpoint of this training, if there is one; returns the figures up to it."""
        last = checkpoints.last()
        if last is None:
            return []
        with last as folder:
            self.engine.load(Path(folder))
            history: list[dict[str, float]] = json.loads((Path(folder) / HISTORY_FILE).read_text())
        return history

    def next_check(self, number: int, told: StepsTold) -> dict[str, float]:
        """The steps up to a check, from 0 (none), and what it finds."""
        spec = self.config.encoder.baskets
        first, last = (round(spec.steps * max(each, 0) / spec.checks) for each in (number - 1, number))
        losses = []
        for step in range(first, last):
            losses.append(self._step(step))
            told.step_done(step + 1, losses[-1])
        figures = {"epoch": float(number), "step": float(last)}
        if losses:
            figures["loss"] = float(torch.stack(losses).mean())
        if len(self.held_out.targets):
            vectors = encode_rows(self.engine, self.encoder, torch.from_numpy(self.held_out.rows))
            figures[RETRIEVAL] = float(held_out_ndcg(vectors.cpu().numpy(), self.held_out).mean())
        return figures

    def _step(self, step: int) -> torch.Tensor:
        """One optimiser step; its draws depend on its number and on the worker alone."""
        spec = self.config.encoder.baskets
        random = np.random.default_rng([self.config.seed, step, self.rank])
        drawn = draw_step(self.baskets, spec.users, spec.items, self.catalog_size, random)
        device = self.engine.device
        self.engine.train()
        loss: torch.Tensor = self.engine(
            rows=torch.from_numpy(drawn.rows).to(device),
            baskets=torch.from_numpy(drawn.baskets).to(device),
        )
        self.engine.backward(loss)
        self.engine.step()
        return loss.detach().float()

    def report(self, history: list[dict[str, float]], checkpoints: CheckpointStore) -> None:
        """Write a checkpoint: the engine's state of every worker, and from worker 0 the encoder."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            self.engine.save(folder)
            with self.engine.whole_weights():
                if self.rank == 0:
                    self.encoder.save(folder / ENCODER_FOLDER)
            if self.rank == 0:
                (folder / HISTORY_FILE).write_text(json.dumps(history))
            newest = history[-1]
            # without validation users the last check is the best
            score = newest.get(RETRIEVAL, newest["epoch"])
            facts = {"score": score, "epoch": len(history), "history": history, "peak_memory_mb": peak_memory_mb()}
            checkpoints.add(folder, facts)


def engine_config(config: Config) -> TrainConfig:
    """The training settings of the engine that trains the encoder: those of the ranker, with a step of its own."""
    train = config.train
    own = {
        "batch_size": config.encoder.baskets.users * train.num_workers,
        "accumulation_steps": 1,
        "adversarial_epsilon": 0.0,
        "learning_rate": config.encoder.peak_learning_rate,
    }
    return train.model_copy(update=own)
