"""The fine-tune stage: windows by Ray Data, workers by Ray Train, the best epoch kept; it knows no network."""

import datetime as dt
import logging
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer

from recsys.data.popularity import RECENT_DAYS
from recsys.data.splits import hold_out_last_moment, validation_users
from recsys.distributed.night import Night, Record
from recsys.distributed.published import published_model
from recsys.distributed.train_worker import train_worker
from recsys.errors import InputError
from recsys.model.checkpoint import MODEL_FILES
from recsys.schema import TIMESTAMP
from recsys.storage.tables import read_table
from recsys.training.examples import build_windows, windows_schema, with_first_target

#: Windows to learn from; one window for each validation user, whose last target was kept from training; and those
#: validation windows whose target lies in the week before the cutoff.
Kind = Literal["train", "validation", "recent"]

logger = logging.getLogger(__name__)


def finetune(night: Night) -> Record:
    """Train the ranker on everything before the cutoff, and keep its best epoch as a model."""
    config = night.config
    datasets: dict[str, Any] = {kind: _windows(night, kind) for kind in get_args(Kind)}
    num_windows, num_validation = datasets["train"].count(), datasets["validation"].count()
    if not num_windows:
        raise InputError(
            f"train: no user has two events before {night.cutoff:%Y-%m-%d}; give older events, or lower "
            f"gate.holdout_days={config.gate.holdout_days}"
        )
    warm = published_model(night) if config.train.warm_start else None
    filesystem, root = night.storage.arrow()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "night": night,
            "num_windows": num_windows,
            "num_recent": datasets["recent"].count(),
            "warm_model": warm,
        },
        datasets=datasets,
        dataset_config=ray.train.DataConfig(datasets_to_split=["train"], execution_options=_in_order()),
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.train.num_workers,
            use_gpu=config.train.use_gpu,
            resources_per_worker={"CPU": config.train.cpus_per_worker, "GPU": int(config.train.use_gpu)},
        ),
        run_config=ray.train.RunConfig(
            name=night.run.run_id,
            storage_path=f"{root}/{night.train_dir}",
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
    best, metrics = max(result.best_checkpoints, key=lambda pair: pair[1]["score"])
    _keep(night, best)
    epochs = result.metrics["history"]
    return {
        "rows": int(sum(epoch["windows"] for epoch in epochs)),
        "windows": num_windows,
        "validation_users": num_validation,
        "epochs": len(epochs),
        "best_epoch": metrics["epoch"],
        "loss": epochs[metrics["epoch"] - 1]["loss"],
        "validation_ndcg@10": metrics["score"],
        "popularity_weight": metrics["popularity_weight"],
        "model_id": night.model_id,
        "warm_start": warm or "none",
        "history": epochs,
        "peak_memory_mb": result.metrics["peak_memory_mb"],
    }


def _keep(night: Night, checkpoint: ray.train.Checkpoint) -> None:
    """Copy the model out of a checkpoint, without DeepSpeed's private state."""
    with checkpoint.as_directory() as folder, TemporaryDirectory() as kept:
        for name in MODEL_FILES:
            shutil.copy2(Path(folder) / name, kept)
        night.storage.upload_folder(kept, night.model_path())


def _windows(night: Night, kind: Kind) -> ray.data.Dataset:
    """Windows, built once and kept in the object store (which spills to disk)."""
    shards = night.record("histories")["shards"]
    parts = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    cut = partial(_windows_of_shards, night, kind)
    built: ray.data.Dataset = parts.map_batches(cut, batch_size=1, batch_format="pyarrow").materialize()
    return built


def _windows_of_shards(night: Night, kind: Kind, batch: pa.Table) -> pa.Table:
    """Cut the interactions before the cutoff into windows; the validation users' last moment is kept from training."""
    length, train = night.config.histories.max_length, night.config.train
    item_ids = read_table(night.storage, night.catalog_path, ["item_id"])["item_id"].combine_chunks()
    kinds = pa.array(night.record("ingest")["kinds"], pa.string())
    share = min(1.0, train.validation_users / max(night.record("histories")["users"], 1))
    tables = [windows_schema(length).empty_table()]
    for shard in batch["shard"].to_pylist():
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        past = night.split(interactions).train
        chosen = validation_users(past["user_id"], share, night.config.seed)
        learned, kept = hold_out_last_moment(past, chosen)
        if kind == "train":
            tables.append(build_windows(learned, item_ids, kinds, length, train.max_events_per_user))
            continue
        if kind == "recent":
            week = night.cutoff - dt.timedelta(days=RECENT_DAYS)
            kept = kept.filter(pc.greater_equal(kept["timestamp"], pa.scalar(week, TIMESTAMP)))
        events = with_first_target(learned, kept)
        tables.append(build_windows(events, item_ids, kinds, length, length + 1))  # one window a user
    return pa.concat_tables(tables)


def _in_order() -> ray.data.ExecutionOptions:
    return ray.data.ExecutionOptions(preserve_order=True)
