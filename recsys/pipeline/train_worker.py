"""What each training worker runs: build the ranker, resume, then epochs of training, validation and checkpoint."""

import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray.train
import torch
from torch.optim.lr_scheduler import LambdaLR

from recsys.model.ranker import Ranker
from recsys.pipeline.cluster import quiet_ray
from recsys.pipeline.memory import peak_memory_mb, reset_peak_memory
from recsys.pipeline.run import Run
from recsys.pipeline.train_task import Task, build_task, save_task
from recsys.training.augment import augment
from recsys.training.config import TrainConfig
from recsys.training.deepspeed import deepspeed_config, micro_batch_size, parameter_groups
from recsys.training.extensions import load_extensions
from recsys.training.loop import WindowBatch, train_epoch
from recsys.training.plan import Phase, Plan
from recsys.training.progress import EPOCH, ISOLATED, RETRIEVAL, Progress, isolated_is_better, score
from recsys.training.refresh import refresh_text_vectors
from recsys.training.validation import validate, validate_isolated

logger = logging.getLogger(__name__)

#: Windows from which the next batch is drawn at random.
SHUFFLE_WINDOWS = 50_000
VALIDATION_BATCH = 256
#: Seconds of an epoch from which compiled code pays: it takes half a minute to make, and each epoch a sixth less.
WORTH_COMPILING_S = 60.0


def train(settings: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker.

    Args:
        settings: `run`; the `plan`; `warm_model`, the id of the model to begin from, or None; the `model_id` of the
            one to make; and the `threads` of a worker on CPUs.
    """
    reset_peak_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    quiet_ray()
    run: Run = settings["run"]
    dials, rank = run.config.train, ray.train.get_context().get_world_rank()
    if not dials.use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
        torch.set_num_threads(settings["threads"])
    # DeepSpeed compiles at run time with ninja, which lies beside a Python that was not "activated"
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    import deepspeed  # not at the top: it chooses its accelerator when it is imported

    # DeepSpeed still calls collectives by names that torch announces to drop, once a step
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    load_extensions()
    torch.manual_seed(run.config.seed)
    plan: Plan = settings["plan"]
    task = build_task(run, settings["model_id"], settings["warm_model"])
    engine, *_ = deepspeed.initialize(
        model=task.ranker,
        model_parameters=parameter_groups(task.ranker, run.config.encoder.peak_learning_rate),
        config=deepspeed_config(dials),
        lr_scheduler=partial(LambdaLR, lr_lambda=plan.rate),
        dist_init_required=False,
    )
    if task.text_vectors is not None:
        task = replace(task, text_vectors=task.text_vectors.to(engine.device))
    progress, compiled = _resume(engine, task), False
    while phase := progress.next_phase(plan, dials.patience):
        if progress.begins(phase):
            _return_to_best(engine, task, plan, phase)
        if not compiled and _compiling_pays(dials, progress.history):
            logger.info("finetune: the decoder is compiled")
            task.ranker.compile_decoder()
            compiled = True
        torch.manual_seed(run.config.seed + 1000 * (len(progress.history) + 1) + rank)
        progress.history.append(_epoch(run, engine, task, plan, len(progress.history) + 1, phase))
        progress.phases.append(phase)
        if rank == 0:
            _tell(progress, plan)
        if phase != "refit":
            task = replace(task, card=replace(task.card, isolated=isolated_is_better(progress.history[-1])))
        _report(engine, progress, task, run, rank)


def _epoch(run: Run, engine: Any, task: Task, plan: Plan, number: int, phase: Phase) -> dict[str, float]:
    """Train and validate once; the figures."""
    recommend, num_items = run.config.recommend, len(task.item_ids)
    windows = "recent" if phase in ("recent", "refit") else "train"
    passes = plan.phase(phase).passes
    batches = chain.from_iterable(
        _batches(run, windows, engine, task, number * passes + turn) for turn in range(passes)
    )
    listwise = phase == "listwise" or (phase == "refit" and task.card.isolated)
    adversarial = run.config.train.adversarial > 0
    figures = train_epoch(engine, batches, f"epoch {number}", listwise=listwise, adversarial=adversarial)
    figures |= {EPOCH: float(number)}
    refresh_text_vectors(engine, task.ranker, task.text_vectors)
    if phase == "refit":
        return figures  # nothing is held out to measure by
    kept = _batches(run, "validation", engine, task, 0)
    if phase == "listwise":
        found = validate_isolated(engine, kept, num_items, recommend.exclude_seen, recommend.candidates)
        measured = dict(zip((RETRIEVAL, ISOLATED), found, strict=True))
    else:
        measured = {RETRIEVAL: validate(engine, kept, num_items, recommend.exclude_seen)}
    return figures if math.isnan(measured[RETRIEVAL]) else figures | measured


def _compiling_pays(dials: TrainConfig, history: list[dict[str, float]]) -> bool:
    """Whether to go on with compiled code, by the epochs so far; a sharded model (ZeRO-3) is never compiled."""
    if dials.compile != "auto":
        return dials.compile == "always"
    seconds = [epoch["windows"] / epoch["windows_per_s"] for epoch in history]
    return dials.zero_stage < 3 and max(seconds, default=0.0) >= WORTH_COMPILING_S


def _tell(progress: Progress, plan: Plan) -> None:
    epoch = progress.history[-1]
    isolated = f", isolated {epoch[ISOLATED]:.4f}" if ISOLATED in epoch else ""
    found = f", validation ndcg@10 {epoch[RETRIEVAL]:.4f}{isolated}" if RETRIEVAL in epoch else ""
    logger.info(
        "finetune: epoch %d of at most %d (%s), loss %.4f%s, %.0f windows/s",
        *(len(progress.history), plan.epochs, progress.phases[-1], epoch["loss"], found, epoch["windows_per_s"]),
    )


def _batches(run: Run, name: str, engine: Any, task: Task, turn: int) -> Iterator[WindowBatch]:
    """This worker's windows: shuffled and changed anew each turn for training, all of them in order for validation."""
    train, num_items = run.config.train, len(task.item_ids)
    learned = name != "validation"
    settings: dict[str, Any] = {"batch_size": VALIDATION_BATCH}
    if learned:
        settings = {
            "batch_size": micro_batch_size(train),
            "local_shuffle_buffer_size": SHUFFLE_WINDOWS,
            "local_shuffle_seed": run.config.seed + turn,
        }
    rank = ray.train.get_context().get_world_rank()
    generator = torch.Generator().manual_seed(run.config.seed + 1000 * turn + rank)
    for table in ray.train.get_dataset_shard(name).iter_batches(batch_format="pyarrow", **settings):
        batch = WindowBatch.of(table, num_items, engine.device, task.text_vectors)
        if learned and train.augment:
            share, probability = train.augment_share, train.augment_probability
            batch = augment(batch, num_items, train.augment, probability, share, generator)
        yield batch


def _resume(engine: Any, task: Task) -> Progress:
    """Take up the last checkpoint of this run, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return Progress()
    with checkpoint.as_directory() as folder:
        # DeepSpeed unpickles here: the folder is this run's own, written by this function's twin below
        engine.load_checkpoint(folder, tag="deepspeed")
        progress = Progress(**json.loads((Path(folder) / "progress.json").read_text()))
    refresh_text_vectors(engine, task.ranker, task.text_vectors)
    logger.info("finetune: going on after epoch %d", len(progress.history))
    return progress


def _return_to_best(engine: Any, task: Task, plan: Plan, phase: Phase) -> None:
    """Begin a phase with the weights of the best epoch; the last ones brought no gain."""
    best = max(ray.train.get_all_reported_checkpoints(), key=lambda reported: reported.metrics["score"])
    with best.checkpoint.as_directory() as folder:
        engine.load_checkpoint(folder, tag="deepspeed", load_lr_scheduler_states=False)
    refresh_text_vectors(engine, task.ranker, task.text_vectors)
    engine.lr_scheduler.last_epoch = plan.phase(phase).first_step - 1
    engine.lr_scheduler.step()
    logger.info("finetune: the %s phase begins from epoch %d", phase, best.metrics["epoch"])


def _report(engine: Any, progress: Progress, task: Task, run: Run, rank: int) -> None:
    """Checkpoint: DeepSpeed's state of every rank, and from rank 0 the whole model for everything downstream."""
    with TemporaryDirectory() as folder:
        engine.save_checkpoint(folder, tag="deepspeed", save_latest=False)
        with _gathered(task.ranker):
            if rank == 0:
                save_task(Path(folder), task, run.config.encoder.arithmetic)
        if rank == 0:
            (Path(folder) / "progress.json").write_text(json.dumps(asdict(progress)))
        ray.train.report(
            {
                "score": score(progress.history[-1]),
                "epoch": len(progress.history),
                "isolated": task.card.isolated,
                "history": progress.history,
                "phases": progress.phases,
                "peak_memory_mb": peak_memory_mb(),
            },
            checkpoint=ray.train.Checkpoint.from_directory(folder),
        )


def _gathered(ranker: Ranker) -> AbstractContextManager[Any]:
    """The whole weights on every rank: under ZeRO-3 each holds only its share otherwise."""
    if not any(hasattr(parameter, "ds_id") for parameter in ranker.parameters()):
        return nullcontext()
    import deepspeed

    gathered: AbstractContextManager[Any] = deepspeed.zero.GatheredParameters(list(ranker.parameters()))
    return gathered
