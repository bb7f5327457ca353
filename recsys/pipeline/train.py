"""The fine-tune stage and the refit: windows by Ray Data, workers by Ray Train, the best epoch kept."""

import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer

from recsys.errors import InputError
from recsys.model.checkpoint import ENCODER_FOLDER, FUSION_FILE, MODEL_FILES
from recsys.pipeline.cluster import cpus_for_each
from recsys.pipeline.encode_texts import encode_for
from recsys.pipeline.published_model import model_to_continue
from recsys.pipeline.records import RefittedModel, TrainedModel
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.train_entry import train_worker
from recsys.pipeline.windows import Kind, windows_of
from recsys.training.plan import Plan, plan_refit, plan_training
from recsys.training.progress import recent_helped

logger = logging.getLogger(__name__)


def finetune(run: Run) -> TrainedModel:
    """Train the ranker, and the encoder where it learns, on all before the cutoff; the best epoch is the model."""
    config = run.config
    kinds: tuple[Kind, ...] = ("train", "recent", "validation")
    datasets = {kind: windows_of(run, kind) for kind in kinds}
    counts = {kind: dataset.count() for kind, dataset in datasets.items()}
    if not counts["train"]:
        raise InputError(
            f"train: no user has two events before {run.cutoff:%Y-%m-%d}; give older events, or lower "
            f"gate.holdout_days={config.gate.holdout_days}"
        )
    warm = model_to_continue(run) if config.train.warm_start else None
    if warm is not None:
        encode_for(run, warm)
    # whether the newest targets are better learned once more is for validation users to say: without any they are not
    plan = plan_training(config.train, counts["train"], counts["recent"] if counts["validation"] else 0)
    best, figures = _fit(run, datasets, plan, run.model_id, warm.model_id if warm else None)
    _keep(run, best.checkpoint, run.model_id)
    epochs, chosen = figures["history"], best.metrics
    return TrainedModel(
        rows=int(sum(epoch["windows"] for epoch in epochs)),
        windows=counts["train"],
        recent_windows=counts["recent"],
        validation_users=counts["validation"],
        epochs=len(epochs),
        best_epoch=chosen["epoch"],
        recent_helped=recent_helped(epochs, figures["phases"]),
        loss=epochs[chosen["epoch"] - 1]["loss"],
        validation_ndcg=chosen["score"] if counts["validation"] else 0.0,
        isolated=chosen["isolated"],
        model_id=run.model_id,
        warm_start=warm.model_id if warm else "none",
        history=epochs,
        phases=figures["phases"],
        peak_memory_mb=figures["peak_memory_mb"],
    )


def refit(run: Run) -> RefittedModel:
    """Continue the model that passed the gate, held-out days included.

    Over the newest targets where validation gained by them, else over everything: where nothing moves, a second look at
    the newest days alone would only forget. What the model is worth was measured before: the gate's figures are those
    of the model that this one continues. The encoder stays as it was fine-tuned.
    """
    windows = windows_of(run, "newest" if run.record(FINETUNE).recent_helped else "everything")
    num_windows = windows.count()
    plan = plan_refit(run.config.train, num_windows)
    best, figures = _fit(run, {"recent": windows}, plan, run.refit_id, run.model_id)
    _keep(run, best.checkpoint, run.refit_id)
    run.storage.write_bytes(
        f"{run.model_path(run.refit_id)}/{FUSION_FILE}",
        run.storage.read_bytes(f"{run.model_path()}/{FUSION_FILE}"),
    )
    if run.config.encoder.learns:
        with run.storage.local_folder(f"{run.model_path()}/{ENCODER_FOLDER}") as encoder:
            run.storage.upload_folder(encoder, f"{run.model_path(run.refit_id)}/{ENCODER_FOLDER}")
    return RefittedModel(
        rows=int(sum(epoch["windows"] for epoch in figures["history"])),
        windows=num_windows,
        loss=figures["history"][-1]["loss"],
        model_id=run.refit_id,
        peak_memory_mb=figures["peak_memory_mb"],
    )


class _Best(NamedTuple):
    checkpoint: ray.train.Checkpoint
    metrics: dict[str, Any]


def _fit(
    run: Run, datasets: dict[Any, ray.data.Dataset], plan: Plan, model_id: str, warm: str | None
) -> tuple[_Best, dict[str, Any]]:
    """Run the training workers; the best checkpoint with its figures, and the figures of the last."""
    config = run.config
    filesystem, root = run.storage.arrow()
    learned = [kind for kind in datasets if kind != "validation"]
    workers = config.train.num_workers
    cpus = config.train.cpus_of_worker(cpus_for_each(workers))
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"run": run, "plan": plan, "model_id": model_id, "warm_model": warm, "threads": cpus},
        datasets=dict(datasets),
        dataset_config=ray.train.DataConfig(datasets_to_split=learned, execution_options=_in_order()),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.train.use_gpu,
            resources_per_worker={"CPU": cpus, "GPU": int(config.train.use_gpu)},
        ),
        run_config=ray.train.RunConfig(
            name=model_id,
            storage_path=f"{root}/{run.train_dir}",
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=config.train.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute="score", checkpoint_score_order="max"
            ),
        ),
    )
    result = trainer.fit()
    assert result.best_checkpoints, "training ended without a checkpoint"
    assert result.metrics, "training ended without figures"
    return _Best(*max(result.best_checkpoints, key=lambda pair: pair[1]["score"])), result.metrics


def _keep(run: Run, checkpoint: ray.train.Checkpoint, model_id: str) -> None:
    """Copy the model out of a checkpoint, without DeepSpeed's private state."""
    with checkpoint.as_directory() as folder, TemporaryDirectory() as kept:
        for name in MODEL_FILES:
            shutil.copy2(Path(folder) / name, kept)
        if (encoder := Path(folder) / ENCODER_FOLDER).exists():
            shutil.copytree(encoder, Path(kept) / ENCODER_FOLDER)
        run.storage.upload_folder(kept, run.model_path(model_id))


def _in_order() -> ray.data.ExecutionOptions:
    return ray.data.ExecutionOptions(preserve_order=True)
