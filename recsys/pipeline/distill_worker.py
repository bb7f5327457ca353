"""What each worker runs that trains a smaller text encoder: steps, a check on validation texts, a checkpoint."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.model.text_encoder import TextEncoder
from recsys.pipeline.checkpoint_store import CheckpointStore
from recsys.pipeline.distill_entry import DistillFit
from recsys.pipeline.lessons import read_lessons
from recsys.pipeline.memory import peak_memory_mb
from recsys.pipeline.steps_told import StepsTold
from recsys.pipeline.worker_process import worker_process
from recsys.settings import Config
from recsys.training.config import TrainConfig
from recsys.training.distill import Student, agreement
from recsys.training.engine import Engine, engine_of
from recsys.training.phases import warmup_and_cosine
from recsys.training.refresh import encode_rows

HISTORY_FILE = "history.json"
#: The figure of a check that decides which state is kept.
AGREEMENT = "agreement"


def learn(fit: DistillFit, rank: int, checkpoints: CheckpointStore) -> None:
    """Train until all steps are done; the first checkpoint is the encoder as it was.

    Args:
        fit: The training.
        rank: Number of this worker, from 0.
        checkpoints: Those of this training; it continues from the last one.
    """
    with worker_process(fit, rank) as tell:
        worker = _Worker(fit, rank)
        history = worker.resume(checkpoints)
        spec, train = fit.run.config.compress, fit.run.config.train
        told = StepsTold(fit.name, spec.steps, spec.batch_size * train.num_workers, history, tell)
        while len(history) <= spec.checks:
            history.append(worker.next_check(len(history), told))
            worker.report(history, checkpoints)


class _Worker:
    """The engine, and the texts with the teacher's vectors."""

    def __init__(self, fit: DistillFit, rank: int) -> None:
        self.config, self.rank = fit.run.config, rank
        spec, train = self.config.encoder, engine_config(self.config)
        lessons = read_lessons(fit.run.storage, fit.lessons_path)
        self.teacher = torch.from_numpy(lessons.vectors)
        self.held_out = torch.from_numpy(np.flatnonzero(lessons.held_out))
        self.learned = np.flatnonzero(~lessons.held_out)
        with fit.run.storage.local_folder(fit.start_path) as folder:
            start = TextEncoder.load(str(folder), max_tokens=spec.max_tokens)
            self.encoder = CatalogEncoder(start, lessons.texts, spec.batch_size, None)
        groups = [{"params": list(self.encoder.parameters())}]
        steps = self.config.compress.steps
        schedule = warmup_and_cosine(int(train.warmup * steps), steps)
        self.engine: Engine = engine_of(Student(self.encoder, train.precision), groups, train, schedule)

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
        spec = self.config.compress
        first, last = (round(spec.steps * max(each, 0) / spec.checks) for each in (number - 1, number))
        losses = []
        for step in range(first, last):
            losses.append(self._step(step))
            told.step_done(step + 1, losses[-1])
        vectors = encode_rows(self.engine, self.encoder, self.held_out).cpu().numpy()
        figures = {"epoch": float(number), "step": float(last)}
        figures[AGREEMENT] = agreement(vectors, self.teacher[self.held_out].numpy())
        return figures | ({"loss": float(torch.stack(losses).mean())} if losses else {})

    def _step(self, step: int) -> torch.Tensor:
        """One optimiser step; its draws depend on its number and on the worker alone."""
        random = np.random.default_rng([self.config.seed, step, self.rank])
        rows = torch.from_numpy(random.choice(self.learned, self.config.compress.batch_size))
        device = self.engine.device
        self.engine.train()
        loss: torch.Tensor = self.engine(rows=rows.to(device), teacher=self.teacher[rows].to(device))
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
            facts = {"score": history[-1][AGREEMENT], "epoch": len(history), "history": history}
            checkpoints.add(folder, facts | {"peak_memory_mb": peak_memory_mb()})


def engine_config(config: Config) -> TrainConfig:
    """The training settings of the engine that trains the encoder: those of the ranker, with a step of its own."""
    own = {
        "batch_size": config.compress.batch_size * config.train.num_workers,
        "accumulation_steps": 1,
        "adversarial_epsilon": 0.0,
        "learning_rate": config.compress.learning_rate,
    }
    return config.train.model_copy(update=own)
