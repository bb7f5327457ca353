"""The fine-tune stage and the refit: cut the windows, train with Ray Train, keep the best epoch."""

import logging
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ray
import ray.data
import ray.train
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer

from recsys.errors import InputError
from recsys.model.checkpoint import ENCODER_FOLDER, FUSION_FILE, MODEL_FILES
from recsys.pipeline.cluster import cpus_for_each
from recsys.pipeline.encode_texts import encode_for
from recsys.pipeline.published_model import model_to_continue
from recsys.pipeline.records import RefittedModel, TrainedModel
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE
from recsys.pipeline.train_entry import Fit, train_worker
from recsys.pipeline.windows import Kind, Windows, cut_windows
from recsys.training.plan import Plan, plan_refit, plan_training
from recsys.training.progress import recent_helped

logger = logging.getLogger(__name__)

#: Seconds between two looks of Ray Train's controller at its workers. Ray's default is 2.
POLL_S = "0.1"
#: Threads of torch that wait for each other sleep. By default they spin: beside other work on the same cores a training
#: step then took more than ten times as long. It must be set before a worker loads torch.
PASSIVE_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def finetune(run: Run) -> TrainedModel:
    """Train the ranker on all events before the cutoff, and the text encoder if it is trained; keep the best epoch."""
    config = run.config
    windows = cut_windows(run, ("train", "train_recent", "validation"))
    counts = {kind: each.count for kind, each in windows.items()}
    if not counts["train"]:
        raise InputError(
            f"train: no user has two events before {run.cutoff:%Y-%m-%d}; give older events, or lower "
            f"gate.holdout_days={config.gate.holdout_days}"
        )
    warm = model_to_continue(run) if config.train.warm_start else None
    if warm is not None:
        encode_for(run, warm)
    # the recent phase is kept only if validation improves, so it needs validation users
    plan = plan_training(config.train, counts["train"], counts["train_recent"] if counts["validation"] else 0)
    best, figures = _fit(run, windows, plan, run.model_id, warm.model_id if warm else None)
    _keep(run, best.checkpoint, run.model_id)
    epochs, chosen = figures["history"], best.metrics
    return TrainedModel(
        rows=int(sum(epoch["windows"] for epoch in epochs)),
        windows=counts["train"],
        recent_windows=counts["train_recent"],
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
        peak_memory_mb=figures["peak_memory_mb"],
    )


def refit(run: Run) -> RefittedModel:
    """Continue the model that passed the gate, with the held-out days.

    It trains on the recent targets if these improved validation, else on all targets. No data are left to measure the
    result: the gate's figures are those of the model that the refit continues. The text encoder stays as it is.
    """
    kind: Kind = "full_recent" if run.record(FINETUNE).recent_helped else "full"
    windows = cut_windows(run, (kind,))
    num_windows = windows[kind].count
    plan = plan_refit(run.config.train, num_windows)
    best, figures = _fit(run, windows, plan, run.refit_id, run.model_id)
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


class _NoProcessGroup(TorchConfig):
    """For the engine of plain PyTorch, which needs no process group: making one takes about a second."""

    @property
    def backend_cls(self) -> type[Backend]:
        """A backend that does nothing."""
        return Backend


class _Best(NamedTuple):
    checkpoint: ray.train.Checkpoint
    metrics: dict[str, Any]


def _fit(
    run: Run, windows: dict[Kind, Windows], plan: Plan, model_id: str, warm_model: str | None
) -> tuple[_Best, dict[str, Any]]:
    """Run the training workers. Returns the best checkpoint with its figures, and the figures of the last epoch."""
    config = run.config.train
    filesystem, root = run.storage.arrow()
    workers = config.num_workers
    cpus = config.cpus_of_worker(cpus_for_each(workers))
    fit = Fit(run=run, plan=plan, model_id=model_id, warm_model=warm_model, threads=cpus, windows=windows)
    datasets: dict[Any, ray.data.Dataset] = {
        kind: each.dataset() for kind, each in windows.items() if not fit.fetches(kind)
    }
    # Ray Train's controller asks workers for reports this often, and a worker waits until its report was taken
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_S)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"fit": fit},
        torch_config=TorchConfig() if config.uses_deepspeed else _NoProcessGroup(),
        datasets=dict(datasets),
        dataset_config=ray.train.DataConfig(
            datasets_to_split=[kind for kind in datasets if kind != "validation"],
            execution_options=ray.data.ExecutionOptions(preserve_order=True),
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=config.use_gpu,
            resources_per_worker={"CPU": cpus, "GPU": int(config.use_gpu)},
        ),
        run_config=ray.train.RunConfig(
            name=model_id,
            storage_path=f"{root}/{run.train_dir}",
            storage_filesystem=filesystem,
            worker_runtime_env={"env_vars": {} if config.use_gpu else PASSIVE_WAIT},  # type: ignore[call-arg]
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
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
    """Copy the model out of a checkpoint, without the engine's state."""
    with checkpoint.as_directory() as folder, TemporaryDirectory() as kept:
        for name in MODEL_FILES:
            shutil.copy2(Path(folder) / name, kept)
        if (encoder := Path(folder) / ENCODER_FOLDER).exists():
            shutil.copytree(encoder, Path(kept) / ENCODER_FOLDER)
        run.storage.upload_folder(kept, run.model_path(model_id))
