"""A run in progress: its settings, its paths, and the records of its finished stages."""

import datetime as dt
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from recsys.data.splits import (
    Split,
    active_since,
    cutoff_for,
    hold_out_last_moment,
    split_by_time,
    split_last_event,
    validation_users,
)
from recsys.pipeline.stage import Done, R, Stage, T, as_json, from_json
from recsys.pipeline.stages import ENCODE_TEXTS, REENCODE, SHUFFLE_HISTORIES
from recsys.settings import Config
from recsys.signals.signal import DataView
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder

#: Which interactions are counted: those of the training data, all, and the last 7 days of each.
CountedDays = Literal["train", "train_7d", "full", "full_7d"]
Protocol = Literal["time", "leave-one-out"]

#: The counts of a data view: those of its last 7 days, and of all its days.
COUNTS_OF_VIEW: dict[DataView, tuple[CountedDays, CountedDays]] = {
    "validation": ("train_7d", "train"),
    "test": ("train_7d", "train"),
    "full": ("full_7d", "full"),
}

logger = logging.getLogger(__name__)

#: What a worker answers for one part of a stage, as JSON.
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
        chosen = self.record(SHUFFLE_HISTORIES).validation
        recent = active_since(past, self.cutoff - dt.timedelta(days=chosen.days))
        drawn = validation_users(past["user_id"], chosen.share, self.config.seed)
        return hold_out_last_moment(past, recent & drawn)

    def seen_from(self, interactions: pa.Table, view: DataView) -> tuple[pa.Table, dt.datetime]:
        """What a data view may see of sorted interactions, and its end.

        In a backtest by leave-one-out no view sees the held-out events.
        """
        match view:
            case "validation":
                return self.validation_split(interactions).train, self.cutoff
            case "test":
                return self.split(interactions).train, self.cutoff
            case "full":
                return self.split(interactions).train if self.protocol == "leave-one-out" else interactions, self.end

    @property
    def catalog_path(self) -> str:
        """CATALOG of the night."""
        return f"{self.folder.dir}/catalog.parquet"

    @property
    def encoder_id(self) -> str:
        """Digest of the text encoder that this night's model reads."""
        return self.record(REENCODE if self.config.encoder.learns else ENCODE_TEXTS).encoder_id

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

    def record(self, stage: Stage[R]) -> R:
        """What a finished stage left."""
        done = self.done(stage)
        assert done is not None, f"stage {stage.name} has not run"
        return done.record

    def done(self, stage: Stage[R]) -> Done[R] | None:
        """A finished stage; None where it has not run, or where its stored record no longer fits the record's class."""
        stored = self.folder.done(stage.name)
        if stored is None:
            return None
        try:
            return stage.read_done(stored)
        except ValueError as error:
            logger.warning("%s: its stored record does not fit this version, so it runs again (%s)", stage.name, error)
            return None

    def remember(self, stage: Stage[R], done: Done[R]) -> None:
        """Store that a stage is finished; call it after all that the stage writes is in place."""
        self.folder.finish(stage.name, done.as_json())

    def parts(self, stage: Stage[Any], record: type[T]) -> dict[str, T]:
        """Records of the finished parts of a stage, by the part's name; those that no longer fit are left out."""
        found = {}
        for name, stored in self.folder.parts(stage.name).items():
            try:
                found[name] = from_json(record, stored)
            except ValueError as error:
                logger.warning("%s: the record of %s does not fit, so it runs again (%s)", stage.name, name, error)
        return found

    def remember_part(self, stage: Stage[Any], part: str, record: object) -> None:
        """Store that a part is finished; call it after all that the part writes is in place."""
        self.folder.finish_part(stage.name, part, as_json(record))
