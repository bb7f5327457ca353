"""The stage `baskets`: the text encoder learns from users' baskets, before the ranker reads its vectors."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys.model.checkpoint import ENCODER_FOLDER
from recsys.model.encoder_files import encoder_digest
from recsys.pipeline.encoders.basket_entry import BasketFit
from recsys.pipeline.encoders.basket_files import write_baskets
from recsys.pipeline.encoders.encode_texts import encode_with
from recsys.pipeline.encoders.open_encoder import open_trainable
from recsys.pipeline.model_records import LearnedBaskets
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS
from recsys.pipeline.training.run_training import run_training
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.pipeline.workers.cluster import cpus_for_each
from recsys.pipeline.workers.cpu_time import add_worker_cpu
from recsys.training.progress import CPU, RETRIEVAL

logger = logging.getLogger(__name__)


def learn_baskets(run: Run) -> LearnedBaskets:
    """Train the encoder on all baskets before the cutoff, keep its best state, and encode all texts with it.

    It starts from the encoder of the model that training continues, else from the configured one.
    """
    config = run.config
    warm = settle_warm_start(run)
    start_id = warm.encoder_id if warm else run.record(ENCODE_TEXTS).encoder_id
    start_model = warm.encoder_model if warm else None
    users, measured = write_baskets(run)
    if users < config.train.num_workers:
        logger.warning("baskets: %d users have two items before the holdout: the encoder stays as it is", users)
        _keep_start(run, start_id, start_model)
        history: list[dict[str, float]] = []
        best: dict[str, Any] = {"epoch": 1, "score": 0.0}
        peak = 0.0
    else:
        threads = config.train.cpus_of_worker(cpus_for_each(config.train.num_workers))
        name = f"{run.model_id}-baskets"  # unlike that of the ranker's training
        fit = BasketFit(run=run, name=name, threads=threads, start_id=start_id, start_model=start_model)
        done = run_training(fit)
        history, best, peak = done.metrics["history"], done.best.metrics, done.metrics["peak_memory_mb"]
        add_worker_cpu(config.train.num_workers * sum(check.get(CPU, 0.0) for check in history))
        with done.best.folder as folder:
            run.storage.upload_folder(Path(folder) / ENCODER_FOLDER, _place(run))
    encoder_id = _digest(run)
    encode_with(run, encoder_id, run.model_id)
    steps = [int(check["step"]) for check in history] or [0]
    return LearnedBaskets(
        rows=steps[-1] * config.encoder.baskets.users * config.train.num_workers,
        users=users,
        validation_users=measured,
        steps=steps[-1],
        best_step=steps[best["epoch"] - 1],
        before=history[0].get(RETRIEVAL, 0.0) if history else 0.0,
        after=best["score"] if measured else 0.0,
        history=history,
        start="the configured encoder" if start_model is None else start_model,
        encoder_id=encoder_id,
        peak_memory_mb=peak,
    )


def _place(run: Run) -> str:
    return f"{run.model_path()}/{ENCODER_FOLDER}"


def _keep_start(run: Run, start_id: str, start_model: str | None) -> None:
    with open_trainable(run.storage, run.config, start_id, start_model) as encoder, TemporaryDirectory() as folder:
        encoder.save(folder)
        run.storage.upload_folder(folder, _place(run))


def _digest(run: Run) -> str:
    spec = run.config.encoder
    with run.storage.local_folder(_place(run)) as folder:
        return encoder_digest(str(folder), max_tokens=spec.max_tokens, precision=spec.arithmetic)
