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
from recsys.data.config import EventsInput, TableInput
from recsys.data.feedback import FEEDBACK_DIR, begun_before, feedback_source
from recsys.data.files import list_files
from recsys.data.formats.input_format import FileInfo
from recsys.data.splits import (
    Split,
    active_since,
    cutoff_for,
    hold_out_last_moment,
    split_by_time,
    split_last_event,
    validation_users,
)
from recsys.errors import InputError
from recsys.pipeline.cluster import machine_cpus
from recsys.pipeline.memory import peak_memory_mb, reset_peak_memory
from recsys.ranking.config import RerankConfig
from recsys.settings import Config, load_config
from recsys.storage.filesystem import Storage, open_input
from recsys.storage.runs import RunFolder, run_id

#: Which days' interactions are counted: the training's `all` and its last `week`; or, holdout included, the night's
#: `ever` and its `newest` week.
CountedDays = Literal["train", "train_7d", "full", "full_7d"]
#: From where the past is looked at: `validation`, by what training saw; `gate`, by all before the cutoff; or `night`,
#: by everything.
DataView = Literal["validation", "test", "full"]
Protocol = Literal["time", "leave-one-out"]

#: The counts of the last week, and of all that is known.
COUNTS_OF_VIEW: dict[DataView, tuple[CountedDays, CountedDays]] = {
    "validation": ("train_7d", "train"),
    "test": ("train_7d", "train"),
    "full": ("full_7d", "full"),
}

logger = logging.getLogger(__name__)

#: What a stage leaves behind, as JSON: its counts, and where it wrote.
Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The settings and the run of one night; it is small and travels to the workers."""

    config: Config
    date: dt.date
    folder: RunFolder
    protocol: Protocol = "time"
    """What is held out from training: the newest days, or each user's last event (a backtest for papers' tables)."""

    @property
    def storage(self) -> Storage:
        """Where everything is written."""
        return self.folder.storage

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

    def validation_split(self, interactions: pa.Table) -> Split:
        """What training learns of sorted interactions, and the last moment of the validation users.

        They are drawn from the users who were active lately, as those are for whom lists are made.
        """
        past = self.split(interactions).train
        chosen = self.record("histories")["validation"]
        recent = active_since(past, self.cutoff - dt.timedelta(days=chosen["days"]))
        drawn = validation_users(past["user_id"], chosen["share"], self.config.seed)
        return hold_out_last_moment(past, recent & drawn)

    def seen_from(self, interactions: pa.Table, view: DataView) -> tuple[pa.Table, dt.datetime]:
        """The part of sorted interactions that may be learned from there, and the moment that is looked from."""
        match view:
            case "validation":
                return self.validation_split(interactions).train, self.cutoff
            case "test":
                return self.split(interactions).train, self.cutoff
            case "full":
                return interactions, self.end

    @property
    def catalog_path(self) -> str:
        """CATALOG of the night."""
        return f"{self.folder.dir}/catalog.parquet"

    @property
    def encoder_id(self) -> str:
        """Digest of the text encoder that this night's model reads."""
        encoder_id: str = self.record("reencode" if self.config.encoder.learns else "encode")["encoder_id"]
        return encoder_id

    def text_vectors_path(self, encoder_id: str) -> str:
        """An encoder's text vectors in the order of the catalog."""
        return f"{self.folder.dir}/text_vectors/{encoder_id}.parquet"

    @property
    def interactions_dir(self) -> str:
        """INTERACTIONS in the shards of the histories, sorted by user and time."""
        return f"{self.folder.dir}/interactions"

    @property
    def searches_dir(self) -> str:
        """INTERACTIONS_WITH_TEXT without an item, in the same shards, where texts of events are read."""
        return f"{self.folder.dir}/searches"

    @property
    def profiles_dir(self) -> str:
        """PROFILES in the same shards, where users are read."""
        return f"{self.folder.dir}/profiles"

    def user_text_vectors_path(self, encoder_id: str) -> str:
        """An encoder's vectors of all that users are and said, where histories hold texts."""
        return f"{self.folder.dir}/user_text_vectors/{encoder_id}.parquet"

    def item_counts_path(self, kind: CountedDays) -> str:
        """ITEM_COUNTS of some days, see `CountedDays`."""
        return f"{self.folder.dir}/item_counts_{kind}.parquet"

    def transitions_dir(self, view: DataView) -> str:
        """TRANSITIONS of the past as it is seen from there, in parts by item."""
        return f"{self.folder.dir}/transitions_{view}"

    def transition_totals_path(self, view: DataView) -> str:
        """TRANSITION_TOTALS of all items' transitions, the weak ones too."""
        return f"{self.folder.dir}/transition_totals_{view}.parquet"

    def returns_path(self, view: DataView) -> str:
        """ITEM_RETURNS of the past as it is seen from there."""
        return f"{self.folder.dir}/returns_{view}.parquet"

    @property
    def day_counts_path(self) -> str:
        """DAY_COUNTS of all days from before validation, as far back as popularity looks, to the night."""
        return f"{self.folder.dir}/day_counts.parquet"

    def linear_path(self, view: DataView) -> str:
        """TRANSITIONS of the linear item model that was learned from the past as it is seen from there."""
        return f"{self.folder.dir}/linear_{view}.parquet"

    def lenders_path(self, kind: CountedDays) -> str:
        """LENDERS of the items that these counts do not know."""
        return f"{self.folder.dir}/lenders_{kind}.parquet"

    @property
    def stranger_lenders_path(self) -> str:
        """LENDERS of known items that are taken for new ones; none where no item is new."""
        return f"{self.folder.dir}/lenders_strangers.parquet"

    @property
    def model_id(self) -> str:
        """Name of the model that this night trains."""
        return f"ranker-{self.folder.run_id}"

    @property
    def refit_id(self) -> str:
        """Name of its continuation over all days, which no gate can examine."""
        return f"{self.model_id}-refit"

    @property
    def published_id(self) -> str:
        """Name of the model that makes the lists."""
        return self.refit_id if self.config.train.refit else self.model_id

    def model_path(self, model_id: str | None = None) -> str:
        """Folder of a model, by default of this night's."""
        return f"models/{model_id or self.model_id}"

    @property
    def train_dir(self) -> str:
        """Checkpoints of the running trainings, private to the run."""
        return f"{self.folder.dir}/train"

    @property
    def min_cpus(self) -> int:
        """CPUs that the widest stage needs: training keeps its workers' while Ray Data feeds them with one more."""
        config = self.config
        train = config.train
        each = train.cpus_of_worker(max(1, machine_cpus() // train.num_workers))
        scoring = (config.recommend.num_workers or 1) * config.recommend.cpus_per_worker
        return max(train.num_workers * each + 1, scoring)

    def record(self, stage: str) -> Record:
        """What a finished stage left."""
        record = self.folder.done(stage)
        assert record is not None, f"stage {stage} has not run"
        return record


def input_files(source: TableInput) -> list[FileInfo]:
    """Files of an input, sorted by path."""
    fs, path = open_input(source.path)
    return list_files(fs, path, source.format)


def feedback_input(config: Config) -> EventsInput:
    """What the live service was told, as an input."""
    return feedback_source(Storage(config.storage).url(FEEDBACK_DIR), config.inputs.events)


def feedback_files(config: Config, date: dt.date) -> list[FileInfo]:
    """Files of what the live service was told, sorted by path; none where nothing was told, or it is not to be read.

    Those begun after the night's date are left out: what the service is told meanwhile must not make another night of
    one that is started again.
    """
    if not config.inputs.feedback:
        return []
    source = feedback_input(config)
    fs, path = open_input(source.path)
    # A service that was killed may leave a file without a byte.
    found = list_files(fs, path, source.format, required=False)
    return [file for file in found if file.size and begun_before(file.path, cutoff_for(date, 0))]


def id_files(rules: RerankConfig) -> list[FileInfo]:
    """The block and the allow list, where they are files.

    Raises:
        InputError: one is missing.
    """
    found = []
    for key, path in (("block_file", rules.block_file), ("allow_file", rules.allow_file)):
        if path is not None:
            fs, location = open_input(path)
            if not fs.isfile(location):
                raise InputError(f"rerank.{key}: {path} is no file; name a text file with one item id a line, or null")
            found += list_files(fs, location, "csv")
    return found


def open_run(config: Config, protocol: Protocol = "time") -> Run:
    """Name the night by its date, config, inputs and code, so that starting it again finds it.

    Args:
        config: The resolved settings.
        protocol: What is held out; a backtest by time shares the night's own run.

    Raises:
        InputError: an input or an id file is missing.
    """
    date = config.date or dt.datetime.now(dt.UTC).date()
    inputs = [*input_files(config.inputs.events), *input_files(config.inputs.items), *id_files(config.rerank)]
    if config.inputs.users is not None:
        inputs += input_files(config.inputs.users)
    files = [(file.path, file.size, file.version) for file in inputs]
    # These only grow, and like all of the storage they may be moved: the name and the size tell what is in them.
    told = Storage(config.storage).path(FEEDBACK_DIR)
    files += [(f"feedback{file.path.removeprefix(told)}", file.size, "") for file in feedback_files(config, date)]
    digest = config.digest() if protocol == "time" else f"{config.digest()} {protocol}"
    name = run_id(date, digest, files, __version__)
    return Run(config=config, date=date, folder=RunFolder(Storage(config.storage), name), protocol=protocol)


def stored_run(folder: RunFolder) -> Run:
    """The night of a run, with the settings that it ran with."""
    with folder.storage.local_file(folder.config_path) as path:
        own = load_config(path)
    return Run(config=own, date=folder.date, folder=folder)


def run_stage(run: Run, name: str, stage: Callable[[Run], Record]) -> Record:
    """Run a stage unless it is done; its record gets `seconds`, `rows_per_s`, `peak_memory_mb` and `finished_at`."""
    done = run.folder.done(name)
    if done is not None:
        logger.info("%s: done before, %s", name, summary(done))
        return done
    logger.info("%s …", name)
    reset_peak_memory()
    start = time.monotonic()
    record = stage(run)
    seconds = time.monotonic() - start
    record["seconds"] = round(seconds, 3)
    record["rows_per_s"] = round(record["rows"] / max(seconds, 1e-9), 1)
    record["finished_at"] = dt.datetime.now(dt.UTC).isoformat()
    record["peak_memory_mb"] = round(max(record.get("peak_memory_mb", 0.0), peak_memory_mb()), 1)
    run.folder.finish(name, record)
    logger.info("%s: %s", name, summary(record))
    return record


def summary(record: Record) -> str:
    """A stage's record on one line: its time and its counts."""
    counts = [f"{key} {value:,}" for key, value in record.items() if isinstance(value, int) and value is not True]
    words = [f"{key} {record[key]}" for key in ("verdict", "reason") if key in record]
    return ", ".join([f"{record.get('seconds', 0.0):.1f} s", *counts, *words])
