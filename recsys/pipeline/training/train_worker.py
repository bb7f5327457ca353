"""What each training worker runs: build the ranker, resume, then epochs of training, validation and checkpoint."""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import ray.train
import torch

from recsys.pipeline.training.checkpoint_store import CheckpointStore
from recsys.pipeline.training.epoch_progress import EpochProgress
from recsys.pipeline.training.train_checkpoint import report_epoch, resume, return_to_best
from recsys.pipeline.training.train_entry import Fit
from recsys.pipeline.training.train_task import Task, build_task
from recsys.pipeline.training.training_progress import Tell
from recsys.pipeline.training.window_batches import WindowReader, WindowsInMemory, WindowsStreamed, WorkerWindows
from recsys.pipeline.training.windows import SHUFFLE_WINDOWS, Kind
from recsys.pipeline.training.worker_process import worker_process
from recsys.pipeline.workers.cpu_time import cpu_since_report
from recsys.training.augment import augment
from recsys.training.config import TrainConfig
from recsys.training.engine import Engine, open_engine
from recsys.training.loop import train_epoch
from recsys.training.next_days import draw_targets
from recsys.training.phases import Phase
from recsys.training.progress import CANDIDATE_PASS, CPU, EPOCH, RETRIEVAL, candidate_pass_is_better
from recsys.training.refresh import refresh_text_vectors
from recsys.training.validation import validate, validate_candidate_pass
from recsys.training.window_batch import WindowBatch

logger = logging.getLogger(__name__)

VALIDATION_BATCH = 256
#: Seconds of an epoch from which compiling the decoder pays: it takes half a minute and saves a sixth of each epoch.
WORTH_COMPILING_S = 60.0


def train(fit: Fit, rank: int, checkpoints: CheckpointStore) -> None:
    """Train until the plan is done.

    Args:
        fit: The training.
        rank: Number of this worker, from 0.
        checkpoints: Those of this training; it continues from the last one.
    """
    with worker_process(fit, rank) as tell:
        _train(fit, rank, checkpoints, tell)


def _train(fit: Fit, rank: int, checkpoints: CheckpointStore, tell: Tell) -> None:
    run = fit.run
    config = run.config.train
    task = build_task(run, fit.name, fit.warm_model)
    engine = open_engine(task.ranker, config, run.config.encoder.peak_learning_rate, fit.plan.rate)
    if task.text_vectors is not None:
        task = replace(task, text_vectors=task.text_vectors.to(engine.device))
    progress, compiled = resume(engine, task, checkpoints), False
    told = EpochProgress(fit, progress, tell)
    worker = _Worker(fit, task, engine, rank, told)
    while phase := progress.next_phase(fit.plan, config.patience):
        if progress.begins(phase):
            return_to_best(engine, task, fit.plan, phase, checkpoints)
        if not compiled and _compiling_pays(config, progress.history):
            logger.info("finetune: the decoder is compiled")
            task.ranker.compile_decoder()
            compiled = True
        torch.manual_seed(run.config.seed + 1000 * (len(progress.history) + 1) + rank)
        progress.history.append(worker.epoch(len(progress.history) + 1, phase, task.card.candidate_pass))
        progress.history[-1][CPU] = cpu_since_report()
        progress.phases.append(phase)
        told.epoch_ended()
        if phase != "refit":
            better = candidate_pass_is_better(progress.history[-1])
            task = replace(task, card=replace(task.card, candidate_pass=better))
        report_epoch(engine, progress, task, run.config.encoder.arithmetic, rank, checkpoints)


class _Worker:
    """The windows of this worker, and its epochs."""

    def __init__(self, fit: Fit, task: Task, engine: Engine, rank: int, told: EpochProgress) -> None:
        self.fit, self.config, self.engine, self.rank = fit, fit.run.config, engine, rank
        self.ranker, self.text_vectors, self.told = task.ranker, task.text_vectors, told
        self.num_items = len(task.item_ids)
        self._opened: dict[Kind, WorkerWindows] = {}

    def epoch(self, number: int, phase: Phase, candidate_pass: bool) -> dict[str, float]:
        """Train and validate once.

        Args:
            number: Of the epoch, from 1.
            phase: Of the epoch.
            candidate_pass: Whether the model that a refit continues uses the candidate pass.

        Returns:
            The figures of the epoch.
        """
        listwise = phase == "listwise" or (phase == "refit" and candidate_pass)
        adversarial = self.config.train.adversarial_epsilon > 0
        batches = self._training_batches(number, phase)
        passes, windows = self.fit.plan.phase(phase).passes, self.fit.windows[self._kind(phase)].count
        heard = self.told.listener(phase, passes * windows // self.config.train.num_workers)
        figures = train_epoch(self.engine, batches, heard=heard, listwise=listwise, adversarial=adversarial)
        figures |= {EPOCH: float(number)}
        refresh_text_vectors(self.engine, self.ranker, self.text_vectors)
        if phase == "refit":
            return figures  # no user is held out
        return figures | self._validate(phase)

    def _training_batches(self, number: int, phase: Phase) -> Iterator[WindowBatch]:
        """The windows of an epoch. Each pass over them has an order of its own, and changes of its own."""
        train, seed = self.config.train, self.config.seed
        passes = self.fit.plan.phase(phase).passes
        for turn in range(number * passes, (number + 1) * passes):
            generator = torch.Generator().manual_seed(seed + 1000 * turn + self.rank)
            for batch in self._windows(self._kind(phase)).batches(train.micro_batch_size, seed + turn):
                if train.targets == "next_days":
                    batch = draw_targets(batch, generator)
                if train.augment:
                    share, probability = train.augment_share, train.augment_probability
                    yield augment(batch, self.num_items, train.augment, probability, share, generator)
                else:
                    yield batch

    def _validate(self, phase: Phase) -> dict[str, float]:
        """NDCG of the validation users; empty if there are none."""
        recommend = self.config.recommend
        kept = self._windows("validation").batches(VALIDATION_BATCH, seed=None)
        if phase == "listwise":
            found = validate_candidate_pass(
                self.engine, kept, self.num_items, recommend.exclude_seen, recommend.candidates
            )
            measured = dict(zip((RETRIEVAL, CANDIDATE_PASS), found, strict=True))
        else:
            measured = {RETRIEVAL: validate(self.engine, kept, self.num_items, recommend.exclude_seen)}
        return {} if math.isnan(measured[RETRIEVAL]) else measured

    def _kind(self, phase: Phase) -> Kind:
        """The windows that a phase learns from."""
        if phase == "refit":
            return next(kind for kind in self.fit.windows if kind != "validation")
        if "train_new" in self.fit.windows:
            return "train_new"
        return "train_recent" if phase == "recent" else "train"

    def _windows(self, kind: Kind) -> WorkerWindows:
        """This worker's windows of one kind: all validation windows, but only a share of the others."""
        if kind not in self._opened:
            self._opened[kind] = self._open(kind)
        return self._opened[kind]

    def _open(self, kind: Kind) -> WorkerWindows:
        windows = self.fit.windows[kind]
        if self.fit.fetches(kind):
            return WindowsInMemory.fetch(windows.tables, self._reader)
        shard = ray.train.get_dataset_shard(kind)
        shares = 1 if kind == "validation" else self.config.train.num_workers
        if windows.count <= shares * SHUFFLE_WINDOWS:
            return WindowsInMemory.collect(shard, self._reader)
        return WindowsStreamed(shard, self._reader)

    @cached_property
    def _reader(self) -> WindowReader:
        return WindowReader(self.num_items, self.config.histories.max_length, self.engine.device, self.text_vectors)


def _compiling_pays(config: TrainConfig, history: list[dict[str, float]]) -> bool:
    """Whether to compile the decoder now, by the epochs so far; a sharded model (ZeRO-3) is never compiled."""
    if config.compile != "auto":
        return config.compile == "always"
    seconds = [epoch["windows"] / epoch["windows_per_s"] for epoch in history]
    return config.zero_stage < 3 and max(seconds, default=0.0) >= WORTH_COMPILING_S
