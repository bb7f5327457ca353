"""Checkpoints of a training: written after each epoch, read after a worker died and at the start of a phase."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys.config.section import Precision
from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.train_task import Task, save_task
from recsys.pipeline.workers.memory import peak_memory_mb
from recsys.training.engine import Engine
from recsys.training.phases import Phase, Plan
from recsys.training.progress import Progress, score
from recsys.training.refresh import refresh_text_vectors

logger = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"


def resume(engine: Engine, task: Task, checkpoints: CheckpointStore) -> Progress:
    """Load the last checkpoint of this training, if there is one."""
    last = checkpoints.last()
    if last is None:
        return Progress()
    with last as folder:
        engine.load(Path(folder))
        progress = Progress(**json.loads((Path(folder) / PROGRESS_FILE).read_text()))
    refresh_text_vectors(engine, task.ranker, task.text_vectors)
    logger.info("finetune: continues after epoch %d", len(progress.history))
    return progress


def return_to_best(engine: Engine, task: Task, plan: Plan, phase: Phase, checkpoints: CheckpointStore) -> None:
    """Start a phase with the weights of the best epoch so far."""
    best = checkpoints.best()
    with best.folder as folder:
        engine.load(Path(folder))
    refresh_text_vectors(engine, task.ranker, task.text_vectors)
    engine.go_to_step(plan.phase(phase).first_step)
    logger.info("finetune: the %s phase begins from epoch %d", phase, best.metrics["epoch"])


def report_epoch(
    engine: Engine,
    progress: Progress,
    task: Task,
    encoder_precision: Precision,
    rank: int,
    checkpoints: CheckpointStore,
) -> None:
    """Write a checkpoint: the engine's state of every worker, and from worker 0 the model for the later stages."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        engine.save(folder)
        with engine.whole_weights():
            if rank == 0:
                save_task(folder, task, encoder_precision)
        if rank == 0:
            (folder / PROGRESS_FILE).write_text(json.dumps(asdict(progress)))
        metrics = {
            "score": score(progress.history[-1]),
            "epoch": len(progress.history),
            "candidate_pass": task.card.candidate_pass,
            "history": progress.history,
            "phases": progress.phases,
            "peak_memory_mb": peak_memory_mb(),
        }
        checkpoints.add(folder, metrics)
