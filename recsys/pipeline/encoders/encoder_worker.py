"""What each worker runs that trains a text encoder: steps, a check, a checkpoint, until all steps are done."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import torch

from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.pipeline.encoders.steps_told import StepsTold
from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.training_progress import Tell
from recsys.pipeline.workers.memory import peak_memory_mb
from recsys.settings import Config
from recsys.training.engine import Engine, engine_of
from recsys.training.phases import warmup_and_cosine
from recsys.training.trainable_encoder import TrainableEncoder

HISTORY_FILE = "history.json"


class EncoderWorker(ABC):
    """The engine of one worker; a subclass says what a step learns from, and what a check measures."""

    decides: ClassVar[str]
    """The figure of a check that says which state is the best; a check without it is better than all before."""

    def __init__(
        self, config: Config, rank: int, model: TrainableEncoder, *, steps: int, checks: int, rows: int, rate: float
    ) -> None:
        """Make the engine, with the settings of the ranker's and a step of its own.

        Args:
            config: Of the run.
            rank: Number of this worker, from 0.
            model: In fp32.
            steps: Of the whole training.
            checks: Spread over the steps; one more comes before the first.
            rows: Of a step, for each worker.
            rate: Peak learning rate.
        """
        self.config, self.rank, self.encoder = config, rank, model.encoder
        self._steps, self._checks, self._rows = steps, checks, rows * config.train.num_workers
        own = {
            "batch_size": self._rows,
            "accumulation_steps": 1,
            "adversarial_epsilon": 0.0,
            "learning_rate": rate,
        }
        train = config.train.model_copy(update=own)
        groups = [{"params": [each for each in model.parameters() if each.requires_grad]}]
        self.engine: Engine = engine_of(model, groups, train, warmup_and_cosine(int(train.warmup * steps), steps))

    @abstractmethod
    def draw(self, random: np.random.Generator) -> dict[str, torch.Tensor]:
        """Arguments of the model in one step."""

    @abstractmethod
    def measure(self) -> dict[str, float]:
        """Figures of a check."""

    def learn(self, name: str, checkpoints: CheckpointStore, tell: Tell) -> None:
        """Train until all steps are done; the first checkpoint is the encoder as it was.

        Args:
            name: Of the training, for people.
            checkpoints: Those of this training; it continues from the last one.
            tell: Takes the progress.
        """
        history = self._resume(checkpoints)
        told = StepsTold(name, self._steps, self._rows, history, tell)
        while len(history) <= self._checks:
            history.append(self._next_check(len(history), told))
            self._report(history, checkpoints)

    def _resume(self, checkpoints: CheckpointStore) -> list[dict[str, float]]:
        """Load the last checkpoint of this training, if there is one; returns the figures up to it."""
        last = checkpoints.last()
        if last is None:
            return []
        with last as folder:
            self.engine.load(Path(folder))
            history: list[dict[str, float]] = json.loads((Path(folder) / HISTORY_FILE).read_text())
        return history

    def _next_check(self, number: int, told: StepsTold) -> dict[str, float]:
        """The steps up to a check, from 0 (none), and what it finds."""
        first, last = (round(self._steps * max(each, 0) / self._checks) for each in (number - 1, number))
        losses = []
        for step in range(first, last):
            losses.append(self._step(step))
            told.step_done(step + 1, losses[-1])
        figures = {"epoch": float(number), "step": float(last)}
        if losses:
            figures["loss"] = float(torch.stack(losses).mean())
        return figures | self.measure()

    def _step(self, step: int) -> torch.Tensor:
        """One optimiser step; its draws depend on its number and on the worker alone."""
        random = np.random.default_rng([self.config.seed, step, self.rank])
        drawn = {name: value.to(self.engine.device) for name, value in self.draw(random).items()}
        self.engine.train()
        loss: torch.Tensor = self.engine(**drawn)
        self.engine.backward(loss)
        self.engine.step()
        return loss.detach().float()

    def _report(self, history: list[dict[str, float]], checkpoints: CheckpointStore) -> None:
        """Write a checkpoint: the engine's state of every worker, and from worker 0 the encoder."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            self.engine.save(folder)
            with self.engine.whole_weights():
                if self.rank == 0:
                    self.encoder.save(folder / ENCODER_FOLDER)
            if self.rank == 0:
                (folder / HISTORY_FILE).write_text(json.dumps(history))
            score = history[-1].get(self.decides, history[-1]["epoch"])
            facts = {"score": score, "epoch": len(history), "history": history, "peak_memory_mb": peak_memory_mb()}
            checkpoints.add(folder, facts)
