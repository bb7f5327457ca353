"""A night in progress: what every stage is given, how a stage is run once, measured and remembered."""

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from recsys import __version__
from recsys.config import Config, TableInput
from recsys.data.files import FileInfo, list_files
from recsys.data.splits import Split, cutoff_for, split_by_time, split_last_event
from recsys.distributed.memory import peak_memory_mb, reset_peak_memory
from recsys.storage.filesystem import Storage, open_input
from recsys.storage.runs import Run, run_id

#: Which days' interactions are counted: the training's `all`, the `week` before the cutoff, the week `before` that
#: one, or the `newest` week of the night, holdout included.
CountsOf = Literal["all", "week", "before", "newest"]
Protocol = Literal["time", "leave-one-out"]

logger = logging.getLogger(__name__)

#: What a stage leaves behind, as JSON: its counts, and where it wrote.
Record = dict[str, Any]


@dataclass(frozen=True)
class Night:
    """The settings and the run of one night; it is small and travels to the workers."""

    config: Config
    date: dt.date
    run: Run
    protocol: Protocol = "time"
    """What is held out from training: the newest days, or each user's last event (a backtest for papers' tables)."""

    @property
    def storage(self) -> Storage:
        """Where everything is written."""
        return self.run.storage

    @cached_property
    def end(self) -> dt.datetime:
        """First moment after the night's data date (UTC)."""
        return cutoff_for(self.date, 0)

    @cached_property
    def cutoff(self) -> dt.datetime:
        """First moment of the holdout: training and the gate's histories end before it."""
        return self.end if self.protocol == "leave-one-out" else cutoff_for(self.date, self.config.gate.holdout_days)

    def split(self, interactions: pa.Table) -> Split:
        """What training may see of sorted interactions, and what is held out."""
        if self.protocol == "leave-one-out":
            return split_last_event(interactions)
        return split_by_time(interactions, self.cutoff)

    @property
    def catalog_path(self) -> str:
        """CATALOG of the night."""
        return f"{self.run.dir}/catalog.parquet"

    @property
    def text_vectors_path(self) -> str:
        """Text vectors in the order of the catalog."""
        return f"{self.run.dir}/text_vectors.parquet"

    @property
    def interactions_dir(self) -> str:
        """INTERACTIONS in the shards of the histories, sorted by user and time."""
        return f"{self.run.dir}/interactions"

    def item_counts_path(self, kind: CountsOf) -> str:
        """ITEM_COUNTS of some days, see `CountsOf`."""
        return f"{self.run.dir}/item_counts_{kind}.parquet"

    @property
    def model_id(self) -> str:
        """Name of the model that this night trains."""
        return f"ranker-{self.run.run_id}"

    def model_path(self, model_id: str | None = None) -> str:
        """Folder of a model, by default of this night's."""
        return f"models/{model_id or self.model_id}"

    @property
    def train_dir(self) -> str:
        """Checkpoints of the running training, private to the run."""
        return f"{self.run.dir}/train"

    @property
    def min_cpus(self) -> int:
        """CPUs that the widest stage needs: training keeps its workers' while Ray Data feeds them with one more."""
        config = self.config
        training = config.train.num_workers * config.train.cpus_per_worker + 1
        return max(training, config.recommend.num_workers * config.recommend.cpus_per_worker)

    def record(self, stage: str) -> Record:
        """What a finished stage left."""
        record = self.run.done(stage)
        assert record is not None, f"stage {stage} has not run"
        return record


def input_files(source: TableInput) -> list[FileInfo]:
    """Files of an input, sorted by path."""
    fs, path = open_input(source.path)
    return list_files(fs, path, source.format)


def open_night(config: Config, protocol: Protocol = "time") -> Night:
    """Name the night by its date, config, inputs and code, so that starting it again finds it.

    Args:
        config: The resolved settings.
        protocol: What is held out; a backtest by time shares the night's own run.

    Raises:
        InputError: an input is missing.
    """
    date = config.date or dt.datetime.now(dt.UTC).date()
    files = [
        (file.path, file.size, file.version)
        for source in (config.inputs.events, config.inputs.items)
        for file in input_files(source)
    ]
    digest = config.digest() if protocol == "time" else f"{config.digest()} {protocol}"
    name = run_id(date, digest, files, __version__)
    return Night(config=config, date=date, run=Run(Storage(config.storage), name), protocol=protocol)


def run_stage(night: Night, name: str, stage: Callable[[Night], Record]) -> Record:
    """Run a stage unless it is done; its record gets `seconds`, `rows_per_s`, `peak_memory_mb` and `finished_at`."""
    done = night.run.done(name)
    if done is not None:
        logger.info("%s: done before, %s", name, summary(done))
        return done
    logger.info("%s …", name)
    reset_peak_memory()
    start = time.monotonic()
    record = stage(night)
    seconds = time.monotonic() - start
    record["seconds"] = round(seconds, 3)
    record["rows_per_s"] = round(record["rows"] / max(seconds, 1e-9), 1)
    record["finished_at"] = dt.datetime.now(dt.UTC).isoformat()
    record["peak_memory_mb"] = round(max(record.get("peak_memory_mb", 0.0), peak_memory_mb()), 1)
    night.run.finish(name, record)
    logger.info("%s: %s", name, summary(record))
    return record


def summary(record: Record) -> str:
    """A stage's record on one line: its time and its counts."""
    counts = [f"{key} {value:,}" for key, value in record.items() if isinstance(value, int) and value is not True]
    words = [f"{key} {record[key]}" for key in ("verdict", "reason") if key in record]
    return ", ".join([f"{record.get('seconds', 0.0):.1f} s", *counts, *words])
