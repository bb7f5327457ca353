"""The fine-tune stage and the refit: cut the windows, train, keep the best epoch.

A night with nothing to learn from keeps a model that was not trained: its lists come from the other signals.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys.model.checkpoint import ENCODER_FOLDER, MODEL_FILES, ModelCard
from recsys.pipeline.encoders.encode_texts import encode_for
from recsys.pipeline.encoders.transfer_encoder import share_encoder
from recsys.pipeline.model_records import RefittedModel, TrainedModel
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, INGEST_EVENTS
from recsys.pipeline.stored.stored_fusion import copy_fusion
from recsys.pipeline.training.checkpoint_store import Checkpoint
from recsys.pipeline.training.run_training import Trained, run_training
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.pipeline.training.train_entry import Fit
from recsys.pipeline.training.training_budget import settle_training
from recsys.pipeline.training.untrained_model import keep_untrained, why_nothing_to_learn
from recsys.pipeline.training.windows import Kind, Windows, cut_windows
from recsys.pipeline.workers.cluster import cpus_for_each
from recsys.pipeline.workers.cpu_time import add_worker_cpu
from recsys.training.config import TrainConfig
from recsys.training.phases import Plan, plan_new_events, plan_refit, plan_training
from recsys.training.progress import CPU, recent_helped

logger = logging.getLogger(__name__)


def finetune(run: Run) -> TrainedModel:
    """Train the ranker, and the text encoder if it is trained; keep the best epoch.

    It learns from all events before the cutoff, or continues the published model with those that this did not learn.
    """
    config = run.config
    warm = settle_warm_start(run)
    start = settle_training(run, warm)
    if not start.trains:
        return _unchanged(run, warm, start.reused)
    kinds: tuple[Kind, ...] = ("train_new",) if start.since else ("train", "train_recent")
    windows = cut_windows(run, (*kinds, "validation"))
    counts = {kind: each.count for kind, each in windows.items()}
    if warm is not None:
        encode_for(run, warm)
    if counts[kinds[0]] < config.train.num_workers:
        return _nothing_new(run, warm, start.since) if start.since else _untrained(run, warm, counts)
    plan = _plan(config.train, counts)
    best, figures = _fit(run, windows, plan, run.model_id, warm.model_id if warm else None)
    _keep(run, best, run.model_id)
    epochs, chosen = figures["history"], best.metrics
    return TrainedModel(
        rows=int(sum(epoch["windows"] for epoch in epochs)),
        windows=counts[kinds[0]],
        recent_windows=counts.get("train_recent", 0),
        validation_users=counts["validation"],
        epochs=len(epochs),
        best_epoch=chosen["epoch"],
        recent_helped=recent_helped(epochs, figures["phases"]),
        loss=epochs[chosen["epoch"] - 1]["loss"],
        validation_ndcg=chosen["score"] if counts["validation"] else 0.0,
        candidate_pass=chosen["candidate_pass"],
        model_id=run.model_id,
        warm_start=warm.model_id if warm else "none",
        history=epochs,
        phases=figures["phases"],
        since=start.since,
        peak_memory_mb=figures["peak_memory_mb"],
    )


def _plan(train: TrainConfig, counts: Mapping[Kind, int]) -> Plan:
    if "train_new" in counts:
        return plan_new_events(train, counts["train_new"])
    # the recent phase is kept only if validation improves, so it needs validation users
    return plan_training(train, counts["train"], counts["train_recent"] if counts["validation"] else 0)


def _nothing_new(run: Run, warm: ModelCard | None, since: str) -> TrainedModel:
    """Use the published model as it is, because no event came that it can learn from."""
    reason = f"there is nothing new to learn from since {since[:10]}"
    logger.info("finetune: %s: %s", reason, _keep_start(run, warm))
    return replace(_without_epochs(run, warm, {}, reason), since=since)


def _unchanged(run: Run, warm: ModelCard | None, reason: str) -> TrainedModel:
    """Use the published model as it is."""
    if warm is not None:
        encode_for(run, warm)
    logger.info("finetune: %s: %s", reason, _keep_start(run, warm))
    return _without_epochs(run, warm, {}, reason)


def _untrained(run: Run, warm: ModelCard | None, counts: Mapping[Kind, int]) -> TrainedModel:
    """Keep the published model; the log says why nothing was learned."""
    why = why_nothing_to_learn(run, counts["train"])
    logger.warning("finetune: nothing to learn from: %s. Meanwhile %s", why, _keep_start(run, warm))
    return _without_epochs(run, warm, counts)


def _keep_start(run: Run, warm: ModelCard | None) -> str:
    """Write the published model again, else one with random weights that no list uses; returns what lists are of."""
    keep_untrained(run, run.model_id, warm.model_id if warm else None)
    if warm is not None:
        return f"the published model stays ({warm.model_id})"
    has_events = run.record(INGEST_EVENTS).accepted > 0
    return f"lists are made of {'popularity, transitions and texts' if has_events else 'texts'}"


def _without_epochs(run: Run, warm: ModelCard | None, counts: Mapping[Kind, int], reused: str = "") -> TrainedModel:
    """The record of a night that trained nothing."""
    return TrainedModel(
        rows=0,
        windows=counts.get("train", 0),
        recent_windows=counts.get("train_recent", 0),
        validation_users=counts.get("validation", 0),
        epochs=0,
        best_epoch=0,
        recent_helped=False,
        loss=0.0,
        validation_ndcg=0.0,
        candidate_pass=warm is not None and warm.candidate_pass,
        model_id=run.model_id,
        warm_start=warm.model_id if warm else "none",
        history=[],
        phases=[],
        trained=warm is not None,
        reused=reused,
    )


def refit(run: Run) -> RefittedModel:
    """Continue the model that passed the gate, with the held-out days.

    It trains on the recent targets if these improved validation, else on all targets; on the held-out days and replayed
    windows if the night learned only from new events. No data are left to measure the result: the gate's figures are
    those of the model that the refit continues. The text encoder stays as it is. A model that learned nothing stays as
    it is, since nothing could measure what it would learn now. Where the night uses the published model again, it uses
    that model's refit again, or the model itself if it has none.
    """
    start = run.warm_start
    reused = (start.reused_refit or run.model_id) if start is not None and start.reused else ""
    windows = {} if reused else _refit_windows(run)
    num_windows = sum(each.count for each in windows.values())
    figures: dict[str, Any] = {"history": [], "peak_memory_mb": 0.0}
    if reused:
        logger.info("refit: %s is used again", reused)
        keep_untrained(run, run.refit_id, reused)
    elif run.record(FINETUNE).trained and num_windows >= run.config.train.num_workers:
        best, figures = _fit(run, windows, plan_refit(run.config.train, num_windows), run.refit_id, run.model_id)
        _keep(run, best, run.refit_id)
    else:
        logger.info("refit: the model stays as it is: it had nothing to learn from before the holdout, or has none now")
        keep_untrained(run, run.refit_id, run.model_id)
    copy_fusion(run, run.model_id, run.refit_id)
    if run.config.encoder.learns:
        share_encoder(run.storage, run.model_id, run.refit_id)
    return RefittedModel(
        rows=int(sum(epoch["windows"] for epoch in figures["history"])),
        windows=num_windows,
        loss=figures["history"][-1]["loss"] if figures["history"] else 0.0,
        model_id=run.refit_id,
        history=figures["history"],
        peak_memory_mb=figures["peak_memory_mb"],
    )


def _refit_windows(run: Run) -> dict[Kind, Windows]:
    """The windows to refit on: recent targets if these helped and there are any, else all; or new targets."""
    if run.record(FINETUNE).since:
        return cut_windows(run, ("full_new",))
    if run.record(FINETUNE).recent_helped:
        recent = cut_windows(run, ("full_recent",))
        if recent["full_recent"].count >= run.config.train.num_workers:
            return recent
    return cut_windows(run, ("full",))


def _fit(run: Run, windows: dict[Kind, Windows], plan: Plan, model_id: str, warm_model: str | None) -> Trained:
    config = run.config.train
    threads = config.cpus_of_worker(cpus_for_each(config.num_workers))
    trained = run_training(
        Fit(run=run, name=model_id, plan=plan, warm_model=warm_model, threads=threads, windows=windows)
    )
    # only the first worker reports; the others do the same work
    add_worker_cpu(config.num_workers * sum(epoch.get(CPU, 0.0) for epoch in trained.metrics["history"]))
    return trained


def _keep(run: Run, checkpoint: Checkpoint, model_id: str) -> None:
    """Copy the model out of a checkpoint, without the engine's state."""
    with checkpoint.folder as folder, TemporaryDirectory() as kept:
        for name in MODEL_FILES:
            if (file := Path(folder) / name).exists():  # a checkpoint of an older version has no hashes
                shutil.copy2(file, kept)
        if (encoder := Path(folder) / ENCODER_FOLDER).exists():
            shutil.copytree(encoder, Path(kept) / ENCODER_FOLDER)
        run.storage.upload_folder(kept, run.model_path(model_id))
