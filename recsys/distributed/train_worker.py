"""What each training worker runs: build the ranker, resume, then epochs of training, validation and checkpoint."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray.train
import torch
from torch import Tensor

from recsys.distributed.cluster import quiet_ray
from recsys.distributed.encode import read_text_vectors
from recsys.distributed.memory import peak_memory_mb, reset_peak_memory
from recsys.distributed.night import Night
from recsys.model.checkpoint import ModelCard, load_weights, save_ranker
from recsys.model.features import index_items
from recsys.model.ranker import Ranker, RankerSpec, build_decoder, decoder_config
from recsys.recommend.popular import popularity_prior
from recsys.storage.tables import read_table
from recsys.training.deepspeed import deepspeed_config, micro_batch_size, num_optimizer_steps
from recsys.training.loop import WindowBatch, fit_prior_weight, train_epoch, validate

logger = logging.getLogger(__name__)

#: Windows from which the next batch is drawn at random.
SHUFFLE_WINDOWS = 50_000
VALIDATION_BATCH = 256
#: Weights that are tried for popularity, and the fewest users of the last week that can choose among them.
POPULARITY_WEIGHTS = tuple(step / 10 for step in range(16))
MIN_RECENT_USERS = 30


@dataclass
class Progress:
    """What a training that was cut off needs to go on, beside DeepSpeed's own state."""

    history: list[dict[str, float]] = field(default_factory=list)
    """Figures of each finished epoch."""
    best: float = -1.0
    best_epoch: int = 0

    def add(self, epoch: dict[str, float]) -> None:
        """Take in the figures of an epoch."""
        self.history.append(epoch)
        if epoch["validation_ndcg@10"] > self.best:
            self.best, self.best_epoch = epoch["validation_ndcg@10"], len(self.history)

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - self.best_epoch


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained: the ranker and the catalog it stands on."""

    ranker: Ranker
    item_ids: pa.Array
    known: Tensor
    card: ModelCard


def train_worker(settings: dict[str, Any]) -> None:
    """Entry point of a Ray Train worker.

    Args:
        settings: `night`, `num_windows` of the whole training set, `num_recent` validation users of the last week,
            and `warm_model`, the id of a model or None.
    """
    reset_peak_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    quiet_ray()
    night: Night = settings["night"]
    train, rank = night.config.train, ray.train.get_context().get_world_rank()
    if not train.use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
        torch.set_num_threads(train.cpus_per_worker)
    # DeepSpeed compiles at run time with ninja, which lies beside a Python that was not "activated"
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    import deepspeed  # not at the top: it chooses its accelerator when it is imported

    # DeepSpeed still calls collectives by names that torch announces to drop, once a step
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    torch.manual_seed(night.config.seed)
    task = build_task(night, settings["warm_model"])
    num_items = len(task.item_ids)
    engine, *_ = deepspeed.initialize(
        model=task.ranker,
        model_parameters=[parameter for parameter in task.ranker.parameters() if parameter.requires_grad],
        config=deepspeed_config(train, num_optimizer_steps(train, settings["num_windows"])),
        dist_init_required=False,
    )
    exclude_seen = night.config.recommend.exclude_seen
    progress = _resume(engine)
    while len(progress.history) < train.epochs and progress.epochs_without_gain < train.patience:
        epoch = len(progress.history) + 1
        torch.manual_seed(night.config.seed + 1000 * epoch + rank)
        figures = train_epoch(engine, _batches(night, "train", engine, num_items, epoch), f"epoch {epoch}")
        score = validate(engine, _batches(night, "validation", engine, num_items, epoch), num_items, exclude_seen)
        progress.add(figures | {"validation_ndcg@10": score})
        if rank == 0:
            logger.info(
                "finetune: epoch %d of %d, loss %.4f, validation ndcg@10 %.4f, %.0f windows/s",
                *(epoch, train.epochs, figures["loss"], score, figures["windows_per_s"]),
            )
        weight = _fit_popularity(night, engine, task) if settings["num_recent"] >= MIN_RECENT_USERS else 0.0
        card = replace(task.card, popularity_weight=weight)
        _report(engine, progress, replace(task, card=card), rank)


def build_task(night: Night, warm_model: str | None) -> Task:
    """The ranker of the configured sizes over the night's catalog, warm-started where there is a model for it."""
    config = night.config
    item_ids, text_vectors = read_text_vectors(night)
    kinds: list[str] = night.record("ingest")["kinds"]
    spec = RankerSpec(
        num_items=len(item_ids),
        text_dim=text_vectors.shape[1],
        item_dim=config.ranker.hidden_size,
        num_event_kinds=len(kinds),
        decoder=decoder_config(config.ranker, config.histories.max_length),
        dropout=config.ranker.dropout,
        id_dropout=config.ranker.id_dropout,
    )
    counted = read_table(night.storage, night.item_counts_path("all"))["item_id"]
    known = torch.zeros(len(item_ids), dtype=torch.bool)
    known[torch.from_numpy(index_items(counted, item_ids))] = True
    ranker = Ranker(spec, torch.from_numpy(text_vectors.copy()), known, build_decoder(config.ranker))
    if warm_model is not None:
        with night.storage.local_folder(night.model_path(warm_model)) as folder:
            weights, _ = load_weights(folder, item_ids)
        skipped = ranker.load_fitting(weights)
        if skipped:
            logger.info("finetune: %d tensors of %s do not fit and start anew: %s", len(skipped), warm_model, skipped)
    if config.ranker.train == "lora":
        ranker.add_lora(config.ranker.lora_rank)
    card = ModelCard(
        model_id=night.model_id,
        encoder_id=night.record("encode")["encoder_id"],
        trained_until=night.cutoff.isoformat(),
        max_length=config.histories.max_length,
        event_kinds=kinds,
        spec=spec,
    )
    return Task(ranker=ranker, item_ids=item_ids, known=known, card=card)


def _fit_popularity(night: Night, engine: Any, task: Task) -> float:
    """The weight of popularity under which the targets of the week before the cutoff are likeliest.

    Popularity is that of the week before, so that no target counts itself.
    """
    counts = read_table(night.storage, night.item_counts_path("before"))
    prior = popularity_prior(counts, task.item_ids, 1.0).to(engine.device)
    num_items = len(task.item_ids)
    batches = _batches(night, "recent", engine, num_items, 0)
    return fit_prior_weight(engine, batches, num_items, night.config.recommend.exclude_seen, prior, POPULARITY_WEIGHTS)


def _batches(night: Night, name: str, engine: Any, num_items: int, epoch: int) -> Iterator[WindowBatch]:
    """This worker's windows: shuffled anew each epoch for training, all of them in order for validation."""
    train = night.config.train
    settings: dict[str, Any] = {"batch_size": VALIDATION_BATCH}
    if name == "train":
        settings = {
            "batch_size": micro_batch_size(train),
            "local_shuffle_buffer_size": SHUFFLE_WINDOWS,
            "local_shuffle_seed": night.config.seed + epoch,
        }
    for table in ray.train.get_dataset_shard(name).iter_batches(batch_format="pyarrow", **settings):
        yield WindowBatch.of(table, num_items, engine.device)


def _resume(engine: Any) -> Progress:
    """Take up the last checkpoint of this run, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return Progress()
    with checkpoint.as_directory() as folder:
        # DeepSpeed unpickles here: the folder is this run's own, written by this function's twin below
        engine.load_checkpoint(folder, tag="deepspeed")
        progress = Progress(**json.loads((Path(folder) / "progress.json").read_text()))
    logger.info("finetune: going on after epoch %d", len(progress.history))
    return progress


def _report(engine: Any, progress: Progress, task: Task, rank: int) -> None:
    """Checkpoint: DeepSpeed's state of every rank, and from rank 0 the whole model for everything downstream."""
    with TemporaryDirectory() as folder:
        engine.save_checkpoint(folder, tag="deepspeed", save_latest=False)
        with _gathered(task.ranker):
            weights = task.ranker.whole_weights() if rank == 0 else {}
        if rank == 0:
            save_ranker(Path(folder), weights, task.known, task.item_ids, task.card)
            (Path(folder) / "progress.json").write_text(json.dumps(asdict(progress)))
        ray.train.report(
            {
                "score": progress.history[-1]["validation_ndcg@10"],
                "epoch": len(progress.history),
                "popularity_weight": task.card.popularity_weight,
                "history": progress.history,
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
