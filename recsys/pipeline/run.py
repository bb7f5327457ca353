"""A run in progress: its settings, its paths, and the records of its finished stages."""

import datetime as dt
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.config.strict_json import T, as_json, from_json
from recsys.data.histories import user_runs
from recsys.data.splits import (
    Split,
    active_since,
    cutoff_for,
    hold_out_last_basket,
    known_lengths,
    split_by_time,
    split_last_event,
    unseen_last_basket,
    validation_users,
)
from recsys.errors import InputError
from recsys.pipeline.model_records import WARM_START, WarmStart
from recsys.pipeline.stage import Done, R, Stage
from recsys.pipeline.stages import ENCODE_TEXTS, FINETUNE, REENCODE, SHUFFLE_HISTORIES
from recsys.schema import HELD_OUT_BASKETS
from recsys.settings import Config
from recsys.signals.signal import DataView
from recsys.storage.filesystem import Storage
from recsys.storage.record_kinds import CHECKPOINT, STAGE
from recsys.storage.runs import RunFolder
from recsys.storage.tables import read_table

#: Which days' interactions are counted: those before the cutoff, all or the last 7 days of them; or all up to the
#: night's date, or the last 7 days of them.
CountedDays = Literal["train", "train_7d", "full", "full_7d"]
Protocol = Literal["time", "leave-one-out"]

#: For each view, the counts of its last 7 days, and of all its days.
COUNTS_OF_VIEW: dict[DataView, tuple[CountedDays, CountedDays]] = {
    "validation": ("train_7d", "train"),
    "test": ("train_7d", "train"),
    "full": ("full_7d", "full"),
}

#: Least events of a history in each group but the first, by which validation users are drawn.
LENGTH_BOUNDS = (2, 4, 7, 12, 25)

logger = logging.getLogger(__name__)

#: What a worker answers for one part of a stage, as JSON.
Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of a night: its settings, its date and its folder. It is small, and each worker gets a copy."""

    config: Config
    date: dt.date
    folder: RunFolder
    protocol: Protocol = "time"
    """What is held out from training: the newest days, or the last event of each user (as papers often do)."""
    force: bool = False
    """Whether what a gate refuses is published nevertheless."""

    @property
    def storage(self) -> Storage:
        """The storage root, below which all paths of the run are."""
        return self.folder.storage

    @cached_property
    def end(self) -> dt.datetime:
        """The end of the night's date (UTC): 0:00 of the next day."""
        return cutoff_for(self.date, 0)

    @cached_property
    def cutoff(self) -> dt.datetime:
        """The begin of the holdout: training, and the histories in the gate, end before it."""
        return self.end if self.protocol == "leave-one-out" else cutoff_for(self.date, self.config.gate.holdout_days)

    def split(self, interactions: pa.Table) -> Split:
        """Split sorted interactions into those for training and those that are held out."""
        if self.protocol == "leave-one-out":
            return split_last_event(interactions)
        return split_by_time(interactions, self.cutoff)

    def validation_split(self, interactions: pa.Table) -> Split:
        """Split the sorted interactions before the cutoff: the last basket of each validation user is held out.

        Validation users are drawn from those who were active shortly before the cutoff. If training continues a
        model, the baskets that it learned from are left out: they would tell nothing.
        """
        past = self.split(interactions).train
        drawn = self.drawn_for_validation(past)
        if (start := self.warm_start) is not None and start.model_id:
            held_out = self.held_out_baskets_of(start.model_id)
            drawn &= unseen_last_basket(past, dt.datetime.fromisoformat(start.trained_until), held_out)
        return hold_out_last_basket(past, drawn)

    def drawn_for_validation(self, past: pa.Table) -> npt.NDArray[np.bool_]:
        """Mask over rows of the interactions before the cutoff: those of users who are drawn for validation."""
        chosen = self.record(SHUFFLE_HISTORIES).validation
        recent = active_since(past, self.cutoff - dt.timedelta(days=chosen.days))
        group = np.searchsorted(LENGTH_BOUNDS, known_lengths(past), side="right")
        shares = np.repeat(np.array(chosen.shares)[group], np.diff(user_runs(past)[1]))
        return recent & validation_users(past["user_id"], shares, self.config.seed)

    @property
    def warm_start(self) -> WarmStart | None:
        """The model that training continues; None if the stage `finetune` has not begun."""
        return self.parts(FINETUNE, WarmStart).get(WARM_START)

    def seen_from(self, interactions: pa.Table, view: DataView) -> tuple[pa.Table, dt.datetime]:
        """The sorted interactions that belong to a view, and the time from which their age is counted.

        In a backtest by leave-one-out no view holds the held-out events.
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
        """CATALOG."""
        return f"{self.folder.dir}/catalog.parquet"

    @property
    def item_texts_path(self) -> str:
        """ITEM_TEXTS in the order of the catalog, if texts of items are written."""
        return f"{self.folder.dir}/item_texts.parquet"

    @property
    def user_profiles_dir(self) -> str:
        """USER_PROFILES in the shards of the histories, if profiles are written."""
        return f"{self.folder.dir}/user_profiles"

    @property
    def encoder_id(self) -> str:
        """Digest of the text encoder whose vectors this night's model reads."""
        return self.record(REENCODE if self.config.encoder.learns else ENCODE_TEXTS).encoder_id

    def text_vectors_path(self, encoder_id: str) -> str:
        """Text vectors of one encoder, in the order of the catalog."""
        return f"{self.folder.dir}/text_vectors/{encoder_id}.parquet"

    @property
    def interactions_dir(self) -> str:
        """INTERACTIONS in the same shards as the histories, sorted by user and time."""
        return f"{self.folder.dir}/interactions"

    @property
    def searches_dir(self) -> str:
        """INTERACTIONS_WITH_TEXT of searches (events without an item), in the same shards, if event texts are read."""
        return f"{self.folder.dir}/searches"

    @property
    def impressions_dir(self) -> str:
        """INTERACTIONS of the kind `impression`, in the same shards, sorted; a shard without any has no file."""
        return f"{self.folder.dir}/impressions"

    @property
    def non_positives_dir(self) -> str:
        """INTERACTIONS of weight 0 or less, in the same shards, sorted; a shard without any has no file."""
        return f"{self.folder.dir}/non_positives"

    @property
    def profiles_dir(self) -> str:
        """PROFILES in the same shards, if users are read."""
        return f"{self.folder.dir}/profiles"

    def user_text_vectors_path(self, encoder_id: str) -> str:
        """Vectors that one encoder gave the texts of users and searches, if histories hold texts."""
        return f"{self.folder.dir}/user_text_vectors/{encoder_id}.parquet"

    def item_counts_path(self, kind: CountedDays) -> str:
        """ITEM_COUNTS of these days."""
        return f"{self.folder.dir}/item_counts_{kind}.parquet"

    @property
    def model_id(self) -> str:
        """Id of the model that this night trains."""
        return self.folder.model_ids[0]

    @property
    def refit_id(self) -> str:
        """Id of the model that `refit` trains on all days. No days are left to measure it on."""
        return self.folder.model_ids[1]

    @property
    def published_id(self) -> str:
        """Id of the model that makes the lists."""
        return self.refit_id if self.config.train.refit else self.model_id

    def model_path(self, model_id: str | None = None) -> str:
        """Folder of a model; None: the model that this night trains."""
        return f"models/{model_id or self.model_id}"

    def card_path(self, model_id: str) -> str:
        """The card of a model for people; unlike its other files, it may be written again."""
        return f"{self.model_path(model_id)}/README.md"

    def held_out_path(self, model_id: str) -> str:
        """HELD_OUT_BASKETS of a model."""
        return f"{self.model_path(model_id)}/held_out.parquet"

    def held_out_baskets_of(self, model_id: str) -> pa.Table:
        """HELD_OUT_BASKETS of a model; a model of an older version has none."""
        path = self.held_out_path(model_id)
        return read_table(self.storage, path) if self.storage.exists(path) else HELD_OUT_BASKETS.empty_table()

    @property
    def train_dir(self) -> str:
        """Checkpoints of a running training. Those in another form are not looked for: such a training begins again."""
        return f"{self.folder.dir}/train/{CHECKPOINT.version}"

    def record(self, stage: Stage[R]) -> R:
        """The record of a finished stage.

        Raises:
            InputError: another version of the code wrote the record, and it does not fit this version.
            NewerFormatError: a newer release wrote it.
        """
        done = self.done(stage)
        if done is None:
            stored = self.folder.read_record(self.folder.stage_path(stage.name), STAGE)
            assert stored is not None, f"stage {stage.name} has not run"
            raise InputError(
                f"run {self.folder.run_id}: another version of the code wrote its stage {stage.name}; start this night "
                f"again, or if it is published, publish a newer one"
            )
        return done.record

    def done(self, stage: Stage[R]) -> Done[R] | None:
        """A finished stage; None if it has not run, or if its stored record does not fit the record's class."""
        stored = self.folder.done(stage.name)
        if stored is None:
            return None
        try:
            return stage.read_done(stored)
        except ValueError as error:
            logger.warning("%s: its stored record does not fit this version, so it runs again (%s)", stage.name, error)
            return None

    def has_parts(self, stage: Stage[R], record: R) -> bool:
        """Whether a finished stage has the records of its parts: one may be damaged, or be of a newer release."""
        return stage.part is None or len(self.parts(stage, stage.part)) == stage.num_parts(record)

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
